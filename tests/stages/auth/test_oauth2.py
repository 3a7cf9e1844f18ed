"""``auth: {type: oauth2}``: through a running gateway, beside other kinds, in specs, issuers.yml and OpenAPI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter, ValidationError

from bridge.api.call import Call
from bridge.api.spec.auth import Auth
from bridge.cli.offline import explanation
from bridge.config.settings import Settings
from bridge.errors import BindError, Forbidden, IssuerUnavailable, SettingsError, Unauthorized
from bridge.runtime import Runtime
from bridge.stages.auth.api_key import MemoryKeys
from bridge.stages.auth.auth import build_authenticator
from bridge.stages.auth.discovery import IssuerMetadata
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.presented import credential_places
from tests.conftest import Running, Start, Upstream
from tests.stages.auth.introspection_server import (
    ISSUER,
    Asked,
    Endpoint,
    TokenClients,
    endpoint,
    oauthlib_endpoint,
    reply,
)

SECRET = "s3cret/of+the:gateway"
SPEC = TypeAdapter[Any](Auth)
GOOD = {"client_id": "bridge", "client_secret": {"$env": "IDP_CLIENT"}}


def entry(url: str, issuer: str = ISSUER, **introspection: Any) -> dict[str, Any]:
    return {"issuer": issuer, "jwks_file": "keys.json", "introspection": GOOD | {"url": url} | introspection}


def spec(path: str, auth: Any, **more: Any) -> dict[str, Any]:
    return {"route": path, "upstream": "svc:80", "auth": auth, "transform": {"request": "passthrough"}, **more}


@pytest.fixture
def clients() -> TokenClients:
    return TokenClients(bridge=SECRET)


@pytest.fixture
async def idp(clients: TokenClients) -> AsyncIterator[Endpoint]:
    async with endpoint(oauthlib_endpoint(clients)) as server:
        yield server


@pytest.fixture
def trust(tmp_path: Path, make_pair: Any, clients: TokenClients) -> Any:
    """A `Trust` of entries, whose issuers sign with the pair ``one``."""

    def make(*entries: dict[str, Any]) -> Trust:
        (tmp_path / "keys.json").write_text(json.dumps({"keys": [make_pair().jwk]}))
        (tmp_path / "issuers.yml").write_text(json.dumps(entries))
        return Trust.load(Settings(home=tmp_path, local_issuer="off"), {"IDP_CLIENT": SECRET})

    return make


def build(auth: Any, trust: Trust, **more: Any) -> Any:
    return build_authenticator(SPEC.validate_python(auth), trust, MemoryKeys(), **more)


def bearer(token: str, **more: Any) -> Call:
    return Call(headers=[("authorization", f"Bearer {token}")], **more)


@pytest.fixture
def gateway_of(start: Start, upstream: Upstream, make_pair: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``async with gateway_of(endpoint, *specs) as gateway``."""
    monkeypatch.setenv("IDP_CLIENT", SECRET)

    def make(idp: Endpoint, *specs: dict[str, Any]) -> Any:
        return start(
            mesh={"svc": f"127.0.0.1:{upstream.port}"},
            routes={f"r{number}.yml": json.dumps(each) for number, each in enumerate(specs)},
            files={
                "issuers.yml": json.dumps([entry(idp.url, cache="0s", negative_cache="0s")]),
                "keys.json": json.dumps({"keys": [make_pair().jwk]}),
            },
            fetch_networks="127.0.0.0/8",
        )

    return make


@pytest.fixture
async def running(gateway_of: Any, idp: Endpoint) -> AsyncIterator[Running]:
    oauth2 = {"type": "oauth2", "audience": "AREA"}
    specs = [
        spec("/plain", oauth2),
        spec("/scoped", oauth2 | {"roles": ["clerk"], "scopes": ["read"], "methods": {"POST": {"scopes": ["write"]}}}),
        spec("/cookie", oauth2 | {"from": ["header", {"cookie": "session"}]}),
        spec("/either", {"any": [{"type": "JWT", "audience": "AREA"}, oauth2, {"type": "api_key"}]}),
    ]
    async with gateway_of(idp, *specs) as gateway:
        yield gateway


