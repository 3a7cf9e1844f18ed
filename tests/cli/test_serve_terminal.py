"""What ``serve`` shows of its own accord: faults of specs, failed calls, and where the access log is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

SPEC = "route: /v1/a\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"


async def test_the_banner_counts_one_route_and_says_where_the_access_log_is(served: Any, home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC)
    gateway = await asyncio.to_thread(served)
    assert gateway.banner == "HMS Bridge serves 1 route on " + gateway.url + "\n"
    assert str(home / ".bridge/access.log") in await gateway.line_with("access log")


async def test_a_dead_service_shows_at_the_terminal_once(served: Any, home: Path, mesh: Any) -> None:
    mesh(1)  # nobody listens there
    (home / "routes/a.yml").write_text(SPEC)
    gateway = await asyncio.to_thread(served)
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        for _ in range(3):
            assert (await client.get("/v1/a")).status_code == 503
        assert "svc:80: GET /v1/a got 503" in await gateway.line_with("WARNING bridge.upstream")
    code, rest = await asyncio.to_thread(gateway.stop)
    assert code == 0
    assert "bridge.upstream" not in rest  # told once


async def test_a_broken_route_shows_at_the_terminal_and_so_does_its_mending(served: Any, home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC)
    gateway = await asyncio.to_thread(served)
    (home / "routes/b.yml").write_text(SPEC.replace("/a", "/b") + "colour: red\n")
    assert "routes/b.yml:5: colour: unknown key" in await gateway.line_with("b.yml")
    (home / "routes/b.yml").write_text(SPEC.replace("/a", "/b"))
    assert "2 routes are live" in await gateway.line_with("live")
    (home / "routes/b.yml").unlink()
    assert "1 route is live" in await gateway.line_with("live")
    code, rest = await asyncio.to_thread(gateway.stop)
    assert code == 0
    assert "bridge.upstream" not in rest  # nothing failed


async def test_a_first_route_that_is_live_is_told_at_the_terminal(served: Any, home: Path) -> None:
    gateway = await asyncio.to_thread(served)
    (home / "routes/a.yml").write_text(SPEC)
    assert (await gateway.line_with("live")).endswith(" 1 route is live\n")


async def test_the_gateways_own_log_is_json_where_the_operator_asks_for_it(served: Any, home: Path) -> None:
    gateway = await asyncio.to_thread(served, BRIDGE_LOG_FORMAT="json")
    (home / "routes/b.yml").write_text(SPEC + "colour: red\n")
    event = json.loads(await gateway.line_with("b.yml"))
    assert (event["level"], event["logger"]) == ("error", "bridge.routes")
    assert "routes/b.yml:5: colour: unknown key" in event["message"]


async def test_the_gateways_own_log_has_a_level(served: Any, home: Path) -> None:
    gateway = await asyncio.to_thread(served, BRIDGE_LOG_LEVEL="error")
    (home / "routes/b.yml").write_text(SPEC)
    async with asyncio.timeout(20), httpx.AsyncClient(base_url=gateway.url) as client:
        while (await client.get("/v1/a")).status_code == 404:  # until the route is live
            await asyncio.sleep(0.05)
    (home / "routes/b.yml").write_text(SPEC + "colour: red\n")
    await gateway.line_with("routes/b.yml:5: colour: unknown key")
    code, rest = await asyncio.to_thread(gateway.stop)
    assert (code, rest) == (0, "")


def test_a_level_that_is_not_there_is_refused_with_those_that_are(cli: Any) -> None:
    done = cli("serve", "--port", "0", BRIDGE_LOG_LEVEL="loud")
    assert done.returncode == 1
    assert done.stderr == "BRIDGE_LOG_LEVEL: 'loud' is not one of debug, info, warning, error\n"
