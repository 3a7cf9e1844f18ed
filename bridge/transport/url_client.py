"""POSTs to servers that the operator configured by URL and that calls wait for, such as introspection endpoints.

Connections are kept. A name is looked up once for all calls that wait, its addresses hold for some seconds, and while a
later lookup is under way the old ones are used. Addresses that `bridge.transport.reach.named_refusal` refuses are left
out. Redirects are not followed: what is sent goes to the configured URL.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence

from bridge.api.tls import Tls
from bridge.api.transport import Address
from bridge.errors import BindError, RequestError
from bridge.http.agent import USER_AGENT
from bridge.http.client_address import is_address
from bridge.transport.fetch import PostError, UrlTarget
from bridge.transport.http1.client import HttpClient
from bridge.transport.http1.exchange import ConnectFailed, ConnectionDropped
from bridge.transport.reach import named_refusal, refusal

ADDRESSES_HOLD = 30.0  #: seconds
RETRY_LOOKUP = 5.0  #: seconds after a failed lookup in which old addresses are used without a new one
CONNECT = 1.0  #: seconds for one address to accept a connection, TLS included
RESENDS = 2  #: times that a request is sent again because a kept connection was closed before an answer


log = logging.getLogger("bridge.guards")


class _Host:
    """The addresses of one name and port."""

    __slots__ = ("addresses", "flight", "until")

    def __init__(self) -> None:
        self.addresses: Sequence[Address] = ()
        self.until = float("-inf")
        self.flight: asyncio.Task[None] | None = None


class UrlClient:
    """The connections of one client.

    :param tls: its certificate and trusted authorities. When they change to what can't be used, those before stay.
    :param per_address: connections to one address.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        tls: Callable[[], Tls] = Tls,
        *,
        per_address: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tls, self._clock = tls, clock
        self._client = HttpClient(per_address=per_address)
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._read: Tls | None = None  #: from which `_context` was made, unless they could not be used
        self._context: ssl.SSLContext | None = None
        self._contexts = asyncio.Lock()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], max_bytes: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, header fields (names in lower case) and body of the answer. The caller bounds the time.

        :param headers: names in lower case, with the content type and an ``accept``.
        :param max_bytes: of the answer's body.
        :raises PostError: there is none, or it is longer.
        """
        try:
            target = UrlTarget.parse(url)
        except ValueError as error:
            raise PostError(f"its URL can't be used: {error}", connected=False) from None
        trust = await self._trust() if target.scheme == "https" else None
        fields = [("host", target.authority), ("user-agent", USER_AGENT), ("accept-encoding", "identity")]
        fields += headers.items()
        problem: ConnectFailed | None = None
        for address in await self._addresses(target):
            try:
                answer = await self._send(address, target, fields, body, max_bytes, trust)
            except ConnectFailed as error:
                problem = error  # another address may succeed
                continue
            self._prefer(target, address)
            return answer
        if host := self._hosts.get((target.host, target.port)):
            host.addresses, host.until = (), float("-inf")  # the name may have others by now
        raise PostError(str(problem), connected=problem is not None and problem.untrusted)

    async def aclose(self) -> None:
        """Requests under way fail."""
        for host in self._hosts.values():
            if host.flight is not None:
                host.flight.cancel()
        await self._client.aclose()

    async def _send(
        self,
        address: Address,
        target: UrlTarget,
        fields: Sequence[tuple[str, str]],
        body: bytes,
        max_bytes: int,
        trust: ssl.SSLContext | None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        resends = RESENDS
        while True:
            try:
                head, content = await self._client.exchange(
                    address,
                    "POST",
                    target.target,
                    fields,
                    body,
                    server_name=target.host.rstrip(".") if trust is not None else None,
                    connect_timeout=CONNECT,
                    max_reply=max_bytes,
                    trust=trust,
                )
            except ConnectionDropped as error:
                if error.reused and resends:
                    resends -= 1  # RFC 9112, section 9.3.1: the server closed a kept connection
                    continue
                raise PostError(f"it closed the connection without an answer: {error}", connected=True) from None
            except RequestError as error:
                raise PostError(error.cause or error.detail, connected=True) from None
            assert isinstance(content, bytes)
            if head.codings:
                raise PostError("its answer is coded, and none was asked for", connected=True)
            return head.status, dict(head.fields), content

    async def _trust(self) -> ssl.SSLContext:
        """:raises PostError: the client's certificate can't be used."""
        async with self._contexts:
            tls = self._tls()
            if tls != self._read:
                self._read = tls
                try:
                    self._context = await asyncio.to_thread(tls.context)
                except (BindError, OSError) as error:
                    reason = error.faults[0].reason if isinstance(error, BindError) else str(error)
                    log.warning("the gateway's certificate for an issuer can't be used: %s", reason)
            if self._context is None:
                raise PostError("the gateway's certificate for it can't be used", connected=False)
            return self._context

    async def _addresses(self, target: UrlTarget) -> Sequence[Address]:
        """:raises PostError: the host has none."""
        if is_address(target.host):
            if reason := refusal(target.host, loopback=True):
                raise PostError(f"{target.host} is refused: {reason}", connected=False)
            return ((target.host, target.port),)
        key = target.host, target.port
        host = self._hosts.setdefault(key, _Host())
        if self._clock() < host.until:
            return host.addresses
        if host.flight is None:
            name = f"addresses of {target.host}"
            host.flight = asyncio.get_running_loop().create_task(self._look_up(host, *key), name=name)
        if not host.addresses:
            await asyncio.wait([host.flight])
        if not host.addresses:
            raise PostError(f"{target.host} has no address that is allowed", connected=False)
        return host.addresses

    async def _look_up(self, host: _Host, name: str, port: int) -> None:
        """Never raises: a name without addresses keeps those that it had."""
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            host.until = self._clock() + RETRY_LOOKUP if host.addresses else float("-inf")
        else:
            found: list[Address] = []
            for address in dict.fromkeys(str(info[4][0]) for info in infos):
                if reason := named_refusal(name, address):
                    log.warning("%s leads to %s, which is refused (%s)", name, address, reason)
                else:
                    found.append((address, port))
            first = [address for address in host.addresses[:1] if address in found]
            host.addresses = [*first, *(address for address in found if address not in first)]
            host.until = self._clock() + ADDRESSES_HOLD
        finally:
            host.flight = None

    def _prefer(self, target: UrlTarget, address: Address) -> None:
        """`address` accepted a connection: it is tried first."""
        host = self._hosts.get((target.host, target.port))
        if host is not None and address in host.addresses[1:]:  # it may have lost them to another request meanwhile
            host.addresses = [address, *(other for other in host.addresses if other != address)]
