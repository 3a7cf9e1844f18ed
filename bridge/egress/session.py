"""Calls with the cookies that the service has set for their caller (`bridge.api.egress.Cookies`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bridge.api.call import Call, HttpRequest
from bridge.api.egress import Cookies
from bridge.api.stage import BoundOperation

Fields = Sequence[tuple[str, str]]


class SessionOperation:
    """The `bridge.api.stage.BoundOperation` of one call over HTTP, as far as it is sent: `send` and `stream` add the
    caller's cookies, and keep those of the reply. The client's own cookies don't pass, nor does ``Set-Cookie``."""

    __slots__ = ("_call", "_cookies", "_operation", "codec", "egress", "open", "request", "spec", "timeout")

    def __init__(self, operation: BoundOperation, cookies: Cookies, call: Call) -> None:
        self._operation, self._cookies, self._call = operation, cookies, call
        self.codec, self.request, self.open = operation.codec, operation.request, operation.open
        self.spec, self.timeout, self.egress = operation.spec, operation.timeout, operation.egress

    async def send(
        self, outbound: HttpRequest, *, deadline: float, trace: Fields, client_timeout: float | None = None
    ) -> Any:
        """As `bridge.gateway.table.Sender.send`."""
        fields = [*trace, *self._fields(outbound)]
        inbound = await self._operation.send(
            _without_cookies(outbound), deadline=deadline, trace=fields, client_timeout=client_timeout
        )
        return self._kept(outbound, inbound)

    async def stream(
        self,
        outbound: HttpRequest,
        *,
        deadline: float | None,
        connect_by: float,
        trace: Fields,
        client_timeout: float | None = None,
    ) -> Any:
        """As `bridge.cluster.cluster.Cluster.stream`: the handshake of a WebSocket."""
        fields = [*trace, *self._fields(outbound)]
        opened = await self._operation.stream(
            _without_cookies(outbound),
            deadline=deadline,
            connect_by=connect_by,
            trace=fields,
            client_timeout=client_timeout,
        )
        return self._kept(outbound, opened)

    def _fields(self, outbound: HttpRequest) -> Fields:
        text = self._cookies.header(self._call, _path(outbound))
        if not text:
            return []
        values = (pair.partition("=")[2] for pair in text.split("; "))
        self._call.credentials = [*self._call.credentials, text, *values]
        return [("cookie", text)]

    def _kept(self, outbound: HttpRequest, inbound: Any) -> Any:
        """The service's answer, without the cookies that it sets."""
        values = [value for name, value in inbound.headers if name == "set-cookie"]
        if values:
            self._cookies.take(self._call, _path(outbound), values)
            inbound.headers = [field for field in inbound.headers if field[0] != "set-cookie"]
        return inbound


def _path(outbound: HttpRequest) -> str:
    return outbound.path.partition("?")[0]


def _without_cookies(outbound: HttpRequest) -> HttpRequest:
    headers = [field for field in outbound.headers if field[0].lower() != "cookie"]
    return outbound if len(headers) == len(outbound.headers) else replace(outbound, headers=headers)
