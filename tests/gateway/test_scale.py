"""What doesn't grow with the number of routes, counted; never timed."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.admin.api import STEPS, Admin, published
from bridge.admin.callers import Callers
from bridge.admin.openapi import build_document
from bridge.api.call import Identity
from bridge.catalog import folder, registry
from bridge.config.settings import Settings
from bridge.config.specfile import read_file, read_value
from bridge.gateway.table import Source
from bridge.observe.metrics import Metrics
from bridge.runtime import Runtime
from bridge.stages.auth.anonymous import OpenAuthenticator


def spec(number: int) -> dict[str, Any]:
    return {
        "route": f"/v1/service{number % 4}/resource{number}/{{id}}",
        "upstream": f"svc{number % 4}:80",
        "auth": {"type": "JWT", "audience": "A"},
        "rate_limit": {"rps": 50},
        "transform": {"request": "passthrough", "response": "json"},
    }


@asynccontextmanager
async def opened(home: Path, count: int, first: int = 0) -> AsyncIterator[Runtime]:
    """A home with `count` routes in its folder."""
    (home / "routes").mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        text = "\n".join(f"{key}: {value}" for key, value in spec(number).items()).replace("'", '"')
        (home / f"routes/r{number:05}.yml").write_text(text)
    house = Runtime(Settings(home=home))
    try:
        await house.registry.load()
        yield house
    finally:
        await house.aclose()


async def calls(work: Callable[[], Coroutine[Any, Any, Any]]) -> int:
    """Functions of this thread that `work` calls, Python's and C's."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        await work()
    finally:
        sys.setprofile(None)
    return count


async def test_a_registration_calls_as_many_functions_with_a_thousand_routes_as_with_ten(tmp_path: Path) -> None:
    found = []
    for size in (10, 1000):
        async with opened(tmp_path / str(size), size) as house:
            sources = [Source(0, "store", read_value(spec(90_000 + number))) for number in range(6)]
            for source in sources[:2]:  # whatever is made once
                await house.registry.put(source, Identity())
            found.append(min([await calls(partial(house.registry.put, source, Identity())) for source in sources[2:]]))
            assert len(house.registry.table.routes) == size + 6
    # The event loop may look at the store's thread once more or less.
    assert abs(found[0] - found[1]) < 0.1 * found[0], found


async def test_each_of_a_thousand_routes_is_loaded_by_as_many_calls_as_each_of_a_hundred(tmp_path: Path) -> None:
    async with opened(tmp_path / "warm", 3):
        pass
    found = []
    for size in (100, 1000):
        async with opened(tmp_path / str(size), size) as house:
            again = Runtime(house.settings)
            await again.transformers.get("passthrough")
            found.append(await calls(again.registry.load) / size)
            assert len(again.registry.table.routes) == size
            await again.aclose()
    assert found[1] < 1.1 * found[0], found
    assert found[1] < 400, "calls a route; 323 when this was written, 19,600 with the whole parser of YAML"


async def test_memory_a_route_is_the_same_with_a_thousand_routes_as_with_a_hundred(tmp_path: Path) -> None:
    async with opened(tmp_path / "warm", 3):
        pass
    found = []
    for size in (100, 1000):
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        async with opened(tmp_path / str(size), size):
            gc.collect()
            found.append((tracemalloc.get_traced_memory()[0] - before) / size)
        tracemalloc.stop()
    assert found[1] < 1.1 * found[0], found
    assert found[1] < 12_000, "bytes; 8,900 when this was written"


async def test_a_reload_reads_the_file_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "YOUNG", -1e9)
    read: list[str] = []

    def noting(path: Path | str, shown: str = "") -> Any:
        read.append(Path(path).name)
        return read_file(path, shown)

    monkeypatch.setattr(folder, "read_file", noting)
    async with opened(tmp_path, 20) as house:
        before = dict(house.registry.table.routes)
        assert len(read) == 20
        (tmp_path / "routes/r00007.yml").write_text(
            "route: /new\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
        )
        read.clear()
        await house.registry.reload()
        assert read == ["r00007.yml"]
        after = house.registry.table.routes
        assert [id for id in after if after[id] is not before[id]] == ["file:r00007.yml"]
        assert house.registry.table.match("h", "/new", "GET")[0].route is after["file:r00007.yml"]


async def test_what_another_process_registers_is_all_that_is_read_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []

    def noting(value: Any) -> Any:
        read.append(value["route"])
        return read_value(value)

    monkeypatch.setattr(registry, "POLL", 0.01)
    monkeypatch.setattr(registry, "read_value", noting)
    async with opened(tmp_path, 0) as one, opened(tmp_path, 0) as two:
        follower = asyncio.create_task(two.registry.follow())
        for number in range(5):
            await one.registry.put(Source(0, "store", read_value(spec(number))), Identity())
        async with asyncio.timeout(10):
            while len(two.registry.table.routes) < 5:
                await asyncio.sleep(0.01)
        before = dict(two.registry.table.routes)
        read.clear()
        await one.registry.put(Source(3, "store", read_value(spec(100))), Identity())
        await one.registry.delete(4, "")
        async with asyncio.timeout(10):
            while 4 in (now := two.registry.table.routes) or now[3] is before[3]:
                await asyncio.sleep(0.01)
        follower.cancel()
        after = two.registry.table.routes
        assert read == [spec(100)["route"]]
        assert [id for id in after if after[id] is not before[id]] == [3]
        assert list(after) == [1, 2, 3, 5]


async def test_others_are_served_while_a_large_document_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path, 100) as house:
        info = {"title": "HMS Bridge", "version": "1"}
        made = Admin(house.registry, Callers(OpenAuthenticator(()), tuple), Metrics(), info, ready=lambda: True)
        operations = published(house.registry.table.routes.values())
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        document = await made._document(operations)
        task.cancel()
        places = sum(len(item) for item in document["paths"].values())
        assert places == 500
        assert turns >= places // STEPS
        assert document == build_document(operations, title="HMS Bridge", version="1")


async def test_routes_that_ask_the_same_share_who_asks(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as house:
        routes = list(house.registry.table.routes.values())
        assert routes[0].authenticator is routes[1].authenticator
        assert routes[0].limiter is not routes[1].limiter
