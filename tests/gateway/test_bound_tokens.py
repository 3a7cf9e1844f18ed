"""Bound tokens wherever tokens are taken: introspected ones, those that are exchanged, the admin API, browsers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from bridge.stages.auth.client_certificate import ClientCertificate
from tests.authorities import Authority
from tests.conftest import Running, Start, Upstream, listening
from tests.dpop_kit import DpopClient
from tests.egress.test_token_exchange import Exchange
from tests.secure_gateway import Secure, secured
from tests.stages.auth.introspection_server import Asked, endpoint, reply
from tests.stages.conftest import new_pair

COURT = Authority("Court CA")
MINE, OTHER = COURT.issue("CN=mine"), COURT.issue("CN=other")
X5T = {"x5t#S256": ClientCertificate.of(MINE.certificate).thumbprint}
ANN = DpopClient()
JKT = {"jkt": ANN.thumbprint}
PAIR = new_pair("ES256", "one")
FILES = {
    "client-cas.yml": json.dumps([{"name": "court", "ca": "court.pem"}]),
    "court.pem": COURT.pem,
    "keys.json": json.dumps({"keys": [PAIR.jwk]}),
}


def sign(**claims: Any) -> str:
    return PAIR.sign({"iss": "https://idp.test", "sub": "ann", "exp": int(time.time()) + 600} | claims)


def dpop(token: str, url: str, **claims: Any) -> dict[str, str]:
    return {"authorization": f"DPoP {token}", "dpop": ANN.proof(url, token, **claims)}


async def status(secure: Secure, issued: Any, path: str, token: str) -> int:
    async with secure.calling(issued) as get:
        return (await get(path, headers={"authorization": f"Bearer {token}"})).status_code


async def test_tokens_about_which_the_issuer_is_asked(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDP_CLIENT", "secret")
    bound = {"cert": X5T, "dpop": JKT, "plain": None}

    async def answer(asked: Asked) -> bytes:
        token = asked.form["token"]
        return reply({"active": True, "sub": "ann", "iss": "https://idp.test", "cnf": bound[token]})

    async with endpoint(answer) as idp:
        url = f"{idp.scheme}://127.0.0.1:{idp.port}/"
        introspection = {"client_id": "bridge", "client_secret": {"$env": "IDP_CLIENT"}, "url": url}
        issuers = [{"issuer": "https://idp.test", "jwks_file": "keys.json", "introspection": introspection}]
        routes = {
            f"{name}.yml": json.dumps(
                {
                    "route": f"/{name}",
                    "upstream": "svc:80",
                    "auth": {"type": "oauth2"} | more,
                    "transform": {"request": "passthrough"},
                }
            )
            for name, more in (("any", {}), ("proof", {"proof": "certificate"}), ("key", {"proof": "dpop"}))
        }
        files = FILES | {"issuers.yml": json.dumps(issuers)}
        mesh = {"svc": f"127.0.0.1:{upstream.port}"}
        settings = {"fetch_networks": "127.0.0.0/8"}
        async with start(mesh=mesh, routes=routes, files=files, **settings) as gateway, secured(gateway) as secure:
            assert await status(secure, MINE, "/any", "cert") == 200
            assert await status(secure, MINE, "/proof", "cert") == 200
            assert await status(secure, MINE, "/key", "cert") == 401
            assert await status(secure, OTHER, "/any", "cert") == 401
            assert await status(secure, None, "/any", "cert") == 401
            assert await status(secure, None, "/any", "plain") == 200
            assert await status(secure, MINE, "/proof", "plain") == 401
            assert await status(secure, None, "/any", "dpop") == 401
            for path in ("/any", "/key"):
                async with secure.calling() as get:
                    good = await get(path, headers=dpop("dpop", secure.url + path))
                    assert good.status_code == 200
                    refused = await get(path, headers=dpop("dpop", secure.url + path, htm="POST"))
                    assert refused.status_code == 401
                    assert refused.headers["www-authenticate"].startswith("DPoP ")


@pytest.fixture
def issuing() -> dict[str, str]:
    return FILES | {"issuers.yml": json.dumps([{"issuer": "https://idp.test", "jwks_file": "keys.json"}])}


async def test_a_token_is_exchanged_once_its_proof_was_checked(
    start: Start, upstream: Upstream, issuing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_CLIENT", "client-secret")
    sts = Exchange()
    async with listening(sts) as sts.port:
        upstream_auth = {
            "type": "token_exchange",
            "token_url": sts.url,
            "client_id": "bridge",
            "client_secret": {"$env": "BRIDGE_SECRET_CLIENT"},
        }
        spec = {
            "route": "/a",
            "upstream": "svc:80",
            "auth": {"type": "JWT"},
            "upstream_auth": upstream_auth,
            "transform": {"request": "passthrough"},
        }
        mesh = {"svc": f"127.0.0.1:{upstream.port}"}
        settings = {"fetch_networks": "127.0.0.0/8"}
        async with start(mesh=mesh, routes={"a.yml": json.dumps(spec)}, files=issuing, **settings) as gateway:
            token, url = sign(cnf=JKT), f"{gateway.client.base_url}/a"
            assert (await gateway.client.get("/a", headers={"authorization": f"Bearer {token}"})).status_code == 401
            assert not sts.callers
            for _ in range(2):
                assert (await gateway.client.get("/a", headers=dpop(token, url))).status_code == 200
    assert sts.callers == [token]
    assert [request.header("authorization") for request in upstream.seen] == [["Bearer x1"], ["Bearer x1"]]
    assert not any(request.header("dpop") for request in upstream.seen)


async def test_the_admin_api_checks_them_too(start: Start, issuing: dict[str, str]) -> None:
    async with start(mesh={}, files=issuing) as gateway, secured(gateway) as secure:
        stolen = sign(cnf=X5T, roles=["api_publisher"])
        assert await status(secure, MINE, "/-/routes", stolen) == 200
        assert await status(secure, OTHER, "/-/routes", stolen) == 401
        assert await status(secure, None, "/-/routes", stolen) == 401
        token = sign(cnf=JKT, roles=["api_publisher"])
        assert await status(secure, None, "/-/routes", token) == 401
        async with secure.calling(http2=True) as get:
            assert (await get("/-/routes", headers=dpop(token, f"{secure.url}/-/routes"))).status_code == 200
            refused = await get("/-/routes", headers=dpop(token, f"{secure.url}/-/keys"))
            assert refused.status_code == 401


async def test_a_route_that_no_caller_can_satisfy_has_a_warning(start: Start, issuing: dict[str, str]) -> None:
    kinds: list[dict[str, Any]] = [
        {"type": "mtls"},
        {"any": [{"type": "api_key"}, {"type": "mtls"}]},
        {"type": "JWT", "proof": "certificate"},
        {"type": "JWT", "proof": "any"},
    ]
    behind = {"trusted_proxies": "127.0.0.2", "client_cert_header": "on"}
    for settings, expected in ((dict[str, str](), [True, True, True, False]), (behind, [False] * 4)):
        async with start(mesh={"svc": "127.0.0.1:1"}, files=issuing, **settings) as gateway:
            headers, got = gateway.bearer(roles=("api_publisher",)), []
            for number, auth in enumerate(kinds):
                spec = {"route": f"/{number}", "upstream": "svc:80", "auth": auth}
                spec |= {"transform": {"request": "passthrough"}}
                checked = await gateway.client.post("/-/routes/check", json=spec, headers=headers)
                got.append(any("no call has a client certificate" in each for each in checked.json()["warnings"]))
            assert got == expected


async def test_pages_of_other_origins_may_send_a_proof(gateway: Running) -> None:
    spec = {
        "route": "/a",
        "upstream": "svc:80",
        "auth": {"type": "JWT", "proof": "dpop"},
        "cors": {"origins": ["https://app.example"]},
        "transform": {"request": "passthrough"},
    }
    assert (await gateway.register(spec)).status_code == 201
    asks = {
        "origin": "https://app.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization,dpop",
    }
    allowed = (await gateway.client.options("/a", headers=asks)).headers["access-control-allow-headers"]
    assert {"authorization", "dpop"} <= {name.strip().lower() for name in allowed.split(",")}


async def test_head_and_other_methods_have_their_own_proofs(gateway: Running) -> None:
    (gateway.home / "issuers.yml").write_text(json.dumps([{"issuer": "https://idp.test", "jwks_file": "keys.json"}]))
    (gateway.home / "keys.json").write_text(FILES["keys.json"])
    await gateway.app.state.reload()
    spec = {"route": "/a", "upstream": "svc:80", "auth": {"type": "JWT"}, "transform": {"request": "passthrough"}}
    assert (await gateway.register(spec)).status_code == 201
    token, url = sign(cnf=JKT), f"{gateway.client.base_url}/a"
    for method, other in (("HEAD", "GET"), ("POST", "GET"), ("DELETE", "POST")):
        for htm, expected in ((method, 200), (other, 401)):
            got = await gateway.client.request(method, "/a?b=c", headers=dpop(token, url, htm=htm))
            assert got.status_code == expected, (method, htm)


async def test_of_one_proof_sent_many_times_at_once_one_counts(
    start: Start, upstream: Upstream, issuing: dict[str, str]
) -> None:
    spec = {"route": "/a", "upstream": "svc:80", "auth": {"type": "JWT"}, "transform": {"request": "passthrough"}}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": json.dumps(spec)}, files=issuing) as gateway:
        token = sign(cnf=JKT)
        headers = dpop(token, f"{gateway.client.base_url}/a")
        replies = await asyncio.gather(*(gateway.client.get("/a", headers=headers) for _ in range(20)))
    assert sorted(each.status_code for each in replies) == [200] + [401] * 19
