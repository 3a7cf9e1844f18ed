"""Three instances over real sockets, one or two of them out of order in each way that there is: how many calls that
costs, and that they are back when they have recovered. HTTP and gRPC, both clients of each; the mesh's clock is the
test's, and so is the loop's, except where gRPC's own core measures the time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

import bridge.cluster.outlier
from bridge.api.call import GrpcRequest, HttpRequest
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.upstream import Upstream
from bridge.cluster.balance import Mesh
from bridge.cluster.outlier import CONSECUTIVE, EJECTION, FAIR, JITTER, PROBE_TIMEOUT, SLOW_START, OutlierDetector
from bridge.cluster.pool import Upstreams
from bridge.cluster.sources.static import StaticSource
from bridge.config.settings import Settings
from bridge.errors import RequestError, Timeout
from tests.loop_clock import LoopClock, standing_still
from tests.oracles.clusters import transports
from tests.transport.grpc.kit import HELLO, OK
from tests.transport.grpc.test_faults import SETTINGS, Reading
from tests.transport.http2.kit import raw

Fault = Callable[[Any], Awaitable[None]]
WITHIN = 0.5  #: seconds for a call; more than the shortest time that counts


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Instance:
    """A server that answers, or does what its `fault` says.

    :ivar served: calls that were answered. :ivar lost: … that were not.
    """

    fault: Fault | None = None
    served: int = 0
    lost: int = 0
    address: tuple[str, int] = ("", 0)
    connections: list[int] = field(default_factory=list[int])

    async def http(self, peer: Any) -> None:
        while True:
            if self.fault is reset_at_once:
                self.lost += 1
                peer.writer.reset = True
                return
            await peer.request()
            if self.fault is not None:
                self.lost += 1
                await self.fault(peer)
            else:
                self.served += 1
                await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async def grpc(self, peer: Any) -> None:
        self.connections.append(peer.number)
        client = Reading(peer)
        await client.preface()
        await peer.say(SETTINGS + raw(8, 0, 0, b"\x7f\x00\x00\x00"))
        while True:
            peer.stream = await client.request()
            if self.fault is not None:
                self.lost += 1
                if self.fault is not hangs:  # one call, and not all of the connection
                    await self.fault(peer)
            else:
                self.served += 1
                await peer.say(b"".join(said.on(peer.stream) for said in HELLO))


# --- faults -----------------------------------------------------------------------------------------------------------


async def hangs(peer: Any) -> None:
    await asyncio.Event().wait()


async def slow(peer: Any) -> None:
    await asyncio.sleep(WITHIN * 3)
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


async def closes(peer: Any) -> None:
    raise ConnectionError


async def resets(peer: Any) -> None:
    peer.writer.reset = True
    raise ConnectionError


async def reset_at_once(peer: Any) -> None: ...


def says(text: bytes, *, close: bool = False) -> Fault:
    async def fault(peer: Any) -> None:
        await peer.say(text)
        if close:
            raise ConnectionError

    return fault


HTTP_FAULTS = {
    "hangs": hangs,
    "slow": slow,
    "closes": closes,
    "resets": resets,
    "resets at once": reset_at_once,
    "502": says(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
    "503": says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
    "504": says(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"),
    "breaks off in the head": says(b"HTTP/1.1 200 OK\r\nConte", close=True),
    "breaks off in the body": says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", close=True),
    "hangs in the body": says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"),
}


def answers(*frames: tuple[int, int, bytes], close: bool = False) -> Fault:
    async def fault(peer: Any) -> None:
        await peer.say(b"".join(raw(kind, flags, peer.stream, payload) for kind, flags, payload in frames))
        if close:
            raise ConnectionError

    return fault


UNAVAILABLE = OK + b"\x00\x0bgrpc-status\x0214"
GRPC_FAULTS = {
    "hangs": hangs,
    "closes": closes,
    "resets": resets,
    "UNAVAILABLE": answers((1, 5, UNAVAILABLE)),
    "503": answers((1, 5, b"\x08\x03503")),
    "resets the stream": answers((3, 0, b"\x00\x00\x00\x02")),
    "breaks off": answers((1, 4, OK), close=True),
    "hangs in the answer": answers((1, 4, OK)),
}


# --- the cluster ------------------------------------------------------------------------------------------------------


@dataclass
class Cluster:
    """``svc:80`` and its instances."""

    instances: list[Instance]
    upstream: Any
    upstreams: Upstreams
    mesh: Mesh
    clock: Clock
    wire: str
    loop_clock: LoopClock | None
    ends: Counter[str] = field(default_factory=Counter[str])

    @property
    def outliers(self) -> OutlierDetector:
        return self.mesh.outliers("svc", "80")

    async def call(self, within: float = WITHIN, **more: Any) -> str:
        """How a call ended: ``ok``, or what went wrong."""
        deadline = asyncio.get_running_loop().time() + within
        try:
            if self.wire == "http":
                reply = await self.upstream.send(HttpRequest("POST", "/"), deadline=deadline, **more)
                end = "ok" if reply.status == 200 else str(reply.status)
            else:
                reply = await self.upstream.send(GrpcRequest("/a.S/Do", b"q"), deadline=deadline, **more)
                end = "ok" if reply.code == 0 else f"code {reply.code}"
        except RequestError as error:
            end = type(error).__name__
        self.ends[end] += 1
        return end

    async def calls(self, count: int, workers: int = 1, **more: Any) -> int:
        """How many of so many were lost."""
        before = self.ends["ok"]

        async def work() -> None:
            for _ in range(count // workers):
                await self.call(**more)

        await asyncio.gather(*(work() for _ in range(workers)))
        return count - (self.ends["ok"] - before)

    async def served(self, count: int) -> list[int]:
        """By which instance, of so many calls that must all go well."""
        before = [instance.served for instance in self.instances]
        assert await self.calls(count, within=5.0) == 0, self.ends
        return [instance.served - was for instance, was in zip(self.instances, before, strict=True)]


Start = Callable[..., Awaitable[Cluster]]


@pytest.fixture
async def start(serve: Any, tmp_path: Path, clients: Any) -> AsyncIterator[Start]:
    """``await start("http", fault, None, None)``: an instance for each fault; None has none."""
    made: list[Cluster] = []
    clocks = contextlib.ExitStack()

    async def starting(wire: str, *faults: Fault | None) -> Cluster:
        clocks.close()
        own_core = (wire, clients) == ("grpc", "general")  # gRPC's, which measures the time for itself
        loop_clock = None if own_core else clocks.enter_context(standing_still())
        instances = [Instance(fault) for fault in faults]
        for instance in instances:
            instance.address = (await serve(getattr(instance, wire))).address
        file = tmp_path / "mesh.yml"
        file.write_text("svc: [{}]\n".format(", ".join(f"'{host}:{port}'" for host, port in map(_address, instances))))
        clock = Clock()
        mesh = Mesh(StaticSource(file, clock), clock)
        settings = Settings(home=tmp_path, max_reply=1000)
        upstreams = Upstreams(mesh, settings, transports(clients))
        upstream = upstreams.bind(Upstream.parse("svc:80"), wire, ConnectionSpec())
        made.append(Cluster(instances, upstream, upstreams, mesh, clock, wire, loop_clock))
        return made[-1]

    yield starting
    for cluster in made:
        await cluster.upstreams.aclose()
        await cluster.mesh.aclose()
    clocks.close()


@pytest.fixture
def never_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout that a busy machine notices late is the instance's failure all the same."""
    monkeypatch.setattr(bridge.cluster.outlier, "HELD_UP", 60.0)


