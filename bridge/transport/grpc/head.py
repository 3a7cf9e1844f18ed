"""The beginning of a request (PROTOCOL-HTTP2, "Request-Headers"): most of it is built once per method, the rest per
call."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable

from bridge.errors import ClientError
from bridge.http.agent import USER_AGENT
from bridge.http.memo import Memo
from bridge.http2.hpack import indexed, length_of, literal, name_part, named
from bridge.transport.grpc.framing import ACCEPTED

# RFC 7541, appendix A.
_AUTHORITY, _POST, _PATH, _HTTP, _HTTPS = 1, 3, 4, 6, 7

_NAME = re.compile(r"[0-9a-z_.-]+")  # "Custom-Metadata", Header-Name
_MICROSECONDS = 99.0  #: seconds that fit in eight digits of them ("TimeoutValue")

_TIMEOUT = name_part("grpc-timeout")
_AGENT = f"grpc-python-{USER_AGENT}".encode()


def method_head(path: str, authority: str, *, secure: bool, coding: str | None) -> bytes:
    """The beginning of each request of one method.

    :param path: ``/package.Service/Method``.
    :param coding: of messages, if they may be compressed.
    """
    head = (
        indexed(_POST)
        + indexed(_HTTPS if secure else _HTTP)
        + named(_PATH, path.encode("ascii"))
        + named(_AUTHORITY, authority.encode("ascii"))
        + literal("te", b"trailers")
        + literal("content-type", b"application/grpc")
        + literal("user-agent", _AGENT)
        + literal("grpc-accept-encoding", ACCEPTED.encode())
    )
    return head + literal("grpc-encoding", coding.encode()) if coding else head


def timeout_field(seconds: float) -> bytes:
    """``grpc-timeout``: at most eight digits and a unit."""
    if seconds < _MICROSECONDS:
        microseconds = int(seconds * 1e6)
        text = b"%du" % (microseconds if microseconds > 0 else 1)
    else:
        text = b"%dS" % min(99_999_999, int(seconds) + 1)
    return _TIMEOUT + _LENGTHS[len(text)] + text


def metadata_fields(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """ASCII metadata as it is, and binary metadata (``-bin``) in base64 without padding.

    :raises bridge.errors.ClientError: something in it is not allowed in a header.
    """
    parts: list[bytes] = []
    for name, value in metadata:
        if isinstance(value, str):
            # "ASCII-Value": printable characters.
            if not (value.isascii() and value.isprintable()):
                raise ClientError(f"The metadata {name} holds characters that gRPC does not allow.")
            raw = value.encode()
        else:
            raw = b64encode(value).rstrip(b"=")
        size = len(raw)
        parts += (_parts.get(name) or _name(name), _LENGTHS[size] if size < 127 else length_of(raw), raw)
    return b"".join(parts)


_LENGTHS = tuple(number.to_bytes(1, "big") for number in range(127))
_parts = Memo[str, bytes](4096)


def _name(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise ClientError("The name of a metadata entry holds characters that gRPC does not allow.")
    part = _parts[name] = name_part(name)
    return part
