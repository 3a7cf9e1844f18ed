"""The heads of requests and answers (RFC 9112): checks that the parser doesn't make, and encoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus

import httptools

from bridge.api.call import Headers, Reply
from bridge.errors import ClientError, HeadTooLarge, RequestError, Unsupported
from bridge.http.client_address import absolute_target

MAX_HEAD = 64 * 1024  #: bytes of request line and header fields; as many again of trailers

#: The parser's errors for an unsupported version, and for the preface of HTTP/2.
_OTHER_VERSION = ("Invalid HTTP version", "Pause on PRI/Upgrade")


def _status_line(status: int) -> str:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
    return f"HTTP/1.1 {status} {phrase}"


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


def check_framing(version: str, codings: Sequence[str]) -> None:
    """Check version and ``Transfer-Encoding`` (RFC 9112, section 6.1).

    :param codings: all values of that field.
    :raises Unsupported: an unsupported coding of a body with a known end.
    :raises ClientError: 505 for an unsupported version; 400 if the end of the body can't be determined, and for
        HTTP/1.0, which has no codings.
    """
    if version not in ("1.0", "1.1"):
        raise _other_version()
    if codings and version == "1.0":
        raise ClientError("A Transfer-Encoding can't be used with HTTP/1.0.")
    if not codings or (len(codings) == 1 and codings[0].lower() == "chunked"):
        return
    names = [coding.strip().lower() for value in codings for coding in value.split(",")]
    if names[-1] == "chunked" and all(names) and names.count("chunked") == 1:
        raise Unsupported("The only supported transfer coding is chunked.")
    raise ClientError("A request's Transfer-Encoding must be chunked, once, and nothing else.")


def whole_target(target: str, fields: list[tuple[str, str]], version: str) -> str:
    """The origin-form (path and query) of a target that is not just a path (RFC 9112, section 3.2).

    :param fields: of the request. If Host is missing and optional, the target's authority is added under its name.
    :raises ClientError: as `absolute_target`.
    """
    hosts = [value for name, value in fields if name == "host"]
    path, query, authority = absolute_target(target, hosts, version)
    if not hosts:
        fields.append(("host", authority))
    return f"{path or '/'}?{query}" if "?" in target else path or "/"


def begins_websocket(fields: Headers, version: str) -> bool:
    """Whether a head with ``Upgrade`` is a WebSocket's handshake (RFC 6455, section 4.2.1). In HTTP/1.0, ``Upgrade`` is
    ignored (RFC 9110, section 7.8). From a list of protocols the server may choose: it stays with HTTP."""
    upgrades = [value.strip().lower() for name, value in fields if name == "upgrade"]
    return upgrades == ["websocket"] and version != "1.0" and any(name == "sec-websocket-key" for name, _ in fields)


def rewritten(method: bytes, target: bytes, version: str, fields: Headers) -> bytes:
    """The original head without its ``Upgrade``."""
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in fields if name != "upgrade"]
    return b"%s %s HTTP/%s\r\n%s\r\n" % (method, target, version.encode(), b"".join(lines))


def refusal(error: httptools.HttpParserError) -> RequestError:
    """The error of the parser: raised by a callback, or by itself."""
    if isinstance(error.__context__, RequestError):
        return error.__context__
    if str(error) in _OTHER_VERSION:
        return _other_version()
    return ClientError("What was sent is not a valid HTTP/1.1 request.")


def _other_version() -> ClientError:
    return ClientError("This gateway speaks HTTP/1.1 and HTTP/1.0 on this port.", status=505)


def too_large(limit: int) -> HeadTooLarge:
    return HeadTooLarge(f"A request's header may have at most {limit // 1024} kB.")


def encode_head(status: int, date: str, fields: Iterable[tuple[str, str]], *, close: bool) -> bytes:
    """The head of an answer.

    :param date: the whole field, as ``Date: …``.
    :param close: whether the connection is closed after the answer.
    """
    end = "connection: close\r\n\r\n" if close else "\r\n"
    return "\r\n".join([STATUS_LINES[status], date, *map(": ".join, fields), end]).encode("latin-1", "replace")


def encode_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Lines of a trailer section (RFC 9112, section 7.1.2)."""
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode("latin-1", "replace")


def last_answer(reply: Reply, trace_id: str, date: str) -> bytes:
    """`reply` as the last answer of a connection."""
    fields = [*reply.headers, ("x-trace-id", trace_id), ("content-length", str(len(reply.content)))]
    return encode_head(reply.status, date, fields, close=True) + reply.content
