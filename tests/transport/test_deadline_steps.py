"""A deadline may end at every step of a call: each time the caller gets a 504, and no traceback is logged.

Each step is a server that stalls there. The tests run on asyncio's loop and on uvloop, which serves in production: they
differ in what cancelling a half-made connection leaves behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from bridge.api.call import GrpcRequest, HttpRequest, Retry
from bridge.api.tls import Tls
from bridge.cluster.cluster import Cluster
from bridge.errors import Timeout
from bridge.transport.grpc.framing import encode_message
from bridge.transport.grpc.subchannel import ConnectionOptions, Subchannel
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import Client
from bridge.transport.http1.pool import Pool
from tests.oracles.clusters import grpc_cluster, http_cluster, transports
from tests.process_log import without_services
from tests.transport.grpc.kit import OK
from tests.transport.grpc.test_faults import SETTINGS, Reading
from tests.transport.http2.kit import raw

Address = tuple[str, int]
LARGE = bytes(1 << 20)  #: more than windows and socket buffers take
DEADLINES = (0.0, 1e-9, 0.001, 0.003, 0.01, 0.03) * 3
RETRY = Retry(5, 0.001, 0.01, 2.0, frozenset({14}))
WINDOW_0 = raw(4, 0, 0, b"\x00\x04\x00\x00\x00\x00")
STREAMS_0 = raw(4, 0, 0, b"\x00\x03\x00\x00\x00\x00")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither by the gateway, nor by the loop of an exception that nobody took."""
    yield
    logged = without_services(caplog.get_records("call"), logging.ERROR)
    # grpc.aio has one poller for all loops of a process, and wakes those of earlier tests, too.
    assert not [message for message in logged if "PollerCompletionQueue" not in message]


@pytest.fixture
def full() -> Iterator[Address]:
    """A backlog that is full takes no SYN."""
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        bound.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(bound.getsockname())
        yield bound.getsockname()


def stalling(*said: bytes, asked: bool = False) -> Callable[[Any], Awaitable[None]]:
    """Says this, and nothing more; reads nothing if it is not to be `asked` first."""

    async def behave(peer: Any) -> None:
        if asked:
            client = Reading(peer)
            await client.preface()
            await peer.say(SETTINGS)
            await client.request()
        await peer.say(*said)
        await asyncio.Event().wait()

    return behave


def stalling_http(*said: bytes) -> Callable[[Any], Awaitable[None]]:
    async def behave(peer: Any) -> None:
        await peer.request()
        await peer.say(*said)
        await asyncio.Event().wait()

    return behave


async def nowhere() -> list[Address]:
    await asyncio.Event().wait()
    return []


