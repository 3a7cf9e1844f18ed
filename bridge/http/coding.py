"""Decodes content-codings within a size limit (RFC 9110, section 8.4.1), against compression bombs."""

from __future__ import annotations

import zlib

from bridge.errors import BadReply, ReplyTooLarge
from bridge.http.pieces import Pieces, keep

MAX_MEMBERS = 10_000  #: of one gzip body; tools that write several members use one for each 64 kB
PIECE = 64 * 1024  #: bytes that are decoded at one time
MAX_CODINGS = 3  # real services apply one; each layer multiplies the size that an attacker can reach

_GZIP = frozenset(("gzip", "x-gzip"))  # section 8.4.1.3: the two are one


class TooLong(Exception):
    """The decoded body exceeds the limit."""


def decode(body: bytes, codings: str, limit: int) -> bytes:
    """`body`, decoded from the codings of a ``Content-Encoding`` value, the last one first.

    :param limit: bytes that no step's result may pass.
    :raises ReplyTooLarge: too many bytes.
    :raises BadReply: an unknown coding, or a body that isn't what its coding says.
    """
    names = [name for part in codings.lower().split(",") if (name := part.strip()) and name != "identity"]
    if len(names) > MAX_CODINGS:
        raise BadReply(cause=f"{len(names)} content-codings: {codings[:80]}")
    for name in reversed(names):
        try:
            if name in _GZIP:
                body = _inflate(body, 31, limit)
            elif name == "deflate":
                body = _deflate(body, limit)
            else:
                raise BadReply(
                    "The service behind this route answered in a content-coding that the gateway does not read.",
                    cause=f"content-encoding: {codings[:80]}",
                )
        except TooLong:
            raise ReplyTooLarge(
                "The service behind this route gave a longer answer than the gateway takes.",
                cause=f"more than {limit} bytes once {name} is undone",
            ) from None
        except zlib.error as error:
            raise BadReply(cause=f"not {name}: {error}") from None
    return body


def _deflate(body: bytes, limit: int) -> bytes:
    """Section 8.4.1.2 requires the zlib format; some servers send the bare stream, which clients accept."""
    try:
        return _inflate(body, 15, limit)
    except zlib.error:
        return _inflate(body, -15, limit)


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    """:raises zlib.error: invalid, truncated, followed by other data, or of too many members."""
    parts: Pieces = []
    space, members = limit, 1
    inflater = zlib.decompressobj(wbits)
    # In pieces, since `unused_data` copies all that follows a member.
    for at in range(0, len(body), PIECE):
        piece = body[at : at + PIECE]
        while piece:
            if inflater.eof:  # only gzip knows a further member (RFC 1952, section 2.2)
                members += 1
                if wbits != 31 or members > MAX_MEMBERS:
                    raise zlib.error("something follows its end" if wbits != 31 else f"more than {MAX_MEMBERS} members")
                inflater = zlib.decompressobj(wbits)
            part = inflater.decompress(piece, space + 1)
            space -= len(part)
            if space < 0:
                raise TooLong
            if part:
                keep(parts, part)
            piece = inflater.unused_data or inflater.unconsumed_tail
    if not inflater.eof:
        raise zlib.error("it ends too early")
    return b"".join(parts)
