"""HTTP upstreams over real sockets, against servers that do everything wrong that servers do."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
import ssl
import zlib
from time import perf_counter

import pytest
import trustme

from bridge.errors import BadReply, ClientError, Timeout, Unavailable, UpstreamError
from bridge.upstream.http import HttpClient


def dead_port() -> int:
    """A port that refuses: bound a moment ago, and closed again."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# --- what goes up ------------------------------------------------------------------------------------------------


async def test_only_what_was_asked_for_goes_up(serve, connect, ask, reply):
    server = await serve(reply())
    answer = await ask(connect(server), "POST", "/a?b=c", headers=[("content-type", "text/xml")], body=b"<a/>")
    assert (answer.status, answer.body) == (200, b"hello")
    [seen] = server.seen
    assert seen.line == b"POST /a?b=c HTTP/1.1"
    assert seen.body == b"<a/>"
    assert sorted(name.lower() for name, _ in seen.fields) == [
        b"accept-encoding", b"content-length", b"content-type", b"host",
    ]  # fmt: skip
    assert seen.all(b"accept-encoding") == [b"identity"]


async def test_passthrough_adds_nothing_of_its_own(serve, connect, ask, reply):
    server = await serve(reply())
    await ask(connect(server), decode=False)
    await ask(connect(server), decode=False, headers=[("accept-encoding", "br, gzip")])
    assert [name for name, _ in server.seen[0].fields] == [b"host"]
    assert server.seen[1].all(b"accept-encoding") == [b"br, gzip"]


async def test_the_host_is_the_mesh_name_and_never_an_address(serve, connect, ask, reply):
    server = await serve(reply())
    await ask(connect(server), headers=[("host", "evil.example")])
    await ask(connect(server, port="http"))
    assert server.seen[0].all(b"host") == [b"vat-svc:8080"]
    assert server.seen[1].all(b"host") == [b"vat-svc"]  # a service name can't stand in Host
    assert b"127.0.0.1" not in server.seen[0].head


@pytest.mark.parametrize(
    "path",
    ["/", "/a//b/../c/./d", "//x", "/%2e%2E/%2f?x=%zz&y=a+b&z", "/x?", "/x?y?z", "/a:b@c;d=1,2", "/{x}|^`\"'<>\\[]"],
)
async def test_the_path_goes_up_as_it_is(serve, connect, ask, reply, path):
    server = await serve(reply())
    await ask(connect(server), path=path)
    assert server.seen[0].line == f"GET {path} HTTP/1.1".encode()


@pytest.mark.parametrize("path", ["", "a", "*", "http://a/", "/a b", "/a\r\nX: y", "/é", "/a#b", "/\x00", "/a\x7f"])
async def test_a_path_that_is_no_request_target_is_refused(serve, connect, ask, reply, path):
    server = await serve(reply())
    with pytest.raises(ClientError) as refused:
        await ask(connect(server), path=path)
    assert refused.value.status == 400
    assert server.connections == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-a", "b\r\nx-c: d"), ("x-a", "b\nc"), ("x-a", "b\rc"), ("x-a", "b\0"), ("x-a", "\ud800"), ("x a", "b"),
     ("x-a:", "b"), ("", "b"), ("x\r\ny", "b"), ("ü", "b")],
)  # fmt: skip
async def test_fields_that_could_split_a_message_are_refused(serve, connect, ask, reply, name, value):
    server = await serve(reply())
    with pytest.raises(ClientError):
        await ask(connect(server), headers=[(name, value)])
    with pytest.raises(ClientError):
        await ask(connect(server), trace=((name, value),))
    assert server.connections == 0


async def test_a_method_that_is_no_token_is_refused(serve, connect, ask, reply):
    server = await serve(reply())
    with pytest.raises(ClientError):
        await ask(connect(server), "GET / HTTP/1.1\r\nX: y\r\n\r\nGET")
    assert server.connections == 0


