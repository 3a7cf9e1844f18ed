"""docs/bound-tokens.md: the routes of its block are called with tokens of each kind."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from bridge.stages.auth.client_certificate import ClientCertificate
from tests.authorities import Authority
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT, blocks_of
from tests.dpop_kit import DpopClient
from tests.secure_gateway import Secure, secured
from tests.stages.conftest import Pair

(ROUTES,) = (block.text for block in blocks_of(ROOT / "docs" / "bound-tokens.md"))
SPEC = "route: {path}\nupstream: svc:80\ntransform: {{request: passthrough}}\n{line}\n"
COURT = Authority("Court CA")
MINE = COURT.issue("CN=mine")
ANN = DpopClient()


@pytest.fixture(scope="module")
def pair() -> Pair:
    from tests.stages.conftest import new_pair

    return new_pair("ES256", "one")


async def statuses(secure: Secure, token: str, scheme: str) -> list[int]:
    got = []
    async with secure.calling(MINE) as get:
        for number in range(3):
            headers = {"authorization": f"{scheme} {token}"}
            if scheme == "DPoP":
                headers["dpop"] = ANN.proof(f"{secure.url}/{number}", token)
            got.append((await get(f"/{number}", headers=headers)).status_code)
    return got


async def test_the_routes(start: Start, upstream: Upstream, pair: Pair) -> None:
    def token(**cnf: Any) -> str:
        claims = {"iss": "https://idp.test", "sub": "ann", "exp": int(time.time()) + 600}
        return pair.sign(claims | ({"cnf": cnf} if cnf else {}))

    files = {
        "client-cas.yml": json.dumps([{"name": "court", "ca": "court.pem"}]),
        "court.pem": COURT.pem,
        "issuers.yml": json.dumps([{"issuer": "https://idp.test", "jwks_file": "jwks.json"}]),
        "jwks.json": json.dumps({"keys": [pair.jwk]}),
    }
    routes = {f"{n}.yml": SPEC.format(path=f"/{n}", line=line) for n, line in enumerate(ROUTES.splitlines())}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes, files=files) as gateway, secured(gateway) as secure:
        mine = {"x5t#S256": ClientCertificate.of(MINE.certificate).thumbprint}
        assert await statuses(secure, token(), "Bearer") == [401, 401, 401]
        assert await statuses(secure, token(**mine), "Bearer") == [200, 401, 200]
        assert await statuses(secure, token(jkt=ANN.thumbprint), "DPoP") == [401, 200, 200]
        assert await statuses(secure, token(jkt=ANN.thumbprint), "Bearer") == [401, 401, 401]
        assert await statuses(secure, token(jkt=ANN.thumbprint, **mine), "DPoP") == [200, 200, 200]
    assert all(not request.header("dpop") and not request.header("authorization") for request in upstream.seen)
    assert len(upstream.seen) == 7
