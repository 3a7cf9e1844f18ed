"""Contracts of anybody's transformer that change where they come from, under a gateway that serves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

import bridge.plugins
from bridge.api import (
    BindError,
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
    read_env,
)  # fmt: skip
from tests.catalog.slow import until

SPEC = "route: /news\nupstream: svc:80\nauth: none\ntransform: {request: news}\n"


class Codec:
    def __init__(self, path: str) -> None:
        self._path = path

    def request(self, call: Call) -> HttpRequest:
        return HttpRequest("GET", self._path)

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        return Reply(200, body=self._path.encode())


class News:
    """Publishes ``contract`` as a path; "" can't be bound."""

    name: ClassVar[str] = "news"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = Options
    contract: ClassVar[str] = "/one"
    failure: ClassVar[Exception | None] = None
    looks: ClassVar[int] = 0
    binds: ClassVar[int] = 0

    async def open(self, context: Context) -> None: ...

    async def aclose(self) -> None: ...

    async def bind(self, route: RouteSpec, options: Options) -> Sequence[Operation]:
        type(self).binds += 1
        if not self.contract:
            raise BindError(Fault("there is no news"))
        return [Operation("get", "GET", "", Codec(self.contract), lambda: OperationDoc({}))]

    def follow(self, route: RouteSpec, options: Options) -> Followed | None:
        return Followed(0.05, self._fingerprint) if route.route == "/news" else None

    async def _fingerprint(self) -> bytes:
        type(self).looks += 1
        read_env("BRIDGE_SECRET_NEWS", ("transform", "news"))  # under the grant of the route
        if self.failure is not None:
            raise self.failure
        return self.contract.encode()


@pytest.fixture(autouse=True)
def news(monkeypatch: pytest.MonkeyPatch) -> type[News]:
    points, load = bridge.plugins.discover(), EntryPoint.load
    point = EntryPoint("news", f"{__name__}:News", bridge.plugins.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: News if self.name == "news" else load(self))
    monkeypatch.setattr(bridge.plugins, "discover", lambda: {**points, "news": point})
    monkeypatch.setattr("bridge.catalog.followers.POLL", 0.01)
    monkeypatch.setenv("BRIDGE_SECRET_NEWS", "x")
    for name in ("contract", "failure", "looks", "binds"):
        monkeypatch.setattr(News, name, getattr(News, name))
    return News


async def looked(times: int) -> None:
    looks = News.looks
    await until(lambda: News.looks >= looks + times)


async def test_a_route_follows_its_contract(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": SPEC}) as gateway:

        async def serves(text: str) -> bool:
            return bool((await gateway.client.get("/news")).text == text)

        assert await serves("/one")
        await looked(3)
        assert News.binds == 1
        News.contract = "/two"
        await until(lambda: serves("/two"))
        await looked(3)
        assert News.binds == 2


async def test_what_fails_leaves_the_old_contract_and_is_logged_once(
    start: Any, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": SPEC}) as gateway:
        News.failure = RuntimeError("out of ink")
        await looked(3)
        assert caplog.text.count("whether its contract has changed can't be seen: out of ink") == 1
        assert "Traceback" in caplog.text  # a plug-in's mistake is shown with its place
        caplog.clear()
        News.failure = BindError(Fault("nobody answers"))
        await looked(3)
        assert (News.binds, caplog.text) == (1, "")
        News.failure, News.contract = None, ""
        await looked(4)
        assert caplog.text.count("it serves by its old contract, since it can't be bound to the new one") == 1
        assert "Traceback" not in caplog.text
        assert News.binds >= 3  # it is tried at each look
        assert (await gateway.client.get("/news")).text == "/one"


async def test_what_does_not_change_is_not_looked_at(start: Any, upstream: Any) -> None:
    spec = SPEC.replace("/news", "/old")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": spec}):
        await asyncio.sleep(0.2)
        assert (News.looks, News.binds) == (0, 1)