async def test_hop_by_hop_and_framing_fields_stay_behind(serve, connect, ask, reply):
    server = await serve(reply())
    brought = [
        ("connection", "close, X-Secret"), ("x-secret", "1"), ("keep-alive", "5"), ("te", "trailers"),
        ("trailer", "x"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("proxy-authorization", "Basic x"),
        ("proxy-anything", "y"), ("content-length", "999"), ("expect", "100-continue"), ("Host", "evil"),
        ("x-kept", "1"), ("x-kept", "2"),
    ]  # fmt: skip
    await ask(connect(server), "POST", headers=brought, body=b"abc")
    [seen] = server.seen
    assert seen.body == b"abc"
    assert seen.all(b"content-length") == [b"3"]
    assert seen.all(b"x-kept") == [b"1", b"2"]
    assert {name.lower() for name, _ in seen.fields} == {b"host", b"content-length", b"accept-encoding", b"x-kept"}


async def test_trace_fields_replace_those_brought(serve, connect, ask, reply):
    server = await serve(reply())
    brought = [("x-trace-id", "theirs"), ("Traceparent", "theirs")]
    await ask(connect(server), headers=brought, trace=(("x-trace-id", "ours"), ("traceparent", "00-1")))
    assert server.seen[0].all(b"x-trace-id") == [b"ours"]
    assert server.seen[0].all(b"traceparent") == [b"00-1"]


async def test_octets_above_ascii_go_up_as_they_came(serve, connect, ask, reply):
    server = await serve(reply())
    as_asgi = "Žižka".encode().decode("latin-1")
    await ask(connect(server), headers=[("x-name", as_asgi), ("x-tab", "a\tb"), ("x-wide", "Ž"), ("x-latin", "\xe9")])
    [seen] = server.seen
    assert seen.all(b"x-name") == ["Žižka".encode()]
    assert seen.all(b"x-tab") == [b"a\tb"]
    assert seen.all(b"x-wide") == ["Ž".encode()]
    assert seen.all(b"x-latin") == ["é".encode()]


@pytest.mark.parametrize(("method", "length"), [("POST", [b"0"]), ("PUT", [b"0"]), ("GET", [])])
async def test_an_empty_body_is_framed(serve, connect, ask, reply, method, length):
    server = await serve(reply())
    await ask(connect(server), method)
    assert server.seen[0].all(b"content-length") == length
    assert server.seen[0].all(b"content-type") == []


# --- what comes back ---------------------------------------------------------------------------------------------


async def test_the_reply_comes_back_less_its_connection(serve, connect, ask, reply):
    fields = (
        b"Content-Type: text/xml", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"Connection: x-hop", b"X-Hop: 1",
        b"Keep-Alive: timeout=5", b"Proxy-Status: 10.0.0.7", b"X-Name: \xc5\xbd", b"Server: IIS",
    )  # fmt: skip
    server = await serve(reply(b"<a/>", b"404 Nope", *fields))
    answer = await ask(connect(server))
    assert (answer.status, answer.body) == (404, b"<a/>")
    assert list(answer.headers) == [
        ("content-type", "text/xml"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-name", "\xc5\xbd"),
        ("server", "IIS"),
    ]  # fmt: skip


async def test_cookies_are_not_kept(serve, connect, ask, reply):
    server = await serve(reply(b"", b"200 OK", b"Set-Cookie: session=1; Path=/"))
    upstream = connect(server)
    await ask(upstream)
    await ask(upstream)
    assert server.seen[1].all(b"cookie") == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304, 300])
async def test_a_redirect_is_a_reply(serve, connect, ask, reply, status):
    server = await serve(reply(b"", b"%d Moved" % status, b"Location: https://elsewhere.example/x"))
    answer = await ask(connect(server))
    assert answer.status == status
    assert ("location", "https://elsewhere.example/x") in answer.headers
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("http://vat-svc:8080/a?b#c", "/a?b#c"), ("http://127.0.0.1:9/a", "/a"),
        ("//VAT-SVC//evil.example", "/evil.example"),
        ("http://vat-svc", "/"), ("/a", "/a"), ("https://other.example/a", "https://other.example/a"),
    ],
)  # fmt: skip
async def test_a_location_never_tells_where_the_upstream_is(serve, connect, ask, reply, sent, got):
    server = await serve(reply(b"", b"302 Found", b"Location: " + sent.encode()))
    assert dict((await ask(connect(server))).headers)["location"] == got


