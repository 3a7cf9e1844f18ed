"""Connections kept, refused, lost and poisoned; deadlines; TLS."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
from time import perf_counter
from typing import Any

import pytest
import trustme

from bridge.errors import Overloaded, ShuttingDown, Timeout, Unavailable, UpstreamError

Address = tuple[str, int]


def dead_port() -> int:
    """A port that refuses: bound a moment ago, and closed again."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# --- connections -------------------------------------------------------------------------------------------------


async def test_connections_are_kept_and_shared(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply())
    for _ in range(5):
        await ask(connect(server), "POST", body=b"x")
    assert server.connections == 1


async def test_a_refusing_address_is_passed_over_and_reported(
    serve: Any, connect: Any, ask: Any, reply: Any, reports: Any
) -> None:
    server = await serve(reply())
    dead = ("127.0.0.1", dead_port())
    answer = await ask(connect(dead, server, outliers=reports), "POST", body=b"once")
    assert answer.body == b"hello"
    assert reports.unreached == [dead]
    assert reports.answered == [server.address]
    assert [seen.body for seen in server.seen] == [b"once"]


async def test_all_addresses_dead_is_503_at_once(connect: Any, ask: Any, reports: Any) -> None:
    dead = [("127.0.0.1", dead_port()) for _ in range(3)]
    with pytest.raises(Unavailable) as none:
        await ask(connect(*dead, outliers=reports), within=60)
    assert (none.value.status, dict(none.value.headers)) == (503, {"retry-after": "1"})
    assert reports.unreached == dead
    assert "127.0.0.1" not in none.value.detail
    assert str(dead[-1][1]) in none.value.cause


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_a_stale_connection_is_no_failure_for_an_idempotent_call(
    serve: Any, connect: Any, ask: Any, reply: Any, method: Any
) -> None:
    async def once_each(peer: Any) -> None:
        await peer.request()
        await peer.say(reply(b""))
        await peer.request()  # read, and closed without an answer: as an idle timeout that crosses a request

    server = await serve(once_each)
    upstream = connect(server)
    await ask(upstream, method)
    assert (await ask(upstream, method)).status == 200
    assert [seen.connection for seen in server.seen] == [1, 1, 2]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_calls_are_never_sent_twice(serve: Any, connect: Any, ask: Any, reply: Any, method: Any) -> None:
    async def once_each(peer: Any) -> None:
        await peer.request()
        await peer.say(reply(b""))
        await peer.request()

    server = await serve(once_each)
    upstream = connect(server)
    await ask(upstream, method, body=b"x")
    with pytest.raises(UpstreamError) as lost:
        await ask(upstream, method, body=b"x")
    assert lost.value.status == 502
    assert len(server.seen) == 2


async def test_a_fresh_connection_closed_without_an_answer_is_no_stale_one(serve: Any, connect: Any, ask: Any) -> None:
    async def silent(peer: Any) -> None:
        await peer.request()

    server = await serve(silent)
    with pytest.raises(UpstreamError) as lost:
        await ask(connect(server))
    assert lost.value.status == 502
    assert len(server.seen) == 1


async def test_a_service_that_always_closes_is_asked_twice_at_most(
    serve: Any, connect: Any, ask: Any, reply: Any
) -> None:
    async def behave(peer: Any) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.say(reply())
            await peer.request()

    server = await serve(behave)
    upstream = connect(server)
    await ask(upstream)
    with pytest.raises(UpstreamError):
        await ask(upstream)
    assert [seen.connection for seen in server.seen] == [1, 1, 2]


async def test_bytes_that_answer_nothing_never_answer_the_next_call(
    serve: Any, connect: Any, ask: Any, reply: Any
) -> None:
    """Response poisoning: a reply nobody asked for, lying in an idle connection."""
    said = asyncio.Event()

    async def poison(peer: Any) -> None:
        await peer.request()
        await peer.say(reply(b"right"))
        if peer.number == 1:
            await peer.reader.read(0)
            await said.wait()
            await peer.say(reply(b"poison"))
            await peer.request()

    server = await serve(poison)
    upstream = connect(server)
    assert (await ask(upstream)).body == b"right"
    said.set()
    for _ in range(20):
        await asyncio.sleep(0.002)  # let the bytes come in; no event tells the gateway's side of it
    assert (await ask(upstream)).body == b"right"


async def test_a_reply_before_the_end_of_a_large_body(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    async def impatient(peer: Any) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(reply(b"no", b"413 Too Large"))
        await peer.reader.read(1)
        await asyncio.Event().wait()  # never reads the rest

    server = await serve(impatient)
    upstream = connect(server)
    assert (await ask(upstream, "POST", body=bytes(32 << 20))).status == 413
    assert (await ask(upstream, "POST", body=bytes(32 << 20))).status == 413
    assert server.connections == 2  # the first is in the middle of a request; it can't be used again


async def test_many_at_once(serve: Any, connect: Any, ask: Any) -> None:
    async def echo(peer: Any) -> None:
        while True:
            seen = await peer.request()
            await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen.body), seen.body)

    upstream = connect(await serve(echo))
    bodies = [b"%d" % number for number in range(80)]
    answers = await asyncio.gather(*(ask(upstream, "POST", body=body) for body in bodies))
    assert [answer.body for answer in answers] == bodies


