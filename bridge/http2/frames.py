"""HTTP/2 frames (RFC 9113, sections 4, 6 and 7): constants, and functions without state that write and check them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # section 3.4

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

# Section 6.5.2: settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

# Section 7: error codes.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = 0, 1, 2, 3, 4
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = 10, 11, 12, 13

_CODES = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]

FRAME = 16_384  #: bytes of a payload that every peer accepts (section 4.2)
WINDOW = 65_535  #: bytes of a window at the beginning (section 6.9.2)
MAX_WINDOW = 2**31 - 1  #: section 6.9.1
MAX_STREAM = 2**31 - 1  #: section 5.1.1

#: Length in two parts (3 bytes), type, flags, stream with its reserved bit.
head = Struct(">HBBBL")
_setting = Struct(">HL")
_number = Struct(">L")


class Http2Error(Exception):
    """A protocol error of the other side that ends the connection (section 5.4.1).

    :ivar code: for GOAWAY.
    """

    def __init__(self, code: int, cause: str) -> None:
        super().__init__(f"{name_of(code)}: {cause}")
        self.code = code


def name_of(code: int) -> str:
    """An error code's name; its number without one."""
    return _CODES[code] if code < len(_CODES) else f"error {code}"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame. `payload` must not exceed the other side's maximum."""
    length = len(payload)
    return head.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, end: bool, largest: int) -> bytes:
    """HEADERS and, if `block` exceeds a frame, its CONTINUATIONs (section 6.10)."""
    flags = END_STREAM if end else 0
    if len(block) <= largest:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    parts = [block[at : at + largest] for at in range(0, len(block), largest)]
    last = len(parts) - 1
    return b"".join(
        frame(CONTINUATION if at else HEADERS, (0 if at else flags) | (END_HEADERS if at == last else 0), stream, part)
        for at, part in enumerate(parts)
    )


def message(stream: int, block: bytes, body: bytes) -> bytes:
    """A request or response whose header block and whole body are one frame each."""
    length, size, pack = len(block), len(body), head.pack
    return (
        pack(length >> 8, length & 0xFF, HEADERS, END_HEADERS, stream)
        + block
        + pack(size >> 8, size & 0xFF, DATA, END_STREAM, stream)
        + body
    )


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_setting.pack(key, value) for key, value in values))


def preface(window: int, max_list: int, connection_window: int) -> bytes:
    """The client's first bytes (section 3.4).

    :param window: of each stream. :param max_list: bytes of a header section. :param connection_window: of all streams.
    """
    values = ((HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, window), (MAX_HEADER_LIST_SIZE, max_list))
    return PREFACE + settings(values) + window_update(0, connection_window - WINDOW)


def server_preface(max_streams: int, window: int, max_list: int, connection_window: int) -> bytes:
    """The server's first bytes.

    :param max_streams: at the same time. The others are those of `preface`.
    """
    values = (
        (HEADER_TABLE_SIZE, 0),
        (MAX_CONCURRENT_STREAMS, max_streams),
        (INITIAL_WINDOW_SIZE, window),
        (MAX_HEADER_LIST_SIZE, max_list),
    )
    return settings(values) + window_update(0, connection_window - WINDOW)


def read_settings(payload: bytes, max_push: int) -> Iterator[tuple[int, int]]:
    """:param max_push: the highest valid value of ENABLE_PUSH.
    :raises Http2Error: it is not a list of settings (section 6.5), or one has an invalid value."""
    if len(payload) % 6:
        raise Http2Error(FRAME_SIZE_ERROR, "a SETTINGS frame of a length that is no multiple of 6")
    for key, value in _setting.iter_unpack(payload):  # section 6.5.2
        if key == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise Http2Error(FLOW_CONTROL_ERROR, f"a window of {value}")
        if key == MAX_FRAME_SIZE and not FRAME <= value < 2**24:
            raise Http2Error(PROTOCOL_ERROR, f"frames of {value} bytes")
        if key == ENABLE_PUSH and value > max_push:
            raise Http2Error(PROTOCOL_ERROR, f"push can't be set to {value}")
        yield key, value


def window_update(stream: int, by: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _number.pack(by))


def rst_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _number.pack(code))


def goaway(code: int, last: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, _number.pack(last) + _number.pack(code))


def unpadded(payload: bytes) -> bytes:
    """:raises Http2Error: the padding is longer than the frame (section 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def fragment(flags: int, payload: bytes) -> bytes:
    """The part of a block in HEADERS, without padding and priority.

    :raises Http2Error: the frame is too short for them (section 6.2).
    """
    if flags & PADDED:
        payload = unpadded(payload)
    if not flags & HAS_PRIORITY:
        return payload
    if len(payload) < 5:
        raise Http2Error(FRAME_SIZE_ERROR, "HEADERS too short for their priority")
    return payload[5:]