async def test_a_location_that_is_no_uri_is_left_out(serve, connect, ask, reply):
    server = await serve(reply(b"", b"302 Found", b"Location: http://[127.0.0.1/"))
    assert (await ask(connect(server))).headers == []


async def test_chunks_early_hints_and_read_until_close(serve, connect, ask):
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    hinted = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert (await ask(connect(await serve(hinted + chunked)))).body == b"abcde"

    async def until_close(peer):
        await peer.request()
        await peer.say(b"HTTP/1.0 200 OK\r\n\r\n", b"abc", b"de")

    assert (await ask(connect(await serve(until_close)))).body == b"abcde"


async def test_a_head_reply_has_no_body(serve, connect, ask):
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nContent-Encoding: gzip\r\n\r\n")
    answer = await ask(connect(server), "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    await ask(connect(server), "HEAD")
    assert server.connections == 1


async def test_a_dripped_reply_is_read_whole(serve, connect, ask, reply):
    async def drip(peer):
        await peer.request()
        for byte in reply(b"slowly"):
            await peer.say(bytes((byte,)))
            await asyncio.sleep(0)

    assert (await ask(connect(await serve(drip)))).body == b"slowly"


GARBAGE = {
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "http/0.9": b"<html>hello</html>\r\n\r\n",
    "status letters": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\n",
    "switched protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length in words": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "bad chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "bad chunk end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    "huge chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
    "longer than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello",
    "a field without a name": b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
    "a huge field": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "endless fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"Content-Length: 0\r\n\r\n",
    "nul in a field": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("closes", [True, False])
async def test_a_reply_that_breaks_http_is_a_bad_reply(serve, connect, ask, said, closes):
    async def garbage(peer):
        await peer.request()
        await peer.say(said)
        if not closes:
            await peer.reader.read()

    server = await serve(garbage)
    began = perf_counter()
    with pytest.raises(BadReply) as bad:
        await ask(connect(server), within=9.0)
    assert perf_counter() - began < 5  # told at once, and not by the deadline
    assert bad.value.status == 502
    assert str(server.port) not in bad.value.detail
    assert "127.0.0.1" not in bad.value.detail
    async with asyncio.timeout(9):
        await server.closed.wait()


HALF = {
    "in the status line": b"HTTP/1.1 20",
    "in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "before the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
    "before the body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "before the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
}


@pytest.mark.parametrize("said", HALF.values(), ids=HALF)
@pytest.mark.parametrize("reset", [True, False])
async def test_half_a_reply_is_no_reply(serve, connect, ask, said, reset):
    async def half(peer):
        await peer.request()
        await peer.say(said)
        if reset:
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    server = await serve(half)
    began = perf_counter()
    with pytest.raises(UpstreamError) as bad:
        await ask(connect(server), within=9.0)
    assert perf_counter() - began < 5
    assert bad.value.status == 502
    assert len(server.seen) == 1  # something had come, so it is not sent again


# --- size and coding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"],
    ids=["length", "until close", "chunks"],
)  # fmt: skip
async def test_a_reply_over_the_limit_is_cut_off(serve, connect, ask, head):
    async def endless(peer):
        await peer.request()
        await peer.say(head, b"x" * (1 if b"1001" in head else 1001))
        await peer.reader.read()

    server = await serve(endless)
    with pytest.raises(BadReply, match="longer answer"):
        await ask(connect(server, max_reply=1000), within=9.0)
    async with asyncio.timeout(9):
        await server.closed.wait()


async def test_a_reply_at_the_limit_passes(serve, connect, ask, reply):
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
async def test_codings_are_undone(serve, connect, ask, reply, coding, body):
    server = await serve(reply(body, b"200 OK", b"Content-Encoding: " + coding.encode()))
    answer = await ask(connect(server))
    assert answer.body == b"hello" * 20
    assert answer.headers == []
    untouched = await ask(connect(server), decode=False)
    assert untouched.body == body
    assert untouched.headers == [("content-encoding", coding.strip())]


async def test_a_long_coded_reply_is_undone_too(serve, connect, ask, reply):
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
async def test_a_bomb_is_a_bad_reply(serve, connect, ask, reply, coding, body):
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
async def test_a_broken_coding_is_a_bad_reply(serve, connect, ask, reply, coding, body):
    server = await serve(reply(body, b"200 OK", b"Content-Encoding: " + coding.encode()))
    with pytest.raises(BadReply):
        await ask(connect(server))


# --- connections -------------------------------------------------------------------------------------------------


async def test_connections_are_kept_and_shared(serve, connect, ask, reply):
    server = await serve(reply())
    for _ in range(5):
        await ask(connect(server), "POST", body=b"x")
    assert server.connections == 1


async def test_a_refusing_address_is_passed_over_and_reported(serve, connect, ask, reply):
    server, failed = await serve(reply()), []
    dead = ("127.0.0.1", dead_port())
    answer = await ask(connect(dead, server, failed=failed.append), "POST", body=b"once")
    assert answer.body == b"hello"
    assert failed == [dead]
    assert [seen.body for seen in server.seen] == [b"once"]


async def test_all_addresses_dead_is_503_at_once(connect, ask):
    dead = [("127.0.0.1", dead_port()) for _ in range(3)]
    failed = []
    with pytest.raises(Unavailable) as none:
        await ask(connect(*dead, failed=failed.append), within=60)
    assert (none.value.status, dict(none.value.headers)) == (503, {"retry-after": "1"})
    assert failed == dead
    assert "127.0.0.1" not in none.value.detail
    assert str(dead[-1][1]) in none.value.cause


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_a_stale_connection_is_no_failure_for_an_idempotent_call(serve, connect, ask, reply, method):
    async def once_each(peer):
        await peer.request()
        await peer.say(reply(b""))
        await peer.request()  # read, and closed without an answer: as an idle timeout that crosses a request

    server = await serve(once_each)
    upstream = connect(server)
    await ask(upstream, method)
    assert (await ask(upstream, method)).status == 200
    assert [seen.connection for seen in server.seen] == [1, 1, 2]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_calls_are_never_sent_twice(serve, connect, ask, reply, method):
    async def once_each(peer):
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


async def test_a_fresh_connection_closed_without_an_answer_is_no_stale_one(serve, connect, ask):
    async def silent(peer):
        await peer.request()

    server = await serve(silent)
    with pytest.raises(UpstreamError) as lost:
        await ask(connect(server))
    assert lost.value.status == 502
    assert len(server.seen) == 1


async def test_a_service_that_always_closes_is_asked_twice_at_most(serve, connect, ask, reply):
    async def behave(peer):
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


async def test_bytes_that_answer_nothing_never_answer_the_next_call(serve, connect, ask, reply):
    """Response poisoning: a reply nobody asked for, lying in an idle connection."""
    said = asyncio.Event()

    async def poison(peer):
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


async def test_a_reply_before_the_end_of_a_large_body(serve, connect, ask, reply):
    async def impatient(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(reply(b"no", b"413 Too Large"))
        await peer.reader.read(1)
        await asyncio.Event().wait()  # never reads the rest

    server = await serve(impatient)
    upstream = connect(server)
    assert (await ask(upstream, "POST", body=bytes(32 << 20))).status == 413
    assert (await ask(upstream, "POST", body=bytes(32 << 20))).status == 413
    assert server.connections == 2  # the first is in the middle of a request; it can't be used again


async def test_many_at_once(serve, connect, ask):
    async def echo(peer):
        while True:
            seen = await peer.request()
            await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen.body), seen.body)

    upstream = connect(await serve(echo))
    bodies = [b"%d" % number for number in range(80)]
    answers = await asyncio.gather(*(ask(upstream, "POST", body=body) for body in bodies))
    assert [answer.body for answer in answers] == bodies


