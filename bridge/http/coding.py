"""Content-codings of whole bodies (RFC 9110, section 8.4.1): undone within a size limit, against compression bombs.

``gzip`` and ``deflate``, and ``zstd`` (RFC 8878) where Python or a package has it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from bridge.errors import BadReply, ClientError, ReplyTooLarge, TooLarge, UnsupportedCoding
from bridge.http.libraries import first_module
from bridge.http.pieces import Pieces, keep

MAX_MEMBERS = 10_000  #: of one gzip body; tools that write several members use one for each 64 kB
PIECE = 64 * 1024  #: bytes that are decoded at one time
MAX_CODINGS = 3  # real services apply one; each layer multiplies the size that an attacker can reach
_WINDOW_LOG = 23  # RFC 9659, section 3: a decoder need not take windows of more than 8 MB

_GZIP = frozenset(("gzip", "x-gzip"))  # section 8.4.1.3: the two are one

ZSTD: Any = first_module("compression.zstd", "backports.zstd")
#: The codings that are undone, as a value of ``Accept-Encoding``.
READ = "gzip, deflate, zstd" if ZSTD else "gzip, deflate"


class TooLong(Exception):
    """The decoded body exceeds the limit. Its text is the coding that was being undone."""


class UnknownCoding(Exception):
    """There is a coding that is not undone, or more than `MAX_CODINGS`. Its text says which, or how many."""


class CorruptBody(Exception):
    """The body isn't what its coding says. Its text says how."""


def codings_of(value: str) -> Sequence[str]:
    """The codings of a ``Content-Encoding`` value in the order in which they were applied, in lower case."""
    return [name for part in value.lower().split(",") if (name := part.strip()) and name != "identity"]


def undo(body: bytes, codings: Sequence[str], limit: int) -> bytes:
    """`body` without its `codings`, of which the last one is undone first.

    :param limit: bytes that no step's result may exceed.
    :raises TooLong: one does. :raises UnknownCoding, CorruptBody: a coding can't be undone.
    """
    if len(codings) > MAX_CODINGS:
        raise UnknownCoding(f"{len(codings)} content-codings")
    for name in reversed(codings):
        try:
            if name in _GZIP:
                body = _inflate(body, 31, limit)
            elif name == "deflate":
                body = _deflate(body, limit)
            elif name == "zstd" and ZSTD:
                body = _unzstd(body, limit)
            else:
                raise UnknownCoding(name)
        except TooLong:
            raise TooLong(name) from None
        except zlib.error as error:
            raise CorruptBody(f"not {name}: {error}") from None
    return body


def beginning(body: bytes, codings: Sequence[str], size: int) -> bytes:
    """At most the first `size` bytes of `body` without its `codings`, from as many bytes of `body` itself. It may be
    incomplete.

    :raises UnknownCoding, CorruptBody: a coding can't be undone.
    """
    if len(codings) > MAX_CODINGS:
        raise UnknownCoding(f"{len(codings)} content-codings")
    body = body[:size]
    for name in reversed(codings):
        try:
            if name in _GZIP:
                body = zlib.decompressobj(31).decompress(body, size)
            elif name == "deflate":
                body = _begin_deflate(body, size)
            elif name == "zstd" and ZSTD:
                body = _begin_zstd(body, size)
            else:
                raise UnknownCoding(name)
        except zlib.error as error:
            raise CorruptBody(f"not {name}: {error}") from None
    return body


def _begin_deflate(body: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(15).decompress(body, size)
    except zlib.error:
        return zlib.decompressobj(-15).decompress(body, size)


def _begin_zstd(body: bytes, size: int) -> bytes:
    try:
        return bytes(_zstd_decompressor().decompress(body, size))
    except ZSTD.ZstdError as error:
        raise zlib.error(str(error)) from None


def decode(body: bytes, codings: str, limit: int) -> bytes:
    """A reply's `body`, decoded from the codings of its ``Content-Encoding`` value.

    :param limit: bytes that no step's result may exceed.
    :raises ReplyTooLarge: too many bytes.
    :raises BadReply: an unknown coding, or a body that isn't what its coding says.
    """
    try:
        return undo(body, codings_of(codings), limit)
    except TooLong as error:
        raise ReplyTooLarge(
            "The service behind this route gave a longer answer than the gateway takes.",
            cause=f"more than {limit} bytes once {error} is undone",
        ) from None
    except UnknownCoding:
        raise BadReply(
            "The service behind this route answered in a content-coding that the gateway does not read.",
            cause=f"content-encoding: {codings[:80]}",
        ) from None
    except CorruptBody as error:
        raise BadReply(cause=str(error)) from None


def check_request(codings: Sequence[str]) -> None:
    """:raises UnsupportedCoding: the gateway does not undo all of a request's `codings` (RFC 9110, section 15.5.16)."""
    known = codings_of(READ)
    unknown = next((name for name in codings if name not in known and name not in _GZIP), None)
    if unknown is not None:
        raise UnsupportedCoding(
            f"The body is encoded as {unknown[:40]!r}; this operation reads {READ}, and bodies without a coding.",
            headers=[("accept-encoding", READ)],
        )
    if len(codings) > MAX_CODINGS:
        raise UnsupportedCoding(
            f"The body has {len(codings)} content-codings; {MAX_CODINGS} are read at most.",
            headers=[("accept-encoding", READ)],
        )


def decode_request(body: bytes, codings: Sequence[str], limit: int) -> bytes:
    """A request's `body` without its `codings`, which `check_request` has passed.

    :param limit: bytes that no step's result may exceed.
    :raises TooLarge: one does. :raises ClientError: the body isn't what its codings say.
    """
    try:
        return undo(body, codings, limit)
    except TooLong:
        raise TooLarge(f"A request body may have at most {limit} bytes once its content-coding is undone.") from None
    except CorruptBody as error:
        raise ClientError(
            f"The body is declared as {', '.join(codings)}, but it can't be decoded: it is damaged or incomplete, or "
            "has another coding.",
            cause=str(error),
        ) from None


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


def _unzstd(body: bytes, limit: int) -> bytes:
    """One frame or more (RFC 8878, section 3.1).

    :raises zlib.error: invalid, truncated, followed by other data, of too many frames or too large a window.
    """
    parts: Pieces = []
    space, frames = limit, 1
    decompressor = _zstd_decompressor()
    try:
        for at in range(0, len(body), PIECE):
            piece = body[at : at + PIECE]
            while piece or not (decompressor.eof or decompressor.needs_input):
                if decompressor.eof:
                    frames += 1
                    if frames > MAX_MEMBERS:
                        raise zlib.error(f"more than {MAX_MEMBERS} frames")
                    decompressor = _zstd_decompressor()
                part = decompressor.decompress(piece, space + 1)
                space -= len(part)
                if space < 0:
                    raise TooLong
                if part:
                    keep(parts, part)
                piece = decompressor.unused_data if decompressor.eof else b""
    except ZSTD.ZstdError as error:
        raise zlib.error(str(error)) from None
    if not decompressor.eof:
        raise zlib.error("it ends too early")
    return b"".join(parts)


def _zstd_decompressor() -> Any:
    return ZSTD.ZstdDecompressor(options={ZSTD.DecompressionParameter.window_log_max: _WINDOW_LOG})
