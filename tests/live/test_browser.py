"""Headless Chromium with a page of another origin, before passthrough routes: fetch, EventSource and WebSocket, over
HTTP/1.1, and over HTTP/2 and TLS on both sides. The service is aiohttp's server. Skipped without chromium."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bridge.server.tls import ListenerTls
from tests.browser import Browser, Page, browsing
from tests.conftest import Running, Start, serving
from tests.server.test_tls import NAME, Files

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

BATCH = 5  #: events before the service ends the stream, so that the browser connects again


# --- the service ------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """Pages, streams and WebSockets.

    :ivar asked: method, path and credentials of the requests that came. :ivar seen: events that the page has had.
    """

    port: int = 0
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])
    seen: asyncio.Queue[int] = field(default_factory=asyncio.Queue[int])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def other(self) -> str:
        """The same pages' other origin, which no route allows."""
        return f"http://localhost:{self.port}"

    def methods(self, path: str) -> list[str]:
        return [method for method, asked, _ in self.asked if asked.startswith(path)]

    def paths(self) -> web.Application:
        app = web.Application(middlewares=[self.note], client_max_size=1 << 24)
        app.add_routes(
            [
                web.get("/page", self.page),
                web.route("*", "/echo", self.echo),
                web.get("/events", self.events),
                web.post("/seen", self.mark),
                web.get("/socket", self.socket),
                web.get("/broken", self.broken),
                web.get("/slow", self.slow),
            ]
        )
        return app

    @web.middleware
    async def note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        wanted = ("authorization", "cookie", "last-event-id", "origin")
        held = {name: request.headers[name] for name in wanted if name in request.headers}
        self.asked.append((request.method, request.path_qs, held))
        answer: web.StreamResponse = await handler(request)
        return answer

    async def page(self, request: web.Request) -> web.Response:
        text = "<!doctype html><title>page</title><link rel=icon href='data:,'>"
        return web.Response(text=text, content_type="text/html")

    async def echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        fields = {"X-Total": "7", "X-Hidden": "secret", "Access-Control-Allow-Origin": "https://elsewhere.example"}
        answer = {"method": request.method, "size": len(body), "sum": hashlib.sha256(body).hexdigest()}
        return web.json_response({**answer, "clerk": request.headers.get("X-Clerk")}, headers=fields)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Sends each event when the page has had the one before."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        first = int(request.headers.get("Last-Event-ID", "0")) + 1
        # aiohttp lets a stream wait on that nobody listens to any more, so each has its own.
        seen = self.seen = asyncio.Queue[int]()
        for number in range(first, first + BATCH):
            await response.write(b"retry: 1\nid: %d\ndata: %d\n\n" % (number, number))
            assert await seen.get() == number
        return response

    async def mark(self, request: web.Request) -> web.Response:
        self.seen.put_nowait(int(request.query["n"]))
        return web.Response(status=204)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Echoes; ``close CODE REASON`` makes it close."""
        socket = web.WebSocketResponse(protocols=("orders.v2", "orders.v1"))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data.startswith("close "):
                _, code, reason = message.data.split(" ", 2)
                await socket.close(code=int(code), message=reason.encode())
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        self.seen.put_nowait(socket.close_code or 0)
        return socket

    async def broken(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def slow(self, request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()


@contextlib.asynccontextmanager
async def served(context: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site()
    runner = web.AppRunner(site.paths(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    site.port = runner.addresses[0][1]
    try:
        yield site
    finally:
        await runner.cleanup()


# --- the gateway and the browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory, files: Files) -> AsyncIterator[Browser]:
    """Trusts the listener's certificate, and finds the gateway by its name."""
    key = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    pin = f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"
    rules = f"--host-resolver-rules=MAP {NAME} 127.0.0.1"
    async with browsing(tmp_path_factory.mktemp("browser"), pin, rules) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with browser.tab() as tab:
        yield tab


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with served() as running:
        yield running


