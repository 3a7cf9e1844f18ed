"""API keys in the store: bounded in number, changed in whole or not at all, followed by every process."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bridge.catalog.key_terms import KeyTerms
from bridge.catalog.keys import issue, revoke, rotate
from bridge.catalog.store import Store, open_store
from bridge.errors import Conflict, NotFound
from bridge.stages.auth.stored_key import StoredKey

URL = "sqlite:///keys.db"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(URL, tmp_path)
    yield opened
    await opened.aclose()


async def made(store: Store, now: float = 1000.0, **terms: Any) -> StoredKey:
    _, key = await issue(store, KeyTerms(subject="payroll", **terms), "alice", now)
    return key


async def ids(store: Store) -> set[str]:
    return {key.id for key in await store.keys()}


@pytest.mark.parametrize("whole", [False, True])
async def test_the_key_that_ended_first_makes_room(store: Store, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr("bridge.catalog.store.keys.ALL_KEYS" if whole else "bridge.catalog.store.keys.KEYS", 3)
    expired = await made(store, ttl=60)
    revoked, valid = await made(store), await made(store)
    await revoke(store, revoked.id, "alice", 1030.0)
    fourth = await made(store, 1070.0)
    assert await ids(store) == {expired.id, valid.id, fourth.id}
    fifth = await made(store, 1080.0)
    assert await ids(store) == {valid.id, fourth.id, fifth.id}
    with pytest.raises(Conflict, match="Revoke one first"):
        await made(store, 1090.0)
    with pytest.raises(Conflict, match="Revoke one first"):
        await rotate(store, valid.id, 60, "alice", 1090.0)
    assert {key.replaced_by for key in await store.keys()} == {""}, "the old key is as it was"


async def test_a_tenant_fills_only_its_own_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.catalog.store.keys.KEYS", 2)
    for tenant in ("one", "two", None):
        for _ in range(2):
            await made(store, tenant=tenant)
        with pytest.raises(Conflict, match=f"of the tenant {tenant}" if tenant else "without a tenant"):
            await made(store, tenant=tenant)
    assert len(await store.keys()) == 6


async def test_what_a_judge_forbids_changes_nothing(store: Store) -> None:
    key = await made(store)

    def judge(current: StoredKey) -> None:
        assert current == key
        raise PermissionError

    with pytest.raises(PermissionError):
        await rotate(store, key.id, 60, "bob", 1100.0, judge)
    with pytest.raises(PermissionError):
        await revoke(store, key.id, "bob", 1100.0, judge)
    assert await store.keys() == [key]
    with pytest.raises(NotFound):
        await revoke(store, "0123456789abcdef", "bob", 1100.0)


async def test_the_first_revocation_counts(store: Store) -> None:
    key = await made(store)
    await revoke(store, key.id, "bob", 1100.0)
    await revoke(store, key.id, "carol", 1200.0)
    [stored] = await store.keys()
    assert (stored.revoked, stored.revoked_by) == (1100.0, "bob")


async def test_only_one_of_many_rotations_at_a_time(store: Store) -> None:
    key = await made(store)
    outcomes = await asyncio.gather(
        *(rotate(store, key.id, 60, "bob", 1100.0) for _ in range(8)), return_exceptions=True
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert {type(outcome) for outcome in outcomes} == {tuple, Conflict}
    assert len(await store.keys()) == 2


async def test_a_key_that_this_version_can_not_read_is_refused_and_no_other(store: Any, caplog: Any) -> None:
    """Of a newer version, or damaged."""
    key = await made(store)
    await store._do(
        lambda db: db.execute("INSERT INTO api_key VALUES ('ff', '{\"later\": 1}'), ('fe', 'x')").fetchall(),
        writes=True,
    )
    assert await store.keys() == await store.keys() == [key]
    assert [record.getMessage().split(" can't")[0] for record in caplog.records] == ["the API key fe", "the API key ff"]


async def test_keys_of_earlier_versions(store: Any) -> None:
    """Their records have fewer values."""
    key = await made(store, roles=["clerk"])
    old = {name: value for name, value in asdict(key).items() if name not in ("label", "by", "revoked_by", "limit")}
    for name in ("lineage", "replaced_by"):
        del old[name]
    record = json.dumps(old | {"roles": ["clerk"], "scopes": []})
    await store._do(lambda db: db.execute("UPDATE api_key SET record = ?", (record,)).fetchall(), writes=True)
    [read] = await store.keys()
    assert (read.id, read.roles, read.by, read.line) == (key.id, {"clerk"}, "", key.id)


ROTATES = """
import asyncio, sys
from pathlib import Path
from bridge.catalog.key_terms import KeyTerms
from bridge.catalog.keys import issue, revoke, rotate
from bridge.catalog.store import open_store

async def main():
    store = open_store("sqlite:///keys.db", Path(sys.argv[1]))
    _, key = await issue(store, KeyTerms(subject="payroll"), "alice", 1000.0)
    while True:
        _, (old, key) = await rotate(store, key.id, 60, "alice", 1000.0)
        print("rotated", old.id, key.id, flush=True)
        await revoke(store, old.id, "alice", 1000.0)
        print("revoked", old.id, key.id, flush=True)

asyncio.run(main())
"""


async def test_a_rotation_is_whole_whenever_the_process_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ROTATES, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    told = [(await process.stdout.readline()).decode().split() for _ in range(25)]
    process.send_signal(signal.SIGKILL)
    told += [line.split() for line in (await process.stdout.read()).decode().splitlines() if line.count(" ") == 2]
    await process.wait()
    store = open_store(URL, tmp_path)
    keys = {key.id: key for key in await store.keys()}
    await store.aclose()
    for what, old, new in told:
        assert keys[old].replaced_by == new
        assert keys[new].lineage == keys[old].line
        assert what == "rotated" or keys[old].revoked
    assert all(key.replaced_by in keys for key in keys.values() if key.replaced_by)
    assert sum(not key.replaced_by for key in keys.values()) == 1, "the last of the line"
