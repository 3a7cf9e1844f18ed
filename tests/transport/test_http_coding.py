"""How long a reply may be, as sent and decoded, and in which codings."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from typing import Any

import pytest

from bridge.errors import BadReply
from bridge.http import coding
from bridge.transport.http1 import channel as http

# --- size and coding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"],
    ids=["length", "until close", "chunks"],
)  # fmt: skip
async def test_a_reply_over_the_limit_is_cut_off(serve: Any, connect: Any, ask: Any, head: Any) -> None:
    async def endless(peer: Any) -> None:
        await peer.request()
        await peer.say(head, b"x" * (1 if b"1001" in head else 1001))
        await peer.reader.read()

    server = await serve(endless)
    with pytest.raises(BadReply, match="longer answer"):
        await ask(connect(server, max_reply=1000), within=9.0)
    async with asyncio.timeout(9):
        await server.closed.wait()


async def test_a_reply_at_the_limit_passes(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    assert len((await ask(connect(await serve(reply(b"x" * 1000)), max_reply=1000))).body) == 1000


def deflate_bare(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


CODED = {
    "gzip": gzip.compress(b"hello" * 20),
    "x-gzip": gzip.compress(b"hello" * 20),
    "GZip": gzip.compress(b"hello" * 20),
    "gzip ": gzip.compress(b"hello" * 10) + gzip.compress(b"hello" * 10),
    "deflate": zlib.compress(b"hello" * 20),
    "Deflate": deflate_bare(b"hello" * 20),
    "identity": b"hello" * 20,
    "gzip, identity, deflate": zlib.compress(gzip.compress(b"hello" * 20)),
}


@pytest.mark.parametrize(("coding", "body"), CODED.items(), ids=CODED)
async def test_codings_are_undone(serve: Any, connect: Any, ask: Any, reply: Any, coding: Any, body: Any) -> None:
    server = await serve(reply(body, b"200 OK", b"Content-Encoding: " + coding.encode()))
    answer = await ask(connect(server))
    assert answer.body == b"hello" * 20
    assert answer.headers == []
    untouched = await ask(connect(server), decode=False)
    assert untouched.body == body
    assert untouched.headers == [("content-encoding", coding.strip())]


async def test_a_long_coded_reply_is_undone_too(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    text = b"".join(b"%d" % (number * number) for number in range(100_000))
    body = gzip.compress(text, 1)
    assert len(body) > 65536
    assert (await ask(connect(await serve(reply(body, b"200 OK", b"Content-Encoding: gzip"))))).body == text


BOMBS = {
    "gzip": gzip.compress(bytes(1 << 22)),
    "deflate": zlib.compress(bytes(1 << 22)),
    "gzip, gzip": gzip.compress(gzip.compress(bytes(1 << 26))),
    "gzip ": b"".join([gzip.compress(bytes(600_000))] * 2),
}


@pytest.mark.parametrize(("coding", "body"), BOMBS.items(), ids=BOMBS)
async def test_a_bomb_is_a_bad_reply(serve: Any, connect: Any, ask: Any, reply: Any, coding: Any, body: Any) -> None:
    server = await serve(reply(body, b"200 OK", b"Content-Encoding: " + coding.encode()))
    with pytest.raises(BadReply, match="longer answer"):
        await ask(connect(server, max_reply=1_000_000))


BROKEN = {
    "gzip": b"not gzip at all",
    "gzip ": gzip.compress(b"hello")[:-4],
    "gzip  ": gzip.compress(b"hello") + b"tail",
    "deflate": b"\xff\xff\xff\xff",
    "deflate ": zlib.compress(b"hello") + b"tail",
    "br": b"\x0b\x02\x80hello\x03",
    "gzip,gzip,gzip,gzip": b"x",
}


@pytest.mark.parametrize(("coding", "body"), BROKEN.items(), ids=BROKEN)
async def test_a_broken_coding_is_a_bad_reply(
    serve: Any, connect: Any, ask: Any, reply: Any, coding: Any, body: Any
) -> None:
    server = await serve(reply(body, b"200 OK", b"Content-Encoding: " + coding.encode()))
    with pytest.raises(BadReply):
        await ask(connect(server))


async def test_what_little_becomes_much_is_decoded_in_a_thread(
    serve: Any, connect: Any, ask: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty kilobytes may hold as many megabytes: it is what comes of a body that takes time."""
    threads: list[bool] = []
    decode = coding.decode

    def noted(body: bytes, codings: str, limit: int) -> bytes:
        threads.append(threading.current_thread() is not threading.main_thread())
        return decode(body, codings, limit)

    monkeypatch.setattr(http, "decode", noted)
    for size, expected in ((http.INLINE, [False]), (http.INLINE + 1, [False, True])):
        threads.clear()
        coded = gzip.compress(b"x" * size)
        assert len(coded) < http.BLOCKING
        server = await serve(reply(coded, b"200 OK", b"Content-Encoding: gzip"))
        assert len((await ask(connect(server, max_reply=1 << 24))).body) == size
        assert threads == expected


@pytest.mark.parametrize("count", [5000, coding.MAX_MEMBERS + 1])
def test_members_of_gzip_are_bounded(count: int) -> None:
    body = gzip.compress(b"x") * count
    if count <= coding.MAX_MEMBERS:
        assert coding.decode(body, "gzip", 1 << 20) == b"x" * count
        return
    with pytest.raises(BadReply) as caught:
        coding.decode(body, "gzip", 1 << 20)
    assert "members" in caught.value.cause
