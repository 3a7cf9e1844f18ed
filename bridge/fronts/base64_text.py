"""The text form of gRPC-Web: base64, in chunks that may each be padded (PROTOCOL-WEB, "Text-encoded streams")."""

from __future__ import annotations

import binascii
import re

from bridge.errors import ClientError

#: One chunk: up to its padding, or to the end.
_CHUNK = re.compile(rb"[^=]*={1,2}|[^=]+")


class Base64Text:
    """Decodes a client's bytes, at whatever places they are split; padding may come after any group of four."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes of a group of four that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> bytes:
        """:raises bridge.api.ClientError: `data` isn't base64."""
        data = self._rest + data
        whole = len(data) // 4 * 4
        self._rest = data[whole:]
        groups = data[:whole]
        try:
            if b"=" not in groups:
                return binascii.a2b_base64(groups, strict_mode=True)
            return b"".join(binascii.a2b_base64(chunk, strict_mode=True) for chunk in _CHUNK.findall(groups))
        except binascii.Error:
            raise ClientError("The body is not base64, though declared as grpc-web-text.") from None

    def finish(self) -> None:
        """:raises bridge.api.ClientError: the bytes end within a group of four."""
        if self._rest:
            raise ClientError("The body ends within a group of four characters of its base64.")
