"""Routes that exchange the caller's token for one for the service (RFC 8693)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.api.call import Call, Identity
from bridge.errors import SetupError
from tests.conftest import Recorded, Start, Upstream, listening
from tests.egress.oauth_server import Endpoint

JWT = {"type": "JWT", "audience": "gw"}
TYPE = "urn:ietf:params:oauth:token-type:"


class Exchange(Endpoint):
    """Exchanges a caller's token for one with its subject's number: the callers that it sees get 1, 2, …

    :ivar refusals: OAuth errors that it gives instead, by caller.
    """

    def __init__(self) -> None:
        super().__init__(self.exchanged)
        self.port = 0
        self.callers: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.refusal: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    async def exchanged(self, form: dict[str, str]) -> tuple[int, bytes]:
        self.asked.set()
        await self.gate.wait()
        if self.refusal is not None:
            return self.refusal[0], json.dumps({"error": self.refusal[1], "error_description": "hunter2"}).encode()
        self.callers.append(form["subject_token"])
        answer = {"access_token": f"x{len(self.callers)}", "token_type": "Bearer", "expires_in": 600}
        return 200, json.dumps({**answer, "issued_token_type": TYPE + "access_token"}).encode()


@pytest.fixture
async def sts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Exchange]:
    monkeypatch.setenv("BRIDGE_SECRET_CLIENT", "client-secret")
    monkeypatch.setenv("BRIDGE_SECRET_ACTOR", "actor-token")
    exchange = Exchange()
    async with listening(exchange) as exchange.port:
        yield exchange


def spec(url: str, auth: Any = JWT, **more: Any) -> dict[str, Any]:
    client = {"client_id": "bridge", "client_secret": {"$env": "BRIDGE_SECRET_CLIENT"}}
    return {
        "route": "/a",
        "upstream": "svc:80",
        "auth": auth,
        "upstream_auth": {"type": "token_exchange", "token_url": url, **client, **more},
        "transform": {"request": "passthrough"},
    }


def running(start: Start, upstream: Upstream, *specs: dict[str, Any], **more: Any) -> Any:
    routes = {f"r{number}.yml": json.dumps(each) for number, each in enumerate(specs)}
    mesh = {"svc": f"127.0.0.1:{upstream.port}", "evil": "127.0.0.1:1"}
    return start(mesh=mesh, routes=routes, fetch_networks="127.0.0.0/8", **more)


async def test_the_service_gets_a_token_of_the_caller(start: Start, upstream: Upstream, sts: Exchange) -> None:
    text = spec(
        sts.url,
        audience="svc",
        scopes=["a", "b"],
        requested_token_type="jwt",
        actor_token={"$env": "BRIDGE_SECRET_ACTOR"},
    )
    async with running(start, upstream, text) as gateway:
        ann, bob = gateway.token(sub="ann", audience="gw"), gateway.token(sub="bob", audience="gw")
        for token in (ann, bob, ann, ann, bob):
            reply = await gateway.client.get("/a", headers={"authorization": f"Bearer {token}"})
            assert reply.status_code == 200
    assert [request.header("authorization") for request in upstream.seen] == [
        ["Bearer x1"], ["Bearer x2"], ["Bearer x1"], ["Bearer x1"], ["Bearer x2"],
    ]  # fmt: skip
    assert sts.callers == [ann, bob]
    request = sts.requests[0]
    assert request.pop("").startswith("Basic ")
    assert request == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": ann,
        "subject_token_type": TYPE + "access_token",
        "requested_token_type": TYPE + "jwt",
        "actor_token": "actor-token",
        "actor_token_type": TYPE + "access_token",
        "audience": "svc",
        "scope": "a b",
    }


async def test_many_calls_of_one_caller_cause_one_request(start: Start, upstream: Upstream, sts: Exchange) -> None:
    sts.gate.clear()
    async with running(start, upstream, spec(sts.url)) as gateway:
        headers = gateway.bearer(audience="gw")
        calls = asyncio.gather(*(gateway.client.get("/a", headers=headers) for _ in range(50)))
        await sts.asked.wait()
        sts.gate.set()
        assert {reply.status_code for reply in await calls} == {200}
    assert len(sts.requests) == 1


async def test_how_many_are_kept_is_bounded(
    start: Start, upstream: Upstream, sts: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.egress.token_exchange.REMEMBERED", 2)
    async with running(start, upstream, spec(sts.url)) as gateway:
        tokens = [gateway.token(sub=name, audience="gw") for name in "abc"]
        for number in (0, 1, 2, 2, 1, 0):
            await gateway.client.get("/a", headers={"authorization": f"Bearer {tokens[number]}"})
    assert sts.callers == [*tokens, tokens[0]]


async def test_no_longer_than_the_callers_token(start: Start, upstream: Upstream, sts: Exchange) -> None:
    async with running(start, upstream, spec(sts.url)) as gateway:
        headers = gateway.bearer(audience="gw", ttl=3.0)
        await gateway.client.get("/a", headers=headers)
        exchanges: Any = next(iter(gateway.app.state.registry.table.routes.values())).credentials
        (cached,) = exchanges._exchanges._tokens.values()
        assert cached._token.lifetime <= 3.0
        assert "x1" not in repr(cached._token)


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        ("invalid_grant", 401, "unauthorized"),
        ("invalid_token", 401, "unauthorized"),  # Keycloak: the caller has signed out
        ("invalid_request", 403, "forbidden"),
        ("access_denied", 403, "forbidden"),
        ("invalid_client", 502, "upstream-auth-failed"),
        ("invalid_target", 502, "upstream-auth-failed"),
        ("hunter2", 502, "upstream-auth-failed"),
    ],
)
async def test_whose_fault_it_is(
    start: Start,
    upstream: Upstream,
    sts: Exchange,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    status: int,
    slug: str,
) -> None:
    for wait in ("FIRST_WAIT", "REFUSED"):
        monkeypatch.setattr(f"bridge.egress.token_cache.{wait}", 30.0)
    sts.refusal = 400, error
    async with running(start, upstream, spec(sts.url)) as gateway:
        ann, bob = gateway.bearer(sub="ann", audience="gw"), gateway.bearer(sub="bob", audience="gw")
        replies = [await gateway.client.get("/a", headers=ann) for _ in range(10)]
        sts.refusal = None
        other = await gateway.client.get("/a", headers=bob)
    assert {reply.status_code for reply in replies} == {status}
    assert replies[0].json()["type"] == f"urn:bridge:problem:{slug}"
    assert len(sts.requests) == (2 if status < 500 else 1)
    if status < 500:  # the endpoint is fine, and so are other callers
        assert other.status_code == 200
    if status == 401:
        assert 'error="invalid_token"' in replies[0].headers["www-authenticate"]
    assert "hunter2" not in replies[0].text + json.dumps(gateway.log())


async def test_a_refused_token_is_replaced_for_its_caller(start: Start, upstream: Upstream, sts: Exchange) -> None:
    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        return (401, [], b"") if request.header("authorization") == ["Bearer x1"] else (200, [], b"fine")

    upstream.answer = answer
    async with running(start, upstream, spec(sts.url)) as gateway:
        ann, bob = gateway.bearer(sub="ann", audience="gw"), gateway.bearer(sub="bob", audience="gw")
        assert (await gateway.client.get("/a", headers=ann)).text == "fine"
        assert (await gateway.client.get("/a", headers=bob)).text == "fine"
    assert [request.header("authorization")[0][7:] for request in upstream.seen] == ["x1", "x2", "x3"]


async def test_callers_without_a_token_are_refused(start: Start, upstream: Upstream, sts: Exchange) -> None:
    async with running(start, upstream, spec(sts.url, {"any": [JWT, {"type": "none"}]})) as gateway:
        reply = await gateway.client.get("/a")
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert (await gateway.client.get("/a", headers=gateway.bearer(audience="gw"))).status_code == 200
    assert len(upstream.seen) == 1


async def test_other_routes_keep_no_token(start: Start, upstream: Upstream, sts: Exchange) -> None:
    plain = {**spec(sts.url), "route": "/b"}
    del plain["upstream_auth"]
    async with running(start, upstream, spec(sts.url), plain) as gateway:
        token = gateway.token(audience="gw")
        table = gateway.app.gateway.table
        identities = []
        for path in ("/a", "/b"):
            endpoint, _ = table.match("", path, "GET")
            call = Call("GET", path, headers=[("authorization", f"Bearer {token}")])
            identities.append(await endpoint.authenticator(call))
    assert [identity.token for identity in identities] == [token, ""]
    assert token not in repr(identities)
    assert Identity(token="a") == Identity(token="b")


async def test_a_route_whose_callers_have_no_tokens_is_refused(start: Start, upstream: Upstream, sts: Exchange) -> None:
    with pytest.raises(SetupError, match=r"upstream_auth.type: token_exchange needs callers with a token"):
        async with running(start, upstream, spec(sts.url, {"type": "api_key"})):
            raise AssertionError("it was served")


async def test_a_publisher_sends_callers_tokens_where_the_operator_says(
    start: Start, upstream: Upstream, sts: Exchange
) -> None:
    origin = f"http://127.0.0.1:{sts.port}"
    allowed = f'token_urls: ["{origin}"], upstreams: ["svc:80"]'
    secret = f"- {{secret: BRIDGE_SECRET_CLIENT, {allowed}}}\n"
    given = spec(sts.url)
    async with running(start, upstream, files={"secrets.yml": secret}) as gateway:
        reply = await gateway.register(given)
        assert reply.status_code == 400
        assert f"token_exchange is not bound to {origin} for svc:80" in reply.json()["detail"]
    both = f"{secret}- {{secret: token_exchange, {allowed}}}\n"
    async with running(start, upstream, files={"secrets.yml": both}) as gateway:
        assert (await gateway.register({**given, "upstream": "evil:80"})).status_code == 400
        assert (await gateway.register(given)).status_code == 201
        assert (await gateway.client.get("/a", headers=gateway.bearer(audience="gw"))).status_code == 200


async def test_callers_tokens_are_shown_nowhere(
    start: Start, upstream: Upstream, sts: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with running(start, upstream, spec(sts.url)) as gateway:
        token = gateway.token(audience="gw")
        texts = [(await gateway.client.get("/a", headers={"authorization": f"Bearer {token}"})).text]
        sts.refusal = 400, "invalid_grant"
        other = gateway.token(sub="bob", audience="gw")
        texts.append((await gateway.client.get("/a", headers={"authorization": f"Bearer {other}"})).text)
        texts.append((await gateway.client.get("/-/metrics")).text)
    texts += [json.dumps(gateway.log()), caplog.text]
    for text in texts:
        assert token not in text
        assert other not in text
    seen = [value for request in upstream.seen for _, value in request.headers]
    assert not any(token in value for value in seen)
