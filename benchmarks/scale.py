"""How the gateway bears many routes: 10 to 10,000 of them in a folder and in the store, and a WSDL of 1,000 operations.

For each size: the start of a whole ``hms-bridge serve`` until it answers, memory per route, the cost of a match, of one
more registration (``POST /register``) and of a reload after one file has changed. Times are CPU of the gateway's
process; what is compared is measured in turns. A figure counts only if the answers were right.

``python benchmarks/scale.py`` prints them, ``--check`` fails where they are not flat, ``--small`` stops at 1,000.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from bridge.admin.openapi import build_document
from bridge.api.call import Identity
from bridge.catalog.store.sqlite import SqliteStore
from bridge.config.settings import Settings
from bridge.config.specfile import read_value
from bridge.gateway.table import Source
from bridge.runtime import Runtime
from bridge.stages.auth.local_issuer import LocalIssuer

SIZES = (10, 100, 1_000, 10_000)
SPEC = """\
route: /v1/service{group}/resource{number}/{{id}}
upstream: svc{group}:8080
methods: [GET, POST]
auth: {{type: JWT, audience: PUBLIC}}
rate_limit: {{rps: 50}}
transform: {{request: passthrough, response: json}}
"""

#: What the project promises, in seconds of a whole start with 10,000 routes; and how flat flat is (a registration
#: copies the dict of all routes, some 50 ns a route).
START, MEMORY, MATCH, REGISTER = 5.0, 1.25, 1.35, 2.0


def spec(number: int) -> dict[str, Any]:
    return {
        "route": f"/v1/service{number % 100}/resource{number}/{{id}}",
        "upstream": f"svc{number % 100}:8080",
        "methods": ["GET", "POST"],
        "auth": {"type": "JWT", "audience": "PUBLIC"},
        "rate_limit": {"rps": 50},
        "transform": {"request": "passthrough", "response": "json"},
    }


def folder(home: Path, count: int) -> None:
    (home / "routes").mkdir(parents=True)
    for number in range(count):
        (home / "routes" / f"r{number:05}.yml").write_text(SPEC.format(group=number % 100, number=number))


def store(home: Path, count: int) -> None:
    (home / "routes").mkdir(parents=True)
    made = SqliteStore(home / ".bridge/routes.db")
    rows = [(number + 1, orjson.dumps(spec(number)).decode(), 0.0, "") for number in range(count)]

    def fill(db: Any) -> None:
        db.execute("BEGIN")
        db.executemany("INSERT INTO route VALUES (?, ?, ?, ?)", rows)
        db.execute("UPDATE number SET last = ?", (count,))
        db.execute("COMMIT")

    async def run() -> None:
        await made._do(fill)
        await made.aclose()

    asyncio.run(run())


# --- a whole gateway ---------------------------------------------------------------------------------------------


def cpu(pid: int) -> float:
    """Seconds of CPU that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of the process that lie in memory and are its own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss_Anon")


@contextmanager
def gateway(home: Path) -> Iterator[tuple[str, int, float]]:
    """Its URL, its process and when it was started, once it says that it serves."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge.cli.main", "serve", "--port", "0"],
        env={**os.environ, "BRIDGE_HOME": str(home), "NO_COLOR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("HMS Bridge serves"):
                yield line.split()[-1], process.pid, began
                return
        raise AssertionError("it did not start")
    finally:
        process.terminate()
        process.communicate()


def ask(url: str, method: str = "GET", body: bytes | None = None, token: str = "") -> int:
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def started(home: Path, last: str) -> dict[str, float]:
    """Start a gateway, ask it for `last` (guarded, so 401 says that it was found), register some routes more."""
    with gateway(home) as (url, pid, began):
        assert not last or ask(f"{url}{last}") == 401, last
        figures = {"wall": time.perf_counter() - began, "cpu": cpu(pid), "bytes": float(resident(pid))}
        token = LocalIssuer.open(Settings(home=home)).mint("bench", roles=["api_publisher"])
        assert ask(f"{url}/register", "POST", orjson.dumps(spec(1_000_000)), token) == 201
        before, count = cpu(pid), 50
        for number in range(count):
            assert ask(f"{url}/register", "POST", orjson.dumps(spec(2_000_000 + number)), token) == 201
        figures["register"] = (cpu(pid) - before) / count
        return figures


# --- its parts, in this process ----------------------------------------------------------------------------------


def calls_of(work: Any) -> int:
    """Functions that `work` calls, Python's and C's."""
    count = 0

    def note(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


async def measured(work: Any) -> float:
    gc.collect()
    before = time.process_time()
    await work()
    return time.process_time() - before


async def inside(homes: dict[int, Path]) -> dict[int, dict[str, float]]:
    """What can be measured without a server: match, registration's calls and reload, all sizes in turns."""
    houses: dict[int, Runtime] = {}
    found: dict[int, dict[str, float]] = {}
    for size, home in homes.items():
        tracemalloc.start()
        house = houses[size] = Runtime(Settings(home=home))
        await house.transformers.get("passthrough")
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await house.registry.load()
        gc.collect()
        found[size] = {"bytes": (tracemalloc.get_traced_memory()[0] - before) / size}
        tracemalloc.stop()
        assert len(house.registry.table.routes) == size
    turns: dict[int, list[float]] = {size: [] for size in houses}
    paths = [f"/v1/service{n % 100}/resource{n}/7" for n in range(10)]
    for _ in range(15):
        for size, house in houses.items():
            match = house.registry.table.match
            began = time.process_time()
            for _ in range(500):
                for path in paths:
                    match("h", path, "GET")
            turns[size].append((time.process_time() - began) / 5000)
    for size, house in houses.items():
        table = house.registry.table
        _, params = table.match("h", f"/v1/service{(size - 1) % 100}/resource{size - 1}/7", "GET")
        assert params == {"id": "7"}
        found[size] |= {
            "match": statistics.median(turns[size]),
            "calls": calls_of(lambda table=table: table.match("h", "/v1/service5/resource5/7", "GET")),
        }
        file = homes[size] / "routes" / f"r{size // 2:05}.yml"
        if file.exists():
            times = []
            for number in range(5):
                file.write_text(SPEC.format(group=1, number=3_000_000 + number))
                times.append(await measured(house.registry.reload))
                house.registry.table.match("h", f"/v1/service1/resource{3_000_000 + number}/7", "GET")
            found[size]["reload"] = statistics.median(times)
        times = []
        for number in range(10):
            source = Source(0, "store", read_value(spec(4_000_000 + number)))
            times.append(
                await measured(lambda source=source, house=house: house.registry.put(source, Identity(subject="bench")))
            )
        found[size]["put"] = statistics.median(times)
    for house in houses.values():
        await house.aclose()
    return found


