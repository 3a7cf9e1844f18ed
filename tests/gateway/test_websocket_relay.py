"""WebSockets of an HTTP service through ``passthrough: {websocket: true}``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response
from websockets.typing import Origin, Subprotocol

from bridge.transport.http1 import client
from bridge.websocket import connection
from tests.gateway.websocket_kit import (
    HANDSHAKE,
    SPEC,
    acceptance,
    accepting,
    by_hand,
    close,
    dialled,
    echo,
    frame,
    library,
    read_close,
    read_frame,
    read_request,
)

Front = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


@pytest.fixture
def front(start: Any) -> Front:
    """``async with front(port, "stream: {idle: 1s}", **settings) as gateway``: keys of the route."""

    @contextlib.asynccontextmanager
    async def fronted(*ports: int, keys: str = "", upstream: str = "svc:80", **settings: Any) -> AsyncIterator[Any]:
        mesh = {"svc": [f"127.0.0.1:{port}" for port in ports]}
        routes = {"chat.yml": SPEC.format(keys=keys, upstream=upstream)}
        async with asyncio.timeout(60), start(mesh=mesh, routes=routes, **settings) as gateway:
            yield gateway

    return fronted


def url(gateway: Any, path: str = "/chat/blue") -> str:
    return f"ws://127.0.0.1:{gateway.port}{path}"


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_messages_pass_both_ways_and_are_counted(front: Front) -> None:
    async with library(echo) as port, front(port) as gateway:
        async with connect(url(gateway)) as client:
            for message in ("", "text, ü", b"", b"\x00\xff", "x" * 70_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["in ", "", "three"])
            assert await client.recv() == "in three"
    [line] = gateway.log()
    assert (line["method"], line["status"], line["upstream_status"], line["close_code"]) == (
        "WEBSOCKET",
        101,
        101,
        1000,
    )
    assert (line["messages_up"], line["messages_down"]) == (6, 6)
    assert line["bytes_in"] == line["bytes_out"] == len("text, ü".encode()) + 2 + 70_000 + 8
    assert "cause" not in line


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_an_echo_of_many_messages(front: Front, count: int) -> None:
    async with library(echo) as port, front(port) as gateway, connect(url(gateway)) as client, asyncio.timeout(600):

        async def received() -> list[str | bytes]:
            return [await client.recv() for _ in range(count)]

        answers = asyncio.create_task(received())
        for number in range(count):
            await client.send(f"message {number}")
        assert await answers == [f"message {number}" for number in range(count)]


async def test_fragments_are_passed_on_as_they_come(front: Front) -> None:
    """A message that takes long is not held back; one character may be divided."""
    seen: asyncio.Queue[tuple[int, bool, bytes]] = asyncio.Queue()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (received := await read_frame(reader))[0] != 8:  # the close
            seen.put_nowait(received)

    async with by_hand(accepting(service)) as port, front(port) as gateway:
        async with dialled(gateway.port) as (_, writer):
            for sent, expected in (
                (frame(1, b"a\xc3", fin=False), (1, False, b"a\xc3")),
                (frame(0, b"\xbcb", fin=False), (0, False, b"\xbcb")),
                (frame(9, b"between"), None),  # answered by the gateway
                (frame(0, b"c"), (0, True, b"c")),
            ):
                writer.write(sent)
                if expected:
                    assert await seen.get() == expected


async def test_pings_are_answered_by_the_gateway_on_both_sides(front: Front) -> None:
    asked = asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(9, b"service", masked=False))
        assert await read_frame(reader) == (10, True, b"service")
        asked.set()
        assert (await read_frame(reader))[0] == 2  # the client's ping was not among what it got

    async with by_hand(accepting(service)) as port, front(port) as gateway:
        async with dialled(gateway.port) as (reader, writer):
            writer.write(frame(9, b"client"))
            assert await read_frame(reader) == (10, True, b"client")
            await asked.wait()
            writer.write(frame(2, b"x"))
            assert (await read_close(reader))[0] == 1011  # the service left without one


async def test_frames_that_come_with_the_handshake(front: Front) -> None:
    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, fields = await read_request(reader)
        writer.write(acceptance(fields["sec-websocket-key"]) + frame(1, b"hello", masked=False))
        assert await read_frame(reader) == (1, True, b"early")
        writer.write(close(4000, masked=False))
        await read_close(reader)

    async with by_hand(service) as port, front(port) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(HANDSHAKE + frame(1, b"early"))
        await reader.readuntil(b"\r\n\r\n")
        assert await read_frame(reader) == (1, True, b"hello")
        assert await read_close(reader) == (4000, "")
        writer.close()


# --- the handshake ----------------------------------------------------------------------------------------------------


async def test_the_service_gets_the_clients_handshake(front: Front) -> None:
    got: list[tuple[str, dict[str, str]]] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_request(reader))
        fields = ("Set-Cookie: a=b", "Server: secret/1.0", "X-Own: yes")
        writer.write(acceptance(got[0][1]["sec-websocket-key"], *fields) + close(1000, masked=False))
        await read_close(reader)

    headers = {"X-Forwarded-For": "1.2.3.4", "X-Extra": "kept", "Cookie": "c=d"}
    async with by_hand(service) as port, front(port, upstream="svc:80/rooms/{room}") as gateway:
        origin, address = Origin("https://page.example"), url(gateway, "/chat/blue%20x?a=b&c")
        client = await connect(address, origin=origin, additional_headers=headers)
        await client.wait_closed()
    [(line, fields)] = got
    assert line == "GET /rooms/blue%20x?a=b&c HTTP/1.1"
    assert client.request is not None
    assert client.response is not None
    assert (fields["host"], fields["origin"], fields["cookie"]) == ("svc:80", "https://page.example", "c=d")
    assert (fields["upgrade"], fields["connection"], fields["sec-websocket-version"]) == ("websocket", "Upgrade", "13")
    assert fields["x-extra"] == "kept"
    assert "sec-websocket-extensions" not in fields  # though the client offers permessage-deflate
    assert "x-forwarded-for" not in fields
    assert fields["sec-websocket-key"] != client.request.headers["Sec-WebSocket-Key"]
    answer = client.response.headers
    assert fields["x-trace-id"] == answer["X-Trace-ID"] == fields["traceparent"].split("-")[1]
    assert (answer["Set-Cookie"], answer["X-Own"]) == ("a=b", "yes")
    assert "secret" not in answer.get("Server", "")


@pytest.mark.parametrize(
    ("target", "status"), [(b"http://a/chat/blue", 101), (b"http://b/chat/blue", 400), (b"/chat/blue#part", 400)]
)
async def test_a_target_that_is_a_whole_url(front: Front, target: bytes, status: int) -> None:
    """RFC 6455, section 4.2.1, and RFC 9112, section 3.2.2."""

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, fields = await read_request(reader)
        assert line == "GET /chat/blue HTTP/1.1"
        writer.write(acceptance(fields["sec-websocket-key"]))
        await read_close(reader)

    async with by_hand(service) as port, front(port) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(HANDSHAKE.replace(b"/chat/blue", target))
        answer = await reader.readuntil(b"\r\n\r\n")
        assert int(answer.split()[1]) == status
        if status == 400:
            assert b"request target" in await reader.read()
        writer.close()


JWT = """
route: /chat/{room*}
upstream: svc:80
auth: {type: JWT, audience: CHAT}
rate_limit: {rps: 1, burst: 3}
transform: {request: passthrough, passthrough: {websocket: true}}
"""


async def test_the_token_stays_here_and_the_service_chooses_among_the_rest(start: Any) -> None:
    offered: list[str | None] = []

    async def service(socket: ServerConnection) -> None:
        assert socket.request is not None
        offered.append(socket.request.headers.get("Sec-WebSocket-Protocol"))
        assert "Authorization" not in socket.request.headers

    def select(socket: ServerConnection, names: Sequence[Subprotocol]) -> Subprotocol | None:
        return names[-1] if names else None

    async with library(service, select_subprotocol=select) as port:
        async with start(mesh={"svc": f"127.0.0.1:{port}"}, routes={"chat.yml": JWT}) as gateway:
            token = gateway.token(audience="CHAT", sub="reader")
            chosen = []
            for names in (["bearer", token, "chat", "graphql"], ["bearer", token]):
                async with connect(url(gateway), subprotocols=[Subprotocol(name) for name in names]) as client:
                    chosen.append(client.subprotocol)
            for names in (["chat"], ["bearer", "none"], ["bearer", token], ["bearer", token]):
                with contextlib.suppress(InvalidStatus):
                    async with connect(url(gateway), subprotocols=[Subprotocol(name) for name in names]):
                        pass
    assert offered[:2] == ["chat, graphql", None]
    assert chosen == ["graphql", "bearer"]
    assert [line["status"] for line in gateway.log()] == [101, 101, 401, 401, 101, 429]
    assert {line.get("subject") for line in gateway.log()} == {"reader", None}


async def test_a_refusal_of_the_service_comes_back_as_it_is(front: Front) -> None:
    replies: dict[int, tuple[str, bytes]] = {}

    def refuse(socket: ServerConnection, request: Any) -> Response:
        status = int(request.path.rpartition("/")[2])
        reply = socket.respond(status, "not for you")
        reply.headers["X-Own"] = "yes"
        if status == 302:
            reply.headers["Location"] = "http://svc:80/login?next=/chat"
        return reply

    statuses = (302, 401, 403, 404, 426, 500, 503)
    async with library(echo, process_request=refuse) as port, front(port) as gateway:
        for status in statuses:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(HANDSHAKE.replace(b"blue", b"%d" % status))
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            replies[status] = head.decode().lower(), body
    for status in (302, 401, 403, 404, 426):
        head_text, text = replies[status]
        assert head_text.startswith(f"http/1.1 {status} ")
        assert "\r\nx-own: yes" in head_text
        assert text == b"not for you"
    assert "\r\nlocation: /login?next=/chat" in replies[302][0]
    for status in (500, 503):
        assert replies[status][0].startswith("http/1.1 502 ")
        assert "application/problem+json" in replies[status][0]
    assert [line["upstream_status"] for line in gateway.log()] == list(statuses)


def answering(answer: bytes, *, hang: bool = False) -> Any:
    """A service that answers a handshake with these bytes; ``ACCEPT`` stands for the right digest."""

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, fields = await read_request(reader)
        accept = acceptance(fields["sec-websocket-key"]).partition(b"Accept: ")[2].strip()
        writer.write(answer.replace(b"ACCEPT", accept))
        if hang:
            await reader.read()

    return service


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


@pytest.mark.parametrize(
    ("status", "answer", "hang"),
    [
        (502, b"", False),
        (502, b"no HTTP\r\n\r\n", True),
        (502, b"HTTP/1.1 101 Switching", False),
        (502, SWITCH + b"wrong\r\n\r\n", True),
        (502, SWITCH.replace(b"websocket", b"h2c") + b"ACCEPT\r\n\r\n", True),
        (502, SWITCH.replace(b"Connection: Upgrade\r\n", b"") + b"ACCEPT\r\n\r\n", True),
        (502, SWITCH + b"ACCEPT\r\nSec-WebSocket-Protocol: never-offered\r\n\r\n", True),
        (502, SWITCH + b"ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", True),
        (502, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, True),
        (502, b"HTTP/1.1 403 No\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, False),
        (504, b"", True),
        (504, SWITCH, True),
        (504, b"HTTP/1.1 403 No\r\nContent-Length: 20\r\n\r\n", True),
        (200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (200, b"HTTP/1.1 200 OK\r\n\r\nok", False),
    ],
)
async def test_an_answer_that_is_no_handshake(front: Front, status: int, answer: bytes, hang: bool) -> None:
    timeout = "timeout: 300ms" if status == 504 else ""
    async with by_hand(answering(answer, hang=hang)) as port, front(port, keys=timeout) as gateway:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url(gateway), process_exception=lambda error: error)
    reply = refused.value.response
    assert reply.status_code == status
    assert reply.headers.get("Content-Type") == ("application/problem+json" if status >= 500 else None)
    [line] = gateway.log()
    assert line["status"] == status


async def test_a_refused_connection_goes_on_to_the_next_instance(front: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = taken.getsockname()[1]
    async with library(echo) as port, front(dead, port) as gateway:
        for _ in range(4):
            async with connect(url(gateway)) as client:
                await client.send("x")
                assert await client.recv() == "x"
    async with front(dead) as gateway:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url(gateway), process_exception=lambda error: error)
    assert refused.value.response.status_code == 503


async def test_over_tls(start: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    (tmp_path / "home/secrets").mkdir(parents=True)
    authority.cert_pem.write_to_path(str(tmp_path / "home/secrets/ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("svc").configure_cert(context)
    spec = SPEC.format(upstream="https://svc:443", keys="connection: {ca: secrets/ca.pem}")
    untrusting = spec.replace("/chat/", "/other/").replace("connection: {ca: secrets/ca.pem}", "")
    async with library(echo, ssl=context) as port, asyncio.timeout(60):
        mesh = {"svc": f"127.0.0.1:{port}"}
        async with start(mesh=mesh, routes={"chat.yml": spec, "other.yml": untrusting}) as gateway:
            async with connect(url(gateway)) as client:
                await client.send("x" * 300_000)
                assert await client.recv() == "x" * 300_000
            with pytest.raises(InvalidStatus) as refused:
                await connect(url(gateway, "/other/blue"), process_exception=lambda error: error)
    assert refused.value.response.status_code == 502


async def test_only_routes_that_say_so_take_websockets(start: Any, upstream: Any) -> None:
    plain = SPEC.format(upstream="svc:80", keys="").replace("websocket: true", "websocket: false")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"chat.yml": plain}) as gateway:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url(gateway), process_exception=lambda error: error)
        assert refused.value.response.status_code == 405
        spec = {
            "route": "/posts",
            "methods": ["POST"],
            "upstream": "svc:80",
            "auth": {"type": "none"},
            "transform": {"request": "passthrough", "passthrough": {"websocket": True}},
        }
        answer = await gateway.register(spec)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/transform/passthrough/websocket"
    assert upstream.seen == []


async def test_it_is_in_the_document(front: Front) -> None:
    async with library(echo) as port, front(port) as gateway:
        document = (await gateway.client.get("/-/openapi.json")).json()
    [operations] = document["paths"].values()
    assert operations["get"]["x-websocket"] is True
    assert "WebSocket" in operations["get"]["description"]


# --- closes -----------------------------------------------------------------------------------------------------------

CODES = [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999, None]


async def test_closes_of_the_client_reach_the_service(front: Front) -> None:
    got: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.put_nowait(await read_close(reader))

    async with by_hand(accepting(service)) as port, front(port) as gateway:
        for code in CODES:
            async with dialled(gateway.port) as (reader, writer):
                writer.write(frame(8) if code is None else close(code, "größer".encode()))
                echoed = await read_close(reader)
                assert await reader.read() == b""
            expected = (1005, "") if code is None else (code, "größer")
            assert await got.get() == echoed == expected
    assert [line["close_code"] for line in gateway.log()] == [code or 1005 for code in CODES]
    assert {line["status"] for line in gateway.log()} == {101}


async def test_closes_of_the_service_reach_the_client(front: Front) -> None:
    codes = iter(CODES)

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code = next(codes)
        last = frame(1, b"last", masked=False)
        writer.write(last + (frame(8, masked=False) if code is None else close(code, b"why", masked=False)))
        assert await read_close(reader) == ((1005, "") if code is None else (code, "why"))

    async with by_hand(accepting(service)) as port, front(port) as gateway:
        for code in CODES:
            async with dialled(gateway.port) as (reader, writer):
                assert await read_frame(reader) == (1, True, b"last")
                assert await read_close(reader) == ((1005, "") if code is None else (code, "why"))
                writer.write(close(1000))
                assert await reader.read() == b""


async def test_a_side_that_is_lost_is_told_to_the_other(front: Front) -> None:
    got: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await read_frame(reader) == (1, True, b"leave"):
            writer.write(frame(1, b"last", masked=False))
            await writer.drain()
            writer.transport.abort()
        else:
            got.put_nowait(await read_close(reader))

    async with by_hand(accepting(service)) as port, front(port) as gateway:
        async with dialled(gateway.port) as (_, writer):
            writer.write(frame(1, b"stay"))
            await writer.drain()
            writer.transport.abort()
        assert await got.get() == (1011, "the client's connection was lost")
        async with dialled(gateway.port) as (reader, writer):
            writer.write(frame(1, b"leave"))
            assert await read_close(reader) == (1011, "the service's connection was lost")
    first, second = gateway.log()
    assert (first["status"], first["close_code"]) == (499, 1006)
    assert (second["status"], second["close_code"], second["cause"]) == (101, 1006, "the service's connection was lost")


async def test_the_end_of_the_gateway(front: Front) -> None:
    got: list[tuple[int, str]] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_close(reader))

    async with by_hand(accepting(service)) as port:
        async with front(port) as gateway:
            client = await connect(url(gateway)).__aenter__()
        with pytest.raises(ConnectionClosed):
            await client.recv()
    assert (client.close_code, client.close_reason) == (1001, "the gateway is shutting down")
    assert got == [(1001, "the gateway is shutting down")]


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_silence_of_both_sides(front: Front) -> None:
    got: list[tuple[int, str]] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_close(reader))

    async with by_hand(accepting(service)) as port, front(port, keys="stream: {idle: 300ms}") as gateway:
        async with dialled(gateway.port) as (reader, writer):
            expected = (1001, "nothing was said for 0.3 seconds")
            assert await read_close(reader) == expected
            writer.write(close(1001))
    assert got == [expected]
    [line] = gateway.log()
    assert (line["close_code"], line["cause"]) == expected


async def test_the_whole_call_is_bounded_whatever_is_said(front: Front) -> None:
    async with library(echo) as port, front(port, keys="stream: {timeout: 400ms}") as gateway:
        async with connect(url(gateway)) as client:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await client.send("x")
                    await client.recv()
        assert client.close_code == 1001
        async with connect(url(gateway), additional_headers={"X-Request-Timeout": "100ms"}) as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
    assert client.close_reason == "the time for this call is over"


@pytest.mark.parametrize("mute", ["client", "service"])
async def test_a_side_that_answers_no_ping_is_lost(front: Front, mute: str) -> None:
    """The other one answers."""
    closes: dict[str, tuple[int, str]] = {}

    async def answer(who: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            opcode, _, payload = await read_frame(reader)
            if opcode == 8:
                closes[who] = int.from_bytes(payload[:2], "big"), payload[2:].decode()
                return
            if opcode == 9 and who != mute:
                writer.write(frame(10, payload, masked=who == "client"))

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer("service", reader, writer)

    async with by_hand(accepting(service)) as port, front(port, keys="stream: {heartbeat: 200ms}") as gateway:
        async with dialled(gateway.port) as (reader, writer):
            await answer("client", reader, writer)
    other = "service" if mute == "client" else "client"
    assert closes[mute] == (1011, "keepalive ping timeout")
    assert closes[other] == (1011, f"the {mute} was failed with 1011")


async def test_a_side_that_does_not_read_stops_the_others_reading(front: Front) -> None:
    """Both ways: what is sent waits at its sender, and nothing of it is lost."""
    go_on, size, count = asyncio.Event(), 32 * 1024, 2_000

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        for _ in range(count):
            assert len((await read_frame_fast(reader))[1]) == size
        for _ in range(count):
            writer.write(frame(2, bytes(size), masked=False))
            await writer.drain()
        await read_close(reader)

    async with by_hand(accepting(service)) as port, front(port) as gateway:
        async with dialled(gateway.port) as (reader, writer):
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(count):
                    writer.write(frame(2, bytes(size)))
                    await writer.drain()
                    sent += 1

            sending = asyncio.create_task(send())
            before = -1
            while sent != before:  # until nothing more is taken
                before = sent
                await asyncio.wait([sending], timeout=0.5)
            assert 0 < sent < count // 2  # 64 MB would have been too much for all buffers together
            go_on.set()
            await sending
            for _ in range(count):
                assert len((await read_frame_fast(reader))[1]) == size
    [line] = gateway.log()
    assert line["bytes_in"] == line["bytes_out"] == size * count


async def read_frame_fast(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """An unfragmented frame of 126 to 65,535 bytes, still masked; control frames are skipped."""
    while True:
        first, second = await reader.readexactly(2)
        length = second & 127
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        if second & 128:
            await reader.readexactly(4)
        payload = await reader.readexactly(length)
        if first & 15 < 8:
            return first & 15, payload


async def test_a_client_that_does_not_read_is_given_up(front: Front) -> None:
    got: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def flood() -> None:
            while True:
                writer.write(frame(2, bytes(60_000), masked=False))
                await writer.drain()

        flooding = asyncio.create_task(flood())
        got.put_nowait(await read_close(reader))
        flooding.cancel()

    keys = "stream: {idle: 500ms, heartbeat: 60s}"
    async with by_hand(accepting(service)) as port, front(port, keys=keys) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        writer.write(HANDSHAKE)
        assert await got.get() == (1011, "the client stopped reading")
        writer.transport.abort()
    [line] = gateway.log()
    assert (line["status"], line["cause"]) == (499, "the client stopped reading")


async def test_pongs_do_not_accumulate_for_a_client_that_does_not_read(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_PONGS", 8)
    left = asyncio.Event()

    async def service(socket: ServerConnection) -> None:
        try:
            await echo(socket)
        finally:
            left.set()

    async with library(service) as port, front(port) as gateway:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200_000_000:
                writer.write(frame(9, bytes(125)) * 1000)
                async with asyncio.timeout(1):
                    await writer.drain()
                sent += 131_000
        assert sent < 100_000_000
        writer.transport.abort()
        await left.wait()
        while not gateway.log():
            await asyncio.sleep(0.01)


async def test_a_service_that_does_not_answer_the_close_is_cut_off(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.1)
    over = asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await read_close(reader))[0] == 1000
        with contextlib.suppress(ConnectionError):
            await reader.read()  # until the gateway cuts it off
        over.set()

    async with by_hand(accepting(service)) as port, front(port) as gateway:
        async with connect(url(gateway)):
            pass
        await over.wait()


async def test_the_end_of_the_gateway_cuts_off_a_service_that_keeps_its_connection(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has answered the close, and only has to close the connection."""
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 600.0)
    monkeypatch.setattr(client, "CLOSE_TIMEOUT", 0.1)
    over = asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code, _ = await read_close(reader)
        writer.write(close(code, masked=False))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        over.set()

    async with by_hand(accepting(service)) as port:
        async with front(port) as gateway, connect(url(gateway)):
            pass
        async with asyncio.timeout(30):
            await over.wait()


