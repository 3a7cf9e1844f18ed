"""Refusals of calls for which no operation is published, to clients that read a status in their own protocol only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from bridge.api.call import Call, GrpcReply, Headers, Reply
from bridge.api.front import Form
from bridge.api.service import Metadata, Service


class Unmatched:
    """`bridge.api.capabilities.Refusing` in place of an operation's codec.

    :param form_of: the form of a call, if its protocol is one of those.
    """

    def __init__(self, form_of: Callable[[Call], Form | None]) -> None:
        self._form_of = form_of

    def refusal(self, call: Call, problem: Mapping[str, Any], reply: Reply) -> Reply:
        form = self._form_of(call)
        return reply if form is None else form.refusal(call, cast(Service, _NO_SERVICE), problem, reply)


class _NoService:
    """What a refusal uses of a `bridge.api.Service`."""

    def returned(self, metadata: Metadata, trailers: Metadata) -> list[tuple[str, str]]:
        return []

    def write_json(self, message: bytes, /) -> bytes:
        return message

    def status(self, code: int, problem: Mapping[str, Any], headers: Headers = ()) -> GrpcReply:
        return GrpcReply(code, detail=str(problem.get("detail", "")))


_NO_SERVICE = _NoService()
