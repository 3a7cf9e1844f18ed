"""Compressed bodies can be read by other implementations, whole and piece by piece."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.http import compression
from bridge.http.coding import ZSTD, undo
from bridge.http.compression import CODINGS, compress, compressor

TEXT = json.dumps([{"number": number, "name": f"row {number * number}"} for number in range(5000)]).encode()


def read(data: bytes, coding: str) -> bytes:
    """By another decoder than the one that wrote it."""
    return gzip.decompress(data) if coding == "gzip" else bytes(ZSTD.decompress(data))


@pytest.fixture(params=["ISA-L", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both of the libraries that gzip may come from."""
    if request.param == "zlib":
        monkeypatch.setattr(compression, "_GZIP", zlib)
        monkeypatch.setattr(compression, "_GZIP_LEVEL", 4)
    elif compression._ISAL is None:
        pytest.skip("there is no isal for this platform")
    return str(request.param)


@pytest.mark.parametrize("coding", CODINGS)
def test_whole_bodies(coding: str, library: str) -> None:
    for body in (TEXT, b"x", bytes(range(256)) * 300):
        coded = compress(body, coding)
        assert read(coded, coding) == undo(coded, [coding], len(body)) == body
        assert compress(body, coding) == coded  # its entity-tag says so
    assert len(compress(TEXT, coding)) < len(TEXT) / 4


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=st.lists(st.binary(max_size=300), max_size=6), flush=st.booleans())
def test_bodies_in_pieces(coding: str, pieces: list[bytes], flush: bool) -> None:
    writer = compressor(coding)
    coded = [writer.feed(piece, flush=flush) for piece in pieces]
    coded.append(writer.finish())
    assert read(b"".join(coded), coding) == b"".join(pieces)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_flushed_piece_can_be_read_at_once(coding: str, library: str) -> None:
    writer = compressor(coding)
    reader = zlib.decompressobj(31) if coding == "gzip" else ZSTD.ZstdDecompressor()
    for piece in (b"first", b"second" * 100, b"third"):
        assert reader.decompress(writer.feed(piece, flush=True)) == piece
    assert reader.decompress(writer.finish()) == b""
    assert reader.eof


def test_pieces_that_are_not_flushed_are_gathered() -> None:
    writer = compressor("gzip")
    assert sum(len(writer.feed(b"x", flush=False)) for _ in range(100)) <= 10  # at most a header
