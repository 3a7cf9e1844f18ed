"""Instances out of order behind a serving gateway: what its clients, its log and its metrics see of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

import bridge.cluster.mesh
from bridge.cluster.balance import Mesh
from bridge.cluster.outlier import CONSECUTIVE, EJECTION, JITTER, SLOW_START
from tests.loop_clock import LoopClock, standing_still

ROUTE = """
route: /r
upstream: svc:80
auth: {type: none}
timeout: 10s
transform: {request: passthrough}
"""
WORKERS = 8


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Service:
    """Three instances; those in `silent` take a request and never answer."""

    ports: list[int] = field(default_factory=list[int])
    asked: Counter[int] = field(default_factory=Counter[int])
    silent: set[int] = field(default_factory=set[int])
    delay: float = 0.0

    async def answer(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked[number] += 1
                if number in self.silent:
                    await reader.read()  # until the gateway gives up
                    break
                await asyncio.sleep(self.delay)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                await writer.drain()
        writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    async with contextlib.AsyncExitStack() as stack:
        for number in range(3):
            server = await asyncio.start_server(partial(made.answer, number), "127.0.0.1", 0)
            stack.callback(server.close)
            made.ports.append(server.sockets[0].getsockname()[1])
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The mesh's."""
    made = Clock()
    monkeypatch.setattr(bridge.cluster.mesh, "Mesh", partial(Mesh, clock=made))
    return made


@pytest.fixture
async def loop_clock() -> AsyncIterator[LoopClock]:
    """Only those calls time out that nobody answers, however slow the machine is."""
    with standing_still() as made:
        yield made


@pytest.fixture
async def gateway(
    start: Callable[..., Any], service: Service, clock: Clock, loop_clock: LoopClock
) -> AsyncIterator[Any]:
    mesh: Any = {"svc": [f"127.0.0.1:{port}" for port in service.ports]}
    async with start(mesh=mesh, routes={"r.yml": ROUTE}) as running:
        yield running


async def calls(gateway: Any, count: int, **headers: str) -> Counter[int]:
    """The statuses of so many calls, some at the same time."""
    statuses: Counter[int] = Counter()

    async def work() -> None:
        for _ in range(count // WORKERS):
            answer = await gateway.client.get("/r", headers={name.replace("_", "-"): headers[name] for name in headers})
            statuses[answer.status_code] += 1

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return statuses


async def metrics(gateway: Any) -> dict[str, str]:
    lines = (await gateway.client.get("/-/metrics")).text.splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("bridge_upstream_ejec"))


async def test_an_instance_that_hangs(gateway: Any, service: Service, clock: Clock, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "bridge.mesh")
    service.silent = {1}
    lost = (await calls(gateway, 400))[504]
    assert CONSECUTIVE <= lost <= CONSECUTIVE + WORKERS  # it was a third of all
    assert await calls(gateway, 80) == {200: 80}
    found = await metrics(gateway)
    assert found['bridge_upstream_ejections_total{upstream="svc:80"}'] == "1.0"
    assert found['bridge_upstream_ejected{upstream="svc:80"}'] == "1.0"
    clock.now += EJECTION * (1 + JITTER)
    assert await calls(gateway, 80) == {200: 79, 504: 1}  # the probe
    service.silent = set()
    clock.now += EJECTION * 2 * (1 + JITTER)
    assert await calls(gateway, 80) == {200: 80}
    clock.now += SLOW_START
    service.asked.clear()
    await calls(gateway, 240)
    assert min(service.asked.values()) >= 75
    assert (await metrics(gateway))['bridge_upstream_ejected{upstream="svc:80"}'] == "0.0"
    said = [record.getMessage() for record in caplog.records if record.name == "bridge.mesh"]
    assert [line.split(": ")[1].split(" ", 1)[1][:10] for line in said] == ["is ejected", "is back in"]


async def test_a_client_that_asks_for_little_time_ejects_nobody(gateway: Any, service: Service) -> None:
    service.delay = 0.05
    assert await calls(gateway, 80, x_request_timeout="1ms") == {504: 80}
    assert await calls(gateway, 80, grpc_timeout="20m") == {504: 80}
    assert await calls(gateway, 80, x_request_timeout="0") == {504: 80}
    assert (await metrics(gateway))['bridge_upstream_ejections_total{upstream="svc:80"}'] == "0.0"
    service.delay = 0.0
    assert await calls(gateway, 80) == {200: 80}


async def test_addresses_are_the_logs_alone(gateway: Any, service: Service) -> None:
    service.silent = {0}
    await calls(gateway, 80)
    text = (await gateway.client.get("/-/metrics")).text
    assert 'bridge_upstream_ejected{upstream="svc:80"} 1.0' in text
    assert not [port for port in service.ports if str(port) in text]
    assert "127.0.0.1" not in text
