"""What frames pass through ``passthrough: {websocket: true}``, and which ones end it: tables in the manner of the
Autobahn test suite, whose own programs need Python 2. Each case runs both ways, frame by frame on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.gateway.websocket_kit import (
    SPEC,
    Script,
    accepting,
    by_hand,
    close,
    dialled,
    frame,
    read_close,
    read_frame,
)

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
#: One character at each end of UTF-8's lengths, noncharacters among them, which are valid (RFC 3629; Unicode 23.7).
BOUNDARIES = "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\ufdd0\ufffd\ufffe\uffff\U00010000\U0001ffff\U0010fffe\U0010ffff"

Case = tuple[bytes, list[tuple[int, bytes]]]
Made = Callable[..., bytes]
Front = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


@pytest.fixture
def front(start: Any) -> Front:
    """``async with front(service, **settings) as gateway``"""

    @contextlib.asynccontextmanager
    async def fronted(service: Script, **settings: Any) -> AsyncIterator[Any]:
        async with asyncio.timeout(60), by_hand(accepting(service)) as port:
            routes = {"chat.yml": SPEC.format(keys="", upstream="svc:80")}
            async with start(mesh={"svc": f"127.0.0.1:{port}"}, routes=routes, **settings) as gateway:
                yield gateway

    return fronted


# --- what passes ------------------------------------------------------------------------------------------------------


def whole(opcode: int, payload: bytes) -> Case:
    return frame(opcode, payload), [(opcode, payload)]


def pieces(opcode: int, *payloads: bytes, between: bytes = b"") -> Case:
    """A message in fragments, with the frames `between` after each."""
    last = len(payloads) - 1
    frames = [
        frame(CONTINUATION if number else opcode, payload, fin=number == last) + between
        for number, payload in enumerate(payloads)
    ]
    return b"".join(frames), [(opcode, b"".join(payloads))]


def single(text: bytes) -> list[bytes]:
    return [text[at : at + 1] for at in range(len(text))]


CONTROL = frame(PING, b"p" * 125) + frame(PONG, b"never asked for") + frame(PING)
EDGES = BOUNDARIES.encode()
#: Frames, and the messages that they are.
VALID: dict[str, list[Case]] = {
    "sizes": [
        whole(opcode, b"*" * size)
        for opcode in (TEXT, BINARY)
        for size in (0, 1, 125, 126, 127, 128, 65_535, 65_536, 100_000)
    ],
    "any bytes": [whole(BINARY, bytes(range(256))), pieces(BINARY, *single(bytes(range(256))))],
    "text": [whole(TEXT, text.encode()) for text in (BOUNDARIES, *BOUNDARIES, "κόσμε", "Hello-µ@ßöäüàá-UTF-8!!")],
    "text, divided anywhere": [
        pieces(TEXT, *single(EDGES)),
        *(pieces(TEXT, EDGES[:at], EDGES[at:]) for at in range(len(EDGES) + 1)),
    ],
    "binary that would be no text": [pieces(BINARY, b"\xc3", b"\x28"), whole(BINARY, b"\xff")],
    "empty fragments": [
        pieces(TEXT, b"", b"", b""),
        pieces(TEXT, b"", b"middle", b""),
        pieces(BINARY, *[b""] * 100, b"x"),
    ],
    "control frames within a message": [pieces(TEXT, *single("größer".encode()), between=CONTROL)],
    "many messages": [(b"".join(frame(TEXT, b"%d" % n) for n in range(200)), [(TEXT, b"%d" % n) for n in range(200)])],
}


async def read_message(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and payload of the next message; answers to pings are skipped."""
    message, kind = b"", -1
    while True:
        opcode, fin, payload = await read_frame(reader)
        if opcode in (TEXT, BINARY, CONTINUATION):
            message, kind = message + payload, opcode or kind
            if fin:
                return kind, message


