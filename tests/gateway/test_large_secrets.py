"""Secrets in large messages, whose processes may be older than the file with the secret: they are as current as in
small ones, and masked where the service repeats them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.payload import child, offload, zygote
from bridge.payload.offload import APART
from tests.conftest import Running, Upstream
from tests.soap_kit import SOAP11, WSDL_DIR

pytestmark = [pytest.mark.skipif(not zygote.AVAILABLE, reason="needs Linux"), pytest.mark.fast_path]

LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
ENVELOPE = f'<s:Envelope xmlns:s="{SOAP11}"><s:Body>%s</s:Body></s:Envelope>'
ANSWER = (ENVELOPE % '<posted xmlns="urn:ledger"><entry>1</entry></posted>').encode()
ROUTES = {
    "header block": "transform: {request: soap, soap: {wsdl: ledger.wsdl, operation: post,"
    " headers: {AuthHeader: {user: u, key: {$file: secrets/key}}}}}",
    "field": "transform: {request: soap, soap: {wsdl: ledger.wsdl, operation: post}}\n"
    "headers: {request: {set: {X-Key: {$file: secrets/key}}}}",
    "basic": "transform: {request: soap, soap: {wsdl: ledger.wsdl, operation: post}}\n"
    "upstream_auth: {type: basic, username: u, password: {$file: secrets/key}}",
}
KEYS = ("first-key", "second-key", "third-key")
BODY = {"account": "a" * (APART + 1000), "cents": 5}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The zygotes, one for each message that was translated by one of its processes."""
    made: list[int] = []
    result, start = child.Child.result, zygote.Zygote.start

    def started(self: zygote.Zygote, file: Any) -> child.Child:
        process = start(self, file)
        process.zygote = self.pid  # type: ignore[attr-defined]
        return process

    def counted(self: Any, abandoned: Any) -> Any:
        value = result(self, abandoned)
        made.append(self.zygote)
        return value

    monkeypatch.setattr(zygote.Zygote, "start", started)
    monkeypatch.setattr(child.Child, "result", counted)
    monkeypatch.setattr(offload._shared, "processes", True)
    monkeypatch.setattr("bridge.api.values.CHECK_EVERY", 0.0)
    yield made
    offload._shared.end()


def replace(gateway: Running, text: str) -> None:
    (gateway.home / "new").write_text(text)
    (gateway.home / "new").rename(gateway.home / "secrets/key")


def key_in(seen: Any) -> str:
    """The key that a request to the service has, wherever that is."""
    _, _, basic = dict(seen.headers).get("authorization", "").partition(" ")
    text = f"{seen.headers} {base64.b64decode(basic)!r} {seen.body!r}"
    return next(key for key in KEYS if key in text)


@pytest.mark.parametrize("place", ROUTES)
async def test_a_rotated_secret_is_in_the_next_message(
    start: Any, upstream: Upstream, begun: list[int], place: str
) -> None:
    upstream.headers, upstream.body = [("content-type", "text/xml")], ANSWER
    routes = {"a.yml": f"route: /a\nupstream: 'svc:80'\nauth: none\n{ROUTES[place]}\n"}
    files = {"wsdl/ledger.wsdl": LEDGER, "secrets/key": "first-key"}
    rotation = ("first-key", "second-key", "second-key", "third-key")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes, files=files) as gateway:
        for key in rotation:
            replace(gateway, key)
            reply = await gateway.client.post("/a", json=BODY)
            assert reply.status_code == 200, reply.text[:300]
    assert tuple(map(key_in, upstream.seen)) == rotation
    assert len(begun) == 4
    assert begun[1] == begun[2]  # nothing had changed
    assert len(set(begun)) == 3


@pytest.mark.parametrize("place", ROUTES)
async def test_a_rotated_secret_is_masked(
    start: Any, upstream: Upstream, begun: list[int], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Even where the process alone has seen the new one, since the gateway has looked at the file just before."""

    async def quoting(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        fault = f"<s:Fault><faultcode>s:Server</faultcode><faultstring>not {key_in(request)}</faultstring></s:Fault>"
        return 500, [("content-type", "text/xml")], (ENVELOPE % fault).encode()

    upstream.answer = quoting
    routes = {"a.yml": f"route: /a\nupstream: 'svc:80'\nauth: none\n{ROUTES[place]}\n"}
    files = {"wsdl/ledger.wsdl": LEDGER, "secrets/key": "first-key"}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes, files=files) as gateway:
        for key in ("first-key", "second-key"):
            replace(gateway, key)
            reply = await gateway.client.post("/a", json=BODY)
            assert "not ***" in reply.text, key
            assert "-key" not in reply.text + str(gateway.log())
            monkeypatch.setattr("bridge.api.values.SecretFile._refresh", lambda _: None)  # here, not in the zygote
    assert list(map(key_in, upstream.seen)) == ["first-key", "second-key"]
    assert len(begun) == 2
    assert len(set(begun)) == 1
