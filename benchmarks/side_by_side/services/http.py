"""The HTTP service behind the gateways: fixed answers from a bare protocol, after a look at what was asked.

    python -m benchmarks.side_by_side.services.http PORT

It must never be what limits a run, so it parses by httptools and compares no more than a request's size and marks. The
whole of the last body is told at ``GET /last``, where the bench compares it by value.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import httptools
import uvloop

from benchmarks.side_by_side import sample


def _answer(media_type: str, body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


_ORDERS = {lines: _answer("text/xml; charset=utf-8", sample.soap_reply(lines)) for lines in (5, 100)}
_PLAIN = sample.plain()
_FIXED = {
    (b"GET", b"/feed/president"): _answer("application/xml", sample.results_xml()),
    (b"GET", b"/blob"): _answer("application/json", sample.blob()),
}
_PLAIN_ANSWER = _answer("application/json", _PLAIN)
_LAST = [b""]  #: the last body that came
_WRONG = _answer("text/plain", b"this is not what the bench sends", "400 Bad Request")


def answer(method: bytes, path: bytes, body: bytes) -> bytes:
    """The whole message for one request; a 400 where it isn't one of the bench's."""
    if fixed := _FIXED.get((method, path)):
        return fixed
    if path == b"/last":
        return _answer("application/octet-stream", _LAST[0])
    if path == b"/plain" and body == _PLAIN:
        return _PLAIN_ANSWER
    if path == b"/Orders.asmx":
        # Twice a line, whatever prefix the client writes; the last line's text stands last.
        lines = body.count(b"Sku>") // 2
        if lines in _ORDERS and b"Ballot box, size %d<" % (lines - 1) in body and b"PlaceOrder>" in body[-100:]:
            return _ORDERS[lines]
    return _WRONG


class Service(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    # What httptools calls:

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        self._transport.write(answer(cast("Any", self._parser).get_method(), self._path, body))
        if body:
            _LAST[:] = [body]


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
