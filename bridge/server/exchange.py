"""One request on a connection of `bridge.server.connection.ServerConnection`, and its answer (RFC 9112).

Two ways lead through it. An ASGI application gets a scope, `receive` and `send`. The data path takes the straight one
(`bridge.gateway.inbound.ServerRequest`): fields as text, a body that has mostly come with the head, the answer in one
write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import struct
from collections.abc import Callable, Coroutine, Iterable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

from bridge.gateway.downstream import Connection, Downstream, Fields, HttpSide
from bridge.gateway.inbound import ServerRequest, encoded, oversized, read_body

_JOINED = 16 * 1024  #: bytes of a body that are copied behind its head, which costs less than another write
HIGH_WATER = 64 * 1024  #: bytes of a body that wait for the application; beyond, the client is not read
#: RFC 9110, sections 5.1 and 5.5: what no field's name, and no value, may hold.
_BAD_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]|^$")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

log = logging.getLogger("bridge")


def _status_line(status: int) -> str:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
    return f"HTTP/1.1 {status} {phrase}\r\n"


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}

#: Takes a request the straight way; None for one that an ASGI application must have.
Direct = Callable[[ServerRequest], Coroutine[Any, Any, None] | None]


class Flow(Protocol):
    """uvicorn's account of what the connection can take."""

    write_paused: bool

    async def drain(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Host(Connection, Protocol):
    """What a cycle needs of its connection."""

    transport: Any
    flow: Any
    peer: str
    tasks: set[Any]

    def stock(self) -> str:
        """The lines of every answer's head: ``Date`` and what else the server says of itself."""
        ...

    def scope_of_connection(self) -> dict[str, Any]:
        """ASGI's, as far as the connection knows it."""
        ...

    def on_response_complete(self) -> None: ...


class ServerExchange:
    """:ivar more_body: the end of the body has not come.
    :ivar expects: its client waits for ``100 Continue`` before it sends the body.
    :ivar disconnected: nothing more can be sent, nor will come."""

    __slots__ = (
        "_chunked", "_due", "_event", "_flow", "_host", "_news", "_parts", "_transport", "disconnected", "expects",
        "headers", "keep_alive", "method", "more_body", "path", "peer", "query", "response_complete",
        "response_started", "task", "version", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        host: Host,
        method: str,
        path: str,
        query: str,
        headers: list[tuple[str, str]],
        version: str,
        *,
        expects: bool,
        keep_alive: bool,
    ) -> None:
        self._host, self._transport, self._flow = host, host.transport, host.flow
        self.method, self.path, self.query = method, path, query
        self.headers, self.version, self.peer = headers, version, host.peer
        self.expects, self.keep_alive = expects, keep_alive
        self.disconnected = self.response_started = self.response_complete = False
        self.more_body = True
        self.waiting = 0  # bytes of the body that nobody has taken
        self.task: asyncio.Task[None] | None = None
        self._parts: list[bytes] = []
        self._news = False
        self._event: asyncio.Event | None = None  # made when somebody waits, which is rare
        self._chunked = False
        self._due: int | None = 0  # bytes of the answer that its Content-Length still owes; None: that is not known

    @property
    def connection(self) -> Connection:
        return self._host

    # --- the connection's side ----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        self._parts.append(data)
        self.waiting = waiting = self.waiting + len(data)
        if waiting > HIGH_WATER:
            self._flow.pause_reading()
        self._news = True
        if self._event is not None:
            self._event.set()

    def feed_end(self) -> None:
        self.more_body, self._news = False, True
        if self._event is not None:
            self._event.set()

    def leave(self) -> None:
        """The client has left."""
        if not self.response_complete:
            self.disconnected = True
        self.wake()

    def wake(self) -> None:
        self._news = True
        if self._event is not None:
            self._event.set()

    async def run_asgi(self, app: Any, direct: Direct | None) -> None:
        """The request's whole time: through `direct`, where that takes it, else through `app`."""
        try:
            straight = direct(self) if direct is not None else None
            await (straight if straight is not None else app(self._scope(), self.receive, self.send))
        except BaseException as error:
            log.error("a request failed outside of its last boundary", exc_info=error)
            await self._abandon()
        else:
            if not self.response_complete and not self.disconnected:
                log.error("the application returned without an answer")
                await self._abandon()
        finally:
            self._host.tasks.discard(self.task)

    async def _abandon(self) -> None:
        if self.response_started:
            self._transport.close()
            return
        head = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21"), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": head})
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    # --- the straight way ---------------------------------------------------------------------------------------

    async def body(self, most: int, patience: float) -> bytes:
        if self.more_body or self.disconnected:
            return await read_body(self.receive, most, patience)
        if self.waiting > most:
            raise oversized(most)
        return self._take()

    def side(self, fields: Fields) -> Downstream:
        return HttpSide({"method": self.method}, self.receive, self.send, fields)

    async def answer(self, status: int, fields: Sequence[tuple[str, str]], body: bytes) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        self.response_started = True
        lines = "\r\n".join(map(": ".join, fields))
        end = "\r\n\r\n" if self.keep_alive else "\r\nconnection: close\r\n\r\n"
        head = f"{STATUS_LINES[status]}{self._host.stock()}{lines}{end}".encode("latin-1", "replace")
        if self.method == "HEAD" or not body:
            self._transport.write(head)
        elif len(body) <= _JOINED:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self._complete()

    def _take(self) -> bytes:
        parts, self._parts, self.waiting, self._news = self._parts, [], 0, False
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _complete(self) -> None:
        self.response_complete = True
        self.wake()
        if not self.keep_alive:
            self._transport.close()
        self._host.on_response_complete()

    # --- ASGI's way ---------------------------------------------------------------------------------------------

    def _scope(self) -> dict[str, Any]:
        scope = self._host.scope_of_connection()
        path = scope["root_path"] + (unquote(self.path) if "%" in self.path else self.path)
        return scope | {
            "type": "http",
            "http_version": self.version,
            "method": self.method,
            "path": path,
            "raw_path": scope["root_path"].encode("ascii") + self.path.encode("ascii"),
            "query_string": self.query.encode("ascii"),
            "headers": encoded(self.headers),
        }

    async def receive(self) -> dict[str, Any]:
        if self.expects and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects = False
        if not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            if not self._news:
                if self._event is None:
                    self._event = asyncio.Event()
                self._event.clear()
                await self._event.wait()
        self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._take(), "more_body": self.more_body}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """:raises RuntimeError: the application breaks ASGI's rules, or HTTP's."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if self.response_complete or kind != ("http.response.body" if self.response_started else "http.response.start"):
            raise RuntimeError(f"{kind} is not what an answer goes on with here")
        if kind == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        lines: list[bytes] = []
        length: int | None = None
        closes = False
        for given, value in headers:
            name = given.lower()
            if _BAD_NAME.search(name) or _BAD_VALUE.search(value) or name == b"transfer-encoding":
                raise RuntimeError("a field of the answer can't be sent")
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                closes = closes or b"close" in [token.strip().lower() for token in value.split(b",")]
            lines += (name, b": ", value, b"\r\n")
        if self.expects:
            # Whether its body still comes can't be known, nor what the next bytes are (RFC 9110, section 10.1.1).
            self.keep_alive = self.expects = False
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        self._due = length
        if self.method == "HEAD" or (length is None and status in (204, 304)):
            self._due = 0
        elif length is None and self.version != "1.0":  # which knows no chunks (RFC 9112, section 6.1)
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        head = f"{STATUS_LINES[status]}{self._host.stock()}".encode("latin-1")
        self.response_started = True
        self._transport.write(b"".join([head, *lines, b"\r\n"]))

    def _go_on(self, body: bytes, *, more: bool) -> None:
        if self.method == "HEAD":
            body = b""
        if self._chunked:
            size = b"%x\r\n" % len(body)
            # Where there is nothing to say, a chunk would say that it was all (RFC 9112, section 7.1).
            data = (size + body + b"\r\n" if body else b"") + (b"" if more else b"0\r\n\r\n")
        else:
            data = body
            if self._due is not None:
                self._due -= len(body)
                if self._due < 0 or (self._due and not more):
                    raise RuntimeError("the answer's body has another length than its Content-Length says")
        if data:
            self._transport.write(data)
        if not more:
            self._complete()


def hang_up(transport: asyncio.Transport, *, now: bool) -> None:
    """`now`: by a reset, which throws away what is still to be sent, the kernel's part too."""
    if not now:
        transport.close()
        return
    if not transport.is_closing():
        # A copy, since uvloop doesn't lend its own; the option is the connection's.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as copy:
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
