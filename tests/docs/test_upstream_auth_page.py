"""The examples of docs/upstream_auth.md, each served and called, and its tables."""

from __future__ import annotations

import json
import re
from typing import Any

import jwt
import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from bridge.api.spec.upstream_tokens import (
    ClientCredentialsUpstreamAuth,
    SignedJwtUpstreamAuth,
    TokenExchangeUpstreamAuth,
)
from bridge.egress import cookies
from tests.conftest import Recorded, Start, Upstream, listening
from tests.docs.pages import ROOT, blocks_of
from tests.docs.tables import code, table
from tests.egress.oauth_server import Endpoint, OAuthServer
from tests.soap_kit import SOAP11, WSDL_DIR

NAME = "docs/upstream_auth.md"
PAGE = ROOT / NAME
SECRET = "s3cret-of-the-ledger"
LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")


def block(what: str) -> str:
    [found] = [each.text for each in blocks_of(PAGE) if what in each.text]
    return found


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_LEDGER_CLIENT", SECRET)


def for_tokens(upstream: Upstream, tokens: list[str], body: bytes, kind: str) -> None:
    """Makes `upstream` a service that takes `tokens` only."""

    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        if request.header("authorization") in [[f"Bearer {token}"] for token in tokens]:
            return 200, [("content-type", kind)], body
        return 401, [("www-authenticate", "Bearer")], b"who?"

    upstream.answer = answer


POSTED = (
    f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><posted xmlns="urn:ledger"><entry>7</entry></posted></s:Body></s:Envelope>'
)


async def test_a_soap_service_behind_client_credentials(start: Start, upstream: Upstream) -> None:
    spec = block("type: client_credentials")
    assert len(spec.splitlines()) <= 16
    oauth = OAuthServer(bridge=SECRET)
    for_tokens(upstream, ["t1", "t2"], POSTED.encode(), "text/xml")
    async with listening(oauth) as oauth.port:
        spec = spec.replace("https://login.example/oauth2/token", oauth.url)
        mesh = {"ledger-svc": f"127.0.0.1:{upstream.port}"}
        files = {"wsdl/ledger.wsdl": LEDGER}
        async with start(mesh=mesh, routes={"a.yml": spec}, files=files, fetch_networks="127.0.0.0/8") as gateway:
            headers = gateway.bearer(audience="LEDGER")
            reply = await gateway.client.post("/v1/ledger", json={"account": "a", "cents": 1}, headers=headers)
            assert (reply.status_code, reply.json()) == (200, {"entry": 7})
    assert oauth.requests[0]["scope"] == "ledger.write"


async def test_a_token_for_the_callers(start: Start, upstream: Upstream) -> None:
    async def behaviour(form: dict[str, str]) -> tuple[int, bytes]:
        sub = jwt.decode(form["subject_token"], options={"verify_signature": False})["sub"]
        return 200, json.dumps({"access_token": f"for-{sub}", "token_type": "Bearer"}).encode()

    endpoint = Endpoint(behaviour)
    for_tokens(upstream, ["for-ann"], b'{"ok": true}', "application/json")
    async with listening(endpoint) as port:
        spec = block("type: token_exchange\n").replace("https://login.example", f"http://127.0.0.1:{port}")
        mesh, files = {"permits-svc": f"127.0.0.1:{upstream.port}"}, {"secrets/login-client": "x"}
        async with start(mesh=mesh, routes={"a.yml": spec}, files=files, fetch_networks="127.0.0.0/8") as gateway:
            for sub, status in (("ann", 200), ("bob", 401)):
                headers = gateway.bearer(sub=sub, audience="PERMITS")
                assert (await gateway.client.get("/v1/permits/1", headers=headers)).status_code == status
    assert endpoint.requests[0]["audience"] == "https://permits.example"


async def test_a_signed_token(start: Start, upstream: Upstream) -> None:
    spec, mesh = block("type: signed_jwt\n"), {"tally-svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": spec}) as gateway:
        headers = gateway.bearer(sub="ann", audience="TALLY", roles=("clerk",))
        assert (await gateway.client.get("/v1/tally", headers=headers)).status_code == 200
        keys = jwt.PyJWKSet.from_dict((await gateway.client.get("/-/jwks.json")).json())
    token = upstream.seen[0].header("authorization")[0].removeprefix("Bearer ")
    claims = jwt.decode(token, keys.keys[0].key, ["ES256"], audience="https://tally.example")
    assert (claims["roles"], claims["zone"], claims["exp"] - claims["iat"]) == (["clerk"], "north", 30)


