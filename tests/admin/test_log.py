"""``/-/log``: the last lines of the access log, to each tenant its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bridge.observe import log_reader
from bridge.observe.log_reader import last_lines
from tests.conftest import Running, Start

SPEC = {"upstream": "svc:80", "methods": ["GET"], "auth": {"type": "none"}, "transform": {"request": "passthrough"}}


async def read(gateway: Running, tenant: str = "", query: str = "", status: int = 200) -> Any:
    headers = gateway.bearer(roles=("auditor",), tenant=tenant, sub=f"ann-{tenant}")
    answer = await gateway.client.get(f"/-/log{query}", headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def lines(gateway: Running, tenant: str = "", query: str = "") -> list[tuple[str, str]]:
    found = (await read(gateway, tenant, query))["lines"]
    return [(line.get("route", "none"), line["path"]) for line in found if line["path"] != "/-/log"]


async def test_a_tenant_reads_the_lines_of_its_own_routes(start: Start) -> None:
    async with start(mesh={}) as gateway:
        for number, tenant in enumerate(("t1", "t2"), 1):
            made = await gateway.register({**SPEC, "route": f"/{tenant}/{{id}}"}, tenant=tenant)
            assert made.json()["route_id"] == number
        for path in ("/t1/a", "/t2/b", "/t1/c", "/nothing"):
            # Of a caller of t2, so that a line has the caller's tenant and not its route's.
            await gateway.client.get(path, headers=gateway.bearer(tenant="t2"))
        async with asyncio.timeout(20):
            while len(await lines(gateway)) < 6:  # they are written after their answers
                await asyncio.sleep(0.01)
        assert await lines(gateway, "t1") == [("1", "/t1/c"), ("1", "/t1/a"), ("-", "/register")]
        assert await lines(gateway, "t2") == [("2", "/t2/b"), ("-", "/register")]
        assert await lines(gateway, "t3") == []
        assert await lines(gateway, "t1", "?route=1") == [("1", "/t1/c"), ("1", "/t1/a")]
        assert await lines(gateway, "t1", "?route=2") == await lines(gateway, "t1", "?route=99") == []
        assert await lines(gateway, "t1", "?route=1&limit=1") == [("1", "/t1/c")]
        assert not (await read(gateway, "t1", "?route=1&limit=1"))["complete"]
        assert (await read(gateway, "t1", "?route=1"))["complete"]
        newest = (await read(gateway, "", "?route=2"))["lines"][0]
        assert await lines(gateway, "", f"?route=2&since={newest['time']}") == [("2", "/t2/b")]
        assert await lines(gateway, "", "?route=2&since=2999-01-01T00:00:00%2B01:00") == []
        assert (await gateway.client.delete("/-/routes/1", headers=gateway.bearer(roles=("api_admin",)))).is_success
        assert ("1", "/t1/a") in await lines(gateway, "t1", "?route=1"), "of a deleted route, too"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=x", "limit"),
        ("?since=yesterday", "since"),
        ("?since=2027-01-31T12:00:00", "since"),
        ("?route=1&route=2", "route"),
        ("?tenant=t2", "tenant"),
    ],
)
async def test_a_query_is_checked(gateway: Running, query: str, parameter: str) -> None:
    problem = await read(gateway, "t1", query, 400)
    assert [error["parameter"] for error in problem["errors"]] == [parameter]


async def test_standard_output_can_not_be_read(start: Start) -> None:
    async with start(mesh={}, log="-") as gateway:
        assert "BRIDGE_LOG" in (await read(gateway, status=409))["detail"]


def numbers(path: Path, limit: int = 1000) -> tuple[list[int], bool]:
    found, is_whole = last_lines(path, lambda line: True, limit)
    return [line["n"] for line in found], is_whole


def test_what_is_read_is_bounded_and_reaches_back_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "access.log"
    assert numbers(path) == ([], True)
    path.write_text("".join(json.dumps({"n": number}) + "\n" for number in (4, 5, 6)))
    (tmp_path / "access.log.1").write_text('{"n":1}\nno JSON\n[]\n{"n":2}\n\n{"n":3}\n{"n":')
    assert numbers(path) == ([6, 5, 4, 3, 2, 1], True)
    assert numbers(path, 4) == ([6, 5, 4, 3], False)
    assert numbers(path, 6) == ([6, 5, 4, 3, 2, 1], True)
    monkeypatch.setattr(log_reader, "MAX_READ", 20)  # ends within 4's line
    assert numbers(path) == ([6, 5], False)
    monkeypatch.setattr(log_reader, "MAX_READ", 45)
    assert numbers(path) == ([6, 5, 4, 3], False)
    monkeypatch.undo()
    (tmp_path / "access.log.2").write_text('{"n":0}\n')
    assert numbers(path) == ([6, 5, 4, 3, 2, 1], False)
