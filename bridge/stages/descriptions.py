"""A service's descriptions of itself, such as a WSDL, with the addresses by which clients reach it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import ClassVar

from bridge.api.body import StreamedBody
from bridge.api.call import Call, Headers, Reply, header
from bridge.api.capabilities import PublicAddress, SelfDescribing, capability
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.config.settings import Networks
from bridge.errors import DeadlineExceeded, Overloaded
from bridge.http.client_address import hostname, is_internal, within
from bridge.http.coding import CorruptBody, TooLong, UnknownCoding, codings_of, undo
from bridge.http.public_address import public_base
from bridge.payload import offload
from bridge.payload.offload import LARGE
from bridge.payload.parsing import XmlError
from bridge.stages.cache.collect import collect

MOST = 8 * 1024**2  #: bytes of a description whose addresses are replaced; the largest ones in use have some 5 MB

#: Not sent: the client gets other bytes than those that the service would compare, cut or compress.
_NOT_ASKED = frozenset(
    (
        "accept-encoding", "range", "if-range",
        "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
    )
)  # fmt: skip
_IDENTITY = ("accept-encoding", "identity")
#: Fields about the service's bytes (RFC 9110, sections 8.4, 8.6, 8.8 and 14.3; RFC 9530). The bytes also depend on the
#: address by which the client asks, so not even the date is one of theirs.
_OF_THE_BYTES = frozenset(
    (
        "content-length", "content-encoding", "content-md5", "content-digest", "repr-digest", "digest", "etag",
        "last-modified", "accept-ranges",
    )
)  # fmt: skip


class Descriptions:
    """Outside the route's cache, since clients may see the gateway at several addresses.

    :param servers: where the operator says that routes are served: URLs, or paths at the origin that is asked.
    :param proxies: whose X-Forwarded-Proto, -Host and -Prefix count.
    """

    name: ClassVar[str] = "descriptions"

    def __init__(self, servers: Sequence[str], proxies: Networks) -> None:
        self._server = servers[0] if servers else ""
        self._proxies = proxies

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        codec = capability(operation.codec, SelfDescribing)
        return None if codec is None else partial(self.handle, codec, operation, next)

    def handle(
        self, codec: SelfDescribing, operation: BoundOperation, next: Handler, exchange: Exchange
    ) -> Awaitable[Reply | None]:
        call = exchange.call
        if not call.query or call.method not in ("GET", "HEAD") or not codec.asks_for_description(call):
            return next(exchange)
        public = self._public(operation, exchange)
        return next(exchange) if public is None else _answer(codec, public, next, exchange)

    def _public(self, operation: BoundOperation, exchange: Exchange) -> PublicAddress | None:
        """None: the client (of HTTP/1.0) did not say where it sees the gateway."""
        request, host = exchange.request, exchange.record.host
        scheme = "https" if request.secure else "http"
        base = f"{scheme}://{host}" if host else ""
        if self._server and operation.spec.host is None:
            base = self._server if "://" in self._server else base and base + self._server.rstrip("/")
        elif within(request.peer, self._proxies):
            base = public_base(request.headers, scheme, host) or base
        if not base:
            exchange.call.warnings.append(
                "addresses in the description are the service's, since the client sent no Host"
            )
            return None
        names = (operation.spec.upstream.name.lower(), hostname(base.partition("://")[2].partition("/")[0]))
        return PublicAddress(base, lambda name: name in names or is_internal(name))


async def _answer(codec: SelfDescribing, public: PublicAddress, next: Handler, exchange: Exchange) -> Reply | None:
    call = exchange.call
    call.headers = [*(field for field in call.headers if field[0] not in _NOT_ASKED), _IDENTITY]
    reply = await next(exchange)
    if reply is None or reply.status != 200:
        return reply
    content_type = header(reply.headers, "content-type")
    if not codec.is_description(content_type):
        return reply
    if call.method == "HEAD":
        return Reply(200, _without_validators(reply.headers))
    if isinstance(reply.body, StreamedBody):
        await collect(reply, reply.body, exchange.deadline, MOST)
    if not isinstance(reply.body, bytes) or len(reply.body) > MOST:
        _leave(call, f"it has more than {MOST >> 20} MiB, or has not arrived in time")
        return reply
    body: bytes = reply.body
    codings = codings_of(",".join(value for name, value in reply.headers if name == "content-encoding"))

    def work() -> bytes:
        return codec.readdressed(call, undo(body, codings, MOST) if codings else body, content_type, public)

    try:
        if len(body) <= LARGE and not codings:
            changed = work()
        else:
            changed = await offload.run(len(body), work, deadline=exchange.deadline)
    except (XmlError, UnknownCoding, CorruptBody, TooLong) as error:
        _leave(call, f"it can't be read: {error}")
        return reply
    except (DeadlineExceeded, Overloaded):
        _leave(call, "there was no time to read it")
        return reply
    return Reply(200, _without_validators(reply.headers), changed)


def _without_validators(fields: Headers) -> list[tuple[str, str]]:
    return [field for field in fields if field[0] not in _OF_THE_BYTES]


def _leave(call: Call, why: str) -> None:
    call.warnings.append(f"addresses in the description are the service's: {why}")
