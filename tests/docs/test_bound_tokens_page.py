"""docs/bound-tokens.md: the routes of its block are called, and each attack of its table is made."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bridge.stages.auth.client_certificate import ClientCertificate
from tests.authorities import Authority
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT, blocks_of
from tests.dpop_kit import DpopClient
from tests.secure_gateway import Secure, secured
from tests.stages.auth.bound_attacks import ATTACKS, PROXY, Kit, Sent
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


# --- attacks --------------------------------------------------------------------------------------------------------

_ROW = re.compile(r"^\| (.+?) \| (.+) \| (\d{3}|—) \| (.+?) \| (.+?) \|$", re.MULTILINE)
PAGE = (ROOT / "docs" / "bound-tokens.md").read_text("utf-8")
TABLE = {name: (status, slug.strip("`"), error.strip("`")) for name, _, status, slug, error in _ROW.findall(PAGE)}
AUTH = {
    "open": "none",
    "jwt": "{type: JWT}",
    "cert": "{type: JWT, proof: certificate}",
    "dpop": "{type: JWT, proof: dpop}",
    "mtls": '{type: mtls, ca: court, subjects: ["CN=*,O=Court"]}',
}


@pytest.fixture
async def attacked(start: Start, upstream: Upstream, pair: Pair) -> AsyncIterator[tuple[Secure, Kit]]:
    court = Authority("Court CA")
    revoked = court.issue("CN=revoked,O=Court")
    files = {
        "client-cas.yml": json.dumps([{"name": "court", "ca": "court.pem", "crl": "court.crl"}]),
        "court.pem": court.pem,
        "court.crl": court.crl(revoked),
        "issuers.yml": json.dumps([{"issuer": "https://idp.test", "jwks_file": "jwks.json"}]),
        "jwks.json": json.dumps({"keys": [pair.jwk]}),
    }
    routes = {
        f"{name}.yml": f"route: /{name}/a\nupstream: svc:80\nauth: {auth}\ntransform: {{request: passthrough}}\n"
        for name, auth in AUTH.items()
    }
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    settings = {"trusted_proxies": PROXY, "client_cert_header": "on"}
    async with start(mesh=mesh, routes=routes, files=files, **settings) as gateway, secured(gateway) as secure:
        yield secure, Kit(secure.url, pair, court, revoked)


async def answer(secure: Secure, sent: Sent) -> tuple[str, str, str]:
    """Status, problem and error."""
    for one in sent.before:
        assert (await answer(secure, one))[0] == "200"
    try:
        async with secure.calling(sent.issued, local=sent.local) as get:
            reply = await get(sent.path, sent.method, headers=sent.headers)
    except (httpx.TransportError, ssl.SSLError):
        return "—", "the handshake ends", "—"
    error = re.search(r'error="(\w+)"', reply.headers.get("www-authenticate", ""))
    if reply.status_code == 200:
        return "200", "—", "—"
    problem = reply.json()
    assert problem["trace_id"] == reply.headers["x-trace-id"]
    return str(reply.status_code), problem["type"].rpartition(":")[2], error[1] if error else "—"


def test_each_case_has_a_row() -> None:
    assert TABLE.keys() == ATTACKS.keys()


async def test_each_row_of_the_page_is_what_a_gateway_answers(attacked: tuple[Secure, Kit], upstream: Upstream) -> None:
    secure, kit = attacked
    good = 0
    for name, case in ATTACKS.items():
        for number, sent in enumerate(case(kit)):
            good += len(sent.before) + (TABLE[name][0] == "200")
            assert await answer(secure, sent) == TABLE[name], f"{name} ({number})"
    assert len(upstream.seen) == good
    taken = {"authorization", "dpop", "client-cert", "client-cert-chain"}
    assert not any(taken & dict(request.headers).keys() for request in upstream.seen)
