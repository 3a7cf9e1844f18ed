"""The head of a response (RFC 9112, sections 4, 5 and 6), judged once for all replies that begin with the same bytes.

What is refused, since two readers could take it for two things: a space before a field's colon (section 5.1), a control
character that ends lines or strings (RFC 9110, section 5.5), a framing other than one length in digits or ``chunked``
alone (section 6.3), a first field that is indented (section 2.2), another major version (RFC 9110, section 2.5).

What is taken, since section 2.2 and 5.2 allow it and old services need it: lines that end with a bare LF, folded
fields (the fold becomes a space; not in a field that frames), empty lines before the status line, no reason phrase.
"""

from __future__ import annotations

import re

from bridge.errors import BadReply
from bridge.upstream.client import KEEPALIVE, MAX_FIELD, ReplyHead, too_long
from bridge.upstream.headers import end_to_end, tells_where

MAX_HEAD = 64 * 1024  #: bytes of a head with all its fields
MAX_FIELDS = 256  #: a service that sends more is out of its mind, or after ours

#: What `Head.length` says where it is no number of bytes (section 6.3, items 4 and 8).
CHUNKED, UNTIL_CLOSE = -1, -2

_REMEMBERED = 64  #: heads of one address; one that differs in every reply is read anew each time
_WORTH = 2048  #: bytes of the longest head that is remembered
_LINES = 1024  #: field lines remembered, of all addresses together
_LINE = 256  #: bytes of the longest one

_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: [^\x00\r\n]*)?")  # section 4; without a reason, too
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_NOT_A_VALUE = re.compile(rb"[\x00\r\n]")  # RFC 9110, section 5.5: the rest is kept as it came
_DIGITS = re.compile(r"[0-9]{1,18}")  # section 6.2; 18 are more than any limit, and no overflow anywhere
_END_OF_LINE = re.compile(rb"\r?\n")
_SECONDS = re.compile(r"(?:.*[ ,;\t])?timeout *= *\"?([0-9]{1,6})", re.DOTALL | re.IGNORECASE)

#: What a field means to the connection and to `ReplyHead`; 0 is a field like most.
_LENGTH, _TRANSFER, _CONNECTION, _CLOSE, _IDLE, _ENDS, _CODING, _LOCATION = (1 << bit for bit in range(8))
_FRAMING = _LENGTH | _TRANSFER | _CONNECTION | _CLOSE | _IDLE
_PASSED_ON = _CODING | _LOCATION
#: By name …
_MARKS = {
    "content-length": _LENGTH,
    "transfer-encoding": _TRANSFER,
    "connection": _CONNECTION,
    "keep-alive": _IDLE,
    "content-encoding": _CODING,
}
#: … and by value: nearly always Connection names no other field (section 9.6; RFC 9110, section 7.6.1).
_CONNECTIONS = {"close": _CLOSE, "keep-alive": _ENDS}

Field = tuple[str, str]

_first: dict[bytes, tuple[int, bool]] = {}
_known: dict[bytes, tuple[Field, int]] = {}


class Head:
    """A response's head, and what it means for the connection.

    :ivar status: 100 to 599.
    :ivar length: of the body, in bytes, where the request was not HEAD; `CHUNKED` or `UNTIL_CLOSE`.
    :ivar keep: seconds that the connection may then lie idle; 0 where it must not be used again.
    :ivar reply: what of it is anybody else's business.
    """

    __slots__ = ("keep", "length", "reply", "status")

    def __init__(self, status: int, length: int, keep: float, reply: ReplyHead) -> None:
        self.status = status
        self.length = length
        self.keep = keep
        self.reply = reply


class Heads:
    """Heads of one address by their bytes. Services say the same thing again and again, but for the time of day."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, raw: bytes) -> Head:
        """:param raw: a whole head with the empty line that ends it; every line ends with CRLF.
        :raises BadReply: it breaks HTTP.
        """
        head = self._known.get(raw)
        if head is None:
            head = read_head(raw)
            if len(raw) <= _WORTH:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[raw] = head
        return head


def tidy(raw: bytes) -> bytes:
    """A head in which lines may end with a bare LF, as `Heads.read` wants it."""
    return _END_OF_LINE.sub(b"\r\n", raw)


def read_head(raw: bytes) -> Head:
    """:raises BadReply: it breaks HTTP."""
    lines = raw[:-4].split(b"\r\n")
    first = _first.get(lines[0]) or _read_first(lines[0])
    if len(lines) > MAX_FIELDS:
        raise BadReply(cause=f"more than {MAX_FIELDS} header fields")
    if len(raw) > MAX_FIELD and max(map(len, lines)) > MAX_FIELD:
        raise BadReply(cause=f"a line of the head has more than {MAX_FIELD} bytes")
    return _judge(*first, read_fields(lines))


def _read_first(line: bytes) -> tuple[int, bool]:
    """The status, and whether the version keeps connections (section 9.3): HTTP/1.0 does not."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise BadReply(cause=f"no status line of HTTP/1: {line[:80]!r}")
    first = int(found[2]), found[1] != b"0"
    if len(line) <= _LINE:
        if len(_first) >= _LINES:
            _first.clear()
        _first[line] = first
    return first


