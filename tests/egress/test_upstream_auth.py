"""`upstream_auth` from secrets: what the service gets, and that nobody else ever sees it (docs/spec.md)."""

from __future__ import annotations

import logging
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.offline import explanation
from bridge.config.specfile import read_text
from bridge.errors import SetupError, SpecError
from tests.conftest import Running, Start, Upstream
from tests.docs.pages import ROOT, blocks_of

SECRET = "s3cr3t-of-the-ledger"  # what the tests look for
VARIABLE = "BRIDGE_SECRET_LEDGER_PASSWORD"
TAIL = "auth: none\ntransform: {request: passthrough, response: passthrough}\n"


@pytest.fixture(autouse=True)
def variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


def route(auth: str, path: str = "/a") -> str:
    return f"route: {path}\nupstream: svc:80\nupstream_auth: {auth}\n{TAIL}"


AUTHS = {
    "basic": f"{{type: basic, username: gät, password: {{$env: {VARIABLE}}}}}",
    "bearer": f"{{type: bearer, token: {{$env: {VARIABLE}}}}}",
    "header": f"{{type: api_key, header: X-Ledger, value: {{$env: {VARIABLE}}}}}",
    "query": f"{{type: api_key, query: ledger, value: {{$env: {VARIABLE}}}}}",
}


@pytest.mark.parametrize("kind", AUTHS)
async def test_the_service_gets_them_in_place_of_the_clients_own(start: Start, upstream: Upstream, kind: str) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": route(AUTHS[kind])}) as gateway:
        mine = {"authorization": "Bearer mine", "x-ledger": "mine"}
        reply = await gateway.client.get("/a?ledger=mine&x=1", headers=mine)
        assert reply.status_code == 200, reply.text
    [seen] = upstream.seen
    expected: dict[str, Any] = {"authorization": ["Bearer mine"], "x-ledger": ["mine"], "target": "/a?ledger=mine&x=1"}
    replaced: dict[str, dict[str, Any]] = {
        "basic": {"authorization": [f"Basic {b64encode(f'gät:{SECRET}'.encode()).decode()}"]},
        "bearer": {"authorization": [f"Bearer {SECRET}"]},
        "header": {"x-ledger": [SECRET]},
        "query": {"target": f"/a?x=1&ledger={SECRET}"},
    }
    expected |= replaced[kind]
    assert {**{name: seen.header(name) for name in mine}, "target": seen.target} == expected


async def test_the_block_of_the_documentation(start: Start, upstream: Upstream) -> None:
    [block] = [each for each in blocks_of(ROOT / "docs/spec.md") if "upstream_auth: {type: basic" in each.text]
    spec = f"route: /a\nupstream: svc:80\n{block.text}{TAIL}"
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": spec}) as gateway:
        assert (await gateway.client.get("/a")).status_code == 200
    [value] = upstream.seen[0].header("authorization")
    assert b64decode(value.removeprefix("Basic ")).decode() == f"gateway:{SECRET}"


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ("{type: basic, username: u, password: hush}", "upstream_auth.password: a spec never contains a secret"),
        ("{type: bearer, token: hush}", "upstream_auth.token: a spec never contains a secret"),
        ("{type: api_key, header: X, value: hush}", "$env: BRIDGE_SECRET_NAME"),
        ("{type: api_key, value: {$env: BRIDGE_SECRET_X}}", "name one place of the key"),
        ("{type: api_key, header: A, query: b, value: {$env: BRIDGE_SECRET_X}}", "name one place of the key"),
        ("{type: api_key, header: Content-Length, value: {$env: BRIDGE_SECRET_X}}", "belongs to the connection"),
        ("{type: api_key, header: X-Forwarded-For, value: {$env: BRIDGE_SECRET_X}}", "belongs to the connection"),
        ("{type: api_key, header: Accept-Encoding, value: {$env: BRIDGE_SECRET_X}}", "belongs to the connection"),
        ("{type: basic, username: u, password: {$evn: X}}", "did you mean $env?"),
        ("{type: digest}", "digest"),
    ],
)
def test_what_a_spec_may_not_say(auth: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(route(auth), "a.yml")
    assert told in str(caught.value)
    assert "a.yml:3" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("auth", "held", "told"),
    [
        (AUTHS["bearer"], "hush hush", "a bearer token is printable ASCII without spaces"),
        (AUTHS["bearer"], "a\r\nb", "control characters"),
        (AUTHS["header"], "a\nb", "control characters"),
        (f"{{type: basic, username: 'a:b', password: {{$env: {VARIABLE}}}}}", "x", "has no colon"),
        ("{type: bearer, token: {$env: BRIDGE_SECRET_NOT_SET}}", "x", "is not set"),
        ("{type: bearer, token: {$env: HOME}}", "x", "begin with BRIDGE_SECRET_ only"),
    ],
)
async def test_what_is_found_when_the_route_is_bound(
    start: Start, monkeypatch: pytest.MonkeyPatch, auth: str, held: str, told: str
) -> None:
    monkeypatch.setenv(VARIABLE, held)
    with pytest.raises(SetupError) as caught:
        async with start(mesh={}, routes={"a.yml": route(auth)}):
            pass
    assert str(caught.value).startswith("routes/a.yml:3: upstream_auth.")
    assert told in str(caught.value)
    assert held == "x" or held not in str(caught.value)


