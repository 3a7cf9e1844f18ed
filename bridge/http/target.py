"""A request's target (RFC 9112, section 3.2): path and query, and what a path may not hold."""

from __future__ import annotations

import re

from bridge.errors import ClientError

# A segment that is, once decoded, "." or ".." would climb out of its route on the other side. Some decoders take UTF-8
# that is longer than it need be (RFC 3629, section 10), so a dot and a slash may be written that way, too.
_DOT = r"(?:\.|%2e|%c0%ae|%e0%80%ae)"
_SLASH = r"/|\\|%2f|%5c|%c0%af|%c1%9c|%e0%80%af"
# A control character ends the path, or begins a line, where the other side is careless.
_REFUSED = re.compile(rf"(?:^|{_SLASH}){_DOT}{{1,2}}(?:{_SLASH}|;|$)|%(?:[01][0-9a-f]|7f)", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")


def parse_target(target: str) -> tuple[str, str]:
    """A request target's path and query.

    :raises ClientError: the path could climb out of its route, or holds what a path may not.
    """
    path, _, query = target.partition("?")
    check_path(path)
    return path, query


def check_path(path: str) -> None:
    """:raises ClientError: `path` could climb out of its route, or holds what a path may not."""
    # A dot segment begins behind a slash of some kind. To look for one costs less than the patterns, which seldom must.
    if (
        not path.startswith("/")
        or (("/." in path or "%" in path or "\\" in path) and _REFUSED.search(path))
        or ((" " in path or not path.isprintable()) and _UNSAFE.search(path))
    ):
        raise ClientError("The path holds a dot segment or a character that a path may not hold.")