# --- time --------------------------------------------------------------------------------------------------------


async def after_request(peer: Any) -> None:
    await peer.request()
    await peer.reader.read()


async def after_head(peer: Any) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    await peer.reader.read()


async def endless_hints(peer: Any) -> None:
    await peer.request()
    while True:
        await peer.say(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.01)


async def never_reads(peer: Any) -> None:
    await peer.reader.readexactly(1)
    await asyncio.Event().wait()


@pytest.mark.parametrize("behaviour", [after_request, after_head, endless_hints, never_reads])
async def test_the_deadline_ends_every_wait(serve: Any, connect: Any, ask: Any, behaviour: Any) -> None:
    server = await serve(behaviour)
    began = perf_counter()
    with pytest.raises(Timeout) as late:
        await ask(connect(server), "POST", body=bytes(8 << 20) if behaviour is never_reads else b"", within=0.1)
    assert late.value.status == 504
    assert perf_counter() - began < 3  # a machine under load is slow; a hang is slower
    if behaviour is not never_reads:
        async with asyncio.timeout(9):
            await server.closed.wait()


async def test_a_deadline_that_has_passed_sends_nothing(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply())
    with pytest.raises(Timeout):
        await ask(connect(server), within=0)
    assert server.connections == 0


async def test_an_address_that_never_answers_leaves_time_for_the_next(
    serve: Any, connect: Any, ask: Any, reply: Any, reports: Any
) -> None:
    with socket.socket() as full:
        # A backlog that is full takes no SYN: the nearest thing to a black hole that a test can have.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        server = await serve(reply())
        answer = await ask(connect(full.getsockname(), server, outliers=reports), within=0.6)
        for filler in fillers:
            filler.close()
        assert reports.unreached == [full.getsockname()]
    assert answer.body == b"hello"


async def test_cancelling_closes_the_connection(serve: Any, connect: Any, ask: Any) -> None:
    server = await serve(after_request)
    call = asyncio.create_task(ask(connect(server), "POST", body=b"x"))
    while not server.seen:
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(9):
        await server.closed.wait()


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
async def trusting(authority: Any, make_client: Any) -> Any:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client = make_client(ssl_context=context)
    yield client
    await client.aclose()


async def test_tls_verifies_the_mesh_name(
    serve: Any, connect: Any, ask: Any, reply: Any, authority: Any, trusting: Any
) -> None:
    server = await serve(reply(), ssl=server_context(authority, "vat-svc"))
    upstream = connect(server, tls=True, with_client=trusting)
    assert (await ask(upstream)).body == b"hello"
    assert (await ask(upstream)).body == b"hello"
    assert server.connections == 1


@pytest.mark.parametrize("name", ["other-svc", "127.0.0.1"])
async def test_a_certificate_of_another_name_is_refused(
    serve: Any, connect: Any, ask: Any, reply: Any, authority: Any, trusting: Any, name: Any
) -> None:
    server = await serve(reply(), ssl=server_context(authority, name))
    with pytest.raises(UpstreamError, match="could not prove") as refused:
        await ask(connect(server, tls=True, with_client=trusting))
    assert refused.value.status == 502
    assert server.seen == []


async def test_an_unknown_authority_is_refused(
    serve: Any, connect: Any, ask: Any, reply: Any, authority: Any, make_client: Any
) -> None:
    client = make_client()  # the system's authorities
    server = await serve(reply(), ssl=server_context(authority, "vat-svc"))
    with pytest.raises(UpstreamError, match="could not prove"):
        await ask(connect(server, tls=True, with_client=client))
    await client.aclose()


async def test_tls_to_a_server_without_it_fails_within_time(serve: Any, connect: Any, ask: Any, trusting: Any) -> None:
    server = await serve(b"HTTP/1.1 400 Bad\r\n\r\n")
    with pytest.raises(UpstreamError):
        await ask(connect(server, tls=True, with_client=trusting), within=0.2)


async def test_closing_twice_or_unopened_is_fine_and_final(
    serve: Any, connect: Any, ask: Any, reply: Any, make_client: Any
) -> None:
    client = make_client()
    await client.aclose()
    await client.aclose()
    with pytest.raises(ShuttingDown):
        await ask(connect(await serve(reply()), with_client=client))


async def test_running_out_of_sockets_is_nobody_elses_fault(
    serve: Any, connect: Any, ask: Any, reply: Any, reports: Any
) -> None:
    server = await serve(reply())
    upstream = connect(server, outliers=reports)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)  # the lowest number that is free: the next would pass the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    try:
        with pytest.raises(Overloaded, match="short of connections") as short:
            await ask(upstream)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(highest)
    assert short.value.status == 503
    assert reports.unreached == []
