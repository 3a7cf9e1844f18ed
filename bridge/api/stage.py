"""A stage: one thing that a route asks of every call, such as to know its caller or to count it.

Stages are bound once for each operation, from the last to the first: each gets the handler of those behind it and gives
its own, or None where the operation does not use it. So a stage that a route does not use costs its calls nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol

from bridge.api.authenticator import Authenticator
from bridge.api.cache import ReplyCache
from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.limiter import Limiter
from bridge.api.route_spec import RouteSpec
from bridge.api.transformer import Operation

#: Takes a call and gives its whole reply; None: the reply was sent. A stage that need not wait is a plain function,
#: which returns what the next handler gives.
Handler = Callable[[Exchange], Awaitable[Reply | None]]


class BoundOperation(Protocol):
    """What a stage sees of the operation that it is bound for.

    :ivar codec: of the operation. :ivar streams: it is a `bridge.api.StreamCodec`.
    :ivar rpc: its upstream messages are gRPC's.
    :ivar send, stream: a unary call, and a streaming one, to the route's upstream.
    :ivar timeout: seconds for a unary call.
    """

    codec: Any
    send: Any
    stream: Any
    streams: bool
    rpc: bool
    timeout: float
    tenant: str
    authenticator: Authenticator
    limiter: Limiter | None
    cache: ReplyCache | None

    @property
    def operation(self) -> Operation: ...
    @property
    def spec(self) -> RouteSpec: ...


class Stage(Protocol):
    """:cvar name: what the documentation calls it."""

    name: ClassVar[str]

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        """The handler of this stage, which calls `next` where the call may go on; None: the operation does without.

        The handler raises `bridge.api.RequestError` for a call that may not go on.
        """
        ...
