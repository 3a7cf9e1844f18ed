"""Both pages in a real browser, in front of a real gateway. Skipped where there is no chromium."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import serving
from tests.servers import need

ROOT = Path(__file__).resolve().parents[3]
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


GUARDED = """\
route: /v1/certified
methods: [GET]
upstream: svc:80
auth: {type: JWT, audience: PRESS}
security_headers: true
transform: {request: passthrough, response: json}
"""


async def test_the_pages_have_nothing_to_say_under_their_own_policy(start: Any, page: Any, upstream: Any) -> None:
    """With security headers on every response: no refusal, no warning, no exception, whatever is done on the page."""
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"guarded.yml": GUARDED}, security_headers="on") as gateway:
        for path in ("docs", "console"):
            head = (await gateway.client.get(f"/-/{path}")).headers
            assert "default-src 'none'" in head["content-security-policy"]
            assert (head["x-content-type-options"], head["x-frame-options"]) == ("nosniff", "DENY")
            assert head["referrer-policy"] == "no-referrer"
        await page.open(f"{host_of(gateway)}/-/docs")
        await page.until("document.querySelectorAll('.opblock-summary-path').length === 1")
        await page.click(".opblock-summary-control")
        await page.until("document.querySelector('.opblock-body') !== null")
        await load(gateway, page)
        await page.fill("spec", SPEC)
        await page.click("#publish [type=submit]")
        await page.says("publish-note", "would publish 1 operation")
        await page.click("#register")
        await page.says("publish-note", "is ACTIVE.")
        await page.click("[aria-label^='Open the spec of /v1/tallies']")
        await page.says("history", "View")
        await page.choose("operation", "GET /v1/certified")
        await page.fill("call-token", gateway.token(audience="PRESS"))
        await page.click("#try [type=submit]")
        await page.says("try-note", "200 in ")
        await page.says("answer-body", '"ok"')
        assert page.console == []
        assert [url for url in page.requested if not url.startswith((host_of(gateway), "data:image/"))] == []


async def load(gateway: Any, page: Any, port: int = 0) -> None:
    """Open the console and the table of routes."""
    await page.open(f"http://127.0.0.1:{port or gateway.port}/-/console")
    await page.fill("token", gateway.token(roles=("api_publisher",), sub="pat"))
    await page.click("#access [type=submit]")
    await page.says("routes-note", "route")


async def test_a_route_is_edited_rolled_back_deleted_and_restored(gateway: Any, page: Any, upstream: Any) -> None:
    spec = {
        "route": "/v1/tallies",
        "methods": ["GET"],
        "upstream": "svc:80",
        "auth": {"type": "none"},
        "timeout": "2s",
        "transform": {"request": "passthrough"},
        "tenant": "county",
    }
    where = (await gateway.register(spec)).headers["location"]
    await load(gateway, page)
    await page.click("[aria-label^='Open the spec of /v1/tallies']")
    await page.says("publish-title", "Edit route 1")
    await page.until("document.activeElement.id === 'publish-title'")
    text = await page.evaluate("document.getElementById('spec').value")
    assert "timeout: 2\n" in text

    await page.fill("spec", text.replace("timeout: 2", "timeout: 3"))
    await page.click("#publish [type=submit]")
    await page.says("publish-note", "would publish 1 operation")  # a dry run of a change is no conflict with itself
    await page.click("#save")
    await page.says("publish-note", "Route 1 is changed and ACTIVE")
    assert (await page.text("history")).count("View") == 2

    stale = gateway.bearer(roles=("api_publisher",), sub="<i>kim</i>")
    await gateway.client.put(where, json={**spec, "timeout": "9s"}, headers=stale)
    await page.click("#save")
    await page.says("publish-note", "412: ")
    assert "timeout: 3" in await page.evaluate("document.getElementById('spec').value"), (
        "nothing that was typed is lost"
    )

    await page.click("[aria-label^='Open the spec of /v1/tallies']")
    await page.says("history", "changed by <i>kim</i>")
    await page.click("[aria-label='View revision 1']")
    await page.says("revision-text", "- timeout: 9\n+ timeout: 2\n")
    await page.click("[aria-label='Roll back to revision 1']")
    await page.until("document.getElementById('confirm').open")
    assert await page.evaluate("document.activeElement.id") == "confirm-no"
    await page.click("#confirm-yes")
    await page.says("publish-note", "Route 1 is rolled back to revision 1")
    await page.says("history", "rolled back to 1 by pat")

    await page.click("#delete")
    await page.until("document.getElementById('confirm').open")
    await page.click("#confirm-yes")
    await page.says("publish-note", "Route 1 is deleted")
    await page.until("document.querySelectorAll('#routes tr').length === 0")
    await page.click("#show-deleted")
    await page.until("document.querySelectorAll('#deleted button').length === 1")
    await page.click("#deleted button")
    await page.says("publish-title", "Deleted route 1")
    assert await page.evaluate("document.getElementById('spec').readOnly")
    await page.click("[aria-label='Roll back to revision 4']")
    await page.until("document.getElementById('confirm').open")
    await page.click("#confirm-yes")
    await page.says("publish-note", "Route 1 is rolled back to revision 4")
    await page.until("document.querySelectorAll('#routes tr').length === 1")
    assert (await gateway.client.get("/v1/tallies")).status_code == 200
    assert not [entry for entry in page.console if "Content Security Policy" in entry or "exception" in entry]


async def test_an_operation_is_filled_from_its_contract_and_tells_whom_it_wants(start: Any, page: Any) -> None:
    files = {
        f"{folder}/{path.relative_to(ROOT / folder)}": path.read_text()
        for folder in ("wsdl", "protos")
        for path in (ROOT / folder).rglob("*.*")
    }
    routes = {path.name: path.read_text() for path in (ROOT / "routes").glob("*.yml")}
    async with start(mesh={}, files=files, routes=routes) as gateway:
        await load(gateway, page)
        await page.choose("operation", "POST /v1/returns-office/CertifyPrecinct")
        await page.says("access-text", "for the audience ELECTION_OFFICE with the role county_clerk.")
        assert await page.text("access-command") == "hms-bridge token --audience ELECTION_OFFICE --role county_clerk"
        body = json.loads(await page.evaluate("document.getElementById('body').value"))
        assert {"countyFips", "precinctId", "certifiedBy"} <= body.keys()

        await page.click("#try [type=submit]")
        await page.says("try-note", "401 in ")
        assert "hms-bridge token --audience ELECTION_OFFICE --role county_clerk" in await page.text("try-note")

        token = gateway.token(roles=("county_clerk",), audience="ELECTION_OFFICE")
        await page.fill("call-token", token)
        await page.fill("body", json.dumps({**body, "precinctId": 4, "nobody": 1}))
        await page.click("#try [type=submit]")
        await page.says("answer-errors", "/precinctId")
        assert "/nobody" in await page.text("answer-errors")
        assert not await page.evaluate("document.getElementById('answer').hidden")

        await page.choose("operation", "POST /v1/ballots/{county_fips}/batches")
        assert await page.evaluate("document.getElementById('answer').hidden"), "the old answer goes"
        assert await page.text("answer-errors") == ""
        assert await page.text("try-note") == ""
        await page.says("access-text", "for the audience ELECTION_OFFICE.")
        assert "batchId" in await page.evaluate("document.getElementById('body').value")

        await page.click("[aria-label^='Open the spec of /v1/ballots']")
        await page.says("route-facts", "Written in routes/ballots.yml, line 9.")
        assert await page.evaluate("document.getElementById('spec').readOnly")
        assert await page.evaluate("document.getElementById('publish-buttons').hidden")
        assert "service: election.v1.BallotCount" in await page.evaluate("document.getElementById('spec').value")
        assert not [entry for entry in page.console if "Content Security Policy" in entry or "exception" in entry]


async def test_a_call_is_copied_as_a_curl_command_that_works(gateway: Any, page: Any, upstream: Any) -> None:
    await asyncio.to_thread(need, "curl", "curl", "--version")
    spec = {
        "route": "/v1/notes/{id}",
        "methods": ["POST"],
        "upstream": "svc:80",
        "auth": {"type": "JWT", "audience": "N"},
        "transform": {"request": "passthrough"},
    }
    await gateway.register(spec)
    await load(gateway, page)
    await page.choose("operation", "POST /v1/notes/")
    await page.fill("parameter-0", "it's [1]")
    await page.fill("query", "a[0]={x}&b=$HOME")
    await page.fill("call-token", gateway.token(audience="N"))
    await page.fill("headers", 'X-Note: it\'s "quoted" `here`')
    body = '{"note": "it\'s\\n!\\\\ $(date)"}'
    await page.fill("body", body)
    await page.click("#copy-curl")
    await page.until("!document.getElementById('curl').hidden")
    assert await page.evaluate("document.getElementById('address-box').hidden")
    command = await page.text("curl")
    done = await asyncio.to_thread(subprocess.run, ["sh", "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"ok": True}
    (seen,) = upstream.seen
    assert (seen.method, seen.body.decode()) == ("POST", body)
    assert seen.target.startswith("/v1/notes/it's%20%5B1%5D?a[0]=") or seen.target.startswith("/v1/notes/it%27s")
    assert seen.header("x-note") == ['it\'s "quoted" `here`']

    is_chosen = asyncio.Event()

    async def late(_: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        await is_chosen.wait()
        return 200, [("content-type", "application/json")], b'"late"'

    upstream.answer = late
    await page.click("#send")
    await page.until("document.getElementById('send').getAttribute('aria-busy') === 'true'")
    await page.choose("operation", "Choose")
    is_chosen.set()
    await page.until("document.getElementById('send').getAttribute('aria-busy') !== 'true'")
    assert await page.evaluate("document.getElementById('answer').hidden"), "it answers what is no longer chosen"

    async with serving(gateway.app, handler=gateway.app.admin) as port:
        await load(gateway, page, port)
        assert await page.evaluate("document.getElementById('send').hidden"), "its listener serves no routes"
        await page.choose("operation", "POST /v1/notes/")
        await page.fill("parameter-0", "7")
        await page.click("#copy-curl")
        await page.says("try-note", "Write the address of the routes")
        await page.fill("address", host_of(gateway))
        await page.click("#copy-curl")
        await page.says("curl", f"curl -sS -g -X POST {host_of(gateway)}/v1/notes/7")


async def test_a_key_is_issued_rotated_and_revoked(gateway: Any, page: Any) -> None:
    guarded = {
        "route": "/v1/guarded",
        "methods": ["GET"],
        "upstream": "svc:80",
        "auth": {"type": "api_key"},
        "transform": {"request": "passthrough"},
    }
    await gateway.register(guarded)

    async def status(key: str) -> int:
        answer = await gateway.client.get("/v1/guarded", headers={"x-api-key": key})
        return int(answer.status_code)

    async def button(name: str) -> None:
        await page.click(f"#keys button[aria-label^='{name}']")
        await page.until("document.getElementById('confirm').open")
        assert await page.evaluate("document.activeElement.id") == "confirm-no"

    await load(gateway, page)
    await page.click("#show-keys")
    await page.says("keys-note", "403: This needs one of the roles api_admin, auditor.")
    await page.fill("token", gateway.token(roles=("api_admin",), sub="ann"))
    await page.click("#access [type=submit]")
    await page.click("#show-keys")
    await page.says("keys-note", "0 keys.")

    await page.fill("key-subject", "<b>press</b>")
    await page.fill("key-roles", "clerk, chief clerk")
    await page.fill("key-scopes", "read write")
    await page.fill("key-label", "Live")
    await page.fill("key-rps", "200.5")
    await page.click("#issue-key [type=submit]")
    await page.says("key-problems", "labelit must be 1 to 12 lower-case letters")
    await page.fill("key-label", "live")
    await page.click("#issue-key [type=submit]")
    await page.says("keys-note", "1 key.")
    assert await page.evaluate("document.activeElement.id") == "new-key-title"
    first = await page.text("new-key-text")
    assert first.startswith("hmsb_live_")
    assert await status(first) == 200
    [key] = (await gateway.client.get("/-/keys", headers=gateway.bearer(roles=("auditor",)))).json()["keys"]
    assert (key["subject"], key["by"], key["limit"]) == ("<b>press</b>", "ann", {"rps": 200.5, "burst": None})
    assert (key["roles"], key["scopes"], key["expires"]) == (["chief clerk", "clerk"], ["read", "write"], None)
    row = await page.text("keys")
    assert key["prefix"] in row
    assert "<b>press</b>" in row
    assert await page.evaluate("document.getElementById('key-subject').value") == ""
    await page.click("#copy-key")
    await page.until("document.getElementById('new-key-note').textContent")

    await page.choose("key-overlap", "no time")
    await button("Rotate")
    assert "The old key is refused at once." in await page.text("confirm-text")
    await page.click("#confirm-yes")
    await page.says("keys-note", "2 keys.")
    second = await page.text("new-key-text")
    assert (await status(first), await status(second)) == (401, 200)
    await page.click("#hide-key")
    assert second not in await page.evaluate("document.documentElement.outerHTML")

    await button("Revoke")
    await page.click("#confirm-no")
    assert await status(second) == 200
    await button("Revoke")
    await page.click("#confirm-yes")
    await page.says("keys-note", "is revoked. 2 keys.")
    assert await status(second) == 401
    await page.says("keys", "revoked by ann")
    await page.fill("keys-filter", "revoked")
    await page.says("keys-note", "1 of 2 keys.")

    await page.click("#forget")
    assert await page.evaluate("document.getElementById('keys').children.length") == 0
    assert await page.evaluate("document.getElementById('keys-box').hidden")
    assert not [entry for entry in page.console if "Content Security Policy" in entry or "exception" in entry]


async def test_a_change_that_waits_is_told(start: Any, page: Any, upstream: Any) -> None:
    tenants = "tenants: {revenue: {paths: [/v1], upstreams: [svc], approval: true}}"
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, files={"tenants.yml": tenants}) as gateway:
        await page.open(f"{host_of(gateway)}/-/console")
        await page.fill("token", gateway.token(roles=("api_publisher",), sub="pat", tenant="revenue"))
        await page.click("#access [type=submit]")
        await page.until("document.getElementById('routes-note').textContent === '0 routes.'")
        await page.fill("spec", SPEC)
        await page.click("#register")
        told = "Change 1 waits until somebody else approves of it."
        await page.until(f"document.getElementById('publish-note').textContent === {told!r}")
        assert (await gateway.client.get("/v1/tallies/a")).status_code == 404
