"""Tokens that the gateway signs for services, and the keys that services verify them by."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from pathlib import Path
from typing import Any

import jwt
import pytest

from bridge.cli.offline import explanation
from bridge.config.settings import load
from bridge.egress.signing_keys import AHEAD, CHECK_EVERY, KEEP, PERIOD, KeysUnavailable, SigningKeys
from bridge.errors import SetupError
from bridge.stages.auth.local_issuer import LocalIssuer
from tests.conftest import Running, Start, Upstream

JWT = {"type": "JWT", "audience": "gw"}


def spec(auth: Any = JWT, **more: Any) -> dict[str, Any]:
    return {
        "route": "/a",
        "upstream": "svc:80",
        "auth": auth,
        "upstream_auth": {"type": "signed_jwt", **more},
        "transform": {"request": "passthrough"},
    }


def running(start: Start, upstream: Upstream, *specs: dict[str, Any], **more: Any) -> Any:
    routes = {f"r{number}.yml": json.dumps(each) for number, each in enumerate(specs)}
    return start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes, **more)


async def verified(gateway: Running, upstream: Upstream, audience: str = "svc") -> dict[str, Any]:
    """The claims of the last token, verified as a service does."""
    (field,) = upstream.seen[-1].header("authorization")
    token = field.removeprefix("Bearer ")
    reply = await gateway.client.get("/-/jwks.json")
    assert reply.headers["content-type"] == "application/jwk-set+json"
    keys = jwt.PyJWKSet.from_dict(reply.json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key.key, ["ES256"], audience=audience)
    return claims


async def test_the_service_gets_a_token_that_it_can_verify(start: Start, upstream: Upstream) -> None:
    async with running(start, upstream, spec()) as gateway:
        jti = set()
        for _ in range(2):
            reply = await gateway.client.get("/a", headers=gateway.bearer(sub="ann", audience="gw"))
            assert reply.status_code == 200
            claims = await verified(gateway, upstream)
            jti.add(claims.pop("jti"))
            assert claims.pop("exp") == claims.pop("iat") + 60 == claims.pop("nbf") + 70
            assert claims == {"iss": "urn:bridge:gateway", "aud": "svc", "sub": "ann"}
    assert len(jti) == 2


async def test_claims_of_the_spec_and_of_the_call(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_ZONE", "north")
    claims = {
        "sub": {"$claim": "tenant", "default": "nobody"},
        "roles": {"$claim": "roles", "default": None},
        "lang": {"$header": "X-Lang", "default": "en"},
        "zone": {"$env": "BRIDGE_SECRET_ZONE"},
        "level": 3,
        "act": {"sub": "bridge"},
    }
    text = spec(audience=["https://a", "https://b"], ttl="10s", claims=claims)
    async with running(start, upstream, text, signed_jwt_issuer="https://gw.example") as gateway:
        headers = gateway.bearer(audience="gw", tenant="city", roles=("x", "y"))
        await gateway.client.get("/a", headers={**headers, "x-lang": "de"})
        seen = await verified(gateway, upstream, "https://b")
        expected = {"iss": "https://gw.example", "sub": "city", "lang": "de", "zone": "north", "level": 3}
        assert seen.items() >= {**expected, "act": {"sub": "bridge"}, "roles": ["x", "y"]}.items()
        assert seen["aud"] == ["https://a", "https://b"]
        assert seen["exp"] == seen["iat"] + 10
        await gateway.client.get("/a", headers=gateway.bearer(audience="gw"))
        seen = await verified(gateway, upstream, "https://a")
        assert (seen["sub"], seen["lang"], "roles" in seen) == ("nobody", "en", False)


async def test_a_caller_without_a_claim_is_refused(start: Start, upstream: Upstream) -> None:
    async with running(start, upstream, spec(claims={"mail": {"$claim": "email"}})) as gateway:
        assert (await gateway.client.get("/a", headers=gateway.bearer(audience="gw"))).status_code == 403
    assert not upstream.seen


@pytest.mark.parametrize(("values", "status"), [(["x"], 200), (["x", "y"], 400), (["x" * 8000], 431)])
async def test_values_of_a_header(start: Start, upstream: Upstream, values: list[str], status: int) -> None:
    async with running(start, upstream, spec(claims={"lang": {"$header": "X-Lang"}})) as gateway:
        headers = [*gateway.bearer(audience="gw").items(), *(("x-lang", value) for value in values)]
        assert (await gateway.client.get("/a", headers=headers)).status_code == status
    assert len(upstream.seen) == (status == 200)


async def test_a_token_for_a_service_is_none_for_the_gateway(start: Start, upstream: Upstream) -> None:
    text = spec("none", audience="gw", claims={"sub": "root", "roles": ["api_publisher"]})
    async with running(start, upstream, text, {**spec(), "route": "/b"}) as gateway:
        await gateway.client.get("/a")
        (field,) = upstream.seen[-1].header("authorization")
        headers = {"authorization": field}
        assert (await gateway.client.get("/b", headers=headers)).status_code == 401
        assert (await gateway.client.get("/-/routes", headers=headers)).status_code == 401
        local = LocalIssuer.open(gateway.settings).key.material.public_numbers()
        keys = (await gateway.client.get("/-/jwks.json")).json()["keys"]
        assert jwt.PyJWK(keys[0]).key.public_numbers() != local
        assert all("d" not in key for key in keys)


async def test_the_keys_page(start: Start, upstream: Upstream) -> None:
    async with running(start, upstream) as gateway:
        assert (await gateway.client.get("/-/jwks.json")).json() == {"keys": []}
        assert not (gateway.home / ".bridge/signing-keys.json").exists()
    async with running(start, upstream, spec(), admin_bind="127.0.0.1:1") as gateway:
        reply = await gateway.client.get("/-/jwks.json")  # services reach the routes' listener
        assert len(reply.json()["keys"]) == 1
        assert reply.headers["cache-control"] == "public, max-age=3600"
        mode = (gateway.home / ".bridge/signing-keys.json").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


async def test_explain_signs_nothing(start: Start, upstream: Upstream) -> None:
    async with running(start, upstream, spec("none")) as gateway:
        text = await explanation(gateway.settings, "/a", b"", "")
    assert "authorization: ***" in text.splitlines()


async def test_looking_at_a_route_makes_no_keys(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    home = tmp_path / "other"
    (home / "routes").mkdir(parents=True)
    (home / "routes/r.yml").write_text(json.dumps(spec("none")))
    assert "***" in await explanation(load({}, home=home), "/a", b"", "")
    assert not (home / ".bridge").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ttl": "1d"}, "ttl"),
        ({"ttl": "1s"}, "ttl"),
        ({"audience": ""}, "audience: an empty text names nothing"),
        ({"claims": {"exp": 1}}, "exp is set by the gateway"),
        ({"claims": {"a": {"$env": "HOME"}}}, "begin with BRIDGE_SECRET_"),
        ({"claims": {"a": {"b": {"$claim": "sub"}}}}, "claims.a.b: an origin is a claim of its own"),
        ({"claims": {"a": {"$clam": "sub"}}}, "did you mean $claim?"),
        ({"audiences": "a"}, "did you mean 'audience'"),
    ],
)
async def test_wrong_specs(start: Start, upstream: Upstream, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SetupError) as caught:
        async with running(start, upstream, spec(**changes)):
            raise AssertionError("it was served")
    assert "r0.yml:1: upstream_auth" in str(caught.value)
    assert reason in str(caught.value)


async def test_a_publisher_has_the_signature_where_the_operator_says(start: Start, upstream: Upstream) -> None:
    async with running(start, upstream) as gateway:
        reply = await gateway.register(spec())
        assert reply.status_code == 400
        entry = reply.json()["detail"].rpartition(", as ")[2]
        assert entry == "{secret: signed_jwt, upstreams: ['svc:80']}"
    async with running(start, upstream, files={"secrets.yml": f"- {entry}\n"}) as gateway:
        reply = await gateway.register(spec(audience="payroll"))
        assert reply.status_code == 400
        assert "signs for its upstream, svc; leave audience out" in reply.json()["detail"]
        assert (await gateway.register(spec())).status_code == 201


def test_the_local_issuers_name_is_taken() -> None:
    with pytest.raises(SetupError, match="tokens for services need another one"):
        load({"BRIDGE_SIGNED_JWT_ISSUER": "urn:bridge:local"})


# --- the keys --------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def published(keys: SigningKeys) -> list[str]:
    return [key["kid"] for key in keys.published()["keys"]]


def test_keys_rotate_with_overlap(tmp_path: Path) -> None:
    clock = Clock()
    keys = SigningKeys(tmp_path / ".bridge/keys.json", clock)
    keys.refresh()
    first = kid(keys.sign({}))
    assert published(keys) == [first]
    clock.now += PERIOD - AHEAD
    assert not keys.fresh
    keys.refresh()
    _, second = published(keys)
    assert kid(keys.sign({})) == first  # published ahead of its first use
    clock.now += AHEAD
    keys.refresh()
    assert kid(keys.sign({})) == second
    assert published(keys) == [first, second]
    clock.now += PERIOD - AHEAD  # long after the last use of the first
    keys.refresh()
    assert published(keys)[0] == second
    assert len(published(keys)) == 2
    clock.now += 10 * PERIOD  # nobody signed for long
    keys.refresh()
    assert kid(keys.sign({})) == published(keys)[-2]
    clock.now += max(AHEAD, KEEP)
    keys.refresh()
    assert kid(keys.sign({})) == published(keys)[-1]


def test_readers_of_the_page_do_not_keep_a_key_from_its_rotation(tmp_path: Path) -> None:
    clock = Clock()
    keys = SigningKeys(tmp_path / "keys.json", clock)
    keys.refresh()
    clock.now += PERIOD
    keys.refresh(make=False)  # the page: it makes no keys
    before = keys.fresh
    keys.refresh()
    assert (before, keys.fresh, len(published(keys))) == (False, True, 2)


async def test_calls_that_need_the_keys_at_once_read_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    keys = SigningKeys(tmp_path / "keys.json", clock)
    refresh, times = keys.refresh, []

    def counted(*, make: bool = True) -> None:
        times.append(clock.now)
        refresh(make=make)

    monkeypatch.setattr(keys, "refresh", counted)
    for _ in range(3):
        await asyncio.gather(*(keys.refreshed() for _ in range(50)))
        clock.now += CHECK_EVERY
    assert times == [clock.now - 3 * CHECK_EVERY, clock.now - 2 * CHECK_EVERY, clock.now - CHECK_EVERY]


def test_processes_of_a_home_share_them(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / ".bridge/keys.json"
    processes = [SigningKeys(path, clock) for _ in range(8)]
    threads = [threading.Thread(target=each.refresh) for each in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({kid(each.sign({})) for each in processes}) == 1
    clock.now += PERIOD
    processes[0].refresh()
    clock.now += AHEAD
    signed = kid(processes[0].sign({}))
    processes[1].refresh(make=False)
    assert signed in published(processes[1])
    assert {entry.name for entry in path.parent.iterdir()} == {path.name}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": [1]}', '{"keys": [{"since": 1, "pem": "x"}]}'])
def test_a_file_that_holds_something_else(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeysUnavailable, match="it holds something else; delete it"):
        SigningKeys(path, Clock()).refresh()
    assert path.read_text() == content


def test_a_file_that_everybody_may_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    path.chmod(0o644)
    with pytest.raises(KeysUnavailable, match="chmod 600"):
        SigningKeys(path, Clock()).refresh()


def test_keys_stay_in_use_while_the_file_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys.json"
    keys = SigningKeys(path, Clock())
    keys.refresh()
    before = kid(keys.sign({}))
    path.write_text("{")
    keys.refresh()
    assert kid(keys.sign({})) == before
    assert "those before it are used" in caplog.text
