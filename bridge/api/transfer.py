"""The bodies of one call that are passed on while they arrive, and the limit of their silence."""

from __future__ import annotations

import asyncio

from bridge.api.body import StreamedBody
from bridge.api.downstream import ServerRequest
from bridge.api.record import Record
from bridge.api.spec.limits import Stream
from bridge.errors import ClientDisconnected, RequestTimeout, Timeout

CHECKS = 4  #: within the limit: silence is noticed up to a quarter of it late, and bytes need no clock


class Transfer:
    """:param bounds: `idle`: seconds without a byte in either direction, or with a side that takes none; `timeout`: of
        both bodies together.
    :ivar request, reply: the bodies; None for one that is whole.
    """

    __slots__ = ("_idle", "_loop", "_moved", "_overdue", "_server_request", "_since", "_timer", "reply", "request")

    def __init__(self, server_request: ServerRequest, bounds: Stream) -> None:
        self.request: StreamedBody | None = None
        self.reply: StreamedBody | None = None
        self._server_request, self._idle = server_request, bounds.idle
        self._loop = asyncio.get_running_loop()
        self._moved = -1
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        limit = bounds.timeout
        self._overdue = self._loop.call_later(limit, self._end, limit) if limit is not None else None
        self._check()

    def begin_reply(self, body: StreamedBody) -> None:
        """Its head is here; from now on its silence counts."""
        self.reply, self._since = body, self._loop.time()

    def close(self, record: Record) -> None:
        """The call is over; its bodies are counted in `record`."""
        for timer in (self._timer, self._overdue):
            if timer is not None:
                timer.cancel()
        for body in (self.request, self.reply):
            if body is not None:
                body.close()
        if self.request is not None:
            record.bytes_in = self.request.size

    def _check(self) -> None:
        now = self._loop.time()
        moved = sum(body.moved for body in (self.request, self.reply) if body is not None)
        if moved != self._moved:
            self._moved, self._since = moved, now
        elif now - self._since >= self._idle and self._expire():
            self._timer = None
            return
        self._timer = self._loop.call_later(self._idle / CHECKS, self._check)

    def _end(self, limit: float) -> None:
        body = self.reply or self.request
        if body is not None:
            body.abort(Timeout(cause=f"the call took longer than its {limit:g} seconds"))

    def _expire(self) -> bool:
        """End what is silent; False: that is the service, which has the request and works on its reply's head."""
        request, reply = self.request, self.reply
        client_is_silent = request is not None and not request.done and not request.blocked
        if reply is not None:
            blocked = reply.blocked
            if blocked:
                reply.abort(ClientDisconnected("The client stopped reading."))
                self._server_request.connection.cut(now=True)
            elif client_is_silent:
                reply.abort(RequestTimeout("The body did not arrive in time."))
            else:
                reply.abort(Timeout(cause=f"nothing was said for {self._idle:g} seconds"))
        elif request is None or request.complete:
            return False
        elif client_is_silent:
            request.abort(RequestTimeout("The body did not arrive in time."))
        else:
            request.abort(Timeout(cause=f"the service took nothing of the request for {self._idle:g} seconds"))
        return True
