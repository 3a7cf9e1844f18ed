"""Routes whose service wants a token of the gateway's own (RFC 6749, section 4.4)."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bridge.cli.offline import explanation
from bridge.errors import SetupError
from tests.conftest import Recorded, Start, Upstream, listening
from tests.egress.conftest import SECRET
from tests.egress.oauth_server import Endpoint, OAuthServer

LOOPBACK = {"fetch_networks": "127.0.0.0/8"}


def route(url: str, path: str = "/a", timeout: str = "30s", **more: Any) -> str:
    auth = {
        "type": "client_credentials",
        "token_url": url,
        "client_id": "bridge",
        "client_secret": {"$env": "BRIDGE_SECRET_CLIENT"},
        **more,
    }
    return json.dumps(
        {
            "route": path,
            "upstream": "svc:80",
            "auth": "none",
            "timeout": timeout,
            "upstream_auth": {name: value for name, value in auth.items() if value is not None},
            "transform": {"request": "passthrough"},
        }
    )


def running(start: Start, upstream: Upstream, *routes: str, **more: Any) -> Any:
    mesh = {"svc": f"127.0.0.1:{upstream.port}", **more.pop("mesh", {})}
    specs = {f"r{number}.yml": text for number, text in enumerate(routes)}
    return start(mesh=mesh, routes=specs, **{**LOOPBACK, **more})


def sent(upstream: Upstream) -> list[str]:
    return [value for request in upstream.seen for value in request.header("authorization")]


async def test_the_service_gets_a_token(start: Start, upstream: Upstream, oauth: OAuthServer) -> None:
    text = route(oauth.url, scopes=["read", "write"], audience="https://svc", resource=["urn:a", "urn:b"])
    async with running(start, upstream, text) as gateway:
        for _ in range(3):
            reply = await gateway.client.get("/a", headers={"authorization": "Bearer mine"})
            assert reply.status_code == 200
    assert sent(upstream) == ["Bearer t1"] * 3
    assert len(oauth.requests) == 1
    request = oauth.requests[0]
    assert request["grant_type"] == "client_credentials"
    assert request["scope"] == "read write"
    assert (request["audience"], request["resource"]) == ("https://svc", "urn:b")
    # RFC 6749, section 2.3.1: form-encoded, so that the secret's colon, slash and plus survive.
    assert base64.b64decode(request[""][6:]) == b"bridge:s3cret%2Fof%2Bthe%3Agateway"


async def test_a_route_without_edits_copies_no_request(start: Start, upstream: Upstream, oauth: OAuthServer) -> None:
    async with running(start, upstream, route(oauth.url)) as gateway:
        [bound] = gateway.app.state.registry.table.routes.values()
        [endpoint] = bound.endpoints
        assert (endpoint.egress, endpoint.request) == (None, endpoint.codec.request)


async def test_the_secret_may_stand_in_the_form(start: Start, upstream: Upstream, oauth: OAuthServer) -> None:
    oauth.clients.methods = {"post"}
    text = route(oauth.url, client_auth="post", parameters={"tenant": "t 1", "more": {"$env": "BRIDGE_SECRET_CLIENT"}})
    async with running(start, upstream, text) as gateway:
        assert (await gateway.client.get("/a")).status_code == 200
    assert oauth.requests[0].items() >= {"client_secret": SECRET, "tenant": "t 1", "more": SECRET, "": ""}.items()


async def test_the_client_may_sign(start: Start, upstream: Upstream) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    async def behaviour(form: dict[str, str]) -> tuple[int, bytes]:
        claims = jwt.decode(form["client_assertion"], key.public_key(), ["ES256"], audience=url)
        assert (claims["iss"], claims["sub"]) == ("bridge", "bridge")
        assert claims["exp"] <= time.time() + 60
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert "client_secret" not in form
        return 200, b'{"access_token": "signed", "token_type": "bearer"}'

    endpoint = Endpoint(behaviour)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    async with listening(endpoint) as port:
        url = f"http://127.0.0.1:{port}/token"
        text = route(url, client_auth="private_key_jwt", client_secret=None, client_key={"$file": "secrets/client.pem"})
        async with running(start, upstream, text, files={"secrets/client.pem": pem}) as gateway:
            assert (await gateway.client.get("/a")).status_code == 200
    assert sent(upstream) == ["Bearer signed"]


async def test_the_endpoint_may_be_in_the_mesh(start: Start, upstream: Upstream, oauth: OAuthServer) -> None:
    text = route(oauth.url, token_url=None, token_upstream="idp:8080/token")
    mesh = {"idp": f"127.0.0.1:{oauth.port}"}
    async with running(start, upstream, text, mesh=mesh, fetch_networks="") as gateway:
        assert (await gateway.client.get("/a")).status_code == 200
    assert sent(upstream) == ["Bearer t1"]


async def test_a_thousand_calls_cause_one_request(start: Start, upstream: Upstream, oauth: OAuthServer) -> None:
    oauth.gate.clear()
    async with running(start, upstream, route(oauth.url), route(oauth.url, "/b")) as gateway:
        connector = aiohttp.TCPConnector(limit=100)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{gateway.port}", connector=connector) as client:

            async def call(number: int) -> int:
                async with client.get("/" + "ab"[number % 2]) as reply:
                    return reply.status

            calls = asyncio.gather(*(call(number) for number in range(1000)))
            await oauth.asked.wait()
            oauth.gate.set()
            assert set(await calls) == {200}
    assert len(oauth.requests) == 1
    assert sent(upstream) == ["Bearer t1"] * 1000


async def test_other_clients_have_tokens_of_their_own(
    start: Start, upstream: Upstream, oauth: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_OTHER", SECRET)
    monkeypatch.setenv("BRIDGE_SECRET_WRONG", "guessed")
    oauth.clients.clients["other"] = SECRET
    routes = [
        route(oauth.url),
        route(oauth.url, "/scopes", scopes=["read"]),
        route(oauth.url, "/client", client_id="other"),
        route(oauth.url, "/secret", client_secret={"$env": "BRIDGE_SECRET_OTHER"}),
        route(oauth.url, "/wrong", client_secret={"$env": "BRIDGE_SECRET_WRONG"}),
    ]
    async with running(start, upstream, *routes) as gateway:
        paths = ("/a", "/scopes", "/client", "/secret")
        assert [(await gateway.client.get(path)).status_code for path in paths] == [200] * 4
        assert (await gateway.client.get("/wrong")).status_code == 502
    assert sent(upstream) == ["Bearer t1", "Bearer t2", "Bearer t3", "Bearer t4"]


async def test_a_refused_token_is_replaced(start: Start, upstream: Upstream, oauth: OAuthServer) -> None:
    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        return (401, [], b"") if request.header("authorization") == ["Bearer t1"] else (200, [], b"fine")

    upstream.answer = answer
    async with running(start, upstream, route(oauth.url)) as gateway:
        replies = await asyncio.gather(*(gateway.client.get("/a") for _ in range(50)))
        assert {reply.text for reply in replies} == {"fine"}
    assert len(oauth.requests) == 2


async def test_a_service_that_refuses_all_tokens_causes_few_requests(
    start: Start, upstream: Upstream, oauth: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.egress.token_cache.DROP_INTERVAL", 3600.0)
    upstream.status = 401
    async with running(start, upstream, route(oauth.url)) as gateway:
        for _ in range(20):
            assert (await gateway.client.get("/a")).status_code == 401
    assert sent(upstream)[:4] == ["Bearer t1", "Bearer t2", "Bearer t2", "Bearer t2"]
    assert len(upstream.seen) == 21, "the token that was just refused is not sent once more"
    assert len(oauth.requests) == 2


async def test_a_rotated_secret_counts_from_the_next_request_on(
    start: Start, upstream: Upstream, oauth: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.api.values.CHECK_EVERY", 0.0)
    oauth.lifetime = 0  # of no use: each call asks
    files = {"secrets/client": SECRET + "\n"}
    text = route(oauth.url, client_secret={"$file": "secrets/client"})

    def lasting(value: Any) -> float:
        return 0.0001

    monkeypatch.setattr("bridge.egress.token_endpoint._lifetime", lasting)
    async with running(start, upstream, text, files=files) as gateway:
        assert (await gateway.client.get("/a")).status_code == 200
        oauth.clients.clients["bridge"] = "the new one"
        half = gateway.home / "secrets/half"
        half.write_text("the new one")
        half.rename(gateway.home / "secrets/client")
        assert (await gateway.client.get("/a")).status_code == 200
    assert base64.b64decode(oauth.requests[-1][""][6:]) == b"bridge:the+new+one"


# --- endpoints that fail ---------------------------------------------------------------------------------------------


def good(**more: Any) -> bytes:
    return json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": 60, **more}).encode()


BAD: dict[str, tuple[int, bytes, str]] = {
    "error": (401, b'{"error": "invalid_client", "error_description": "hunter2"}', "HTTP 401: invalid_client"),
    "unknown error": (400, b'{"error": "hunter2"}', "HTTP 400"),
    "page": (500, b"<html>hunter2</html>", "HTTP 500"),
    "redirect": (302, b"", "HTTP 302"),
    "no JSON": (200, b"access_token=t&token_type=bearer", "is no JSON object"),
    "list": (200, b"[]", "is no JSON object"),
    "deep": (200, b"[" * 60000, "is no JSON object"),
    "nothing": (200, b"", "is no JSON object"),
    "no token": (200, b'{"token_type": "Bearer"}', "has no access_token"),
    "empty token": (200, good(access_token=""), "has no access_token"),
    "number": (200, good(access_token=1), "has no access_token"),
    "no type": (200, b'{"access_token": "t"}', "not of the token_type Bearer"),
    "DPoP": (200, good(token_type="DPoP"), "not of the token_type Bearer"),
    "expired": (200, good(expires_in=0), "has expired already"),
    "long expired": (200, good(expires_in=-1e300), "has expired already"),
    "no number": (200, good(expires_in="soon"), "expires_in is no number"),
    "true": (200, good(expires_in=True), "expires_in is no number"),
    "line": (200, good(access_token="t\r\nX-Admin: 1"), "characters that no bearer token has"),
    "space": (200, good(access_token="t t"), "characters that no bearer token has"),
    "letters": (200, good(access_token="tökén"), "characters that no bearer token has"),
    "long": (200, good(access_token="t" * 16385), "longer than 16384 characters"),
    "large": (200, good(more="x" * 65536), "larger than 64 KiB"),
}


@pytest.mark.parametrize("place", ["url", "mesh"])
@pytest.mark.parametrize("case", BAD)
async def test_nonsense_of_an_endpoint(
    start: Start, upstream: Upstream, oauth: OAuthServer, monkeypatch: pytest.MonkeyPatch, case: str, place: str
) -> None:
    monkeypatch.setattr("bridge.egress.token_cache.FIRST_WAIT", 30.0)
    status, content, cause = BAD[case]

    async def behaviour(form: dict[str, str]) -> tuple[int, bytes]:
        return status, content

    endpoint = Endpoint(behaviour)
    async with listening(endpoint) as port:
        text = route(f"http://127.0.0.1:{port}/token")
        if place == "mesh":
            text = route("", token_url=None, token_upstream="http://idp:80/token")
        async with running(start, upstream, text, mesh={"idp": f"127.0.0.1:{port}"}) as gateway:
            replies = [await gateway.client.get("/a") for _ in range(20)]
    assert {reply.status_code for reply in replies} == {502}
    assert replies[0].json()["type"] == "urn:bridge:problem:upstream-auth-failed"
    assert len(endpoint.requests) == 1
    assert not upstream.seen
    lines = gateway.log()
    assert all(cause in line["cause"] for line in lines)
    name = "idp:80" if place == "mesh" else f"http://127.0.0.1:{port}"
    assert lines[0]["cause"].startswith(f"the token endpoint {name}: ")
    assert "hunter2" not in replies[0].text + json.dumps(lines)


@pytest.mark.parametrize("place", ["url", "mesh", "unknown name"])
async def test_an_endpoint_that_cant_be_reached(
    start: Start, upstream: Upstream, oauth: OAuthServer, place: str
) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    text = route(f"http://127.0.0.1:{port}/token")
    if place == "mesh":
        text = route("", token_url=None, token_upstream="idp:80/token")
    if place == "unknown name":
        text = route("", token_url=None, token_upstream="other:80/token")
    async with running(start, upstream, text, mesh={"idp": f"127.0.0.1:{port}"}) as gateway:
        reply = await gateway.client.get("/a")
    assert reply.status_code == 503
    assert reply.json()["type"] == "urn:bridge:problem:upstream-auth-failed"
    assert int(reply.headers["retry-after"]) >= 1
    assert not upstream.seen
    assert "the token endpoint" in gateway.log()[0]["cause"]
    assert str(port) not in reply.text


async def test_a_silent_endpoint_takes_a_share_of_the_calls_time(
    start: Start, upstream: Upstream, oauth: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.egress.credentials.SHARE", 0.05)
    oauth.gate.clear()
    async with running(start, upstream, route(oauth.url, timeout="20s")) as gateway:
        replies = await asyncio.gather(*(gateway.client.get("/a") for _ in range(20)))
        assert {reply.status_code for reply in replies} == {502}
        await oauth.asked.wait()
        assert len(oauth.requests) == 1
        oauth.gate.set()
    assert "no answer within 1 seconds" in gateway.log()[0]["cause"]
    assert not upstream.seen


async def test_it_works_again_when_the_endpoint_does(
    start: Start, upstream: Upstream, oauth: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.egress.token_cache.FIRST_WAIT", 0.0)
    right, oauth.clients.clients["bridge"] = SECRET, "another"
    async with running(start, upstream, route(oauth.url)) as gateway:
        assert (await gateway.client.get("/a")).status_code == 502
        oauth.clients.clients["bridge"] = right
        assert (await gateway.client.get("/a")).status_code == 200
        text = (await gateway.client.get("/-/metrics")).text
    assert 'bridge_token_requests_total{kind="client_credentials",outcome="failed"} 1.0' in text
    assert 'bridge_token_requests_total{kind="client_credentials",outcome="ok"} 1.0' in text


# --- specs -----------------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"token_url": "http://127.0.0.1/token"}, "token_url", "127.0.0.1 is refused: loopback"),
    ({"token_url": "http://10.0.0.1/token"}, "token_url", "10.0.0.1 is refused: no public address"),
    ({"token_url": "http://169.254.169.254/"}, "token_url", "is refused: link-local"),
    ({"token_url": "idp.example/token"}, "token_url", "it is not of the form http"),
    ({"token_url": "https://u:p@idp.example/"}, "token_url", "it is not of the form http"),
    ({"token_url": None}, "", "it needs either token_url or token_upstream"),
    ({"token_upstream": "idp:80/token"}, "", "it needs either token_url or token_upstream"),
    ({"token_url": None, "token_upstream": "10.0.0.1:80/token"}, "token_upstream", "is an address"),
    ({"token_url": None, "token_upstream": "grpc://idp:80/token"}, "token_upstream", "over http or https"),
    ({"token_url": None, "token_upstream": "idp:80/{id}"}, "token_upstream", "has no parameters"),
    ({"client_id": None}, "", "client_id is missing"),
    ({"client_secret": None}, "", "client_secret is missing"),
    ({"client_secret": "hunter2"}, "client_secret", "never contains a secret"),
    ({"client_secret": {"$env": "HOME"}}, "client_secret.$env", "begin with BRIDGE_SECRET_"),
    ({"client_secret": {"$env": "BRIDGE_SECRET_NONE"}}, "client_secret.$env", "is not set"),
    ({"client_secret": {"$header": "X-Secret"}}, "client_secret", ""),
    ({"client_id": {"$claim": "azp"}}, "client_id", "no values of a call"),
    ({"parameters": {"x": {"$claim": "sub"}}}, "parameters.x", "no values of a call"),
    ({"parameters": {"client_secret": "hunter2"}}, "parameters", "is set by the gateway"),
    ({"client_auth": "tls"}, "client_auth", ""),
    ({"client_auth": "private_key_jwt"}, "", "takes client_key and no client_secret"),
    ({"client_auth": "private_key_jwt", "client_secret": None}, "", "client_key is missing"),
    (
        {"client_auth": "private_key_jwt", "client_secret": None, "client_key": {"$env": "BRIDGE_SECRET_CLIENT"}},
        "client_key",
        "holds no private key",
    ),
    ({"scope": "read"}, "scope", "did you mean 'scopes'"),
    ({"scopes": ["read write"]}, "scopes", "'read write' is no scope"),
    ({"scopes": [""]}, "scopes", "'' is no scope"),
    ({"audience": ""}, "audience", "an empty text names nothing"),
    ({"resource": ["urn:a", ""]}, "resource", "an empty text names nothing"),
    ({"client_id": ""}, "", "client_id is empty"),
]


@pytest.mark.parametrize(("changes", "key", "reason"), WRONG)
async def test_wrong_specs(
    start: Start, upstream: Upstream, oauth: OAuthServer, changes: dict[str, Any], key: str, reason: str
) -> None:
    text = route("https://idp.example/token", **changes)
    with pytest.raises(SetupError) as caught:
        async with running(start, upstream, text, fetch_networks=""):
            raise AssertionError("it was served")
    message = str(caught.value)
    assert "r0.yml:1: upstream_auth" in message
    assert key in message
    assert reason in message
    assert "hunter2" not in message.replace(repr(changes), "")


async def test_explain_asks_nobody(start: Start, upstream: Upstream, oauth: OAuthServer) -> None:
    async with running(start, upstream, route(oauth.url)) as gateway:
        text = await explanation(gateway.settings, "/a", b"", "")
    assert "authorization: ***" in text.splitlines()
    assert not oauth.requests


# --- publishers ------------------------------------------------------------------------------------------------------

BINDING = '- {{secret: BRIDGE_SECRET_CLIENT, upstreams: ["{upstream}"], token_urls: ["{origin}"]}}\n'


@pytest.fixture
def published(start: Start, upstream: Upstream, oauth: OAuthServer) -> Callable[[str], Any]:
    """A gateway whose operator bound the client's secret to what is given."""
    return lambda bindings: running(start, upstream, files={"secrets.yml": bindings}, mesh={"evil": "127.0.0.1:1"})


