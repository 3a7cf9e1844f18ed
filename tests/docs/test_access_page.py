"""docs/access.md: its tenants.yml at a running gateway."""

from __future__ import annotations

from typing import get_args

from bridge.config.role_binding import AdminRole, RoleBinding
from bridge.config.tenants_file import TenantEntry
from tests.conftest import Start
from tests.docs.pages import ROOT, blocks_of
from tests.docs.tables import table

PAGE = ROOT / "docs" / "access.md"
TENANTS, TWO_EYES = [block.text for block in blocks_of(PAGE) if block.text.startswith("# tenants.yml")]


async def test_the_pages_file_is_in_force(start: Start) -> None:
    spec = {"upstream": "revenue-a:80", "auth": {"type": "none"}, "transform": {"request": "passthrough"}}
    async with start(mesh={}, files={"tenants.yml": TENANTS}) as gateway:
        for route, status in (("/v1/vat/{number}", 201), ("/v1/vats", 403)):
            assert (await gateway.register({**spec, "route": route}, tenant="revenue")).status_code == status


async def test_a_change_waits_as_the_page_says(start: Start) -> None:
    spec = {"route": "/revenue", "upstream": "revenue-a:80", "auth": {"type": "none"}}
    async with start(mesh={}, files={"tenants.yml": TWO_EYES}) as gateway:
        answer = await gateway.register(spec | {"transform": {"request": "passthrough"}}, tenant="revenue")
        assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")


def first_cells(heading: str, number: int = 1) -> set[str]:
    return {row[0].strip("`") for row in table("docs/access.md", heading, number=number)}


def test_the_tables_have_each_key_and_role() -> None:
    assert first_cells("What a tenant owns") == TenantEntry.model_fields.keys()
    assert first_cells("Roles") == set(get_args(AdminRole))
    assert first_cells("Roles", 2) == RoleBinding.model_fields.keys()