async def test_calls_through_the_gateway(
    running: Running, clients: TokenClients, idp: Endpoint, upstream: Upstream, make_pair: Any, claims_of: Any
) -> None:
    async def call(path: str, token: str, method: str = "GET", **more: Any) -> tuple[int, str]:
        answer = await running.client.request(method, path, headers={"authorization": f"Bearer {token}"} | more)
        if answer.status_code == 200:
            return 200, ""
        problem = answer.json()
        assert problem["trace_id"]
        assert SECRET not in answer.text
        return answer.status_code, problem["type"].removeprefix("urn:bridge:problem:")

    clients.tokens["opaque"] = {"sub": "ann", "aud": "AREA"}
    assert await call("/plain", "opaque") == (200, "")
    assert not upstream.seen[-1].header("authorization")
    assert await call("/plain", "invented") == (401, "unauthorized")
    clients.tokens["elsewhere"] = {"sub": "ann", "aud": "OTHER"}
    assert await call("/plain", "elsewhere") == (401, "unauthorized")
    assert (await running.client.get("/plain")).status_code == 401

    assert await call("/scoped", "opaque") == (403, "forbidden")
    clients.tokens["clerk"] = {"sub": "bob", "aud": ["AREA"], "scope": "read", "roles": ["clerk"]}
    assert await call("/scoped", "clerk") == (200, "")
    assert await call("/scoped", "clerk", "POST") == (403, "forbidden")

    session = await running.client.get("/cookie", headers={"cookie": "session=opaque"})
    assert session.status_code == 200
    assert not upstream.seen[-1].header("cookie")

    # A JWT is asked about, too, where the route has oauth2 alone; of one that JWT takes, nobody is asked.
    jwt = make_pair().sign(claims_of())
    assert await call("/plain", jwt) == (401, "unauthorized")
    asked = len(idp.asked)
    assert await call("/either", jwt) == (200, "")
    assert len(idp.asked) == asked
    assert await call("/either", "opaque") == (200, "")
    assert len(idp.asked) == asked + 1

    metrics = (await running.client.get("/-/metrics")).text
    assert f'bridge_introspections_total{{issuer="{ISSUER}",outcome="active"}} {len(idp.asked) - 2}.0' in metrics
    assert f'bridge_introspections_total{{issuer="{ISSUER}",outcome="refused"}} 2.0' in metrics
    del clients.tokens["opaque"]
    assert await call("/plain", "opaque") == (401, "unauthorized")
    clients.clients["bridge"] = "changed"
    answer = await running.client.get("/plain", headers={"authorization": "Bearer clerk"})
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:bridge:problem:issuer-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert "client" not in answer.json()["detail"]


async def test_the_log_has_the_cause(gateway_of: Any, idp: Endpoint, clients: TokenClients) -> None:
    clients.clients.clear()
    async with gateway_of(idp, spec("/plain", {"type": "oauth2"})) as gateway:
        await gateway.client.get("/plain", headers={"authorization": "Bearer secret-token"})
    [line] = gateway.log()
    assert line["status"] == 503
    assert "refuses the gateway's client authentication (HTTP 401)" in json.dumps(line)
    assert "secret-token" not in json.dumps(line)


