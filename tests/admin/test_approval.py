"""Two eyes: changes of a tenant with ``approval`` wait until somebody else approves of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.conftest import Running, Start

TENANTS = """\
tenants:
  revenue: {paths: [/revenue], upstreams: [svc], approval: true}
  health: {paths: [/health], upstreams: [svc]}
"""
SPEC = {
    "route": "/revenue/a",
    "methods": ["GET"],
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "passthrough"},
}
CHANGED = SPEC | {"methods": ["GET", "POST"], "timeout": 2}


@pytest.fixture
async def gateway(start: Start, upstream: Any) -> AsyncIterator[Running]:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, files={"tenants.yml": TENANTS}) as running:
        yield running


class Person:
    """Somebody with a token."""

    def __init__(self, gateway: Running, sub: str, tenant: str = "revenue", role: str = "api_publisher") -> None:
        self._client = gateway.client
        self._headers = gateway.bearer(sub=sub, tenant=tenant, roles=(role,))

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        fields = {"content-type": "application/json"} | self._headers | headers
        content = json.dumps(body) if body is not None else None
        return await self._client.request(method, path, headers=fields, content=content)


async def approved(approver: Person, proposal: httpx.Response) -> httpx.Response:
    assert proposal.status_code == 202, proposal.text
    assert proposal.json()["status"] == "PENDING"
    answer = await approver("POST", f"{proposal.headers['location']}/approve")
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_registration_waits_for_a_second_person(gateway: Running) -> None:
    pat, kim, other = Person(gateway, "pat"), Person(gateway, "kim"), Person(gateway, "eve", "health")
    proposal = await pat("POST", "/register", SPEC)
    assert (proposal.status_code, proposal.json()) == (202, {"change_id": 1, "status": "PENDING"})
    assert proposal.headers["location"] == "/-/changes/1"
    assert (await gateway.client.get("/revenue/a")).status_code == 404
    assert (await pat("GET", "/-/routes")).json() == {"routes": []}

    [listed] = (await kim("GET", "/-/changes")).json()["changes"]
    assert (listed["action"], listed["by"], listed["route_id"]) == ("create", "pat", None)
    shown = (await kim("GET", "/-/changes/1")).json()
    assert shown["spec"] == SPEC | {"tenant": "revenue"}
    assert not shown["stale"]
    assert shown["diff"] == [{"path": "", "after": shown["spec"]}]
    assert (await other("GET", "/-/changes")).json() == {"changes": []}
    for path in ("", "/approve", "/reject"):
        foreign = await other("POST" if path else "GET", f"/-/changes/1{path}")
        missing = await other("POST" if path else "GET", f"/-/changes/9{path}")
        assert (foreign.status_code, missing.status_code) == (404, 404)
        assert foreign.json()["detail"].replace("1", "9") == missing.json()["detail"]

    own = await pat("POST", "/-/changes/1/approve")
    assert (own.status_code, own.json()["detail"]) == (
        403, "You made this change; somebody else has to approve of it."
    )  # fmt: skip
    assert (await Person(gateway, "ann", role="auditor")("POST", "/-/changes/1/approve")).status_code == 403
    assert (await kim("POST", "/-/changes/1/approve", {"revision": 1})).status_code == 400
    answer = await approved(kim, proposal)
    assert answer.json() == {"route_id": 1, "status": "ACTIVE"}
    assert (await gateway.client.get(SPEC["route"])).status_code == 200  # type: ignore[arg-type]
    [revision] = (await pat("GET", "/-/routes/1/history")).json()["revisions"]
    assert (revision["action"], revision["by"], revision["approved_by"]) == ("create", "pat", "kim")
    shown = (await pat("GET", "/-/changes/1")).json()
    assert (shown["status"], shown["decided_by"], shown["route_id"]) == ("APPROVED", "kim", 1)
    assert (await kim("POST", "/-/changes/1/approve")).status_code == 409
    assert (await kim("POST", "/-/changes/1/reject")).status_code == 409


async def test_changes_deletions_and_roll_backs_wait_too(gateway: Running) -> None:
    pat, kim = Person(gateway, "pat"), Person(gateway, "kim", role="api_admin")
    await approved(kim, await pat("POST", "/-/routes", SPEC))
    etag = (await pat("GET", "/-/routes/1")).headers["etag"]
    assert (await pat("PUT", "/-/routes/1", CHANGED, **{"if-match": '"stale"'})).status_code == 412
    change = await pat("PUT", "/-/routes/1", CHANGED, **{"if-match": etag})
    assert (await gateway.client.post("/revenue/a")).status_code == 405
    diff = (await kim("GET", "/-/changes/2")).json()["diff"]
    assert diff == [
        {"path": "/methods", "before": ["GET"], "after": ["GET", "POST"]},
        {"path": "/timeout", "after": 2.0},
    ]
    text = await kim("GET", "/-/changes/2", accept="text/x-diff")
    assert text.headers["content-type"].startswith("text/x-diff")
    assert text.text.startswith("--- route 1\n+++ change 2\n@@ ")
    assert "+timeout: 2\n" in text.text
    await approved(kim, change)
    assert (await gateway.client.post("/revenue/a")).status_code == 200

    back = await kim("POST", "/-/routes/1/rollback", {"revision": 1})
    assert (await gateway.client.post("/revenue/a")).status_code == 200
    await approved(pat, back)
    assert (await gateway.client.post("/revenue/a")).status_code == 405

    deletion = await pat("DELETE", "/-/routes/1")
    assert (await gateway.client.get("/revenue/a")).status_code == 200
    shown = (await kim("GET", deletion.headers["location"])).json()
    assert (shown["action"], shown["spec"], list(shown["diff"][0])) == ("delete", None, ["path", "before"])
    assert (await approved(kim, deletion)).json() == {"route_id": 1, "status": "DELETED"}
    assert (await gateway.client.get("/revenue/a")).status_code == 404
    await approved(kim, await pat("POST", "/-/routes/1/rollback", {"revision": 1}))
    revisions = (await pat("GET", "/-/routes/1/history")).json()["revisions"]
    assert [(one["action"], one["by"], one["approved_by"]) for one in revisions] == [
        ("rollback", "pat", "kim"),
        ("delete", "pat", "kim"),
        ("rollback", "kim", "pat"),
        ("replace", "pat", "kim"),
        ("create", "pat", "kim"),
    ]


async def test_what_could_not_be_made_does_not_wait(gateway: Running) -> None:
    pat = Person(gateway, "pat")
    assert (await pat("POST", "/register", SPEC | {"route": "/health/a"})).status_code == 403
    assert (await pat("POST", "/register", SPEC | {"timeout": "soon"})).status_code == 400
    assert (await pat("PUT", "/-/routes/9", SPEC)).status_code == 404
    assert (await pat("GET", "/-/changes")).json() == {"changes": []}
    nobody = await Person(gateway, "")("POST", "/register", SPEC)
    assert (nobody.status_code, "sub" in nobody.json()["detail"]) == (403, True)


async def test_a_change_is_judged_again_when_it_is_approved(gateway: Running) -> None:
    pat, kim, operator = Person(gateway, "pat"), Person(gateway, "kim"), Person(gateway, "root", "")
    first, second = await pat("POST", "/register", SPEC), await pat("POST", "/register", SPEC)
    await approved(kim, first)
    taken = await kim("POST", f"{second.headers['location']}/approve")
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:bridge:problem:conflict")
    change, deletion = await pat("PUT", "/-/routes/1", CHANGED), await pat("DELETE", "/-/routes/1")
    await approved(kim, change)
    assert (await kim("GET", deletion.headers["location"])).json()["stale"]
    late = await kim("POST", f"{deletion.headers['location']}/approve")
    assert (late.status_code, "has changed since" in late.json()["detail"]) == (409, True)

    fourth = await pat("PUT", "/-/routes/1", SPEC)
    assert (await operator("DELETE", "/-/routes/1")).status_code == 204
    assert (await kim("POST", f"{fourth.headers['location']}/approve")).status_code == 404
    (gateway.home / "tenants.yml").write_text(TENANTS.replace("[/revenue]", "[/other]"))
    await gateway.app.state.reload()
    assert (await kim("POST", f"{second.headers['location']}/approve")).status_code == 403


async def test_a_change_is_rejected_also_by_its_author(gateway: Running) -> None:
    pat, kim = Person(gateway, "pat"), Person(gateway, "kim")
    first, second = await pat("POST", "/register", SPEC), await pat("POST", "/register", SPEC)
    wrong: list[Any] = [{"reason": 1}, {"reason": "x" * 1001}, {"reason": "a", "b": 1}, []]
    for body in wrong:
        assert (await kim("POST", f"{first.headers['location']}/reject", body)).status_code == 400
    rejected = await kim("POST", f"{first.headers['location']}/reject", {"reason": "not yet"})
    assert rejected.json() == {"change_id": 1, "status": "REJECTED"}
    assert (await pat("POST", f"{second.headers['location']}/reject")).status_code == 200
    shown = (await pat("GET", first.headers["location"])).json()
    assert (shown["status"], shown["reason"], shown["decided_by"]) == ("REJECTED", "not yet", "kim")
    assert (await kim("POST", f"{first.headers['location']}/approve")).status_code == 409
    assert (await pat("GET", "/-/routes")).json() == {"routes": []}


async def test_the_operator_and_other_tenants_do_not_wait(gateway: Running) -> None:
    operator, eve = Person(gateway, "root", ""), Person(gateway, "eve", "health")
    assert (await eve("POST", "/register", SPEC | {"route": "/health/a"})).status_code == 201
    assert (await operator("POST", "/register", SPEC | {"tenant": "revenue"})).status_code == 201
    for_tenant = {"x-tenant": "revenue"}
    assert (await operator("POST", "/register", SPEC | {"route": "/revenue/b"}, **for_tenant)).status_code == 202
    assert (await operator("POST", "/-/changes/1/approve")).status_code == 403, "its own"
    assert (await Person(gateway, "boss", "")("POST", "/-/changes/1/approve")).status_code == 200


async def test_changes_are_bounded_in_number_and_time(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    pat, kim = Person(gateway, "pat"), Person(gateway, "kim")
    monkeypatch.setattr("bridge.catalog.store.changes.PENDING", 2)
    monkeypatch.setattr("bridge.catalog.store.changes.KEPT", 1)
    for number in (1, 2):
        assert (await pat("POST", "/register", SPEC)).json()["change_id"] == number
    full = await pat("POST", "/register", SPEC)
    assert (full.status_code, "wait for approval already" in full.json()["detail"]) == (409, True)
    with sqlite3.connect(gateway.home / ".bridge/routes.db") as db:
        db.execute("UPDATE change SET at = at - 7 * 86400 WHERE id = 1")
    db.close()
    assert (await kim("GET", "/-/changes/1")).json()["status"] == "EXPIRED"
    assert (await kim("POST", "/-/changes/1/approve")).status_code == 409
    assert (await pat("POST", "/register", SPEC)).json()["change_id"] == 3
    for number in (2, 3):
        assert (await kim("POST", f"/-/changes/{number}/reject")).status_code == 200
    assert [one["change_id"] for one in (await kim("GET", "/-/changes")).json()["changes"]] == [3]


async def test_changes_outlive_a_restart(start: Start, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, files={"tenants.yml": TENANTS}) as gateway:
        assert (await Person(gateway, "pat")("POST", "/register", SPEC)).status_code == 202
    async with start(mesh=mesh) as gateway:
        assert (await Person(gateway, "kim")("POST", "/-/changes/1/approve")).status_code == 200
        assert (await gateway.client.get("/revenue/a")).status_code == 200


async def test_another_process_sees_a_change_and_only_one_makes_it(start: Start, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, files={"tenants.yml": TENANTS}) as one, start() as two:
        assert (await Person(one, "pat")("POST", "/register", SPEC)).status_code == 202
        approve = "/-/changes/1/approve"
        answers = [await Person(each, sub)("POST", approve) for each, sub in ((two, "kim"), (one, "eve"))]
        assert [answer.status_code for answer in answers] == [200, 409]
