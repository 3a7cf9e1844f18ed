"""The fields that tell a route's callers of its end: `Deprecation` (RFC 9745) and `Sunset` (RFC 8594)."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import format_datetime
from functools import partial
from typing import ClassVar

from bridge.api.call import Reply
from bridge.api.exchange import Exchange
from bridge.api.spec.route import RouteSpec
from bridge.api.stage import BoundOperation, Handler


def lifecycle_fields(spec: RouteSpec) -> list[tuple[str, str]]:
    """The fields of every response of a route; none where it says nothing of its end.

    A deprecation without a date has no `Deprecation` field, whose value is a date (RFC 9745, section 2).
    """
    fields: list[tuple[str, str]] = []
    if (deprecated := spec.deprecated) is not None:
        if deprecated.since is not None:
            fields.append(("deprecation", f"@{int(deprecated.since.timestamp())}"))
        if deprecated.link is not None:
            fields.append(("link", f'<{deprecated.link}>; rel="deprecation"'))
    if (sunset := spec.sunset) is not None:
        fields.append(("sunset", format_datetime(sunset.date, usegmt=True)))
        if sunset.link is not None:
            fields.append(("link", f'<{sunset.link}>; rel="sunset"'))
    return fields


class Lifecycle:
    """Adds the fields to every response, problems included. What the service says of itself by the same fields does
    not count: each may stand once, and the route's word is the publisher's."""

    name: ClassVar[str] = "lifecycle"

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        fields = lifecycle_fields(operation.spec)
        names = frozenset(name for name, _ in fields) - {"link"}  # of which there may be several
        return partial(self.handle, fields, names, next) if fields else None

    async def handle(
        self, fields: Sequence[tuple[str, str]], names: frozenset[str], next: Handler, exchange: Exchange
    ) -> Reply | None:
        exchange.fields += fields
        reply = await next(exchange)
        if reply is not None:
            reply.headers = [field for field in reply.headers if field[0].lower() not in names]
        return reply
