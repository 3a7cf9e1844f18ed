"""Both pages behind nginx, which removes a prefix from the path. Skipped where there is no nginx or no chromium."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.config.settings import load
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT, blocks_of
from tests.servers import need, running

pytestmark = pytest.mark.live

SPEC = {
    "route": "/v1/tallies/{county}",
    "methods": ["GET"],
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "description": "The tally of one county.\n\nIt is counted again every minute.",
    "tags": ["Tallies"],
    "deprecated": {"since": "2026-07-01", "link": "https://api.example/v2"},
    "sunset": "2031-01-31",
    "transform": {"request": "passthrough"},
}


@pytest.fixture
async def proxied(start: Start, upstream: Upstream, tmp_path: Path) -> AsyncIterator[tuple[Any, str]]:
    """A gateway with one route that trusts nginx, and nginx's address."""
    await asyncio.to_thread(need, "nginx", "nginx", "-v")
    proxies = load({"BRIDGE_TRUSTED_PROXIES": "127.0.0.0/8"}).trusted_proxies
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, trusted_proxies=proxies) as gateway:
        folder = tmp_path / "nginx"
        folder.mkdir()
        [page] = [block.text for block in blocks_of(ROOT / "docs" / "openapi.md") if block.language == "nginx"]
        command = (sys.executable, str(Path(__file__).with_name("nginx.py")), str(gateway.port), page)
        with running("nginx", command, folder, ready=r"ready (\d+)") as server:
            assert (await gateway.register(SPEC)).status_code == 201
            yield gateway, f"http://{server.address}"


@pytest.mark.parametrize("prefix", ["/gateway", "/quiet"])
async def test_the_docs_call_routes_below_the_prefix(
    proxied: tuple[Any, str], page: Any, upstream: Upstream, prefix: str
) -> None:
    _, address = proxied
    await page.open(f"{address}{prefix}/-/docs")
    assert await page.until("[...document.querySelectorAll('.opblock-tag')].map((it) => it.dataset.tag)") == ["Tallies"]
    assert await page.evaluate("document.querySelectorAll('.opblock-deprecated').length") == 1
    server = address + prefix if prefix == "/gateway" else prefix
    assert await page.until("document.querySelector('.servers option').textContent") == server

    await page.click(".opblock-summary-control")
    await page.click(".try-out__btn")
    await page.until("Boolean(document.querySelector('.parameters input'))")
    await page.evaluate("document.querySelector('.parameters input').focus() ?? true")
    await page.command("Input.insertText", text="Ada")
    await page.evaluate("document.activeElement.blur() ?? true")  # what is typed counts then, or after a while
    await page.click(".execute")
    status = "document.querySelector('.live-responses-table tbody .response-col_status')"
    assert str(await page.until(f"{status} && {status}.textContent")).startswith("200")
    assert upstream.seen[0].target == "/v1/tallies/Ada"
    assert page.console == [], "nothing was refused by the page's own policy"
    elsewhere = [url for url in page.requested if not url.startswith((f"{address}{prefix}/", "data:image/"))]
    assert elsewhere == []


@pytest.mark.parametrize("prefix", ["/gateway", "/quiet"])
async def test_a_publisher_s_round_below_the_prefix(
    proxied: tuple[Any, str], page: Any, upstream: Upstream, prefix: str
) -> None:
    gateway, address = proxied
    await page.open(f"{address}{prefix}/-/console")
    await page.until("document.getElementById('health').textContent.startsWith('Ready')")
    links = await page.evaluate("[...document.querySelectorAll('header a')].map((it) => it.href)")
    assert {link.removeprefix(f"{address}{prefix}/-/") for link in links} == {"docs", "console", "openapi.json"}

    await page.fill("token", gateway.token(roles=("api_publisher",), sub="publisher"))
    await page.click("#access [type=submit]")
    await page.until("document.querySelectorAll('#routes tr').length === 1")
    row = await page.evaluate("document.querySelector('#routes tr').textContent")
    for word in ("deprecated as of 2026-07-01", "sunset 2031-01-31", "Tallies", "The tally of one county."):
        assert word in row, word

    await page.choose("operation", "GET /v1/tallies/")
    await page.says(
        "end-text", "Deprecated as of 2026-07-01. It may be gone after 2031-01-31. See https://api.example/v2"
    )
    await page.fill("parameter-0", "Ada")
    await page.click("#copy-curl")
    await page.says("curl", f"{address}{prefix}/v1/tallies/Ada")
    await page.click("#try [type=submit]")
    await page.says("answer-headers", "@1782864000")
    assert upstream.seen[0].target == "/v1/tallies/Ada"

    spec = {**SPEC, "route": "/v1/counties", "deprecated": False}
    await page.fill("spec", json.dumps(spec))
    await page.click("#register")
    await page.until("document.getElementById('publish-note').textContent.endsWith('is ACTIVE.')")
    assert not [entry for entry in page.console if "Content Security Policy" in entry or "exception" in entry]
    elsewhere = [url for url in page.requested if not url.startswith((f"{address}{prefix}/", "data:image/"))]
    assert elsewhere == []
