"""The last boundary, on both sides of the house: whatever fails is a problem with a trace id and a line in the log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from bridge.api import Call, HttpReply, HttpRequest, Reply, Trailers
from tests.server.test_wire import END, talk

OPEN = {"route": "/p/{rest*}", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}


async def raw(port: int, head: str, body: bytes = b"", *, leave: bool = False) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        if leave:
            return b""
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


class Codec:
    """A plug-in's, that can't be trusted."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def request(self, call: Call) -> HttpRequest:
        return HttpRequest("GET", "/")

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        if isinstance(self.answer, BaseException):
            raise self.answer
        made: Reply = self.answer
        return made


def broken_by(gateway: Any, answer: Any) -> None:
    """Let the first route's codec answer `answer`."""
    [route] = gateway.app.state.registry.table.routes.values()
    [endpoint] = route.endpoints
    endpoint.codec = codec = Codec(answer)
    endpoint.request = codec.request


@pytest.mark.parametrize(
    "answer",
    [
        KeyError("10.0.0.7 hush"),
        RecursionError("hush"),
        SystemExit("hush"),
        None,
        "hush",
        Reply(200, [("x", 7)], b"hush"),  # type: ignore[list-item]  # what a plug-in may do all the same
        Reply(200, [("naïve€", "hush")], b"hush"),
        Reply(99, [], b"hush"),
        Reply(700, [], b"hush"),
        Reply("200", [], b"hush"),  # type: ignore[arg-type]  # as above
        Reply(200, [], None),  # type: ignore[arg-type]  # as above
    ],
    ids=repr,
)
async def test_what_nobody_foresaw_is_500_without_details(start: Any, upstream: Any, answer: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(OPEN)
        broken_by(gateway, answer)
        got = await gateway.client.get("/p/a")
        body = got.json()
        assert (got.status_code, body["type"]) == (500, "urn:bridge:problem:internal")
        assert got.headers["content-type"] == "application/problem+json"
        assert got.headers["x-trace-id"] == body["trace_id"]
        assert "hush" not in got.text
        assert "Traceback" not in got.text
    assert [line["status"] for line in gateway.log() if line["path"] == "/p/a"] == [500]


async def test_a_value_that_would_split_the_response_is_left_out(gateway: Any) -> None:
    await gateway.register(OPEN)
    broken_by(gateway, Reply(200, [("x-a", "1\r\nset-cookie: b"), ("x-b", "\x01"), ("x-c", "é\t€")], b"ok"))
    got = await gateway.client.get("/p/a")
    assert got.status_code == 200
    assert {"x-a", "x-b", "set-cookie"}.isdisjoint(got.headers)
    assert got.headers["x-c"] == "é\t?"


async def test_a_trailer_that_would_split_the_response_is_left_out(gateway: Any) -> None:
    await gateway.register(OPEN)
    trailers = Trailers((("X-A", "1"), ("x-b", "1\r\nx-c: 2")))
    broken_by(gateway, Reply(200, [], b"ok", trailers))
    answer = await talk(gateway.port, b"GET /p/a HTTP/1.1\r\n" + END)
    assert answer.endswith(b"2\r\nok\r\n0\r\nx-a: 1\r\n\r\n")
    broken_by(gateway, Reply(200, [], b"ok", Trailers((("x a", "1"),))))
    assert (await gateway.client.get("/p/a")).status_code == 500


async def test_a_head_that_the_service_answers_has_the_length_of_its_get(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    head = await gateway.client.head("/p/a")
    assert (head.headers["content-length"], head.content) == (str(len(upstream.body)), b"")
    assert upstream.seen[0].method == "HEAD"
    upstream.headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
    assert "content-length" not in (await gateway.client.head("/p/a")).headers  # a GET's would be decoded
    upstream.headers = [("content-type", "text/xml")]
    assert "content-length" not in (await gateway.client.head("/p/a")).headers  # a GET's would be JSON
    wrong = await gateway.client.head("/nothing")
    assert (wrong.status_code, wrong.content) == (404, b"")
    assert int(wrong.headers["content-length"]) > 0


async def test_a_head_of_a_get_has_the_gets_length(gateway: Any, upstream: Any) -> None:
    await gateway.register({**OPEN, "methods": ["GET"]})
    assert (await gateway.client.head("/p/a")).headers["content-length"] == str(len(upstream.body))


async def test_trace_reaches_no_service(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    got = await gateway.client.request("TRACE", "/p/a")
    assert got.status_code == 405
    assert "TRACE" not in got.headers["allow"]
    assert upstream.seen == []


async def test_the_admin_side_fails_the_same_way(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with start(mesh={}) as gateway:

        def fail() -> Any:
            raise KeyError("hush")

        gateway.app.state.registry.table.routes = type("Broken", (), {"values": lambda self: fail()})()
        got = await gateway.client.get("/-/openapi.json")
        assert (got.status_code, got.json()["type"]) == (500, "urn:bridge:problem:internal")
        assert got.headers["x-trace-id"] == got.json()["trace_id"]
        assert got.headers["content-type"] == "application/problem+json"
        assert "hush" not in got.text
    [line] = gateway.log()
    assert (line["status"], line["trace_id"]) == (500, got.headers["x-trace-id"])
    # Once, with the trace id that finds it.
    assert caplog.text.count("Traceback") == 1
    assert got.headers["x-trace-id"] in caplog.text


@pytest.mark.parametrize("path", ["/-/health/live", "/-/openapi.json", "/-/docs", "/register"])
@pytest.mark.parametrize("host", ["Host: [", "Host: a b", "Host: a\r\nHost: b", "X: y"])
async def test_the_admin_side_checks_the_host(gateway: Any, path: str, host: str) -> None:
    answer = await raw(gateway.port, f"GET {path} HTTP/1.1\r\n{host}")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


async def test_the_admin_side_believes_a_trusted_proxy(start: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "x-forwarded-for": "192.0.2.7"}
    async with start(mesh={}, trusted_proxies="127.0.0.0/8") as gateway:
        assert (await gateway.client.get("/-/health/live", headers=headers)).headers["x-trace-id"] == trace
    assert [line["peer"] for line in gateway.log()] == ["192.0.2.7"]


async def test_a_stranger_is_not_believed_there(gateway: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (await gateway.client.get("/-/health/live", headers={"x-trace-id": trace})).headers["x-trace-id"] != trace


async def test_odd_ids_and_slashes_are_404_and_405_names_all(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    for path in ("/-/routes/%C2%B2", "/-/routes/" + "9" * 30, "/-/routes/", "/-/docs/", "/-/", "/-/routes/%2e%2e"):
        got = await gateway.client.get(path, headers=admin)
        assert (got.status_code, got.headers["content-type"]) == (404, "application/problem+json"), path
    for path, allow in (("/-/routes", "GET, HEAD, POST"), ("/-/routes/1", "DELETE, GET, HEAD, PUT")):
        got = await gateway.client.patch(path, headers=admin)
        assert got.status_code == 405
        assert ", ".join(sorted(got.headers["allow"].split(", "))) == allow


async def test_a_publisher_that_leaves_is_no_failure(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with start(mesh={}) as gateway:
        token = gateway.bearer(roles=("api_publisher",))["authorization"]
        head = f"POST /register HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Length: 99"
        await raw(gateway.port, head, b"{", leave=True)
        async with asyncio.timeout(10):
            while not gateway.log():
                await asyncio.sleep(0.01)
    assert [line["status"] for line in gateway.log()] == [499]
    assert "Traceback" not in caplog.text


async def test_a_large_spec_does_not_hold_up_the_data_path(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    admin = {**gateway.bearer(roles=("api_publisher",)), "content-type": "application/yaml"}
    text = "route: /x\n" + "\n".join(f"k{number}: 1" for number in range(4900))
    slow = asyncio.create_task(gateway.client.post("/-/routes/check", content=text, headers=admin))
    calls = 0
    while not slow.done():
        await gateway.client.get("/p/a")
        calls += 1
    assert len((await slow).json()["problems"]) > 4900
    assert calls > 5


async def test_not_ready_says_when_to_ask_again(gateway: Any) -> None:
    gateway.app.state.ready = False
    got = await gateway.client.get("/-/health/ready")
    assert (got.status_code, got.headers["retry-after"]) == (503, "1")
