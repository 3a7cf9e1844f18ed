"""One message up, one message back."""

from __future__ import annotations

import asyncio
import math

from bridge.api.transport import Attempt
from bridge.errors import BadReply, RequestError
from bridge.transport.grpc.answer import (
    UNKNOWN,
    Answer,
    Metadata,
    broken_section,
    by_deadline,
    final_attempt,
    lost,
    read,
    reset,
)
from bridge.transport.grpc.framing import PREFIX, CompressedMessage, MessageReader
from bridge.transport.http2.fields import Fields
from bridge.transport.http2.stream import Http2Stream

CREDITED = 64 * 1024  #: bytes of an answer that are credited together; well below a window


class Unary(Http2Stream):
    """A call of one message each way.

    :param limit: bytes of the answer's message.
    :param deadline: in the loop's `time()`.
    :ivar done: the resulting `Attempt`; never an exception.
    :ivar packed: its reply's message, if that is still to be decompressed.
    """

    __slots__ = ("_inbound", "_limit", "_message", "_metadata", "compressed", "done", "when")

    def __init__(self, limit: int, done: asyncio.Future[Attempt], deadline: float = math.inf) -> None:
        super().__init__()
        self._limit = limit
        self._inbound: MessageReader | None = None
        self._message: bytes | None = None
        self._metadata: Metadata | None = None  # of the initial section; None until it has arrived
        self.compressed: CompressedMessage | None = None
        self.done = done
        self.when = deadline

    # --- the connection's side ----------------------------------------------------------------------------------

    def headers(self, fields: Fields, *, ended: bool) -> None:
        answer = fields.memo or read(fields)
        if ended or fields.large:
            self._trailers(fields, answer)
        elif self._metadata is not None or fields.status is None:
            self._fail(BadReply(cause="a header section within the answer's body"))
        elif fields.status < 200:
            return  # RFC 9110, section 15.2
        elif answer.fault:
            self._give_up(broken_section(fields, answer))
        else:
            self._metadata = answer.metadata
            if answer.coding != "identity":
                self._inbound = MessageReader(self._limit)
                self._inbound.coding = answer.coding

    def data(self, payload: bytes, *, ended: bool) -> None:
        if self._metadata is None:
            self._fail(BadReply(cause="a body without a header section"))
            return
        size = len(payload)
        # Nearly all replies are one frame with one uncompressed message.
        if (
            self._inbound is None
            and self._message is None
            and size >= PREFIX
            and payload[0] == 0
            and size - PREFIX == int.from_bytes(payload[1:PREFIX], "big") <= self._limit
        ):
            self._message = payload[PREFIX:]
        elif size:
            self._piece(payload)
        if self.done.done():
            return
        self.unacked += size
        if self.unacked >= CREDITED:
            self.credit(0)
        if ended:
            self._fail(BadReply(cause="an answer without a status"))

    def closed(self, code: int, cause: str, *, local: bool = False) -> None:
        self._finish(reset(code, cause, committed=self._metadata is not None, local=local))

    def lost(self, cause: str, *, untouched: bool) -> None:
        self._finish(lost(cause, committed=self._metadata is not None, untouched=untouched))

    # ------------------------------------------------------------------------------------------------------------

    def _piece(self, payload: bytes) -> None:
        if self._inbound is None:
            self._inbound = MessageReader(self._limit)
        self._inbound.feed(payload)
        try:
            for message in self._inbound.next_batch():
                if self._message is not None:
                    raise BadReply(cause="more than one message in answer to one")
                if isinstance(message, CompressedMessage):
                    self.compressed, self._message = message, b""
                else:
                    self._message = message
        except RequestError as error:
            self._fail(error)

    def _trailers(self, fields: Fields, answer: Answer) -> None:
        if answer.fault or answer.code is None or (fields.status is None) == (self._metadata is None):
            self._give_up(broken_section(fields, answer))
        elif answer.code == 0 and (self._message is None or (self._inbound is not None and len(self._inbound))):
            self._fail(BadReply(cause="OK without a whole message"))
        else:
            if not self.finished:
                self.give_back()  # it replied without reading the rest
            message = self._message or b""
            if answer.code:
                attempt = final_attempt(answer, self._metadata, message, goaway=self.goaway)
            else:
                attempt = final_attempt(answer, self._metadata, message)
            self._finish(attempt)

    def _fail(self, error: RequestError) -> None:
        self._give_up(Attempt(error, UNKNOWN))

    def _give_up(self, attempt: Attempt) -> None:
        self.give_back()
        self._finish(attempt)

    def _finish(self, attempt: Attempt) -> None:
        if self.done.done():
            return
        if attempt.code:
            attempt = by_deadline(attempt, self.when - self.done.get_loop().time())
        self.done.set_result(attempt)
