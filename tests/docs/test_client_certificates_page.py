"""docs/client-certificates.md: its file is read and its routes are called with certificates."""

from __future__ import annotations

from tests.authorities import Authority, Issued
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT, blocks_of
from tests.secure_gateway import Secure, secured

FILE, ROUTES = (block.text for block in blocks_of(ROOT / "docs" / "client-certificates.md"))
SPEC = "route: {path}\nupstream: svc:80\ntransform: {{request: passthrough}}\n{line}\n"


async def statuses(secure: Secure, issued: Issued | None) -> list[int]:
    async with secure.calling(issued) as get:
        return [(await get(f"/{number}")).status_code for number in range(4)]


async def test_the_file_and_the_routes(start: Start, upstream: Upstream) -> None:
    court, revenue = Authority("Court CA"), Authority("Revenue CA")
    files = {
        "client-cas.yml": FILE,
        "court-ca.pem": court.pem,
        "revenue-ca.pem": revenue.pem,
        "court.crl": court.crl(),
    }
    routes = {f"{n}.yml": SPEC.format(path=f"/{n}", line=line) for n, line in enumerate(ROUTES.splitlines())}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes, files=files) as gateway, secured(gateway) as secure:
        assert await statuses(secure, None) == [401, 401, 401, 401]
        assert await statuses(secure, court.issue("CN=ann,O=Court")) == [200, 200, 403, 200]
        assert await statuses(secure, court.issue("CN=ann")) == [200, 403, 403, 200]
        spiffe = ["uri:spiffe://court.example/ns/tax"]
        assert await statuses(secure, court.issue("CN=ann", sans=spiffe)) == [200, 403, 200, 200]
        assert await statuses(secure, revenue.issue("CN=ann,O=Court", sans=spiffe)) == [200, 403, 403, 403]
    assert {line.get("tenant") for line in gateway.log() if line["status"] == 200} == {"court", None}
