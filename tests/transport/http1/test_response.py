"""The reader of responses without a socket: what each clause lets through, and what any bytes in any pieces come to."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import BadReply
from bridge.transport.http1.head import CHUNKED, MAX_FIELDS, MAX_HEAD, Heads
from bridge.transport.http1.response import MAX_INTERIM, Response

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n"
CODED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*parts: bytes, method: str = "GET", limit: int = 10_000, ends: bool = True) -> Response:
    """The response in `parts`, after which the connection ends in good order."""
    response = Response(Heads())
    response.start(without_body=method == "HEAD", limit=limit)
    for part in parts:
        if response.feed(part):
            return response
    assert ends
    assert response.eof()
    return response


def read_all(parts: list[bytes]) -> None:
    """As `read`; what comes after the end is refused as a connection refuses it."""
    response = Response(Heads())
    response.start(without_body=False, limit=10_000)
    for part in parts[:-1]:
        if response.feed(part):
            raise BadReply(cause="the connection has more to say")
    if not response.feed(parts[-1]):
        response.eof()


def fields(response: Response) -> list[tuple[str, str]]:
    assert response.head is not None
    return list(response.head.reply.fields)


TAKEN = {
    "a length": (OK + TWO + b"\r\nhi", b"hi", 15.0),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", b"", 15.0),
    "a length with zeros before it": (OK + b"Content-Length: 002\r\n\r\nhi", b"hi", 15.0),
    "blanks around a value": (OK + b"Content-Length: \t 2 \t\r\n\r\nhi", b"hi", 15.0),
    "until close": (OK + b"\r\nhi", b"hi", 0.0),
    "1.0": (b"HTTP/1.0 200 OK\r\n" + TWO + b"\r\nhi", b"hi", 0.0),
    "1.0 that would be kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + TWO + b"\r\nhi", b"hi", 0.0),
    "1.2": (b"HTTP/1.2 200 OK\r\n" + TWO + b"\r\nhi", b"hi", 15.0),
    "chunks": (CODED + b"1\r\nh\r\n01\r\ni\r\n0\r\n\r\n", b"hi", 15.0),
    "chunks by 1.0": (CODED.replace(b"1.1", b"1.0") + b"2\r\nhi\r\n0\r\n\r\n", b"hi", 0.0),
    "a size in capitals": (CODED + b"A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", 15.0),
    "Chunked": (OK + b"transfer-encoding:  Chunked \r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", 15.0),
    "extensions": (CODED + b'2;a;b="c \t;d"\r\nhi\r\n0;x\r\n\r\n', b"hi", 15.0),
    "blanks after a size": (CODED + b"2 \t\r\nhi\r\n0 ;a\r\n\r\n", b"hi", 15.0),
    "trailers": (CODED + b"2\r\nhi\r\n0\r\nDigest: x\r\nX-Y: \r\n\r\n", b"hi", 15.0),
    "close": (OK + b"Connection: close\r\n" + TWO + b"\r\nhi", b"hi", 0.0),
    "Close among others": (OK + b"Connection: X-A, Close\r\n" + TWO + b"\r\nhi", b"hi", 0.0),
    "close in the second": (OK + b"Connection: x\r\nConnection: close\r\n" + TWO + b"\r\nhi", b"hi", 0.0),
    "keep-alive": (OK + b"Connection: Keep-Alive\r\nKeep-Alive: timeout=5, max=9\r\n" + TWO + b"\r\nhi", b"hi", 4.0),
    "a short keep-alive": (OK + b"Keep-Alive: max=9, timeout=1\r\n" + TWO + b"\r\nhi", b"hi", 0.5),
    "a long keep-alive": (OK + b"Keep-Alive: timeout=600\r\n" + TWO + b"\r\nhi", b"hi", 15.0),
    "100 and 103": (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 H\r\nLink: x\r\n\r\n" + OK + TWO + b"\r\nhi", b"hi", 15.0),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 15.0),
    "204 with chunks announced": (b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"", 15.0),
    "304 of something": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", b"", 15.0),
    "no reason": (b"HTTP/1.1 200\r\n" + TWO + b"\r\nhi", b"hi", 15.0),
    "an empty reason": (b"HTTP/1.1 200 \r\n" + TWO + b"\r\nhi", b"hi", 15.0),
    "a reason of any octets": (b"HTTP/1.1 200 \xc3\xa9t\xe9\t\x01\r\n" + TWO + b"\r\nhi", b"hi", 15.0),
    "bare LF": ((OK + TWO + b"\r\nhi").replace(b"\r\n", b"\n"), b"hi", 15.0),
    "bare LF, and CRLF CRLF in the body": (b"HTTP/1.1 200 OK\nContent-Length: 4\n\n\r\n\r\n", b"\r\n\r\n", 15.0),
    "bare LF in one line": (OK + b"A: b\nC: d\r\n" + TWO + b"\r\nhi", b"hi", 15.0),
    "empty lines before it": (b"\r\n\r\n\n" + OK + TWO + b"\r\nhi", b"hi", 15.0),
}  # fmt: skip


@pytest.mark.parametrize(("said", "body", "keep"), TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("dripped", [False, True])
def test_what_is_taken(said: bytes, body: bytes, keep: float, dripped: bool) -> None:
    parts = [said[at : at + 1] for at in range(len(said))] if dripped else [said]
    response = read(*parts)
    assert response.head is not None
    assert (response.body, response.head.keep) == (body, keep)


REFUSED = {
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "shoutcast": b"ICY 200 OK\r\n" + TWO + b"\r\nhi",
    "lower case": b"http/1.1 200 OK\r\n" + TWO + b"\r\nhi",
    "2.0": b"HTTP/2.0 200 OK\r\n" + TWO + b"\r\nhi",
    "1.10": b"HTTP/1.10 200 OK\r\n" + TWO + b"\r\nhi",
    "two digits": b"HTTP/1.1 20 OK\r\n" + TWO + b"\r\nhi",
    "four digits": b"HTTP/1.1 2000 OK\r\n" + TWO + b"\r\nhi",
    "status 600": b"HTTP/1.1 600 OK\r\n" + TWO + b"\r\nhi",
    "status 099": b"HTTP/1.1 099 OK\r\n" + TWO + b"\r\nhi",
    "two spaces": b"HTTP/1.1  200 OK\r\n" + TWO + b"\r\nhi",
    "a tab": b"HTTP/1.1\t200 OK\r\n" + TWO + b"\r\nhi",
    "digits of another script": "HTTP/1.1 ٢٠٠ OK\r\n\r\n".encode(),
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + TWO + b"\r\nhi",
    "CR in the reason": b"HTTP/1.1 200 O\rK\r\n" + TWO + b"\r\nhi",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "interim without end": b"HTTP/1.1 102 P\r\n\r\n" * (MAX_INTERIM + 1),
    "a space before the colon": OK + b"X : y\r\n" + TWO + b"\r\nhi",
    "a space before a length's colon": OK + b"Content-Length : 2\r\n\r\nhi",
    "a tab before the colon": OK + b"X\t: y\r\n" + TWO + b"\r\nhi",
    "a space in the name": OK + b"X y: z\r\n" + TWO + b"\r\nhi",
    "no colon": OK + b"X\r\n" + TWO + b"\r\nhi",
    "no name": OK + b": x\r\n" + TWO + b"\r\nhi",
    "a name above ASCII": OK + b"X\xe9: y\r\n" + TWO + b"\r\nhi",
    "a NUL in the name": OK + b"X\0: y\r\n" + TWO + b"\r\nhi",
    "a NUL in a value": OK + b"X: a\0b\r\n" + TWO + b"\r\nhi",
    "a CR in a value": OK + b"X: a\rb\r\n" + TWO + b"\r\nhi",
    "a CR at a value's end": OK + b"X: a\r\r\n" + TWO + b"\r\nhi",
    "a first field that is indented": OK + b" X: a\r\n" + TWO + b"\r\nhi",
    "a folded length": OK + b"Content-Length:\r\n 2\r\n\r\nhi",
    "a longer length by a fold": OK + b"Content-Length: 2\r\n 0\r\n\r\nhi",
    "a folded coding": OK + b"Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n",
    "a folded connection": OK + b"Connection: x,\r\n close\r\n" + TWO + b"\r\nhi",
    "a NUL in a fold": OK + b"X: a\r\n \0\r\n" + TWO + b"\r\nhi",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "one length twice": OK + TWO + TWO + b"\r\nhi",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nhi",
    "a negative length": OK + b"Content-Length: -2\r\n\r\nhi",
    "a length with a point": OK + b"Content-Length: 2.0\r\n\r\nhi",
    "a length in hexadecimal": OK + b"Content-Length: 0x2\r\n\r\nhi",
    "a length with a separator": OK + b"Content-Length: 1_0\r\n\r\n0123456789",
    "a length of another script": OK + "Content-Length: ٢\r\n\r\nhi".encode(),
    "a superscript length": OK + b"Content-Length: \xb2\r\n\r\nhi",
    "no length": OK + b"Content-Length:\r\n\r\nhi",
    "a length without end": OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nhi",
    "a length on 204 that is none": b"HTTP/1.1 204 X\r\nContent-Length: x\r\n\r\n",
    "length and chunks": OK + TWO + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\n" + TWO + b"\r\n0\r\n\r\n",
    "length and identity": OK + TWO + b"Transfer-Encoding: identity\r\n\r\nhi",
    "gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nhi",
    "gzip and chunks": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks and gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunks twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a comma": OK + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    "quoted chunks": OK + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunks with a vertical tab": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "no coding": OK + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "a size that is none": CODED + b"zz\r\nhi\r\n0\r\n\r\n",
    "an empty size": CODED + b"\r\nhi\r\n0\r\n\r\n",
    "a signed size": CODED + b"+2\r\nhi\r\n0\r\n\r\n",
    "a size with 0x": CODED + b"0x2\r\nhi\r\n0\r\n\r\n",
    "a size with a separator": CODED + b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
    "a blank before a size": CODED + b" 2\r\nhi\r\n0\r\n\r\n",
    "a size without end": CODED + b"f" * 17 + b"\r\nhi",
    "zeros without end": CODED + b"0" * 5000,
    "a chunk longer than its size": CODED + b"2\r\nhim\r\n0\r\n\r\n",
    "a chunk that ends with LF": CODED + b"2\r\nhi\n0\r\n\r\n",
    "a size that ends with LF": CODED + b"2\nhi\r\n0\r\n\r\n",
    "an extension that ends with LF": CODED + b"2;a\nhi\r\n0\r\n\r\n",
    "an extension with a CR": CODED + b"2;a\rb\r\nhi\r\n0\r\n\r\n",
    "an extension without a semicolon": CODED + b"2 a\r\nhi\r\n0\r\n\r\n",
    "an extension without end": CODED + b"2;" + b"a" * 5000,
    "a trailer that is no field": CODED + b"0\r\nX y\r\n\r\n",
    "a trailer that ends with LF": CODED + b"0\r\nX: y\n\r\n\r\n",
    "a folded trailer": CODED + b"0\r\nX: y\r\n z\r\n\r\n",
    "a length in a trailer": CODED + b"0\r\nContent-Length: 5\r\n\r\n",
    "a coding in a trailer": CODED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailers without end": CODED + b"0\r\n" + b"X: y\r\n" * (MAX_FIELDS + 1),
    "a trailer without end": CODED + b"0\r\nX: " + b"y" * 40_000,
    "fields without end": OK + b"X: y\r\n" * (MAX_FIELDS + 1) + b"\r\n",
    "a head without end": OK + b"X: " + b"y" * MAX_HEAD,
    "a long field": OK + b"X: " + b"y" * 33_000 + b"\r\n" + TWO + b"\r\nhi",
    "a long field by folds": OK + b"X: y\r\n" + (b" " + b"y" * 200 + b"\r\n") * 200 + TWO + b"\r\nhi",
    "a long reason": b"HTTP/1.1 200 " + b"y" * 33_000 + b"\r\n" + TWO + b"\r\nhi",
    "more than its length": OK + TWO + b"\r\nhim",
    "two replies": (OK + TWO + b"\r\nhi") * 2,
    "something after the last chunk": CODED + b"0\r\n\r\nx",
    "a body with 204": b"HTTP/1.1 204 X\r\n" + TWO + b"\r\nhi",
    "a length over the limit": OK + b"Content-Length: 10001\r\n\r\n",
    "a body over the limit": OK + b"\r\n" + b"x" * 10_001,
    "a chunk over the limit": CODED + b"2711\r\n",
    "chunks over the limit": CODED + (b"1388\r\n" + b"x" * 5000 + b"\r\n") * 2 + b"1\r\n",
    "ends in the head": OK + b"Content-Le",
    "ends in the body": OK + TWO + b"\r\nh",
    "ends before the body": OK + TWO + b"\r\n",
    "ends in a chunk": CODED + b"2\r\nh",
    "ends before the last chunk": CODED + b"2\r\nhi\r\n",
    "ends in the trailer": CODED + b"2\r\nhi\r\n0\r\n",
    "ends after a hint": b"HTTP/1.1 103 X\r\n\r\n",
    "says nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("pieces", [1, 7, 4096])
def test_what_is_refused(said: bytes, pieces: int) -> None:
    """In one piece; in small ones, too, but for what comes after the end, which then belongs to no response."""
    parts = [said[at : at + pieces] for at in range(0, len(said), pieces)] if said and pieces > 1 else [said]
    with pytest.raises(BadReply):
        read_all(parts)


def test_folds_become_spaces() -> None:
    response = read(OK + b"X: a \r\n \t b\r\n\tc\r\nY:\r\n d\r\nZ: e\r\n \r\n" + TWO + b"\r\nhi")
    assert fields(response) == [("x", "a b c"), ("y", "d"), ("z", "e")]


def test_fields_end_with_their_connection() -> None:
    said = OK + b"A: 1\r\nConnection: b, close\r\nB: 2\r\nKeep-Alive: x\r\nProxy-C: 3\r\nTE: x\r\nD: \xc5\xbd\r\n" + TWO
    assert fields(read(said + b"\r\nhi")) == [("a", "1"), ("d", "\xc5\xbd")]


def test_order_and_marks_are_kept() -> None:
    said = OK + b"A: 1\r\nContent-Encoding: x\r\nLocation: /y\r\ncontent-encoding: z\r\nB: 2\r\n" + TWO + b"\r\nhi"
    for _ in range(2):
        head = read(said).head
        assert head is not None
        assert (head.reply.codings, head.reply.has_location) == ("x,z", True)
        assert [name for name, _ in head.reply.fields] == ["a", "content-encoding", "location", "content-encoding", "b"]


@pytest.mark.parametrize("framing", [b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_a_reply_to_head_has_no_body(framing: bytes) -> None:
    response = read(OK + framing + b"\r\n", method="HEAD", ends=False)
    assert response.body == b""
    with pytest.raises(BadReply):
        read(OK + framing + b"\r\nx", method="HEAD")


def test_an_empty_line_after_the_reply_is_an_excess() -> None:
    response = read(OK + TWO + b"\r\nhi\r\n")
    assert (response.body, response.excess) == (b"hi", True)


def test_one_head_serves_any_number_of_replies() -> None:
    """What is remembered of a head must not depend on who asked, nor on what came before."""
    heads = Heads()
    for _ in range(3):
        response = Response(heads)
        for method, body in (("HEAD", b""), ("GET", b"hi"), ("HEAD", b""), ("GET", b"ho")):
            response.start(without_body=method == "HEAD", limit=10)
            assert response.feed(OK + TWO + b"\r\n" + body)
            assert response.take_body() == body
        response.start(without_body=False, limit=1)
        with pytest.raises(BadReply):
            response.feed(OK + TWO + b"\r\nhi")


def test_memory_has_an_end() -> None:
    heads = Heads()
    for number in range(2000):
        heads.read(OK + b"X-Id: %d\r\n" % number + TWO + b"\r\n")
    heads.read(OK + b"X-Id: " + b"x" * 5000 + b"\r\n\r\n")
    assert 0 < len(heads.known) <= 64
    assert all(len(raw) < 3000 for raw in heads.known)


# --- any bytes, in any pieces -----------------------------------------------------------------------------------------

TOKEN = st.text("abcXYZ-_.~!'09", min_size=1, max_size=8).map(str.encode)
VALUE = st.binary(max_size=12).map(lambda raw: bytes(byte for byte in raw if byte not in b"\0\r\n"))
FIELDS = st.lists(st.tuples(TOKEN.map(lambda name: b"x" + name), VALUE), max_size=5)
EXTENSION = st.sampled_from([b"", b";a", b' ;b="c;d"', b"\t", b";" + b"e" * 40])


@st.composite
def chunks(draw: Any) -> bytes:
    said = b""
    for chunk in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5)):
        size = b"%x" % len(chunk) if draw(st.booleans()) else b"00%X" % len(chunk)
        said += size + draw(EXTENSION) + b"\r\n" + chunk + b"\r\n"
    trailers = b"".join(name + b": " + value + b"\r\n" for name, value in draw(FIELDS))
    return bytes(said + b"0" + draw(EXTENSION) + b"\r\n" + trailers + b"\r\n")


@st.composite
def responses(draw: Any) -> bytes:
    """Well-formed: interim ones, then one framed in any way."""
    said = b"".join(b"HTTP/1.1 %d Wait\r\n\r\n" % status for status in draw(st.lists(st.sampled_from([100, 102, 103]))))
    status = draw(st.sampled_from([200, 201, 204, 304, 404, 500, 599]))
    head = b"HTTP/1.%d %d Reason\r\n" % (draw(st.integers(0, 1)), status)
    given = b"".join(name + b": " + value + b"\r\n" for name, value in draw(FIELDS))
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    body = draw(st.binary(max_size=60))
    if status in (204, 304):
        return bytes(said + head + given + b"\r\n")
    if framing == "length":
        return bytes(said + head + given + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    if framing == "chunks":
        return bytes(said + head + b"Transfer-Encoding: chunked\r\n" + given + b"\r\n" + draw(chunks()))
    return bytes(said + head + given + b"\r\n" + body)


def pieces(said: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(said) + 1) for cut in cuts} | {0, len(said)})
    return [said[start:end] for start, end in pairwise(at)]


def outcome(response: Response) -> Any:
    assert response.head is not None
    head = response.head
    return head.status, head.keep, head.reply.codings, list(head.reply.fields), response.body


@given(responses(), st.lists(st.integers(0, 2000), max_size=12))
@settings(max_examples=400, deadline=None)
def test_pieces_change_nothing(said: bytes, cuts: list[int]) -> None:
    assert outcome(read(*pieces(said, cuts))) == outcome(read(said))


class Judge:
    """llhttp's reading of one response."""

    def __init__(self, said: bytes) -> None:
        self.body, self.status, self.whole = b"", 0, False
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(said)
        self.status = parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        self.body += part


