"""Compresses bodies: ``gzip`` (RFC 1952) and ``zstd`` (RFC 8878), whole or piece by piece.

gzip is ISA-L's where there is a package for the platform: an eighth of zlib's time at level 6, for a fifth more bytes.
The levels are those that cost least for what they save; ``benchmarks/compression.py`` compares them.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol

from bridge.http.coding import ZSTD
from bridge.http.libraries import first_module

_ISAL: Any = first_module("isal.isal_zlib")
_GZIP: Any = _ISAL or zlib
_GZIP_LEVEL = 2 if _ISAL else 4
_ZSTD_LEVEL = 1
_WBITS = 31  #: a gzip wrapper around the largest window

#: What replies can be compressed to, the preferred one first.
CODINGS = ("zstd", "gzip") if ZSTD else ("gzip",)


class Compressor(Protocol):
    """One body in a coding."""

    def feed(self, data: bytes, *, flush: bool) -> bytes:
        """What there is to send after `data`; with `flush` all of it, so that the client can read what came so far."""
        ...

    def finish(self) -> bytes:
        """The end."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._object = _GZIP.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _WBITS)

    def feed(self, data: bytes, *, flush: bool) -> bytes:
        out: bytes = self._object.compress(data)
        return out + self._object.flush(zlib.Z_SYNC_FLUSH) if flush else out

    def finish(self) -> bytes:
        end: bytes = self._object.flush(zlib.Z_FINISH)
        return end


class _Zstd:
    def __init__(self) -> None:
        self._object = ZSTD.ZstdCompressor(_ZSTD_LEVEL)

    def feed(self, data: bytes, *, flush: bool) -> bytes:
        mode = self._object.FLUSH_BLOCK if flush else self._object.CONTINUE
        out: bytes = self._object.compress(data, mode)
        return out

    def finish(self) -> bytes:
        end: bytes = self._object.flush()
        return end


def compress(body: bytes, coding: str) -> bytes:
    """`body` in `coding`, one of `CODINGS`. The same body always becomes the same bytes."""
    if coding == "zstd":
        whole: bytes = ZSTD.compress(body, _ZSTD_LEVEL)
    else:
        whole = _GZIP.compress(body, _GZIP_LEVEL, _WBITS)
    return whole


def compressor(coding: str) -> Compressor:
    """:param coding: one of `CODINGS`."""
    return _Zstd() if coding == "zstd" else _Gzip()
