"""A route whose contract hangs holds up its own publisher's registration and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.catalog.slow import Slow, offered, until

PLAIN = {"route": "/plain", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
SLOW = {"route": "/slow", "upstream": "svc:80", "auth": "none", "transform": {"request": "slow"}}


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Slow]]:
    with offered(monkeypatch) as made:
        yield made


async def status(gateway: Any, path: str) -> int:
    return int((await gateway.client.get(path)).status_code)


async def test_others_register_change_and_delete_meanwhile(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    hanging = asyncio.create_task(gateway.register(SLOW))
    await until(lambda: Slow.waiting == ["/slow"])
    made = await gateway.register(PLAIN)
    assert made.status_code == 201
    where = made.headers["location"]
    assert (await gateway.client.put(where, json={**PLAIN, "timeout": "9s"}, headers=admin)).status_code == 200
    assert await status(gateway, "/plain") == 200
    assert (await gateway.client.delete(where, headers=admin)).status_code == 204
    (gateway.home / "routes/a.json").write_text(json.dumps({**PLAIN, "route": "/file"}))
    await until(lambda: "file:a.json" in gateway.app.state.registry.table.routes)
    assert not hanging.done()
    Slow.go.set()
    assert (await hanging).status_code == 201
    assert await status(gateway, "/slow") == 200


async def test_what_was_bound_too_late_is_judged_by_what_is_there_then(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    client = gateway.client
    made = [await gateway.register({**PLAIN, "route": f"/{name}"}) for name in "abc"]
    where = [answer.headers["location"] for answer in made]

    async def change(number: int, **fields: str) -> Any:
        return await client.put(where[number], json={**SLOW, "route": f"/slow{number}"}, headers=admin | fields)

    late = [
        asyncio.create_task(change(0, **{"if-match": made[0].headers["etag"]})),
        asyncio.create_task(change(1)),
        asyncio.create_task(change(2)),
        asyncio.create_task(gateway.register({**SLOW, "route": "/taken"}, tenant="two")),
    ]
    await until(lambda: bool(Slow.waiting))
    changed = await client.put(where[0], json={**PLAIN, "route": "/a", "timeout": "9s"}, headers=admin)
    assert changed.status_code == 200
    assert (await client.delete(where[1], headers=admin)).status_code == 204
    assert (await gateway.register({**PLAIN, "route": "/taken"})).status_code == 201
    assert not any(task.done() for task in late)
    Slow.go.set()
    answers = await asyncio.gather(*late)
    assert [answer.status_code for answer in answers] == [412, 404, 200, 403]
    found = [await status(gateway, path) for path in ("/a", "/slow0", "/b", "/slow1", "/c", "/slow2", "/taken")]
    assert found == [200, 404, 404, 404, 404, 200, 200]


async def test_a_route_that_moves_to_another_tenant_is_lost_to_its_old_one(gateway: Any) -> None:
    mine = gateway.bearer(roles=("api_publisher",), tenant="one")
    operator = gateway.bearer(roles=("api_publisher",))
    where = (await gateway.register(PLAIN, tenant="one")).headers["location"]
    late = asyncio.create_task(gateway.client.put(where, json=SLOW, headers=mine))
    await until(lambda: bool(Slow.waiting))
    moved = await gateway.client.put(where, json={**PLAIN, "tenant": "two"}, headers=operator)
    assert moved.status_code == 200
    Slow.go.set()
    assert (await late).status_code == 404
    assert await status(gateway, "/slow") == 404


async def test_a_publisher_has_so_many_turns_and_others_have_theirs(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.catalog.binds.WAIT", 0.05)
    monkeypatch.setattr("bridge.catalog.binds.PER_PUBLISHER", 2)
    monkeypatch.setattr("bridge.catalog.binds.WAITING", 4)
    specs = [{**SLOW, "route": f"/slow{number}"} for number in range(8)]
    tasks = [asyncio.create_task(gateway.register(spec, tenant="one")) for spec in specs]
    await until(lambda: sum(task.done() for task in tasks) == 6)
    for task in tasks:
        if task.done():
            assert (task.result().status_code, task.result().json()["type"]) == (429, "urn:bridge:problem:rate-limited")
            assert task.result().headers["retry-after"]
    assert len(Slow.waiting) == 2
    tried = await gateway.client.post(
        "/-/routes/check", json=SLOW, headers=gateway.bearer(roles=("api_publisher",), tenant="one")
    )
    assert tried.status_code == 429
    assert (await gateway.register(PLAIN, tenant="two")).status_code == 201
    Slow.go.set()
    assert sorted([(await task).status_code for task in tasks]) == [201] * 2 + [429] * 6
    assert (await gateway.register(SLOW | {"route": "/again"}, tenant="one")).status_code == 201


async def test_a_registration_is_carried_out_though_its_client_has_left(gateway: Any) -> None:
    body = json.dumps(SLOW).encode()
    bearer = gateway.bearer(roles=("api_publisher",))["authorization"]
    head = f"POST /register HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nContent-Length: {len(body)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head.encode() + body)
    await until(lambda: Slow.waiting == ["/slow"])
    writer.transport.abort()
    assert (await gateway.register(PLAIN)).status_code == 201  # nothing waits for it
    Slow.go.set()

    async def live() -> bool:
        return await status(gateway, "/slow") == 200

    await until(live)
    assert (await gateway.client.get("/-/routes/2", headers={"authorization": bearer})).status_code == 200


async def test_a_file_that_hangs_holds_up_no_other(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.json": json.dumps(PLAIN)}) as gateway:
        routes, registry = gateway.home / "routes", gateway.app.state.registry
        (routes / "b.json").write_text(json.dumps(SLOW))
        (routes / "c.json").write_text(json.dumps({**PLAIN, "route": "/c"}))
        await until(lambda: Slow.waiting == ["/slow"] and "file:c.json" in registry.table.routes)
        for number in range(6):  # more than the reads of the folder that may be under way
            (routes / "d.json").write_text(json.dumps({**PLAIN, "route": f"/d{number}"}))
            (routes / "a.json").unlink() if number == 3 else None

            async def there(number: int = number) -> bool:
                return await status(gateway, f"/d{number}") == 200

            await until(there)
        assert await status(gateway, "/plain") == 404
        assert Slow.waiting == ["/slow"]
        (routes / "b.json").unlink()
        (routes / "e.json").write_text(json.dumps({**PLAIN, "route": "/e"}))
        await until(lambda: "file:e.json" in registry.table.routes)
        Slow.go.set()
        await until(lambda: not Slow.waiting)
        await registry.reload()
        assert await status(gateway, "/slow") == 404  # its file was deleted before it was bound
        assert list(registry.table.routes) == ["file:c.json", "file:d.json", "file:e.json"]


async def test_files_stay_in_their_order_whenever_they_are_bound(start: Any, upstream: Any) -> None:
    """Of two that claim one path the first file has it, also where it comes later because it was slow."""
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        registry = gateway.app.state.registry
        (gateway.home / "routes/a.json").write_text(json.dumps({**SLOW, "route": "/one"}))
        (gateway.home / "routes/b.json").write_text(json.dumps({**PLAIN, "route": "/one"}))
        await until(lambda: list(registry.table.routes) == ["file:b.json"])
        Slow.go.set()
        await until(lambda: list(registry.table.routes) == ["file:a.json"])
        assert list(registry.broken) == ["file:b.json"]


async def test_the_store_is_followed_while_routes_hang(
    start: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.catalog.registry.POLL", 0.02)
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh) as one, start(mesh=mesh) as two:
        Slow.go.set()
        assert (await one.register(SLOW)).status_code == 201
        await until(lambda: bool(two.app.state.registry.table.routes))
        Slow.go.clear()
        # From here on it hangs in the other process, which neither registers nor follows any later for it.
        where = "/-/routes/1"
        admin = one.bearer(roles=("api_publisher",))
        change = asyncio.create_task(one.client.put(where, json={**SLOW, "timeout": "9s"}, headers=admin))
        await until(lambda: Slow.waiting == ["/slow"])
        Slow.one.release()
        assert (await change).status_code == 200
        assert (await one.register(PLAIN)).status_code == 201
        await until(lambda: 2 in two.app.state.registry.table.routes)
        assert (await status(two, "/plain"), await status(two, "/slow")) == (200, 200)
        assert two.app.state.registry.table.routes[1].source.spec.timeout != 9
        Slow.go.set()
        await until(lambda: two.app.state.registry.table.routes[1].source.spec.timeout == 9)


async def test_binds_that_hang_leave_threads_for_others(gateway: Any) -> None:
    """What else runs in threads: to decode replies, to read specs, to look at files."""
    specs = [{**SLOW, "route": f"/slow{number}"} for number in range(24)]
    late = [asyncio.create_task(gateway.register(spec, tenant=f"t{at // 2}")) for at, spec in enumerate(specs)]
    await until(lambda: len(Slow.waiting) == 24)
    assert (await gateway.register(PLAIN)).status_code == 201
    (gateway.home / "routes/a.json").write_text(json.dumps({**PLAIN, "route": "/file"}))
    await until(lambda: "file:a.json" in gateway.app.state.registry.table.routes)
    Slow.go.set()
    assert {(await task).status_code for task in late} == {201}
