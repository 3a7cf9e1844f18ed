"""Ids of server-sent events: what the service's messages say, as a browser keeps it and says it again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.test_down import EVENTS, NDJSON, events_of

OPTIONS = ", events: {Echo: {id: text, resume: text}}"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
async def test_an_id_can_not_forge_what_follows_it(stage: Any, end: str) -> None:
    params = {"text": f"7{end}data: forged"}
    async with stage(options=OPTIONS) as made:
        answer = await made.client.get("/flow/rooms/a", params=params, headers={"accept": EVENTS})
        lines = await made.client.get("/flow/rooms/a", params=params, headers={"accept": NDJSON})
    assert (answer.status_code, answer.json()["type"]) == (502, "urn:bridge:problem:bad-reply")
    assert (lines.status_code, lines.json()) == (200, {"room": "a", **params})  # ids are the events' alone


async def test_a_message_without_the_field_leaves_the_last_id(stage: Any) -> None:
    """An empty id would make a browser forget the last one (HTML, section 9.2.6)."""
    async with stage(options=OPTIONS) as made:
        answer = await made.client.get("/flow/rooms/a?n=1", headers={"accept": EVENTS})
    assert events_of(answer.text)[1] == {"data": '{"n":1,"room":"a"}'}


async def test_ids_are_utf_8_both_ways(stage: Any) -> None:
    """A browser says the last id as UTF-8 (HTML, section 9.2.3), whatever else header fields hold."""
    async with stage(options=OPTIONS) as made:
        headers = [(b"accept", EVENTS.encode()), (b"last-event-id", "Köln–東京".encode())]
        answer = await made.client.get("/flow/rooms/a", headers=headers)
    assert events_of(answer.text)[1] == {"id": "Köln–東京", "data": '{"text":"Köln–東京","room":"a"}'}
