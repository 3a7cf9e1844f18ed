"""The head of a response (RFC 9112, sections 4, 5 and 6), parsed once for all replies that begin with the same bytes.

Refused, since two parsers could interpret them differently: a space before a field's colon (section 5.1), a control
character that ends lines or strings (RFC 9110, section 5.5), a framing other than one length in digits or ``chunked``
alone (section 6.3), a first field that is indented (section 2.2), another major version (RFC 9110, section 2.5).

Accepted, since sections 2.2 and 5.2 allow them and old services need them: lines that end with a bare LF, folded
fields (the fold becomes a space; not in a field that frames), empty lines before the status line, no reason phrase.
"""

from __future__ import annotations

import re

from bridge.errors import BadReply
from bridge.http.field_value import UNREADABLE
from bridge.http.forwarding import end_to_end, tells_where
from bridge.http.memo import Memo
from bridge.http.token import TOKEN
from bridge.transport.http1.exchange import KEEPALIVE, MAX_FIELD, ReplyHead, too_long

MAX_HEAD = 64 * 1024  #: bytes of a head with all its fields
MAX_FIELDS = 256  #: more are an error of the service, or an attack

#: Values of `Head.length` that are not a number of bytes (section 6.3, items 4 and 8).
CHUNKED, UNTIL_CLOSE = -1, -2

_REMEMBERED = 64  #: heads of one address; one that differs in every reply is parsed each time
_WORTH = 2048  #: bytes of the longest head that is cached
_LINES = 1024  #: cached field lines, of all addresses together
_LINE = 256  #: bytes of the longest one

_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: [^\x00\r\n]*)?")  # section 4; without a reason, too
_NAME = re.compile(TOKEN.encode())
_DIGITS = re.compile(r"[0-9]{1,18}")  # section 6.2; 18 are more than any limit, and no overflow anywhere
_END_OF_LINE = re.compile(rb"\r?\n")
_SECONDS = re.compile(r"(?:.*[ ,;\t])?timeout *= *\"?([0-9]{1,6})", re.DOTALL | re.IGNORECASE)

#: The meaning of a field for the connection and `ReplyHead`; 0: none, as for most fields.
_LENGTH, _TRANSFER, _CONNECTION, _CLOSE, _IDLE, _ENDS, _CODING, _LOCATION = (1 << bit for bit in range(8))
_FRAMING = _LENGTH | _TRANSFER | _CONNECTION | _CLOSE | _IDLE
_PASSED_ON = _CODING | _LOCATION
#: Marks by name …
_MARKS = {
    "content-length": _LENGTH,
    "transfer-encoding": _TRANSFER,
    "connection": _CONNECTION,
    "keep-alive": _IDLE,
    "content-encoding": _CODING,
}
#: … and by value: nearly always, Connection names no other field (section 9.6; RFC 9110, section 7.6.1).
_CONNECTIONS = {"close": _CLOSE, "keep-alive": _ENDS}

Field = tuple[str, str]

#: Cached lines, by their bytes: first lines, fields without a mark, and fields with one.
_first = Memo[bytes, tuple[int, bool]](_LINES)
_plain = Memo[bytes, Field](_LINES)
_marked = Memo[bytes, tuple[Field, int]](_LINES)


class Head:
    """A response's head, and what it means for the connection.

    :ivar status: 100 to 599.
    :ivar length: of the body, in bytes, if the request was not HEAD; `CHUNKED` or `UNTIL_CLOSE`.
    :ivar keep: seconds that the connection may then be idle; 0 if it must not be used again.
    :ivar reply: the part that is passed on.
    """

    __slots__ = ("keep", "length", "reply", "status")

    def __init__(self, status: int, length: int, keep: float, reply: ReplyHead) -> None:
        self.status = status
        self.length = length
        self.keep = keep
        self.reply = reply


class Heads:
    """Final heads of one address by their bytes. Except for the date, a service sends the same few heads.

    :ivar known: the cached heads.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known = Memo[bytes, Head](_REMEMBERED)

    def read(self, raw: bytes) -> Head:
        """:param raw: a whole head with the empty line that ends it; every line ends with CRLF.
        :raises BadReply: it breaks HTTP.
        """
        head = read_head(raw)
        if head.status >= 200 and len(raw) <= _WORTH:
            self.known[raw] = head
        return head


def tidy(raw: bytes) -> bytes:
    """A head whose lines may end with a bare LF, in the form for `Heads.read`."""
    return _END_OF_LINE.sub(b"\r\n", raw)


def read_head(raw: bytes) -> Head:
    """:raises BadReply: it breaks HTTP."""
    lines = raw[:-4].split(b"\r\n")
    status, reusable = _first.get(lines[0]) or _read_first(lines[0])
    if len(lines) > MAX_FIELDS:
        raise BadReply(cause=f"more than {MAX_FIELDS} header fields")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        _unfold(lines)
    if len(raw) > MAX_FIELD and max(map(len, lines)) > MAX_FIELD:
        raise BadReply(cause=f"a line of the head has more than {MAX_FIELD} bytes")
    fields: list[Field] = []
    special: list[tuple[Field, int]] = []
    plain = _plain
    for line in lines[1:]:
        field = plain.get(line)
        if field is None:
            field, mark = _marked.get(line) or read_field(line)
            if mark:
                special.append((field, mark))
                if not mark & _PASSED_ON:
                    continue
        fields.append(field)
    return _interpret(status, reusable, fields, special)


def _read_first(line: bytes) -> tuple[int, bool]:
    """The status, and whether the version keeps connections (section 9.3): HTTP/1.0 does not."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None or len(line) > MAX_FIELD:
        raise BadReply(cause=f"no status line of HTTP/1: {line[:80]!r}")
    first = int(match[2]), match[1] != b"0"
    if len(line) <= _LINE:
        _first[line] = first
    return first


