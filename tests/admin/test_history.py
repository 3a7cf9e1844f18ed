"""The history of registered routes: who changed what, roll back, restoring what was deleted."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bridge.catalog.store import StoredRoute
from bridge.catalog.store.sqlite import SqliteStore
from bridge.config import yaml

SPEC = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "passthrough"},
}
CHANGED = {**SPEC, "route": "/v2/a"}


def admin(gateway: Any, sub: str = "pat", tenant: str = "") -> dict[str, str]:
    headers: dict[str, str] = gateway.bearer(roles=("api_publisher",), sub=sub, tenant=tenant)
    return headers


async def changes(gateway: Any, where: str) -> list[tuple[int, str, str]]:
    answer = await gateway.client.get(f"{where}/history", headers=admin(gateway))
    assert answer.status_code == 200, answer.text
    return [(one["revision"], one["action"], one["by"]) for one in answer.json()["revisions"]]


async def test_a_route_tells_who_changed_it_and_goes_back(gateway: Any, upstream: Any) -> None:
    client = gateway.client
    where = (await gateway.register(SPEC)).headers["location"]
    etag = (await client.put(where, json=CHANGED, headers=admin(gateway))).headers["etag"]
    assert await changes(gateway, where) == [(2, "replace", "pat"), (1, "create", "publisher")]

    first = (await client.get(f"{where}/history/1", headers=admin(gateway))).json()
    assert first["spec"] == SPEC
    assert first["at"].endswith("Z")
    assert (await client.get(f"{where}/history/3", headers=admin(gateway))).status_code == 404
    assert (await client.get(f"{where}/history/1x", headers=admin(gateway))).status_code == 404

    stale = await client.post(
        f"{where}/rollback", json={"revision": 1}, headers={**admin(gateway), "if-match": '"stale"'}
    )
    assert stale.status_code == 412
    assert stale.headers["etag"] == etag
    back = await client.post(
        f"{where}/rollback", json={"revision": 1}, headers={**admin(gateway, "kim"), "if-match": etag}
    )
    assert back.status_code == 200
    shown = await client.get(where, headers=admin(gateway))
    assert shown.json()["spec"] == SPEC
    assert shown.headers["etag"] == back.headers["etag"]
    assert (await client.get("/v1/a")).status_code == 200
    assert (await client.get("/v2/a")).status_code == 404
    newest = (await client.get(f"{where}/history", headers=admin(gateway))).json()["revisions"][0]
    assert (newest["revision"], newest["action"], newest["by"], newest["restores"]) == (3, "rollback", "kim", 1)


async def test_a_deleted_route_is_restored_under_its_number(gateway: Any, upstream: Any) -> None:
    client = gateway.client
    made = await gateway.register(SPEC)
    where, number = made.headers["location"], made.json()["route_id"]
    await client.delete(where, headers=admin(gateway))
    assert await changes(gateway, where) == [(2, "delete", "pat"), (1, "create", "publisher")]
    gone = (await client.get("/-/routes/deleted", headers=admin(gateway))).json()["routes"]
    assert [(one["route_id"], one["route"], one["revision"], one["by"]) for one in gone] == [
        (number, "/v1/a", 1, "pat")
    ]
    assert (await client.get(f"{where}/history/2", headers=admin(gateway))).json()["spec"] is None

    deletion = await client.post(f"{where}/rollback", json={"revision": 2}, headers=admin(gateway))
    assert deletion.status_code == 409
    matched = {**admin(gateway), "if-match": made.headers["etag"]}
    assert (await client.post(f"{where}/rollback", json={"revision": 1}, headers=matched)).status_code == 412
    back = await client.post(f"{where}/rollback", json={"revision": 1}, headers=admin(gateway))
    assert back.status_code == 200
    assert back.json() == {"route_id": number, "status": "ACTIVE"}
    assert (await client.get("/v1/a")).status_code == 200
    assert (await client.get("/-/routes/deleted", headers=admin(gateway))).json() == {"routes": []}


async def test_a_roll_back_is_checked_like_a_change(gateway: Any) -> None:
    client = gateway.client
    where = (await gateway.register(SPEC)).headers["location"]
    await client.put(where, json=CHANGED, headers=admin(gateway))
    assert (await gateway.register(SPEC)).status_code == 201
    taken = await client.post(f"{where}/rollback", json={"revision": 1}, headers=admin(gateway))
    assert taken.status_code == 409
    assert len(await changes(gateway, where)) == 2
    for body in ('{"revision": "1"}', "[]", '{"revision": true}', '{"revision": 1, "x": 1}', "{", '{"revision": 0}'):
        refused = await client.post(f"{where}/rollback", content=body, headers=admin(gateway))
        assert refused.status_code == 400, body
    assert (await client.post(f"{where}/rollback", json={"revision": 9}, headers=admin(gateway))).status_code == 404
    assert (await client.post(f"{where}/rollback", json={"revision": 1})).status_code == 401
    assert (await client.get(f"{where}/history")).status_code == 401
    assert (await client.get("/-/routes/99/history", headers=admin(gateway))).status_code == 404


async def test_a_tenant_sees_the_history_of_its_own_routes(gateway: Any) -> None:
    client = gateway.client
    where = (await gateway.register({**SPEC, "tenant": "health"})).headers["location"]
    await client.put(where, json={**CHANGED, "tenant": "revenue"}, headers=admin(gateway))
    ours, theirs = admin(gateway, tenant="revenue"), admin(gateway, tenant="health")
    assert (await client.get(f"{where}/history", headers=theirs)).status_code == 404
    seen = (await client.get(f"{where}/history", headers=ours)).json()["revisions"]
    assert [one["revision"] for one in seen] == [2], "what belonged to another tenant is not shown"
    assert (await client.get(f"{where}/history/1", headers=ours)).status_code == 404
    refused = await client.post(f"{where}/rollback", json={"revision": 1}, headers=ours)
    assert refused.status_code == 403
    assert "health" not in refused.text, "nobody is told which other tenants there are"
    await client.delete(where, headers=ours)
    assert (await client.get("/-/routes/deleted", headers=theirs)).json() == {"routes": []}
    assert (await client.post(f"{where}/rollback", json={"revision": 1}, headers=theirs)).status_code == 404
    assert (await client.post(f"{where}/rollback", json={"revision": 2}, headers=ours)).status_code == 200


async def test_a_files_history_is_the_file_s(start: Any, upstream: Any) -> None:
    text = "# ours\n\nroute: /f\nupstream: svc:80\nauth: {type: none}\ntransform: {request: passthrough}\n"
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": text}) as gateway:
        answer = await gateway.client.get("/-/routes/file:a.yml/history", headers=admin(gateway))
        assert answer.status_code == 404
        assert "routes/a.yml" in answer.json()["detail"]
        shown = (await gateway.client.get("/-/routes/file:a.yml", headers=admin(gateway))).json()
        assert (shown["file"], shown["line"]) == ("routes/a.yml", 3)


async def test_a_spec_is_read_as_yaml_and_sent_back(gateway: Any) -> None:
    spec = {**SPEC, "tenant": "no", "rate_limit": {"rps": 50}}  # YAML 1.1 takes "no" for false
    where = (await gateway.register(spec)).headers["location"]
    accept = {**admin(gateway), "accept": "application/yaml"}
    shown = await gateway.client.get(where, headers=accept)
    assert shown.headers["content-type"].startswith("application/yaml")
    assert next(yaml.parse(shown.text))[0] == spec
    kind = {"content-type": "application/yaml", "if-match": shown.headers["etag"]}
    back = await gateway.client.put(where, content=shown.text, headers={**admin(gateway), **kind})
    assert back.status_code == 200
    revision = await gateway.client.get(f"{where}/history/1", headers=accept)
    assert revision.text == shown.text


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    store = SqliteStore(tmp_path / "routes.db")
    yield store
    await store.aclose()


async def put(store: SqliteStore, number: int, spec: dict[str, Any]) -> int:
    row = StoredRoute(number, json.dumps(spec), 1.5, "pat")
    return await store.put_route(row, seen=await store.version()) or 0


async def test_a_route_keeps_its_last_revisions(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.catalog.store.revisions.REVISIONS", 3)
    number = await put(store, 0, SPEC)
    for _ in range(5):
        await put(store, number, SPEC)
    kept = await store.history(number)
    assert [one.number for one in kept] == [6, 5, 4]


async def test_each_tenant_keeps_the_routes_it_deleted_last(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.catalog.store.revisions.DELETED", 3)
    other = await put(store, 0, {**SPEC, "tenant": "health"})
    await store.delete_route(other, "kim")
    first = await put(store, 0, SPEC)
    await store.delete_route(first, "pat")
    for _ in range(3):
        await store.delete_route(await put(store, 0, SPEC), "pat")
    assert not await store.history(first)
    assert len(await store.history(other)) == 2, "no tenant loses its history to another"
    assert len(await store.deleted(None)) == 4


OLD = """
CREATE TABLE route (id INTEGER PRIMARY KEY, spec TEXT NOT NULL, changed_at REAL NOT NULL, changed_by TEXT NOT NULL);
CREATE TABLE number (last INTEGER NOT NULL);
INSERT INTO number VALUES (2);
CREATE TABLE api_key (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE history (at REAL NOT NULL, by TEXT NOT NULL, action TEXT NOT NULL, route_id INTEGER NOT NULL, spec TEXT);
PRAGMA user_version=1;
PRAGMA journal_mode=WAL;
"""


def old_store(path: Path) -> None:
    """A store as version 1 wrote it: route 1 was registered, replaced and is there, route 2 is deleted."""
    db = sqlite3.connect(path, isolation_level=None)
    for statement in OLD.split(";\n"):
        db.execute(statement)
    specs = [json.dumps(SPEC), json.dumps(CHANGED), json.dumps({**SPEC, "tenant": "health"})]
    db.execute("INSERT INTO route VALUES (1, ?, 2.5, 'kim')", (specs[1],))
    for note in (
        (1.5, "pat", "put", 1, specs[0]),
        (2.0, "pat", "put", 2, specs[2]),
        (2.5, "kim", "put", 1, specs[1]),
        (3.5, "kim", "delete", 2, None),
    ):
        db.execute("INSERT INTO history VALUES (?, ?, ?, ?, ?)", note)
    db.close()


async def test_a_store_of_an_older_version_goes_on_with_its_history(tmp_path: Path, start: Any, upstream: Any) -> None:
    (tmp_path / "home/.bridge").mkdir(parents=True)
    old_store(tmp_path / "home/.bridge/routes.db")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        assert (await gateway.client.get("/v2/a")).status_code == 200
        assert await changes(gateway, "/-/routes/1") == [(2, "replace", "kim"), (1, "create", "pat")]
        assert await changes(gateway, "/-/routes/2") == [(2, "delete", "kim"), (1, "create", "pat")]
        back = {"json": {"revision": 1}, "headers": admin(gateway, tenant="health")}
        assert (await gateway.client.post("/-/routes/2/rollback", **back)).status_code == 200
        assert (await gateway.register({**SPEC, "route": "/v3/a"})).json()["route_id"] == 3


async def test_a_store_without_approvals_gets_them(tmp_path: Path, start: Any, upstream: Any) -> None:
    """As version 2 wrote it."""
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        assert (await gateway.register(SPEC)).status_code == 201
    db = sqlite3.connect(tmp_path / "home/.bridge/routes.db", isolation_level=None)
    for statement in (
        "ALTER TABLE revision DROP COLUMN approved_by", "DROP TABLE change", "DROP TABLE role_binding",
        "DROP TABLE binding_revision", "PRAGMA user_version=2",
    ):  # fmt: skip
        db.execute(statement)
    db.close()
    async with start() as gateway:
        assert await changes(gateway, "/-/routes/1") == [(1, "create", "publisher")]
        headers = gateway.bearer(roles=("api_admin",), sub="root")
        assert (await gateway.client.get("/-/changes", headers=headers)).json() == {"changes": []}
        binding = {"role": "auditor", "tenant": "a", "claims": {"sub": "b"}}
        assert (await gateway.client.post("/-/bindings", json=binding, headers=headers)).status_code == 201
        assert (await gateway.client.put("/-/routes/1", json=CHANGED, headers=headers)).status_code == 200
        assert len(await changes(gateway, "/-/routes/1")) == 2


async def test_an_old_store_that_is_locked_serves_and_is_brought_up_to_date_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.catalog.store.sqlite.WAIT", 0.05)
    path = tmp_path / "routes.db"
    old_store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = SqliteStore(path)
    try:
        assert [route.id for route in await store.routes()] == [1]
        other.execute("COMMIT")
        await store.delete_route(1, "pat")
        assert [one.action for one in await store.history(1)] == ["delete", "replace", "create"]
    finally:
        other.close()
        await store.aclose()
