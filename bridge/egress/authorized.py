"""Calls whose service wants credentials that are fetched or signed (`bridge.api.egress.Credentials`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from bridge.api.call import Call, GrpcReply, GrpcRequest
from bridge.api.capabilities import Closing, capability
from bridge.api.egress import Credentials
from bridge.api.stage import BoundOperation
from bridge.egress.session import SessionOperation
from bridge.errors import DeadlineExceeded

UNAUTHENTICATED = 16  #: google.rpc.Code

Fields = Sequence[tuple[str, str]]


class AuthorizedOperation:
    """The `bridge.api.stage.BoundOperation` of one call, as far as it is sent: `send` and `stream` add the route's
    credentials."""

    __slots__ = ("_call", "_credentials", "_operation", "codec", "egress", "open", "request", "spec", "timeout")

    def __init__(self, operation: BoundOperation | SessionOperation, credentials: Credentials, call: Call) -> None:
        self._operation, self._credentials, self._call = operation, credentials, call
        self.codec, self.request, self.open = operation.codec, operation.request, operation.open
        self.spec, self.timeout, self.egress = operation.spec, operation.timeout, operation.egress

    async def send(self, outbound: Any, *, deadline: float, trace: Fields, client_timeout: float | None = None) -> Any:
        """As `bridge.gateway.table.Sender.send`. After a refusal of the credentials, the call is sent once more if
        there are new ones, unless its body is a stream that was read."""
        outbound = self._stripped(outbound)
        send = partial(self._operation.send, outbound, deadline=deadline, client_timeout=client_timeout)
        fields = await self._fields(deadline)
        inbound = await send(trace=[*trace, *fields])
        if not refuses(inbound):
            return inbound
        self._credentials.rejected(self._call)
        if not isinstance(getattr(outbound, "body", b""), bytes):
            return inbound
        closing = capability(getattr(inbound, "body", b""), Closing)
        try:
            renewed = await self._fields(deadline)
        except BaseException:
            if closing:
                await closing.aclose()
            raise
        if renewed == fields:
            return inbound
        if closing:
            await closing.aclose()
        inbound = await send(trace=[*trace, *renewed])
        if refuses(inbound):
            self._credentials.rejected(self._call)
        return inbound

    async def stream(
        self,
        outbound: GrpcRequest,
        *,
        deadline: float | None,
        connect_by: float,
        trace: Fields,
        client_timeout: float | None = None,
    ) -> Any:
        """As `bridge.cluster.cluster.Cluster.stream`. Streams are never sent again."""
        fields = [*trace, *await self._fields(connect_by)]
        return await self._operation.stream(
            self._stripped(outbound),
            deadline=deadline,
            connect_by=connect_by,
            trace=fields,
            client_timeout=client_timeout,
        )

    def ended(self, code: int | None) -> None:
        """A stream ended with the gRPC status `code`."""
        if code == UNAUTHENTICATED:
            self._credentials.rejected(self._call)

    async def _fields(self, by: float) -> Fields:
        """:param by: in the loop's `time()`.
        :raises DeadlineExceeded: there are none by then.
        """
        try:
            async with asyncio.timeout_at(by):
                fields = await self._credentials.fields(self._call)
        except TimeoutError:
            raise DeadlineExceeded("The time for this call was over before it could be sent.") from None
        self._call.credentials = [*self._call.credentials, *(value for _, value in fields)]
        return fields

    def _stripped(self, outbound: Any) -> Any:
        """`outbound` without fields of the credentials' names; in HTTP the transport replaces them."""
        names = self._credentials.names
        if isinstance(outbound, GrpcRequest) and any(name in names for name, _ in outbound.metadata):
            outbound.metadata = [pair for pair in outbound.metadata if pair[0] not in names]
        return outbound


def refuses(inbound: Any) -> bool:
    """Whether a reply says that the call's credentials are not accepted: 401 (RFC 9110, section 15.5.2) or
    UNAUTHENTICATED."""
    if isinstance(inbound, GrpcReply):
        return inbound.code == UNAUTHENTICATED
    return bool(inbound.status == 401)
