"""The store is locked, full, gone, replaced or damaged: a problem of its own, one line in the log, and what was live
stays live. The lock is another process's; the disk is full by a limit on file sizes."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.config.settings import load
from bridge.stages.auth.local_issuer import LocalIssuer

SPEC: dict[str, Any] = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "passthrough"},
}
#: A gateway that does not wait long for locks.
HASTY = "import bridge.catalog.store.sqlite as store, bridge.cli.main; store.WAIT = 0.2; bridge.cli.main.main()"
HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(store: Path, *statements: str) -> Iterator[None]:
    """Another process has the store's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


class Gateway:
    """A gateway process with one registered route, ``/v1/a``, and a publisher's client."""

    def __init__(self, served: Any, client: httpx.AsyncClient, store: Path) -> None:
        self.pid: int = served.process.pid
        self._served = served
        self.client = client
        self.store = store

    async def register(self, route: str, **more: Any) -> httpx.Response:
        return await self.client.post("/register", json=SPEC | {"route": route} | more)

    async def status(self, path: str) -> int:
        return (await self.client.get(path)).status_code

    def stop(self) -> list[str]:
        """The lines that it logged."""
        code, rest = self._served.stop()
        assert code == 0
        assert "Traceback" not in rest
        return [line for line in rest.splitlines() if " ERROR " in line or " INFO " in line]


@pytest.fixture
async def gateway(served: Any, upstream: Any, mesh: Any, home: Path) -> AsyncIterator[Gateway]:
    mesh(upstream.port)
    token = LocalIssuer.open(load({}, home=home)).mint("publisher", ("api_publisher",))
    process = await asyncio.to_thread(served, code=HASTY)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=30) as client:
        made = Gateway(process, client, home / ".bridge/routes.db")
        assert (await made.register("/v1/a")).status_code == 201
        yield made


def unavailable(answer: httpx.Response, status: int = 503, slug: str = "store-unavailable") -> bool:
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:bridge:problem:{slug}"), answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert "routes.db" not in answer.text
    return True


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await check():
            await asyncio.sleep(0.02)


async def test_a_store_that_another_process_has_locked(gateway: Gateway) -> None:
    before = (await gateway.client.get("/-/routes/1")).headers["etag"]
    with held(gateway.store, "BEGIN EXCLUSIVE"):
        changes = [
            gateway.register("/v1/b"),
            gateway.client.put("/-/routes/1", json=SPEC | {"timeout": "9s"}),
            gateway.client.delete("/-/routes/1"),
        ]
        assert all(unavailable(answer) for answer in await asyncio.gather(*changes))
        assert (await gateway.client.get("/-/routes/1")).headers["etag"] == before
        assert (await gateway.status("/v1/a"), await gateway.status("/v1/b")) == (200, 404)
    assert (await gateway.register("/v1/b")).status_code == 201
    assert await gateway.status("/v1/b") == 200
    lines = await asyncio.to_thread(gateway.stop)
    assert len(lines) == 3
    assert all("another process has held the store's lock" in line for line in lines)
    with closing(sqlite3.connect(gateway.store, isolation_level=None)) as db:
        assert db.execute("SELECT id FROM route").fetchall() == [(1,), (2,)]


async def test_a_full_disk(gateway: Gateway) -> None:
    size = (gateway.store.with_name("routes.db-wal")).stat().st_size
    limits = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size + 1000, limits[1]))
    large = {"methods": ["GET"], "host": "a." * 100 + "example"}
    for answer in (
        await gateway.register("/v1/b", **large),
        await gateway.client.put("/-/routes/1", json=SPEC | {"timeout": "9s"}),
        await gateway.client.delete("/-/routes/1"),
    ):
        assert unavailable(answer, 507, "insufficient-storage")
    assert (await gateway.status("/v1/a"), await gateway.status("/v1/b")) == (200, 404)
    shown = (await gateway.client.get("/-/routes/1")).json()
    assert shown["spec"] == SPEC
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, limits)
    assert (await gateway.register("/v1/b")).status_code == 201
    lines = await asyncio.to_thread(gateway.stop)
    assert len(lines) == 3
    assert all("can't be written" in line and "disk I/O error" in line for line in lines)


async def test_a_store_that_is_deleted_and_put_back(gateway: Gateway, cli: Any) -> None:
    key = (await asyncio.to_thread(cli, "key", "new", "--sub", "x")).stdout.strip()
    assert (await gateway.register("/v1/keyed", auth={"type": "api_key"})).status_code == 201

    async def keyed() -> int:
        return (await gateway.client.get("/v1/keyed", headers={"x-api-key": key})).status_code

    async def follows() -> bool:
        return await keyed() == 200

    await until(follows)
    backup = gateway.store.with_name("backup.db")
    with closing(sqlite3.connect(gateway.store, isolation_level=None)) as db:
        db.execute("VACUUM INTO ?", (str(backup),))
    for suffix in ("", "-wal", "-shm"):
        os.unlink(f"{gateway.store}{suffix}")
    for answer in (
        await gateway.register("/v1/b"),
        await gateway.client.put("/-/routes/1", json=SPEC | {"timeout": "9s"}),
        await gateway.client.delete("/-/routes/1"),
    ):
        assert unavailable(answer)
    assert not gateway.store.exists()
    assert (await gateway.status("/v1/a"), await gateway.status("/v1/b"), await keyed()) == (200, 404, 200)
    assert (await gateway.client.get("/-/routes/1")).status_code == 200

    backup.rename(gateway.store)
    assert (await gateway.register("/v1/b")).status_code == 201
    assert (await gateway.status("/v1/a"), await gateway.status("/v1/b"), await keyed()) == (200, 200, 200)
    lines = await asyncio.to_thread(gateway.stop)
    assert all("the store's file is gone" in line or "can be used again" in line for line in lines)
    with closing(sqlite3.connect(gateway.store, isolation_level=None)) as db:
        assert [route for (route,) in db.execute("SELECT id FROM route")] == [1, 2, 3]


