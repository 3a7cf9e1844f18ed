"""Our `Http2Connection` and, at the other end of two strings of bytes, python-hyper's h2 as the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event
from h2.settings import SettingCodes, Settings

from bridge.http2.frames import head
from bridge.http2.hpack import indexed, literal, named
from bridge.transport.http2.connection import Http2Connection
from bridge.transport.http2.fields import Fields
from bridge.transport.http2.stream import Http2Stream

WINDOW = 65_536  #: of each of our streams in these tests
LIST = 16_384
REQUEST = indexed(3) + indexed(6) + named(4, b"/a.S/Do") + named(1, b"tally") + literal("te", b"trailers")
OK = [(b":status", b"200"), (b"content-type", b"application/grpc")]
DONE = [(b"grpc-status", b"0")]

Some = TypeVar("Some", bound=Event)


def raw(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame as RFC 9113, section 4.1, draws it, well-formed or not."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def cut(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """The frames of `data`: kind, flags, stream, payload."""
    found, at = [], 0
    while at < len(data):
        high, low, kind, flags, stream = head.unpack_from(data, at)
        stop = at + 9 + (high << 8 | low)
        assert stop <= len(data)
        found.append((kind, flags, stream, data[at + 9 : stop]))
        at = stop
    return found


class Caught(Http2Stream):
    """A request that writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[Any, ...]] = []

    def headers(self, fields: Fields, *, ended: bool) -> None:
        self.told.append(("headers", fields.status, fields.pairs, fields.fault, ended))

    def data(self, payload: bytes, *, ended: bool) -> None:
        self.told.append(("data", payload, ended))

    def flushed(self) -> None:
        self.told.append(("flushed",))

    def closed(self, code: int, cause: str, *, local: bool = False) -> None:
        self.told.append(("closed", code, local))

    def lost(self, cause: str, *, untouched: bool) -> None:
        self.told.append(("lost", untouched))

    @property
    def body(self) -> bytes:
        return b"".join(each[1] for each in self.told if each[0] == "data")

    @property
    def last_word(self) -> tuple[Any, ...]:
        return self.told[-1]


@dataclass
class Pair:
    """Both ends; `turn` carries bytes until neither has more to say."""

    theirs: H2Connection
    max_list: int = LIST
    asked: int = 0  #: how often ours has told that it has something to say
    events: list[Event] = field(default_factory=list[Event])

    def __post_init__(self) -> None:
        self.ours = Http2Connection(window=WINDOW, max_list=self.max_list, output=self._asked)

    def _asked(self) -> None:
        self.asked += 1

    def turn(self) -> list[Event]:
        """What h2 saw of it."""
        seen: list[Event] = []
        while True:
            up = self.ours.take()
            if up:
                seen += self.theirs.receive_data(up)
            down = self.theirs.data_to_send()
            if down:
                self.ours.receive(down)
            if not up and not down:
                self.events += seen
                return seen

    def open(self, body: bytes = b"", *, end: bool = True) -> Caught:
        stream = Caught()
        self.ours.open(stream, REQUEST, body, end=end)
        return stream

    def answer(self, stream: Http2Stream, body: bytes = b"", *, end: bool = True) -> None:
        """A whole answer of gRPC's shape, if the windows let it through."""
        self.theirs.send_headers(stream.id, OK)
        if body:
            self.theirs.send_data(stream.id, body)
        if end:
            self.theirs.send_headers(stream.id, DONE, end_stream=True)


def of(kind: type[Some], events: list[Event]) -> list[Some]:
    return [event for event in events if isinstance(event, kind)]


def received(events: list[Event], number: int) -> bytes:
    """The body that h2 got of the stream with that number."""
    return b"".join(event.data or b"" for event in of(DataReceived, events) if event.stream_id == number)


def made(max_list: int = LIST, **settings: int) -> Pair:
    """A pair that has shaken hands. `settings` are h2's, by their names in `h2.settings.SettingCodes`."""
    theirs = H2Connection(H2Configuration(client_side=False, header_encoding=False))
    values = {SettingCodes[name]: value for name, value in settings.items()}
    theirs.local_settings = Settings(client=False, initial_values=values)
    theirs.max_inbound_frame_size = values.get(SettingCodes.MAX_FRAME_SIZE, 16_384)
    theirs.initiate_connection()
    pair = Pair(theirs, max_list)
    pair.turn()
    assert pair.ours.ready
    return pair