# --- time --------------------------------------------------------------------------------------------------------


async def after_request(peer):
    await peer.request()
    await peer.reader.read()


async def after_head(peer):
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    await peer.reader.read()


async def endless_hints(peer):
    await peer.request()
    while True:
        await peer.say(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.01)


async def never_reads(peer):
    await peer.reader.readexactly(1)
    await asyncio.Event().wait()


@pytest.mark.parametrize("behaviour", [after_request, after_head, endless_hints, never_reads])
async def test_the_deadline_ends_every_wait(serve, connect, ask, behaviour):
    server = await serve(behaviour)
    began = perf_counter()
    with pytest.raises(Timeout) as late:
        await ask(connect(server), "POST", body=bytes(8 << 20) if behaviour is never_reads else b"", within=0.1)
    assert late.value.status == 504
    assert perf_counter() - began < 3  # a machine under load is slow; a hang is slower
    if behaviour is not never_reads:
        async with asyncio.timeout(9):
            await server.closed.wait()


async def test_a_deadline_that_has_passed_sends_nothing(serve, connect, ask, reply):
    server = await serve(reply())
    with pytest.raises(Timeout):
        await ask(connect(server), within=0)
    assert server.connections == 0


async def test_an_address_that_never_answers_leaves_time_for_the_next(serve, connect, ask, reply):
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
        server, failed = await serve(reply()), []
        answer = await ask(connect(full.getsockname(), server, failed=failed.append), within=0.6)
        for filler in fillers:
            filler.close()
        assert failed == [full.getsockname()]
    assert answer.body == b"hello"


