"""Folders as platforms hand them over: mounted by Kubernetes, made later, replaced as a whole, switched by a link."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles.main

from bridge.catalog import folder_watch, spec_folder
from bridge.catalog.folder_watch import FolderWatch

SPEC = "route: {}\nupstream: svc:80\nauth: {{type: none}}\ntransform: {{request: passthrough}}\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_watch, "POLL", 0.1)
    monkeypatch.setattr(spec_folder, "GRACE", 0.5)


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.02)


def answers(gateway: Any, path: str, status: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool((await gateway.client.get(path)).status_code == status)

    return check


def switch(link: Path, target: str) -> None:
    """As Kubernetes and deployments do it: at once, and never absent."""
    (link.parent / "..tmp").symlink_to(target)
    (link.parent / "..tmp").replace(link)


def config_map(folder: Path, version: str, **files: str) -> None:
    """The next version of the mount of a ConfigMap."""
    folder.mkdir(exist_ok=True)
    (folder / version).mkdir()
    for name, text in files.items():
        (folder / version / f"{name}.yml").write_text(text)
    switch(folder / "..data", version)
    for name in files:
        link = folder / f"{name}.yml"
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}.yml")


async def test_a_config_map_starts_and_its_next_version_is_followed(start: Any, upstream: Any, tmp_path: Path) -> None:
    routes = tmp_path / "home/routes"
    routes.parent.mkdir()
    config_map(routes, "..2026_1", a=SPEC.format("/a1"), b=SPEC.format("/b"))
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        assert (await gateway.client.get("/a1")).status_code == 200
        config_map(routes, "..2026_2", a=SPEC.format("/a2"), b=SPEC.format("/b"))
        await eventually(answers(gateway, "/a2", 200))
        assert (await gateway.client.get("/a1")).status_code == 404
        assert (await gateway.client.get("/b")).status_code == 200


async def test_a_folder_that_is_moved_into_place_serves_and_drops_no_request(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": SPEC.format("/a")}) as gateway:
        new = gateway.home / "new"
        new.mkdir()
        (new / "a.yml").write_text(SPEC.format("/a"))
        (new / "b.yml").write_text(SPEC.format("/b"))
        (gateway.home / "routes").rename(gateway.home / "old")
        await asyncio.sleep(0.2)  # longer than the watch waits for more changes, and shorter than the grace
        assert (await gateway.client.get("/a")).status_code == 200
        new.rename(gateway.home / "routes")
        await eventually(answers(gateway, "/b", 200))
        (gateway.home / "routes/c.yml").write_text(SPEC.format("/c"))
        await eventually(answers(gateway, "/c", 200))
        (gateway.home / "routes").rename(gateway.home / "older")
        await eventually(answers(gateway, "/a", 404))
        (gateway.home / "routes").symlink_to("old")
        await eventually(answers(gateway, "/a", 200))
        switch(gateway.home / "routes", "older")
        await eventually(answers(gateway, "/c", 200))
        (gateway.home / "older/c.yml").unlink()
        await eventually(answers(gateway, "/c", 404))


@asynccontextmanager
async def watching(*folders: Path) -> AsyncIterator[Callable[[Path], Awaitable[None]]]:
    """Yields what waits until a path is reported."""
    async with asyncio.timeout(20), aclosing(FolderWatch(folders, again=folders).changes()) as changes:

        async def reported(path: Path) -> None:
            while path not in await anext(changes):
                pass

        await reported(folders[0])  # the watch has begun
        yield reported


async def test_a_folder_that_is_made_later_is_followed(tmp_path: Path) -> None:
    specs, contracts = tmp_path / "routes", tmp_path / "wsdl"
    async with watching(specs, contracts) as reported:
        contracts.mkdir()
        await reported(contracts)
        specs.mkdir()
        await reported(specs)
        await reported(specs)  # once more, since it may have changed before it was watched
        (specs / "a.yml").write_text("")
        await reported(specs / "a.yml")


async def test_what_a_link_leads_to_is_followed_wherever_it_lies(tmp_path: Path) -> None:
    specs = tmp_path / "routes"
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yml").write_text(version)
    (tmp_path / "current").symlink_to("one")
    specs.mkdir()
    (specs / "a.yml").symlink_to("../current/a.yml")
    async with watching(specs) as reported:
        switch(tmp_path / "current", "two")
        await reported(specs)
        await reported(specs)
        (tmp_path / "two/a.yml").write_text("another")
        await reported(specs)


async def test_folders_that_can_not_be_watched_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has a limit on watches, and each container takes some."""
    real: Any = vars(watchfiles.main)["RustNotify"]

    def limited(paths: list[str], debug: bool, force_polling: bool, delay: int, *more: Any) -> Any:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        return real(paths, debug, force_polling, 20, *more)

    monkeypatch.setattr(watchfiles.main, "RustNotify", limited)
    async with watching(tmp_path) as reported:
        (tmp_path / "a.yml").write_text("")
        await reported(tmp_path / "a.yml")


async def test_a_file_whose_name_is_no_text_is_told_and_stops_nothing(
    start: Any, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": SPEC.format("/a")}) as gateway:
        routes = gateway.home / "routes"
        (routes / os.fsdecode(b"\xff\xfe.yml")).write_text(SPEC.format("/x"))

        async def is_told() -> bool:
            return "routes/\\udcff\\udcfe.yml: its name is not UTF-8 text; rename it" in caplog.text

        await eventually(is_told)
        assert caplog.text.encode()  # raises where a line holds half a character
        (routes / "b.yml").write_text(SPEC.format("/b"))
        await eventually(answers(gateway, "/b", 200))
        assert (await gateway.client.get("/x")).status_code == 404
        admin = gateway.bearer(roles=("api_publisher",))
        for page in ("routes", "openapi.json", "metrics"):
            assert (await gateway.client.get(f"/-/{page}", headers=admin)).status_code == 200
