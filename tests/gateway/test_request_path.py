"""One request: what it may bring, what goes on, what the log keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

SPEC = {
    "route": "/p/{rest*}",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "tenant": "revenue",
    "transform": {"request": "passthrough"},
}


async def raw(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    answer = b""
    async with asyncio.timeout(10):
        while b"\r\n\r\n" not in answer and (chunk := await reader.read(65536)):
            answer += chunk
    writer.close()
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "/p/../admin",
        "/p/%2e%2e/admin",
        "/p/.%2E/x",
        "/p/a%2f..%2fb",
        "/p/..%5cx",
        "/p/.",
        "/p/..",
        "/p/..;/x",
        "/p/a\\..\\b",
    ],
)
async def test_a_path_that_climbs_is_refused(gateway: Any, upstream: Any, path: str) -> None:
    await gateway.register(SPEC)
    answer = await raw(gateway.port, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert upstream.seen == []


@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: u@h\r\n"])
async def test_one_valid_host_or_400(gateway: Any, hosts: str) -> None:
    await gateway.register(SPEC)
    answer = await raw(gateway.port, f"GET /p/a HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
    assert b" 400 " in answer.partition(b"\r\n")[0]


async def test_hop_by_hop_and_forged_fields_stay_here(gateway: Any, upstream: Any) -> None:
    await gateway.register(SPEC)
    headers = {
        "connection": "x-mine, keep-alive",
        "x-mine": "1",
        "te": "trailers",
        "x-forwarded-for": "6.6.6.6",
        "x-trace-id": "f" * 32,
        "traceparent": f"00-{'e' * 32}-{'d' * 16}-01",
        "x-kept": "yes",
    }
    answer = await gateway.client.get("/p/a", headers=headers)
    seen = upstream.seen[0]
    for name in ("x-mine", "te", "x-forwarded-for"):
        assert seen.header(name) == [], name
    assert seen.header("x-kept") == ["yes"]
    assert seen.header("x-trace-id") == [answer.headers["x-trace-id"]] != ["f" * 32]


async def test_a_trusted_proxys_trace_goes_on(start: Any, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, trusted_proxies="127.0.0.0/8") as gateway:
        await gateway.register(SPEC)
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        got = await gateway.client.get("/p/a", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        assert got.headers["x-trace-id"] == trace
        bad = await gateway.client.get("/p/a", headers={"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"})
        assert bad.headers["x-trace-id"] != "0" * 32


async def test_the_log_says_who_called_what(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register({**SPEC, "auth": {"type": "JWT"}})
        url = "/p/a?county=7&access_token=hush"
        answer = await gateway.client.post(url, content=b"12345", headers=gateway.bearer(sub="rae", tenant="press"))
        trace = answer.headers["x-trace-id"]
        await gateway.client.get("/p/b")
    lines = gateway.log()
    line = next(entry for entry in lines if entry["trace_id"] == trace)
    told = {"route": "1", "tenant": "press", "subject": "rae", "upstream": "svc:80", "method": "POST", "path": "/p/a"}
    assert told.items() <= line.items()
    assert (line["status"], line["upstream_status"], line["bytes_in"], line["bytes_out"]) == (200, 200, 5, 11)
    assert 0 < line["ms_upstream"] < line["ms_total"]
    assert line["ms_translation"] >= 0
    assert line["query"] == "county=7&access_token=***"
    assert "hush" not in (gateway.home / ".bridge/access.log").read_text()
    assert [entry["status"] for entry in lines if entry["path"] == "/p/b"] == [401]
    assert [(entry["subject"], entry["status"]) for entry in lines if entry["path"] == "/register"] == [
        ("publisher", 201)
    ]


async def test_ignored_parameters_are_neither_sent_nor_logged(start: Any, upstream: Any) -> None:
    transform = {"request": "passthrough", "passthrough": {"ignore_query": ["google", "trace id"]}}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register({**SPEC, "transform": transform})
        for query in ("a=%20&key=hush&b=+&trace+id=1", "key=hush", "%24alt=json&a=1&&b", "keys=1"):
            await gateway.client.get(f"/p/a?{query}")
    assert [seen.target for seen in upstream.seen] == ["/p/a?a=%20&b=+", "/p/a", "/p/a?a=1&&b", "/p/a?keys=1"]
    assert [line.get("query", "") for line in gateway.log()[-4:]] == ["a=%20&b=+", "", "a=1&&b", "keys=1"]


async def test_bodies_are_bounded(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, max_body="1k") as gateway:
        await gateway.register(SPEC)
        assert (await gateway.client.post("/p/a", content=b"x" * 1024)).status_code == 200
        assert (await gateway.client.post("/p/a", content=b"x" * 1025)).status_code == 413

        async def chunks() -> Any:
            for _ in range(5):
                yield b"x" * 300

        assert (await gateway.client.post("/p/a", content=chunks())).status_code == 413
        assert len(upstream.seen) == 1


async def test_a_dead_upstream_is_503_and_a_slow_one_504(start: Any, upstream: Any) -> None:
    release = asyncio.Event()

    async def slow(request: Any) -> Any:
        await release.wait()
        return 200, [], b""

    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}", "dead": "127.0.0.1:1"}) as gateway:
        await gateway.register({**SPEC, "upstream": "dead:80", "route": "/dead"})
        await gateway.register({**SPEC, "upstream": "nobody:80", "route": "/nobody"})
        await gateway.register(SPEC)
        await gateway.register({**SPEC, "route": "/slow/{name}", "timeout": "200ms"})
        for path in ("/dead", "/nobody"):
            answer = await gateway.client.get(path)
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            assert "127.0.0.1" not in answer.text
        upstream.answer = slow
        answer = await gateway.client.get("/slow/a")
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:bridge:problem:upstream-timeout"
        release.set()
        upstream.answer = None
        assert (await gateway.client.get("/p/a", headers={"x-request-timeout": "5"})).status_code == 200
        assert (await gateway.client.get("/p/a", headers={"x-request-timeout": "later"})).status_code == 400


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("X-Request-Timeout", ("later", "-1s", "5 parsecs"), ("15", "12.5", "9500ms")),
        ("grpc-timeout", ("5", "5s", "123456789S", "-1S"), ("20S", "99999999u")),
        ("Connect-Timeout-Ms", ("5s", "1.5", "12345678901"), ("20000", "1234567890")),
    ],
)
async def test_a_timeout_that_can_not_be_read_is_named(
    gateway: Any, name: str, wrong: tuple[str, ...], right: tuple[str, ...]
) -> None:
    """Beside others that can be read."""
    fine = {"X-Request-Timeout": "20s", "grpc-timeout": "20S", "Connect-Timeout-Ms": "20000"}
    await gateway.register(SPEC)
    for value in wrong:
        answer = await gateway.client.get("/p/a", headers={**fine, name: value})
        assert answer.status_code == 400, value
        assert answer.json()["detail"].startswith(f"{name} is written ")
    for value in right:
        assert (await gateway.client.get("/p/a", headers={**fine, name: value})).status_code == 200, value


async def test_tenants_by_host_and_versions_side_by_side(gateway: Any, upstream: Any) -> None:
    for spec in (
        {**SPEC, "route": "/v1/a"},
        {**SPEC, "route": "/v2/a"},
        {**SPEC, "route": "/v1/a", "host": "health.example", "upstream": "svc:80/health", "tenant": "health"},
    ):
        assert (await gateway.register(spec)).status_code == 201
    for path, host, target in (
        ("/v1/a", "x", "/v1/a"),
        ("/v2/a", "x", "/v2/a"),
        ("/v1/a", "Health.Example:80", "/health"),
    ):
        await gateway.client.get(path, headers={"host": host})
        assert upstream.seen[-1].target == target


async def test_a_cached_answer_is_one_call_upstream_and_nobody_elses(gateway: Any, upstream: Any) -> None:
    await gateway.register({**SPEC, "cache": {"ttl": "1m"}})
    get = gateway.client.get
    assert [(await get("/p/a")).headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert len(upstream.seen) == 1
    for cookie in ("me", "you"):
        assert (await get("/p/a", headers={"cookie": f"session={cookie}"})).headers["x-cache"] == "MISS"
    await gateway.client.post("/p/a")
    assert len(upstream.seen) == 4


async def test_who_has_the_cached_answer_gets_304(gateway: Any, upstream: Any) -> None:
    await gateway.register({**SPEC, "cache": {"ttl": "1m"}})
    get = gateway.client.get
    whole = await get("/p/a", headers={"if-none-match": '"old"'})
    assert (whole.status_code, whole.content, whole.headers["x-cache"]) == (200, upstream.body, "MISS")
    assert upstream.seen[0].header("if-none-match") == []  # its 304 could not be stored
    etag = whole.headers["etag"]
    for tags in (etag, f'"x", W/{etag}', "*"):
        answer = await get("/p/a", headers={"if-none-match": tags})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert answer.headers["x-cache"] == "HIT"
        assert "content-type" not in answer.headers
    for tags in ('"x"', "no tags", etag.strip('"')):
        answer = await get("/p/a", headers={"if-none-match": tags})
        assert (answer.status_code, answer.content) == (200, upstream.body)
    assert len(upstream.seen) == 1


async def test_the_services_own_validators_count(gateway: Any, upstream: Any) -> None:
    upstream.headers += [("etag", 'W/"v1"'), ("last-modified", "Mon, 30 Nov 2026 10:00:00 GMT")]
    await gateway.register({**SPEC, "cache": {"ttl": "1m"}})
    for fields, status in (
        ({}, 200),
        ({"if-none-match": '"v1"'}, 304),
        ({"if-modified-since": "Mon, 30 Nov 2026 10:00:00 GMT"}, 304),
        ({"if-modified-since": "Mon, 30 Nov 2026 09:59:59 GMT"}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-none-match": '"v2"', "if-modified-since": "Mon, 30 Nov 2026 10:00:00 GMT"}, 200),
    ):
        answer = await gateway.client.get("/p/a", headers=fields)
        assert (answer.status_code, answer.headers["etag"]) == (status, 'W/"v1"'), fields


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if-match": '"v1"'}, 200),
        ({"if-match": '"v0", "v1"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"v2"'}, 412),
        ({"if-match": 'W/"v1"'}, 412),  # compared strongly
        ({"if-match": "v1"}, 200),  # malformed
        ({"if-unmodified-since": "Mon, 30 Nov 2026 10:00:00 GMT"}, 200),
        ({"if-unmodified-since": "Mon, 30 Nov 2026 09:59:59 GMT"}, 412),
        ({"if-unmodified-since": "yesterday"}, 200),
        ({"if-match": '"v1"', "if-unmodified-since": "Mon, 30 Nov 2026 09:59:59 GMT"}, 200),
        ({"if-match": '"v1"', "if-none-match": '"v1"'}, 304),
        ({"if-match": '"v2"', "if-none-match": '"v1"'}, 412),
    ],
)
async def test_who_asks_a_cached_route_for_another_version_gets_412(
    gateway: Any, upstream: Any, fields: dict[str, str], status: int
) -> None:
    upstream.headers += [("etag", '"v1"'), ("last-modified", "Mon, 30 Nov 2026 10:00:00 GMT")]
    await gateway.register({**SPEC, "cache": {"ttl": "1m"}})
    for _ in range(2):  # neither a fresh reply nor a stored one is judged by the service
        answer = await gateway.client.get("/p/a", headers=fields)
        assert (answer.status_code, answer.headers["etag"]) == (status, '"v1"')
        if status == 412:
            assert answer.json()["type"] == "urn:bridge:problem:precondition-failed"
    [seen] = upstream.seen
    assert fields.keys().isdisjoint(name for name, _ in seen.headers)


async def test_what_has_no_validator_is_not_judged(gateway: Any, upstream: Any) -> None:
    upstream.status = 404
    await gateway.register({**SPEC, "methods": ["GET", "HEAD"], "cache": {"ttl": "1m"}})
    condition = {"if-match": '"a"', "if-unmodified-since": "Mon, 30 Nov 2026 09:59:59 GMT"}
    assert (await gateway.client.get("/p/a", headers=condition)).status_code == 404
    upstream.status = 200
    assert (await gateway.client.head("/p/a", headers=condition)).status_code == 200


async def test_a_304_keeps_what_the_service_says_to_the_client(gateway: Any, upstream: Any) -> None:
    """Scripts that send If-None-Match themselves can't read a 304 without the fields of CORS."""
    about = {"content-language": "en", "accept-ranges": "bytes"}
    kept = {"access-control-allow-origin": "*", "set-cookie": "a=1", "vary": "accept-language", "x-own": "b"}
    upstream.headers += [*about.items(), *kept.items()]
    await gateway.register({**SPEC, "cache": {"ttl": "1m"}})
    answer = await gateway.client.get("/p/a", headers={"if-none-match": "*"})
    assert answer.status_code == 304
    assert {name: answer.headers.get(name) for name in kept} == kept
    assert about.keys().isdisjoint(answer.headers)


