"""The bytes of gRPC-Web and Connect, cut at any place, hold the same messages; anything else is a client's error."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import ClientError
from bridge.fronts.envelopes import Base64Text, Envelopes, decompressor, envelope, gunzip
from tests.fronts.rpc_service import framed, splits

LIMIT = 1000
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


def inflating() -> Envelopes:
    return Envelopes(decompressor("gzip", LIMIT))


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=6), CUTS)
def test_any_split_gives_the_same_messages(messages: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    sent = b"".join(
        framed(gzip.compress(message), flags=1) if squeezed else framed(message) for message, squeezed in messages
    )
    envelopes = inflating()
    assert [m for part in splits(sent, cuts) for m in envelopes.feed(part)] == [message for message, _ in messages]
    assert envelopes.pending == 0
    envelopes.finish()


@given(st.lists(st.binary(max_size=40), max_size=6), CUTS)
def test_any_split_of_padded_base64_gives_the_same_bytes(chunks: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(base64.b64encode(chunk) for chunk in chunks)
    text = Base64Text()
    assert b"".join(text.feed(part) for part in splits(sent, cuts)) == b"".join(chunks)
    assert text.pending == 0
    text.finish()


@given(st.binary(max_size=60) | st.from_regex(rb"[AQ=]{0,24}", fullmatch=True), CUTS)
def test_garbage_is_a_clients_error_and_nothing_else(garbage: bytes, cuts: list[int]) -> None:
    makes: list[Callable[[], Envelopes | Base64Text]] = [Envelopes, inflating, Base64Text]
    for make in makes:
        reader = make()
        try:
            for part in splits(garbage, cuts):
                list(reader.feed(part))
            reader.finish()
        except ClientError:
            continue
        if isinstance(reader, Envelopes):
            assert garbage[:1] in (b"", b"\0", b"\1")


@given(st.binary(max_size=100))
def test_garbage_is_not_decompressed(garbage: bytes) -> None:
    with pytest.raises(ClientError):
        gunzip(garbage, LIMIT)


def test_an_envelope_is_as_its_reader_wants_it() -> None:
    assert envelope(2, b"abc") == b"\x02\x00\x00\x00\x03abc"
    assert envelope(0x80, b"") == b"\x80\x00\x00\x00\x00"


@pytest.mark.parametrize("flags", [2, 3, 4, 0x80, 0x81, 0xFF])
def test_flags_that_a_request_can_not_have_are_refused_before_the_message_is_there(flags: int) -> None:
    with pytest.raises(ClientError, match="flags"):
        list(inflating().feed(bytes([flags, 0xFF, 0xFF, 0xFF, 0xFF])))


def test_compression_that_was_not_declared_is_refused() -> None:
    with pytest.raises(ClientError, match="declares no compression"):
        list(Envelopes().feed(framed(gzip.compress(b"x"), flags=1)))


def test_what_is_pending_is_told() -> None:
    envelopes, text = Envelopes(), Base64Text()
    assert list(envelopes.feed(framed(b"whole") + b"\0\0\0\1\0abc")) == [b"whole"]
    assert envelopes.pending == 8
    assert text.feed(b"QUJDQ") == b"ABC"
    assert text.pending == 1
    for unfinished in (envelopes, text):
        with pytest.raises(ClientError, match="ends within"):
            unfinished.finish()


@pytest.mark.parametrize(
    "text", [b"QUI", b"QQ=A", b"=QQQ", b"Q===", b"QQ\r\n", b"QQ__", b"QQ==QQ=Q", b"====", b"QQ==="]
)
def test_what_is_not_base64_is_refused(text: bytes) -> None:
    def read() -> None:
        reader = Base64Text()
        reader.feed(text)
        reader.finish()

    with pytest.raises(ClientError):
        read()


def test_a_bomb_is_refused_within_its_bound() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(ClientError, match="decompressed") as refused:
        list(inflating().feed(framed(bomb, flags=1)))
    assert refused.value.status == 413
    assert gunzip(gzip.compress(bytes(LIMIT)), LIMIT) == bytes(LIMIT)
    with pytest.raises(ClientError, match="decompressed"):
        gunzip(gzip.compress(bytes(LIMIT + 1)), LIMIT)


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"abc")[:-1], gzip.compress(b"abc") + b"x", gzip.compress(b"a") * 2, zlib.compress(b"abc"), b"x"],
    ids=["cut short", "followed by something", "two members", "zlib, not gzip", "nothing of the kind"],
)
def test_what_is_not_one_gzip_member_is_refused(data: bytes) -> None:
    with pytest.raises(ClientError, match="declared as gzip"):
        gunzip(data, LIMIT)


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "snappy"])
def test_other_codings_are_refused_with_those_that_are_known(coding: str) -> None:
    with pytest.raises(ClientError, match="identity, gzip") as refused:
        decompressor(coding, LIMIT)
    assert refused.value.status == 501
    assert refused.value.headers == (("grpc-accept-encoding", "identity,gzip"),)
    assert decompressor("identity", LIMIT) is decompressor("", LIMIT) is None
