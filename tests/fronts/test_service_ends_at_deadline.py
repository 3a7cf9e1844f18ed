"""A service that resets the call a moment before the gateway's own timer fires: a timeout in every client protocol."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived
from websockets.asyncio.client import connect

from tests.fronts.conftest import SPEC
from tests.grpc_flow import PROTO

EARLY = 0.003  #: seconds before the deadline that it was told
WITHIN = {"X-Request-Timeout": "60ms"}
ENVELOPE = struct.pack(">BI", 0, 0)
HEAD = [(":status", "200"), ("content-type", "application/grpc")]


class Resetting(asyncio.Protocol):
    """Resets each call with CANCEL, `EARLY` seconds before its ``grpc-timeout`` ends.

    :cvar head: it sends the first header section before.
    """

    head = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                fields = dict(event.headers or ())
                timeout = fields[b"grpc-timeout"]
                assert timeout.endswith(b"u")
                if self.head:
                    self.h2.send_headers(event.stream_id or 0, HEAD)
                seconds = int(timeout[:-1]) / 1e6 - EARLY
                asyncio.get_running_loop().call_later(seconds, self.reset, event.stream_id)
        self.transport.write(self.h2.data_to_send())

    def reset(self, number: int) -> None:
        self.h2.reset_stream(number, ErrorCodes.CANCEL)
        self.transport.write(self.h2.data_to_send())


class ResettingLater(Resetting):
    head = True


@pytest.fixture(params=[Resetting, ResettingLater])
async def gateway(request: Any, start: Any) -> AsyncIterator[Any]:
    server = await asyncio.get_running_loop().create_server(request.param, "127.0.0.1", 0)
    mesh = {"flow-svc": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    async with start(mesh=mesh, routes={"flow.yml": SPEC % ("", "")}, files={"protos/flow.proto": PROTO}) as running:
        yield running
    server.close()


def last_problem(text: str) -> dict[str, Any]:
    """The problem of a stream that failed before or after its head was sent."""
    value = json.loads(text.strip().splitlines()[-1].removeprefix("data: "))
    value = value[-1] if isinstance(value, list) else value
    problem: dict[str, Any] = value.get("error", value)
    return problem


async def test_a_call_that_the_service_resets_at_its_deadline_is_a_timeout_for_every_client(gateway: Any) -> None:
    client = gateway.client
    unary, stream = "/flow/flow.Flow/Once", "/flow/flow.Flow/Count"
    plain = await client.post(unary, json={}, headers=WITHIN)
    assert (plain.status_code, plain.json()["type"]) == (504, "urn:bridge:problem:upstream-timeout")
    for accept in ("application/x-ndjson", "text/event-stream", "application/json"):
        answer = await client.get("/flow/count/5", headers={**WITHIN, "Accept": accept})
        assert last_problem(answer.text)["type"] == "urn:bridge:problem:upstream-timeout", accept
    async with connect(f"ws://127.0.0.1:{gateway.port}/flow/rooms/a", additional_headers=WITHIN) as socket:
        assert last_problem(str(await socket.recv()))["status"] == 504
        await socket.wait_closed()
        assert socket.close_code == 1011
    for path in (unary, stream):
        web = {"content-type": "application/grpc-web+proto", "grpc-timeout": "60m"}
        told = await client.post(path, content=ENVELOPE, headers=web)
        status = told.headers.get("grpc-status") or told.content.partition(b"grpc-status:")[2].strip()[:2].decode()
        assert status.strip() == "4", (path, told.headers, told.content)
    connect_unary = await client.post(
        unary, content=b"", headers={"content-type": "application/proto", "connect-timeout-ms": "60"}
    )
    assert (connect_unary.status_code, connect_unary.json()["code"]) == (504, "deadline_exceeded")
    streaming = {"content-type": "application/connect+proto", "connect-timeout-ms": "60"}
    connect_stream = await client.post(stream, content=ENVELOPE, headers=streaming)
    assert b"deadline_exceeded" in connect_stream.content