async def test_head_has_the_fields_of_a_cached_get(gateway: Any, upstream: Any) -> None:
    await gateway.register({**SPEC, "cache": {"ttl": "1m"}})
    etag = (await gateway.client.get("/p/a")).headers["etag"]
    head = await gateway.client.head("/p/a")
    assert (head.status_code, head.content, head.headers["x-cache"], head.headers["etag"]) == (200, b"", "HIT", etag)
    assert head.headers["content-length"] == str(len(upstream.body))
    assert (await gateway.client.head("/p/a", headers={"if-none-match": etag})).status_code == 304
    assert (await gateway.client.get("/p/a")).content == upstream.body
    assert [seen.method for seen in upstream.seen] == ["GET"]


async def test_head_published_beside_get_is_answered_from_the_cache(gateway: Any, upstream: Any) -> None:
    await gateway.register({**SPEC, "methods": ["HEAD", "GET"], "cache": {"ttl": "1m"}})
    for method in ("HEAD", "HEAD", "GET", "HEAD", "GET"):
        answer = await gateway.client.request(method, "/p/a")
        assert answer.headers["content-length"] == str(len(upstream.body))
    assert [seen.method for seen in upstream.seen] == ["HEAD", "GET"]
    assert (await gateway.client.head("/p/a")).headers["etag"] == answer.headers["etag"]  # GET's, not the first HEAD's
    assert (await gateway.client.head("/p/a", headers={"if-none-match": answer.headers["etag"]})).status_code == 304


