"""The examples of docs/guards.md, each served and called."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from bridge.admin.credentials import new_key
from bridge.config.settings import load
from tests.conftest import Running, Start, Upstream
from tests.docs.pages import ROOT, blocks_of

AUTH, ISSUERS, LIMITS, CACHE = (block.text for block in blocks_of(ROOT / "docs" / "guards.md"))
SECRET = "a shared secret of at least sixty-four bytes, to be good for HS512 too"
SPEC = "route: {path}\nupstream: svc:80\ntransform: {{request: passthrough}}\n{lines}"


def routes(text: str, *others: str) -> dict[str, str]:
    """A route for each line of a block, at ``/0``, ``/1`` and so on."""
    lines = text.splitlines()
    return {f"{n}.yml": SPEC.format(path=f"/{n}", lines="\n".join([line, *others])) for n, line in enumerate(lines)}


def signed(issuer: str, key: Any, algorithm: str, **claims: Any) -> dict[str, str]:
    claims = {"iss": issuer, "aud": "REVENUE_PUBLIC", "sub": "ann", "exp": int(time.time()) + 600, **claims}
    return {"authorization": f"Bearer {jwt.encode(claims, key, algorithm=algorithm, headers={'typ': 'at+jwt'})}"}


async def statuses(gateway: Running, headers: dict[str, str]) -> list[int]:
    return [(await gateway.client.get(f"/{number}", headers=headers)).status_code for number in range(4)]


async def test_auth_and_issuers(
    start: Start, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rs, es = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    upstream.body = json.dumps({"keys": [RSAAlgorithm.to_jwk(rs.public_key(), as_dict=True)]}).encode()
    monkeypatch.setenv("PAYROLL_SECRET", SECRET)
    address = f"http://127.0.0.1:{upstream.port}/jwks.json"
    files = {
        "issuers.yml": ISSUERS.replace("  algorithms:", f"  jwks_url: {address}\n  algorithms:", 1),
        "court-keys.json": json.dumps({"keys": [ECAlgorithm.to_jwk(es.public_key(), as_dict=True)]}),
    }
    assert address in files["issuers.yml"]
    key, _ = await new_key(load({}, home=tmp_path / "home"), "billing", "", ["clerk"], [], "")
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes(AUTH), files=files) as gateway:
        clerk = {"realm_access": {"roles": ["clerk"]}, "scope": "read", "org": "revenue"}
        assert await statuses(gateway, {}) == [200, 401, 401, 401]
        assert await statuses(gateway, {"X-API-Key": key}) == [200, 401, 200, 200]
        assert await statuses(gateway, signed("https://idp.example", rs, "RS256", **clerk)) == [200, 200, 401, 200]
        assert await statuses(gateway, signed("https://idp.example", rs, "RS256")) == [200, 403, 401, 200]
        assert await statuses(gateway, signed("https://court.example", es, "ES256", roles=["clerk"])) == [
            200, 401, 401, 200,
        ]  # fmt: skip
        assert await statuses(gateway, signed("payroll", SECRET, "HS256")) == [200, 401, 401, 200]
        assert await statuses(gateway, signed("payroll", SECRET, "HS512")) == [200, 401, 401, 401]
    assert "revenue" in {line.get("tenant") for line in gateway.log() if line.get("subject") == "ann"}


async def test_limits(start: Start, upstream: Upstream) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes(LIMITS, "auth: {any: [{type: JWT}, {type: none}]}")) as gateway:
        first = [(await gateway.client.get(f"/{number}")).headers for number in range(4)]
        assert [fields["ratelimit-policy"].partition(";")[2] for fields in first] == [
            "q=50;w=1", "q=100;w=2", "q=1;w=2", "q=50;w=1",
        ]  # fmt: skip
        refused = await gateway.client.get("/2")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        internal = await gateway.client.get("/3", headers=gateway.bearer(roles=("internal",)))
        assert internal.headers["ratelimit-policy"].endswith("q=500;w=1")
    assert first[0]["ratelimit"] == '"default";r=49;t=1'


async def test_the_cache(start: Start, upstream: Upstream) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes(CACHE, "auth: none")) as gateway:
        miss, hit = [await gateway.client.get("/0") for _ in range(2)]
        assert (miss.headers["x-cache"], hit.headers["x-cache"], hit.headers["age"]) == ("MISS", "HIT", "0")
        same = await gateway.client.get("/0", headers={"if-none-match": hit.headers["etag"]})
        assert (same.status_code, same.content, len(upstream.seen)) == (304, b"", 1)
