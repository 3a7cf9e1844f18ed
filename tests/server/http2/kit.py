"""A client of HTTP/2 on a real socket that writes what it is told, well-formed or not, and reads frames."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import hpack

from bridge.api.downstream import ServerRequest
from bridge.api.record import Record
from bridge.http2 import frames
from bridge.server.listener import accepting
from bridge.server.state import ServerState
from tests.conftest import bind
from tests.transport.http2.kit import raw

Handler = Callable[[ServerRequest], Coroutine[Any, Any, None]]
GET = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a")]
POST = [(":method", "POST"), *GET[1:]]
END, ENDS = frames.END_HEADERS, frames.END_HEADERS | frames.END_STREAM


@dataclass
class Answer:
    """What came on one stream."""

    heads: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def head(self) -> dict[str, str]:
        return self.heads[0]


class Client:
    """:ivar answers: by the stream's number.
    :ivar goaway: code of the GOAWAY that came.
    :ivar frames: all that came: kind, flags, stream, payload.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.goaway_last = 0
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.closed = False
        self.acknowledges = True

    def write(self, *parts: bytes) -> None:
        self._writer.write(b"".join(parts))

    def block(self, fields: list[tuple[str, str]]) -> bytes:
        return self.encoder.encode(fields)

    def headers(self, number: int, fields: list[tuple[str, str]], *, end: bool = True) -> bytes:
        return raw(frames.HEADERS, ENDS if end else END, number, self.block(fields))

    def data(self, number: int, payload: bytes, *, end: bool = False) -> bytes:
        return raw(frames.DATA, frames.END_STREAM if end else 0, number, payload)

    def reset(self, number: int, code: int = frames.CANCEL) -> bytes:
        return frames.rst_stream(number, code)

    async def read(self) -> bool:
        """One frame; False at the end of the connection."""
        try:
            async with asyncio.timeout(20):
                head = await self._reader.readexactly(9)
                size = int.from_bytes(head[:3], "big")
                payload = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed = True
            self.close()  # as clients do
            return False
        kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
        self.frames.append((kind, flags, number, payload))
        answer = self.answers.setdefault(number, Answer())
        match kind:
            case frames.HEADERS:
                assert flags & frames.END_HEADERS
                answer.heads.append({str(name): str(value) for name, value in self._decoder.decode(payload)})
                answer.ended = bool(flags & frames.END_STREAM)
            case frames.DATA:
                answer.body += payload
                answer.ended = bool(flags & frames.END_STREAM)
            case frames.RST_STREAM:
                answer.reset = int.from_bytes(payload, "big")
            case frames.GOAWAY:
                self.goaway, self.goaway_last = int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[:4], "big")
            case frames.SETTINGS if not flags & frames.ACK and self.acknowledges:
                self.encoder.header_table_size = 0
                self.write(raw(frames.SETTINGS, frames.ACK, 0))
            case _:
                pass
        return True

    async def until(self, true: Callable[[], Any]) -> None:
        while not true():
            assert await self.read(), "the connection has ended"

    async def answer(self, number: int) -> Answer:
        """The whole answer on a stream, or its reset."""
        answer = self.answers.setdefault(number, Answer())
        await self.until(lambda: answer.ended or answer.reset is not None)
        return answer

    async def end(self) -> int | None:
        """Read to the end of the connection; the code of GOAWAY."""
        while await self.read():
            pass
        return self.goaway

    async def settled(self) -> None:
        """Both ends have applied the other's SETTINGS."""
        await self.until(lambda: any(kind == frames.SETTINGS and flags for kind, flags, _, _ in self.frames))

    async def alive(self) -> None:
        """The connection still answers."""
        mark = b"is alive"
        self.write(raw(frames.PING, 0, 0, mark))
        await self.until(lambda: (frames.PING, frames.ACK, 0, mark) in self.frames)
        self.frames.clear()

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def dialled(
    port: int, *, settings: bytes = b"", preface: bytes = frames.PREFACE, context: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    """A connection that has begun. :param settings: our SETTINGS' payload."""
    name = "gateway.example" if context else None
    client = Client(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))
    try:
        client.write(preface, raw(frames.SETTINGS, 0, 0, settings) if preface else b"")
        yield client
    finally:
        client.close()


@dataclass
class Served:
    port: int
    server: ServerState
    log: list[Record]


@contextlib.asynccontextmanager
async def answering(
    handler: Handler, *, drain: float = 10, hurry: asyncio.Event | None = None
) -> AsyncIterator[Served]:
    """Our server, with `handler` for every request."""
    bound = bind()
    log: list[Record] = []
    server = ServerState(None, handler, log.append, 1000)
    async with accepting(server, bound):
        yield Served(bound.getsockname()[1], server, log)
    await server.drain(drain, hurry or asyncio.Event())


async def says_ok(request: ServerRequest) -> None:
    await request.answer(200, [("content-length", "2")], b"ok")


async def echoes(request: ServerRequest) -> None:
    body = await request.body(1 << 24, 10)
    await request.answer(200, [("content-length", str(len(body)))], body)
