"""The response: its validated fields, and the reply to a failed call."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence

import orjson

from bridge.api.body import StreamedBody
from bridge.api.call import Reply, Trailers
from bridge.api.capabilities import Refusing, Trailed, capability
from bridge.api.exchange import Exchange
from bridge.api.problem import problem
from bridge.api.record import Record
from bridge.gateway.inbound import BODILESS, close_pieces
from bridge.http.field_value import UNSENDABLE
from bridge.http.forwarding import returnable
from bridge.http.memo import Memo
from bridge.http.token import is_token

_LONGEST_NAME = 256  # of a response's field, in characters


def response_fields(exchange: Exchange, reply: Reply, *, whole: bool = True) -> list[tuple[str, str]]:
    """The response's validated fields: `reply`'s, those that stages added, and the gateway's own.

    :param whole: `reply` has the whole body, not only its beginning.
    :raises ValueError, TypeError: a plug-in's reply can't be sent: its status, a field's name, its body.
    """
    if not 200 <= reply.status <= 599:
        raise ValueError(f"{reply.status} is no status of a response")
    fields = [
        (_tokens.get(name) or _token(name), value)
        for name, value in returnable(reply.headers)
        if value.isprintable() or not UNSENDABLE.search(value)
    ]
    fields += exchange.fields
    if exchange.edit is not None:
        fields = exchange.edit(fields)
    fields.append(("x-trace-id", exchange.call.trace_id))
    body = reply.body
    if type(body) is bytes:  # `isinstance` would be a call
        # RFC 9110, section 8.6: none with 204; with 304 and HEAD only the length of a GET's body. If the service itself
        # was called with HEAD, that is in its reply.
        if whole and reply.status not in BODILESS and not reply.trailers:
            if body or exchange.call.method != "HEAD":
                fields.append(("content-length", str(len(body))))
            else:
                fields += [field for field in reply.headers if field[0] == "content-length"]
    elif not isinstance(body, AsyncIterable):
        raise TypeError(f"a reply's body is bytes or an asynchronous iterator of bytes, not {type(body).__name__}")
    elif isinstance(body, StreamedBody) and body.length is not None:
        fields.append(("content-length", str(body.length)))
    return fields


def checked(trailers: Trailers) -> Trailers:
    """Those of `trailers` that can be sent.

    :raises ValueError: a plug-in's name is not one of a field.
    """
    return Trailers(
        (_tokens.get(name) or _token(name), value) for name, value in trailers if not UNSENDABLE.search(value)
    )


def refused(exchange: Exchange, error: Exception, codec: object) -> Reply:
    """The reply to a call that failed with `error`: problem+json, or the client's protocol's own format.

    :param codec: the operation's, or what refuses where none was matched; None: problem+json.
    """
    ready, exchange.problem = exchange.problem, None  # which holds this call's frames by way of the error
    reply = ready[1] if ready is not None and ready[0] is error else problem(error, exchange.call.trace_id)
    refusing = capability(codec, Refusing)
    return reply if refusing is None else refusing.refusal(exchange.call, orjson.loads(reply.content), reply)


async def discard(reply: object) -> None:
    """Close the body of a reply that is not sent."""
    if isinstance(reply, Reply) and not isinstance(reply.body, bytes):
        await close_pieces(reply.body)


class CountedPieces:
    """A body in pieces whose bytes are counted in `record`."""

    def __init__(self, pieces: AsyncIterable[bytes], record: Record) -> None:
        self._iterator, self._record = aiter(pieces), record

    def __aiter__(self) -> CountedPieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._iterator)
        self._record.bytes_out += len(piece)
        return piece

    @property
    def trailers(self) -> Sequence[tuple[str, str]]:
        trailed = capability(self._iterator, Trailed)
        return trailed.trailers if trailed is not None else ()

    async def aclose(self) -> None:
        await close_pieces(self._iterator)


#: Valid names of fields, as they are sent: replies use the same few names.
_tokens = Memo[str, str](2048)


def _token(name: str) -> str:
    """`name` in lower case.

    :raises ValueError: it is not a valid field name (RFC 9110, section 5.1).
    """
    if len(name) > _LONGEST_NAME or not is_token(name):
        raise ValueError(f"{name!r} is no name of a header field")
    lower = _tokens[name] = name.lower()
    return lower
