"""Header sections of responses: HPACK blocks to `Fields`, cached by their bytes."""

from __future__ import annotations

from typing import Any

from bridge.http.field_value import UNREADABLE
from bridge.http.memo import Memo
from bridge.http2.field_rules import CONNECTION_FIELDS, FIELD_NAME
from bridge.http2.hpack import decode

KNOWN = 512  #: cached blocks; services send few different ones
MAX_KNOWN = 1024  #: bytes of a cached block


class Fields:
    """One header section as it was received, shared by all streams that received the same bytes.

    :ivar status: of ``:status``; None in trailers.
    :ivar pairs: the other fields in order; obs-text octets as Latin-1.
    :ivar fault: why it is malformed (RFC 9113, section 8.1.1) or larger than allowed; ``""`` if it is valid.
    :ivar large: it is larger than allowed.
    :ivar memo: for the reader: its result for the section.
    """

    __slots__ = ("fault", "large", "memo", "pairs", "status")

    def __init__(
        self, status: int | None, pairs: tuple[tuple[str, str], ...], fault: str = "", *, large: bool = False
    ) -> None:
        self.status = status
        self.pairs = pairs
        self.fault = fault
        self.large = large
        self.memo: Any = None


TOO_LARGE = Fields(None, (), "it is larger than allowed", large=True)


class Decoder:
    """Blocks to `Fields`.

    :param limit: bytes of a section as SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113, section 6.5.2).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._memo = Memo[bytes, Fields](KNOWN)

    def __call__(self, block: bytes) -> Fields:
        """:raises Http2Error: it can't be decoded, which ends the connection (RFC 9113, section 4.3)."""
        section = self._memo.get(block)
        if section is None:
            section = self._read(block)
            if len(block) <= MAX_KNOWN:
                self._memo[block] = section
        return section

    def _read(self, block: bytes) -> Fields:
        size = 0
        pairs = []
        for name, value in decode(block):
            size += len(name) + len(value) + 32
            if size > self._limit:
                return TOO_LARGE
            pairs.append((name, value))
        return _judge(pairs)


def _judge(pairs: list[tuple[bytes, bytes]]) -> Fields:
    status: int | None = None
    fault = ""
    fields: list[tuple[str, str]] = []
    for name, value in pairs:
        if (
            name == b":status"
            and status is None
            and not fields
            and len(value) == 3
            and value.isdigit()
            and value >= b"100"
        ):
            status = int(value)
        elif not FIELD_NAME.fullmatch(name) or name in CONNECTION_FIELDS or UNREADABLE.search(value):
            fault = f"the field {name[:64]!r} may not stand in an answer"
        else:
            fields.append((name.decode("latin-1"), value.decode("latin-1").strip(" \t")))
    return Fields(status, tuple(fields), fault)
