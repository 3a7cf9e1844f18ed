"""Content-codings undone within a size limit (RFC 9110, section 8.4.1), so that no small reply becomes a huge one."""

from __future__ import annotations

import zlib

from bridge.errors import BadReply

MAX_CODINGS = 3  # real services apply one; each layer multiplies what a hostile one can reach

_GZIP = frozenset(("gzip", "x-gzip"))  # section 8.4.1.3: the two are one


class TooLong(Exception):
    """The decoded body passes the limit."""


def decode(body: bytes, codings: str, limit: int) -> bytes:
    """`body` with the codings of a ``Content-Encoding`` value undone, last first.

    :param limit: bytes that no step's result may pass.
    :raises BadReply: an unknown coding, a body that isn't what its coding says, or too many bytes.
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
            raise BadReply(
                "The service behind this route gave a longer answer than the gateway takes.",
                cause=f"more than {limit} bytes once {name} is undone",
            ) from None
        except zlib.error as error:
            raise BadReply(cause=f"not {name}: {error}") from None
    return body


def _deflate(body: bytes, limit: int) -> bytes:
    """Section 8.4.1.2 says zlib format; some servers send the bare stream, and every client copes."""
    try:
        return _inflate(body, 15, limit)
    except zlib.error:
        return _inflate(body, -15, limit)


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    """:raises zlib.error: broken, cut short, or followed by something else."""
    parts: list[bytes] = []
    room = limit
    while body:
        inflater = zlib.decompressobj(wbits)
        part = inflater.decompress(body, room + 1)
        room -= len(part)
        if room < 0:
            raise TooLong
        if not inflater.eof:
            raise zlib.error("it ends too early")
        parts.append(part)
        body = inflater.unused_data
        if body and wbits != 31:  # only gzip knows a second member (RFC 1952, section 2.2)
            raise zlib.error("something follows its end")
    return b"".join(parts)
