"""Chunks that are small and very many: read as any are, in steps, and with no more beside the data than is usual."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import BadReply
from bridge.transport.http1 import chunked
from bridge.transport.http1.chunked import Chunked

PIECES = st.sampled_from(
    [b"a", b"bc", b"\r\n", b"\n", b"0\r\n", b"long enough to be written in two digits", b"1\r\nx\r\n"]
)
ODD = st.sampled_from([b"", b"", b"", b"", b"", b"\n", b"\r\n", b"x", b"1\r\n", b";a=b\r\n", b"0\r\n\r\n"])


def coded(pieces: list[bytes], form: bytes = b"%x") -> bytes:
    return b"".join([(form + b"\r\n%s\r\n") % (len(piece), piece) for piece in pieces])


def read(data: bytes, cuts: list[int]) -> Any:
    """What comes of `data` in pieces: the body and what follows it, or the fault."""
    body = Chunked(1 << 24)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for begin, end in pairwise(places):
            whole = body.feed(data[begin:end])
            while body.more:
                assert not whole
                whole = body.feed(b"")
            if whole:
                return b"".join(body.parts), body.rest + data[end:]
    except BadReply as error:
        return error.cause
    return b"".join(body.parts)


@given(
    pieces=st.lists(st.tuples(PIECES, st.integers(1, 200), ODD), max_size=8),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=4),
    form=st.sampled_from([b"%x", b"%X", b"00%x", b"%x ", b"%x;a=b"]),
)
@example([(b"bc", 1, b"\n")], [104], b"%x ")
def test_many_at_once_come_to_what_one_by_one_does(
    pieces: list[tuple[bytes, int, bytes]], cuts: list[int], form: bytes
) -> None:
    data = b"".join([coded([piece] * times, form) + odd for piece, times, odd in pieces]) + b"0\r\n\r\nrest"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "_MIN_WINDOW", 1 << 30)  # so that there are never many enough
        one_by_one = read(data, [])
    assert read(data, cuts) == one_by_one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "WORK", 40)
        patch.setattr(chunked, "_MIN_WINDOW", 16)
        assert read(data, cuts) == one_by_one


def test_a_step_is_bounded_whatever_the_chunks_are() -> None:
    drawn = random.Random(7)
    for pieces in ([b"x"] * 60_000, [b"\r\n"] * 60_000, [b"x" * drawn.randint(1, 3) for _ in range(60_000)]):
        body = Chunked(1 << 20)
        data = coded(pieces) + b"0\r\n\r\n"
        steps, whole = 1, body.feed(data)
        while body.more:
            before = sum(map(len, body.parts))
            whole = body.feed(b"")
            assert sum(map(len, body.parts)) - before < 40_000
            steps += 1
        assert whole
        assert b"".join(body.parts) == b"".join(pieces)
        assert steps > 5


def test_many_at_once_count_towards_the_limit() -> None:
    body = Chunked(9_999)
    assert not body.feed(coded([b"x"] * 8_000))
    while body.more:
        body.feed(b"")
    with pytest.raises(BadReply) as caught:
        body.feed(coded([b"x"] * 2_000))
    assert caught.value.cause == "more than 9999 bytes"


def test_pieces_take_the_room_of_what_they_hold() -> None:
    body = Chunked(1 << 20)
    data = coded([b"ab"] * 20_000)
    for at in range(0, len(data), 7):  # a chunk with each read
        body.feed(data[at : at + 7])
    assert sum(map(len, body.parts)) == 40_000
    assert len(body.parts) < 20


@pytest.mark.parametrize("extension", [b";a=" + b"b" * 2000, b" " * 300, b";a" * 20])
def test_framing_that_holds_more_than_data_is_refused(extension: bytes) -> None:
    body = Chunked(1 << 20)
    body.feed((b"1%s\r\nx\r\n" % extension) * 5)  # some do it
    with pytest.raises(BadReply) as caught:  # noqa: PT012  # at which one is not the point
        for _ in range(5000):
            body.feed(b"1%s\r\nx\r\n" % extension)
    assert "no data" in caught.value.cause


def test_extensions_of_chunks_that_hold_data_are_borne() -> None:
    """As AWS signs each chunk."""
    body = Chunked(1 << 24)
    for _ in range(1000):
        body.feed(b"400;chunk-signature=%s\r\n%s\r\n" % (b"a" * 64, b"x" * 1024))
    assert body.feed(b"0\r\n\r\n")


# --- on a connection ------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = coded([b"x"] * 50_000)


async def test_others_have_their_turn_meanwhile(
    exchange: Callable[..., Awaitable[Any]], serve: Callable[..., Awaitable[Any]]
) -> None:
    server = await serve(HEAD + CHUNKS + b"0\r\n\r\n")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    _, body = await exchange(server)
    counting.cancel()
    assert body == b"x" * 50_000
    # Each step takes a few thousand of them.
    assert turns >= 50_000 // chunked.WORK
    for _ in range(3):
        _, body = await exchange(server)
        assert body == b"x" * 50_000
    assert server.connections == 1


@pytest.mark.parametrize("last", [b"0\r\n\r\n", b""], ids=["whole", "broken off"])
async def test_a_service_that_closes_meanwhile_is_heard_out(
    exchange: Callable[..., Awaitable[Any]], serve: Callable[..., Awaitable[Any]], last: bytes
) -> None:
    async def behaviour(peer: Any) -> None:
        await peer.request()
        await peer.say(HEAD + CHUNKS + last)

    server = await serve(behaviour)
    if last:
        _, body = await exchange(server)
        assert body == b"x" * 50_000
    else:
        with pytest.raises(BadReply, match=r"broke off|answer"):
            await exchange(server)


async def test_a_call_that_is_given_up_meanwhile_ends_its_connection(
    exchange: Callable[..., Awaitable[Any]], serve: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "WORK", 100)
    begun = asyncio.Event()
    walk = Chunked.feed

    def feed(self: Chunked, data: bytes) -> bool:
        begun.set()
        return walk(self, data)

    monkeypatch.setattr(Chunked, "feed", feed)
    server = await serve(HEAD + CHUNKS + b"0\r\n\r\n")
    call = asyncio.ensure_future(exchange(server))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(server.closed.wait(), 10)