async def test_a_session_by_cookie(start: Start, upstream: Upstream) -> None:
    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        return 200, [("content-type", "text/xml"), ("set-cookie", "session=of-ann")], POSTED.encode()

    upstream.answer = answer
    mesh, files = {"ledger-svc": f"127.0.0.1:{upstream.port}"}, {"wsdl/ledger.wsdl": LEDGER}
    async with start(mesh=mesh, routes={"a.yml": block("cookies: session")}, files=files) as gateway:
        for sub in ("ann", "ann", "bob"):
            headers = gateway.bearer(sub=sub, audience="LEDGER")
            body = {"account": "a", "cents": 1}
            assert (await gateway.client.post("/v1/entries", json=body, headers=headers)).status_code == 200
    assert [seen.header("cookie") for seen in upstream.seen] == [[], ["session=of-ann"], []]


def test_the_bounds_of_cookies() -> None:
    bounds = dict(table(NAME, "Sessions by cookie"))
    assert bounds["callers"].startswith(f"{cookies.MAX_CALLERS:,};")
    assert bounds["all cookies"].startswith(f"{cookies.MAX_BYTES >> 20} MiB,")
    assert bounds["cookies of a caller"].startswith(f"{cookies.MAX_COOKIES};")
    assert bounds["name and value of a cookie, its path"].startswith(f"{cookies.MAX_COOKIE:,} bytes each;")
    assert cookies.IDLE == 3600
    assert bounds["idle time"].startswith("an hour")


async def test_the_bindings_of_registered_routes(start: Start, upstream: Upstream) -> None:
    files = {
        "wsdl/ledger.wsdl": LEDGER,
        "secrets/login-client": "x",
        "secrets.yml": block("# secrets.yml"),
    }
    read = YAML(typ="safe").load
    ledger, permits, tally = (
        read(block(f"type: {kind}\n")) for kind in ("client_credentials", "token_exchange", "signed_jwt")
    )
    async with start(mesh={}, files=files) as gateway:
        assert (await gateway.register(ledger)).status_code == 201
        reply = await gateway.register(permits)  # its file is not bound
        assert "secrets/login-client is not bound" in reply.text
        permits["upstream_auth"]["client_secret"] = {"$env": "BRIDGE_SECRET_LEDGER_CLIENT"}
        assert (
            "BRIDGE_SECRET_LEDGER_CLIENT is not bound to https://login.example:443 for permits"
            in (await gateway.register(permits)).text
        )
        del permits["upstream_auth"]["client_secret"], permits["upstream_auth"]["client_id"]
        assert (await gateway.register(permits)).status_code == 201
        assert "leave audience out" in (await gateway.register(tally)).text
        del tally["upstream_auth"]["audience"]
        assert (await gateway.register(tally)).status_code == 201


def keys(heading: str, number: int = 1) -> set[str]:
    return {key for row in table(NAME, heading, number=number) for key in code(row[0])[:1]}


@pytest.mark.parametrize(
    ("model", "tables"),
    [
        (ClientCredentialsUpstreamAuth, [("The token endpoint", 1)]),
        (TokenExchangeUpstreamAuth, [("The token endpoint", 1), ("The token endpoint", 2)]),
        (SignedJwtUpstreamAuth, [("A token that the gateway signs", 1)]),
    ],
)
def test_each_key_is_in_a_table(model: type[BaseModel], tables: list[Any]) -> None:
    assert set[str]().union(*(keys(heading, number) for heading, number in tables)) == set(model.model_fields)


def test_its_numbers_are_the_codes() -> None:
    from bridge.egress import signing_keys, token_cache, token_endpoint, token_exchange

    text = re.sub(r"\s+", " ", PAGE.read_text("utf-8"))
    assert (token_endpoint.DEFAULT_LIFETIME, token_endpoint.MAX_LIFETIME) == (5 * 60, 86400)
    assert f"for {token_exchange.REMEMBERED:,} of them" in text
    assert f"no whole answer within {token_endpoint.TIMEOUT:g} seconds" in text
    assert f"more than {token_endpoint.MAX_ANSWER // 1024} KiB" in text
    assert f"a token of more than {token_endpoint.MAX_TOKEN // 1024} KiB" in text
    assert (token_cache.DROP_INTERVAL, token_cache.LONGEST_WAIT, token_cache.RENEW) == (5, 30, 0.2)
    assert f"A key signs for {signing_keys.PERIOD / 86400:g} days" in text
    assert signing_keys.AHEAD == signing_keys.KEEP == 86400
