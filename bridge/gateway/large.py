"""The translation of large messages of one operation, in a thread or in another process (`bridge.payload.offload`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.api.call import Call, Reply
from bridge.api.capabilities import Forkable, Weighing, capability
from bridge.api.exchange import Exchange
from bridge.api.fast_paths import FAST_PATHS
from bridge.api.problem import problem
from bridge.api.stage import BoundOperation
from bridge.errors import RequestError
from bridge.gateway.echoes import route_secrets
from bridge.payload import offload
from bridge.payload.offload import LARGE
from bridge.payload.shared_file import Inherited


class LargeMessages(Inherited):
    """Another process has the operation's codec and secrets as they were when that process was made: it is made again
    when a file with a secret has changed."""

    __slots__ = ("_secrets", "_weighing", "codec", "egress", "forkable", "to_service")

    def __init__(self, operation: BoundOperation) -> None:
        super().__init__()
        self.codec, self.egress = operation.codec, operation.egress
        self.to_service: Callable[[Call], Any] = operation.request
        self.forkable = capability(self.codec, Forkable) if FAST_PATHS else None
        self._weighing = capability(self.codec, Weighing)
        self._secrets: frozenset[str] | None = None

    async def request(self, exchange: Exchange) -> Any:
        """The upstream request, translated in a thread if that takes time."""
        call, size = exchange.call, exchange.size
        if self._weighing is not None:
            size = self._weighing.weighs(call)
            if size <= LARGE:
                return self.to_service(call)
        work = _Work(self, call, None)
        effects = self._effects(work)
        return await offload.run(size, work, deadline=exchange.deadline, max_waiting=offload.REQUESTS, effects=effects)

    async def reply(self, exchange: Exchange, inbound: Any, size: int) -> Reply:
        """The client's reply to an `inbound` of `size` bytes, translated in a thread if that takes time."""
        call = exchange.call
        if self._weighing is not None:
            size = self._weighing.weighs(inbound)
            if size <= LARGE:
                return self.codec.reply(call, inbound)  # type: ignore[no-any-return]  # a plug-in's
        work = _Work(self, call, inbound)
        try:
            return await offload.run(size, work, deadline=exchange.deadline, effects=self._effects(work))
        finally:
            exchange.problem = work.problem

    def secrets(self) -> frozenset[str]:
        return route_secrets(self.codec, self.egress)

    def _effects(self, work: _Work) -> _Work | None:
        """None: the codec may change what calls share, so it is called in this process."""
        if self.forkable is None or not self.forkable.forks(work.call, work.inbound):
            return None
        secrets = self.secrets()
        if secrets != self._secrets:
            if self._secrets is not None:
                self.renew()
            self._secrets = secrets
        work.secrets = secrets
        return work


class _Work:
    """The translation of one message, and its effects (`bridge.payload.offload.Effects`): of a codec that can be called
    in another process, they are those on the call.

    :ivar inbound: the reply that is translated; None: it is the request.
    :ivar problem: see `bridge.api.exchange.Exchange.problem`.
    :ivar secrets: of the operation, as this process knows them.
    """

    def __init__(self, operation: LargeMessages, call: Call, inbound: Any) -> None:
        self.operation, self.call, self.inbound = operation, call, inbound
        self.problem: tuple[Exception, Reply] | None = None
        self.secrets: frozenset[str] = frozenset()

    def __call__(self) -> Any:
        call, inbound = self.call, self.inbound
        if inbound is None:
            try:
                return self.operation.to_service(call)
            finally:
                call.forget()
        try:
            return self.operation.codec.reply(call, inbound)
        except RequestError as error:
            self.problem = error, problem(error, call.trace_id)  # a fault may be as large as a reply
            raise

    def current(self) -> bool:
        """A process that is older than what the codec has learned would learn it for itself."""
        forkable = self.operation.forkable
        return forkable is not None and forkable.forks(self.call, self.inbound)

    def collect(self) -> Any:
        return self.call.warnings, self.call.state, self.problem, self.operation.secrets()

    def apply(self, changes: Any) -> None:
        call = self.call
        call.warnings, call.state, self.problem, secrets = changes
        if new := secrets - self.secrets:  # of a file that the process read after it had changed
            call.credentials = [*call.credentials, *new]
        call.forget()
