"""Server-sent events (HTML, section 9.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from bridge.api.front import Front, MakeFormat, StreamFormat

_NOT_IN_AN_ID = re.compile(r"[\r\n\0]")


class EventStream(StreamFormat):
    """The regular end is an event as well: without it an ``EventSource`` could not
    tell the end from a lost connection, and would call again.

    :param retry: milliseconds after which a client that lost the connection may call again.
    """

    id_field = "Last-Event-ID"
    heartbeat = b": \n\n"

    def __init__(self, retry: int) -> None:
        super().__init__("text/event-stream")
        self.opening = b"retry: %d\n\n" % retry

    def message(self, text: bytes, id: str = "") -> bytes:
        """An id that a line can't hold is left out, and so is an empty one: the client keeps the id before it."""
        if not id or _NOT_IN_AN_ID.search(id):
            return b"data: %s\n\n" % text
        return b"id: %s\ndata: %s\n\n" % (id.encode(), text)

    def end(self) -> bytes:
        return b"event: end\ndata: {}\n\n"

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return b"event: error\ndata: " + orjson.dumps(problem) + b"\n\n"


class ServerSentEvents(Front):
    name = "sse"
    rank = 1
    formats: ClassVar[Mapping[str, MakeFormat]] = {
        "text/event-stream": lambda service: EventStream(service.reconnect_after)
    }
