"""Header sections of responses as HPACK blocks. No dynamic table is used, so that a block depends on no other."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.http.memo import Memo
from bridge.http2.hpack import indexed, literal, named

#: Whole fields of the static table (RFC 7541, appendix A).
_STATUSES = {200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}
_STATUS = {status: indexed(_STATUSES[status]) if status in _STATUSES else named(8, b"%d" % status)
           for status in range(100, 600)}  # fmt: skip
#: They describe a connection of HTTP/1.1 (RFC 9113, section 8.2.2).
_LEFT_OUT = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))

CONTINUE = _STATUS[100]

_dates = Memo[str, bytes](4)  # a new one each second


def response_block(status: int, date: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """:param date: the whole field, as ``date: …``.
    :param fields: names are tokens in lower case, values contain no control characters.
    """
    encoded = _dates.get(date)
    if encoded is None:
        encoded = _dates[date] = literal("date", date.partition(": ")[2].encode("ascii"))
    return _STATUS[status] + encoded + field_block(fields)


def field_block(fields: Iterable[tuple[str, str]]) -> bytes:
    """Without blanks around a value, which would make the response malformed (section 8.2.1)."""
    return b"".join(
        [
            literal(name, value.strip(" \t").encode("latin-1", "replace"))
            for name, value in fields
            if name not in _LEFT_OUT
        ]
    )
