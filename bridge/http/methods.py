"""The HTTP methods that clients can use, which are those that the server's parser supports, and those that are safe."""

from __future__ import annotations

import functools

import httptools

from bridge.http.token import is_token

#: RFC 9110, section 9.2.1: they change nothing, and a link of any page can cause them.
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


@functools.lru_cache(maxsize=256)
def is_served(method: str) -> bool:
    """Whether the gateway's server reads requests with `method`. This is tried with the parser, whose table changes
    with its versions. ``CONNECT`` is not supported (RFC 9110, section 9.3.6)."""
    if not is_token(method):
        return False
    parser = httptools.HttpRequestParser(_Nothing())
    try:
        parser.feed_data(f"{method} / HTTP/1.1\r\nhost: h\r\n\r\n".encode())
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    return True


class _Nothing:
    """A parser's callbacks; all are ignored."""
