"""One call, from its head to the last byte of its response, as the stages of a route pass it on."""

from __future__ import annotations

from collections.abc import Callable

from bridge.api.call import Call, Reply
from bridge.api.downstream import ServerRequest
from bridge.api.record import Record
from bridge.api.transfer import Transfer


class Exchange:
    """A unary call or a stream. The gateway creates it; stages fill it in. A codec keeps its state between
    ``request`` and ``reply`` in `Call.state`.

    :ivar request: the client's request, as the server received it.
    :ivar call: the request as transformers see it.
    :ivar record: its line in the access log.
    :ivar fields: fields of the response that stages add, whatever the outcome.
    :ivar edit: changes the response's fields at the end, but for the gateway's own; set by the stage ``edit response``.
    :ivar has_body: a body follows; set by the stage ``size``.
    :ivar size: bytes of the whole body as the codec gets it; a content-coding is undone by then.
    :ivar timeout: seconds that the client allows; None: it sets no limit.
    :ivar deadline: of a unary call, in the loop's `time()`; set by the stage ``receive``.
    :ivar transfer: the call's bodies that are passed on while they arrive; None if both are whole.
    :ivar release: called once the call is over, whatever its end: it no longer counts as under way.
    :ivar problem: an error of this call and the response to it, if a thread has already serialised that.
    """

    __slots__ = (
        "call",
        "deadline",
        "edit",
        "fields",
        "has_body",
        "problem",
        "record",
        "release",
        "request",
        "size",
        "timeout",
        "transfer",
    )

    def __init__(self, request: ServerRequest, call: Call, record: Record) -> None:
        self.request, self.call, self.record = request, call, record
        self.fields: list[tuple[str, str]] = []
        self.edit: Callable[[list[tuple[str, str]]], list[tuple[str, str]]] | None = None
        self.has_body = False
        self.size = 0
        self.timeout: float | None = None
        self.deadline = 0.0
        self.transfer: Transfer | None = None
        self.release: Callable[[], None] | None = None
        self.problem: tuple[Exception, Reply] | None = None
