"""Trace ids: taken from a trusted proxy, else made; passed upstream as ``X-Trace-ID`` and W3C ``traceparent``.

W3C Trace Context, section 3.2: ``version-traceid-parentid-flags``, lower-case hex, all-zero ids are invalid.
"""

from __future__ import annotations

import re
from random import getrandbits

from bridge.api.call import Headers

# Version 00 ends with the flags; a later one may go on after a hyphen and is read as far as it is known; ff is none.
_TRACEPARENT = re.compile(
    r"(?:00(?=.{53}\Z)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


def make_trace_id() -> str:
    """32 hex digits. Ids need not be unpredictable, so the fast generator is enough."""
    return (getrandbits(128) or 1).to_bytes(16, "big").hex()  # three times as fast as formatting it


def taken_trace_id(traceparent: str, x_trace_id: str) -> str:
    """The trace id that a trusted proxy's header fields carry, or ``""``; ``traceparent`` goes first."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match:
        return match[1]
    plain = x_trace_id.replace("-", "").lower()
    return plain if _TRACE_ID.fullmatch(plain) else ""


def trace_id_of(headers: Headers, *, trusted: bool) -> str:
    """A request's trace id: what a trusted proxy says, else a new one."""
    if trusted:
        fields = dict(headers)
        return taken_trace_id(fields.get("traceparent", ""), fields.get("x-trace-id", "")) or make_trace_id()
    return make_trace_id()


def trace_headers(trace_id: str) -> list[tuple[str, str]]:
    """The fields that go upstream; each call is a span of its own."""
    span = (getrandbits(64) or 1).to_bytes(8, "big").hex()
    return [("x-trace-id", trace_id), ("traceparent", f"00-{trace_id}-{span}-01")]