async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service that sends each frame of a message back as it is, and answers the close."""
    while True:
        opcode, fin, payload = await read_frame(reader)
        if opcode == CLOSE:
            writer.write(frame(CLOSE, payload, masked=False))
            return
        if opcode < CLOSE:
            writer.write(frame(opcode, payload, fin=fin, masked=False))


async def chopped(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send `data` byte by byte, each in a turn of the event loop of its own."""
    for at in range(len(data)):
        writer.write(data[at : at + 1])
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", VALID)
async def test_valid_frames_come_back_the_same(front: Front, name: str) -> None:
    async with front(mirror) as gateway, dialled(gateway.port) as (reader, writer):
        for sent, expected in VALID[name]:
            writer.write(sent)
            assert [await read_message(reader) for _ in expected] == expected
            if len(sent) < 1000:
                chopping = asyncio.create_task(chopped(writer, sent))
                assert [await read_message(reader) for _ in expected] == expected
                await chopping
        writer.write(close(1000, b"done"))
        assert await read_close(reader) == (1000, "done")
    [line] = gateway.log()
    assert (line["status"], line["close_code"], line.get("cause")) == (101, 1000, None)


async def test_pings_are_answered_with_what_they_hold(front: Front) -> None:
    """In their order, and not by the service."""
    payloads = [b"", b"x", bytes(range(125)), b"\xff\xfe", *(b"%d" % number for number in range(10))]
    async with front(mirror) as gateway, dialled(gateway.port) as (reader, writer):
        writer.write(b"".join(frame(PING, payload) for payload in payloads) + frame(TEXT, b"last"))
        got = [await read_frame(reader) for _ in range(len(payloads) + 1)]
    assert [each for each in got if each[0] == PONG] == [(PONG, True, payload) for payload in payloads]
    assert (TEXT, True, b"last") in got


@pytest.mark.parametrize("sender", ["client", "service"])
async def test_a_close_s_reason_and_nothing_behind_it(front: Front, sender: str) -> None:
    """The longest reason there is; what follows the close is ignored."""
    reason = b"\xc3\xa4" * 61 + b"!"
    behind = [frame(TEXT, b"late", masked=sender == "client"), frame(PING, b"late", masked=sender == "client")]
    farewell = close(4321, reason, masked=sender == "client") + b"".join(behind)
    got: asyncio.Queue[list[tuple[int, bool, bytes]]] = asyncio.Queue()

    async def everything(reader: asyncio.StreamReader) -> list[tuple[int, bool, bytes]]:
        frames: list[tuple[int, bool, bytes]] = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not frames or frames[-1][0] != CLOSE:
                frames.append(await read_frame(reader))
        return frames

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if sender == "service":
            writer.write(farewell)
        frames = await everything(reader)
        if sender == "client":
            writer.write(close(4321, masked=False))
        got.put_nowait(frames)

    async with front(service) as gateway, dialled(gateway.port) as (reader, writer):
        if sender == "client":
            writer.write(farewell)
        told = frame(CLOSE, (4321).to_bytes(2, "big") + reason, masked=False)
        frames = await everything(reader)
        if sender == "service":
            writer.write(close(4321))
        assert frames == await got.get() == [(CLOSE, True, told[2:])]


# --- what does not ----------------------------------------------------------------------------------------------------

#: No UTF-8 (RFC 3629, section 3).
NOT_UTF8 = [
    b"\xff\xfe",
    b"\xc0\xaf",  # longer than it need be, as the next three
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",  # half a surrogate pair, and a whole one
    b"\xed\xa0\x80\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF, as the next three
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\x80",  # goes on with nothing
    b"a\xbfb",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
]
#: Beginnings of characters.
CUT = [b"\xc3", b"\xe1\xbd", b"\xf0\x90\x80", b"fine \xf4\x8f\xbf"]
CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
LIMIT = 2000  #: bytes of a message


