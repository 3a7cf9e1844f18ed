"""Stages on the way back: edits of the response's fields (``headers.response``), and what caches must know of values
that a request carried."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from bridge.api.call import Call, Reply
from bridge.api.capabilities import capability
from bridge.api.egress import Shared
from bridge.api.exchange import Exchange
from bridge.api.spec.edits import ResponseFields
from bridge.api.stage import BoundOperation, Handler
from bridge.api.values import header_text
from bridge.egress.fields import Addition, compiled, http_name
from bridge.errors import ClientError

Fields = list[tuple[str, str]]

_PRIVATE = ("cache-control", "private")


class EditResponse:
    """Replies and problems get the route's edits, behind all other stages: what is cached has none of them."""

    name: ClassVar[str] = "edit response"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        spec = operation.spec.headers.response
        if not spec.model_fields_set:
            return None
        return partial(self.handle, ResponseEdits(spec), next)

    def handle(self, edits: ResponseEdits, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        exchange.edit = partial(edits.apply, exchange.call)
        return next(exchange)


class ResponseEdits:
    """:raises bridge.api.BindError: a value can't be used."""

    def __init__(self, spec: ResponseFields) -> None:
        edits = compiled(spec, ("headers", "response"), Path(), http_name, lambda name: header_text)
        self._dropped, self._added = edits.dropped, edits.added

    def apply(self, call: Call, fields: Fields) -> Fields:
        """`fields`, names in lower case, with the edits. A value that the call lacks, or that no field takes, is left
        out: the call was answered already."""
        kept = [field for field in fields if field[0] not in self._dropped]
        kept += [field for addition in self._added for field in _present(addition, call)]
        return kept


def _present(addition: Addition, call: Call) -> Iterable[tuple[str, str]]:
    try:
        return [(addition.name, text) for text in addition.value(call)]
    except ClientError as error:
        call.warnings.append(f"the response has no {addition.name}: {error.detail}")
        return ()


class Personal:
    """Marks replies whose request held values of the caller, for the gateway's cache and those of clients."""

    name: ClassVar[str] = "personal"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        if operation.egress is None and operation.credentials is None and operation.cookies is None:
            return None
        fields = [*operation.egress.caching] if operation.egress is not None else []
        if operation.credentials is not None:
            shared = capability(operation.credentials, Shared)
            fields += shared.caching if shared is not None else [_PRIVATE]
        if operation.cookies is not None:  # the reply is of the caller's session
            fields.append(_PRIVATE)
        fields = [*dict.fromkeys(fields)]
        if not fields:
            return None
        return partial(self.stream if operation.streams else self.handle, fields, next)

    async def handle(self, fields: Sequence[tuple[str, str]], next: Handler, exchange: Exchange) -> Reply | None:
        reply = await next(exchange)
        if reply is not None:
            reply.headers = [*reply.headers, *fields]
        return reply

    def stream(self, fields: Sequence[tuple[str, str]], next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
        exchange.fields += fields
        return next(exchange)