async def test_the_document_of_the_gateway_is_valid(running: Running) -> None:
    document = (await running.client.get("/-/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    scheme = document["components"]["securitySchemes"]["oauth2"]
    assert scheme["type"] == "oauth2"
    assert scheme["flows"] == {}
    assert f"about which {ISSUER} is asked. A token that it has revoked is refused at once." in scheme["description"]
    assert document["paths"]["/scoped"]["get"]["security"] == [{"oauth2": ["read"]}]
    assert document["paths"]["/scoped"]["post"]["security"] == [{"oauth2": ["read", "write"]}]
    either = document["paths"]["/either"]["get"]["security"]
    assert [list(one) for one in either] == [["bearerJWT"], ["oauth2"], ["apiKey"]]
    cookie = document["paths"]["/cookie"]["get"]["security"]
    assert [list(one) for one in cookie] == [["oauth2"], ["oauth2_cookie_session"]]


async def test_the_service_may_get_a_token_in_exchange(
    gateway_of: Any, upstream: Upstream, clients: TokenClients, idp: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_STS", "sts")

    async def exchange(asked: Asked) -> bytes:
        token = f"for-{asked.form['subject_token']}"
        return reply({"access_token": token, "token_type": "Bearer", "expires_in": 600})

    clients.tokens["opaque"] = {"sub": "ann"}
    async with endpoint(exchange) as sts:
        own = {"client_id": "bridge", "client_secret": {"$env": "BRIDGE_SECRET_STS"}, "token_url": sts.url}
        route = spec("/a", {"type": "oauth2"}, upstream_auth={"type": "token_exchange", **own})
        async with gateway_of(idp, route) as gateway:
            answer = await gateway.client.get("/a", headers={"authorization": "Bearer opaque"})
            assert answer.status_code == 200, answer.text
    assert upstream.seen[-1].header("authorization") == ["Bearer for-opaque"]


async def test_a_token_that_is_bound_to_a_key_is_nobody_elses(
    running: Running, clients: TokenClients, idp: Endpoint
) -> None:
    """RFC 8705, section 3.2, and RFC 9449, section 6.2: the answer says to which."""
    for cnf in ({"x5t#S256": "A" * 43}, {"jkt": "A" * 43}):
        clients.tokens["bound"] = {"sub": "ann", "aud": "AREA", "cnf": cnf}
        answer = await running.client.get("/plain", headers={"authorization": "Bearer bound"})
        assert answer.status_code == 401
    assert len(idp.asked) == 2


# --- which issuer is asked -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issuer", "entries", "words"),
    [
        ("", [], r"auth\.type: no issuer can be asked about tokens; an entry in issuers\.yml needs introspection"),
        (
            "",
            ["https://a.test", "https://b.test"],
            r"auth\.issuer: several .* name one of https://a\.test, ht",
        ),
        ("https://x.test", ["https://a.test"], "x.test is not a trusted issuer; it needs an entry"),
        (
            "https://keys.test",
            ["https://a.test"],
            "keys.test can't be asked about tokens; its entry",
        ),
    ],
)
async def test_an_issuer_that_cant_be_asked_is_found_at_bind(trust: Any, issuer: str, entries: Any, words: str) -> None:
    own = [entry("http://127.0.0.1:1/", name) for name in entries]
    made = trust(*own, {"issuer": "https://keys.test", "jwks_file": "keys.json"})
    for auth in (
        {"type": "oauth2", "issuer": issuer},
        {"any": [{"type": "JWT"}, {"type": "oauth2", "issuer": issuer}]},
    ):
        with pytest.raises(BindError, match=words):
            build(auth, made)


async def test_without_an_issuer_the_only_one_is_asked(trust: Any, idp: Endpoint, clients: TokenClients) -> None:
    clients.tokens["t"] = {"sub": "ann"}
    made = trust(entry(idp.url), {"issuer": "https://keys.test", "jwks_file": "keys.json"})
    assert (await build({"type": "oauth2"}, made)(bearer("t"))).subject == "ann"
    await made.aclose()


async def test_the_endpoint_may_be_discovered(
    trust: Any, idp: Endpoint, clients: TokenClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients.tokens["t"] = {"sub": "ann"}
    metadata = IssuerMetadata(
        ISSUER,
        authorization_endpoint="https://idp.test/authorize",
        token_endpoint="https://idp.test/token",
        introspection_endpoint=idp.url,
        scopes_supported=("read", "write"),
    )

    async def discovered(self: Trust, issuer: str) -> IssuerMetadata:
        return metadata

    monkeypatch.setattr(Trust, "discovered", discovered)
    monkeypatch.setattr(Trust, "metadata", lambda self, issuer: metadata)
    made = trust({"issuer": ISSUER, "introspection": GOOD})
    route = build({"type": "oauth2", "scopes": ["own"], "roles": ["clerk"]}, made)
    with pytest.raises(Forbidden):
        await route(bearer("t"))
    security = route.openapi_scheme()
    assert security.requirements == ({"oauth2": ["own"]},)
    assert security.schemes["oauth2"]["flows"] == {
        "authorizationCode": {
            "authorizationUrl": "https://idp.test/authorize",
            "tokenUrl": "https://idp.test/token",
            "scopes": {"read": "", "write": "", "own": ""},
        }
    }
    metadata = IssuerMetadata(ISSUER, token_endpoint="https://idp.test/token")
    flows = route.openapi_scheme().schemes["oauth2"]["flows"]
    assert flows == {"clientCredentials": {"tokenUrl": "https://idp.test/token", "scopes": {"own": ""}}}
    with pytest.raises(IssuerUnavailable) as caught:
        await route(bearer("another"))
    assert "its metadata name no introspection_endpoint" in str(caught.value.cause)
    await made.aclose()


async def test_an_issuer_that_is_only_asked_needs_no_keys(trust: Any, idp: Endpoint, clients: TokenClients) -> None:
    clients.tokens["t"] = {"sub": "ann"}
    made = trust({"issuer": "payroll", "introspection": GOOD | {"url": idp.url}})
    assert (await build({"type": "oauth2"}, made)(bearer("t"))).subject == "ann"
    await made.aclose()


async def test_issuers_are_read_again(
    trust: Any, tmp_path: Path, idp: Endpoint, clients: TokenClients, make_pair: Any
) -> None:
    clients.tokens["t"] = {"sub": "ann", "groups": ["clerk"]}
    made = trust(entry(idp.url, cache="1h"))
    route = build({"type": "oauth2"}, made)
    assert (await route(bearer("t"))).roles == frozenset()

    async def reload(*entries: dict[str, Any]) -> None:
        (tmp_path / "issuers.yml").write_text(json.dumps(entries))
        await made.reload(Settings(home=tmp_path, local_issuer="off"), {"IDP_CLIENT": SECRET})

    await reload(entry(idp.url, cache="1h"))
    assert route.known(bearer("t")) is not None
    assert len(idp.asked) == 1
    await reload(entry(idp.url, cache="1h") | {"roles_claim": "groups"})
    assert route.known(bearer("t")) is None
    assert (await route(bearer("t"))).roles == {"clerk"}
    with pytest.raises(SettingsError):
        await reload(entry(idp.url, client_secret={"$env": "MISSING"}))
    assert (await route(bearer("t"))).roles == {"clerk"}
    await reload()
    with pytest.raises(Unauthorized, match="not trusted here"):
        await route(bearer("t"))
    assert route.openapi_scheme().requirements == ({"oauth2_https_idp_test": []},)
    await made.aclose()


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_call_under_way_is_judged_by_what_the_entry_says_now(
    trust: Any, tmp_path: Path, idp: Endpoint, clients: TokenClients, is_trusted: bool
) -> None:
    made = trust(entry(idp.url))
    route = build({"type": "oauth2"}, made)
    idp.gate.clear()
    call = asyncio.create_task(route(bearer("t")))
    await idp.arrived.wait()
    second = TokenClients(bridge=SECRET)
    second.tokens["t"] = {"sub": "ann"}
    async with endpoint(oauthlib_endpoint(second)) as moved:
        (tmp_path / "issuers.yml").write_text(json.dumps([entry(moved.url)] if is_trusted else []))
        await made.reload(Settings(home=tmp_path, local_issuer="off"), {"IDP_CLIENT": SECRET})
        if is_trusted:
            assert (await call).subject == "ann"
        else:
            with pytest.raises(Unauthorized, match="not trusted here"):
                await call
        await made.aclose()


async def test_files_of_a_new_entry_are_not_for_routes_either(tmp_path: Path, idp: Endpoint) -> None:
    runtime = Runtime(Settings(home=tmp_path))
    (tmp_path / "own").write_text(SECRET)
    new = {"issuer": ISSUER, "introspection": {"url": idp.url, "client_id": "b", "client_secret": {"$file": "own"}}}
    (tmp_path / "issuers.yml").write_text(json.dumps([new]))
    assert not runtime.binder.secrets.reserves(tmp_path / "own")
    await runtime._follow_issuers()
    assert runtime.binder.secrets.reserves(tmp_path / "own")
    await runtime.aclose()


# --- beside other kinds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
async def test_which_of_jwt_and_oauth2_decides(
    trust: Any, idp: Endpoint, clients: TokenClients, make_pair: Any, claims_of: Any, forge: Any, order: int
) -> None:
    """A JWT of a trusted issuer that ``JWT`` takes is verified here; its issuer is asked about every other token."""
    made = trust(entry(idp.url), {"issuer": "https://signs.test", "jwks_file": "keys.json"})
    kinds = [{"type": "JWT", "issuer": "https://signs.test"}, {"type": "oauth2", "issuer": ISSUER}, {"type": "none"}]
    route = build({"any": kinds[::order]}, made)
    sign = make_pair().sign

    async def asked(token: str) -> bool:
        before = len(idp.asked)
        with pytest.raises(Unauthorized):
            await route(bearer(token))
        return len(idp.asked) > before

    verified = sign(claims_of(iss="https://signs.test"))
    assert (await route(bearer(verified))).subject == "ann"
    assert not idp.asked
    clients.tokens |= {verified: {"sub": "x"}, "opaque": {"sub": "bob"}}
    assert (await route(bearer("opaque"))).subject == "bob"
    other = sign(claims_of(iss=ISSUER))
    clients.tokens[other] = {"sub": "carl"}
    assert (await route(bearer(other))).subject == "carl", "JWT takes another issuer's tokens only"
    unknown = sign(claims_of(iss="https://unknown.test"))
    clients.tokens[unknown] = {"sub": "dora"}
    assert (await route(bearer(unknown))).subject == "dora"
    # What names an issuer whose tokens are verified here gets no second opinion, whatever is wrong with it.
    claims = claims_of(iss="https://signs.test")
    expired = sign(claims | {"exp": 1})
    for token in (
        expired,
        verified[:-6] + "AAAAAA",
        forge({"alg": "none"}, claims),
        forge({"alg": "ES256", "crit": ["x"]}, claims),
    ):
        clients.tokens[token] = {"sub": "mallory"}
        assert not await asked(token)
    # What is no JWT is asked about: a broken one, an encrypted one, one with a claim that is no text.
    for token in ("a.b.c", f"{verified}.x.y", forge({"alg": "none"}, {"iss": ["https://signs.test"]}), "x" * 20, "."):
        assert await asked(token)
    assert (await route(Call(peer="192.0.2.7"))).key == "ip:192.0.2.7"


async def test_each_entry_of_oauth2_is_asked_in_turn(trust: Any, clients: TokenClients, unused_port: int) -> None:
    second = TokenClients(bridge=SECRET)
    second.tokens["t"] = {"sub": "ann", "aud": "AREA"}
    async with endpoint(oauthlib_endpoint(clients)) as one, endpoint(oauthlib_endpoint(second)) as two:
        dead = f"http://127.0.0.1:{unused_port}/"
        made = trust(entry(one.url, "https://a.test"), entry(two.url, "https://b.test"), entry(dead, "https://c.test"))

        def among(*names: str, **more: Any) -> Any:
            kinds = [{"type": "oauth2", "issuer": f"https://{name}.test", **more} for name in names]
            return build({"any": kinds}, made)

        assert (await among("a", "b")(bearer("t"))).subject == "ann"
        assert (await among("c", "b")(bearer("t"))).subject == "ann", (
            "one that is away keeps the other's out of nothing"
        )
        with pytest.raises(IssuerUnavailable):
            await among("a", "c")(bearer("t"))
        with pytest.raises(Forbidden):
            await among("b", "c", roles=["clerk"])(bearer("t"))
        with pytest.raises(Unauthorized):
            await among("a")(bearer("t"))
        schemes = among("a", "b").openapi_scheme().schemes
        assert list(schemes) == ["oauth2_https_a_test", "oauth2_https_b_test"]
        await made.aclose()


async def test_what_is_said_of_the_time_until_a_revocation_counts(trust: Any) -> None:
    stale = {"on_failure": {"stale": "60s"}}
    made = trust(entry("http://a.test/", "https://a.test"), entry("http://b.test/", "https://b.test", cache=1, **stale))
    a, b = ({"type": "oauth2", "issuer": f"https://{name}.test"} for name in "ab")
    remarks = build({"any": [{"type": "JWT"}, a, b, a]}, made).remarks
    assert remarks == [
        "oauth2: https://a.test is asked about the caller's token (RFC 7662). A token that it has revoked is refused"
        " within 10 seconds.",
        "oauth2: https://b.test is asked about the caller's token (RFC 7662). A token that it has revoked is refused"
        " within 1 second, and within 61 seconds while the issuer can't be asked.",
    ]
    assert build({"any": [{"type": "JWT"}]}, made).remarks == []


async def test_explain_says_who_is_asked(running: Running) -> None:
    shown = await explanation(running.settings, "/plain", b"", "")
    asked = f"auth: oauth2: {ISSUER} is asked about the caller's token (RFC 7662)."
    assert shown.splitlines()[-2:] == ["", f"{asked} A token that it has revoked is refused at once."]


# --- specs and issuers.yml ---------------------------------------------------------------------------------------


def test_places_of_a_token() -> None:
    auth = SPEC.validate_python({"type": "oauth2", "from": [{"cookie": "session"}, {"query": "access_token"}]})
    [place] = credential_places(auth)
    assert (place.field, place.prefix, place.header) == ("authorization", "Bearer ", False)
    cookie = {"from": [{"cookie": "session"}]}
    SPEC.validate_python({"any": [{"type": "JWT", **cookie}, {"type": "oauth2", **cookie}]})
    with pytest.raises(ValidationError, match="all entries of type JWT and oauth2 need the same from"):
        SPEC.validate_python({"any": [{"type": "JWT", **cookie}, {"type": "oauth2"}]})
    with pytest.raises(ValidationError, match="a token and a key can't share the Authorization header"):
        SPEC.validate_python({"any": [{"type": "oauth2", **cookie}, {"type": "api_key", "header": "Authorization"}]})


@pytest.mark.parametrize(
    ("introspection", "said"),
    [
        ("7", "issuers.yml:3: introspection"),
        ("{}", "introspection.client_id: it is missing"),
        (
            "{id: b, client_secret: hunter2}",
            "introspection.client_secret: it must be {$env: NAME} or {$file",
        ),
        ("{id: b}", "client_auth: basic needs client_secret"),
        ("{id: b, client_auth: mtls}", "client_auth: mtls needs client_key"),
        (
            "{id: b, client_auth: private_key_jwt, client_secret: {$env: S}}",
            "takes no client_secret",
        ),
        ("{id: b, client_auth: digest}", "introspection.client_auth"),
        ("{id: b, client_secret: {$env: BRIDGE_SECRET_X}}", "can't stand in BRIDGE_SECRET_X: routes may send"),
        (
            "{id: b, client_secret: {$env: MISSING}}",
            "issuers.yml:3: introspection.client_secret: the env",
        ),
        ("{id: b, client_secret: {$env: EMPTY}}", "the environment variable EMPTY is empty"),
        ("{id: b, client_secret: {$file: none}}", "introspection.client_secret: there is no file none"),
        ("{id: b, client_secret: {$file: secrets/idp}}", "can't stand in secrets/idp: routes may send files of"),
        ("{id: b, client_secret: {$file: x/../secrets/idp}}", "routes may send files of that folder"),
        ("{id: b, client_secret: {$file: /run/secrets/idp}}", "routes may send files of that folder"),
        ("{id: b, client_secret: {$env: S, $file: f}}", "it needs either $env or $file"),
        ("{id: b, client_secret: {$evn: S}}", "$evn"),
        (
            "{id: b, client_auth: private_key_jwt, client_key: {$env: S}}",
            "client_key: it holds no private",
        ),
        (
            "{id: b, client_auth: mtls, client_key: {$env: S}, client_cert: {$env: S}}",
            "client_cert: it or",
        ),
        (
            "{id: b, client_secret: {$env: S}, cache: 2h}",
            "cache: it must be between 0 and 3600 seconds",
        ),
        ("{id: b, client_secret: {$env: S}, cache: soon}", "introspection.cache: 'soon' is no duration"),
        (
            "{id: b, client_secret: {$env: S}, negative_cache: -1}",
            "negative_cache: it must be between",
        ),
        (
            "{id: b, client_secret: {$env: S}, on_failure: open}",
            "introspection.on_failure: it must be closed or",
        ),
        ("{id: b, client_secret: {$env: S}, on_failure: {stale: 2d}}", "on_failure.stale: it must be between"),
        ("{id: b, client_secret: {$env: S}, ttl: 1}", "introspection.ttl: unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, introspection: str, said: str) -> None:
    text = introspection.replace("{id: b", "{url: https://a.test/, client_id: b")
    (tmp_path / "issuers.yml").write_text(
        f"- issuer: https://a.test\n  jwks_url: https://a.test/\n  introspection: {text}\n"
    )
    with pytest.raises(SettingsError) as caught:
        Trust.load(Settings(home=tmp_path), {"S": "hunter2", "EMPTY": ""})
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"- {{issuer: a, jwks_file: k, introspection: {json.dumps(GOOD)}}}", "needs url: the issuer's metadata"),
        (f"- {{issuer: a, introspection: {json.dumps(GOOD)}}}", "can't be discovered: it is no http or https URL"),
        (
            f"- {{issuer: https://a.test, introspection: {json.dumps(GOOD | {'url': 'https://u:p@a.test/'})}}}",
            "introspection.url: it is not of the form http(s)://host[:port]/path",
        ),
    ],
)
def test_the_place_of_the_endpoint(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "issuers.yml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        Trust.load(Settings(home=tmp_path), {"IDP_CLIENT": SECRET})
    assert said in str(caught.value)


def test_the_line_of_a_secret_that_cant_be_read(tmp_path: Path) -> None:
    (tmp_path / "issuers.yml").write_text(
        "- issuer: https://a.test\n  introspection:\n    client_id: b\n    client_secret:\n      $env: MISSING\n"
    )
    with pytest.raises(SettingsError, match=r"issuers\.yml:4: introspection\.client_secret: the environment"):
        Trust.load(Settings(home=tmp_path), {})


def test_files_of_the_gateway_are_not_for_routes(tmp_path: Path) -> None:
    (tmp_path / "idp").write_text("secret")
    (tmp_path / "issuers.yml").write_text(
        json.dumps([{"issuer": ISSUER, "introspection": {"client_id": "b", "client_secret": {"$file": "idp"}}}])
    )
    assert Trust.load(Settings(home=tmp_path), {}).files == [tmp_path / "idp"]