def _address(instance: Instance) -> tuple[str, int]:
    return instance.address


# --- one of three -----------------------------------------------------------------------------------------------------


async def one_of_three(cluster: Cluster, within: float, *, grpc_core: bool = False) -> None:
    """Its calls are lost until it is ejected, and then one for each probe; healed, it has its share again.

    :param grpc_core: the clients are those of gRPC's own library.
    """
    bad, made = cluster.instances[0], 400
    await cluster.calls(made, within=within)

    def lost_calls() -> int:
        # grpc.aio begins a call on a connection that is being closed now and then. The service never sees it, but the
        # caller does.
        return made - cluster.ends["ok"] if within > WITHIN else bad.lost

    lost = lost_calls()
    # A call that had to wait for a connection may not have had the time that counts.
    assert CONSECUTIVE <= lost <= CONSECUTIVE + (within == WITHIN)
    assert cluster.outliers.ejected == 1
    cluster.clock.now += EJECTION * (1 + JITTER)
    await cluster.calls(100, within=within)
    made += 100
    assert lost_calls() == lost + 1
    if within > WITHIN and not grpc_core:
        assert bad.lost == lost + 1
    cluster.clock.now += EJECTION * 2 * (1 + JITTER)
    bad.fault = None
    first = await cluster.served(100)
    assert 0 < first[0] < 20
    cluster.clock.now += SLOW_START
    assert min(await cluster.served(99)) == 33