def read_fields(lines: list[bytes]) -> list[tuple[Field, int]]:
    """The fields of a head or of a trailer section (section 7.1.2), whose first line in `lines` is passed over; each
    with its mark.

    :raises BadReply: one is none.
    """
    fields: list[tuple[Field, int]] = []
    known = _known
    for line in lines[1:]:
        field = known.get(line)
        if field is None:
            if line[:1] in (b" ", b"\t"):
                _unfold(fields, line)
                continue
            field = _read_field(line)
            if len(line) <= _LINE:
                if len(known) >= _LINES:
                    known.clear()
                known[line] = field
        fields.append(field)
    return fields


def _read_field(line: bytes) -> tuple[Field, int]:
    """Section 5: ``field-name ":" OWS field-value OWS``."""
    raw, colon, value = line.partition(b":")
    if not (colon and _TOKEN.fullmatch(raw)) or _NOT_A_VALUE.search(value):
        raise BadReply(cause=f"no header field: {line[:80]!r}")
    name = raw.decode("ascii").lower()
    field = (name, value.strip(b" \t").decode("latin-1"))
    mark = _MARKS.get(name)
    if mark == _CONNECTION:
        mark = _CONNECTIONS.get(field[1].lower(), _CONNECTION)
    elif mark is None:
        mark = (_LOCATION if tells_where((field,)) else 0) if end_to_end((field,)) else _ENDS
    return field, mark


def _unfold(fields: list[tuple[Field, int]], line: bytes) -> None:
    """Section 5.2: a folded line belongs to the field before it."""
    if not fields or fields[-1][1] & _FRAMING or _NOT_A_VALUE.search(line):
        raise BadReply(cause=f"no header field: {line[:80]!r}")
    (name, value), mark = fields[-1]
    more = line.decode("latin-1").strip(" \t")
    value = f"{value} {more}".strip(" ")
    if len(value) > MAX_FIELD:
        raise BadReply(cause=f"the header {name} has more than {MAX_FIELD} bytes")
    fields[-1] = ((name, value), mark)


def _judge(status: int, reusable: bool, marked: list[tuple[Field, int]]) -> Head:
    """What the fields come to."""
    marks = 0
    lengths: list[str] = []
    fields: list[Field] = []
    for field, mark in marked:
        if not mark:
            fields.append(field)
            continue
        marks |= mark
        if mark & _PASSED_ON:
            fields.append(field)
        elif mark == _LENGTH:
            lengths.append(field[1])
    codings = ""
    if marks & ~_LENGTH:  # something rarer
        if marks & _CONNECTION:
            fields = end_to_end([field for field, _ in marked])
        codings = ",".join([value for name, value in fields if name == "content-encoding"])
    keep = _keep(marked, marks) if reusable else 0.0
    reply = ReplyHead(status, fields, codings, bool(marks & _LOCATION) and tells_where(fields))
    if marks & _TRANSFER:
        transfer = [value.lower() for (_, value), mark in marked if mark == _TRANSFER]
        # Section 6.3, item 3: two framings in one message are how replies get split; neither is believed.
        if lengths or transfer != ["chunked"]:
            raise BadReply(cause="the reply's framing is ambiguous")
        length = CHUNKED  # also with HTTP/1.0, whose connection is closed then (section 6.1)
    elif lengths:
        if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):  # item 5
            raise BadReply(cause=f"content-length {', '.join(lengths)[:40]!r}")
        length = int(lengths[0])  # item 6
    else:
        length = UNTIL_CLOSE  # item 8
    if status < 200 or status in (204, 304):  # item 1
        length = 0
    return Head(status, length, 0.0 if length == UNTIL_CLOSE else keep, reply)


def _keep(marked: list[tuple[Field, int]], marks: int) -> float:
    """Seconds that a connection may be idle, by HTTP/1.1."""
    keep = KEEPALIVE
    if marks & _CLOSE:
        return 0.0
    if marks & (_CONNECTION | _IDLE):
        for (_, value), mark in marked:
            if mark == _IDLE:
                keep = min(keep, _idle(value))
            elif mark == _CONNECTION and "close" in [option.strip() for option in value.lower().split(",")]:
                return 0.0  # section 9.6
    return keep


def _idle(value: str) -> float:
    """Seconds by ``Keep-Alive: timeout=N``, which no standard in force describes but many services announce: less than
    they say, so that a request does not cross with their closing."""
    found = _SECONDS.match(value)
    if found is None:
        return KEEPALIVE
    seconds = int(found[1])
    return seconds - 1.0 if seconds > 2 else seconds / 2


def check_length(length: int, limit: int) -> None:
    """:raises BadReply: a body of `length` bytes is longer than the `limit`."""
    if length > limit:
        raise too_long(f"content-length {length}, the limit is {limit}")
