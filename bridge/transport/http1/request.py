"""The head of a request, as bytes (RFC 9112, sections 3 and 5)."""

from __future__ import annotations

from collections.abc import Sequence

#: RFC 9110, section 8.6: their content has no meaning, so they need no ``content-length: 0``.
_WITHOUT_CONTENT = frozenset(("GET", "HEAD", "OPTIONS"))


def write_head(method: str, target: str, fields: Sequence[tuple[str, str]], length: int | None) -> bytes:
    """The head up to its empty line.

    :param fields: all but ``content-length``; names and values were checked (`bridge.transport.http1.fields`).
    :param length: bytes of the body; None if it is chunked.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    if length is None:
        return f"{method} {target} HTTP/1.1\r\n{lines}Transfer-Encoding: chunked\r\n\r\n".encode()
    if length or method not in _WITHOUT_CONTENT:
        return f"{method} {target} HTTP/1.1\r\n{lines}Content-Length: {length}\r\n\r\n".encode()
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()