# --- on a foreign server ----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def on_uvicorn(app: Any) -> AsyncIterator[int]:
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, ws="websockets-sansio", lifespan="off", log_config=None, proxy_headers=False)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[bound])
    try:
        yield bound.getsockname()[1]
    finally:
        for listener in server.servers:
            listener.close()
        for task in list(server.server_state.tasks):
            await task
        bound.close()


async def test_an_asgi_server_before_the_gateway(front: Front) -> None:
    async def service(socket: ServerConnection) -> None:
        async for message in socket:
            if message == "close":
                await socket.close(4001, "asked for")
                return
            await socket.send([message, message] if isinstance(message, str) else message)

    closed: asyncio.Queue[int | None] = asyncio.Queue()

    async def noted(socket: ServerConnection) -> None:
        try:
            await service(socket)
        finally:
            await socket.wait_closed()
            closed.put_nowait(socket.close_code)

    def select(socket: ServerConnection, names: Sequence[Subprotocol]) -> Subprotocol | None:
        return names[0] if names else None

    async with library(noted, select_subprotocol=select) as port, front(port, max_body=100_000) as gateway:
        async with on_uvicorn(gateway.app) as asgi:
            address = f"ws://127.0.0.1:{asgi}/chat/blue"
            async with connect(address, subprotocols=[Subprotocol("chat")]) as client:
                assert client.subprotocol == "chat"
                for number in range(300):
                    await client.send(f"{number} ")
                    assert await client.recv() == f"{number} {number} "
                await client.send(bytes(90_000))
                assert await client.recv() == bytes(90_000)
                await client.send("close")
                with pytest.raises(ConnectionClosed):
                    await client.recv()
            assert (client.close_code, client.close_reason) == (4001, "asked for")
            await closed.get()
            async with connect(address) as client:
                await client.close(4002, "leaving")
            assert await closed.get() == 4002
            async with connect(address) as client:
                await client.send(bytes(100_001))
                with pytest.raises(ConnectionClosed):
                    await client.recv()
            assert client.close_code == 1009
            assert await closed.get() == 1011
    assert [line["close_code"] for line in gateway.log()] == [4001, 4002, 1009]
