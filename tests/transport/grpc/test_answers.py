"""What a service may answer, well or badly, to both kinds of calls: PROTOCOL-HTTP2 and what it leans on, by clause."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest

from bridge.errors import RequestError
from bridge.http2.hpack import literal
from bridge.transport.grpc.framing import encode_message
from tests.transport.grpc.kit import HELLO, LIMIT, OK, Said, body, done, section, stream, unary

HTML = literal("content-type", b"text/html")
GZIP = OK + literal("grpc-encoding", b"gzip")
BOMB = gzip.compress(bytes(10_000_000))


def http(status: int, *fields: bytes) -> bytes:
    return literal(":status", b"%d" % status) + b"".join(fields)


def packed(data: bytes, flag: int = 1) -> bytes:
    return bytes((flag,)) + len(data).to_bytes(4, "big") + data


#: Answers that end a call in the same way whatever its kind: the outcome, its code, a part of its text; what is said.
SAME: dict[str, tuple[str, int, str, list[Said]]] = {
    "trailers alone": ("reply", 5, "gone", [section(OK + done(5, literal("grpc-message", b"gone")), end=True)]),
    "a status behind the messages": ("reply", 9, "", [*HELLO[:2], section(done(9), end=True)]),
    "a status without messages": ("reply", 9, "", [section(OK), section(done(9), end=True)]),
    "an undefined status": ("reply", 17, "", [section(OK + done(17), end=True)]),
    "a status of many digits": ("reply", 10**9, "", [section(OK + done(10**9), end=True)]),
    "a status that is no int32": ("reply", 2, "", [section(OK + done(2**31), end=True)]),
    "a status that is no number": ("reply", 2, "", [section(OK + literal("grpc-status", b"-1"), end=True)]),
    "no status": ("BadReply", 2, "without a status", [*HELLO[:2], section(literal("x-a", b""), end=True)]),
    "no status in trailers alone": ("BadReply", 2, "", [section(OK, end=True)]),
    "an end on DATA": ("BadReply", 2, "without a status", [section(OK), body(encode_message(b"hello"), end=True)]),
    "an end on empty DATA": ("BadReply", 2, "without a status", [*HELLO[:2], body(b"", end=True)]),
    "a body before its headers": ("BadReply", 2, "without a header", [body(encode_message(b"hello"))]),
    "trailers before the headers": ("BadReply", 2, "", [section(done(), end=True)]),
    "headers twice": ("BadReply", 2, "within", [section(OK), section(OK)]),
    "headers as trailers": ("BadReply", 2, "", [*HELLO[:2], section(OK + done(), end=True)]),
    "trailers without an end": ("BadReply", 2, "within", [*HELLO[:2], section(done())]),
    "an informational end": ("BadReply", 2, "", [section(http(103) + done(5), end=True)]),
    "fields that may not be": ("BadReply", 2, "may not stand", [section(OK + literal("Upper", b""))]),
    "such trailers": ("BadReply", 2, "may not stand", [*HELLO[:2], section(done() + literal("Upper", b""), end=True)]),
    # "HTTP2 Transport Mapping", and doc/http-grpc-status-mapping.md
    "another content type": ("BadReply", 2, "text/html", [section(b"\x88" + HTML)]),
    "no content type": ("BadReply", 2, "content-type ''", [section(b"\x88")]),
    "another that begins alike": (
        "BadReply",
        2,
        "grpcish",
        [section(b"\x88" + literal("content-type", b"application/grpcish"))],
    ),
    "gRPC-Web": (
        "BadReply",
        2,
        "grpc-web",
        [section(b"\x88" + literal("content-type", b"application/grpc-web+proto"))],
    ),
    "400": ("BadReply", 13, "HTTP status 400", [section(http(400, HTML)), body(b"<p>")]),
    "401": ("BadReply", 16, "HTTP status 401", [section(http(401), end=True)]),
    "403": ("BadReply", 7, "HTTP status 403", [section(http(403, HTML)), body(b"<p>", end=True)]),
    "404": ("BadReply", 12, "HTTP status 404", [section(http(404, HTML)), body(b"<p>")]),
    "418": ("BadReply", 2, "HTTP status 418", [section(http(418), end=True)]),
    "429": ("Unavailable", 14, "HTTP status 429", [section(http(429), end=True)]),
    "500": ("BadReply", 2, "HTTP status 500", [section(http(500, HTML)), body(b"<p>")]),
    "502": ("Unavailable", 14, "HTTP status 502", [section(http(502, HTML))]),
    "503 with a page": ("Unavailable", 14, "HTTP status 503", [section(http(503, HTML)), body(b"<p>", end=True)]),
    "503 with a status of gRPC's": ("reply", 8, "", [section(http(503, HTML) + done(8), end=True)]),
    # "Length-Prefixed-Message", and compression.md
    "a flag that is none": ("BadReply", 2, "flag 2", [section(OK), body(packed(b"x", 2))]),
    "compressed, but by what?": ("BadReply", 2, "compressed", [section(OK), body(packed(gzip.compress(b"x")))]),
    "by what nobody knows": (
        "BadReply",
        2,
        "'br'",
        [section(OK + literal("grpc-encoding", b"br")), body(packed(b"x"))],
    ),
    "gzip that is none": ("BadReply", 2, "no gzip", [section(GZIP), body(packed(b"x" * 30))]),
    "gzip cut off": ("BadReply", 2, "no whole gzip", [section(GZIP), body(packed(gzip.compress(b"x" * 99)[:-4]))]),
    "gzip and more": ("BadReply", 2, "no whole gzip", [section(GZIP), body(packed(gzip.compress(b"x") + b"y"))]),
    "a bomb": ("ReplyTooLarge", 2, "larger", [section(GZIP), body(packed(BOMB)[:9000]), body(packed(BOMB)[9000:])]),
    "a byte too many": ("ReplyTooLarge", 2, "larger", [section(GZIP), body(packed(gzip.compress(bytes(LIMIT + 1))))]),
    "larger than allowed, at its prefix": (
        "ReplyTooLarge",
        2,
        "1001 bytes",
        [section(OK), body(packed(b"", 0)[:3]), body(b"\x03\xe9")],
    ),
    "4 GB": ("ReplyTooLarge", 2, "4294967295 bytes", [section(OK), body(b"\x00\xff\xff\xff\xff")]),
    # "Custom-Metadata"
    "bytes that are no base64": ("BadReply", 2, "x-b-bin", [section(OK + literal("x-b-bin", b"a*"))]),
    "such bytes in trailers": (
        "BadReply",
        2,
        "x-b-bin",
        [*HELLO[:2], section(done(0, literal("x-b-bin", b"abcde")), end=True)],
    ),
    "more metadata than allowed": ("BadReply", 8, "metadata", [section(OK + literal("x-a", b"v" * 16_300))]),
    "more in trailers": (
        "BadReply",
        8,
        "metadata",
        [*HELLO[:2], section(done(0, literal("x-a", b"v" * 16_350)), end=True)],
    ),
}


async def hear(call: Any) -> None:
    """As a caller of a stream does: all messages, then the status."""
    async with asyncio.timeout(5):
        while await call.read() is not None:
            pass


@pytest.mark.parametrize(("kind", "code", "text", "said"), SAME.values(), ids=SAME)
@pytest.mark.parametrize("which", ["unary", "stream"])
async def test_an_answer(which: str, kind: str, code: int, text: str, said: list[Said]) -> None:
    called = unary(limit=LIMIT) if which == "unary" else stream(limit=LIMIT)[0]
    called.say(*said[:-1])
    early = called.call.done.done()
    called.say(said[-1])
    if which == "stream":
        await hear(called.call)
    seen = called.outcome()
    assert seen[:2] == (kind, code)
    assert text in seen[2]
    assert called.pair.ours.streams == {}
    # The service hears that no more is wanted, unless it has ended and so have we.
    assert called.resets() == ([8] if which == "stream" or early or not said[-1].end else [])


@pytest.mark.parametrize("status", [429, 503])
async def test_when_to_call_again_is_what_the_proxy_says(status: int) -> None:
    for fields, expected in ((literal("retry-after", b"120"), "120"), (b"", "1")):
        called = unary()
        called.say(section(http(status, fields), end=True))
        result = called.ended().result
        assert isinstance(result, RequestError)
        assert dict(result.headers) == {"retry-after": expected}


@pytest.mark.parametrize("cut", range(1, 10))
@pytest.mark.parametrize("which", ["unary", "stream"])
async def test_a_message_in_pieces(which: str, cut: int) -> None:
    """Frames know nothing of messages: prefix and message may be cut anywhere, with empty frames between."""
    whole = encode_message(b"hello")
    pieces = [body(whole[:cut]), body(b""), *(body(whole[at : at + 1]) for at in range(cut, len(whole)))]
    if which == "unary":
        called = unary()
        called.say(section(OK), *pieces, section(done(), end=True))
        ended = called.ended()
        assert ended.settle().message == b"hello"
        return
    called, call = stream()
    called.say(section(OK), *pieces, section(done(), end=True))
    assert [await call.read(), await call.read()] == [b"hello", None]


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", None), ("gzip", None), ("br", None)],
)
@pytest.mark.parametrize("which", ["unary", "stream"])
async def test_messages_that_are_compressed(which: str, coding: str, pack: Any) -> None:
    """Each message says by its flag whether it is."""
    plain = b"\x00" * LIMIT
    said = (
        section(OK + literal("grpc-encoding", coding.encode())),
        body(packed(pack(plain)) if pack else encode_message(plain)),
    )
    called, call = (unary(), None) if which == "unary" else stream()
    called.say(*said, section(done(), end=True))
    assert (called.ended().settle().message if call is None else await call.read()) == plain


#: "Status-Message": percent-encoded UTF-8; what is wrongly encoded must not be lost.
WORDS = {
    b"no such county: 100%25 %C3%A9": "no such county: 100% é",
    b"%": "%",
    b"%4": "%4",
    b"%zz%41": "%zzA",
    b"a%FFb": "a\ufffdb",
    b"%E2%82": "\ufffd",
    b"a+b c": "a+b c",
    b"%0a%00": "\n\x00",
    b"": "",
}


@pytest.mark.parametrize(("raw", "text"), WORDS.items())
async def test_the_service_s_words(raw: bytes, text: str) -> None:
    called = unary()
    called.say(section(OK + done(9, literal("grpc-message", raw)), end=True))
    assert called.outcome() == ("reply", 9, text)


#: "Custom-Metadata": binary values in base64, padded or not, several of them as one.
BYTES = {
    b"YWI": [b"ab"],
    b"YWI=": [b"ab"],
    b"YQ": [b"a"],
    b"YQ==": [b"a"],
    b"": [b""],
    b"YQ,YWI=,YWJj": [b"a", b"ab", b"abc"],
    b"YQ , YWI": [b"a", b"ab"],
    b"//79": [b"\xff\xfe\xfd"],
}


@pytest.mark.parametrize(("raw", "values"), BYTES.items())
async def test_binary_metadata(raw: bytes, values: list[bytes]) -> None:
    called = unary()
    field = literal("x-b-bin", raw) + literal("x-a", b"t")
    called.say(section(OK + field), HELLO[1], section(done(0, field), end=True))
    reply = called.ended().settle()
    expected = [*(("x-b-bin", value) for value in values), ("x-a", "t")]
    assert list(reply.metadata) == list(reply.trailers) == expected


@pytest.mark.parametrize("media", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"])
async def test_content_types_that_are_grpc(media: bytes) -> None:
    called = unary()
    called.say(section(b"\x88" + literal("content-type", media)), *HELLO[1:])
    assert called.ended().settle().message == b"hello"


async def test_informational_sections_are_passed_over() -> None:
    called = unary()
    called.say(section(http(100)), section(http(103, literal("x-early", b"1"))), *HELLO)
    reply = called.ended().settle()
    assert (reply.message, list(reply.metadata)) == (b"hello", [])
