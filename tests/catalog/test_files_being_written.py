"""A spec file is not reported for what it says while it is still being written."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from bridge.catalog import spec_folder
from bridge.errors import SetupError
from tests.catalog.test_reload import TEMPLATE, eventually


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.WARNING, "bridge")
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def live(gateway: Any, path: str) -> bool:
    return bool((await gateway.client.get(path)).status_code == 200)


@pytest.mark.parametrize("part", ["", "route: /b\nupstr", "route: /b\ntransform: {request: soap}\n"])
async def test_a_file_that_is_written_in_two_steps_is_no_error(
    start: Any, upstream: Any, errors: Any, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spec_folder, "SETTLE", 60.0)
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": TEMPLATE.format("/a")}) as gateway:
        registry = gateway.app.state.registry
        for file, path in (("a.yml", "/a2"), ("b.yml", "/b")):
            (gateway.home / "routes" / file).write_text(part)
            unsettled = await registry.reload(settle=60.0)
            assert [one.name for one in unsettled] == [f"file:{file}"]
            assert await live(gateway, "/a" if file == "a.yml" else "/a2"), "what it said before serves"
            (gateway.home / "routes" / file).write_text(TEMPLATE.format(path))
            await eventually(lambda path=path: live(gateway, path))  # type: ignore[misc]  # bound now
    assert errors() == []


async def test_a_file_that_stays_empty_is_reported(
    start: Any, upstream: Any, errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spec_folder, "SETTLE", 0.2)
    async with start(mesh={}, routes={"a.yml": TEMPLATE.format("/a")}) as gateway:
        (gateway.home / "routes/b.yml").write_text("")

        async def reported() -> bool:
            return any("routes/b.yml: it holds no route spec" in text for text in errors())

        await eventually(reported)


async def test_a_gateway_starts_beside_a_file_that_was_emptied_just_now(
    start: Any, upstream: Any, errors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spec_folder, "SETTLE", 60.0)
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": ""}) as gateway:
        (gateway.home / "routes/a.yml").write_text(TEMPLATE.format("/a"))
        await eventually(lambda: live(gateway, "/a"))
    assert errors() == []
    monkeypatch.setattr(spec_folder, "SETTLE", 0.0)
    with pytest.raises(SetupError, match="holds no route spec"):
        async with start(mesh=mesh, routes={"a.yml": ""}):
            pass
