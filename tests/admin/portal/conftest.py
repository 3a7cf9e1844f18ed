"""The portal under a client of its own, and a browser that is driven over Chrome's DevTools protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from bridge.admin import portal
from tests.browser import Page, chromium


@pytest.fixture
async def pages() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Mount("/-", routes=portal.routes())])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway.example/-/") as client:
        yield client


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium(tmp_path) as tab:
        yield tab
