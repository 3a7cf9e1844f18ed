"""Which of our functions one call runs through: a gateway on real sockets in this process, and `sys.setprofile`."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import grpc.aio
from google.protobuf.message_factory import GetMessageClass

from bridge.app import build
from bridge.config.settings import load
from bridge.stages.auth.local_issuer import LocalIssuer
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema
from tests.conftest import serving

ROOT = Path(__file__).parents[2]
GATEWAY, PLUGINS = str(ROOT / "bridge"), str(ROOT / "transformers")
OURS = (GATEWAY, PLUGINS)


@dataclass(frozen=True)
class Function:
    """`name`: qualified. `file`: from the top of the repository."""

    name: str
    file: str


class Trace:
    """:ivar calls: our functions, in the order in which they were called or resumed.
    :ivar entries: functions of plug-ins that the gateway called.
    :ivar stacks: our functions on the stack at each write to a socket, the outermost first.
    """

    def __init__(self) -> None:
        self.calls: list[Function] = []
        self.entries: set[Function] = set()
        self.stacks: list[list[Function]] = []

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            function = _function(frame)
            if "<" not in function.name:  # a comprehension, a lambda
                self.calls.append(function)
                if _of_a_plug_in(frame) and frame.f_back is not None and _of_the_gateway(frame.f_back):
                    self.entries.add(function)
        elif event == "c_call" and getattr(argument, "__name__", "") == "send":  # of a socket
            stack: list[Function] = []
            at: FrameType | None = frame
            while at is not None:
                if at.f_code.co_filename.startswith(OURS):
                    stack.append(_function(at))
                at = at.f_back
            if stack:
                self.stacks.append(stack[::-1])


def _of_the_gateway(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(GATEWAY)


def _of_a_plug_in(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(PLUGINS)


def _function(frame: FrameType) -> Function:
    code = frame.f_code
    return Function(code.co_qualname.replace(".<locals>", ""), str(Path(code.co_filename).relative_to(ROOT)))


@contextlib.asynccontextmanager
async def gateway(folder: Path, spec: str, mesh: str) -> AsyncIterator[tuple[int, str]]:
    """A gateway with one route of the repository; yields its port and a token for it."""
    for name in ("wsdl", "protos"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "routes").mkdir()
    shutil.copy(ROOT / "routes" / spec, folder / "routes")
    (folder / "mesh.yml").write_text(mesh)
    settings = load({}, home=folder)
    app = build(settings)
    async with app.router.lifespan_context(app), serving(app) as port:
        issuer = LocalIssuer.open(settings)
        yield port, issuer.mint("clerk", audience="ELECTION_PUBLIC" if "returns" in spec else "ELECTION_OFFICE")


async def traced(port: int, target: str, token: str) -> Trace:
    """The trace of one GET on a connection that has served others, so that everything that is made once is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n".encode()

    async def call() -> None:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))

    for _ in range(5):
        await call()
    trace = Trace()
    sys.setprofile(trace.profile)
    try:
        await call()
    finally:
        sys.setprofile(None)
        writer.close()
    return trace


@contextlib.asynccontextmanager
async def soap_service(answer: bytes) -> AsyncIterator[int]:
    """An HTTP service that gives `answer` to every POST; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/xml; charset=utf-8\r\ncontent-length: %d\r\n\r\n%s"
                    % (len(answer), answer)
                )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def grpc_service() -> AsyncIterator[int]:
    """``election.v1.BallotCount/GetCount`` on grpc.aio; yields its port."""
    pool = schema(compile_protos(["election/v1/ballots.proto"], ROOT / "protos")).pool
    method = pool.FindServiceByName("election.v1.BallotCount").FindMethodByName("GetCount")
    reply = GetMessageClass(method.output_type)()

    async def get_count(request: Any, context: Any) -> Any:
        return reply

    def serialise(message: Any) -> bytes:
        return bytes(message.SerializeToString())

    handler = grpc.unary_unary_rpc_method_handler(get_count, bytes, serialise)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("election.v1.BallotCount", {"GetCount": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
