"""One HTTP/1.1 exchange with one address, and how it can fail.

A client follows no redirects, keeps no cookies, decodes no content codings, ignores proxy settings of the environment,
adds only framing fields, and never retries. Those decisions are made in `bridge.transport.http1.channel` and
`bridge.cluster`.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Protocol

from bridge.api.body import StreamedBody
from bridge.api.tls import default_context
from bridge.api.transport import Address, Clock
from bridge.errors import BadReply, ReplyTooLarge
from bridge.http.forwarding import end_to_end, tells_where
from bridge.websocket.connection import WebSocketConnection

Field = tuple[str, str]

PER_ADDRESS = 256  #: connections to one address; a slow one must not take the sockets of all
KEEPALIVE = 15.0  #: seconds that an idle connection is kept
MAX_FIELD = 32 * 1024  #: bytes of one reply header field, and of the status line

_TOO_LONG = "The service behind this route gave a longer answer than the gateway takes."
_TRUNCATED = "The service behind this route broke off its answer."


class ConnectFailed(Exception):
    """No connection could be made; nothing was sent.

    :ivar untrusted: its certificate was rejected.
    :ivar waited: seconds until the attempt timed out; None if the connection was refused.
    """

    def __init__(self, cause: str, *, untrusted: bool = False, waited: float | None = None) -> None:
        super().__init__(cause)
        self.untrusted = untrusted
        self.waited = waited


class ConnectionDropped(Exception):
    """The connection ended before the first byte of a reply. `reused`: it had served an earlier request, so the service
    may have closed an idle connection without seeing this request."""

    def __init__(self, cause: str, *, reused: bool) -> None:
        super().__init__(cause)
        self.reused = reused


class ReplyTruncated(BadReply):
    """The connection ended within a reply."""


class ReplyHead:
    """A reply without its body and its connection fields. Immutable.

    :ivar fields: names in lower case, without those of the connection and of framing; obs-text octets as Latin-1 (as in
        ASGI).
    :ivar codings: the values of ``Content-Encoding``, joined.
    :ivar has_location: whether a field names a place (`bridge.http.forwarding.tells_where`).
    :ivar length: ``Content-Length``; None if there is none. To HEAD it is that of GET's reply.
    """

    __slots__ = ("codings", "fields", "has_location", "length", "status")

    def __init__(
        self, status: int, fields: Sequence[Field], codings: str, has_location: bool, length: int | None
    ) -> None:
        self.status = status
        self.fields = fields
        self.codings = codings
        self.has_location = has_location
        self.length = length

    @classmethod
    def of(cls, status: int, fields: Sequence[Field]) -> ReplyHead:
        """:param fields: all of them, names in lower case."""
        forwarded = end_to_end(fields)
        codings = ",".join([value for name, value in forwarded if name == "content-encoding"])
        length = next((int(value) for name, value in fields if name == "content-length"), None)
        return cls(status, forwarded, codings, tells_where(forwarded), length)


class Client(Protocol):
    """Keep-alive connections, shared by all HTTP upstreams of one event loop. Opened by the first exchange."""

    def trust(self) -> ssl.SSLContext:
        """The default TLS context. It is created once, when the first ``https`` route is bound, since that reads
        files."""
        ...

    async def exchange(
        self,
        address: Address,
        method: str,
        target: str,
        fields: Sequence[Field],
        body: bytes | StreamedBody,
        *,
        server_name: str | None,
        connect_timeout: float,
        max_reply: int,
        trust: ssl.SSLContext | None = None,
        streams: bool = False,
        clock: Clock | None = None,
    ) -> tuple[ReplyHead, bytes | StreamedBody]:
        """Send a request and read the whole reply, its body still coded. There is no timeout but `connect_timeout`;
        cancelling closes the connection.

        :param target: the request target, sent unchanged like `fields`. The caller has checked both.
        :param fields: with ``host``, without ``content-length``. Characters beyond ASCII are sent as UTF-8.
        :param server_name: for TLS, the name in the certificate; ``None`` for plain TCP.
        :param connect_timeout: seconds for TCP and TLS together.
        :param trust: instead of the client's own.
        :param streams: return once the head is here, with the body to come (`bridge.api.call.HttpRequest.stream`).
        :param clock: the deadline, which doesn't count while a `body` in pieces is under way.
        :raises ConnectFailed: nothing was sent.
        :raises ConnectionDropped: the request was sent, at least in part, and no byte of a reply came.
        :raises BadReply: the reply is malformed or longer than `max_reply`; `ReplyTruncated` if it is incomplete.
        :raises Unavailable: the gateway itself is out of sockets, or closing.
        """
        ...

    async def connect(
        self,
        socket: WebSocketConnection,
        address: Address,
        *,
        server_name: str | None,
        connect_timeout: float,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """Connect a WebSocket, before its handshake. Parameters are those of `exchange`.

        :raises ConnectFailed: it can't be connected.
        :raises Unavailable: the gateway itself is out of sockets, or closing.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; no further exchange is possible. WebSockets have some time to end by themselves."""
        ...


def own_trust() -> ssl.SSLContext:
    """The system's authorities."""
    context = default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def too_long(cause: str) -> ReplyTooLarge:
    return ReplyTooLarge(_TOO_LONG, cause=cause)


def reply_truncated(cause: str) -> ReplyTruncated:
    return ReplyTruncated(_TRUNCATED, cause=cause)