@pytest.mark.usefixtures("never_held_up")
@pytest.mark.parametrize("fault", HTTP_FAULTS)
async def test_an_http_instance_that_is_out_of_order(start: Start, fault: str) -> None:
    within = WITHIN if fault.startswith(("hangs", "slow")) else 10.0
    await one_of_three(await start("http", HTTP_FAULTS[fault], None, None), within)


@pytest.mark.usefixtures("never_held_up")
@pytest.mark.parametrize("fault", GRPC_FAULTS)
async def test_a_grpc_instance_that_is_out_of_order(start: Start, clients: str, fault: str) -> None:
    within = WITHIN if fault.startswith("hangs") else 10.0
    cluster = await start("grpc", GRPC_FAULTS[fault], None, None)
    await one_of_three(cluster, within, grpc_core=clients == "general")


@pytest.mark.usefixtures("never_held_up")
@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_calls_at_the_same_time(start: Start, wire: str) -> None:
    """Those that wait at the hanging instance when it is ejected are lost, too; each counts once, and ejects once."""
    cluster = await start(wire, hangs, None, None)
    await cluster.calls(400, workers=20, within=2.0)
    assert CONSECUTIVE <= cluster.instances[0].lost <= CONSECUTIVE + 20
    assert cluster.outliers.ejections == 1
    assert await cluster.calls(100, workers=20, within=10.0) == 0


async def test_grpc_servers_of_another_library(serve_grpc: Any, grpc_upstream: Any) -> None:
    seen: Counter[int] = Counter()
    sick = {0}

    def method(number: int) -> Any:
        async def answer(message: bytes, context: Any) -> bytes:
            seen[number] += 1
            if number in sick:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "warming up")
            return message

        return answer

    servers = [(await serve_grpc({"Do": method(number)})).address for number in range(3)]
    mesh = Mesh(Fixed(servers))
    upstream = grpc_upstream(outliers=mesh.outliers("a", "1"), known=lambda: mesh.known("a", "1"))
    upstream.lookup = lambda: mesh.addresses("a", "1")
    deadline = asyncio.get_running_loop().time() + 60
    for _ in range(300):
        await upstream.send(GrpcRequest("/a.S/Do", b"q"), deadline=deadline)
    assert seen[0] == CONSECUTIVE


class Fixed:
    def __init__(self, addresses: list[tuple[str, int]]) -> None:
        self.addresses = addresses

    async def lookup(self, name: str, port: str) -> Any:
        from bridge.cluster.sources.source import LookupResult

        return LookupResult(tuple(self.addresses), 1000.0)

    async def aclose(self) -> None: ...


async def test_streams_that_are_refused_count(start: Start) -> None:
    cluster = await start("grpc", GRPC_FAULTS["resets"], None, None)

    async def stream() -> bool:
        deadline = asyncio.get_running_loop().time() + 5
        try:
            call = await cluster.upstream.stream(GrpcRequest("/a.S/Do", b""), deadline=deadline, connect_by=deadline)
            await call.write(b"q")
            await call.end()
            while await call.read() is not None:
                pass
            ended = await call.status()
            await asyncio.sleep(0)  # until it is reported
            return not ended.code
        except RequestError:
            return False

    assert [await stream() for _ in range(60)].count(False) <= CONSECUTIVE
    cluster.instances[0].fault = hangs
    cluster.clock.now += EJECTION * (1 + JITTER)
    deadline = asyncio.get_running_loop().time() + 0.1
    call = await cluster.upstream.stream(GrpcRequest("/a.S/Do", b""), deadline=deadline, connect_by=deadline)
    assert await call.read() is None  # a stream may be silent: that its time is over is no verdict on the probe
    assert cluster.outliers.ejections == 1
    cluster.instances[0].fault = None
    cluster.clock.now += PROBE_TIMEOUT
    assert await stream()
    assert cluster.outliers.ejected == 0


