"""Where a listener is opened: ``host:port``, ``[::1]:port`` or ``unix:PATH``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:\[\]/]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """:ivar host: a name or address of this machine; empty for a Unix socket.
    :ivar port: 0 takes a free one.
    :ivar path: the file of a Unix socket, else None.
    """

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen_address(text: str) -> ListenAddress:
    """:raises ValueError: `text` is none of the three forms; the message says what is expected."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return ListenAddress(path=Path(text.removeprefix("unix:")))
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"{text!r} is no address to listen on; write HOST:PORT, [IPv6]:PORT or unix:PATH")
    return ListenAddress(match[1] or match[2], int(match[3]))
