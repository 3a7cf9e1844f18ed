"""Timestamps as text, by tables and a cache of days: beside protobuf's own, and texts with a mistake in them."""

# ruff: noqa: E501  # a row of a table stays on one line

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from bridge_grpc.codec.scalars import FieldValueError
from bridge_grpc.codec.wellknown import read_timestamp, write_timestamp

SECONDS = st.integers(-62135596800, 253402300799)
NANOS = st.one_of(
    st.integers(0, 999_999_999),
    st.integers(0, 999).map(lambda n: n * 1_000_000),
    st.integers(0, 999_999).map(lambda n: n * 1000),
)
OFFSETS = st.sampled_from(["Z", "+00:00", "-00:00", "+05:30", "-11:45", "+23:59"])


@given(SECONDS, NANOS)
@example(-62135596800, 0)
@example(253402300799, 999_999_999)
@example(-1, 1)
def test_it_is_written_as_protobuf_writes_it_and_read_again(seconds: int, nanos: int) -> None:
    message = Timestamp(seconds=seconds, nanos=nanos)
    written = write_timestamp(message)
    assert written == message.ToJsonString()
    assert Timestamp(**read_timestamp(written)) == message


@given(
    st.integers(-62135596800 + 86400, 253402300799 - 86400),
    st.text("0123456789", min_size=1, max_size=9).map("".join),
    OFFSETS,
    st.integers(0, 35),
    st.sampled_from("0123456789-:.TtZz+ ,\u0663"),
    st.sampled_from(["keep", "replace", "insert", "drop"]),
)
def test_what_is_taken_is_what_protobuf_takes_it_for(
    seconds: int, fraction: str, offset: str, at: int, char: str, how: str
) -> None:
    text = f"{Timestamp(seconds=seconds).ToJsonString()[:-1]}.{fraction}{offset}"
    if how != "keep":
        text = text[:at] + ("" if how == "drop" else char) + text[at + (how != "insert") :]
    try:
        made = read_timestamp(text)
    except FieldValueError:
        assert how != "keep"
        return
    theirs = Timestamp()
    theirs.FromJsonString(text)
    assert Timestamp(**made) == theirs


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-03T24:00:00Z", "2026-11-03T20:60:00Z", "2026-11-03T20:15:60Z", "2026-02-29T00:00:00Z", "0000-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-11-03 20:15:00Z", "2026-11-03T20:15:00", "2026-11-03T20:15:00.Z", "2026-11-03T20:15:00.1234567890Z",
        "2026-11-03T20:15:00.1_0Z", "2026-11-03T20:15:00.\u0661Z", "20261103T201500Z", "2026-W45-2T20:15:00Z", "2026-11-03T20:15:00z",
        "2026-11-03T20:15:00+24:00", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2026-11-03T20:15:00.5", "", "T", "2026-11-03T20:15:00ZZ",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(FieldValueError):
        read_timestamp(text)
