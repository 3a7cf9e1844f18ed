"""Both pages in a real browser, in front of a real gateway. Skipped where there is no chromium."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.live

SPEC = """\
route: /v1/tallies/{county}
methods: [GET]
upstream: svc:80
auth: none
rate_limit: {rps: 50}
transform: {request: passthrough, response: json}
"""


def host_of(gateway: Any) -> str:
    return f"http://127.0.0.1:{gateway.port}"


async def test_the_docs_show_what_is_published_and_ask_nobody_else(gateway: Any, page: Any) -> None:
    spec = {
        "route": "/v1/tallies/{county}",
        "methods": ["GET"],
        "upstream": "svc:80",
        "auth": {"type": "none"},
        "transform": {"request": "passthrough"},
    }
    assert (await gateway.register(spec)).status_code == 201
    await page.open(f"{host_of(gateway)}/-/docs")
    shown = await page.until("[...document.querySelectorAll('.opblock-summary-path')].map((it) => it.textContent)")
    assert shown == ["/v1/tallies/{county}"]
    assert page.console == [], "nothing was refused by the page's own policy"
    elsewhere = [url for url in page.requested if not url.startswith((host_of(gateway), "data:image/"))]
    assert elsewhere == []


async def test_a_publisher_s_round_through_the_console(gateway: Any, page: Any, upstream: Any) -> None:
    upstream.body = b'{"ballots":12345678901234567890123,"county":"<img src=x onerror=alert(1)>"}'
    await page.open(f"{host_of(gateway)}/-/console")
    await page.until("document.getElementById('health').textContent.startsWith('Ready')")

    await page.fill("token", "no.such.token")
    await page.click("#access [type=submit]")
    assert (await page.until("document.getElementById('routes-note').textContent")).startswith("401: ")

    await page.fill("token", gateway.token(roles=("api_publisher",), sub="publisher"))
    await page.click("#access [type=submit]")
    await page.until("document.getElementById('routes-note').textContent === '0 routes.'")

    await page.fill("spec", SPEC.replace("rps: 50", "rps: 0").replace("svc:80", "svc"))
    await page.click("#publish [type=submit]")
    problems = await page.until(
        "[...document.querySelectorAll('#problems li')].map((it) => it.querySelector('.key').textContent)"
    )
    assert sorted(problems) == ["rate_limit.rps", "upstream"]

    await page.fill("spec", SPEC)
    await page.click("#publish [type=submit]")
    await page.until("document.getElementById('publish-note').textContent.includes('would publish 1 operation')")
    await page.click("#register")
    await page.until("document.getElementById('publish-note').textContent.endsWith('is ACTIVE.')")

    await page.until("document.querySelectorAll('#routes tr').length === 1")
    await page.click("#routes button")
    assert await page.evaluate("document.activeElement.id") == "try-title"
    await page.fill("parameter-0", "Ada/ms")
    await page.fill("query", "full=1")
    await page.click("#try [type=submit]")
    await page.until("!document.getElementById('answer').hidden")
    answer = await page.text("answer-body")
    assert "12345678901234567890123" in answer, "every digit is shown"
    assert json.loads(answer)["county"].startswith("<img")
    assert await page.evaluate("document.querySelectorAll('#answer img').length") == 0
    assert upstream.seen[0].target == "/v1/tallies/Ada%2Fms?full=1"
    assert not upstream.seen[0].header("authorization"), "the publisher's token is for the admin API alone"

    await page.click("#forget")
    assert await page.evaluate("document.getElementById('token').value") == ""
    assert await page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert not [entry for entry in page.console if "Content Security Policy" in entry or "exception" in entry]
