"""Header blocks without a dynamic table (HPACK, RFC 7541), so that each is independent.

The gateway announces a table of size 0 and uses none of the other side's. That costs some bytes on the wire, but
decoded blocks can be cached by their bytes, and a request's constant fields are encoded only once.
"""

from __future__ import annotations

from collections.abc import Iterable

from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from bridge.http.memo import Memo
from bridge.http2.frames import COMPRESSION_ERROR, Http2Error

_STATIC = tuple(HeaderTable.STATIC_TABLE)

_INDEXED, _INCREMENTAL, _SIZE_UPDATE = 0x80, 0x40, 0x20
_NEVER_INDEXED = b"\x10"
NO_TABLE = b"\x20"  #: at the beginning of a block: the encoder's table is of size 0 from here on (section 6.3)


def decode(block: bytes) -> Iterable[tuple[bytes, bytes]]:
    """The fields of `block` (RFC 7541, section 6), for a table of size 0.

    :raises Http2Error: it is malformed, or refers to a dynamic table.
    """
    at, has_fields = 0, False
    while at < len(block):
        first = block[at]
        if first & _INDEXED:
            index, at = _integer(block, at, 7)
            yield _entry(index)
        elif first & 0xE0 == _SIZE_UPDATE:
            size, at = _integer(block, at, 5)
            if size or has_fields:  # section 4.2: at the beginning, and not above what was announced
                raise Http2Error(COMPRESSION_ERROR, "a table size that was not allowed")
            continue
        else:
            # An entry is evicted from a table of size 0 at once (section 4.4).
            index, at = _integer(block, at, 6 if first & _INCREMENTAL else 4)
            if index:
                name = _entry(index)[0]
            else:
                name, at = _string(block, at)
            value, at = _string(block, at)
            yield name, value
        has_fields = True


def _entry(index: int) -> tuple[bytes, bytes]:
    if not 0 < index <= len(_STATIC):
        raise Http2Error(COMPRESSION_ERROR, f"index {index} is in no table")
    return _STATIC[index - 1]


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """Section 5.1. No valid number needs more than four further bytes."""
    mask = (1 << bits) - 1
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 28, 7):
        if at >= len(block):
            break
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Http2Error(COMPRESSION_ERROR, "a number that doesn't end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """Section 5.2."""
    if at >= len(block):
        raise Http2Error(COMPRESSION_ERROR, "a text is missing")
    huffman = block[at] & 0x80
    length, at = _integer(block, at, 7)
    end = at + length
    if end > len(block):
        raise Http2Error(COMPRESSION_ERROR, "a text that doesn't end")
    text = block[at:end]
    if not huffman:
        return text, end
    try:
        return decode_huffman(text), end
    except Exception as error:  # hpack does not promise a base class for its errors
        raise Http2Error(COMPRESSION_ERROR, f"a text in no Huffman code: {error}") from None


_names = Memo[str, bytes](4096)


def name_part(name: str) -> bytes:
    """A literal's beginning up to its value: never indexed (section 6.2.3), since fields that are encoded per request
    are secret or differ each time."""
    part = _names.get(name)
    if part is None:
        raw = name.encode("ascii")
        part = _names[name] = _NEVER_INDEXED + length_of(raw) + raw
    return part


def length_of(text: bytes) -> bytes:
    """The length before a text that is not Huffman-coded (sections 5.1, 5.2)."""
    length = len(text)
    if length < 127:
        return length.to_bytes(1, "big")
    out = bytearray((127,))
    length -= 127
    while length >= 128:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)


def literal(name: str, value: bytes) -> bytes:
    """One field, never indexed."""
    return name_part(name) + length_of(value) + value


def indexed(index: int) -> bytes:
    """A whole field of the static table (section 6.1, appendix A); `index` below 127."""
    return (_INDEXED | index).to_bytes(1, "big")


def named(index: int, value: bytes) -> bytes:
    """A field whose name is of the static table, below 15; without indexing (section 6.2.2)."""
    return index.to_bytes(1, "big") + length_of(value) + value