@pytest.mark.usefixtures("never_held_up")
async def test_a_probe_goes_over_a_new_connection(start: Start) -> None:
    """A connection may be dead with nobody to close it, while the instance behind it takes new ones."""
    cluster = await start("grpc", None, None, None)
    [sick, *_] = cluster.instances
    await cluster.calls(30, within=10.0)
    sick.fault = hangs
    await cluster.calls(30)
    assert cluster.outliers.ejected == 1
    sick.fault = None
    sick.connections.clear()
    cluster.clock.now += EJECTION * (1 + JITTER)
    await cluster.calls(10, within=10.0)
    assert cluster.outliers.ejected == 0
    assert sick.connections


@pytest.mark.parametrize("clients", ["lean"])  # gRPC's own core does not say why it has no connection
async def test_a_lack_of_sockets_is_not_the_instances_fault(start: Start) -> None:
    cluster = await start("grpc", None, None, None)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # what others have left open would be closed meanwhile
    taken = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        assert await cluster.calls(10, within=10.0) == 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for number in taken:
            os.close(number)
    assert cluster.ends["Overloaded"] == 10
    assert cluster.outliers.ejections == 0
    assert await cluster.calls(10, within=10.0) == 0


# --- two of three, and all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_two_of_three(start: Start, wire: str) -> None:
    cluster = await start(wire, resets, resets, None)
    lost = await cluster.calls(300, within=10.0)
    assert cluster.outliers.ejected == 1  # half of them stay
    assert 120 < lost < 180
    assert cluster.instances[2].served == 300 - lost


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_all_of_them(start: Start, wire: str) -> None:
    cluster = await start(wire, resets, resets, resets)
    assert await cluster.calls(60, within=10.0) == 60
    assert cluster.outliers.ejected == 1
    assert [instance.lost > 10 for instance in cluster.instances].count(True) == 2
    for instance in cluster.instances:
        instance.fault = None
    assert await cluster.calls(60, within=5.0) == 0
    cluster.clock.now += EJECTION * (1 + JITTER)
    await cluster.calls(10, within=5.0)
    cluster.clock.now += SLOW_START
    assert min(await cluster.served(30)) == 10


async def test_those_that_take_no_connection_cost_nothing(start: Start, tmp_path: Path) -> None:
    for wire in ("http", "grpc"):
        cluster = await start(wire, None, None, None)
        live = cluster.instances[0].address
        (tmp_path / "mesh.yml").write_text(f"svc: ['127.0.0.1:1', '127.0.0.1:2', '{live[0]}:{live[1]}']\n")
        cluster.clock.now += 2  # the file is read again
        assert await cluster.calls(100, within=5.0) == 0
        assert cluster.outliers.ejections == 2


# --- what must not count ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_a_client_that_asks_for_little_time_ejects_nobody(start: Start, wire: str) -> None:
    cluster = await start(wire, hangs, hangs, hangs)
    await cluster.calls(60, workers=20, within=0.001, client_timeout=0.001)
    await cluster.calls(60, workers=20, within=WITHIN, client_timeout=WITHIN)
    assert cluster.ends.total() == cluster.ends["Timeout"]
    assert cluster.outliers.ejections == 0
    assert not cluster.outliers.suspects
    await cluster.calls(60, workers=20, within=WITHIN, client_timeout=FAIR)  # this is more than the time that counts
    assert cluster.outliers.ejections == 0  # by the time that it had, and not by what was asked for


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_a_client_that_leaves_ejects_nobody(start: Start, wire: str) -> None:
    cluster = await start(wire, hangs, hangs, hangs)
    calls = [asyncio.create_task(cluster.call(within=60)) for _ in range(60)]
    async with asyncio.timeout(10):
        while sum(instance.lost for instance in cluster.instances) < 60:
            await asyncio.sleep(0.001)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert not cluster.outliers.suspects
    assert cluster.outliers.ejections == 0


