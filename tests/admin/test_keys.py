"""API keys through the admin API: who sees, makes, rotates and revokes which."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from bridge.stages.auth.stored_key import mint_key
from tests.conftest import Running
from tests.loop_clock import standing_still

GUARDED = {
    "route": "/v1/guarded",
    "methods": ["GET"],
    "upstream": "svc:80",
    "auth": {"type": "api_key"},
    "transform": {"request": "passthrough"},
}


class Desk:
    """Calls of one person to the keys of a gateway."""

    def __init__(self, gateway: Running, *roles: str, tenant: str = "", **claims: Any) -> None:
        self._client = gateway.client
        self.headers = gateway.bearer(roles=roles, tenant=tenant, sub=f"{tenant or 'operator'}-admin", **claims)

    async def ask(self, method: str, path: str = "", json: Any = None, **headers: str) -> httpx.Response:
        return await self._client.request(
            method,
            f"/-/keys{path}",
            json=json,
            headers=self.headers | {k.replace("_", "-"): v for k, v in headers.items()},
        )

    async def make(self, **terms: Any) -> dict[str, Any]:
        answer = await self.ask("POST", json={"subject": "payroll"} | terms)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def ids(self) -> list[str]:
        return [entry["id"] for entry in (await self.ask("GET")).json()["keys"]]


@pytest.fixture
def operator(gateway: Running) -> Desk:
    return Desk(gateway, "api_admin")


async def call(gateway: Running, key: str) -> int:
    return (await gateway.client.get("/v1/guarded", headers={"x-api-key": key})).status_code


async def test_a_key_from_its_issue_to_its_end(gateway: Running, operator: Desk) -> None:
    assert (await gateway.register(GUARDED)).status_code == 201
    terms = {
        "subject": "payroll", "tenant": "revenue", "roles": ["clerk"], "scopes": ["read", "write"],
        "limit": {"rps": 50, "burst": 100}, "ttl": "90d", "label": "live",
    }  # fmt: skip
    answer = await operator.ask("POST", json=terms)
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert answer.headers["location"] == f"/-/keys/{made['id']}"
    text = made.pop("key")
    assert '"limit":{"rps":50,"burst":100}' in answer.text
    assert text.startswith(f"{made['prefix']}_")
    assert made["prefix"] == f"hmsb_live_{made['id']}"
    same = {name: made[name] for name in ("subject", "tenant", "roles", "scopes", "limit")}
    assert same == {name: terms[name] for name in same}
    assert (made["status"], made["by"], made["revoked"]) == ("ACTIVE", "operator-admin", None)
    assert await call(gateway, text) == 200

    shown = await gateway.client.get(answer.headers["location"], headers=operator.headers)
    assert (shown.json(), shown.headers["etag"]) == (made, answer.headers["etag"])
    listed = await operator.ask("GET")
    assert listed.json() == {"keys": [made]}
    assert listed.headers["cache-control"] == shown.headers["cache-control"] == "no-store"
    assert text not in listed.text
    assert "hash" not in listed.text

    for _ in range(2):  # the second time changes nothing
        assert (await operator.ask("DELETE", f"/{made['id']}")).status_code == 204
        assert await call(gateway, text) == 401
    [ended] = (await operator.ask("GET")).json()["keys"]
    assert (ended["status"], ended["revoked_by"]) == ("REVOKED", "operator-admin")
    log = (gateway.home / ".bridge/access.log").read_text()
    assert text not in log


async def test_a_rotation_under_load_refuses_no_good_key(gateway: Running, operator: Desk) -> None:
    """Callers with the old and the new key call all the time; after the overlap the old one is refused at once."""
    await gateway.register(GUARDED)
    keys: Any = gateway.app.state.registry.keys
    now = keys.clock()
    keys.clock = lambda: now
    old = await operator.make(ttl="7d")
    statuses: dict[str, list[int]] = {}
    ended = asyncio.Event()

    async def caller(key: str) -> None:
        while not ended.is_set():
            statuses.setdefault(key, []).append(await call(gateway, key))

    async def called(key: str, count: int) -> None:
        while len(statuses.get(key, ())) < count:
            await asyncio.sleep(0)

    callers = [asyncio.create_task(caller(old["key"])) for _ in range(4)]
    await called(old["key"], 20)
    answer = await operator.ask("POST", f"/{old['id']}/rotate", {"overlap": "1h"})
    new = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert answer.headers["location"] == f"/-/keys/{new['id']}"
    callers += [asyncio.create_task(caller(new["key"])) for _ in range(4)]
    await called(old["key"], len(statuses[old["key"]]) + 20)
    await called(new["key"], 20)
    now += 3599.9
    await called(old["key"], len(statuses[old["key"]]) + 20)
    ended.set()
    await asyncio.gather(*callers)
    assert {status for some in statuses.values() for status in some} == {200}

    now += 0.1
    assert await call(gateway, old["key"]) == 401
    assert await call(gateway, new["key"]) == 200
    entries = {entry["id"]: entry for entry in (await operator.ask("GET")).json()["keys"]}
    assert entries[old["id"]]["status"] == "EXPIRED"
    assert entries[old["id"]]["replaced_by"] == new["id"]
    assert entries[new["id"]]["lineage"] == old["id"]


async def test_a_rotation_does_not_double_a_limit(gateway: Running, operator: Desk) -> None:
    await gateway.register(GUARDED)
    old = await operator.make(limit={"rps": 0.001, "burst": 3})
    other = await operator.make(limit={"rps": 0.001, "burst": 3})
    assert [await call(gateway, old["key"]) for _ in range(2)] == [200, 200]
    new = (await operator.ask("POST", f"/{old['id']}/rotate")).json()
    assert [await call(gateway, key["key"]) for key in (new, new, old)] == [200, 429, 429]
    newest = (await operator.ask("POST", f"/{new['id']}/rotate")).json()
    assert [await call(gateway, key["key"]) for key in (newest, other)] == [429, 200]


async def test_what_a_rotation_keeps(operator: Desk) -> None:
    old = await operator.make(tenant="revenue", roles=["clerk"], scopes=["read"], limit={"rps": 5}, label="test")
    new = (await operator.ask("POST", f"/{old['id']}/rotate")).json()  # no body: a day of overlap
    kept = ("subject", "tenant", "roles", "scopes", "limit", "lineage", "expires")
    assert {name: new[name] for name in kept} == {name: old[name] for name in kept}
    assert new["prefix"].startswith("hmsb_test_")
    shown = (await operator.ask("GET", f"/{old['id']}")).json()
    assert (shown["status"], shown["replaced_by"], shown["expires"] is None) == ("ACTIVE", new["id"], False)

    again = await operator.ask("POST", f"/{old['id']}/rotate")
    assert again.status_code == 409
    assert new["id"] in again.json()["detail"]
    assert (await operator.ask("DELETE", f"/{new['id']}")).status_code == 204
    assert (await operator.ask("POST", f"/{new['id']}/rotate")).status_code == 409
    assert (await operator.ask("POST", "/0123456789abcdef/rotate")).status_code == 404


async def test_a_change_of_another_version_is_refused(operator: Desk) -> None:
    key = await operator.make()
    etag = (await operator.ask("GET", f"/{key['id']}")).headers["etag"]
    assert (await operator.ask("GET", f"/{key['id']}", if_none_match=etag)).status_code == 304
    assert (await operator.ask("POST", f"/{key['id']}/rotate", if_match=etag)).status_code == 201
    for method, path in (("POST", f"/{key['id']}/rotate"), ("DELETE", f"/{key['id']}")):
        refused = await operator.ask(method, path, if_match=etag)
        assert refused.status_code == 412
        fresh = refused.headers["etag"]
    assert (await operator.ask("DELETE", f"/{key['id']}", if_match='"')).status_code == 400
    assert (await operator.ask("DELETE", f"/{key['id']}", if_match=fresh)).status_code == 204


async def test_a_tenant_s_admin_knows_the_keys_of_that_tenant_only(gateway: Running, operator: Desk) -> None:
    ours, theirs = Desk(gateway, "api_admin", tenant="ours"), Desk(gateway, "api_admin", tenant="theirs")
    auditor = Desk(gateway, "auditor", tenant="ours")
    mine, other, nobodys = await ours.make(), await theirs.make(), await operator.make()
    assert (mine["tenant"], other["tenant"], nobodys["tenant"]) == ("ours", "theirs", None)
    assert await ours.ids() == await auditor.ids() == [mine["id"]]
    assert set(await operator.ids()) == {mine["id"], other["id"], nobodys["id"]}
    unknown = (await ours.ask("GET", "/0123456789abcdef")).json()["detail"].replace("0123456789abcdef", "ID")
    for key in (other, nobodys):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
            refused = await ours.ask(method, f"/{key['id']}{path}")
            assert refused.status_code == 404
            assert refused.json()["detail"].replace(key["id"], "ID") == unknown
    for tenant in ("theirs", "OURS"):
        assert (await ours.ask("POST", json={"subject": "x", "tenant": tenant})).status_code == 403
    assert {entry["status"] for entry in (await operator.ask("GET")).json()["keys"]} == {"ACTIVE"}


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        ({"roles": ["clerk"]}, 201),
        ({"scopes": ["read"]}, 201),
        ({"roles": ["clerk", "judge"]}, 403),
        ({"scopes": ["read", "write"]}, 403),
        ({"roles": ["api_admin"]}, 403),  # which the token has, too
        ({"roles": ["api_publisher"]}, 403),
        ({"roles": ["auditor"]}, 403),
        ({"roles": ["internal"]}, 403),
    ],
)
async def test_nobody_gives_more_than_they_have(
    gateway: Running, operator: Desk, terms: dict[str, Any], status: int
) -> None:
    """By no issue, and by no rotation of a key that the operator made for the tenant."""
    tenants = Desk(
        gateway, "api_admin", "api_publisher", "auditor", "internal", "clerk", tenant="ours", scopes=["read"]
    )
    assert (await tenants.ask("POST", json={"subject": "x"} | terms)).status_code == status
    key = await operator.make(tenant="ours", **terms)
    assert (await tenants.ask("POST", f"/{key['id']}/rotate")).status_code == status
    assert (await tenants.ask("DELETE", f"/{key['id']}")).status_code == 204


@pytest.mark.parametrize(
    ("roles", "reads", "changes"),
    [(("api_admin",), 200, 201), (("auditor",), 200, 403), (("api_publisher",), 403, 403), ((), 403, 403)],
)
async def test_who_may_do_what_with_keys(
    gateway: Running, operator: Desk, roles: tuple[str, ...], reads: int, changes: int
) -> None:
    key, desk = await operator.make(), Desk(gateway, *roles)
    assert (await desk.ask("GET")).status_code == reads
    assert (await desk.ask("GET", f"/{key['id']}")).status_code == reads
    assert (await desk.ask("POST", json={"subject": "x"})).status_code == changes
    assert (await desk.ask("POST", f"/{key['id']}/rotate")).status_code == changes
    assert (await desk.ask("DELETE", f"/{key['id']}")).status_code == (204 if changes == 201 else changes)


async def test_no_key_makes_or_ends_keys(gateway: Running, operator: Desk) -> None:
    """Whatever its roles: it could make itself immortal."""
    key = await operator.make(roles=["api_admin"])
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", f"/{key['id']}"), ("POST", f"/{key['id']}/rotate")):
        answer = await gateway.client.request(method, f"/-/keys{path}", headers={"x-api-key": key["key"]})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("terms", "pointer", "reason"),
    [
        ({}, "/subject", "missing"),
        ({"subject": ""}, "/subject", "must not be empty"),
        ({"subject": "x" * 257}, "/subject", "256 characters or fewer"),
        ({"subject": "a\nb"}, "/subject", "printable"),
        ({"subject": " a"}, "/subject", "no space at its ends"),
        ({"subject": "x", "tenant": "a b"}, "/tenant", "form"),
        ({"subject": "x", "roles": "clerk"}, "/roles", "a list"),
        ({"subject": "x", "roles": [1]}, "/roles/0", "a text"),
        ({"subject": "x", "roles": ["r" * 129]}, "/roles/0", "128 characters or fewer"),
        ({"subject": "x", "roles": [f"r{n}" for n in range(65)]}, "/roles", "64 items or fewer"),
        ({"subject": "x", "scopes": ["a b"]}, "/scopes/0", "without spaces"),
        ({"subject": "x", "limit": {"rps": 0}}, "/limit/rps", "greater than 0"),
        ({"subject": "x", "limit": {"burst": 1}}, "/limit/rps", "missing"),
        ({"subject": "x", "limit": {"rps": 1, "burst": 1.5}}, "/limit/burst", "whole number"),
        ({"subject": "x", "limit": {"rps": 0.001, "burst": 10**9}}, "/limit", "hundred years"),
        ({"subject": "x", "ttl": "soon"}, "/ttl", "no duration"),
        ({"subject": "x", "ttl": 0}, "/ttl", "greater than 0"),
        ({"subject": "x", "label": "Live"}, "/label", "lower-case letters"),
        ({"subject": "x", "lable": "live"}, "/lable", "did you mean 'label'"),
    ],
)
async def test_a_key_that_can_not_be(operator: Desk, terms: Any, pointer: str, reason: str) -> None:
    answer = await operator.ask("POST", json=terms)
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert reason in error["reason"]


@pytest.mark.parametrize("overlap", ["31d", "-1s", -1, "later", True, None, [1]])
async def test_an_overlap_that_can_not_be(operator: Desk, overlap: Any) -> None:
    key = await operator.make()
    answer = await operator.ask("POST", f"/{key['id']}/rotate", {"overlap": overlap})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/overlap")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"{", b"\xff", b'{"subject": "' + b"x" * 65536 + b'"}'])
async def test_a_body_that_is_no_key(gateway: Running, operator: Desk, body: bytes) -> None:
    answer = await gateway.client.post("/-/keys", content=body, headers=operator.headers)
    assert answer.status_code in (400, 413)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_keys_survive_a_restart(start: Any) -> None:
    async with start(mesh={}) as gateway:
        desk = Desk(gateway, "api_admin")
        old, revoked = await desk.make(), await desk.make()
        await desk.ask("POST", f"/{old['id']}/rotate")
        await desk.ask("DELETE", f"/{revoked['id']}")
        before = (await desk.ask("GET")).json()
    async with start() as gateway:
        assert (await Desk(gateway, "api_admin").ask("GET")).json() == before


async def test_two_gateways_over_one_store(start: Any, upstream: Any) -> None:
    """A new key is good at both at once; a revoked one is refused by the other within a second of the loop's clock."""
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": json.dumps(GUARDED)}) as one, start() as two:
        desk, other_desk = Desk(one, "api_admin"), Desk(two, "api_admin")
        with standing_still() as clock:
            for round in range(3):
                await asyncio.sleep(round * 0.17)  # wherever the other is between two looks
                old = await desk.make()
                assert await call(two, old["key"]) == 200
                new = (await other_desk.ask("POST", f"/{old['id']}/rotate")).json()
                both = [await call(gateway, key["key"]) for gateway in (one, two) for key in (old, new)]
                assert both == [200, 200, 200, 200]
                assert (await desk.ask("DELETE", f"/{new['id']}")).status_code == 204
                revoked_at = clock()
                assert await call(one, new["key"]) == 401
                while clock() < revoked_at + 1:
                    await asyncio.sleep(revoked_at + 1 - clock())
                assert await call(two, new["key"]) == 401
                assert (await other_desk.ask("GET", f"/{new['id']}")).json()["status"] == "REVOKED"


async def test_unknown_keys_share_few_looks_at_the_store(gateway: Running, operator: Desk) -> None:
    await gateway.register(GUARDED)
    keys: Any = gateway.app.state.registry.keys
    looks = 0
    look = keys._catch_up

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await look()

    keys._catch_up = counted
    flood = [mint_key("nobody")[0] for _ in range(40)]
    assert {*await asyncio.gather(*(call(gateway, key) for key in flood))} == {401}
    assert 1 <= looks < 10


async def test_a_change_for_which_nobody_waits_counts_all_the_same(gateway: Running, operator: Desk) -> None:
    """Its caller leaves between the commit and the answer. The store's version counts what others write only."""
    registry: Any = gateway.app.state.registry
    key, store = await operator.make(), registry.keys._store
    committed, change = asyncio.Event(), store.change_key

    async def hanging(*arguments: Any) -> None:
        await change(*arguments)
        committed.set()
        await asyncio.Event().wait()

    store.change_key = hanging
    task = asyncio.create_task(registry.keys.revoke(key["id"], "alice"))
    await committed.wait()
    task.cancel()
    await asyncio.wait([task])
    assert (await operator.ask("GET", f"/{key['id']}")).json()["status"] == "REVOKED"