async def test_what_is_no_plain_answer_is_no_304(gateway: Any, upstream: Any) -> None:
    upstream.status = 404
    await gateway.register({**SPEC, "cache": {"ttl": "1m"}})
    answer = await gateway.client.get("/p/a", headers={"if-none-match": "*"})
    assert (answer.status_code, "etag" in answer.headers) == (404, False)


@pytest.mark.parametrize("target", ["/p/a", "/p/a?", "/p/a?x", "/p/a??"])
@pytest.mark.parametrize("path", ["", "/old/{rest}"])
async def test_a_query_goes_up_as_it_came_even_an_empty_one(start: Any, target: str, path: str) -> None:
    """RFC 3986, section 6.2.3: ``/a`` and ``/a?`` are two addresses."""
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()

    service = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = service.sockets[0].getsockname()[1]
    async with service, start(mesh={"svc": f"127.0.0.1:{port}"}) as gateway:
        await gateway.register({**SPEC, "upstream": f"svc:80{path}"})
        for form in (target, f"http://x{target}"):
            await raw(gateway.port, f"GET {form} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    expected = target.replace("/p/", "/old/") if path else target
    assert lines == [f"GET {expected} HTTP/1.1".encode()] * 2


async def test_a_redirect_stays_among_the_routes_paths(gateway: Any, upstream: Any) -> None:
    upstream.status, upstream.headers = 301, [("location", f"http://127.0.0.1:{upstream.port}/old/there/?a=1")]
    await gateway.register({**SPEC, "upstream": "svc:80/old/{rest}"})
    answer = await gateway.client.get("/p/there")
    assert (answer.status_code, answer.headers["location"]) == (301, "/p/there/?a=1")


async def test_a_limit_outlives_a_change_of_its_route(gateway: Any) -> None:
    spec = {**SPEC, "rate_limit": {"rps": 1}}
    made = await gateway.register(spec)
    assert (await gateway.client.get("/p/a")).status_code == 200
    admin = gateway.bearer(roles=("api_publisher",))
    changed = await gateway.client.put(made.headers["location"], json={**spec, "timeout": "9s"}, headers=admin)
    assert changed.status_code == 200
    assert (await gateway.client.get("/p/a")).status_code == 429


async def test_redirects_of_an_upstream_are_not_followed(gateway: Any, upstream: Any) -> None:
    await gateway.register(SPEC)
    upstream.status, upstream.headers = 302, [("location", "http://169.254.169.254/")]
    answer = await gateway.client.get("/p/a")
    assert len(upstream.seen) == 1
    assert answer.status_code in (302, 502)


async def test_metrics_and_openapi(gateway: Any) -> None:
    await gateway.register(SPEC)
    await gateway.client.get("/p/a")
    document = (await gateway.client.get("/-/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "svc" not in str(document["paths"])
    async with asyncio.timeout(5):
        while (
            'bridge_requests_total{method="GET",route="1",status="200"} 1.0'
            not in (await gateway.client.get("/-/metrics")).text
        ):
            await asyncio.sleep(0.01)
