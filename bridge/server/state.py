"""What all connections of one server share: the application, the log, and the set of connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any, Protocol

from bridge.api.call import Reply
from bridge.api.downstream import ServerRequest
from bridge.api.problem import problem
from bridge.api.record import Record
from bridge.errors import ClientDisconnected, ShuttingDown
from bridge.observe.tracing import make_trace_id
from bridge.wording import counted

log = logging.getLogger("bridge")


class Answerable(Protocol):
    """A request that has to be answered."""

    disconnected: bool
    complete: bool

    def abandon(self, reply: Reply, trace_id: str) -> None: ...


class Endable(Protocol):
    """A connection that the server can end."""

    transport: Any

    def shutdown(self) -> None:
        """Close once the requests received so far are answered."""
        ...


class ServerState:
    """:ivar app: the ASGI application, for requests that `direct` does not handle.
    :ivar direct: handles a request without ASGI's events; None for one that is for `app`.
    :ivar log: takes the record of a request that was refused before `direct`.
    :ivar max_message: bytes of one message on a WebSocket.
    :ivar date: the ``Date`` field, renewed each second.
    """

    def __init__(
        self,
        app: Any,
        direct: Callable[[ServerRequest], Coroutine[Any, Any, None] | None],
        log: Callable[[Record], None],
        max_message: int,
    ) -> None:
        self.app, self.direct, self.log, self.max_message = app, direct, log, max_message
        self.connections: set[Endable] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self.date = _date()

    def start(self) -> None:
        """Begin to renew `date`."""
        self.date = _date()
        self._timer = asyncio.get_running_loop().call_later(1.0, self.start)

    async def run(self, request: Answerable, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`; in the end `request` has an answer or its connection is closed, in any case."""
        try:
            await work
            if not request.complete and not request.disconnected:
                raise RuntimeError("a request was left without a complete answer")
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            request.abandon(*shutting_down())
        except Exception as error:
            request.abandon(problem(error, trace_id := make_trace_id()), trace_id)

    async def drain(self, grace: float, hurry: asyncio.Event) -> None:
        """End every connection. Calls under way have `grace` seconds, or until `hurry`; then they are cancelled."""
        self.stopping = True
        for connection in list(self.connections):
            connection.shutdown()
        if self.tasks and not hurry.is_set():
            calls = counted(len(self.tasks), "call")
            log.info("stopping: %s may finish, in %g s at most; a second Ctrl-C or SIGTERM ends them now", calls, grace)
        deadline = asyncio.get_running_loop().time() + grace
        while (self.connections or self.tasks) and not hurry.is_set():
            if asyncio.get_running_loop().time() >= deadline:
                if self.tasks:
                    calls = counted(len(self.tasks), "call took", "calls took")
                    log.error("%s longer than BRIDGE_DRAIN (%g s); the clients get 503", calls, grace)
                break
            await asyncio.sleep(0.01)
        else:
            if self.tasks:
                log.warning("%s ended; the clients get 503", counted(len(self.tasks), "call is", "calls are"))
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=1.0)  # they tell their clients why
        for connection in list(self.connections):
            connection.transport.close()
        if self._timer is not None:
            self._timer.cancel()


def shutting_down() -> tuple[Reply, str]:
    """What a client is told whose call the end of the server cuts short, and its trace id."""
    error = ShuttingDown()
    return problem(error, trace_id := make_trace_id()), trace_id


def _date() -> str:
    return f"date: {formatdate(usegmt=True)}"
