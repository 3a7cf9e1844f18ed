"""What stands in messages, of the client's and of the service's, that could break a form or hold everybody up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import Any

import pytest

from bridge.api import Call, InvalidBody
from tests.fronts.test_ends import dialled, get

EVENTS = {"accept": "text/event-stream"}
BY_TEXT = ", events: {Echo: {id: text}, Count: {id: n, resume: text}}"


@pytest.mark.parametrize(
    "evil", ["1\ndata: forged", "1\rdata: forged", "1\r\n\r\nevent: error", "\0", "1\n\n"], ids=range(5)
)
async def test_an_events_id_is_one_line(stage: Any, evil: str) -> None:
    async with stage(options=BY_TEXT) as made:
        answer = await made.client.post(
            "/flow/rooms/blue/echo", json=[{"text": "good"}, {"text": evil}], headers=EVENTS
        )
    retry, first, second, end, rest = answer.content.split(b"\n\n")
    assert (retry, end, rest) == (b"retry: 3000", b"event: end\ndata: {}", b"")
    assert first.startswith(b"id: good\ndata: ")
    assert second.startswith(b"data: ")
    assert b"\r" not in second + first
    assert json.loads(second[6:])["text"] == evil


async def test_an_events_id_may_be_of_any_script(stage: Any) -> None:
    async with stage(options=BY_TEXT) as made:
        answer = await made.client.get("/flow/count/1", headers={**EVENTS, "last-event-id": "Zürich".encode()})
        wrong = await made.client.get("/flow/count/1", headers={**EVENTS, "last-event-id": b"Z\xfcrich"})
    assert json.loads(answer.text.split("data: ")[1].split("\n")[0])["text"] == "Zürich"
    assert wrong.status_code == 400


@pytest.mark.parametrize("text", ["a\nb", "\r\n\r\n", "\u2028\u2029", "\0", '"}\n{"'], ids=range(5))
@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "application/json"])
async def test_texts_stay_within_their_message(stage: Any, accept: str, text: str) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/rooms/blue/echo", json=[{"text": text}], headers={"accept": accept})
    found = [line for line in answer.content.replace(b"data: ", b"").strip(b"[]\n").split(b"\n") if b'"room"' in line]
    assert [json.loads(line)["text"] for line in found] == [text]


SURROGATE = rb'{"\ud800": 1}'


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/flow/sum", "application/x-ndjson", SURROGATE),
        ("/flow/rooms/blue/echo", "application/x-ndjson", b'{"n":1}\n' + SURROGATE),
        ("/flow/rooms/blue/echo", "application/x-ndjson", rb'{"text":"\ud800"}'),
        ("/flow/flow.Flow/Once", "application/grpc-web+json", struct.pack(">BI", 0, len(SURROGATE)) + SURROGATE),
        ("/flow/flow.Flow/Count", "application/grpc-web+json", struct.pack(">BI", 0, len(SURROGATE)) + SURROGATE),
        ("/flow/flow.Flow/Echo", "application/connect+json", struct.pack(">BI", 0, len(SURROGATE)) + SURROGATE),
        ("/flow/flow.Flow/Echo", "application/grpc-web+proto", struct.pack(">BI", 0, 2) + b"\xff\xff"),
        ("/flow/flow.Flow/Echo", "application/grpc-web-text", b"%%%%"),
        ("/flow/flow.Flow/Echo", "application/grpc-web", b"\xff" * 10),
        ("/flow/flow.Flow/Once", "application/json", SURROGATE),
    ],
    ids=range(10),
)
async def test_what_cannot_be_read_is_refused_in_the_clients_own_words(
    stage: Any, path: str, content_type: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"content-type": content_type, "connect-protocol-version": "1"}
    async with stage() as made:
        answer = await made.client.post(path, content=body, headers=headers)
    assert answer.status_code < 500
    assert (
        b"rror" in answer.content
        or "grpc-status" in answer.headers
        or b"grpc-status" in answer.content
        or b"AA" in answer.content
    )
    assert len(made.gateway.log()) == 1
    assert [record.getMessage() for record in caplog.records if record.name == "bridge"] == []


async def test_messages_are_made_one_by_one(stage: Any) -> None:
    """A few kilobytes may hold a hundred thousand messages: others are served between."""
    async with stage() as made:
        endpoint, params = made.gateway.app.gateway.table.match("a", "/flow/sum", "POST")
        exchange = endpoint.codec.open(Call("POST", "/flow/sum", raw_params=params))
        messages = iter(exchange.feed(b'{"n":1}\n{"n":"x"}\n'))
        assert next(messages) == b"\x08\x01"
        with pytest.raises(InvalidBody):
            next(messages)


async def test_endless_nothing_is_dropped(stage: Any) -> None:
    """White space between messages, in chunks of one byte or of many, is nobody's message and is not kept."""
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(30):
        writer.write(get("/flow/sum", "Transfer-Encoding: chunked", method="POST"))
        for _ in range(200):
            writer.write(b"10000\r\n%s\r\n" % (b"\n" * 0x10000))
            await writer.drain()
        writer.write(b"1\r\n \r\n" * 2000 + b'7\r\n{"n":4}\r\n0\r\n\r\n')
        assert b'"sum":"4"' in await reader.readuntil(b"}")


@pytest.mark.parametrize(
    "begin", [b'{"text":"', b"[", b"[" * 60, b'{"text":', b"1", b"{}" + b" " * 100 + b'"'], ids=range(6)
)
async def test_an_endless_message_is_refused(stage: Any, begin: bytes) -> None:
    async with stage(max_body=100_000) as made, dialled(made) as (reader, writer), asyncio.timeout(20):
        writer.write(get("/flow/sum", "Transfer-Encoding: chunked", method="POST"))
        writer.write(b"%x\r\n%s\r\n" % (len(begin), begin))
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                writer.write(b"10000\r\n%s\r\n" % (b"1" * 0x10000))
                await writer.drain()
        assert (await reader.readuntil(b"\r\n")).split()[1] in (b"413", b"400")


async def test_a_hundred_thousand_messages_in_few_bytes(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.post("/flow/sum", content=b"{}" * 20_000)
    assert answer.json() == {"count": 20_000}


async def test_more_requests_than_wait_on_a_connection(stage: Any) -> None:
    """Their answers are owed and given, and then it is over."""
    async with stage() as made, dialled(made) as (reader, writer), asyncio.timeout(20):
        writer.write(get("/nowhere") * 5000)
        told = await reader.read(-1)
    assert 1 < told.count(b"HTTP/1.1 404") <= 110
    assert b"HTTP/1.1 400" not in told