async def wsdl(home: Path, operations: int) -> dict[str, float]:
    """A WSDL of so many operations, 3 kB each, bound by one route."""
    (home / "wsdl").mkdir(parents=True)
    (home / "routes").mkdir()
    large: Any = runpy.run_path(str(Path(__file__).with_name("soap_bind.py")))
    (home / "wsdl/large.wsdl").write_text(large["wsdl"](operations, 3000 * operations))
    text = "route: /soap\nupstream: svc:80\nauth: {type: JWT}\ntransform: {request: soap, soap: {wsdl: large.wsdl}}\n"
    (home / "routes/soap.yml").write_text(text)
    house = Runtime(Settings(home=home))
    await house.transformers.get("soap")
    tracemalloc.start()
    await house.registry.load()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    await house.aclose()
    house = Runtime(Settings(home=home))
    await house.transformers.get("soap")
    figures = {"bytes": held / operations, "bind": await measured(house.registry.load) / operations}
    table = house.registry.table
    figures["calls"] = calls_of(lambda: table.match("h", "/soap/Do50", "POST"))
    from bridge.admin.api import published

    before = time.process_time()
    document = orjson.dumps(build_document(published(table.routes.values()), title="t", version="1"), default=str)
    figures |= {"document": (time.process_time() - before) / operations, "megabytes": len(document) / 1e6}
    assert len(json.loads(document)["paths"]) == operations
    await house.aclose()
    return figures


# --- all of it ---------------------------------------------------------------------------------------------------


def main() -> int:
    sizes = SIZES[:-1] if "--small" in sys.argv else SIZES
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder(root / "empty", 0)
        empty = started(root / "empty", "")
        print(f"empty: up in {empty['wall']:.2f} s ({empty['cpu']:.2f} s of CPU), {empty['bytes'] / 1e6:.1f} MB")
        for kind, fill in (("folder", folder), ("store", store)):
            for size in sizes:
                home = root / f"{kind}{size}"
                fill(home, size)
                one = started(home, f"/v1/service{(size - 1) % 100}/resource{size - 1}/7")
                each = (one["bytes"] - empty["bytes"]) / size / 1024
                print(
                    f"{kind} {size:>6}: answers after {one['wall']:.2f} s ({one['cpu']:.2f} s of CPU), "
                    f"{each:.1f} KiB a route, one more registered in {1e3 * one['register']:.2f} ms of CPU"
                )
                if size == 10_000 and one["wall"] > START:
                    wrong.append(f"{kind}: {size} routes start in {one['wall']:.2f} s, not in {START} s")
        for kind, fill in (("folder", folder), ("store", store)):
            homes = {size: root / f"in-{kind}{size}" for size in sizes}
            for size, home in homes.items():
                fill(home, size)
            found = asyncio.run(inside(homes))
            for size, one in found.items():
                reload = f", reload {1e3 * one['reload']:.1f} ms" if "reload" in one else ""
                print(
                    f"{kind} {size:>6}: match {1e6 * one['match']:.2f} us ({one['calls']:.0f} calls), "
                    f"{one['bytes'] / 1024:.2f} KiB a route, put {1e3 * one['put']:.2f} ms{reload}"
                )
            least, most = found[sizes[0]], found[sizes[-1]]
            for key, bound in (("match", MATCH), ("put", REGISTER), ("bytes", MEMORY), ("calls", 1.0)):
                base = found[100]["bytes"] if key == "bytes" else least[key]
                if most[key] > bound * base:
                    wrong.append(f"{kind}: {key} grows from {base:.3g} to {most[key]:.3g} with {sizes[-1]} routes")
        contracts = {count: asyncio.run(wsdl(root / f"wsdl{count}", count)) for count in (100, 1000)}
        for count, one in contracts.items():
            print(
                f"WSDL of {count:>4} operations: each bound in {1e3 * one['bind']:.2f} ms of CPU and "
                f"{one['bytes'] / 1024:.1f} KiB, described in {1e3 * one['document']:.2f} ms "
                f"({one['megabytes']:.1f} MB), match {one['calls']:.0f} calls"
            )
        for key, bound in (("bytes", MEMORY), ("calls", 1.0)):
            if contracts[1000][key] > bound * contracts[100][key]:
                wrong.append(f"WSDL: {key} grows from {contracts[100][key]:.3g} to {contracts[1000][key]:.3g}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