@given(responses(), st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=2), st.booleans()), max_size=3))
@example(CODED + b"2\r\nhi\r\n0\r\n\r\n", [])
@settings(max_examples=600, deadline=None)
def test_what_both_take_both_read_alike(said: bytes, damage: list[tuple[int, bytes, bool]]) -> None:
    """Damaged or not: a reply that this reader and llhttp both take has one status and one body."""
    for place, put, over in damage:
        at = place % (len(said) + 1)
        said = said[:at] + put + said[at + (len(put) if over else 0) :]
    try:
        response = read(said)
    except BadReply:
        return
    if response.excess or b"HTTP/1.1 1" in said:
        return  # llhttp reads on, and its status is the last one's
    try:
        judged = Judge(said)
    except httptools.HttpParserError:
        return
    assert response.head is not None
    assert (judged.status, judged.body) == (response.head.status, response.body)


@given(st.one_of(st.binary(max_size=300), responses().map(lambda said: said[::-1])), st.lists(st.integers(0, 300)))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_reply_or_a_bad_one(said: bytes, cuts: list[int]) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CODED):
        try:
            read(*pieces(start + said, cuts))
        except BadReply:
            pass


def test_a_dripped_body_of_tiny_chunks_is_kept_in_its_size() -> None:
    said = b"1\r\nx\r\n" * 5000
    response = Response(Heads())
    response.start(without_body=False, limit=10_000)
    assert not response.feed(CODED + said)
    assert not response.feed(said)
    assert response.feed(b"0\r\n\r\n")
    assert response.take_body() == b"x" * 10_000
    assert response.head is not None
    assert response.head.length == CHUNKED
