"""A stage: one step that a route applies to every call, such as authentication or counting.

Stages are bound once for each operation, from the last to the first: each gets the handler of the next stages and
returns its own, or None if the operation does not use it. So a stage that a route does not use costs its calls nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol

from bridge.api.authenticator import Authenticator
from bridge.api.cache import ReplyCache
from bridge.api.call import Call, Reply
from bridge.api.egress import Cookies, Credentials, Egress
from bridge.api.exchange import Exchange
from bridge.api.limiter import Limiter
from bridge.api.origins import OriginPolicy
from bridge.api.spec.route import RouteSpec
from bridge.api.stream import StreamTranslation
from bridge.api.transformer import Operation

#: Takes a call and returns its whole reply; None: the reply was sent. A stage that need not wait is a plain function,
#: which returns the next handler's result.
Handler = Callable[[Exchange], Awaitable[Reply | None]]


class BoundOperation(Protocol):
    """The operation for which a stage is bound.

    :ivar codec: the operation's. :ivar streams: it is a `bridge.api.StreamCodec`.
    :ivar streams_bodies: it is a `bridge.api.capabilities.BodyStreaming` that passes bodies on while they arrive.
    :ivar request: a unary call's request to the service: the codec's, with the edits of the route's egress.
    :ivar open: a streaming call's translation, whose request has these edits.
    :ivar egress: the edits themselves.
    :ivar credentials: of the route, for its service, if they must be fetched or signed.
    :ivar cookies: that its service has set, if the gateway keeps them for each caller.
    :ivar send, stream: a unary call, and a streaming one, to the route's upstream.
    :ivar timeout: seconds for a unary call.
    """

    codec: Any
    request: Callable[[Call], Any]
    open: Callable[[Call], StreamTranslation]
    send: Any
    stream: Any
    streams: bool
    streams_bodies: bool
    timeout: float
    tenant: str
    authenticator: Authenticator
    limiter: Limiter | None
    cache: ReplyCache | None
    cors: OriginPolicy | None
    egress: Egress | None
    credentials: Credentials | None
    cookies: Cookies | None

    @property
    def operation(self) -> Operation: ...
    @property
    def spec(self) -> RouteSpec: ...


class Stage(Protocol):
    """:cvar name: its name in the documentation."""

    name: ClassVar[str]

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        """The handler of this stage, which calls `next` if the call may proceed; None: the operation doesn't use it.

        The handler raises `bridge.api.RequestError` to refuse a call.
        """
        ...