#: By the step that never ends.
GRPC = {
    "greeting": stalling(),
    "half a greeting": stalling(SETTINGS[:5]),
    "room for a stream": stalling(STREAMS_0),
    "window": stalling(WINDOW_0),
    "answer": stalling(asked=True),
    "half a head": stalling(raw(1, 4, 1, OK)[:12], asked=True),
    "message": stalling(raw(1, 4, 1, OK), asked=True),
    "half a message": stalling(raw(1, 4, 1, OK), raw(0, 0, 1, encode_message(b"hello")[:7]), asked=True),
    "trailers": stalling(raw(1, 4, 1, OK), raw(0, 0, 1, encode_message(b"hello")), asked=True),
}
HTTP = {
    "reading": stalling(),
    "answer": stalling_http(),
    "half a head": stalling_http(b"HTTP/1.1 200 OK\r\nContent-"),
    "interim": stalling_http(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": stalling_http(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    "half a body": stalling_http(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
    "chunk": stalling_http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"),
    "end": stalling_http(b"HTTP/1.1 200 OK\r\n\r\nhello"),
}


async def late(call: Callable[[float], Awaitable[Any]]) -> None:
    """All at once: callers with little time share connections, and attempts to make one, with those that have more."""
    now = asyncio.get_running_loop().time()
    async with asyncio.timeout(20):
        ended = await asyncio.gather(*(call(now + seconds) for seconds in DEADLINES), return_exceptions=True)
    assert [type(error) for error in ended] == [Timeout] * len(DEADLINES), ended


def of(upstream: Cluster, kind: str) -> Callable[[float], Awaitable[Any]]:
    async def unary(deadline: float) -> Any:
        retry = RETRY if kind == "retries" else None
        return await upstream.send(GrpcRequest("/a.S/Do", LARGE, retry=retry), deadline=deadline)

    async def stream(deadline: float) -> Any:
        call = await upstream.stream(GrpcRequest("/a.S/Do", b""), deadline=deadline, connect_by=deadline)
        writing = asyncio.create_task(call.write(LARGE))
        while await call.read() is not None:
            pass
        await writing
        return await call.status()

    return stream if kind == "stream" else unary


@pytest.mark.parametrize("kind", ["unary", "stream", "retries"])
@pytest.mark.parametrize("step", ["lookup", "connection", "handshake", *GRPC])
async def test_at_each_step_of_a_grpc_call(
    serve: Any, clients: str, step: str, kind: str, full: Address, authority: trustme.CA
) -> None:
    address = full
    if step not in ("lookup", "connection"):
        address = (await serve(GRPC[step] if step != "handshake" else stalling())).address

    async def resolve() -> list[Address]:
        return await nowhere() if step == "lookup" else [address]

    tls = step == "handshake"
    trust = Tls(authority.cert_pem.bytes()) if tls else None
    upstream = grpc_cluster(resolve, tls=tls, trust=trust, name="a", max_reply=10_000, clients=clients)
    try:
        await late(of(upstream, kind))
    finally:
        await upstream.aclose()


@pytest.mark.parametrize("step", ["lookup", "connection", "handshake", *HTTP])
async def test_at_each_step_of_an_http_call(
    serve: Any, client: Client, step: str, full: Address, authority: trustme.CA
) -> None:
    address = full
    if step not in ("lookup", "connection"):
        address = (await serve(HTTP[step] if step != "handshake" else stalling())).address

    async def resolve() -> list[Address]:
        return await nowhere() if step == "lookup" else [address]

    trust = Tls(authority.cert_pem.bytes()) if step == "handshake" else None
    upstream = http_cluster(
        resolve, client=client, tls=trust is not None, trust=trust, name="a", port="1", max_reply=10_000
    )

    async def call(deadline: float) -> Any:
        body = LARGE if step == "reading" else b"x"
        return await upstream.send(HttpRequest("POST", "/", [], body), deadline=deadline)

    await late(call)


async def test_every_address_stalls(serve: Any, clients: str) -> None:
    """Each gets a share of the time. That the last one's ends is the deadline, and not a refused connection."""
    silent = [(await serve(stalling())).address for _ in range(3)]

    async def resolve() -> list[Address]:
        return silent

    upstream = grpc_cluster(resolve, tls=False, max_reply=10, clients=clients)
    try:
        await late(of(upstream, "unary"))
        await late(of(upstream, "stream"))
    finally:
        await upstream.aclose()


# --- given up at every turn of the loop -------------------------------------------------------------------------------


async def greeting(peer: Any) -> None:
    await peer.say(SETTINGS)
    await asyncio.Event().wait()


def contexts(authority: trustme.CA, alpn: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("a").configure_cert(server)
    authority.configure_trust(client)
    for context in (server, client):
        context.set_alpn_protocols([alpn])
    return server, client


@pytest.mark.parametrize("tls", [False, True])
async def test_an_http2_connection_is_given_up_at_any_turn(serve: Any, tls: bool, authority: trustme.CA) -> None:
    theirs, ours = contexts(authority, "h2") if tls else (None, None)
    server = await serve(greeting, ssl=theirs)
    ends = set()
    for turns in range(1, 40):
        peer = Subchannel(server.address, ConnectionOptions(ours, "a", "a", 1, None, 1000, None, 330, 20))
        waiting = asyncio.create_task(peer.connect(10))
        for _ in range(turns):
            await asyncio.sleep(0)
        await peer.aclose()
        ends.add(await waiting)
        await asyncio.sleep(0)  # what is to be done when they are gone
        assert not peer._connections
    assert False in ends


@pytest.mark.parametrize("tls", [False, True])
async def test_an_http_connection_that_is_given_up_leaves_nothing(serve: Any, tls: bool, authority: trustme.CA) -> None:
    """A client that asks for very little time must not have the gateway keep something for each call."""
    theirs, ours = contexts(authority, "http/1.1") if tls else (None, None)
    server = await serve(stalling(), ssl=theirs)
    client = HttpClient()
    pool = Pool((server.address, ours, "a" if tls else None), 256)
    for turns in range(40):
        taking = asyncio.create_task(pool.take(10))
        for _ in range(turns):
            await asyncio.sleep(0)
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await taking).abort()
    async with asyncio.timeout(10):
        while pool.connections:
            await asyncio.sleep(0.001)
    assert pool.unused
    await client.aclose()


# --- through the gateway ----------------------------------------------------------------------------------------------

PROTO = """
syntax = "proto3";
package a;
service S { rpc Do(M) returns (M); rpc Down(M) returns (stream M); }
message M { string text = 1; }
"""
ROUTES = {
    "http.yml": "route: /http\nupstream: svc:80\nauth: {type: none}\ntransform: {request: passthrough}\n",
    "grpc.yml": "route: /grpc\nupstream: grpc://tally:80\nauth: {type: none}\n"
    "transform: {request: grpc, grpc: {protos: [a.proto]}}\n",
}
ASKED = [
    {"x-request-timeout": "0"},
    {"x-request-timeout": "0.000001"},
    {"x-request-timeout": "1ms"},
    {"x-request-timeout": "30ms"},
    {"grpc-timeout": "0n"},
    {"grpc-timeout": "1n"},
    {"grpc-timeout": "2m"},
    {"connect-timeout-ms": "0"},
    {"connect-timeout-ms": "3"},
]


@pytest.mark.parametrize("step", ["greeting", "answer"])
async def test_whatever_time_a_client_asks_for(
    start: Any, serve: Any, clients: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = transports(clients)
    monkeypatch.setattr("bridge.cluster.pool.Transports", lambda: sender)
    mesh = {
        "tally": f"127.0.0.1:{(await serve(GRPC[step])).port}",
        "svc": f"127.0.0.1:{(await serve(stalling())).port}",
    }
    async with start(mesh=mesh, routes=ROUTES, files={"protos/a.proto": PROTO}) as gateway:
        for path in ("/http", "/grpc/a.S/Do", "/grpc/a.S/Down"):
            for headers in ASKED:
                asking = (gateway.client.post(path, json={}, headers=headers) for _ in range(3))
                for answer in await asyncio.gather(*asking):
                    assert (answer.status_code, answer.json()["type"]) == (504, "urn:bridge:problem:upstream-timeout")
    assert {line["status"] for line in gateway.log()} == {504}


async def test_who_waits_for_anothers_answer_has_its_own_deadline(start: Any, serve: Any) -> None:
    """Of those who ask a cached route the same at once, one asks the service. The others may have less time."""
    routes = {"c.yml": ROUTES["http.yml"].replace("/http", "/cached") + "cache: {ttl: 5s}\n"}
    answers = asyncio.Event()

    async def behave(peer: Any) -> None:
        await peer.request()
        await answers.wait()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server = await serve(behave)
    async with start(mesh={"svc": f"127.0.0.1:{server.port}"}, routes=routes) as gateway:
        first = asyncio.create_task(gateway.client.get("/cached", timeout=60))
        while not server.seen:
            await asyncio.sleep(0.001)
        try:
            late = await gateway.client.get("/cached", headers={"x-request-timeout": "20ms"}, timeout=10)
        finally:
            answers.set()
        assert (late.status_code, (await first).status_code) == (504, 200)
