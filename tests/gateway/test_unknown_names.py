"""A route whose upstream the mesh does not know: everybody who looks is told, before a caller finds out."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from bridge.cli.offline import judge

SPEC = {"route": "/v1/x", "upstream": "nowhere:80", "auth": "none", "transform": {"request": "passthrough"}}
WARNING = "upstream: mesh.yml names neither nowhere:80 nor nowhere, so calls get 503 until it does"


async def test_a_name_that_the_mesh_does_not_have_is_told(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "bridge")
    file = json.dumps({**SPEC, "route": "/v1/file"})
    async with start(mesh={"here": "127.0.0.1:9"}, routes={"a.json": file}) as gateway:
        registered = await gateway.register(SPEC)
        assert registered.json() == {"route_id": 1, "status": "ACTIVE", "warnings": [WARNING]}
        known = await gateway.register({**SPEC, "route": "/v1/y", "upstream": "here:80"})
        assert "warnings" not in known.json()
        admin = gateway.bearer(roles=("api_publisher",))
        listed = (await gateway.client.get("/-/routes", headers=admin)).json()["routes"]
        assert [route.get("warnings") for route in listed] == [[WARNING], [WARNING], None]
        checked = await gateway.client.post("/-/routes/check", json={**SPEC, "route": "/v1/z"}, headers=admin)
        assert (checked.json()["ok"], checked.json()["warnings"]) == (True, [WARNING])
        faults, notes, count, _ = await judge(gateway.settings, [])
        assert (faults, count) == ([], 1)
        assert notes == [f"{gateway.home / 'routes/a.json'}: {WARNING}"]
    # Once for all routes of the name, not once for each.
    text = WARNING.removeprefix("upstream: ")
    assert [record.getMessage() for record in caplog.records] == [f"nowhere:80: {text}"]


async def test_the_caller_is_told_what_an_operator_looks_for(start: Any) -> None:
    async with start(mesh={}, routes={"a.json": json.dumps(SPEC)}) as gateway:
        refused = await gateway.client.get("/v1/x")
        problem = refused.json()
        assert refused.status_code == 503
        assert problem["detail"] == (
            "No service answers to this route's upstream name. "
            "The line of the gateway's access log with this trace_id names the cause."
        )
        assert "mesh.yml" not in refused.text
        await asyncio.sleep(0)
    [line] = [line for line in gateway.log() if line["trace_id"] == problem["trace_id"]]
    assert line["cause"] == "mesh.yml names neither nowhere:80 nor nowhere"
