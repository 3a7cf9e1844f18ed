"""Streams of the service's: every form, every way to end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

NDJSON, EVENTS, ARRAY = "application/x-ndjson", "text/event-stream", "application/json"


def events_of(text: str) -> list[dict[str, str]]:
    """Server-sent events as a browser reads them (HTML, section 9.2.6), comments left out."""
    events = []
    for block in text.split("\n\n"):
        event: dict[str, str] = {}
        for line in block.split("\n"):
            name, colon, value = line.partition(":")
            if name and colon:
                event[name] = event.get(name, "") + value.removeprefix(" ")
        if event:
            events.append(event)
    return events


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", NDJSON),
        ("", NDJSON),
        ("application/*", NDJSON),
        ("application/x-ndjson", NDJSON),
        ("application/jsonl", NDJSON),
        ("text/event-stream", EVENTS),
        ("application/json", ARRAY),
        ("application/json, text/plain, */*", ARRAY),  # what axios says
        ("application/json;q=0.5, text/event-stream;q=0.8", EVENTS),
        ("application/json;q=0, */*;q=0.1", NDJSON),
        ("APPLICATION/JSON", ARRAY),
    ],
)
async def test_accept_chooses_the_form(stage: Any, accept: str, media_type: str) -> None:
    async with stage() as made:
        answer = await made.client.get("/flow/count/2", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.headers["x-trace-id"]) == 32


async def test_each_form_holds_every_message(stage: Any) -> None:
    ticks = [{"n": 1}, {"n": 2}, {"n": 3}]
    async with stage() as made:
        lines = await made.client.get("/flow/count/3", headers={"accept": NDJSON})
        events = await made.client.get("/flow/count/3", headers={"accept": EVENTS})
        array = await made.client.get("/flow/count/3", headers={"accept": ARRAY})
        posted = await made.client.post("/flow/flow.Flow/Follow", json={"upto": 3})
    assert [json.loads(line) for line in lines.text.splitlines()] == ticks
    assert array.json() == ticks
    assert [json.loads(line) for line in posted.text.splitlines()] == ticks
    told = events_of(events.text)
    assert told[0] == {"retry": "3000"}
    assert [(event["id"], json.loads(event["data"])) for event in told[1:4]] == [
        ("1", ticks[0]), ("2", ticks[1]), ("3", ticks[2]),
    ]  # fmt: skip
    assert told[4:] == [{"event": "end", "data": "{}"}]


async def test_a_stream_of_nothing(stage: Any) -> None:
    async with stage() as made:
        answers = {a: await made.client.get("/flow/count/0", headers={"accept": a}) for a in (NDJSON, EVENTS, ARRAY)}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers[NDJSON].content == b""
    assert answers[ARRAY].content == b"[]"
    assert events_of(answers[EVENTS].text)[1:] == [{"event": "end", "data": "{}"}]


async def test_what_nobody_speaks_is_406(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.get("/flow/count/2", headers={"accept": "image/png, application/json;q=0"})
    assert answer.status_code == 406
    assert answer.json()["type"] == "urn:bridge:problem:not-acceptable"
    assert made.flow.calls == []


@pytest.mark.parametrize("accept", [NDJSON, EVENTS, ARRAY])
async def test_a_refusal_at_once_is_a_status(stage: Any, accept: str) -> None:
    async with stage() as made:
        answer = await made.client.get("/flow/count/3?fail_at_once=true", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json")
    assert answer.json()["grpc"]["details"][0]["reason"] == "ENOUGH"


async def test_an_error_midway_is_visible_in_each_form(stage: Any) -> None:
    path = "/flow/count/5?fail_after=2"
    async with stage() as made:
        lines = await made.client.get(path, headers={"accept": NDJSON})
        events = await made.client.get(path, headers={"accept": EVENTS})
        array = await made.client.get(path, headers={"accept": ARRAY})
    told = [json.loads(lines.text.splitlines()[-1])["error"], array.json()[-1]["error"]]
    last = events_of(events.text)[-1]
    assert last["event"] == "error"
    told.append(json.loads(last["data"]))
    for problem in told:
        assert problem["type"] == "urn:bridge:problem:upstream-fault"
        assert problem["status"] == 429
        assert problem["grpc"]["status"] == "RESOURCE_EXHAUSTED"
        assert problem["grpc"]["details"][0]["reason"] == "ENOUGH"
    assert [problem["trace_id"] for problem in told] == [a.headers["x-trace-id"] for a in (lines, array, events)]
    assert len(lines.text.splitlines()) == len(array.json()) == 3
    log = made.gateway.log()
    assert [line["upstream_status"] for line in log] == [8, 8, 8]
    assert [line["messages_down"] for line in log] == [2, 2, 2]
    assert all(line["cause"] for line in log)


async def test_an_unknown_parameter_is_refused_before_anything_is_sent(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.get("/flow/count/3?nothing=1")
        wrong = await made.client.post("/flow/follow", json={"upto": "many"})
    assert (answer.status_code, wrong.status_code) == (400, 400)
    assert wrong.json()["errors"][0]["pointer"] == "/upto"
    assert made.flow.calls == []


async def test_events_go_on_where_they_were(stage: Any) -> None:
    options = ", events: {Count: {id: n, resume: since, retry: 10s}}"
    async with stage(options=options) as made:
        headers = {"accept": EVENTS, "last-event-id": "3"}
        told = events_of((await made.client.get("/flow/count/5", headers=headers)).text)
        wrong = await made.client.get("/flow/count/5", headers={**headers, "last-event-id": "x"})
    assert told[0] == {"retry": "10000"}
    assert [(event["id"], json.loads(event["data"])["n"]) for event in told[1:-1]] == [("4", 4), ("5", 5)]
    assert wrong.status_code == 400


async def test_a_message_without_an_id_leaves_the_last_one(stage: Any) -> None:
    """An empty id would make a browser forget it (HTML, section 9.2.6)."""
    async with stage(options=", events: {Echo: {id: text}}") as made:
        answer = await made.client.post(
            "/flow/rooms/a/echo", json=[{"text": "a"}, {"n": 1}], headers={"accept": EVENTS}
        )
        lines = await made.client.post("/flow/rooms/a/echo", json=[{"text": "a"}, {"n": 1}])
    told = [{"text": "a", "room": "a"}, {"n": 1, "room": "a"}]
    assert [(event.get("id"), json.loads(event["data"])) for event in events_of(answer.text)[1:3]] == [
        ("a", told[0]), (None, told[1]),
    ]  # fmt: skip
    assert [json.loads(line) for line in lines.text.splitlines()] == told


@pytest.mark.parametrize(("accept", "beat"), [(NDJSON, b"\n"), (EVENTS, b": \n\n"), (ARRAY, b"\n")])
async def test_silence_is_filled_with_heartbeats(stage: Any, accept: str, beat: bytes) -> None:
    keys = "stream: {heartbeat: 20ms}"
    async with stage(keys) as made:
        url = "/flow/count/5?hang_after=1"
        async with made.client.stream("GET", url, headers={"accept": accept}) as answer:
            read = b""
            async for chunk in answer.aiter_raw():
                read += chunk
                if read.endswith(beat * 3):
                    break
        await asyncio.wait_for(made.flow.cancelled.wait(), 5)
    assert b'{"n":1}' in read


async def test_a_silent_stream_is_opened_all_the_same(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.gateway.streaming.HEAD_AFTER", 0.02)
    async with stage() as made:
        made.flow.hold.clear()
        async with made.client.stream("GET", "/flow/count/5?hang_after=0", headers={"accept": EVENTS}) as answer:
            assert answer.status_code == 200


# In these three the first message must come before the limit does, on a busy machine, too: so a call before them has
# connected and compiled what there is, and the limits are long.


async def test_the_idle_limit_ends_it_visibly(stage: Any) -> None:
    async with stage("stream: {idle: 1500ms}") as made:
        await made.client.get("/flow/count/1")
        answer = await made.client.get("/flow/count/5?hang_after=1", headers={"accept": ARRAY})
        await asyncio.wait_for(made.flow.cancelled.wait(), 5)
    assert answer.json()[0] == {"n": 1}
    assert answer.json()[1]["error"]["type"] == "urn:bridge:problem:upstream-timeout"


@pytest.mark.parametrize("header", ["x-request-timeout: 1500ms", "grpc-timeout: 1500m", "connect-timeout-ms: 1500"])
async def test_the_clients_deadline_bounds_the_whole(stage: Any, header: str) -> None:
    name, value = header.split(": ")
    async with stage() as made:
        await made.client.get("/flow/count/1")
        answer = await made.client.get("/flow/count/5?hang_after=1", headers={"accept": ARRAY, name: value})
    assert answer.json()[0] == {"n": 1}
    assert answer.json()[1]["error"]["type"] == "urn:bridge:problem:upstream-timeout"


async def test_the_routes_own_bound(stage: Any) -> None:
    async with stage("timeout: 300ms\nstream: {timeout: 1500ms}") as made:
        await made.client.get("/flow/count/1")
        answer = await made.client.get("/flow/count/5?hang_after=1", headers={"accept": ARRAY})
    assert answer.json()[1]["error"]["status"] == 504


async def test_raw_bodies_are_streamed_as_they_are(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.get("/flow/files/4")
        with pytest.raises(httpx.RemoteProtocolError):  # no words for it, so the response is broken off
            await made.client.get("/flow/files/4?fail_after=2")
    assert (answer.content, answer.headers["content-type"]) == (b"0;1;2;3;", "text/csv")


async def test_a_client_that_leaves_cancels_the_call(stage: Any) -> None:
    async with stage() as made:
        async with made.client.stream("GET", "/flow/count/5?hang_after=2") as answer:
            async for line in answer.aiter_lines():
                if json.loads(line)["n"] == 2:
                    break
        await asyncio.wait_for(made.flow.cancelled.wait(), 5)
    assert made.gateway.log()[0]["status"] == 499


async def test_a_slow_reader_slows_the_service(stage: Any) -> None:
    """A hundred megabytes are asked for, and the client reads none: what the service can write is bounded."""
    async with stage() as made:
        async with made.client.stream("GET", "/flow/count/100000?size=1000") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            before = -1
            while made.flow.sent != before:  # until it stands still
                before = made.flow.sent
                await asyncio.sleep(0.3)
            assert before < 20_000
            for _ in range(5000):
                await anext(lines)


async def test_the_head_alone_is_answered_to_head(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.head("/flow/count/3")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_stream_goes_on_while_routes_change(stage: Any) -> None:
    async with stage() as made:
        async with made.client.stream("GET", "/flow/count/10000?size=20000") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            (made.gateway.home / "routes/flow.yml").unlink()
            await made.gateway.app.state.registry.reload()
            assert (await made.client.get("/flow/count/3")).status_code == 404
            for _ in range(2000):  # far more than any buffer between holds
                await anext(lines)


async def test_the_services_end_is_told_as_unavailable(stage: Any) -> None:
    async with stage() as made:
        await made.flow.server.stop(None)
        answer = await made.client.get("/flow/count/3")
    assert answer.status_code == 503
