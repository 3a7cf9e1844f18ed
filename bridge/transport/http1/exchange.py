"""One HTTP/1.1 exchange with one address, and how it can fail.

A client follows no redirects, keeps no cookies, undoes no codings, asks the environment for no proxies, adds no fields
but framing, and never sends twice. Those decisions are made in `bridge.transport.http1.channel` and `bridge.cluster`.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Protocol

from bridge.api.tls import default_context
from bridge.api.transport import Address
from bridge.errors import BadReply
from bridge.http.forwarding import end_to_end, tells_where

Field = tuple[str, str]

PER_ADDRESS = 256  #: connections to one address; a slow one must not take the sockets of all
KEEPALIVE = 15.0  #: seconds that an idle connection is kept
MAX_FIELD = 32 * 1024  #: bytes of one reply header field, and of the status line

_TOO_LONG = "The service behind this route gave a longer answer than the gateway takes."
_BROKEN_OFF = "The service behind this route broke off its answer."


class NotConnected(Exception):
    """The address took no connection; nothing was sent.

    :ivar untrusted: it answered, but its certificate won't do.
    :ivar waited: seconds after which it was given up, where it neither took nor refused the connection.
    """

    def __init__(self, cause: str, *, untrusted: bool = False, waited: float | None = None) -> None:
        super().__init__(cause)
        self.untrusted = untrusted
        self.waited = waited


class Dropped(Exception):
    """The connection ended before the first byte of an answer. `reused`: it had served another request before, so the
    service may simply have closed an idle connection without seeing this request."""

    def __init__(self, cause: str, *, reused: bool) -> None:
        super().__init__(cause)
        self.reused = reused


class BrokenOff(BadReply):
    """The connection ended within an answer."""


class ReplyHead:
    """A reply without its body, as far as it concerns others than the connection. Immutable.

    :ivar fields: names in lower case, without those of the connection and of framing; obs-text octets stay what they
        are, as Latin-1 (as in ASGI).
    :ivar codings: the values of ``Content-Encoding``, joined.
    :ivar located: whether a field names a place (`bridge.http.forwarding.tells_where`).
    """

    __slots__ = ("codings", "fields", "located", "status")

    def __init__(self, status: int, fields: Sequence[Field], codings: str, located: bool) -> None:
        self.status = status
        self.fields = fields
        self.codings = codings
        self.located = located

    @classmethod
    def of(cls, status: int, fields: Sequence[Field]) -> ReplyHead:
        """:param fields: all of them, names in lower case."""
        kept = end_to_end(fields)
        codings = ",".join([value for name, value in kept if name == "content-encoding"])
        return cls(status, kept, codings, tells_where(kept))


class Client(Protocol):
    """Keep-alive connections, shared by all HTTP upstreams of one event loop. Opened by the first exchange."""

    def trust(self) -> ssl.SSLContext:
        """The TLS context of exchanges that bring none. It is made once, when the first ``https`` route is bound, since
        that reads files."""
        ...

    async def exchange(
        self,
        address: Address,
        method: str,
        target: str,
        fields: Sequence[Field],
        body: bytes,
        *,
        server_name: str | None,
        connect_timeout: float,
        max_reply: int,
        trust: ssl.SSLContext | None = None,
    ) -> tuple[ReplyHead, bytes]:
        """Send, and read the whole answer, its body still coded. Only the caller bounds the time, by cancelling, which
        closes the connection.

        :param target: the request target, sent as it is; so are `fields`. The caller has checked both.
        :param fields: with ``host``, without ``content-length``. What is not ASCII goes as UTF-8.
        :param server_name: for TLS, the name its certificate must bear; ``None`` for plain TCP.
        :param connect_timeout: seconds for TCP and TLS together.
        :param trust: instead of the client's own.
        :raises NotConnected: nothing was sent.
        :raises Dropped: sent, at least in part, and no byte of an answer came.
        :raises BadReply: an answer that breaks HTTP or is longer than `max_reply`; `BrokenOff` where it ended too soon.
        :raises Unavailable: the gateway itself is out of sockets, or closing.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection, for good. Works before the first exchange, too."""
        ...


def own_trust() -> ssl.SSLContext:
    """The system's authorities."""
    context = default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def too_long(cause: str) -> BadReply:
    return BadReply(_TOO_LONG, cause=cause)


def broken_off(cause: str) -> BrokenOff:
    return BrokenOff(_BROKEN_OFF, cause=cause)
