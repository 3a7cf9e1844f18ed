"""A TCP server that says exactly what a test tells it to, well-formed or not; and servers of gRPC's own library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop

from bridge.api.call import HttpReply, HttpRequest
from bridge.cluster.cluster import Cluster
from bridge.cluster.outlier import Instance, OutlierDetector
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import Client
from tests.oracles.aiohttp_client import AiohttpClient
from tests.oracles.clusters import grpc_cluster, http_cluster

Behaviour = Callable[["Peer"], Awaitable[None]]


@dataclass
class Seen:
    """One request as it came over the wire."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.rstrip(b"\r\n").split(b"\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


@dataclass
class Peer:
    """One connection of the misbehaving server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    server: Misbehaving

    async def request(self) -> Seen:
        """Read one whole request; raises `asyncio.IncompleteReadError` once the client has closed."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        seen = Seen(head, b"", self.number)
        length = seen.all(b"content-length")
        if length:
            seen.body = await self.reader.readexactly(int(length[0]))
        self.server.seen.append(seen)
        return seen

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()


@dataclass
class Misbehaving:
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)


def reply(body: bytes = b"hello", status: bytes = b"200 OK", *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.fixture(name="reply")
def _reply() -> Callable[..., bytes]:
    return reply


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Misbehaving]]]:
    """``await serve(behaviour)`` or ``await serve(b"bytes said after each request")`` -> `Misbehaving`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(behaviour: Behaviour | bytes, host: str = "127.0.0.1", **options: Any) -> Misbehaving:
            server = Misbehaving()
            tasks: set[asyncio.Task[None]] = set()

            async def by_default(peer: Peer) -> None:
                assert isinstance(behaviour, bytes)
                while True:
                    await peer.request()
                    await peer.say(behaviour)

            async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                tasks.add(task)
                server.connections += 1
                peer = Peer(reader, writer, server.connections, server)
                try:
                    await (by_default if isinstance(behaviour, bytes) else behaviour)(peer)
                except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                    pass
                finally:
                    server.closed.set()
                    writer.transport.abort() if getattr(writer, "reset", False) else writer.close()

            listening = await asyncio.start_server(on_connection, host, 0, **options)
            server.port = listening.sockets[0].getsockname()[1]

            async def stop() -> None:
                listening.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            stack.push_async_callback(stop)
            return server

        yield start


MakeClient = Callable[..., Client]


@pytest.fixture(params=[HttpClient, AiohttpClient], ids=["lean", "general"])
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    """``make_client(ssl_context=…, per_address=…)``: each of the two that there are, unclosed."""
    made: MakeClient = request.param
    return made


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What speaks HTTP is tried on uvloop, too: its transports are its own, and it is what serves."""
    loops = {"asyncio": asyncio.new_event_loop}
    both = item.path.name.startswith("test_http") or item.path.name == "test_deadline_steps.py"
    if both or item.path.parent.name == "http11":
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncIterator[Client]:
    client = make_client()
    yield client
    await client.aclose()


class All(dict[tuple[str, int], Instance]):
    """Every address is in it, so that each success is reported."""

    def __bool__(self) -> bool:
        return True

    def __contains__(self, address: object) -> bool:
        return True


class Reports(OutlierDetector):
    """Keeps what it is told: `unreached` addresses, `lost` calls and `answered` ones."""

    def __init__(self) -> None:
        super().__init__()
        self.unreached: list[tuple[str, int]] = []
        self.lost: list[tuple[str, int]] = []
        self.answered: list[tuple[str, int]] = []
        self.suspects = All()

    def unreachable(self, address: tuple[str, int], epoch: int, cause: str) -> None:
        self.unreached.append(address)

    def failed(self, address: tuple[str, int], epoch: int, cause: str) -> None:
        self.lost.append(address)

    def succeeded(self, address: tuple[str, int], epoch: int) -> None:
        self.answered.append(address)


@pytest.fixture
def reports() -> Reports:
    return Reports()


Send = Callable[..., Awaitable[HttpReply]]