async def test_the_follower_tells_once_that_the_store_is_gone(gateway: Gateway) -> None:
    away = gateway.store.with_name("away.db")
    gateway.store.rename(away)
    assert gateway._served.process.stderr.readline().endswith("/-/docs\n")
    assert gateway._served.process.stderr.readline().endswith("/-/console\n")
    assert ".bridge/access.log" in gateway._served.process.stderr.readline()
    line = await asyncio.to_thread(gateway._served.process.stderr.readline)
    assert "ERROR bridge.routes" in line
    assert "the store's file is gone" in line
    away.rename(gateway.store)
    line = await asyncio.to_thread(gateway._served.process.stderr.readline)
    assert line.endswith("INFO bridge.routes: the store can be used again\n")
    assert (await gateway.register("/v1/b")).status_code == 201
    assert await asyncio.to_thread(gateway.stop) == []


async def test_a_store_that_is_replaced(gateway: Gateway, tmp_path: Path) -> None:
    """The gateway follows the other one, whose log it must not delete; what is no store is refused."""
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as db:
        db.execute("ATTACH ? AS live", (str(gateway.store),))
        own = "SELECT sql FROM live.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        for (statement,) in db.execute(own).fetchall():
            db.execute(statement)
        db.execute("INSERT INTO route SELECT 7, replace(spec, '/v1/a', '/v1/seven'), 0, '' FROM live.route")
        db.execute("INSERT INTO number VALUES (7)")
        db.execute("PRAGMA user_version=1")
    (tmp_path / "junk.db").write_text("this is no database " * 100)
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE t (a)").connection.close()

    for name in ("junk.db", "empty.db"):
        shutil.copy(tmp_path / name, tmp_path / "next")
        os.replace(tmp_path / "next", gateway.store)
        assert unavailable(await gateway.register("/v1/b"))
        assert (await gateway.status("/v1/a"), await gateway.status("/v1/b")) == (200, 404)
    assert (tmp_path / "empty.db").read_bytes() == gateway.store.read_bytes()
    os.replace(tmp_path / "other.db", gateway.store)
    made = await gateway.register("/v1/b")
    assert (made.status_code, made.json()["route_id"]) == (201, 8)
    statuses = [await gateway.status(path) for path in ("/v1/a", "/v1/seven", "/v1/b")]
    assert statuses == [404, 200, 200]
    with closing(sqlite3.connect(gateway.store, isolation_level=None)) as db:
        assert db.execute("SELECT id FROM route").fetchall() == [(7,), (8,)]


async def test_a_log_that_is_deleted_is_not_written_to(gateway: Gateway) -> None:
    """What its connection still holds goes into the database when that is opened again."""
    for suffix in ("-wal", "-shm"):
        os.unlink(f"{gateway.store}{suffix}")
    assert (await gateway.register("/v1/b")).status_code == 201
    with closing(sqlite3.connect(gateway.store, isolation_level=None)) as db:
        assert db.execute("SELECT id FROM route").fetchall() == [(1,), (2,)]
    assert await asyncio.to_thread(gateway.stop) == []


def test_a_store_that_can_not_be_used_is_one_sentence(
    environment: dict[str, str], cli: Any, home: Path, tmp_path: Path
) -> None:
    def sentence(*args: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", HASTY, *args],
            cwd=home,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, ""), done
        assert done.stderr.count("\n") == 1, done.stderr
        assert "routes.db: " in done.stderr
        return done.stderr

    made = cli("key", "new", "--sub", "x", "--json")
    assert made.returncode == 0
    store = home / ".bridge/routes.db"
    key = cli("key", "list").stdout.split()[0]
    with held(store, "BEGIN EXCLUSIVE"):
        for command in (("new", "--sub", "y"), ("revoke", key)):
            assert "another process has held the store's lock" in sentence("key", *command)
        assert key in cli("key", "list").stdout  # what is not written can be read
    with held(store, "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", "DELETE FROM route", "COMMIT"):
        for args in (("serve", "--port", "0"), ("key", "list")):
            assert "another process holds its lock" in sentence(*args)
    full = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (1000, 1000)); {HASTY}"
    # Coverage's own file would not fit either.
    environment = {name: value for name, value in environment.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", full, "key", "new", "--sub", "z"],
        cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n"), "routes.db: " in done.stderr) == (1, 1, True), done.stderr
    data = bytearray(store.read_bytes())
    data[4096:] = b"\x5a" * len(data[4096:])
    store.write_bytes(data)
    assert "database disk image is malformed; put back a backup" in sentence("serve", "--port", "0")