async def test_publishers_need_the_operators_word(start: Start, upstream: Upstream) -> None:
    spec = {
        "route": "/a",
        "upstream": "svc:80",
        "auth": "none",
        "upstream_auth": {"type": "bearer", "token": {"$env": VARIABLE}},
        "transform": {"request": "passthrough"},
    }
    files = {"secrets.yml": f"- {{secret: {VARIABLE}, upstreams: ['svc:80']}}\n"}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, files=files) as gateway:
        elsewhere = await gateway.register({**spec, "route": "/b", "upstream": "evil:80"})
        assert elsewhere.status_code == 400
        assert "is not bound to evil:80" in elsewhere.text
        assert (await gateway.register(spec)).status_code == 201
        assert (await gateway.client.get("/a")).status_code == 200
    assert upstream.seen[0].header("authorization") == [f"Bearer {SECRET}"]


async def test_a_header_that_upstream_auth_sends_is_not_edited_too(start: Start) -> None:
    spec = route(AUTHS["header"]) + "headers: {request: {set: {X-LEDGER: a}}}\n"
    with pytest.raises(SetupError, match=r"a\.yml:6: headers\.request: upstream_auth sends 'X-LEDGER' already"):
        async with start(mesh={}, routes={"a.yml": spec}):
            pass


async def _visible(gateway: Running) -> list[str]:
    """What anybody may see of a gateway, the log's files apart."""
    admin = gateway.bearer(roles=("api_publisher",), sub="publisher")
    texts = []
    for path in ("routes", "metrics", "openapi.json", "docs", "console", "health/ready"):
        reply = await gateway.client.get(f"/-/{path}", headers=admin)
        texts += [reply.text, str(reply.headers)]
    for each in (await gateway.client.get("/-/routes", headers=admin)).json()["routes"]:
        texts.append((await gateway.client.get(f"/-/routes/{each['route_id']}", headers=admin)).text)
    return texts


async def test_no_secret_is_seen_anywhere(start: Start, upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = f"headers: {{request: {{set: {{X-Also: {{$env: {VARIABLE}}}}}}}}}\n"
    headers += f"query: {{add: {{also: {{$env: {VARIABLE}}}}}}}\n"
    routes = {f"{kind}.yml": route(auth, f"/{kind}") + headers for kind, auth in AUTHS.items()}
    routes["gone.yml"] = route(AUTHS["query"], "/gone").replace("svc:80", "gone:80") + headers
    seen = []
    mesh = {"svc": f"127.0.0.1:{upstream.port}", "gone": "127.0.0.1:1"}
    async with start(mesh=mesh, routes=routes, files={"secrets/unused": SECRET}) as gateway:
        for status in (200, 401, 500):
            upstream.status = status
            for path in (*AUTHS, "gone"):
                reply = await gateway.client.get(f"/{path}")
                seen += [reply.text, str(reply.headers)]
        spec = {"route": "/r", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
        for auth in ({"type": "bearer", "token": SECRET}, {"type": "bearer", "token": {"$env": VARIABLE}}):
            reply = await gateway.register({**spec, "upstream_auth": auth})
            assert reply.status_code == 400
            seen.append(reply.text)
        seen += await _visible(gateway)
        for path in (*AUTHS, "gone"):
            seen.append(await explanation(gateway.settings, f"/{path}", b"", ""))
    assert f"Bearer {SECRET}" in str(upstream.seen)
    assert f"ledger={SECRET}" in str(upstream.seen)
    seen += [path.read_bytes().decode("latin-1") for path in (gateway.home / ".bridge").rglob("*") if path.is_file()]
    seen += [
        record.getMessage() + str(record.exc_text or "") for record in caplog.records if record.name[:6] == "bridge"
    ]
    encoded = b64encode(f"gät:{SECRET}".encode()).decode()
    assert len(seen) > 40
    for text in seen:
        assert SECRET not in text
        assert encoded not in text


@pytest.mark.parametrize("kind", AUTHS)
async def test_explain_masks_them(start: Start, kind: str) -> None:
    os.environ[VARIABLE] = "ab"  # too short to be looked for within other texts
    async with start(mesh={}, routes={"a.yml": route(AUTHS[kind])}) as gateway:
        text = await explanation(gateway.settings, "/a?x=1", b"", "", [("x-mine", "1")])
    lines = text.splitlines()
    if kind == "query":
        assert lines == ["GET /a?x=1&ledger=***  (to svc:80 by http)", "x-mine: 1"]
    else:
        name = "x-ledger" if kind == "header" else "authorization"
        assert lines == ["GET /a?x=1  (to svc:80 by http)", "x-mine: 1", f"{name}: ***"]


# --- rotation --------------------------------------------------------------------------------------------------------


@pytest.fixture
def each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at with each call, not once a second."""
    monkeypatch.setattr("bridge.api.values.CHECK_EVERY", 0.0)


@pytest.mark.usefixtures("each_call")
async def test_a_rotated_file_is_sent_without_a_new_bind(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    spec = route("{type: bearer, token: {$file: secrets/token}}")
    mesh, files = {"svc": f"127.0.0.1:{upstream.port}"}, {"secrets/token": "one\n"}
    async with start(mesh=mesh, routes={"a.yml": spec}, files=files) as gateway:
        [endpoint] = [each for bound in gateway.app.state.registry.table.routes.values() for each in bound.endpoints]
        token = gateway.home / "secrets/token"
        for text in ("one\n", "two\n", None, "three\n"):
            if text is None:
                token.unlink()
            else:
                (gateway.home / "new").write_text(text)
                (gateway.home / "new").rename(token)
            assert (await gateway.client.get("/a")).status_code == 200
            shown = str(text or "two").strip()
            assert shown in endpoint.egress.secrets
            assert shown not in await explanation(gateway.settings, "/a", b"", "") if text else True
        [bound] = gateway.app.state.registry.table.routes.values()
        assert bound.endpoints[0] is endpoint
    assert [seen.header("authorization") for seen in upstream.seen] == [
        ["Bearer one"], ["Bearer two"], ["Bearer two"], ["Bearer three"],
    ]  # fmt: skip
