"""WebSockets: bidirectional calls, and client and server streams by them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def told(socket: ClientConnection) -> tuple[list[Any], int]:
    """All messages up to the close, and its code."""
    messages = [json.loads(frame) async for frame in _frames(socket)]
    assert socket.close_code is not None
    return messages, socket.close_code


async def _frames(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    while True:
        try:
            yield await socket.recv()
        except ConnectionClosed:
            return


async def test_both_ways(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/rooms/blue/echo") as socket:
            for n in (1, 2):
                await socket.send(json.dumps({"n": n}))
                assert json.loads(await socket.recv()) == {"n": n, "room": "blue"}
            await socket.send("")  # nothing more to say
            assert await told(socket) == ([], 1000)
    [line] = made.gateway.log()
    assert (line["status"], line["messages_up"], line["messages_down"]) == (101, 2, 2)
    assert line["method"] == "WEBSOCKET"


@pytest.mark.parametrize("path", ["/flow/rooms/blue", "/flow/flow.Flow/Echo"])
async def test_frames_hold_messages_whatever_the_rules_body(stage: Any, path: str) -> None:
    async with stage() as made:
        async with connect(made.ws + path) as socket:
            await socket.send(b'{"n": 5}')
            assert json.loads(await socket.recv())["n"] == 5


async def test_a_server_stream_without_a_body_begins_at_once(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/count/3") as socket:
            assert await told(socket) == ([{"n": 1}, {"n": 2}, {"n": 3}], 1000)


async def test_a_server_streams_request_is_the_first_frame(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/follow") as socket:
            await socket.send('{"upto": 2}')
            assert await told(socket) == ([{"n": 1}, {"n": 2}], 1000)
        async with connect(f"{made.ws}/flow/follow") as socket:
            await socket.send("")
            assert await told(socket) == ([], 1000)


async def test_a_client_stream_is_answered_after_its_end(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/sum") as socket:
            for n in (1, 2, 3):
                await socket.send(json.dumps({"n": n}))
            await socket.send("")
            assert await told(socket) == ([{"sum": "6", "count": 3}], 1000)


async def test_an_error_is_the_last_frame(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/rooms/blue/echo") as socket:
            await socket.send('{"n": 1}')
            await socket.send('{"n": 13}')
            messages, code = await told(socket)
        async with connect(f"{made.ws}/flow/rooms/blue/echo") as socket:
            await socket.send('{"n": 1}')
            await socket.send('{"n": "x"}')
            wrong, wrong_code = await told(socket)
    assert (messages[0]["n"], messages[1]["error"]["grpc"]["code"], code) == (1, 8, 1011)
    assert (wrong[-1]["error"]["errors"][0]["pointer"], wrong_code) == ("/1/n", 1011)


async def test_a_second_request_of_a_server_stream_is_not_read(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/follow") as socket:
            await socket.send('{"upto": 1}')
            await socket.send('{"upto": 5}')
            assert await told(socket) == ([{"n": 1}], 1000)


async def test_a_client_that_leaves_cancels_the_call(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/count/5?hang_after=1") as socket:
            await socket.recv()
        await asyncio.wait_for(made.flow.cancelled.wait(), 5)


JWT = """
route: /flow
upstream: flow-svc:50051
auth: {type: JWT, audience: FLOW}
%s
rate_limit: {rps: 1, burst: 2}
transform:
  request: grpc
  grpc: {protos: [flow.proto]%s}
"""


async def test_the_guards_stand_before_the_handshake(stage: Any) -> None:
    async with stage(spec=JWT) as made:
        token = made.gateway.token(audience="FLOW", sub="reporter")
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{made.ws}/flow/count/1").__aenter__()
        header = {"authorization": f"Bearer {token}"}
        async with connect(f"{made.ws}/flow/count/1", additional_headers=header) as socket:
            assert (await told(socket))[0] == [{"n": 1}]
            assert socket.response is not None
            assert socket.response.headers["ratelimit"]
        # A browser has no other way to bring its token.
        async with connect(f"{made.ws}/flow/count/1", subprotocols=["bearer", token]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "bearer"
            assert (await told(socket))[0] == [{"n": 1}]
        with pytest.raises(InvalidStatus) as limited:
            await connect(f"{made.ws}/flow/count/1", additional_headers=header).__aenter__()
    problem = json.loads(refused.value.response.body or b"")
    assert (refused.value.response.status_code, problem["type"]) == (401, "urn:bridge:problem:unauthorized")
    assert limited.value.response.status_code == 429
    assert [line["status"] for line in made.gateway.log()] == [401, 101, 101, 429]
    assert token not in (made.gateway.home / ".bridge/access.log").read_text()


@pytest.mark.parametrize(("path", "status"), [("/flow/flow.Flow/Once", 405), ("/nowhere", 404), ("/flow/count/x", 400)])
async def test_where_no_websocket_is(stage: Any, path: str, status: int) -> None:
    async with stage() as made:
        with pytest.raises(InvalidStatus) as refused:
            await connect(made.ws + path).__aenter__()
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body or b"")["status"] == status


async def test_the_allowed_methods_name_no_websocket(stage: Any) -> None:
    async with stage() as made:
        answer = await made.client.delete("/flow/count/3")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_a_frame_may_be_as_long_as_a_body(stage: Any) -> None:
    async with stage() as made:
        async with connect(f"{made.ws}/flow/flow.Flow/Echo", max_size=None) as socket:
            await socket.send(json.dumps({"text": "x" * 3_000_000}))
            assert len(json.loads(await socket.recv())["text"]) == 3_000_000


async def test_a_post_only_route_has_none(stage: Any) -> None:
    async with stage("methods: [POST]") as made:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{made.ws}/flow/sum").__aenter__()
    assert refused.value.response.status_code == 405