async def test_cancelling_closes_the_connection(serve, connect, ask):
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
async def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client = HttpClient(ssl_context=context)
    yield client
    await client.aclose()


async def test_tls_verifies_the_mesh_name(serve, connect, ask, reply, authority, trusting):
    server = await serve(reply(), ssl=server_context(authority, "vat-svc"))
    upstream = connect(server, tls=True, with_client=trusting)
    assert (await ask(upstream)).body == b"hello"
    assert (await ask(upstream)).body == b"hello"
    assert server.connections == 1


@pytest.mark.parametrize("name", ["other-svc", "127.0.0.1"])
async def test_a_certificate_of_another_name_is_refused(serve, connect, ask, reply, authority, trusting, name):
    server = await serve(reply(), ssl=server_context(authority, name))
    with pytest.raises(UpstreamError, match="could not prove") as refused:
        await ask(connect(server, tls=True, with_client=trusting))
    assert refused.value.status == 502
    assert server.seen == []


async def test_an_unknown_authority_is_refused(serve, connect, ask, reply, authority):
    client = HttpClient()  # the system's authorities
    server = await serve(reply(), ssl=server_context(authority, "vat-svc"))
    with pytest.raises(UpstreamError, match="could not prove"):
        await ask(connect(server, tls=True, with_client=client))
    await client.aclose()


async def test_tls_to_a_server_without_it_fails_within_time(serve, connect, ask, trusting):
    server = await serve(b"HTTP/1.1 400 Bad\r\n\r\n")
    with pytest.raises(UpstreamError):
        await ask(connect(server, tls=True, with_client=trusting), within=0.2)


async def test_closing_twice_or_unopened_is_fine_and_final(serve, connect, ask, reply):
    client = HttpClient()
    await client.aclose()
    await client.aclose()
    with pytest.raises(Unavailable):
        await ask(connect(await serve(reply()), with_client=client))


async def test_running_out_of_sockets_is_nobody_elses_fault(serve, connect, ask, reply, monkeypatch):
    server, failed = await serve(reply()), []

    def none_left(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(Unavailable, match="short of connections") as short:
        await ask(connect(server, failed=failed.append))
    assert short.value.status == 503
    assert failed == []
