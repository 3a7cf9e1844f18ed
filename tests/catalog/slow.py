"""A transformer whose binds wait in a thread, as for a WSDL on a server that hangs, until the test lets them go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

import bridge.plugins
from bridge.api import Call, Context, HttpReply, HttpRequest, Operation, OperationDoc, Options, Reply, RouteSpec


class Codec:
    def request(self, call: Call) -> HttpRequest:
        return HttpRequest("GET", "/")

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        return Reply(200)


class Slow:
    name: ClassVar[str] = "slow"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = Options
    #: Binds under way, by the route's path.
    waiting: ClassVar[list[str]] = []
    go: ClassVar[threading.Event] = threading.Event()
    #: Lets one bind go, the first that waits or comes.
    one: ClassVar[threading.Semaphore] = threading.Semaphore(0)

    async def open(self, context: Context) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def bind(self, route: RouteSpec, options: Options) -> Sequence[Operation]:
        self.waiting.append(route.route)
        try:
            await asyncio.to_thread(self._wait)
        finally:
            self.waiting.remove(route.route)
        return [Operation("get", "GET", "", Codec(), lambda: OperationDoc({}))]

    def _wait(self) -> None:
        by = time.monotonic() + 60
        while not self.go.wait(0.005) and not self.one.acquire(blocking=False) and time.monotonic() < by:
            pass


@contextmanager
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Slow]]:
    """Have gateways of this process know the transformer ``slow``. At the end its binds are let go."""
    found = bridge.plugins.discover()
    point = EntryPoint("slow", f"{__name__}:Slow", bridge.plugins.GROUP)
    load = EntryPoint.load
    # pytest imports this file by its path, so no entry point can name it.
    monkeypatch.setattr(EntryPoint, "load", lambda self: Slow if self.name == "slow" else load(self))
    monkeypatch.setattr(bridge.plugins, "discover", lambda: {**found, "slow": point})
    monkeypatch.setattr(Slow, "waiting", list[str]())
    monkeypatch.setattr(Slow, "go", threading.Event())
    monkeypatch.setattr(Slow, "one", threading.Semaphore(0))
    try:
        yield Slow
    finally:
        Slow.go.set()


async def until(check: Callable[[], Awaitable[bool] | bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            found: Any = check()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)