def route(path: str, allowed: str, upstream: str = "svc:80", **keys: Any) -> str:
    cors = {
        "origins": [allowed],
        "headers": ["X-Clerk"],
        "exposed": ["X-Total", "X-Trace-ID", "Retry-After"],
        "credentials": True,
    }
    transform = {"request": "passthrough", "response": "passthrough", "passthrough": {"websocket": True}}
    spec = {"route": f"{path}/{{rest*}}", "upstream": f"{upstream}/{{rest*}}", "auth": "none", "cors": cors}
    return json.dumps({**spec, "transform": transform, **keys})


TOKENS = {"type": "JWT", "from": ["header", {"cookie": "session"}, {"query": "access_token"}]}


@contextlib.asynccontextmanager
async def before(start: Start, site: Site) -> AsyncIterator[Running]:
    allowed = site.origin
    routes = {
        "open.yml": route("/open", allowed),
        "guarded.yml": route("/guarded", allowed, auth=TOKENS),
        "limited.yml": route("/limited", allowed, rate_limit={"rps": 0.001, "burst": 1}),
        "hurried.yml": route("/hurried", allowed, timeout="100ms"),
        "narrow.yml": route("/narrow", allowed, max_body="10"),
        "exact.yml": route("/exact", allowed).replace("/{rest*}", ""),
        "away.yml": route("/away", allowed, "away:80"),
        "private.yml": route("/private", allowed, ip={"deny": ["127.0.0.1"]}),
    }
    mesh = {"svc": f"127.0.0.1:{site.port}", "away": "127.0.0.1:1"}
    async with asyncio.timeout(90), start(mesh=mesh, routes=routes) as gateway:
        yield gateway