async def test_a_publisher_sends_secrets_and_tokens_where_the_operator_says(
    published: Callable[[str], Any], upstream: Upstream, oauth: OAuthServer
) -> None:
    origin = f"http://127.0.0.1:{oauth.port}"
    async with listening(Upstream()) as canary, published(BINDING.format(upstream="svc:80", origin=origin)) as gateway:
        spec = json.loads(route(oauth.url))
        refused = [
            json.loads(route(f"http://127.0.0.1:{canary}/token")),
            json.loads(route(f"http://localhost:{oauth.port}/token")),
            json.loads(route("", token_url=None, token_upstream="evil:80/token")),
            {**spec, "upstream": "evil:80"},  # it would get the token
        ]
        for wrong in refused:
            reply = await gateway.register(wrong)
            assert reply.status_code == 400, reply.text
            assert "BRIDGE_SECRET_CLIENT is not bound to" in reply.json()["detail"]
            assert SECRET not in reply.text
        assert (await gateway.register(spec)).status_code == 201
        assert (await gateway.client.get("/a")).status_code == 200
    assert sent(upstream) == ["Bearer t1"]


async def test_the_message_has_the_entry_that_allows_it(published: Callable[[str], Any], oauth: OAuthServer) -> None:
    spec = json.loads(route(oauth.url))
    async with published("[]") as gateway:
        detail = (await gateway.register(spec)).json()["detail"]
    async with published("- " + detail.rpartition(", as ")[2]) as gateway:
        assert (await gateway.register(spec)).status_code == 201
    spec = json.loads(route("", token_url=None, token_upstream="idp:80/token"))
    async with published("[]") as gateway:
        detail = (await gateway.register({**spec, "route": "/b"})).json()["detail"]
    async with published("- " + detail.rpartition(", as ")[2]) as gateway:
        assert (await gateway.register({**spec, "route": "/b"})).status_code == 201


# --- secrets ---------------------------------------------------------------------------------------------------------


async def test_secrets_and_tokens_are_shown_nowhere(
    start: Start, upstream: Upstream, oauth: OAuthServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    upstream.status = 500
    texts: list[str] = []
    async with running(start, upstream, route(oauth.url), route("http://127.0.0.1:1/t", "/b")) as gateway:
        for path in ("/a", "/b"):
            texts.append((await gateway.client.get(path)).text)
            texts.append(await explanation(gateway.settings, path, b"", ""))
        admin = gateway.bearer(roles=("api_publisher",), sub="pat")
        for page in ("routes", "routes/r0.yml", "metrics", "openapi.json", "health/ready", "jwks.json"):
            texts.append((await gateway.client.get(f"/-/{page}", headers=admin)).text)
    texts += [json.dumps(gateway.log()), caplog.text]
    token = sent(upstream)[0].removeprefix("Bearer ")
    assert token == "t1"
    oauth_forms = [SECRET, base64.b64encode(b"bridge:s3cret%2Fof%2Bthe%3Agateway").decode(), "s3cret%2Fof", "Bearer t1"]
    for text in texts:
        assert not [secret for secret in oauth_forms if secret in text]
