"""How long everybody else waits while the gateway handles one large or finely cut message, and what memory that takes.

    python benchmarks/large_messages.py [--only NAME,…] [--scale N] [--check]

Each case is one message to or through a gateway process of its own, at the sizes that the routes' bounds allow (8 MiB
of a request, 32 MiB of an answer). Beside it a few clients go on asking for something small. Printed are: the message's
size on the wire, the status of its answer, the CPU seconds of the gateway, the longest time that its event loop did not
turn (in CPU seconds of the process, which a busy machine does not lengthen, and on the clock), the 99th percentile of
the small calls before and meanwhile, and the peak of the memory that was added, beside the bound (8 times the message,
64 MB at least). CPU and memory of processes that translated a message are counted, too. With ``--check`` the exit code
is 1 where a bound is missed.

`tests/gateway/test_large_messages.py` runs the same cases.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import functools
import gzip
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MB = 1024 * 1024
FLOOR = 64 * MB  #: bytes that any message may take
FACTOR = 8  #: times a larger one's size
BLOCKED = 0.05  #: CPU seconds that the loop may not turn
WAIT = 0.1  #: seconds that others may wait beyond what they do on a gateway that does nothing else
CLIENTS = 4  #: that ask for something small, one call after another

PROTO = """
syntax = "proto3";
package large;
service Items {
  rpc Put(Item) returns (Item);
  rpc Many(Items_) returns (Items_);
  rpc Up(stream Item) returns (Item);
  rpc Both(stream Item) returns (stream Item);
  rpc Down(Item) returns (stream Item);
}
message Item { string name = 1; int64 number = 2; Item inner = 3; }
message Items_ { repeated Item items = 1; }
"""
WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:large" targetNamespace="urn:large">
<types><xs:schema targetNamespace="urn:large" elementFormDefault="qualified">
<xs:complexType name="Row"><xs:sequence><xs:element name="Id" type="xs:int"/><xs:element name="Name" type="xs:string"/>
<xs:element name="Sum" type="xs:decimal" minOccurs="0"/></xs:sequence></xs:complexType>
<xs:complexType name="Rows"><xs:sequence><xs:element name="Row" type="t:Row" minOccurs="0" maxOccurs="unbounded"/>
</xs:sequence></xs:complexType>
<xs:element name="Get" type="t:Rows"/><xs:element name="Got" type="t:Rows"/>
</xs:schema></types>
<message name="In"><part name="p" element="t:Get"/></message>
<message name="Out"><part name="p" element="t:Got"/></message>
<portType name="P"><operation name="Get"><input message="t:In"/><output message="t:Out"/></operation></portType>
<binding name="B" type="t:P"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
<operation name="Get"><soap:operation soapAction="urn:Get"/><input><soap:body use="literal"/></input>
<output><soap:body use="literal"/></output></operation></binding>
<service name="S"><port name="P" binding="t:B"><soap:address location="http://x.example/soap"/></port></service>
</definitions>
"""
ROUTES = {
    "quick": ("/quick/{rest*}", "calm:80", "request: passthrough, response: passthrough"),
    "pass": ("/pass/{rest*}", "svc:80", "request: passthrough"),
    "xml": ("/xml/{rest*}", "svc:80", "request: xml"),
    "soap-in": ("/soap-in", "svc:80/in", "request: soap, soap: {wsdl: large.wsdl, operation: Get}"),
    "soap": ("/soap", "svc:80", "request: soap, soap: {wsdl: large.wsdl, operation: Get}"),
}
RPC = ("/grpc/{name}", "rpc-{name}:1", "request: grpc, grpc: {{protos: [large.proto]}}")
ROW = "<Row><Id>%d</Id><Name>row number %d of many</Name><Sum>12.50</Sum></Row>"
SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


# --- the service ------------------------------------------------------------------------------------------------------


def repeated(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece))


