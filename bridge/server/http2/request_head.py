"""Header sections of requests: HPACK blocks to `RequestHead`, cached by their bytes (RFC 9113, sections 8.1 to 8.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpack import Decoder, HPACKError, OversizedHeaderListError

from bridge.errors import ClientError, RequestError
from bridge.http.field_value import UNREADABLE
from bridge.http.memo import Memo
from bridge.http.token import TOKEN
from bridge.http2.field_rules import CONNECTION_FIELDS, FIELD_NAME
from bridge.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error
from bridge.http2.hpack import decode
from bridge.server.head import too_large

_KNOWN = 1024  #: cached sections of all connections
_MAX_KNOWN = 1024  #: bytes of a cached block

_METHOD = re.compile(TOKEN.encode())
_TARGET = re.compile(rb"/[!\"$-~]*")  # printable, without a fragment
_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))

Pairs = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """One header section as it was received; requests with the same bytes share it.

    :ivar headers: the fields in order, ``:authority`` as ``host`` before them; obs-text octets as Latin-1.
    :ivar length: the body's Content-Length; None without one.
    :ivar expects: the client waits for ``100 Continue`` before it sends the body.
    :ivar fault: why the section is malformed (section 8.1.1); ``""`` if it is well-formed.
    :ivar error: well-formed, but can't be served.
    """

    method: str = ""
    target: str = "/"
    path: str = "/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    expects: bool = False
    fault: str = ""
    error: RequestError | None = None


class RequestDecoder:
    """The blocks of one connection.

    A client may use a dynamic table until it has applied our SETTINGS, which allow none. From then on each block is
    independent of others, so that its result is cached.

    :param limit: bytes of a section as SETTINGS_MAX_HEADER_LIST_SIZE counts them (section 6.5.2).
    :ivar independent: no block depends on others any more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._acknowledged = self.independent = False
        # It can't stop within a block without losing its table: more than this ends the connection.
        self._decoder = Decoder(max_header_list_size=4 * limit)

    def acknowledge(self) -> None:
        """The client has applied our SETTINGS."""
        if not self._acknowledged:
            self._acknowledged = True
            self._decoder.max_allowed_table_size = 0

    def head(self, block: bytes) -> RequestHead:
        """:raises Http2Error: it can't be decoded, which ends the connection (section 4.3)."""
        if not self.independent:
            return self._read(block)
        head = _heads.get(block)
        if head is None:
            head = self._read(block)
            if len(block) <= _MAX_KNOWN:
                _heads[block] = head
        return head

    def _read(self, block: bytes) -> RequestHead:
        pairs = self._pairs(block)
        return RequestHead(error=too_large(self._limit)) if pairs is None else read_head(pairs)

    def trailers(self, block: bytes) -> str:
        """Why trailers are malformed, or ``""``. They are dropped, as those of HTTP/1.1 are.

        :raises Http2Error: as `head`.
        """
        pairs = self._pairs(block)
        if pairs is None:
            return "the trailers are larger than allowed"
        return next((fault for name, value in pairs if (fault := _fault(name, value))), "")

    def _pairs(self, block: bytes) -> Pairs | None:
        """None: the section is larger than allowed. A field may be one byte of a block, so decoding stops there, unless
        a dynamic table depends on the rest."""
        if self.independent:
            return self._within_limit(decode(block))
        try:
            pairs = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise Http2Error(ENHANCE_YOUR_CALM, "a header section far above the limit") from None
        except (HPACKError, IndexError) as error:
            raise Http2Error(COMPRESSION_ERROR, str(error)) from None
        # RFC 7541, section 4.2: the first block after the acknowledgement begins with the new size.
        self.independent = self._acknowledged and not self._decoder.header_table_size
        return self._within_limit((bytes(name), bytes(value)) for name, value in pairs)

    def _within_limit(self, pairs: Iterable[tuple[bytes, bytes]]) -> Pairs | None:
        left, within = self._limit, list[tuple[bytes, bytes]]()
        for pair in pairs:
            left -= len(pair[0]) + len(pair[1]) + 32
            if left < 0:
                return None
            within.append(pair)
        return within


_heads = Memo[bytes, RequestHead](_KNOWN)
_names = Memo[bytes, str](2048)


def _fault(name: bytes, value: bytes) -> str:
    """Why a field is malformed (sections 8.2.1, 8.2.2); ``""`` if it is not."""
    if name in _names:
        known = True
    else:
        known = FIELD_NAME.fullmatch(name) is not None and name not in CONNECTION_FIELDS
        if known and len(name) <= 64:
            _names[name] = name.decode("ascii")
    if not known or (name == b"te" and value.lower() != b"trailers"):
        return f"the field {name[:64]!r} may not stand in a request"
    if UNREADABLE.search(value) or value[:1] in (b" ", b"\t") or value[-1:] in (b" ", b"\t"):
        return f"the field {name[:64]!r} has an invalid value"
    return ""


def read_head(pairs: Pairs) -> RequestHead:
    """The request that a section's fields make."""
    pseudo: dict[bytes, bytes] = {}
    headers: list[tuple[str, str]] = []
    cookies: list[str] = []
    for name, value in pairs:
        if name[:1] == b":":
            if name not in _PSEUDO or name in pseudo or headers or cookies or UNREADABLE.search(value):
                return RequestHead(fault=f"the pseudo-field {name[:64]!r} may not stand there")
            pseudo[name] = value
        elif fault := _fault(name, value):
            return RequestHead(fault=fault)
        elif name == b"cookie":
            cookies.append(value.decode("latin-1"))
        else:
            headers.append((_names.get(name) or name.decode("ascii"), value.decode("latin-1")))
    if cookies:  # section 8.2.3
        headers.append(("cookie", "; ".join(cookies)))
    return _judge(pseudo, headers)


def _judge(pseudo: dict[bytes, bytes], headers: list[tuple[str, str]]) -> RequestHead:
    """Section 8.3.1."""
    method, authority = pseudo.get(b":method", b""), pseudo.get(b":authority")
    if _METHOD.fullmatch(method) is None:
        return RequestHead(fault="it has no :method")
    if method == b"CONNECT":
        return RequestHead(error=ClientError("This gateway is not a proxy: CONNECT is not supported."))
    target = pseudo.get(b":path", b"")
    if not pseudo.get(b":scheme") or (target[:1] != b"/" and (target, method) != (b"*", b"OPTIONS")):
        return RequestHead(fault="it has no :scheme or no :path")
    if authority is not None:
        host = authority.decode("latin-1")
        if any(value.lower() != host.lower() for name, value in headers if name == "host"):
            return RequestHead(fault="its host is not its :authority")
        headers = [("host", host), *[field for field in headers if field[0] != "host"]]
    lengths = {value for name, value in headers if name == "content-length"}
    length = lengths.pop() if lengths else None
    if lengths or (length is not None and not (length.isascii() and length.isdigit() and len(length) < 20)):
        return RequestHead(fault="its content-length is no length")
    if target == b"*":
        return RequestHead(error=ClientError("OPTIONS is answered for a path, not for the server as a whole (*)."))
    if _TARGET.fullmatch(target) is None:
        return RequestHead(error=ClientError("The request target must be a path of printable ASCII characters."))
    text = target.decode("ascii")
    path, _, query = text.partition("?")
    expects = any(name == "expect" and value.lower() == "100-continue" for name, value in headers)
    return RequestHead(
        method.decode("ascii"), text, path, query, tuple(headers), int(length) if length else None, expects
    )
