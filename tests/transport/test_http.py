"""What goes up and what comes back over HTTP, against servers that break the protocol in every way they do."""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter
from typing import Any

import pytest

from bridge.errors import BadReply, ClientError, UpstreamError

# --- what goes up ------------------------------------------------------------------------------------------------


async def test_only_what_was_asked_for_goes_up(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
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


async def test_passthrough_adds_nothing_of_its_own(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply())
    await ask(connect(server), decode=False)
    await ask(connect(server), decode=False, headers=[("accept-encoding", "br, gzip")])
    assert [name for name, _ in server.seen[0].fields] == [b"host"]
    assert server.seen[1].all(b"accept-encoding") == [b"br, gzip"]


async def test_the_host_is_the_mesh_name_and_never_an_address(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
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
async def test_the_path_goes_up_as_it_is(serve: Any, connect: Any, ask: Any, reply: Any, path: Any) -> None:
    server = await serve(reply())
    await ask(connect(server), path=path)
    assert server.seen[0].line == f"GET {path} HTTP/1.1".encode()


@pytest.mark.parametrize("path", ["", "a", "*", "http://a/", "/a b", "/a\r\nX: y", "/é", "/a#b", "/\x00", "/a\x7f"])
async def test_a_path_that_is_no_request_target_is_refused(
    serve: Any, connect: Any, ask: Any, reply: Any, path: Any
) -> None:
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
async def test_fields_that_could_split_a_message_are_refused(
    serve: Any, connect: Any, ask: Any, reply: Any, name: Any, value: Any
) -> None:
    server = await serve(reply())
    with pytest.raises(ClientError):
        await ask(connect(server), headers=[(name, value)])
    with pytest.raises(ClientError):
        await ask(connect(server), trace=((name, value),))
    assert server.connections == 0


async def test_a_method_that_is_no_token_is_refused(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply())
    with pytest.raises(ClientError):
        await ask(connect(server), "GET / HTTP/1.1\r\nX: y\r\n\r\nGET")
    assert server.connections == 0


async def test_hop_by_hop_and_framing_fields_stay_behind(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
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


async def test_trace_fields_replace_those_brought(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply())
    brought = [("x-trace-id", "theirs"), ("Traceparent", "theirs")]
    await ask(connect(server), headers=brought, trace=(("x-trace-id", "ours"), ("traceparent", "00-1")))
    assert server.seen[0].all(b"x-trace-id") == [b"ours"]
    assert server.seen[0].all(b"traceparent") == [b"00-1"]


async def test_octets_above_ascii_go_up_as_they_came(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply())
    as_asgi = "Žižka".encode().decode("latin-1")
    await ask(connect(server), headers=[("x-name", as_asgi), ("x-tab", "a\tb"), ("x-wide", "Ž"), ("x-latin", "\xe9")])
    [seen] = server.seen
    assert seen.all(b"x-name") == ["Žižka".encode()]
    assert seen.all(b"x-tab") == [b"a\tb"]
    assert seen.all(b"x-wide") == ["Ž".encode()]
    assert seen.all(b"x-latin") == ["é".encode()]


@pytest.mark.parametrize(("method", "length"), [("POST", [b"0"]), ("PUT", [b"0"]), ("GET", [])])
async def test_an_empty_body_is_framed(
    serve: Any, connect: Any, ask: Any, reply: Any, method: Any, length: Any
) -> None:
    server = await serve(reply())
    await ask(connect(server), method)
    assert server.seen[0].all(b"content-length") == length
    assert server.seen[0].all(b"content-type") == []


# --- what comes back ---------------------------------------------------------------------------------------------


async def test_the_reply_comes_back_less_its_connection(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
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


async def test_cookies_are_not_kept(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply(b"", b"200 OK", b"Set-Cookie: session=1; Path=/"))
    upstream = connect(server)
    await ask(upstream)
    await ask(upstream)
    assert server.seen[1].all(b"cookie") == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304, 300])
async def test_a_redirect_is_a_reply(serve: Any, connect: Any, ask: Any, reply: Any, status: Any) -> None:
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
        ("http://vat-svc/a?", "/a?"), ("http://vat-svc:80/a?#", "/a?#"),
        ("http://vat-svc", "/"), ("/a", "/a"), ("https://other.example/a", "https://other.example/a"),
    ],
)  # fmt: skip
async def test_a_location_never_tells_where_the_upstream_is(
    serve: Any, connect: Any, ask: Any, reply: Any, sent: Any, got: Any
) -> None:
    server = await serve(reply(b"", b"302 Found", b"Location: " + sent.encode()))
    assert dict((await ask(connect(server))).headers)["location"] == got


async def test_a_location_that_is_no_uri_is_left_out(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    server = await serve(reply(b"", b"302 Found", b"Location: http://[127.0.0.1/"))
    assert (await ask(connect(server))).headers == []


async def test_chunks_early_hints_and_read_until_close(serve: Any, connect: Any, ask: Any) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    hinted = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert (await ask(connect(await serve(hinted + chunked)))).body == b"abcde"

    async def until_close(peer: Any) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.0 200 OK\r\n\r\n", b"abc", b"de")

    assert (await ask(connect(await serve(until_close)))).body == b"abcde"


async def test_a_head_reply_has_no_body(serve: Any, connect: Any, ask: Any) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nContent-Encoding: gzip\r\n\r\n")
    answer = await ask(connect(server), "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    await ask(connect(server), "HEAD")
    assert server.connections == 1


async def test_a_dripped_reply_is_read_whole(serve: Any, connect: Any, ask: Any, reply: Any) -> None:
    async def drip(peer: Any) -> None:
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
async def test_a_reply_that_breaks_http_is_a_bad_reply(
    serve: Any, connect: Any, ask: Any, said: Any, closes: Any
) -> None:
    async def garbage(peer: Any) -> None:
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
async def test_half_a_reply_is_no_reply(serve: Any, connect: Any, ask: Any, said: Any, reset: Any) -> None:
    async def half(peer: Any) -> None:
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
