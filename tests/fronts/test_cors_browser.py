"""`cors` in a real browser: a page of another origin calls, streams and opens WebSockets. Skipped without chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Page, chromium
from tests.conftest import Recorded, Upstream

pytestmark = pytest.mark.live

#: Two origins of the same pages: only the first is allowed.
ALLOWED, OTHER = "http://127.0.0.1:{port}", "http://localhost:{port}"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium(tmp_path) as tab:
        yield tab


@pytest.fixture
async def site(upstream: Upstream) -> Upstream:
    """The server of the pages."""

    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        icon = b"<link rel=icon href='data:,'>"
        return 200, [("content-type", "text/html")], b"<!doctype html><title>page</title>" + icon

    upstream.answer = answer
    return upstream


def fetch(url: str, options: str) -> str:
    return f"const it = await fetch({url!r}, {options}); return [it.status, await it.json()];"


def socket(url: str) -> str:
    return (
        f"return await new Promise((done) => {{ const it = new WebSocket({url!r});"
        " it.onopen = () => it.send('{\"n\": 7}');"
        " it.onmessage = (event) => { it.close(); done(JSON.parse(event.data)); };"
        " it.onerror = () => done('refused'); });"
    )


def events(url: str) -> str:
    return (
        f"return await new Promise((done) => {{ const it = new EventSource({url!r}), got = [];"
        " it.onmessage = (event) => { got.push(JSON.parse(event.data).n);"
        " if (got.length === 3) { it.close(); done(got); } };"
        " it.onerror = () => { it.close(); done('refused'); }; });"
    )


POST = "{method: 'POST', headers: {'Content-Type': 'application/json', 'X-Clerk': 'ann'}, body: '{\"upto\": 7}'}"
SIMPLE = "{method: 'POST', body: '{\"upto\": 7}'}"


async def test_a_page_of_an_allowed_origin(stage: Any, site: Upstream, page: Page) -> None:
    cors = f"cors: {{origins: ['{ALLOWED.format(port=site.port)}'], headers: [X-Clerk], credentials: true}}"
    async with stage(cors) as made:
        await page.open(f"{ALLOWED.format(port=site.port)}/page")
        base = f"http://127.0.0.1:{made.gateway.port}"
        assert await page.outcome(fetch(f"{base}/flow/flow.Flow/Once", POST)) == [200, {"n": 7}]
        with_cookies = POST.replace("{method", "{credentials: 'include', method")
        assert await page.outcome(fetch(f"{base}/flow/flow.Flow/Once", with_cookies)) == [200, {"n": 7}]
        assert await page.outcome(events(f"{base}/flow/count/3")) == [1, 2, 3]
        assert await page.outcome(socket(f"{made.ws}/flow/rooms/blue/echo")) == {"n": 7, "room": "blue"}
        assert page.console == []
        # What fails can be read, too: a method, and a path below the route, that are not published.
        assert (await page.outcome(fetch(f"{base}/flow/flow.Flow/Once", "{}")))[0] == 405
        assert (await page.outcome(fetch(f"{base}/flow/nothing/here", POST)))[0] == 404
        assert "CORS" not in "".join(page.console)
    calls = {(line["method"], line.get("route")) for line in made.gateway.log()}
    assert {("OPTIONS", "file:flow.yml"), ("WEBSOCKET", "file:flow.yml")} <= calls


async def test_a_page_of_another_origin(stage: Any, site: Upstream, page: Page) -> None:
    cors = f"cors: {{origins: ['{ALLOWED.format(port=site.port)}'], headers: [X-Clerk]}}"
    async with stage(cors) as made:
        await page.open(f"{OTHER.format(port=site.port)}/page")
        base = f"http://127.0.0.1:{made.gateway.port}"
        for script in (
            fetch(f"{base}/flow/flow.Flow/Once", POST),
            fetch(f"{base}/flow/flow.Flow/Once", SIMPLE),
            fetch(f"{base}/flow/flow.Flow/Once", "{}"),
        ):
            assert await page.outcome(script) == "TypeError: Failed to fetch"
        assert await page.outcome(events(f"{base}/flow/count/3")) == "refused"
        assert await page.outcome(socket(f"{made.ws}/flow/rooms/blue/echo")) == "refused"
        async with asyncio.timeout(30):
            while sum("blocked by CORS policy" in line for line in page.console) < 4:
                await page.evaluate("1")
        # A safe request has been made, and its reply kept from the page. Nothing else has reached the service.
        assert {name.rpartition("/")[2] for name, _ in made.flow.calls} == {"Count"}


SPEC = """
route: /flow
upstream: flow-svc:50051
auth: {type: JWT, from: [header, cookie: session, query: token]}
%s
transform:
  request: grpc
  grpc: {protos: [flow.proto]%s}
"""


async def test_tokens_in_queries_and_cookies(stage: Any, site: Upstream, page: Page) -> None:
    cors = f"cors: {{origins: ['{ALLOWED.format(port=site.port)}'], headers: [X-Clerk], credentials: true}}"
    async with stage(cors, spec=SPEC) as made:
        token = made.gateway.token()
        base = f"http://127.0.0.1:{made.gateway.port}"
        once, counted = f"{base}/flow/flow.Flow/Once", f"{base}/flow/count/3"
        await page.open(f"{ALLOWED.format(port=site.port)}/page")
        assert await page.outcome(events(f"{counted}?token={token}")) == [1, 2, 3]
        assert await page.outcome(socket(f"{made.ws}/flow/rooms/blue/echo?token={token}")) == {"n": 7, "room": "blue"}
        bearer = POST.replace("headers: {", f"headers: {{Authorization: 'Bearer {token}', ")
        assert await page.outcome(fetch(once, bearer)) == [200, {"n": 7}]
        # Cookies don't know ports, so that the page sets one for the gateway, too.
        await page.evaluate(f"document.cookie = 'session={token}'")
        with_cookies = POST.replace("{method", "{credentials: 'include', method")
        assert await page.outcome(fetch(once, with_cookies)) == [200, {"n": 7}]
        assert await page.outcome(socket(f"{made.ws}/flow/rooms/blue/echo")) == {"n": 7, "room": "blue"}
        assert page.console == []
    text = (made.gateway.home / ".bridge/access.log").read_text()
    assert token not in text
    assert '"query":"token=***"' in text


async def test_a_forged_call_has_the_cookie_and_fails(stage: Any, site: Upstream, page: Page) -> None:
    """A page of another port has the cookie of the gateway's host sent along, without a preflight."""
    async with stage("", spec=SPEC) as made:
        base = f"http://127.0.0.1:{made.gateway.port}"
        await page.open(f"{ALLOWED.format(port=site.port)}/page")
        await page.evaluate(f"document.cookie = 'session={made.gateway.token()}'")
        forged = "{method: 'POST', mode: 'no-cors', credentials: 'include', body: '{\"upto\": 7}'}"
        assert await page.outcome(f"return (await fetch('{base}/flow/flow.Flow/Once', {forged})).type") == "opaque"
        assert await page.outcome(socket(f"{made.ws}/flow/rooms/blue/echo")) == "refused"
        assert made.flow.calls == []
    calls = [(line["method"], line["status"], line["cause"]) for line in made.gateway.log()]
    cause = "a cookie's token came from a page that may not use it"
    assert calls == [("POST", 403, cause), ("WEBSOCKET", 403, cause)]