def base_of(gateway: Running, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{gateway.port}"


# --- fetch ------------------------------------------------------------------------------------------------------------

PREFLIGHTED = "{method: 'PUT', credentials: 'include', headers: {'X-Clerk': 'ann'}, body: 'x'.repeat(100)}"
SIMPLE = "{method: 'POST', body: 'x'.repeat(100)}"
SAFE = "{credentials: 'include'}"
#: What a page gets to know of the responses of these: they are problems of the gateway.
PROBLEMS = {
    ("/guarded/echo", SAFE): 401,
    ("/guarded/echo", PREFLIGHTED): 401,
    ("/private/echo", PREFLIGHTED): 403,
    ("/exact/below", SAFE): 404,
    ("/narrow/echo", PREFLIGHTED): 413,
    ("/limited/echo", PREFLIGHTED): 429,
    ("/open/broken", SAFE): 502,
    ("/away/echo", PREFLIGHTED): 503,
    ("/hurried/slow", SAFE): 504,
}


def fetch(url: str, options: str) -> str:
    names = "['X-Total', 'X-Hidden', 'X-Trace-ID', 'Retry-After'].map((name) => it.headers.get(name))"
    return f"const it = await fetch({url!r}, {options}); return [it.status, await it.json(), ...{names}];"


async def test_a_page_of_an_allowed_origin_calls(start: Start, site: Site, page: Page) -> None:
    async with before(start, site) as gateway:
        base = base_of(gateway)
        await page.open(f"{site.origin}/page")
        await page.evaluate("document.cookie = 'theme=dark'")
        status, echoed, total, hidden, trace, _ = await page.outcome(fetch(f"{base}/open/echo", PREFLIGHTED))
        assert (status, echoed["method"], echoed["size"], echoed["clerk"]) == (200, "PUT", 100, "ann")
        assert (total, hidden, len(trace)) == ("7", None, 32)
        assert (await page.outcome(fetch(f"{base}/limited/echo", SAFE)))[0] == 200
        assert page.console == []

        for (path, options), expected in PROBLEMS.items():
            told = await page.outcome(fetch(f"{base}{path}", options))
            assert told[0] == told[1]["code"] == expected, path
            assert told[4] == told[1]["trace_id"]
            assert (told[5] is not None) == (expected in (429, 503)), path
        assert "CORS" not in "".join(page.console)
        assert len(page.console) == len(PROBLEMS), page.console  # Chromium tells each failed request, and no more
    assert site.methods("/echo") == ["PUT", "GET"]
    assert site.asked[1][2] == {"cookie": "theme=dark", "origin": site.origin}
    preflights = [line for line in gateway.log() if line["method"] == "OPTIONS"]
    assert {line["status"] for line in preflights} == {204}
    assert "file:guarded.yml" in {line["route"] for line in preflights}  # answered without a token


async def test_a_page_of_another_origin_is_kept_out(start: Start, site: Site, page: Page) -> None:
    """Problems are no more readable than replies, and nothing that changes something reaches the service."""
    async with before(start, site) as gateway:
        await page.open(f"{site.other}/page")
        calls = [("/open/echo", PREFLIGHTED), ("/open/echo", SIMPLE), ("/open/echo", SAFE), *PROBLEMS]
        for path, options in calls:
            blocked = await page.outcome(fetch(f"{base_of(gateway)}{path}", options))
            assert blocked == "TypeError: Failed to fetch", path
        assert "refused" in await page.outcome(listening(base_of(gateway) + "/open/events", 1))
        for number in range(1, BATCH + 1):
            site.seen.put_nowait(number)  # Chromium reads on for a while, for the connection's sake
        assert await page.outcome(talking(base_of(gateway, "ws") + "/open/socket", "")) == [1006, "", False]
        await page.until("true")
        while sum("blocked by CORS policy" in entry for entry in page.console) <= len(calls):
            await page.evaluate("1")
    assert set(site.methods("/")) == {"GET"}
    assert not site.methods("/socket")


# --- events -----------------------------------------------------------------------------------------------------------


def listening(url: str, count: int, options: str = "{}", seen: str = "") -> str:
    """Listen to `count` events, and tell the service of each at `seen`; what came, by their numbers."""
    return (
        f"return await new Promise((done) => {{ const it = new EventSource({url!r}, {options}), got = [];"
        " it.onmessage = async (event) => { got.push(Number(event.data));"
        f" if (got.length === {count}) it.close();"
        f" await fetch({seen!r} + event.data, {{method: 'POST'}});"
        f" if (got.length === {count}) done(got); }};"
        " it.onerror = () => { if (it.readyState === EventSource.CLOSED) done('refused after ' + got); }; });"
    )


async def test_each_event_reaches_the_page_before_the_next_is_sent(start: Start, site: Site, page: Page) -> None:
    """The service waits for the page to say that it has one. When the stream ends, the browser goes on where it was."""
    async with before(start, site) as gateway:
        base, count = base_of(gateway), 3 * BATCH - 1
        await page.open(f"{site.origin}/page")
        script = listening(f"{base}/open/events", count, seen=f"{base}/open/seen?n=")
        assert await page.outcome(script) == list(range(1, count + 1))
        assert page.console == []
    resumed = [held.get("last-event-id") for _, path, held in site.asked if path == "/events"]
    assert resumed == [None, str(BATCH), str(2 * BATCH)]


async def test_events_and_sockets_with_tokens_of_cookies_and_queries(start: Start, site: Site, page: Page) -> None:
    async with before(start, site) as gateway:
        base, seen, token = base_of(gateway), f"{base_of(gateway)}/open/seen?n=", gateway.token()
        stream, socket = f"{base}/guarded/events", f"{base_of(gateway, 'ws')}/guarded/socket"
        await page.open(f"{site.origin}/page")
        assert await page.outcome(listening(stream, 3)) == "refused after "
        assert await page.outcome(talking(socket, "")) == [1006, "", False]
        page.console.clear()

        asked = f"?page=2&access_token={token}"
        assert await page.outcome(listening(stream + asked, 3, seen=seen)) == [1, 2, 3]
        assert await page.outcome(talking(socket + asked, "it.close();")) == [1005, "", True]
        await page.evaluate(f"document.cookie = 'session={token}'")
        await page.evaluate("document.cookie = 'theme=dark'")
        with_cookies = "{withCredentials: true}"
        assert await page.outcome(listening(stream, 3, with_cookies, seen)) == [1, 2, 3]
        assert await page.outcome(talking(socket, "it.close();")) == [1005, "", True]
        assert page.console == []
        assert await page.outcome(listening(stream, 3, "{}", seen)) == "refused after "  # no cookies are sent

    accepted = [each for each in site.asked if each[1].startswith(("/events", "/socket"))]
    assert [path for _, path, _ in accepted] == ["/events?page=2", "/socket?page=2", "/events", "/socket"]
    assert [held.get("cookie") for _, _, held in accepted] == [None, None, "theme=dark", "theme=dark"]
    log = (gateway.home / ".bridge/access.log").read_text()
    assert token not in log + str(site.asked)
    assert log.count('"query":"page=2&access_token=***"') == 2


# --- WebSockets -------------------------------------------------------------------------------------------------------


def talking(url: str, script: str, protocols: str = "[]", more: str = "") -> str:
    """Open a WebSocket and run `script` when it is open; `more` is run for each message. How it was closed."""
    return (
        f"return await new Promise((done) => {{ const it = new WebSocket({url!r}, {protocols}); const got = [];"
        " it.binaryType = 'arraybuffer';"
        f" it.onopen = () => {{ {script} }};"
        f" it.onmessage = (event) => {{ {more} }};"
        " it.onclose = (event) => done([event.code, event.reason, event.wasClean, ...got]); });"
    )


async def test_an_echo_of_text_and_bytes(start: Start, site: Site, page: Page) -> None:
    async with before(start, site) as gateway:
        address = f"{base_of(gateway, 'ws')}/open/socket"
        await page.open(f"{site.origin}/page")
        send = (
            "it.send(''); it.send('größer 🌍'); it.send(new Uint8Array(0)); it.send(new Uint8Array([0, 255, 128]));"
            " it.send(new Blob(['blob'])); it.send('x'.repeat(300000)); it.send('close 4321 that is all');"
        )
        keep = (
            "const it = event.data; got.push(typeof it !== 'string' ? Array.from(new Uint8Array(it))"
            " : it.length < 100 ? it : it.length);"
        )
        told = await page.outcome(talking(address, send, more=keep))
        assert told[:3] == [4321, "that is all", True]
        assert told[3:] == ["", "größer 🌍", [], [0, 255, 128], list(b"blob"), 300_000]
        assert page.console == []


async def test_subprotocols_and_close_codes(start: Start, site: Site, page: Page) -> None:
    async with before(start, site) as gateway:
        address = f"{base_of(gateway, 'ws')}/open/socket"
        await page.open(f"{site.origin}/page")
        name = "got.push(it.protocol);"
        told = await page.outcome(talking(address, f"{name} it.close(3000, 'bye');", "['orders.v1', 'orders.v2']"))
        assert told == [3000, "bye", True, "orders.v1"]
        assert await site.seen.get() == 3000
        assert (await page.outcome(talking(address, f"{name} it.close();")))[3:] == [""]
        assert await site.seen.get() == 0  # so aiohttp calls a close without a code
        assert page.console == []
        # Chromium refuses a handshake without one of the subprotocols that it offered.
        assert (await page.outcome(talking(address, "", "['unknown']")))[:3] == [1006, "", False]
        assert "Sec-WebSocket-Protocol" in "".join(page.console)
        await site.seen.get()
        for code in (1000, 1001, 1008, 1011, 1013, 3999, 4999):
            assert await page.outcome(talking(address, f"it.send('close {code} so it is')")) == [code, "so it is", True]
            await site.seen.get()


@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_an_echo_of_many_messages(start: Start, site: Site, page: Page, count: int) -> None:
    """64 are under way at a time, and come back in their order."""
    async with before(start, site) as gateway:
        await page.open(f"{site.origin}/page")
        send = "window.sent = 0; while (window.sent < 64) it.send('message ' + window.sent++);"
        check = (
            "if (event.data !== 'message ' + got.length) { it.close(4000, event.data); return; } got.push(1);"
            f" if (window.sent < {count}) it.send('message ' + window.sent++);"
            f" if (got.length === {count}) {{ got.length = 0; got.push('all'); it.close(); }}"
        )
        told = await page.outcome(talking(f"{base_of(gateway, 'ws')}/open/socket", send, more=check))
        assert told == [1005, "", True, "all"]
        assert page.console == []
    [line] = [line for line in gateway.log() if line["method"] == "WEBSOCKET"]
    assert (line["messages_up"], line["messages_down"]) == (count, count)


# --- TLS and HTTP/2 ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def secured(start: Start, files: Files, pages: Site) -> AsyncIterator[tuple[Running, Site, str]]:
    """A gateway that serves HTTPS before a service that does; the last is the address of the gateway, without a
    scheme."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files.authority.issue_cert("svc").configure_cert(context)
    spec = route("/open", pages.origin, "https://svc:443", connection={"ca": "secrets/ca.pem"}, security_headers=True)
    secrets = {"secrets/ca.pem": files.authority.cert_pem.bytes().decode()}
    async with asyncio.timeout(90), served(context) as site:
        mesh = {"svc": f"127.0.0.1:{site.port}"}
        settings = {"tls_cert": files.certificate, "tls_key": files.key}
        async with start(mesh=mesh, routes={"open.yml": spec}, files=secrets, **settings) as gateway:
            async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
                yield gateway, site, f"{NAME}:{port}"


UPLOAD = """
const piece = new Uint8Array(65536).fill(120);
let left = 64;
const body = new ReadableStream({pull(it) { left-- > 0 ? it.enqueue(piece) : it.close(); }});
const it = await fetch(URL, {method: 'POST', duplex: 'half', body});
return await it.json();
"""


async def test_all_of_it_over_tls_and_http_2(start: Start, files: Files, site: Site, page: Page) -> None:
    async with secured(start, files, site) as (_, service, address):
        await page.open(f"{site.origin}/page")
        url = f"https://{address}/open"
        status, echoed, *_ = await page.outcome(fetch(f"{url}/echo", PREFLIGHTED))
        assert (status, echoed["size"]) == (200, 100)
        # Chromium sends a body while it is made over HTTP/2 only.
        sent = await page.outcome(UPLOAD.replace("URL", json.dumps(f"{url}/echo")))
        assert sent["sum"] == hashlib.sha256(b"x" * 65536 * 64).hexdigest()
        seen = f"{url}/seen?n="
        assert await page.outcome(listening(f"{url}/events", 12, seen=seen)) == list(range(1, 13))
        socket = f"wss://{address}/open/socket"
        keep = "got.push(event.data); if (got.length === 2) it.send('close 4000 done');"
        send = "it.send('a'); it.send('b'.repeat(5));"
        assert await page.outcome(talking(socket, send, more=keep)) == [4000, "done", True, "a", "bbbbb"]
        assert page.console == []
        # A page of the gateway's own origin is told the versions of HTTP.
        await page.open(f"{url}/page")
        versions = "[performance.getEntriesByType('navigation')[0].nextHopProtocol]"
        assert await page.evaluate(versions) == ["h2"]
    assert len(service.methods("/events")) == 3


async def test_browsers_come_back_over_https_only(start: Start, files: Files, site: Site, page: Page) -> None:
    """Strict-Transport-Security (RFC 6797): once told, Chromium itself turns http into https."""
    async with secured(start, files, site) as (_, service, address):
        await page.open(f"https://{address}/open/page")
        await page.command("Page.navigate", url=f"http://{address}/open/page?again")
        await page.until(f"location.href === 'https://{address}/open/page?again'")
    assert service.methods("/page") == ["GET", "GET"]