def violations(*, masked: bool) -> list[tuple[bytes, int]]:
    """What one side may not send (RFC 6455, sections 5, 7.4 and 8.1), and the code that it gets."""

    def made(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
        return frame(opcode, payload, fin=fin, masked=masked)

    return [
        *_texts(made),
        *_closes(made),
        *_frames(made),
        (frame(TEXT, b"x", masked=not masked), 1002),
        (frame(PING, b"x", masked=not masked), 1002),
        (made(BINARY, b"x" * (LIMIT + 1)), 1009),
        (made(BINARY, b"x" * 1500, fin=False) + made(CONTINUATION, b"x" * 501), 1009),
        (made(TEXT, b"x" * 1500, fin=False) + made(PING) + made(CONTINUATION, b"x" * 501, fin=False), 1009),
        (made(BINARY)[:1] + bytes([127 | masked << 7]) + b"\xff" * 8, 1009),  # its length alone
    ]


def _texts(made: Made) -> list[tuple[bytes, int]]:
    parts = [
        made(TEXT, b"\xc3", fin=False) + made(CONTINUATION, b"\x28"),
        made(TEXT, b"\xc3", fin=False) + made(CONTINUATION, b""),
        made(TEXT, b"\xf4", fin=False) + made(CONTINUATION, b"\x90", fin=False),  # wrong before the character's end
        made(TEXT, b"fine", fin=False) + made(PING) + made(CONTINUATION, b"\xff", fin=False),
        made(BINARY, b"\xff") + made(TEXT, b"\xff"),
    ]
    return [
        *((made(TEXT, wrong), 1007) for wrong in (*NOT_UTF8, *CUT)),
        *((made(TEXT, wrong, fin=False), 1007) for wrong in NOT_UTF8),  # at once: the message's end is never sent
        *((part, 1007) for part in parts),
    ]


def _closes(made: Made) -> list[tuple[bytes, int]]:
    return [
        *((made(CLOSE, code.to_bytes(2, "big")), 1002) for code in CODES),
        *((made(CLOSE, b"\x03\xe8" + wrong), 1007) for wrong in (*NOT_UTF8, *CUT)),
        (made(CLOSE, b"\x03"), 1002),  # half a code
        (made(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
        (made(CLOSE, b"\x03\xe8", fin=False), 1002),
    ]


def _frames(made: Made) -> list[tuple[bytes, int]]:
    reserved = [made(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
    bits = [
        bytes([whole[0] | bit << 4]) + whole[1:]
        for bit in range(1, 8)
        for whole in (made(TEXT, b"x"), made(PING), made(CLOSE, b"\x03\xe8"))
    ]
    begun = made(TEXT, b"x", fin=False)
    sequences = [
        *(made(opcode, b"x" * 126) for opcode in (PING, PONG)),
        *(made(opcode, b"x", fin=False) for opcode in (PING, PONG)),
        made(CONTINUATION, b"x"),  # goes on with nothing
        made(CONTINUATION, b"x", fin=False),
        begun + made(CONTINUATION, b"y") + made(CONTINUATION, b"z"),
        begun + made(TEXT, b"y"),  # a message within another
        begun + made(BINARY, b"y"),
        begun + made(3),
        made(PING) + made(3),
    ]
    return [(sent, 1002) for sent in (*reserved, *bits, *sequences)]


async def test_what_a_client_sends_wrongly(front: Front) -> None:
    """It is told the code, and the service that its client is gone; what came before has reached the service."""
    got: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, _, first = await read_frame(reader)
        got.put_nowait((first, (await read_close(reader))[0]))

    cases = violations(masked=True)
    async with front(service, max_body=LIMIT) as gateway:
        for sent, code in cases:
            async with dialled(gateway.port) as (reader, writer):
                writer.write(frame(BINARY, b"fine") + sent)
                assert (await read_close(reader))[0] == code, sent
            assert await got.get() == (b"fine", 1011), sent
    lines = gateway.log()
    assert [line["close_code"] for line in lines] == [code for _, code in cases]
    assert all(line["cause"].startswith("the client was failed") for line in lines)


async def test_what_a_service_sends_wrongly(front: Front) -> None:
    cases = violations(masked=False)
    pending = iter(cases)
    got: list[int] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(BINARY, b"fine", masked=False) + next(pending)[0])
        got.append((await read_close(reader))[0])

    async with front(service, max_reply=LIMIT) as gateway:
        for sent, _ in cases:
            async with dialled(gateway.port) as (reader, _writer):
                assert await read_frame(reader) == (BINARY, True, b"fine")
                assert (await read_close(reader))[0] == 1011, sent
    assert got == [code for _, code in cases]
    assert all(line["cause"].startswith("the service was failed") for line in gateway.log())
