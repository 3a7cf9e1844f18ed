"""Role bindings that are made by the admin API: who has which role where, and who may say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.admin.test_approval import Person
from tests.conftest import Running, Start

LOCAL = "urn:bridge:local"
TENANTS = """\
roles:
- {role: api_admin, tenant: revenue, issuer: "urn:bridge:local", subjects: [boss]}
- {role: auditor, tenant: health, issuer: "urn:bridge:local", subjects: [ann]}
"""
BINDING = {"role": "api_publisher", "issuer": LOCAL, "subjects": ["kim"]}
WHOLE = BINDING | {"tenant": "revenue"}


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Running]:
    async with start(mesh={}, files={"tenants.yml": TENANTS}) as running:
        yield running


async def test_an_admin_gives_and_takes_roles_in_its_tenant(gateway: Running) -> None:
    boss, kim = Person(gateway, "boss", "", "clerk"), Person(gateway, "kim", "", "clerk")
    assert (await kim("GET", "/-/routes")).status_code == 403
    made = await boss("POST", "/-/bindings", BINDING)
    assert made.status_code == 201
    assert made.headers["location"] == "/-/bindings/1"
    entry = made.json()
    assert {**WHOLE, "binding_id": 1, "source": "store", "by": "boss"}.items() <= entry.items()
    assert (await kim("GET", "/-/routes")).status_code == 200
    assert (await kim("GET", "/-/bindings")).status_code == 403, "a publisher gives nobody a role"
    assert (await boss("GET", "/-/bindings/1")).json() == entry
    listed = (await boss("GET", "/-/bindings")).json()["bindings"]
    assert [one["binding_id"] for one in listed] == ["file:1", 1]
    assert listed[0]["source"] == "file"

    auditor = BINDING | {"role": "auditor"}
    assert (await boss("PUT", "/-/bindings/1", auditor)).json()["role"] == "auditor"
    assert (await kim("GET", "/-/bindings")).status_code == 200
    assert (await kim("DELETE", "/-/bindings/1")).status_code == 403
    assert (await boss("DELETE", "/-/bindings/1")).status_code == 204
    assert (await kim("GET", "/-/routes")).status_code == 403
    assert (await boss("DELETE", "/-/bindings/1")).status_code == 404
    history = (await boss("GET", "/-/bindings/1/history")).json()
    assert [(one["revision"], one["action"], one["by"]) for one in history["revisions"]] == [
        (3, "delete", "boss"), (2, "replace", "boss"), (1, "create", "boss"),
    ]  # fmt: skip
    assert history["revisions"][0]["binding"] == WHOLE | {"role": "auditor"}


async def test_nobody_gives_a_role_outside_of_the_tenant(gateway: Running) -> None:
    boss, operator = Person(gateway, "boss", "", "clerk"), Person(gateway, "root", "", "api_admin")
    for tenant in ("health", "*"):
        refused = await boss("POST", "/-/bindings", BINDING | {"tenant": tenant})
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:bridge:problem:forbidden")
        assert (await operator("POST", "/-/bindings", BINDING | {"tenant": tenant})).status_code == 201
    assert (await operator("POST", "/-/bindings", BINDING)).status_code == 400, "the operator names the tenant"
    assert (await boss("POST", "/-/bindings", BINDING)).status_code == 201
    assert (await boss("PUT", "/-/bindings/3", BINDING | {"tenant": "*"})).status_code == 403
    for method, path in (
        ("GET", "/-/bindings/1"), ("PUT", "/-/bindings/1"), ("DELETE", "/-/bindings/1"),
        ("GET", "/-/bindings/1/history"), ("GET", "/-/bindings/2"), ("GET", "/-/bindings/file:2"),
    ):  # fmt: skip
        foreign = await boss(method, path, BINDING if method == "PUT" else None)
        missing = await boss(method, path.replace("1", "99").replace("2", "99"), BINDING if method == "PUT" else None)
        assert (foreign.status_code, missing.status_code) == (404, 404), path
    assert len((await operator("GET", "/-/bindings")).json()["bindings"]) == 5
    assert [one["tenant"] for one in (await boss("GET", "/-/bindings")).json()["bindings"]] == ["revenue"] * 2
    # What had been another tenant's is not shown.
    assert (await operator("PUT", "/-/bindings/1", WHOLE)).status_code == 200
    assert len((await boss("GET", "/-/bindings/1/history")).json()["revisions"]) == 1


async def test_bindings_of_the_file_are_changed_there(gateway: Running) -> None:
    boss = Person(gateway, "boss", "", "clerk")
    assert (await boss("GET", "/-/bindings/file:1")).json()["subjects"] == ["boss"]
    assert (await boss("PUT", "/-/bindings/file:1", BINDING)).status_code == 409
    assert (await boss("DELETE", "/-/bindings/file:1")).status_code == 409
    for path in ("file:0", "file:3", "file:x", "x", "1" * 30):
        assert (await boss("GET", f"/-/bindings/{path}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        (BINDING | {"role": "clerk"}, "/role"),
        (BINDING | {"subjects": []}, "/subjects"),
        (BINDING | {"subjects": ["x"] * 1001}, "/subjects"),
        (BINDING | {"tenants": []}, "/tenants"),
        ({"role": "auditor"}, ""),
        ({"role": "auditor", "subjects": ["kim"]}, ""),
    ],
)
async def test_what_is_wrong_is_told_by_key(gateway: Running, body: Any, pointer: str) -> None:
    answer = await Person(gateway, "boss", "", "clerk")("POST", "/-/bindings", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


async def test_bindings_are_bounded_and_outlive_a_restart(
    start: Start, gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.catalog.store.bindings.BINDINGS", 1)
    boss = Person(gateway, "boss", "", "clerk")
    assert (await boss("POST", "/-/bindings", BINDING)).status_code == 201
    assert (await boss("POST", "/-/bindings", BINDING)).status_code == 409
    async with start() as other:
        kim = Person(other, "kim", "", "clerk")
        assert (await kim("GET", "/-/routes")).status_code == 200
        assert (await boss("DELETE", "/-/bindings/1")).status_code == 204
        await other.app.state.registry._catch_up()  # what its poll does
        assert (await kim("GET", "/-/routes")).status_code == 403


async def test_an_api_key_has_no_role_by_a_binding(start: Start) -> None:
    """An admin of a tenant chooses the subjects of its keys."""
    everywhere = {"role": "auditor", "tenant": "*", "claims": {"sub": ["boss"]}}
    async with start(mesh={}, admin_public="none") as gateway:
        assert (await Person(gateway, "root", "", "api_admin")("POST", "/-/bindings", everywhere)).status_code == 201
        made = await Person(gateway, "ann", "health", "api_admin")("POST", "/-/keys", {"subject": "boss"})
        key = {"x-api-key": made.json()["key"]}
        assert (await gateway.client.get("/-/metrics", headers=key)).status_code == 403
        assert (await Person(gateway, "boss", "health", "clerk")("GET", "/-/metrics")).status_code == 200


async def test_bindings_of_a_tenant_have_a_size(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.catalog.store.bindings.BINDINGS_SIZE", 1000)
    boss = Person(gateway, "boss", "", "clerk")
    assert (await boss("POST", "/-/bindings", BINDING)).status_code == 201
    large = BINDING | {"subjects": ["x" * 500, "y" * 500]}
    refused = await boss("POST", "/-/bindings", large)
    assert (refused.status_code, "have at most" in refused.text) == (409, True), refused.text
    assert (await boss("PUT", "/-/bindings/1", large)).status_code == 409
    assert (await boss("PUT", "/-/bindings/1", BINDING | {"subjects": ["x" * 800]})).status_code == 200


async def test_a_binding_that_cannot_be_read_gives_nobody_a_role(start: Start, tmp_path: Path) -> None:
    import sqlite3

    async with start(mesh={}):
        pass
    with sqlite3.connect(tmp_path / "home/.bridge/routes.db") as db:
        record = '{"role": "api_king", "tenant": "*", "claims": {"sub": ["kim"]}}'
        db.execute("INSERT INTO role_binding (tenant, record, at, by) VALUES ('*', ?, 1, 'x')", (record,))
    db.close()
    async with start() as gateway:
        assert (await Person(gateway, "kim", "", "clerk")("GET", "/-/routes")).status_code == 403
        operator = Person(gateway, "root", "", "api_admin")
        assert (await operator("GET", "/-/bindings")).json() == {"bindings": []}
