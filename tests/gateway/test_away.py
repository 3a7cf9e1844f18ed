"""Routes whose contract is away: they wait beside those that serve, and follow what becomes of their spec files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

import bridge.plugins
from bridge.api import (
    Call,
    Context,
    Fault,
    Followed,
    HttpReply,
    HttpRequest,
    Operation,
    OperationDoc,
    Options,
    Reply,
    RouteSpec,
    Unreachable,
)

SPEC = "route: {}\nupstream: svc:80\nauth: {{type: none}}\ntransform: {{request: distant}}\n"


class Codec:
    def request(self, call: Call) -> HttpRequest:
        return HttpRequest("GET", "/")

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        return Reply(200)


class Distant:
    """A transformer whose contracts come from far: `away` are the routes whose contract can't be had just now."""

    name: ClassVar[str] = "distant"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = Options
    away: ClassVar[set[str]] = set()
    tries: ClassVar[list[str]] = []
    #: Raised where a route's contract is looked for anew.
    trouble: ClassVar[Exception | None] = None
    moved: ClassVar[bool] = False

    async def open(self, context: Context) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def bind(self, route: RouteSpec, options: Options) -> Sequence[Operation]:
        self.tries.append(route.route)
        if route.route in self.away:
            raise Unreachable(Fault("it is far away"))
        return [Operation("get", "GET", "", Codec(), lambda: OperationDoc({}))]

    def follow(self, route: RouteSpec, options: Options) -> Followed:
        async def fingerprint() -> bytes:
            if self.trouble is not None and route.route == "/bad":
                raise self.trouble
            return str(self.tries.count(route.route) if self.moved else 0).encode()

        return Followed(0.02, fingerprint)


@pytest.fixture(autouse=True)
def distant(monkeypatch: pytest.MonkeyPatch) -> type[Distant]:
    found = bridge.plugins.discover()
    point = EntryPoint("distant", f"{__name__}:Distant", bridge.plugins.GROUP)
    monkeypatch.setattr(EntryPoint, "load", _loading(EntryPoint.load))
    monkeypatch.setattr(bridge.plugins, "discover", lambda: {**found, "distant": point})
    monkeypatch.setattr("bridge.catalog.registry.POLL", 0.02)
    monkeypatch.setattr("bridge.catalog.followers.POLL", 0.02)
    monkeypatch.setattr(Distant, "away", set[str]())
    monkeypatch.setattr(Distant, "tries", list[str]())
    monkeypatch.setattr(Distant, "trouble", None)
    monkeypatch.setattr(Distant, "moved", False)
    return Distant


def _loading(load: Any) -> Any:
    # pytest imports this file by its path, so no entry point can name it.
    return lambda self: Distant if self.name == "distant" else load(self)


async def until(check: Callable[[], Awaitable[bool] | bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            found = check()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


async def status(gateway: Any, path: str) -> int:
    return int((await gateway.client.get(path)).status_code)


async def test_it_waits_and_comes(start: Any, upstream: Any) -> None:
    Distant.away.add("/a")
    routes = {"a.yml": SPEC.format("/a"), "b.yml": SPEC.format("/b")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        assert (await status(gateway, "/a"), await status(gateway, "/b")) == (404, 200)
        tried = Distant.tries.count("/a")
        await until(lambda: Distant.tries.count("/a") > tried + 1)
        assert Distant.tries.count("/b") == 1
        Distant.away.clear()
        await until(lambda: not gateway.app.state.registry.broken)
        assert await status(gateway, "/a") == 200


async def test_a_file_that_is_gone_or_says_something_else_is_no_longer_tried(start: Any, upstream: Any) -> None:
    Distant.away |= {"/a", "/b"}
    routes = {"a.yml": SPEC.format("/a"), "b.yml": SPEC.format("/b"), "c.yml": SPEC.format("/c")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        registry = gateway.app.state.registry
        (gateway.home / "routes/a.yml").unlink()
        (gateway.home / "routes/b.yml").write_text(SPEC.format("/d"))
        await until(lambda: not registry.broken)
        Distant.away.clear()
        tries = len(Distant.tries)
        await registry.reload()
        assert len(Distant.tries) == tries
        found = [await status(gateway, path) for path in ("/a", "/b", "/c", "/d")]
        assert found == [404, 404, 200, 200]


async def test_a_new_word_waits_while_the_old_one_serves(start: Any, upstream: Any) -> None:
    Distant.away.add("/new")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": SPEC.format("/old")}) as gateway:
        registry = gateway.app.state.registry
        (gateway.home / "routes/a.yml").write_text(SPEC.format("/new"))
        (gateway.home / "routes/b.yml").write_text(SPEC.format("/b"))
        await until(lambda: bool(registry.broken) and "file:b.yml" in registry.table.routes)
        assert (await status(gateway, "/old"), await status(gateway, "/b")) == (200, 200)
        Distant.away.clear()
        await until(lambda: not registry.broken)
        assert (await status(gateway, "/old"), await status(gateway, "/new")) == (404, 200)


async def test_a_route_that_was_left_out_is_forgotten_with_its_file(start: Any, upstream: Any) -> None:
    routes = {"a.yml": SPEC.format("/a"), "b.yml": SPEC.format("/b")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        registry = gateway.app.state.registry
        (gateway.home / "routes/b.yml").write_text(SPEC.format("/a"))
        await until(lambda: [broken.source.id for broken in registry.broken.values()] == ["file:b.yml"])
        (gateway.home / "routes/b.yml").unlink()
        await until(lambda: not registry.broken)
        assert await status(gateway, "/a") == 200


async def test_a_plugin_that_fails_to_look_keeps_no_other_from_being_followed(
    start: Any, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge")
    routes = {"a.yml": SPEC.format("/bad"), "b.yml": SPEC.format("/good")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes):
        Distant.trouble = RuntimeError("it fell over")
        await until(lambda: "it fell over" in caplog.text)
        Distant.moved = True
        await until(lambda: Distant.tries.count("/good") > 2)
        assert caplog.text.count("Traceback") == 1
