"""The two ends of a WebSocket that the gateway relays, and what each tells its relay."""

from __future__ import annotations

from typing import NamedTuple, Protocol

NORMAL, GOING_AWAY, NO_CODE, LOST, INTERNAL_ERROR = 1000, 1001, 1005, 1006, 1011  #: RFC 6455, section 7.4.1


class Ending(NamedTuple):
    """How an end came to its end.

    :ivar code: of the close frame that came from it, `NO_CODE` if that had none; `LOST`: the connection ended without
        one; otherwise the code with which it was failed.
    :ivar closed: it sent a close frame.
    """

    code: int
    reason: str
    closed: bool


class WebSocketSink(Protocol):
    """The relay, as one of its ends calls it. Nothing here waits."""

    def frame(self, opcode: int, data: bytes, fin: bool, /) -> None:
        """A text, binary or continuation frame came; frames of text are UTF-8 so far."""
        ...

    def flush(self) -> None:
        """The frames that arrived together are all told."""
        ...

    def ended(self, ending: Ending, /) -> None:
        """No frame will come any more. Called once."""
        ...

    def write_paused(self) -> None:
        """What is sent to this end is taken more slowly than it is sent."""
        ...

    def write_resumed(self) -> None: ...

    def stopping(self) -> None:
        """The gateway shuts down."""
        ...


class WebSocketEnd(Protocol):
    """One end of a relay: a WebSocket to a client or to a service. It answers pings, and checks what it receives."""

    def relay(self, sink: WebSocketSink, heartbeat: float) -> None:
        """Begin to receive.

        :param heartbeat: seconds between pings; an end that is silent from one to the next is failed.
        """
        ...

    def send(self, opcode: int, data: bytes, fin: bool) -> None:
        """Send a frame, unless this end is closing. It may be held back until `flush`."""
        ...

    def flush(self) -> None: ...

    def hold(self) -> None:
        """Receive nothing until `release`."""
        ...

    def release(self) -> None: ...

    def begin_close(self, code: int, reason: str) -> None:
        """Close it, and cut it off if that is not answered in time. Does nothing after its end.

        :param code: `NO_CODE` for a close without a code.
        """
        ...

    def abort(self) -> None:
        """Cut it off; nothing more is sent."""
        ...

    async def finish(self) -> None:
        """Wait until what was sent, the close among it, does not need the caller any more."""
        ...
