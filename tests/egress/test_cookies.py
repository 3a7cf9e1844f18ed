"""`cookies: session`: a service's cookies, kept for each caller and shared between none (docs/upstream_auth.md)."""

from __future__ import annotations

import asyncio
import email.message
import itertools
import json
import logging
import time
import urllib.request
from datetime import UTC, datetime
from email.utils import format_datetime
from http.cookiejar import CookieJar as OtherJar
from http.cookiejar import http2time  # type: ignore[attr-defined]  # it has no annotation
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request
from websockets.http11 import Response as HandshakeResponse

from bridge.admin.credentials import new_key
from bridge.api.call import Call, Identity
from bridge.cli.offline import explanation, judge
from bridge.config.settings import load
from bridge.egress import cookies as module
from bridge.egress.cookies import CallerCookies, CookieJar, InvalidCookie, default_path, read_cookie, read_date
from tests.conftest import Recorded, Running, Start, Upstream
from tests.egress.test_authorized import Tokens
from tests.gateway.websocket_kit import echo, library
from tests.soap_kit import SOAP11, WSDL_DIR

LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
SESSION = "JSESSIONID"


class Sessions:
    """A service that counts each session's calls."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._ids = itertools.count(1)
        self.status = 200
        self.waits: asyncio.Event | None = None

    async def __call__(self, request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        pairs = dict(pair.split("=", 1) for value in request.header("cookie") for pair in value.split("; "))
        session, headers = pairs.get(SESSION, ""), [("content-type", "application/json")]
        if session not in self.counts:
            session = f"secret-{next(self._ids)}-of-the-service"
            self.counts[session] = 0
            headers.append(("set-cookie", f"{SESSION}={session}; Path=/; HttpOnly"))
        if self.waits is not None:
            await self.waits.wait()
        self.counts[session] += 1
        if request.header("soapaction"):
            body = (
                f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><posted xmlns="urn:ledger">'
                f"<entry>{self.counts[session]}</entry></posted></s:Body></s:Envelope>"
            )
            return self.status, [("content-type", "text/xml"), *headers[1:]], body.encode()
        return self.status, headers, b"%d" % self.counts[session]


@pytest.fixture
def sessions(upstream: Upstream) -> Sessions:
    service = Sessions()
    upstream.answer = service
    return service


def route(more: str = "", transform: str = "{request: passthrough}", auth: str = "{type: JWT}") -> str:
    return f"route: /a\nupstream: svc:80\nauth: {auth}\ncookies: session\ntransform: {transform}\n{more}"


def serving(start: Start, upstream: Upstream, **texts: str) -> Any:
    routes = {f"{name}.yml": text for name, text in texts.items()}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    return start(mesh=mesh, routes=routes, files={"wsdl/ledger.wsdl": LEDGER})


async def call(gateway: Running, path: str = "/a", sub: str = "ada", **more: Any) -> str:
    reply = await gateway.client.get(path, headers=gateway.bearer(sub=sub, **more))
    assert reply.status_code == 200, reply.text
    assert "set-cookie" not in reply.headers
    return reply.text


# --- calls -----------------------------------------------------------------------------------------------------------


TRANSFORMS = {
    "json": "{request: passthrough}",
    "bytes": "{request: passthrough, response: passthrough}",
}


@pytest.mark.parametrize("kind", TRANSFORMS)
async def test_each_caller_has_a_session(start: Start, upstream: Upstream, sessions: Sessions, kind: str) -> None:
    async with serving(start, upstream, a=route(transform=TRANSFORMS[kind])) as gateway:
        gateway.client.cookies.set(SESSION, "of-the-client")
        assert [await call(gateway) for _ in range(3)] == ["1", "2", "3"]
        assert [await call(gateway, sub="bob") for _ in range(2)] == ["1", "2"]
        assert await call(gateway, tenant="north") == "1"  # the same subject in a tenant is another caller
        assert await call(gateway) == "4"
        assert not gateway.client.cookies.get(SESSION, domain="127.0.0.1")
    assert len(sessions.counts) == 3
    assert "of-the-client" not in str(upstream.seen)


async def test_a_soap_service_keeps_its_sessions(start: Start, upstream: Upstream, sessions: Sessions) -> None:
    text = (
        "route: /v1/ledger\nupstream: svc:80\nauth: {type: JWT}\ncookies: session\n"
        "transform: {request: soap, soap: {wsdl: ledger.wsdl, operation: post}}\n"
    )
    async with serving(start, upstream, a=text) as gateway:
        entries = []
        for sub in ("ada", "bob", "ada", "ada", "bob"):
            reply = await gateway.client.post(
                "/v1/ledger", json={"account": "a", "cents": 5}, headers=gateway.bearer(sub=sub)
            )
            assert reply.status_code == 200, reply.text
            entries.append(reply.json()["entry"])
    assert entries == [1, 1, 2, 3, 2]


async def test_keys_are_callers(start: Start, upstream: Upstream, sessions: Sessions, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    keys = [(await new_key(load({}, home=tmp_path / "home"), "ada", "", [], [], ""))[0] for _ in range(2)]
    async with serving(start, upstream, a=route(auth="{type: api_key}")) as gateway:
        counts = [
            (await gateway.client.get("/a", headers={"x-api-key": keys[number]})).text for number in (0, 0, 1, 0, 1)
        ]
    assert counts == ["1", "2", "1", "3", "2"]


async def test_routes_share_no_session(start: Start, upstream: Upstream, sessions: Sessions) -> None:
    other = route().replace("/a", "/b")
    async with serving(start, upstream, a=route(), b=other) as gateway:
        assert [await call(gateway, path) for path in ("/a", "/b", "/a", "/b")] == ["1", "1", "2", "2"]


async def test_a_token_without_a_subject_is_nobody(start: Start, upstream: Upstream, sessions: Sessions) -> None:
    async with serving(start, upstream, a=route()) as gateway:
        reply = await gateway.client.get("/a", headers=gateway.bearer(sub=""))
    assert (reply.status_code, reply.json()["detail"]) == (
        403,
        "Your token names no caller (sub), and this route keeps a session for each caller.",
    )
    assert not upstream.seen


async def test_cookies_of_errors_and_redirects_count(start: Start, upstream: Upstream, sessions: Sessions) -> None:
    async with serving(start, upstream, a=route()) as gateway:
        headers = gateway.bearer(sub="ada")
        for sessions.status in (500, 404, 302):
            reply = await gateway.client.get("/a", headers=headers)
            assert "set-cookie" not in reply.headers
        sessions.status = 200
        assert await call(gateway) == "4"
    assert len(sessions.counts) == 1


async def test_calls_at_once(start: Start, upstream: Upstream, sessions: Sessions) -> None:
    async with serving(start, upstream, a=route()) as gateway:
        await call(gateway)
        await asyncio.gather(*(call(gateway) for _ in range(20)), *(call(gateway, sub="bob") for _ in range(5)))
        assert await call(gateway) == "22"
        counts = dict(sessions.counts)
        assert await call(gateway, sub="bob")
    assert len(counts) <= 6  # Bob's first calls were sent before any of their replies came


async def test_the_services_401_may_set_one(
    start: Start, upstream: Upstream, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens()
    monkeypatch.setattr("bridge.egress.credentials.CredentialsBinder.bind", lambda self, spec: tokens)

    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        sessions.status = 200 if request.header("authorization") == ["Bearer t2"] else 401
        return await sessions(request)

    upstream.answer = answer
    async with serving(start, upstream, a=route()) as gateway:
        assert await call(gateway) == "2"
    assert [bool(seen.header("cookie")) for seen in upstream.seen] == [False, True]


async def test_replies_are_not_shared_by_the_cache(start: Start, upstream: Upstream, sessions: Sessions) -> None:
    async with serving(start, upstream, a=route("cache: {ttl: 1h}\n")) as gateway:
        for sub, number in (("ada", "1"), ("ada", "2"), ("bob", "1"), ("ada", "3")):
            reply = await gateway.client.get("/a", headers=gateway.bearer(sub=sub))
            assert (reply.text, reply.headers["x-cache"]) == (number, "MISS")
            assert reply.headers["cache-control"] == "private"
        _, notes, *_ = await judge(gateway.settings, [])
    assert any("cache: has no effect" in note for note in notes)


async def test_a_session_survives_a_reload_and_ends_with_its_service(
    start: Start, upstream: Upstream, sessions: Sessions
) -> None:
    async with serving(start, upstream, a=route()) as gateway:
        assert await call(gateway) == "1"
        file = gateway.home / "routes/a.yml"
        await asyncio.to_thread(file.write_text, route("timeout: 5s\n"))
        await gateway.app.state.reload()
        assert await call(gateway) == "2"
        await asyncio.to_thread(file.write_text, route().replace("svc:80", "svc:81"))
        mesh = json.dumps({"svc": f"127.0.0.1:{upstream.port}"})
        await asyncio.to_thread((gateway.home / "mesh.yml").write_text, mesh)
        await gateway.app.state.reload()
        assert await call(gateway) == "1"


async def test_what_is_not_kept_is_told_without_its_text(start: Start, upstream: Upstream) -> None:
    upstream.headers += [("set-cookie", "hush=hush; Secure"), ("set-cookie", f"long={'hush' * 2000}")]
    async with serving(start, upstream, a=route()) as gateway:
        for _ in range(2):
            await gateway.client.get("/a", headers=gateway.bearer(sub="ada"))
    assert not upstream.seen[1].header("cookie")
    (first, _) = gateway.log()
    assert first["warnings"] == [
        "a cookie of the service is not kept: it is Secure, and upstream does not say https://",
        "a cookie of the service is not kept: it is longer than 4096 bytes",
    ]


async def test_no_cookie_is_seen_anywhere(
    start: Start, upstream: Upstream, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []
    gone = route().replace("/a", "/gone").replace("svc", "gone")
    async with serving(start, upstream, a=route(), gone=gone) as gateway:
        for sessions.status in (200, 302, 404, 500, 200):
            for path in ("/a", "/gone"):
                reply = await gateway.client.get(path, headers=gateway.bearer(sub="ada"))
                seen += [reply.text, str(reply.headers)]
        admin = gateway.bearer(roles=("api_publisher", "api_admin"), sub="p")
        for path in ("routes", "metrics", "openapi.json", "docs", "console", "health/ready"):
            reply = await gateway.client.get(f"/-/{path}", headers=admin)
            seen += [reply.text, str(reply.headers)]
        shown = await explanation(gateway.settings, "/a", b"", "", [("cookie", "mine=1"), ("x-b", "c")])
        document = (await gateway.client.get("/-/openapi.json", headers=admin)).json()
    assert shown.splitlines() == [
        "GET /a  (to svc:80 by http; callers need a bearer token (JWT))",
        "x-b: c",
        "cookie: ***",
    ]
    assert "secret-1-of-the-service" in str(upstream.seen)
    operation = document["paths"]["/a"]["get"]
    assert "keeps a session for each caller" in operation["description"]
    assert operation["x-bridge"]["cookies"] == "session"
    seen += [shown, json.dumps(document)]
    seen += [path.read_bytes().decode("latin-1") for path in (gateway.home / ".bridge").rglob("*") if path.is_file()]
    seen += [record.getMessage() + str(record.exc_text or "") for record in caplog.records]
    for text in seen:
        assert "of-the-service" not in text
        assert SESSION not in text


async def test_the_handshake_of_a_websocket(start: Start) -> None:
    seen = []

    def set_cookie(_: ServerConnection, request: Request, response: HandshakeResponse) -> HandshakeResponse:
        seen.append(request.headers.get("Cookie"))
        response.headers["Set-Cookie"] = "chat=of-ada; Path=/"
        return response

    spec = route(transform="{request: passthrough, passthrough: {websocket: true}}")
    async with library(echo, process_response=set_cookie) as port:
        async with start(mesh={"svc": f"127.0.0.1:{port}"}, routes={"a.yml": spec}) as gateway:
            for _ in range(2):
                headers = {**gateway.bearer(sub="ada"), "cookie": "mine=1"}
                async with connect(f"ws://127.0.0.1:{gateway.port}/a", additional_headers=headers) as client:
                    assert client.response is not None
                    assert "set-cookie" not in client.response.headers
                    await client.send("hello")
                    assert await client.recv() == "hello"
    assert seen == [None, "chat=of-ada"]


# --- specs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (route().replace("session", "sessions"), "cookies: 'sessions' is not one of session; did you mean"),
        (route(auth="none"), "cookies: with auth none all callers would share one session"),
        (route(auth="{any: [{type: JWT}, {type: none}]}"), "cookies: with auth none all callers would share"),
        (route("headers: {request: {set: {cookie: {$header: x-a}}}}\n"), "headers.request: cookies: session sends"),
        (
            route("upstream_auth: {type: api_key, header: Cookie, value: {$env: BRIDGE_SECRET_A}}\n"),
            "upstream_auth.header: cookies: session sends this header already",
        ),
        (
            route(transform="{request: grpc, grpc: {protos: [a.proto], service: a.S}}"),
            "cookies: a gRPC call has no cookies",
        ),
    ],
)
async def test_faults(start: Start, monkeypatch: pytest.MonkeyPatch, text: str, fault: str) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_A", "a")
    proto = 'syntax = "proto3"; package a; message M {} service S { rpc Do(M) returns (M); }'
    async with start(mesh={}, routes={}, files={"protos/a.proto": proto}) as gateway:
        await asyncio.to_thread((gateway.home / "routes/a.yml").write_text, text)
        faults, *_ = await judge(gateway.settings, [])
    assert any(fault in str(each) for each in faults), faults
    assert all(each.line for each in faults)


# --- RFC 6265, section 5 ---------------------------------------------------------------------------------------------


NOW = 1_000_000_000.0  # 9 September 2001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", ("a", "b", inf, "", False)),
        ("  a \t= b c ; secure", ("a", "b c", inf, "", True)),
        ('a="b"', ("a", '"b"', inf, "", False)),
        ("a=b=c; Path=/x; pAtH=/y", ("a", "b=c", inf, "/y", False)),
        ("a=; Path=x", ("a", "", inf, "", False)),
        ("a=b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", ("a", "b", NOW + 60, "", False)),
        ("a=b; Max-Age=0", ("a", "b", -inf, "", False)),
        ("a=b; Max-Age=-1", ("a", "b", -inf, "", False)),
        ("a=b; Max-Age=1x", ("a", "b", inf, "", False)),
        (f"a=b; Max-Age={'9' * 4000}", ("a", "b", NOW + 999_999_999_999, "", False)),
        ("a=b; Expires=Sun, 09-Sep-01 01:46:45 GMT", ("a", "b", NOW + 5, "", False)),
        ("a=b; Expires=nonsense; Domain=elsewhere.example; HttpOnly; SameSite=Lax", ("a", "b", inf, "", False)),
    ],
)
def test_set_cookie(text: str, expected: tuple[Any, ...]) -> None:
    assert tuple(read_cookie(text, NOW)) == expected


@pytest.mark.parametrize("text", ["", "a", "=b", ";a=b", "a=b\0", "a=b\x7f", "a=b; Path=/\n", f"a={'b' * 4096}"])
def test_what_is_no_cookie(text: str) -> None:
    with pytest.raises(InvalidCookie) as error:
        read_cookie(text, NOW)
    assert "bbb" not in str(error.value)


def test_a_cookie_of_4096_bytes() -> None:
    assert len(read_cookie(f"a={'b' * 4095}; Path=/{'c' * 4000}", NOW).value) == 4095


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Wed, 09 Jun 2021 10:18:14 GMT", datetime(2021, 6, 9, 10, 18, 14, tzinfo=UTC)),
        ("10:18:14 9 june 21 and more", datetime(2021, 6, 9, 10, 18, 14, tzinfo=UTC)),
        ("Mon Aug  7 1:02:03 1995", datetime(1995, 8, 7, 1, 2, 3, tzinfo=UTC)),
        ("1 Jan 70 00:00:00", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1 Jan 69 00:00:00", datetime(2069, 1, 1, tzinfo=UTC)),
        ("30 Feb 2021 10:18:14", None),
        ("9 Jun 2021 24:18:14", None),
        ("9 Jun 1600 10:18:14", None),
        ("9 Jun 2021", None),
        ("tomorrow", None),
    ],
)
def test_dates(text: str, moment: datetime | None) -> None:
    assert read_date(text) == (moment.timestamp() if moment else None)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2068, 12, 31)))
def test_dates_are_read_as_the_library_reads_them(moment: datetime) -> None:
    text = format_datetime(moment.replace(microsecond=0, tzinfo=UTC), usegmt=True)
    assert read_date(text) == http2time(text)


class Response:
    """What `http.cookiejar` reads cookies from."""

    def __init__(self, values: list[str]) -> None:
        self._message = email.message.Message()
        for value in values:
            self._message["Set-Cookie"] = value

    def info(self) -> email.message.Message:
        return self._message


PATHS = st.lists(st.sampled_from(["a", "ab", "b", ""]), max_size=3).map(lambda parts: "/" + "/".join(parts))
YEAR = [
    format_datetime(datetime(2001, 9, 9, tzinfo=UTC), usegmt=True),
    format_datetime(datetime.fromtimestamp(int(time.time()) + 864_000, UTC), usegmt=True),
]
ATTRIBUTES = st.one_of(
    PATHS.map(lambda path: f"; Path={path}"),
    st.sampled_from(["; Max-Age=0", "; Max-Age=9000", "; HttpOnly", *(f"; Expires={date}" for date in YEAR)]),
)
SET = st.tuples(
    st.sampled_from(["x", "y", "z"]),
    st.text("abc123", max_size=3),
    st.lists(ATTRIBUTES, max_size=2, unique_by=lambda text: text[2:5]),
).map(lambda parts: f"{parts[0]}={parts[1]}{''.join(parts[2])}")


@given(st.lists(st.tuples(PATHS, st.lists(SET, max_size=3)), max_size=6), st.lists(PATHS, min_size=1, max_size=4))
def test_a_jar_sends_what_the_librarys_sends(replies: list[tuple[str, list[str]]], paths: list[str]) -> None:
    ours, other, now = CookieJar(), OtherJar(), time.time()
    for path, values in replies:
        for value in values:
            ours.store(read_cookie(value, now), path, now)
            other.extract_cookies(Response([value]), urllib.request.Request(f"http://svc.example{path}"))  # type: ignore[arg-type]  # it calls info() only
    for path in paths:
        asking = urllib.request.Request(f"http://svc.example{path}")
        other.add_cookie_header(asking)
        sent = ours.header(path, now).split("; ")
        assert sorted(sent) == sorted((asking.get_header("Cookie") or "").split("; "))


def test_long_paths_first_then_the_older() -> None:
    jar = CookieJar()
    for value in ("a=1; Path=/", "b=1; Path=/x/y", "c=1; Path=/x", "d=1; Path=/", "a=2; Path=/"):
        jar.store(read_cookie(value, NOW), "/", NOW)
    assert jar.header("/x/y/z", NOW) == "b=1; c=1; a=2; d=1"
    assert jar.header("/x/yz", NOW) == "c=1; a=2; d=1"
    assert jar.header("/", NOW) == "a=2; d=1"


@pytest.mark.parametrize(
    ("path", "default"), [("/", "/"), ("/a", "/"), ("/a/", "/a"), ("/a/b", "/a"), ("", "/"), ("*", "/")]
)
def test_default_paths(path: str, default: str) -> None:
    assert default_path(path) == default


def test_a_cookie_ends_with_its_time() -> None:
    jar = CookieJar()
    jar.store(read_cookie("a=1; Max-Age=10", NOW), "/", NOW)
    assert jar.header("/", NOW + 9) == "a=1"
    assert (jar.header("/", NOW + 10), jar.size) == ("", 0)
    jar.store(read_cookie("a=1", NOW), "/", NOW)
    jar.store(read_cookie("a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", NOW), "/", NOW)
    assert (jar.header("/", NOW), jar.size) == ("", 0)


# --- bounds ----------------------------------------------------------------------------------------------------------


def by(sub: str, tenant: str = "") -> Call:
    return Call(identity=Identity(sub, tenant=tenant, key=f"sub:https://issuer.example|{sub}"))


def test_a_caller_has_50_cookies_and_loses_those_that_were_sent_least_recently() -> None:
    cookies = CallerCookies(secure=False)
    cookies.take(by("ada"), "/", ["first=1; Path=/first", *(f"c{number}=1" for number in range(49))])
    assert len(cookies.header(by("ada"), "/").split("; ")) == 49
    cookies.take(by("ada"), "/", ["last=1"])
    sent = cookies.header(by("ada"), "/first").split("; ")
    assert len(sent) == module.MAX_COOKIES == 50
    assert "first=1" not in sent
    assert "last=1" in sent


def test_callers_and_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CALLERS", 3)
    cookies = CallerCookies(secure=False)
    for sub in ("a", "b", "c"):
        cookies.take(by(sub), "/", [f"s={sub}"])
    assert cookies.header(by("a"), "/") == "s=a"  # the least recent one is now that of b
    cookies.take(by("d"), "/", ["s=d"])
    assert [cookies.header(by(sub), "/") for sub in "abcd"] == ["s=a", "", "s=c", "s=d"]
    monkeypatch.setattr(module, "MAX_BYTES", 1700)
    cookies.take(by("d"), "/", [f"t={'x' * 1000}"])
    assert (len(cookies), cookies.header(by("d"), "/")) == (1, f"s=d; t={'x' * 1000}")
    cookies.take(by("d"), "/", ["s=; Max-Age=0", "t=; Max-Age=0"])
    assert (len(cookies), cookies.size) == (0, 0)


def test_idle_callers_lose_theirs() -> None:
    now = NOW
    cookies = CallerCookies(secure=False, clock=lambda: now)
    for sub in ("a", "b", "c"):
        cookies.take(by(sub), "/", [f"s={sub}"])
    now += module.IDLE - 1
    assert cookies.header(by("b"), "/") == "s=b"
    now += 1
    assert cookies.header(by("b"), "/") == "s=b"
    assert (len(cookies), cookies.header(by("a"), "/")) == (1, "")


def test_callers_are_told_apart() -> None:
    cookies = CallerCookies(secure=True)
    cookies.take(by("ada"), "/", ["s=1; Secure"])
    assert cookies.header(by("ada"), "/") == "s=1"
    assert cookies.header(by("ada", "north"), "/") == ""
    other = Call(identity=Identity("ada", key="sub:https://other.example|ada"))
    assert cookies.header(other, "/") == ""


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.lists(SET, max_size=4), st.floats(0, 5000), st.booleans()), max_size=30
    )
)
def test_what_is_counted_is_what_is_there(events: list[tuple[str, list[str], float, bool]]) -> None:
    now = NOW
    cookies = CallerCookies(secure=False, clock=lambda: now)
    for sub, values, pause, asks in events:
        now += pause
        if asks:
            cookies.header(by(sub), "/a/b")
        cookies.take(by(sub), "/a/b", values)
        jars = cookies._jars.values()
        assert cookies.size == sum(jar.size for jar in jars)
        assert all(jar.size for jar in jars)