@pytest.fixture
def connect(client: Client) -> Callable[..., Cluster]:
    """``connect(server, …)`` -> an upstream named ``vat-svc:8080`` whose addresses are those of the servers."""

    def make(
        *servers: Misbehaving | tuple[str, int],
        max_reply: int = 1 << 20,
        tls: bool = False,
        with_client: Client | None = None,
        outliers: OutlierDetector | None = None,
        port: str = "8080",
    ) -> Cluster:
        async def addresses() -> list[tuple[str, int]]:
            return [server.address if isinstance(server, Misbehaving) else server for server in servers]

        return http_cluster(
            addresses,
            client=with_client or client,
            tls=tls,
            name="vat-svc",
            port=port,
            max_reply=max_reply,
            outliers=outliers,
        )

    return make


@pytest.fixture
def ask() -> Send:
    """``await ask(upstream, method, path, …)`` with a deadline so many seconds away."""

    async def send(
        upstream: Cluster,
        method: str = "GET",
        path: str = "/",
        *,
        headers: list[tuple[str, str]] | None = None,
        body: bytes = b"",
        decode: bool = True,
        within: float = 5.0,
        trace: tuple[tuple[str, str], ...] = (),
    ) -> HttpReply:
        request = HttpRequest(method, path, headers or [], body, decode)
        deadline = asyncio.get_running_loop().time() + within
        reply: HttpReply = await upstream.send(request, deadline=deadline, trace=trace)
        return reply

    return send


# --- gRPC ---------------------------------------------------------------------------------------------------------


@dataclass
class GrpcServer:
    """A server of ``a.S`` on a free port."""

    server: Any
    address: tuple[str, int]


@pytest.fixture
async def serve_grpc() -> AsyncIterator[Callable[..., Awaitable[GrpcServer]]]:
    """``await serve_grpc({"Method": handler}, …)`` -> `GrpcServer`. A handler takes raw messages, and streams them both
    ways (`stream=True`) or takes and gives one. `add` may register more with the server before it starts."""
    started: list[Any] = []

    async def start(
        methods: Mapping[str, Any],
        *,
        stream: bool = False,
        credentials: grpc.ServerCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
        add: Callable[[Any], None] | None = None,
    ) -> GrpcServer:
        handler = grpc.stream_stream_rpc_method_handler if stream else grpc.unary_unary_rpc_method_handler
        server = grpc.aio.server(options=options)
        handlers = {name: handler(method) for name, method in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.S", handlers),))
        if add is not None:
            add(server)
        place = "127.0.0.1:0"
        port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
        await server.start()
        started.append(server)
        return GrpcServer(server, ("127.0.0.1", port))

    yield start
    await asyncio.gather(*(server.stop(None) for server in started))


@pytest.fixture(params=["lean", "general"])
def clients(request: pytest.FixtureRequest) -> str:
    """Which client speaks to the services: what is promised holds for both."""
    found: str = request.param
    return found


@pytest.fixture
async def grpc_upstream(clients: str) -> AsyncIterator[Callable[..., Cluster]]:
    """``grpc_upstream(address, …, **options)`` -> a `Cluster` of these addresses, closed in the end."""
    made: list[Cluster] = []

    def make(*addresses: tuple[str, int], **options: Any) -> Cluster:
        async def resolve() -> Sequence[tuple[str, int]]:
            return addresses

        upstream = grpc_cluster(resolve, **{"clients": clients, **options})
        made.append(upstream)
        return upstream

    yield make
    await asyncio.gather(*(upstream.aclose() for upstream in made))


class Relay:
    """Passes bytes between a client and `to`, counts those that go up, and falls silent while `open` is not set."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.to = to
        self.address = ("", 0)
        self.up = 0
        self.open = asyncio.Event()
        self.open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.open.set()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Every connection is lost."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        there, back = await asyncio.open_connection(*self.to)
        self._writers.append(back)
        for work in (self._pass(reader, back, up=True), self._pass(there, writer, up=False)):
            self._tasks.add(asyncio.ensure_future(work))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.up += len(data) if up else 0
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def relay() -> AsyncIterator[Callable[..., Awaitable[Relay]]]:
    """``await relay(address)`` -> a `Relay` before that server."""
    made: list[Relay] = []

    async def make(to: tuple[str, int]) -> Relay:
        found = Relay(to)
        await found.start()
        made.append(found)
        return found

    yield make
    await asyncio.gather(*(one.stop() for one in made))
