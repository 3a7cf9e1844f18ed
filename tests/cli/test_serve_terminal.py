"""What ``serve`` shows of its own accord: faults of specs, failed calls, and where the access log is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

SPEC = "route: /v1/a\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"


async def line_with(gateway: Any, words: str) -> str:
    """The next line on standard error that holds `words`."""
    async with asyncio.timeout(30):
        while True:
            line: str = await asyncio.to_thread(gateway.process.stderr.readline)
            assert line, f"it ended before it said {words!r}"
            if words in line:
                return line


async def test_a_broken_route_and_a_dead_service_show_at_the_terminal(served: Any, home: Path, mesh: Any) -> None:
    mesh(1)  # nobody listens there
    (home / "routes/a.yml").write_text(SPEC)
    gateway = await asyncio.to_thread(served)
    assert gateway.banner == "HMS Bridge serves 1 route on " + gateway.url + "\n"
    assert str(home / ".bridge/access.log") in await line_with(gateway, "access log")
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        for _ in range(3):
            assert (await client.get("/v1/a")).status_code == 503
        assert "svc:80: GET /v1/a got 503" in await line_with(gateway, "WARNING bridge.upstream")
    (home / "routes/b.yml").write_text(SPEC.replace("/a", "/b") + "colour: red\n")
    assert "routes/b.yml:5: colour: unknown key" in await line_with(gateway, "b.yml")
    (home / "routes/b.yml").write_text(SPEC.replace("/a", "/b"))
    assert "2 routes are live" in await line_with(gateway, "live")
    (home / "routes/b.yml").unlink()
    assert "1 route is live" in await line_with(gateway, "live")
    code, rest = await asyncio.to_thread(gateway.stop)
    assert code == 0
    assert "bridge.upstream" not in rest  # told once
