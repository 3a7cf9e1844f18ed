"""A gateway in front of WebSockets: services and clients that speak by hand, frame by frame."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

SPEC = """
route: /chat/{{room*}}
upstream: {upstream}
auth: {{type: none}}
{keys}
transform:
  request: passthrough
  response: passthrough
  passthrough: {{websocket: true}}
"""
HANDSHAKE = (
    b"GET /chat/blue HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: Of a service: what it does with a connection, after the handshake or instead of it.
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """A frame, under a mask of zeros if it is a client's (RFC 6455, section 5.2)."""
    bit = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        length = bytes([size | bit])
    else:
        length = struct.pack(">BH", 126 | bit, size) if size < 1 << 16 else struct.pack(">BQ", 127 | bit, size)
    return bytes([opcode | (fin << 7)]) + length + bytes(4 if masked else 0) + payload


def close(code: int, reason: bytes = b"", *, masked: bool = True) -> bytes:
    return frame(8, struct.pack(">H", code) + reason, masked=masked)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    """The opcode, whether it ends a message, and the payload, unmasked."""
    first, second = await reader.readexactly(2)
    size = second & 127
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4) if second & 128 else bytes(4)
    payload = await reader.readexactly(size)
    return first & 15, bool(first & 128), bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


async def read_close(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Code and reason of the next close frame, 1005 for none in it, 1006 if the connection ends without one."""
    try:
        while True:
            opcode, _, payload = await read_frame(reader)
            if opcode == 8:
                return (struct.unpack(">H", payload[:2])[0], payload[2:].decode()) if payload else (1005, "")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 1006, ""


def acceptance(key: str, *fields: str) -> bytes:
    digest = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {digest}", *fields, "", ""]).encode("latin-1")


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """The request line, and the fields with names in lower case."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    return head[0], {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}


def accepting(script: Script) -> Script:
    """`script`, behind a handshake."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, fields = await read_request(reader)
        writer.write(acceptance(fields["sec-websocket-key"]))
        await script(reader, writer)

    return accept


@contextlib.asynccontextmanager
async def by_hand(script: Script) -> AsyncIterator[int]:
    """A service that does what `script` says; yields its port."""
    failures: list[Exception] = []
    tasks: list[asyncio.Task[None]] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=10)
    assert failures == []


@contextlib.asynccontextmanager
async def library(handler: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> AsyncIterator[int]:
    """A service of the library `websockets`; yields its port."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@contextlib.asynccontextmanager
async def dialled(
    port: int, head: bytes = HANDSHAKE
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has sent `head`, and has read the answer's head if that accepts it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    try:
        if head.endswith(b"\r\n\r\n"):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 "), answer
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