def read_field(line: bytes) -> tuple[Field, int]:
    """A field of a head or of a trailer section, with its mark. Section 5: ``field-name ":" OWS field-value OWS``.

    :raises BadReply: it is malformed.
    """
    raw, colon, value = line.partition(b":")
    if not (colon and _NAME.fullmatch(raw)) or UNREADABLE.search(value):
        raise BadReply(cause=f"no header field: {line[:80]!r}")
    name = raw.decode("ascii").lower()
    field = (name, value.strip(b" \t").decode("latin-1"))
    mark = _MARKS.get(name)
    if mark == _CONNECTION:
        mark = _CONNECTIONS.get(field[1].lower(), _CONNECTION)
    elif mark is None:
        mark = (_LOCATION if tells_where((field,)) else 0) if end_to_end((field,)) else _ENDS
    if len(line) <= _LINE:
        if mark:
            _marked[line] = field, mark
        else:
            _plain[line] = field
    return field, mark


def _unfold(lines: list[bytes]) -> None:
    """Section 5.2: a folded line belongs to the field before it.

    :raises BadReply: there is none (section 2.2), or it frames the message.
    """
    unfolded: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if len(unfolded) < 2 or _MARKS.get(unfolded[-1].partition(b":")[0].decode("latin-1").lower(), 0) & _FRAMING:
                raise BadReply(cause=f"no header field: {line[:80]!r}")
            unfolded[-1] = unfolded[-1].rstrip(b" \t") + b" " + line.strip(b" \t")
        else:
            unfolded.append(line)
    lines[:] = unfolded


def _interpret(status: int, reusable: bool, fields: list[Field], special: list[tuple[Field, int]]) -> Head:
    """The head of these fields; `fields` are those passed on, `special` those with a mark."""
    marks = 0
    lengths: list[str] = []
    for field, mark in special:
        marks |= mark
        if mark == _LENGTH:
            lengths.append(field[1])
    codings, has_location, keep = "", False, KEEPALIVE
    if marks & ~_LENGTH:  # rare
        if marks & _CONNECTION:
            options = [(name, value) for (name, value), mark in special if mark == _CONNECTION]
            fields = end_to_end([*options, *fields])
        codings = ",".join([value for name, value in fields if name == "content-encoding"])
        has_location = tells_where(fields)
        keep = _keep(special, marks)
    if marks & _TRANSFER:
        transfer = [value.lower() for (_, value), mark in special if mark == _TRANSFER]
        # Section 6.3, item 3: two framings in one message are a means of response splitting; both are refused.
        if lengths or transfer != ["chunked"]:
            raise BadReply(cause="the reply's framing is ambiguous")
        length = CHUNKED  # also with HTTP/1.0, whose connection is closed then (section 6.1)
    elif lengths:
        if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):  # item 5
            raise BadReply(cause=f"content-length {', '.join(lengths)[:40]!r}")
        length = int(lengths[0])  # item 6
    else:
        length = UNTIL_CLOSE  # item 8
    announced = length if length >= 0 else None
    if status < 200 or status in (204, 304):  # item 1
        length = 0
    if not reusable or length == UNTIL_CLOSE:
        keep = 0.0
    return Head(status, length, keep, ReplyHead(status, fields, codings, has_location, announced))


def _keep(special: list[tuple[Field, int]], marks: int) -> float:
    """Seconds that a connection may be idle, by HTTP/1.1."""
    keep = KEEPALIVE
    if marks & _CLOSE:
        return 0.0
    if marks & (_CONNECTION | _IDLE):
        for (_, value), mark in special:
            if mark == _IDLE:
                keep = min(keep, _idle(value))
            elif mark == _CONNECTION and "close" in [option.strip() for option in value.lower().split(",")]:
                return 0.0  # section 9.6
    return keep


def _idle(value: str) -> float:
    """Seconds by ``Keep-Alive: timeout=N``, which is in no current standard, but which many services send. The result
    is shorter, so that a request is not sent while the service closes the connection."""
    match = _SECONDS.match(value)
    if match is None:
        return KEEPALIVE
    seconds = int(match[1])
    return seconds - 1.0 if seconds > 2 else seconds / 2


def check_length(length: int, limit: int) -> None:
    """:raises BadReply: a body of `length` bytes is longer than the `limit`."""
    if length > limit:
        raise too_long(f"content-length {length}, the limit is {limit}")
