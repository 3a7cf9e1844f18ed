"""A transport of a plug-in: found by its entry point, chosen by a transformer's wire, used like the built-in ones."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from bridge.api import Call, HttpReply, HttpRequest, Operation, OperationDoc, Options, Reply
from bridge.api.spec import upstream as upstream_spec
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.upstream import Upstream
from bridge.api.transport import Address, Attempt, AttemptContext, InstanceVerdict, Outcome, Target
from bridge.errors import BindError, Unavailable
from bridge.transport.registry import Transports, scheme_of
from tests.conftest import Start


class SmokeChannel:
    """Answers with the request's path and the instance's port; the first instance refuses."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.open = None
        self.closed = False

    def prepare(self, request: HttpRequest, trace: Any) -> HttpRequest:
        return request

    async def attempt(self, message: HttpRequest, context: AttemptContext) -> Attempt:
        if context.address[1] == 1:
            return Attempt(Unavailable("no fire"), 503, Outcome.REFUSED, InstanceVerdict.UNREACHABLE)
        reply = HttpReply(200, body=f"{message.path} {context.address[1]} {self.target.tls is not None}".encode())
        return Attempt(reply, 200, Outcome.FINAL, InstanceVerdict.FINE)

    def repeatable(self, request: HttpRequest) -> bool:
        return True

    def resting(self, address: Address) -> bool:
        return False

    def forget(self, address: Address) -> None: ...

    async def aclose(self) -> None:
        self.closed = True


class SmokeTransport:
    name = "smoke"
    options = frozenset(("keepalive",))
    retried = frozenset((503,))

    def code(self, text: int | str) -> int:
        return int(text)

    def channel(self, target: Target) -> SmokeChannel:
        return SmokeChannel(target)

    async def aclose(self) -> None: ...


class SmokeCodec:
    def request(self, call: Call) -> HttpRequest:
        return HttpRequest("GET", call.path)

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        return Reply(inbound.status, [("content-type", "text/plain")], inbound.body)


class SmokeSignals:
    name = "signals"
    wire = "smoke"
    options = Options

    async def open(self, context: Any) -> None: ...

    async def bind(self, route: Any, options: Any) -> list[Operation]:
        return [Operation("signal", "GET", "", SmokeCodec(), lambda: OperationDoc({}))]

    async def aclose(self) -> None: ...


POINTS = {
    "bridge.transports": [EntryPoint("smoke", f"{__name__}:SmokeTransport", "bridge.transports")],
    "bridge.transformers": [EntryPoint("signals", f"{__name__}:SmokeSignals", "bridge.transformers")],
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def points(*, group: str) -> Any:
        return type(entry_points(group=group))([*entry_points(group=group), *POINTS[group]])

    modules = ("bridge.transport.registry", "bridge.plugins", "bridge.api.spec.upstream", "bridge.api.spec.transform")
    for module in modules:
        monkeypatch.setattr(f"{module}.entry_points", points)
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals().get(self.attr) or EntryPoint_load(self))
    upstream_spec._schemes.cache_clear()
    yield
    upstream_spec._schemes.cache_clear()


EntryPoint_load = EntryPoint.load


@pytest.mark.parametrize(("scheme", "tls"), [("", False), ("smoke://", False), ("smokes://", True)])
async def test_a_route_over_it(start: Start, installed: None, scheme: str, tls: bool) -> None:
    spec = f"route: /hill\nupstream: {scheme}hill:80\nauth: none\ntransform: {{request: signals}}\n"
    mesh: Any = {"hill": ["127.0.0.1:1", "127.0.0.1:7"]}
    async with start(mesh=mesh, routes={"a.yml": spec}) as gateway:
        for _ in range(3):
            answer = await gateway.client.get("/hill")
            assert (answer.status_code, answer.text) == (200, f"/hill 7 {tls}")


def test_what_the_spec_says_must_fit_it(installed: None) -> None:
    transport = Transports().get("smoke")
    assert scheme_of(transport, Upstream.parse("hill:80"), ConnectionSpec(keepalive=20.0)) == "smoke"
    for text, connection, key in (
        ("http://hill:80", ConnectionSpec(), "upstream"),
        ("hill:80", ConnectionSpec(server_name="a"), "connection"),
        ("hill:80", ConnectionSpec(health=True), "connection.health"),
    ):
        with pytest.raises(BindError) as bad:
            scheme_of(transport, Upstream.parse(text), connection)
        assert bad.value.faults[0].key == key


def test_what_nobody_offers_or_can_not_be_loaded(tmp_path: Path) -> None:
    def broken() -> Any:
        raise ImportError("no such module")

    transports = Transports({"smoke": broken})
    for name, words in (("smoke", "no such module"), ("fog", "no transport; there are smoke")):
        with pytest.raises(BindError) as bad:
            transports.get(name)
        assert words in bad.value.faults[0].reason
