"""Requests that are queued, since the other side accepts no more concurrent streams (RFC 9113, section 5.1.2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from bridge.transport.http2.stream import Http2Stream


class Entry(NamedTuple):
    """A request that was not sent yet: its header block, the body so far, and whether that is all."""

    stream: Http2Stream
    block: bytes
    body: bytes
    end: bool


class PendingStreams:
    """A queue, first in, first out."""

    def __init__(self) -> None:
        self.entries: OrderedDict[Http2Stream, Entry] = OrderedDict()  # a dict, since any entry may be removed

    def add(self, entry: Entry) -> None:
        self.entries[entry.stream] = entry

    def next(self) -> Entry:
        return self.entries.popitem(last=False)[1]

    def all(self) -> list[Entry]:
        """All requests; the queue is empty afterwards."""
        entries, self.entries = list(self.entries.values()), OrderedDict()
        return entries

    def send(self, stream: Http2Stream, data: bytes, *, end: bool) -> None:
        """More of the body of a queued request."""
        entry = self.entries.get(stream)
        if entry is not None and not entry.end:
            stream.last = end
            self.entries[stream] = entry._replace(body=entry.body + data, end=end)

    def drop(self, stream: Http2Stream) -> None:
        self.entries.pop(stream, None)
