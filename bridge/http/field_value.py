"""Values of header fields (RFC 9110, section 5.5)."""

from __future__ import annotations

import re

#: Within ``[]`` of a pattern: control characters that no value may hold. Some would split a message in two.
CONTROLS = r"\x00-\x08\x0a-\x1f\x7f"

#: What the gateway never sends in a value.
UNSENDABLE = re.compile(f"[{CONTROLS}]")
#: What makes a value from a service invalid. Other controls are kept as they came, which the section allows.
UNREADABLE = re.compile(rb"[\x00\r\n]")


def as_utf8(value: str) -> str:
    """A value whose octets were read as Latin-1, read as UTF-8 instead; unchanged where it is not UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