async def test_what_the_caller_did_wrong_ejects_nobody(start: Start) -> None:
    for status in (b"400 a", b"404 b", b"429 c", b"500 d", b"501 e"):
        bad = says(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        cluster = await start("http", bad, bad, bad)
        await cluster.calls(60, within=10.0)
        assert cluster.outliers.ejections == 0
    for code in (b"\x013", b"\x015", b"\x018", b"\x0212", b"\x0213", b"\x0216"):
        refusing = answers((1, 5, OK + b"\x00\x0bgrpc-status" + code))
        cluster = await start("grpc", refusing, refusing, refusing)
        await cluster.calls(60, within=10.0)
        assert cluster.outliers.ejections == 0


async def test_a_504_that_a_client_provokes_by_a_short_time_ejects_nobody(start: Start) -> None:
    """The service is told how much time there is, and may say so before we do."""
    late = HTTP_FAULTS["504"]
    cluster = await start("http", late, late, late)
    await cluster.calls(60, within=0.5, client_timeout=0.5)
    late = answers((1, 5, OK + b"\x00\x0bgrpc-status\x014"))
    also = await start("grpc", late, late, late)
    await also.calls(60, within=0.5, client_timeout=0.5)
    cancelled = answers((3, 0, b"\x00\x00\x00\x08"))
    again = await start("grpc", cancelled, cancelled, cancelled)
    await again.calls(60, within=0.5, client_timeout=0.5)
    assert [one.outliers.ejections for one in (cluster, also, again)] == [0, 0, 0]
    assert (cluster.ends["504"], again.ends["ok"]) == (60, 0)


async def test_closing_the_gateway_ejects_nobody(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    for wire in ("http", "grpc"):
        cluster = await start(wire, hangs, hangs, hangs)
        calls = [asyncio.create_task(cluster.call(within=60)) for _ in range(60)]
        async with asyncio.timeout(10):
            while not all(instance.lost for instance in cluster.instances):
                await asyncio.sleep(0.001)
        await cluster.upstreams.aclose()
        await asyncio.gather(*calls)
        assert cluster.outliers.ejections == 0
    assert not caplog.records


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_a_gateway_that_is_held_up_ejects_nobody(start: Start, wire: str) -> None:
    """Whatever keeps the loop from turning ends all calls of that moment, though their answers may have come."""
    cluster = await start(wire, hangs, hangs, hangs)
    calls = [asyncio.create_task(cluster.call(within=2.0)) for _ in range(60)]
    async with asyncio.timeout(10):
        while sum(instance.lost for instance in cluster.instances) < 60:
            await asyncio.sleep(0.001)
    if cluster.loop_clock:
        cluster.loop_clock.now += 2.5
    else:
        time.sleep(2.5)  # noqa: ASYNC251  # this is what is tested
    await asyncio.gather(*calls)
    assert cluster.ends["Timeout"] == 60
    assert cluster.outliers.ejections == 0


async def test_both_protocols_share_what_they_know(start: Start) -> None:
    cluster = await start("http", resets, None, None)
    await cluster.calls(60, within=10.0)
    assert cluster.outliers.ejected == 1
    upstream: Any = cluster.upstreams.bind(Upstream.parse("svc:80"), "grpc", ConnectionSpec())
    assert upstream.outliers is cluster.outliers
    for _ in range(10):
        assert cluster.instances[0].address != upstream.known()[0]


async def test_a_connection_attempt_is_not_cut_short_for_others(serve: Any, grpc_upstream: Any) -> None:
    """Callers share it. Those with little time leave it to those with more."""

    greets = asyncio.Event()

    async def late(peer: Any) -> None:
        await greets.wait()
        await Instance().grpc(peer)

    upstream = grpc_upstream((await serve(late)).address)
    now = asyncio.get_running_loop().time()
    patient = asyncio.create_task(upstream.send(GrpcRequest("/a.S/Do", b"q"), deadline=now + 10))
    for _ in range(20):
        moment = asyncio.get_running_loop().time() + 0.002
        with pytest.raises(Timeout):
            await upstream.send(GrpcRequest("/a.S/Do", b"q"), deadline=moment, client_timeout=0.002)
    assert not patient.done()
    greets.set()
    assert (await patient).code == 0
