"""Text and bytes as header fields and trailers say them (gRPC over HTTP/2, "Responses" and "Custom-Metadata")."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

#: Percent-Byte-Unencoded: %x20-%x24 / %x26-%x7E.
_UNENCODED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_NAME = re.compile(r"[0-9a-z_.-]+")  # Header-Name
_VALUE = re.compile(r"[\x20-\x7e]*")  # ASCII-Value


def percent(text: str) -> str:
    """``grpc-message``: Percent-Encoded."""
    return quote(text.encode("utf-8", "replace"), safe=_UNENCODED)


def unpadded(data: bytes) -> str:
    """Base64 as both protocols want it sent."""
    return binascii.b2a_base64(data, newline=False).decode("ascii").rstrip("=")


def lawful(fields: Iterable[tuple[str, str]], reserved: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Those of `fields` that are Custom-Metadata: lawful in name and value, and no name beginning with `reserved`."""
    for name, value in fields:
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value) and not name.startswith(reserved):
            yield name, value
