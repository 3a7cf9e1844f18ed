"""docs/openapi.md: its JSON is in the document of a gateway with that `auth`. Its commands: test_cli_page.py; its
nginx: admin/portal/test_prefix.py."""

from __future__ import annotations

import json

from tests.conftest import Start
from tests.docs.pages import ROOT, blocks_of

SPEC = """\
route: /v1/returns/{countyFips}
methods: [GET]
upstream: county-returns:80
auth: {type: JWT, audience: REVENUE_PUBLIC, roles: [clerk], scopes: ["vat:read"]}
transform: {request: soap, soap: {wsdl: county-returns.wsdl, operation: GetCountyReturns}}
"""


async def test_what_the_document_says_of_access(start: Start) -> None:
    block, nginx = [block for block in blocks_of(ROOT / "docs" / "openapi.md") if block.language != "console"]
    assert (block.language, nginx.language) == ("json", "nginx")
    shown = json.loads(block.text)
    contract = {"wsdl/county-returns.wsdl": (ROOT / "wsdl" / "county-returns.wsdl").read_text("utf-8")}
    async with start(mesh={}, files=contract) as gateway:
        headers = gateway.bearer(roles=("api_publisher",)) | {"content-type": "application/yaml"}
        route = str((await gateway.client.post("/register", content=SPEC, headers=headers)).json()["route_id"])
        [entry] = (await gateway.client.get("/-/openapi.json")).json()["paths"].values()
        assert entry["get"]["x-bridge"] == shown | {"route": route}
