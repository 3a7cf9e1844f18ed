"""HTTP/1.1 upstreams: a request to whichever address of a name takes it, within its deadline, and the whole reply."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bridge.api.call import HttpReply, HttpRequest
from bridge.api.tls import Tls
from bridge.cluster.outlier import GATEWAY_FAILURES, OutlierDetector, fair
from bridge.errors import ClientError, Timeout, Unavailable, UpstreamError
from bridge.http.coding import Longer, decode
from bridge.http.forwarding import without_authority
from bridge.payload import offload
from bridge.transport.client import Address, BrokenOff, Client, Dropped, Field, NotConnected, ReplyHead
from bridge.transport.deadline import TICK, Deadlines
from bridge.transport.fields import check_method, outgoing
from bridge.transport.http1 import HttpClient

__all__ = ["HttpClient", "HttpUpstream"]

CONNECT = 2.0  #: seconds for one address to take a connection; less when the deadline leaves less for each
ADDRESSES = 8  #: addresses tried for one request
BLOCKING = 64 * 1024  #: coded bytes from which decoding leaves the event loop …
INLINE = 512 * 1024  #: … and decoded ones: a thousand times as many may come of it

#: RFC 9110, section 9.2.2: sending these twice is sending them once.
IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))

_TARGET = re.compile(r"/[!\"$-~]*")  # visible ASCII, without the # that no request target has


class HttpUpstream:
    """One mesh name and port, spoken to over HTTP/1.1.

    :param addresses: where it is now, the preferred address first; raises `bridge.errors.Unavailable`.
    :param client: the connections, shared with other upstreams.
    :param tls: ``https``; the certificate must bear `name`.
    :param name: the mesh name; with `port` it is the Host field, so that no address ever goes into a message.
    :param max_reply: bytes of a reply's body, as sent and decoded.
    :param outliers: told which instances fail; shared by all who ask for the same addresses.
    :param trust: of this upstream's own; the client's where it is None.
    """

    def __init__(
        self,
        addresses: Callable[[], Awaitable[Sequence[Address]]],
        *,
        client: Client,
        tls: bool,
        name: str,
        port: str,
        max_reply: int,
        outliers: OutlierDetector | None = None,
        trust: Tls | None = None,
    ) -> None:
        self._addresses = addresses
        self._client = client
        self._name = name.lower()
        self._server_name = (trust.server_name if trust and trust.server_name else name) if tls else None
        self._trust = trust.context() if trust else None
        # RFC 9110, section 7.2: a port that is not a number can't stand in Host.
        self._host: Field = ("host", f"{name}:{port}" if port.isdigit() else name)
        self._max_reply = max_reply
        self._outliers = outliers or OutlierDetector()
        self._deadlines = Deadlines()
        if tls and trust is None:
            client.trust()

    stream = None  #: HTTP operations do not stream

    async def send(
        self, request: HttpRequest, *, deadline: float, trace: Sequence[Field] = (), asked: float | None = None
    ) -> HttpReply:
        """Send `request` and read the whole reply. A redirect is a reply like any other.

        :param deadline: in the running loop's `time()`; covers lookup, connecting, sending, reading and decoding.
        :param trace: fields to add; they replace any that the request brought under those names.
        :param asked: seconds that the caller asked for, where that is less than the route gives.
        :raises bridge.errors.ClientError: a method, path or field that can't stand in an HTTP message.
        :raises bridge.errors.Unavailable: no address, or none that takes a connection.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: the reply is not HTTP, broken off, too long, or not in its coding.
        :raises bridge.errors.UpstreamError: closed without an answer, or not who its name says.
        """
        check_method(request.method)
        if not _TARGET.fullmatch(request.path):
            raise ClientError("The path holds characters that must be percent-encoded.")
        fields = outgoing(self._host, request, trace)
        patience = deadline - asyncio.get_running_loop().time()
        if patience <= 0:
            raise Timeout(cause="the deadline had passed before anything was sent")
        outliers = self._outliers
        tried: list[Address] = []
        epoch, answered = 0, False
        try:
            with self._deadlines.until(deadline):
                addresses = await self._addresses()
                if not addresses:
                    raise Unavailable(cause="no addresses", headers=[("retry-after", "1")])
                epoch, tried = outliers.epoch, [addresses[0]]
                share = patience / min(len(addresses), ADDRESSES)
                try:  # what nearly always goes well
                    head, body = await self._exchange(request, fields, addresses[0], share)
                except (NotConnected, Dropped) as error:
                    call = _Call(request, fields, deadline, asked, epoch, tried)
                    head, body = await self._otherwise(call, addresses, error, deadline - patience)
                if head.status in GATEWAY_FAILURES or (outliers.suspects and tried[-1] in outliers.suspects):
                    self._judge(tried[-1], epoch, head.status, patience, asked)
                answered = True
                headers = list(head.fields)
                if head.codings and request.decode:
                    if body:
                        body = await self._decode(body, head.codings)
                    headers = [field for field in headers if field[0] != "content-encoding"]
        except (Timeout, BrokenOff) as error:
            late = asyncio.get_running_loop().time() - deadline
            if tried and not answered and (isinstance(error, BrokenOff) or fair(patience, asked, late)):
                outliers.failed(tried[-1], epoch, error.cause)
            raise
        if head.located:
            hosts = (host for host, _ in (*addresses, *tried))
            headers = without_authority(headers, frozenset((self._name, *hosts)))
        return HttpReply(head.status, headers, body)

    def _judge(self, address: Address, epoch: int, status: int, patience: float, asked: float | None) -> None:
        """Report an answer. The service may know how little time a client gave, and say 504 by itself."""
        if status not in GATEWAY_FAILURES:
            self._outliers.succeeded(address, epoch)
        elif status != 504 or fair(patience, asked):
            self._outliers.failed(address, epoch, f"status {status}")

    def _exchange(
        self, request: HttpRequest, fields: Sequence[Field], address: Address, patience: float
    ) -> Awaitable[tuple[ReplyHead, bytes]]:
        """:param patience: seconds that may be spent on this address before the next one's turn."""
        return self._client.exchange(
            address,
            request.method,
            request.path,
            fields,
            request.body,
            server_name=self._server_name,
            trust=self._trust,
            connect_timeout=CONNECT if patience > CONNECT else max(0.001, patience),
            max_reply=self._max_reply,
        )

    async def _otherwise(
        self, call: _Call, addresses: Sequence[Address], error: NotConnected | Dropped, began: float
    ) -> tuple[ReplyHead, bytes]:
        """Once the first address has failed: by the others, and once more where that does no harm and may help (RFC
        9112, section 9.3.1).

        :param began: in the loop's `time()`, the attempt at the first address.
        """
        if isinstance(error, NotConnected):
            self._unreachable(call, error, began)
            try:
                return await self._by_one_of(call, addresses[1:ADDRESSES], error)
            except Dropped as dropped:
                error = dropped
        if error.reused and call.request.method in IDEMPOTENT:
            addresses = await self._addresses()
            nobody = NotConnected("no addresses")
            try:
                return await self._by_one_of(call, addresses[:ADDRESSES], nobody)
            except Dropped as dropped:
                error = dropped
        self._outliers.failed(call.tried[-1], call.epoch, str(error))
        raise UpstreamError(
            "The service behind this route closed the connection without an answer.", cause=str(error)
        ) from None

    async def _by_one_of(
        self, call: _Call, addresses: Sequence[Address], refusal: NotConnected
    ) -> tuple[ReplyHead, bytes]:
        """By the first of `addresses` that takes it. Each gets its share of the time that is left.

        :param refusal: why none has taken it yet.
        """
        loop = asyncio.get_running_loop()
        left = len(addresses)
        for address in addresses:
            call.tried.append(address)
            began = loop.time()
            try:
                return await self._exchange(call.request, call.fields, address, (call.deadline - began) / left)
            except NotConnected as error:
                self._unreachable(call, error, began)
                left -= 1
                refusal = error
        if loop.time() >= call.deadline - TICK:
            call.tried.clear()  # it is reported already
            raise Timeout(cause=f"{refusal}, and the deadline passed")
        if refusal.untrusted:
            raise UpstreamError("The service behind this route could not prove who it is.", cause=str(refusal))
        raise Unavailable(cause=str(refusal), headers=[("retry-after", "1")])

    def _unreachable(self, call: _Call, error: NotConnected, began: float) -> None:
        waited = error.waited
        if waited is None or fair(waited, call.asked, asyncio.get_running_loop().time() - began - waited):
            self._outliers.unreachable(call.tried[-1], call.epoch, str(error))

    async def _decode(self, body: bytes, codings: str) -> bytes:
        most = self._max_reply
        if len(body) < BLOCKING:
            try:
                return decode(body, codings, min(most, INLINE))
            except Longer:
                if most <= INLINE:
                    raise
        return await offload.run(min(most, 8 * len(body)), partial(decode, body, codings, most))


@dataclass(slots=True)
class _Call:
    """One call that did not go well at once.

    :ivar asked: seconds that the caller asked for, where that is less than the route gives.
    :ivar epoch: of the outlier detector, when the call had its addresses.
    :ivar tried: the addresses so far; the last one has it now.
    """

    request: HttpRequest
    fields: Sequence[Field]
    deadline: float
    asked: float | None
    epoch: int
    tried: list[Address]
