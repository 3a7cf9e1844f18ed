"""Streams of the client's: how they are written, judged and answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

TICKS = [{"n": 1}, {"n": 2}, {"n": 3}]
FORM = "application/x-www-form-urlencoded"
LINES = b'{"n":1}\n{"n":2}\n\n{"n":3}'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-ndjson", LINES),
        ("application/ndjson", LINES + b"\n"),
        ("application/json", json.dumps(TICKS).encode()),
        ("application/json", json.dumps(TICKS, indent=2).encode()),
        ("application/json", b'{"n": 1}{"n": 2}\n{\n"n": 3}'),
        ("", LINES),
    ],
)
async def test_a_client_stream_is_lines_or_an_array(stage: Any, content_type: str, body: bytes) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/sum", content=body, headers={"content-type": content_type})
        same = await made.client.post("/flow/flow.Flow/Sum", content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()) == (200, {"sum": "6", "count": 3})
    assert same.json() == answer.json()


@pytest.mark.parametrize("body", [LINES, b" \n" + json.dumps(TICKS).encode()])
async def test_what_curl_declares_for_want_of_another_is_read(stage: Any, body: bytes) -> None:
    """``curl -d`` says that all is a form; what begins as JSON is read as such, and the log says so."""
    async with stage() as made:
        answer = await made.client.post("/flow/sum", content=body, headers={"content-type": FORM})
    assert (answer.status_code, answer.json()) == (200, {"sum": "6", "count": 3})
    assert made.gateway.log()[0]["warnings"] == ["the body was read as JSON, though declared as a form"]


async def test_a_strict_route_refuses_a_stream_declared_as_a_form(stage: Any) -> None:
    async with stage(options=", strict: true") as made:
        answer = await made.client.post("/flow/sum", content=LINES, headers={"content-type": FORM})
        same = await made.client.post("/flow/sum", content=LINES, headers={"content-type": "application/x-ndjson"})
    assert (answer.status_code, same.status_code) == (415, 200)
    assert "Declare it as application/json" in answer.json()["detail"]


@pytest.mark.parametrize("content_type", [FORM, "text/plain"])
async def test_forms_are_no_streams(stage: Any, content_type: str) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/sum", content=b"n=1", headers={"content-type": content_type})
    assert (answer.status_code, answer.headers["accept"]) == (415, "application/json, application/x-ndjson")


@pytest.mark.parametrize(("body", "count"), [(b"", 0), (b"[]", 0), (b" [ ] ", 0), (b'{"n": 6}', 1), (b"\n\n", 0)])
async def test_streams_of_none_and_one(stage: Any, body: bytes, count: int) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/sum", content=body)
    assert answer.json().get("count", 0) == count


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"n":1}\n{"n":"x"}', "/1/n"),
        (b'[{"n":1},{"n":2},{"m":3}]', "/2/m"),
        (b'[{"n":1},]', "/1"),
        (b'[{"n":1}', "/0"),
        (b'[{"n":1}, {"n":', "/1"),
        (b'{"n":1} {', "/1"),
        (b'[{"n":1}] 2', "/1"),
        (b"}", "/0"),
        (b'{"n":1}\nnonsense', "/1"),
    ],
)
async def test_a_wrong_message_is_named_by_its_number(stage: Any, body: bytes, pointer: str) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/sum", content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_other_media_types_are_415(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/sum", content=b"<n/>", headers={"content-type": "text/xml"})
    assert answer.status_code == 415


async def test_a_refusal_midway_is_a_status(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/sum", json=[{"n": 1}, {"n": 13}, {"n": 2}])
    assert answer.status_code == 429
    assert answer.json()["grpc"]["details"][0]["reason"] == "ENOUGH"


async def test_both_ways_over_one_request(stage: Any) -> None:
    """What the service says comes down while the client still sends."""
    async with stage() as made, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", made.gateway.port)
        writer.write(b"POST /flow/rooms/blue/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in (1, 2):
            writer.write(b'8\r\n{"n":%d}\n\r\n' % n)
            assert json.loads((await reader.readuntil(b"}\n")).rpartition(b"\r\n")[2]) == {"n": n, "room": "blue"}
        writer.write(b"0\r\n\r\n")
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
        writer.close()


async def test_without_a_body_in_the_rule_there_is_one_message(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.get("/flow/rooms/blue?n=7")
    assert json.loads(answer.text) == {"n": 7, "room": "blue"}


async def test_raw_bytes_go_up_in_pieces(stage: Any) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 40_000

    async with stage() as made:
        headers = {"content-type": "text/csv"}
        answer = await made.client.post("/flow/files/counts.csv", content=body(), headers=headers)
    told = answer.json()
    assert told["bytes"] == "2000000"
    assert told["count"] > 1
    assert (told["names"][:2], told["types"][:2]) == (["counts.csv", ""], ["text/csv", ""])


async def test_a_stream_may_be_longer_than_a_body_may(stage: Any) -> None:
    line = json.dumps({"n": 1, "text": "x" * 500}).encode() + b"\n"
    async with stage(max_body=10_000) as made:
        answer = await made.client.post("/flow/sum", content=line * 100)
        one = await made.client.post("/flow/sum", content=json.dumps({"text": "x" * 100_000}).encode())
    assert answer.json()["count"] == 100
    assert one.status_code == 413


async def test_a_slow_service_slows_the_client(stage: Any) -> None:
    """The service reads nothing: what the gateway takes in is bounded."""
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        line = json.dumps({"n": 1, "text": "x" * 10_000}).encode() + b"\n"
        for _ in range(5000):
            yield line
            taken += len(line)

    async with stage() as made:
        made.flow.hold.clear()
        call = asyncio.create_task(made.client.post("/flow/sum", content=body()))
        before = -1
        while taken != before:
            before = taken
            await asyncio.sleep(0.5)
        assert before < 25_000_000
        made.flow.hold.set()
        assert (await call).json()["count"] == 5000


async def test_a_client_that_leaves_midway_cancels_the_call(stage: Any) -> None:
    async with stage() as made:
        made.flow.hold.clear()  # a stream of requests just ends when its client gives up; a handler at work is told
        _, writer = await asyncio.open_connection("127.0.0.1", made.gateway.port)
        writer.write(b'POST /flow/sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"n": 1}\r\n')
        async with asyncio.timeout(5):
            while not made.flow.calls:
                await asyncio.sleep(0.01)
        writer.close()
        await asyncio.wait_for(made.flow.cancelled.wait(), 5)


async def test_explain_shows_each_message(stage: Any) -> None:
    from bridge.cli.offline import explanation

    async with stage() as made:
        up = await explanation(made.gateway.settings, "POST /flow/rooms/blue/echo", b'[{"n": 1}, {"n": 2}]', "")
        down = await explanation(made.gateway.settings, "POST /flow/flow.Flow/Follow", b'{"upto": 5}', "")
    assert up.startswith("/flow.Flow/Echo  (to flow-svc:50051 by grpc)")
    assert [line.strip() for line in up.splitlines() if line.startswith("  n:")] == ["n: 1", "n: 2"]
    assert up.count('room: "blue"') == 2
    assert "upto: 5" in down
    assert made.flow.calls == []
