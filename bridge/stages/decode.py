"""Request bodies in a content-coding: it is undone for codecs that read the body (RFC 9110, section 8.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from bridge.api.call import Call, Reply
from bridge.api.capabilities import CodingAware, Unread, capability
from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler
from bridge.api.stream import WEBSOCKET
from bridge.errors import TooLarge, UnsupportedCoding
from bridge.http.coding import check_request, codings_of, decode_request
from bridge.payload import offload

BLOCKING = 64 * 1024  #: coded bytes from which decoding leaves the event loop …
INLINE = 512 * 1024  #: … and decoded ones: decoding may yield a thousand times as many

_ENCODING = "content-encoding"


def decoding(operation: BoundOperation, max_body: int, next: Handler) -> Handler:
    """The handler of calls with a body, and `next` itself for codecs that forward it unread.

    For all others `Call.body` then has no content-coding and `Call.headers` no ``Content-Encoding``, unless the codec
    undoes it itself. The record goes on counting what came over the wire.

    :param max_body: bytes of a decoded body.
    """
    unread = capability(operation.codec, Unread)
    if (unread is not None and unread.forwards_bodies) or operation.operation.method == WEBSOCKET:
        return next
    aware = capability(operation.codec, CodingAware)
    handler = _check_stream if operation.streams and operation.codec.streams_up else partial(_undo, max_body)
    return partial(_handle, aware.undoes_coding if aware is not None else None, handler, next)


def _handle(
    keeps: Callable[[Call], bool] | None,
    handler: Callable[[Sequence[str], Handler, Exchange], Awaitable[Reply | None]],
    next: Handler,
    exchange: Exchange,
) -> Awaitable[Reply | None]:
    call = exchange.call
    if _ENCODING not in call.fields or (keeps is not None and keeps(call)):
        return next(exchange)
    codings = codings_of(",".join(call.values(_ENCODING)))
    call.headers = [field for field in call.headers if field[0] != _ENCODING]
    return handler(codings, next, exchange) if codings else next(exchange)


def _undo(max_body: int, codings: Sequence[str], next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
    check_request(codings)
    return _decode(max_body, codings, next, exchange) if exchange.call.body else next(exchange)


async def _decode(max_body: int, codings: Sequence[str], next: Handler, exchange: Exchange) -> Reply | None:
    call = exchange.call
    body, decoded = call.body, None
    if len(body) < BLOCKING:
        try:
            decoded = decode_request(body, codings, min(max_body, INLINE))
        except TooLarge:
            if max_body <= INLINE:
                raise
    if decoded is None:
        work = partial(decode_request, body, codings, max_body)
        size = min(max_body, 8 * len(body))
        decoded = await offload.run(size, work, deadline=exchange.deadline, max_waiting=offload.REQUESTS)
    call.body, exchange.size = decoded, len(decoded)
    return await next(exchange)


def _check_stream(codings: Sequence[str], next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
    """A body that is read as it arrives.

    :raises UnsupportedCoding: always.
    """
    raise UnsupportedCoding(
        f"This operation reads its body as a stream of messages, which can't be {codings[-1][:40]!r} as a whole.",
        headers=[("accept-encoding", "identity")],
    )
