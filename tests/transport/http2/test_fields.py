"""Header blocks (RFC 7541) without a table, with python-hyper's hpack as the judge."""

from __future__ import annotations

import pytest
from hpack import Decoder as Judge
from hpack import Encoder, HPACKError, NeverIndexedHeaderTuple
from hypothesis import example, given
from hypothesis import strategies as some

from bridge.http2.frames import Http2Error
from bridge.http2.hpack import NO_TABLE, decode, indexed, length_of, literal, named
from bridge.transport.http2.fields import KNOWN, Decoder

LONG = 1 << 20


def judge() -> Judge:
    """A decoder with a table of size 0."""
    made = Judge(max_header_list_size=LONG)
    made.header_table_size = made.max_allowed_table_size = 0
    return made


def encoder() -> Encoder:
    made = Encoder()
    made.header_table_size = 0
    return made


names = some.sampled_from([b":status", b"content-type", b"grpc-status", b"date"]) | some.binary(
    min_size=1, max_size=200
)
values = some.sampled_from([b"200", b"application/grpc", b"0", b""]) | some.binary(max_size=600)
lists = some.lists(some.tuples(names, values, some.booleans()), max_size=20)


@given(lists, some.booleans())
def test_what_hpack_encodes(fields: list[tuple[bytes, bytes, bool]], huffman: bool) -> None:
    with_table = [NeverIndexedHeaderTuple(name, value) if secret else (name, value) for name, value, secret in fields]
    plain = [(name, value) for name, value, _ in fields]
    made = encoder()
    for _ in range(2):  # the first block says how large the table is, the second doesn't
        assert list(decode(made.encode(with_table, huffman=huffman))) == plain


def _overflows(block: bytes) -> bool:
    """Numbers of more than four further bytes: no limit of the standard's (section 5.1), and ours."""
    run = 0
    for byte in block:
        run = run + 1 if byte >= 0x80 else 0
        if run >= 4:
            return True
    return False


parts = some.one_of(
    some.binary(max_size=8),
    some.sampled_from(
        [indexed(8), indexed(61), NO_TABLE, b"\x3f\x00", literal("a", b"b"), named(4, b"/"), b"\x40\x01a"]
    ),
    some.builds(lambda text: b"\x00\x01a" + (0x80 | len(text)).to_bytes(1, "big") + text, some.binary(max_size=5)),
)


@given(some.lists(parts, max_size=6).map(b"".join))
@example(b"\xbe")  # the first of the dynamic table
@example(b"\x7e\x00")  # a name out of it
@example(b"\x80")  # index 0
@example(b"\x21")  # a table of one byte
@example(b"\x88\x20")  # a size behind a field
@example(b"\x20\x20\x88")
@example(b"\x00\x01a\x81\xff")  # a byte of padding
@example(b"\x00\x01a\x84\xff\xff\xff\xff")  # EOS
@example(b"\x00\x01a\x81\x00")  # padding that is not EOS's
@example(b"\x00\x01a\x02b")  # cut off
@example(b"\x00\x01a")
@example(b"\x00")
@example(b"\xff")
def test_what_may_be_no_block(block: bytes) -> None:
    """Ours and the judge agree about each, in what they read and in what they refuse."""
    ours: list[tuple[bytes, bytes]] | None
    theirs: list[tuple[bytes, bytes]] | None
    try:
        ours = list(decode(block))
    except Http2Error:
        ours = None
    try:
        theirs = [(bytes(name), bytes(value)) for name, value in judge().decode(block, raw=True)]
    except HPACKError:
        theirs = None
    assert ours == theirs or (ours is None and _overflows(block))


@given(some.integers(0, 1 << 24))
def test_lengths(length: int) -> None:
    text = bytes(length)
    assert length_of(text) == length.to_bytes(1, "big") if length < 127 else length_of(text)[0] == 127
    if length < LONG - 100:
        assert judge().decode(literal("a", text), raw=True) == [(b"a", text)]


@given(some.binary(max_size=300))
def test_ours_is_never_indexed(value: bytes) -> None:  # section 7.1.3
    (field,) = judge().decode(literal("authorization", value), raw=True)
    assert isinstance(field, NeverIndexedHeaderTuple)
    assert tuple(field) == (b"authorization", value)


# --- what becomes of them (RFC 9113, section 8.2) -------------------------------------------------------------------

OK = b"\x88"


@pytest.mark.parametrize(
    "field",
    [
        literal("Grpc-Status", b"0"),  # 8.2.1: upper case
        literal("a b", b""),
        literal("", b""),
        literal("a:", b""),
        literal(":path", b"/"),  # 8.3: of a request
        literal(":unknown", b""),
        literal(":status", b"200"),  # 8.3.2: twice
        literal("a", b"b\r\nc: d"),
        literal("a", b"\x00"),
        literal("connection", b"close"),  # 8.2.2
        literal("transfer-encoding", b"chunked"),
        literal("upgrade", b"h2c"),
        literal("keep-alive", b"x"),
        literal("proxy-connection", b"x"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_what_may_not_stand_in_an_answer(field: bytes, before: bool) -> None:
    good = literal("grpc-status", b"0")
    read = Decoder(LONG)(OK + (field + good if before else good + field))
    assert read.fault
    assert ("grpc-status", "0") in read.pairs


@pytest.mark.parametrize("value", [b"", b"20", b"2000", b"abc", b"+20", b"\xb2\xb2\xb2", b"099"])
def test_what_is_no_status(value: bytes) -> None:  # section 8.3.2, RFC 9110, section 15
    assert Decoder(LONG)(literal(":status", value)).fault


def test_a_status_behind_other_fields() -> None:  # section 8.3
    assert Decoder(LONG)(literal("a", b"") + OK).fault


def test_what_is_good() -> None:
    read = Decoder(LONG)(
        OK + literal("x-1", b" \t obs \xe9\xff\t") + literal("x-1", b"") + literal("x!#$%&'*+-.^_`|~", b"\x7f")
    )
    assert (read.status, read.fault, read.large) == (200, "", False)
    assert read.pairs == (("x-1", "obs \xe9\xff"), ("x-1", ""), ("x!#$%&'*+-.^_`|~", "\x7f"))


@pytest.mark.parametrize(("size", "large"), [(100 - 33, False), (101 - 33, True)])
def test_the_size_of_a_section(size: int, large: bool) -> None:
    """6.5.2: names, values, and 32 bytes each."""
    read = Decoder(100)(literal("a", bytes(size).replace(b"\x00", b"v")))
    assert read.large is large
    assert bool(read.fault) is large


def test_a_short_block_of_a_large_section() -> None:
    """One byte each may stand for a hundred."""
    assert Decoder(16_384)(indexed(16) * 16_000).large


def test_the_same_bytes_are_read_once_and_bounded() -> None:
    read = Decoder(LONG)
    assert read(OK) is read(bytes(bytearray(OK)))
    long = OK + literal("a", b"x" * 2000)
    assert read(long) is not read(bytes(bytearray(long)))
    for at in range(3 * KNOWN):
        read(OK + literal("a", b"%d" % at))
    assert len(read._memo) <= KNOWN