def chunked(body: bytes, sizes: Callable[[int], int]) -> bytes:
    """`body` in chunks; the n-th has ``sizes(n)`` bytes."""
    out, at, number = bytearray(), 0, 0
    while at < len(body):
        size = sizes(number)
        number += 1
        part = body[at : at + size]
        at += size
        out += b"%x\r\n%s\r\n" % (len(part), part)
    return bytes(out + b"0\r\n\r\n")


def rows(size: int) -> bytes:
    count = size // len(ROW % (100000, 100000))
    return "".join(ROW % (number, number) for number in range(count)).encode()


def http_answer(name: str, size: int) -> bytes:
    """The bytes of the answer that is called `name`; `size` is about that of its body."""
    kind, coding, chunks = "application/json", "", None
    if name == "bytes":  # 1-byte chunks of JSON
        body, chunks = b'"%s"' % (b"x" * size), 1
    elif name == "uneven":  # chunks of 1 to 3 bytes
        body, chunks = b'"%s"' % (b"x" * size), 3
    elif name == "lines":  # chunks that hold a line's end each
        body, chunks = repeated(b"\r\n", size), 2
    elif name == "json":
        body = b"[%s]" % b",".join([b'{"a":%d}' % number for number in range(size // 14)])
    elif name == "xml":
        kind, body = "application/xml", b"<Rows>%s</Rows>" % rows(size)
    elif name == "soap":
        kind = "text/xml"
        envelope = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>'
        body = envelope % (b'<Got xmlns="urn:large">%s</Got>' % rows(size))
    elif name == "gzip":
        body, coding = gzip.compress(b'"%s"' % (b"x" * size), 9), "Content-Encoding: gzip\r\n"
    else:
        return SMALL
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{coding}"
    if chunks is None:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    drawn = random.Random(1)
    sizes = (lambda _: drawn.randint(1, 3)) if chunks == 3 else (lambda _: chunks)
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunked(body, sizes)


async def http_service(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[str], bytes]
) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.decode("latin-1").split("\r\n"):
                if line.lower().startswith("content-length:"):
                    await reader.readexactly(int(line.split(":")[1]))
            writer.write(answer(head.split(b" ")[1].decode().rpartition("/")[2]))
            await writer.drain()
    writer.close()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def rpc_answer(name: str, size: int) -> bytes:
    """What a hostile HTTP/2 service says in answer to a call (of stream 1). It may take seconds to make."""
    head = frame(1, 4, 1, b"\x88\x5f\x10application/grpc")
    trailers = frame(1, 5, 1, b"\x00\x0bgrpc-status\x010")
    if name == "settings":
        setting = frame(4, 0, 0, b"\x00\x04\x00\x01\x00\x00" * 2000)
        return repeated(setting, size) + head
    if name == "unknown-settings":
        setting = frame(4, 0, 0, b"\x77\x77\x00\x01\x00\x00" * 2000)
        return repeated(setting, size) + head
    if name == "acks":
        return repeated(frame(4, 1, 0), size) + head
    if name == "windows":
        return repeated(frame(8, 0, 1, b"\0\0\0\1"), size) + head
    if name == "continuations":
        return frame(1, 0, 1, b"\x88") + repeated(frame(9, 0, 1, b"\x88"), size) + head
    if name == "pieces":  # DATA frames of one byte
        message = b"\x0a" + _varint(size) + b"x" * size
        body = b"\0" + len(message).to_bytes(4, "big") + message
        return head + b"".join([frame(0, 0, 1, body[at : at + 1]) for at in range(len(body))]) + trailers
    if name == "items":  # a message of very many empty ones
        message = b"\x0a\x00" * (size // 2)
        body = b"\0" + len(message).to_bytes(4, "big") + message
        cut = [body[at : at + 16384] for at in range(0, len(body), 16384)]
        return head + b"".join([frame(0, 0, 1, part) for part in cut]) + trailers
    if name == "empties":  # a stream of messages of no byte
        body = repeated(b"\0\0\0\0\0", size)
        cut = [body[at : at + 16380] for at in range(0, len(body), 16380)]
        return head + b"".join([frame(0, 0, 1, part) for part in cut]) + trailers
    return head + frame(0, 0, 1, b"\0\0\0\0\0") + trailers


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


async def rpc_service(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[], bytes], *, late: bool
) -> None:
    """Says its piece as far as the windows go that a client gives; once all of the request is there, if `late`."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        writer.write(frame(4, 0, 0))
        await reader.readexactly(24)
        said = answer()
        at, window, taken, begun = 0, 0, 0, False
        initial = 65535
        connection, own = 65535, 0
        while True:
            head = await reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream, payload = int.from_bytes(head[5:], "big"), await reader.readexactly(length)
            if kind == 4 and not flags & 1:
                for where in range(0, length, 6):
                    if payload[where : where + 2] == b"\0\4":
                        initial = int.from_bytes(payload[where + 2 : where + 6], "big")
                writer.write(frame(4, 1, 0))
            elif kind == 8:
                by = int.from_bytes(payload, "big")
                if stream:
                    own += by
                else:
                    connection += by
            elif kind == 1 and not begun:
                begun, own = not late or bool(flags & 1), own + initial
            elif kind == 0:
                begun = begun or bool(flags & 1)
                taken += length
                if taken > 1 << 15:
                    writer.write(frame(8, 0, 0, taken.to_bytes(4, "big")) + frame(8, 0, 1, taken.to_bytes(4, "big")))
                    taken = 0
            elif kind == 3:
                break
            while begun and at < len(said) and not writer.is_closing():
                size = int.from_bytes(said[at : at + 3], "big")
                if said[at + 3] == 0:
                    if size > min(own, connection):
                        break
                    own, connection = own - size, connection - size
                writer.write(said[at : at + 9 + size])
                at += 9 + size
                window += 1
                if window % 1000 == 0:
                    await writer.drain()
    writer.close()


async def service(answers: dict[str, float]) -> None:
    """Serves until it is killed; prints its ports by the names that the mesh has for them.

    :param answers: names, and sizes.
    """

    @functools.cache
    def http(name: str) -> bytes:
        return http_answer(name, int(answers.get(name, 0)))

    @functools.cache
    def rpc(name: str) -> bytes:
        return rpc_answer(name, int(answers[name]))

    def speaks(name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        return lambda reader, writer: rpc_service(reader, writer, lambda: rpc(name), late=name == "late")

    servers = {"svc": await asyncio.start_server(lambda r, w: http_service(r, w, http), "127.0.0.1", 0)}
    for name in answers:
        servers[f"rpc-{name}"] = await asyncio.start_server(speaks(name), "127.0.0.1", 0)
    print(json.dumps({name: server.sockets[0].getsockname()[1] for name, server in servers.items()}), flush=True)
    await asyncio.Event().wait()


# --- the gateway ------------------------------------------------------------------------------------------------------


class Sampler:
    """Looks once a millisecond how long the loop took to come round.

    :ivar cpu: CPU seconds of the whole process within the longest turn: what runs in a thread and keeps the
        interpreter counts, what the machine gives to other processes does not.
    :ivar clock: seconds of the longest turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seen = (time.process_time(), time.perf_counter())
        self.cpu = self.clock = 0.0
        loop.call_soon(self._look)
        loop.call_soon(lambda: loop.add_signal_handler(signal.SIGUSR1, self.tell))

    def _look(self) -> None:
        now = time.process_time(), time.perf_counter()
        self.cpu, self.clock = max(self.cpu, now[0] - self._seen[0]), max(self.clock, now[1] - self._seen[1])
        self._seen = now
        self._loop.call_later(0.001, self._look)

    def tell(self) -> None:
        """Print what was seen since the last time, and begin anew."""
        ctypes.CDLL(None).malloc_trim(0)  # what is free counts for nothing
        status = Path("/proc/self/status").read_text("ascii")
        peak, now = (int(status.partition(f"{name}:")[2].split()[0]) * 1024 for name in ("VmHWM", "VmRSS"))
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # processes that translated messages; the largest of all
        spent = time.process_time() + ended.ru_utime + ended.ru_stime
        told = {"cpu": self.cpu, "clock": self.clock, "peak": peak, "now": now, "spent": spent}
        print(json.dumps({**told, "apart": ended.ru_maxrss * 1024}), flush=True)
        self.cpu = self.clock = 0.0
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
        self._seen = (time.process_time(), time.perf_counter())


def serve(before: str, arguments: list[str]) -> None:
    """The gateway's own command with a sampler in its loop, which tells at SIGUSR1 what it saw.

    :param before: statements to run first.
    """
    exec(before, {})
    from bridge.cli import main as cli
    from bridge.server import listener as served

    made = served._loop_factory()

    def looked_at() -> asyncio.AbstractEventLoop:
        loop = made()
        Sampler(loop)
        return loop

    served._loop_factory = lambda: looked_at
    sys.argv = ["hms-bridge", *arguments]
    cli.main()


class Gateway:
    """A gateway process, and what its sampler tells."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process, self.port = process, port

    def told(self) -> dict[str, float]:
        self._process.send_signal(signal.SIGUSR1)
        assert self._process.stdout is not None
        told: dict[str, float] = json.loads(self._process.stdout.readline())
        return told


@contextlib.contextmanager
def process(*arguments: str, stderr: int = subprocess.DEVNULL, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """:param stderr: a pipe must be read to its end, or the process stands still once it is full."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    with subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


@contextlib.contextmanager
def gateway(home: Path, answers: dict[str, float], before: str = "") -> Iterator[Gateway]:
    """A gateway before a service that answers as `http_answer` and `rpc_answer` say.

    :param answers: their names and sizes. :param before: statements that the gateway's process runs first.
    """
    for folder in ("routes", "wsdl", "protos"):
        (home / folder).mkdir()
    (home / "protos/large.proto").write_text(PROTO)
    (home / "wsdl/large.wsdl").write_text(WSDL)
    routes = ROUTES | {f"grpc-{name}": tuple(text.format(name=name) for text in RPC) for name in answers}
    for name, (route, upstream, transform) in routes.items():
        spec = f"route: {route}\nupstream: {upstream}\nauth: {{type: none}}\ntimeout: 60s\ntransform: {{{transform}}}\n"
        if name == "quick":
            spec += "methods: [GET]\n"
        (home / f"routes/{name}.yml").write_text(spec)
    # Small calls go to a service of their own: the other one has its hands full.
    with process("--service", json.dumps(answers)) as busy, process("--service", "{}") as calm:
        assert busy.stdout is not None
        assert calm.stdout is not None
        ports = json.loads(busy.stdout.readline())
        ports["calm"] = json.loads(calm.stdout.readline())["svc"]
        (home / "mesh.yml").write_text(json.dumps({name: f"127.0.0.1:{port}" for name, port in ports.items()}))
        arguments = ("--serve", before, "serve", "--port", "0")
        with process(*arguments, stderr=subprocess.PIPE, BRIDGE_HOME=str(home)) as served:
            assert served.stderr is not None
            seen: list[str] = []
            for line in served.stderr:
                seen.append(line)
                if line.startswith("HMS Bridge serves"):
                    break
            else:
                raise AssertionError("it did not start: " + "".join(seen))
            threading.Thread(target=served.stderr.read, daemon=True).start()
            yield Gateway(served, int(seen[-1].rstrip("/").rpartition(":")[2]))


# --- the cases --------------------------------------------------------------------------------------------------------


async def ask(port: int, head: str, body: Sequence[bytes] = (), *, host: str = "a") -> tuple[int, int]:
    """Send a request; the answer's status, and how many bytes of it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * MB)
    try:
        last = "" if "Upgrade" in head else "Connection: close\r\n"
        writer.write(f"{head}\r\nHost: {host}\r\n{last}\r\n".encode())

        async def send() -> None:
            for piece in body:
                writer.write(piece)
                await writer.drain()

        status, size = 0, 0
        if not last:  # nothing may be said before the handshake is over
            status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
        sending = asyncio.create_task(send())
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                size += len(data)
                status = status or int(data.split(b" ", 2)[1])
                if not last and b"\x88" in data:
                    break  # the WebSocket is closed
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await sending
        return status, size
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


Ask = Callable[[int], Coroutine[Any, Any, tuple[int, int]]]


@dataclass(frozen=True)
class Case:
    """One message.

    :ivar size: bytes, of an answer's body or of the request's.
    :ivar ask: sends it (or asks for it), given the gateway's port and the size.
    :ivar status: that are right.
    :ivar answer: of the service.
    """

    name: str
    size: float
    ask: Callable[[int, int], Coroutine[Any, Any, tuple[int, int]]]
    status: frozenset[int]
    answer: str = "plain"


def get(path: str) -> Callable[[int, int], Coroutine[Any, Any, tuple[int, int]]]:
    return lambda port, size: ask(port, f"GET {path} HTTP/1.1")


def post(
    path: str, made: Callable[[int], bytes], kind: str = "application/json"
) -> Callable[[int, int], Coroutine[Any, Any, tuple[int, int]]]:
    def asking(port: int, size: int) -> Coroutine[Any, Any, tuple[int, int]]:
        body = made(size)
        return ask(port, f"POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}", [body])

    return asking


def finely(path: str, made: Callable[[int], bytes]) -> Callable[[int, int], Coroutine[Any, Any, tuple[int, int]]]:
    """A request's body in chunks of a byte."""

    def asking(port: int, size: int) -> Coroutine[Any, Any, tuple[int, int]]:
        body = chunked(made(size), lambda _: 1)
        head = f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
        return ask(port, head, [body[at : at + MB] for at in range(0, len(body), MB)])

    return asking


def unknown_keys(size: int) -> bytes:
    return b"{%s}" % b",".join([b'"k%07d":1' % number for number in range(size // 12)])


def empty_objects(size: int) -> bytes:
    return b"[%s]" % b",".join([b"{}"] * (size // 3))


def row_objects(size: int) -> bytes:
    row = b'{"Id":%d,"Name":"row number %d of many","Sum":"12.50"}'
    count = size // len(row % (100000, 100000))
    return b'{"Row":[%s]}' % b",".join([row % (number, number) for number in range(count)])


def items(size: int) -> bytes:
    item = b'{"name":"item number %d of many","number":"%d"}'
    count = size // len(item % (100000, 100000))
    return b'{"items":[%s]}' % b",".join([item % (number, number) for number in range(count)])


def web_socket(made: Callable[[int], bytes]) -> Callable[[int, int], Coroutine[Any, Any, tuple[int, int]]]:
    """A WebSocket whose client says ``made(size)``."""

    def asking(port: int, size: int) -> Coroutine[Any, Any, tuple[int, int]]:
        head = (
            "GET /grpc/plain/large.Items/Both HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        )
        return ask(port, head, [made(size)])

    return asking


def _masked(opcode: int, payload: bytes) -> bytes:
    return bytes((opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def fragments(size: int) -> bytes:
    return b"\x01" + _masked(0, b"{")[1:] + repeated(_masked(0, b" "), size) + _masked(0x80, b"}") + _masked(0x88, b"")


def pings(size: int) -> bytes:
    return repeated(_masked(0x89, b""), size) + _masked(0x88, b"")


OK, REFUSED, FAILED, ENDED = frozenset({200}), frozenset({400, 413}), frozenset({502, 503}), frozenset({200, 502})


def rpc(
    name: str,
    size: float,
    status: frozenset[int],
    answer: str = "plain",
    *,
    method: str = "Put",
    made: Callable[[int], bytes] = lambda _: b"{}",
    kind: str = "application/json",
) -> Case:
    """A call of a gRPC route."""
    return Case(name, size, post(f"/grpc/{answer}/large.Items/{method}", made, kind), status, answer)


def many_parts(size: int) -> bytes:
    return repeated(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n', size) + b"--b--\r\n"


FULL = 8 * MB - 100
CASES = [
    # The issue's own.
    Case("chunks of a byte", 4 * MB, get("/pass/bytes"), OK, "bytes"),
    Case("a SOAP reply", 31 * MB, post("/soap", lambda _: b"{}"), OK, "soap"),
    Case("an XML reply", 31 * MB, get("/xml/xml"), OK, "xml"),
    rpc("unknown keys", 6 * MB, REFUSED, made=unknown_keys),
    Case("empty objects", FULL, post("/xml/a", empty_objects), REFUSED),
    rpc("SETTINGS", 4 * MB, FAILED, "settings"),
    # Their like.
    Case("chunks of 1 to 3 bytes", 4 * MB, get("/pass/uneven"), OK, "uneven"),
    Case("chunks of a line's end", 4 * MB, get("/pass/lines"), OK, "lines"),
    Case("a JSON reply", 31 * MB, get("/pass/json"), OK, "json"),
    Case("an XML reply passed", 31 * MB, get("/pass/xml"), OK, "xml"),
    Case("a compressed reply", 31 * MB, get("/pass/gzip"), OK, "gzip"),
    rpc("unknown keys, fewer", 3 * MB, REFUSED, made=unknown_keys),
    Case("unknown keys, SOAP", 6 * MB, post("/soap", unknown_keys), REFUSED),
    Case("unknown keys, XML", 6 * MB, post("/xml/a", unknown_keys), REFUSED),
    rpc("empty objects, gRPC", FULL, REFUSED, made=empty_objects),
    Case("empty objects, SOAP", FULL, post("/soap", empty_objects), REFUSED),
    Case("brackets", FULL, post("/xml/a", lambda size: b"[" * size), REFUSED),
    Case("quoted brackets", FULL, post("/xml/a", lambda size: b"[" + repeated(b'"[",', size)), REFUSED),
    Case("rows, SOAP", 5 * MB, post("/soap-in", row_objects), ENDED),
    rpc("rows, gRPC", 5 * MB, ENDED, method="Many", made=items),
    Case("a request in chunks of a byte", 4 * MB, finely("/pass/a", lambda size: b" " * size), OK),
    rpc("a stream of small messages", MB, OK, "late", method="Up", made=lambda size: b"{}\n" * (size // 3)),
    rpc("a form of many fields", 6 * MB, REFUSED, made=lambda size: repeated(b"a=&", size),
        kind="application/x-www-form-urlencoded"),
    rpc("a form of many parts", 6 * MB, REFUSED, made=many_parts, kind="multipart/form-data; boundary=b"),
    Case("fragments, WebSocket", 4 * MB, web_socket(fragments), frozenset({101})),
    Case("pings, WebSocket", 4 * MB, web_socket(pings), frozenset({101})),
    rpc("unknown SETTINGS", 4 * MB, FAILED, "unknown-settings"),
    rpc("SETTINGS acknowledged", 4 * MB, FAILED, "acks"),
    rpc("WINDOW_UPDATEs", 4 * MB, FAILED, "windows"),
    rpc("CONTINUATIONs", 4 * MB, FAILED, "continuations"),
    rpc("DATA of a byte", MB, OK, "pieces"),
    rpc("empty items", 31 * MB, ENDED, "items", method="Many"),
    rpc("empty messages", 4 * MB, OK, "empties", method="Down"),
]  # fmt: skip


# --- measuring --------------------------------------------------------------------------------------------------------


async def small_calls(port: int, stop: asyncio.Event, pause: float = 0.002) -> list[float]:
    """Seconds that each of the calls took which a few clients made until `stop`."""
    taken: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not stop.is_set():
            began = time.perf_counter()
            writer.write(b"GET /quick/a HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await reader.readuntil(b"}")
            if b" 200 " not in answer[:20]:
                raise AssertionError(answer)
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(pause)
        writer.close()

    await asyncio.gather(*[client() for _ in range(CLIENTS)])
    return taken


def added(before: dict[str, float], after: dict[str, float]) -> float:
    """Bytes that a message took: of the gateway, and of the process that translated it. What both share counts twice.

    :param before: what `Gateway.told` said before it; a process that is smaller than one before it counts for nothing.
    """
    apart = after["apart"] - before["now"] if after["apart"] > before["apart"] else 0
    return after["peak"] - before["now"] + max(0, apart)


def p99(taken: Sequence[float]) -> float:
    return sorted(taken)[math.ceil(len(taken) * 0.99) - 1] if taken else math.nan


@dataclass
class Result:
    """What one case did: seconds and bytes."""

    status: int
    came: int
    spent: float
    cpu: float
    clock: float
    usual: float
    meanwhile: float
    seconds: float
    grown: float
    bound: float


async def measure(case: Case, running: Gateway, scale: float, idle: float, times: int = 1) -> Result:
    stop = asyncio.Event()
    beside = asyncio.create_task(small_calls(running.port, stop))
    await asyncio.sleep(idle)
    stop.set()
    usual = p99(await beside)
    before = await asyncio.to_thread(running.told)
    stop = asyncio.Event()
    beside = asyncio.create_task(small_calls(running.port, stop))
    began = time.perf_counter()
    size = int(case.size * scale)
    answers = await asyncio.gather(*[case.ask(running.port, size) for _ in range(times)])
    seconds = time.perf_counter() - began
    stop.set()
    meanwhile = p99(await beside)
    after = await asyncio.to_thread(running.told)
    grown = added(before, after)
    bound = times * max(FLOOR, FACTOR * case.size * scale)
    status, came = answers[0]
    spent = after["spent"] - before["spent"]
    return Result(status, came, spent, after["cpu"], after["clock"], usual, meanwhile, seconds, grown, bound)


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3:])
    if sys.argv[1:2] == ["--service"]:
        asyncio.run(service(json.loads(sys.argv[2])))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds one of these, by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes")
    parser.add_argument("--times", type=int, default=1, help="messages at once")
    parser.add_argument("--idle", type=float, default=2.0, help="seconds to learn what is usual")
    parser.add_argument("--check", action="store_true", help="exit 1 where a bound is missed")
    given = parser.parse_args()
    wanted = given.only.split(",")
    failed = False
    print(f"{'case':31} status  took/s   CPU/s  turn CPU/clock ms   p99 usual/meanwhile ms   MB added (bound)")
    for case in CASES:
        if not any(name in case.name for name in wanted):
            continue
        with (
            tempfile.TemporaryDirectory() as folder,
            gateway(Path(folder), {case.answer: case.size * given.scale}) as running,
        ):
            it = asyncio.run(measure(case, running, given.scale, given.idle, given.times))
        missed = [
            name
            for name, found in (
                ("status", it.status not in case.status),
                ("turn", it.cpu > BLOCKED),
                ("wait", it.meanwhile > it.usual + WAIT),
                ("memory", it.grown > it.bound),
            )
            if found
        ]
        failed = failed or bool(missed)
        print(
            f"{case.name:31} {it.status:6} {it.seconds:7.2f} {it.spent:7.2f} {it.cpu * 1000:9.0f} /"
            f"{it.clock * 1000:6.0f} {it.usual * 1000:11.1f} /{it.meanwhile * 1000:7.1f} {it.grown / MB:12.0f}"
            f" ({it.bound / MB:.0f})  {', '.join(missed)}",
            flush=True,
        )
    return int(failed and given.check)


if __name__ == "__main__":
    raise SystemExit(main())
