"""What a client gets: the forms of a stream of JSON messages. An error midway is visible in each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from bridge.api import JSON_TYPE

#: In the order in which they are liked where a request does not say.
FORMS = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/event-stream": "events",
    "application/json": "array",
}
Fields = Sequence[tuple[str, str]]
_UNSAYABLE = re.compile(r"[\r\n\0]")


def _live(content_type: str) -> Fields:
    # Proxies on the way must neither keep a stream nor gather it.
    return (("content-type", content_type), ("cache-control", "no-store"), ("x-accel-buffering", "no"))


class Outgoing(Protocol):
    """One form, for one answer. The texts are JSON on one line.

    :ivar headers: the response's fields.
    :ivar opening: what comes before the first message.
    :ivar heartbeat: what says nothing but that the call lives.
    """

    headers: Fields
    opening: bytes
    heartbeat: bytes

    def message(self, text: bytes) -> bytes: ...

    def end(self) -> bytes: ...

    def error(self, problem: Mapping[str, Any]) -> bytes: ...


def _error(problem: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"error": problem})


class Lines:
    """NDJSON: a message a line. The heartbeat is an empty line, which readers of NDJSON skip."""

    headers = _live("application/x-ndjson")
    opening = b""
    heartbeat = b"\n"

    def message(self, text: bytes) -> bytes:
        return text + b"\n"

    def end(self) -> bytes:
        return b""

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return _error(problem) + b"\n"


class Events:
    """Server-sent events (HTML, section 9.2). The stream's regular end is an event, too: without it an ``EventSource``
    could not tell the end from a lost connection, and would ask again. An id that can't be said (it would end its line
    and begin another, and a client ignores one with NUL) is left out, as an empty one is: its client goes on from the
    one before it.

    :param retry: milliseconds after which a client that lost the connection may ask again.
    """

    headers = _live("text/event-stream")
    heartbeat = b": \n\n"

    def __init__(self, retry: int) -> None:
        self.opening = b"retry: %d\n\n" % retry

    def message(self, text: bytes, event_id: str = "") -> bytes:
        if not event_id or _UNSAYABLE.search(event_id):
            return b"data: %s\n\n" % text
        return b"id: %s\ndata: %s\n\n" % (event_id.encode(), text)

    def end(self) -> bytes:
        return b"event: end\ndata: {}\n\n"

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return b"event: error\ndata: " + orjson.dumps(problem) + b"\n\n"


class Array:
    """One JSON array, which is closed in any case; where the stream failed, its last item is the error."""

    headers = _live("application/json")
    opening = b"["
    heartbeat = b"\n"

    def __init__(self) -> None:
        self._between = b""

    def message(self, text: bytes) -> bytes:
        between, self._between = self._between, b","
        return between + text

    def end(self) -> bytes:
        return b"]"

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return self._between + _error(problem) + b"]"


class Frames:
    """A WebSocket's: a message a frame. Its own pings tell that the call lives."""

    headers: Fields = (JSON_TYPE,)
    opening = b""
    heartbeat = b""

    def message(self, text: bytes) -> bytes:
        return text

    def end(self) -> bytes:
        return b""

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return _error(problem)


class Raw:
    """The bytes of ``google.api.HttpBody`` messages, one after another; the first one's content type counts. Nothing
    can be said beside them: a failure breaks the response off."""

    opening = b""
    heartbeat = b""

    def __init__(self) -> None:
        self.headers: Fields = ()

    def message(self, text: bytes) -> bytes:
        return text

    def end(self) -> bytes:
        return b""

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return b""


def form_of(name: str, retry: int) -> Outgoing:
    """A new one of the form that `FORMS` names."""
    made: dict[str, Callable[[], Outgoing]] = {"ndjson": Lines, "events": lambda: Events(retry), "array": Array}
    return made[name]()
