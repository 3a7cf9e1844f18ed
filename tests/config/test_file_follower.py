"""Files that are read again when they change, by the loop's clock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from bridge.config.file_follower import POLL, FileFollower
from tests.loop_clock import standing_still


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[tuple[Path, list[str | None]]]:
    file, seen = tmp_path / "issuers.yml", list[str | None]()
    file.write_text("one")

    async def read() -> None:
        seen.append(file.read_text() if file.exists() else None)

    follower = FileFollower({file: read, tmp_path / "none.yml": read})
    with standing_still():
        task = asyncio.create_task(follower.run())
        yield file, seen
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_change_is_read_once(followed: tuple[Path, list[str | None]]) -> None:
    file, seen = followed
    await asyncio.sleep(POLL * 2.5)
    assert seen == []
    file.write_text("two!")
    await asyncio.sleep(POLL * 3)
    assert seen == ["two!"]
    new = file.with_name("new")
    new.write_text("six!")
    os.replace(new, file)
    await asyncio.sleep(POLL * 2)
    assert seen == ["two!", "six!"]


async def test_a_file_that_is_missing_for_a_moment_is_not_gone(followed: tuple[Path, list[str | None]]) -> None:
    file, seen = followed
    file.unlink()
    await asyncio.sleep(POLL * 1.5)
    file.write_text("again")
    await asyncio.sleep(POLL * 2)
    assert seen == ["again"]
    file.unlink()
    await asyncio.sleep(POLL * 3)
    assert seen == ["again", None]
