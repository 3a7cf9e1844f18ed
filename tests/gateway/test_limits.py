"""Several limits of a route over real sockets, and calls under way: each is given back on every way that it can end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.admin.credentials import new_key
from bridge.config.settings import load
from bridge.stages.quota.counters import ConcurrencyCounter
from tests.conftest import Running, Start, Upstream
from tests.gateway.websocket_kit import HANDSHAKE, accepting, by_hand, frame

OPEN = {"upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSAL = 'bridge_limit_refusals_total{policy="free-plan",route="file:p.yml"} 1.0'
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def spec(*limits: dict[str, Any], **more: Any) -> str:
    return json.dumps({"route": "/p/{rest*}", **OPEN, "limits": limits, **more})


async def test_a_refusal_names_its_policy(start: Start, upstream: Upstream) -> None:
    routes = {"p.yml": spec({"rps": 100, "burst": 100}, {"quota": 2, "window": "month", "name": "free-plan"})}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        for left in (1, 0):
            answer = await gateway.client.get("/p/a")
            assert answer.status_code == 200
            assert f'"free-plan";r={left}' in answer.headers["ratelimit"]
        refused = await gateway.client.get("/p/a")
        async with asyncio.timeout(20):  # the log's thread counts it
            while REFUSAL not in (await gateway.client.get("/-/metrics")).text:
                pass
    assert refused.status_code == 429
    assert refused.json()["type"] == "urn:bridge:problem:rate-limited"
    assert refused.json()["policy"] == "free-plan"
    assert refused.headers["ratelimit"].startswith('"free-plan";r=0;t=')
    assert refused.headers["ratelimit"].count('"') == 2
    assert '"client";q=100;w=1, "free-plan";q=2;w=' in refused.headers["ratelimit-policy"]
    assert int(refused.headers["retry-after"]) == int(refused.headers["x-ratelimit-reset"]) > 0
    assert [line.get("limit") for line in gateway.log()][:3] == [None, None, "free-plan"]


async def test_a_quota_outlasts_a_reload_and_a_restart(start: Start, upstream: Upstream) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    left = []
    for _ in range(2):
        async with start(mesh=mesh, routes={"p.yml": spec({"quota": 9, "window": "month"})}) as gateway:
            left.append((await gateway.client.get("/p/a")).headers["x-ratelimit-remaining"])
            (gateway.home / "routes" / "p.yml").write_text(spec({"quota": 8, "window": "month"}))
            await gateway.app.state.reload()
            left.append((await gateway.client.get("/p/a")).headers["x-ratelimit-remaining"])
    assert left == ["8", "6", "6", "4"]


async def test_the_limit_of_a_key_holds_over_its_routes(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    text, _ = await new_key(load({}, home=tmp_path / "home"), "billing", "", [], [], "", rps=0.01, burst=2)
    keyed = {**OPEN, "auth": {"type": "api_key"}}
    routes = {f"{name}.yml": json.dumps({"route": f"/{name}", **keyed}) for name in "ab"}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        answers = [await gateway.client.get(f"/{name}", headers={"x-api-key": text}) for name in "aba"]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[1].headers["ratelimit"] == '"key";r=0;t=200'
    assert answers[2].json()["policy"] == "key"


# --- under way ---------------------------------------------------------------------------------------------------


class Ends:
    """Waits until so many calls have been given back."""

    def __init__(self) -> None:
        self.count, self._changed = 0, asyncio.Event()

    def tell(self) -> None:
        self.count += 1
        self._changed.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    ends, refund = Ends(), ConcurrencyCounter.refund

    def told(counter: ConcurrencyCounter, key: str, cost: int) -> None:
        refund(counter, key, cost)
        ends.tell()

    monkeypatch.setattr(ConcurrencyCounter, "refund", told)
    return ends


@contextlib.asynccontextmanager
async def behind(start: Start, script: Script, **more: Any) -> AsyncIterator[Running]:
    """A gateway whose route lets one call be under way, in front of `script`."""
    routes = {"p.yml": spec({"concurrency": 1}, {"rps": 1000, "burst": 1000}, **more)}
    async with by_hand(script) as port, start(mesh={"svc": f"127.0.0.1:{port}"}, routes=routes) as gateway:
        yield gateway


async def dial(gateway: Running, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request)
    return reader, writer


GET = b"GET /p/a HTTP/1.1\r\nHost: a\r\n\r\n"
BUSY = {"type": "urn:bridge:problem:rate-limited", "policy": "client-concurrency"}


async def busy(gateway: Running) -> None:
    """One more call is refused, and takes no token of the other limit."""
    answer = await gateway.client.get("/p/a")
    assert answer.status_code == 429
    assert BUSY.items() <= answer.json().items()
    assert "under way" in answer.json()["detail"]
    assert answer.headers["ratelimit"] == '"client-concurrency";r=0'
    assert answer.headers["retry-after"] == "1"


async def test_a_stream_counts_until_its_last_event(start: Start, ends: Ends) -> None:
    go = asyncio.Event()

    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"6\r\ndata:\n\r\n")
        await go.wait()
        writer.write(b"0\r\n\r\n")
        await reader.read()

    async with behind(start, events, transform={"request": "passthrough", "response": "passthrough"}) as gateway:
        reader, writer = await dial(gateway, GET)
        await reader.readuntil(b"data:\n\r\n")
        await busy(gateway)
        assert ends.count == 0
        go.set()
        await ends.reach(1)
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("sent", [b"", HEAD + b"6\r\ndata:\n\r\n"], ids=["before the reply", "within it"])
async def test_a_client_that_leaves(start: Start, ends: Ends, sent: bytes) -> None:
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        reached.set()
        await reader.read()

    async with behind(start, silent, transform={"request": "passthrough", "response": "passthrough"}) as gateway:
        reader, writer = await dial(gateway, GET)
        await reached.wait()
        if sent:
            await reader.readuntil(b"data:\n\r\n")
        await busy(gateway)
        # A reset: a client that only closes its half may still want the answer.
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await ends.reach(1)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 502),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 502),
        (b"nonsense\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200),
        (HEAD + b"zz\r\n", 502),
    ],
    ids=["closes", "fails", "babbles", "answers", "breaks off"],
)
async def test_a_service_that(start: Start, ends: Ends, answer: bytes, status: int) -> None:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with behind(start, one, methods=["POST"]) as gateway:
        for number in range(1, 4):
            assert (await gateway.client.post("/p/a", content=b"{}")).status_code == status
            await ends.reach(number)


async def test_a_service_that_is_too_slow_or_not_there(start: Start, ends: Ends) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with behind(start, silent, timeout="50ms") as gateway:
        assert (await gateway.client.get("/p/a")).status_code == 504
        (gateway.home / "routes" / "p.yml").write_text(spec({"concurrency": 1}, upstream="nobody:80"))
        await gateway.app.state.reload()
        for _ in range(2):
            assert (await gateway.client.get("/p/a")).status_code == 503
        await ends.reach(3)


async def test_a_body_that_never_arrives(start: Start, ends: Ends) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with behind(start, silent, methods=["GET", "POST"]) as gateway:
        _, writer = await dial(gateway, b"POST /p/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{")
        async with asyncio.timeout(20):
            while (await gateway.client.head("/p/a")).status_code != 429:  # it has not arrived
                pass
        ended = ends.count
        writer.close()
        await ends.reach(ended + 1)


async def test_a_websocket_counts_while_it_is_open(start: Start, ends: Ends) -> None:
    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, b"hello", masked=False))
        await reader.read()

    transform = {"request": "passthrough", "response": "passthrough", "passthrough": {"websocket": True}}
    async with behind(start, accepting(chat), route="/chat/{room*}", transform=transform) as gateway:
        reader, writer = await dial(gateway, HANDSHAKE)
        await reader.readuntil(b"hello")
        assert ends.count == 0
        second, other = await dial(gateway, HANDSHAKE)
        assert (await second.readline()).startswith(b"HTTP/1.1 429 ")
        other.close()
        writer.close()
        await ends.reach(1)
        third, again = await dial(gateway, HANDSHAKE)
        assert (await third.readline()).startswith(b"HTTP/1.1 101 ")
        again.close()
        await ends.reach(2)


async def test_calls_one_after_another_on_one_connection(start: Start, upstream: Upstream) -> None:
    routes = {"p.yml": spec({"concurrency": 1})}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}") as client:
            assert [(await client.get("/p/a")).status_code for _ in range(20)] == [200] * 20
