"""httpx's transport for URLs of the operator: connections to addresses that were judged, and to no others.

A name is resolved once for each request, its addresses are judged (`bridge.transport.reach.named_refusal`), and the
connection goes to one of them: there is no second resolution that could return another one. TLS and ``Host`` keep the
name. No connection is kept, since one to an address must not be used for another name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

import httpx

from bridge.http.client_address import is_address
from bridge.transport.reach import named_refusal, refusal


class JudgedTransport(httpx.AsyncBaseTransport):
    """:param verify: of servers' certificates."""

    def __init__(self, verify: ssl.SSLContext) -> None:
        self._transport = httpx.AsyncHTTPTransport(verify=verify, limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """:raises httpx.TransportError: as every transport; `httpx.ConnectError` where all addresses are refused."""
        url = request.url
        # As `Host` has it. `url.host` is Unicode, in which Python's lookups and TLS read other names (IDNA 2003).
        host = url.raw_host.decode("ascii")
        failure = httpx.ConnectError(f"{host} has no address", request=request)
        for address in await _addresses(host, url):
            extensions = request.extensions | {"sni_hostname": host.rstrip(".")}
            target = url.copy_with(host=address)
            again = httpx.Request(
                request.method, target, headers=request.headers, stream=request.stream, extensions=extensions
            )
            try:
                return await self._transport.handle_async_request(again)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error if isinstance(error, httpx.ConnectError) else httpx.ConnectError(str(error))
        raise failure

    async def aclose(self) -> None:
        await self._transport.aclose()


async def _addresses(host: str, url: httpx.URL) -> list[str]:
    """:raises httpx.ConnectError: there is none that is allowed."""
    if is_address(host):
        if reason := refusal(host, loopback=True):
            raise httpx.ConnectError(f"{host} is refused: {reason}")
        return [host]
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host} has no address: {error}") from None
    found = dict.fromkeys(str(info[4][0]) for info in infos)
    reasons = {address: named_refusal(host, address) for address in found}
    allowed = [address for address, reason in reasons.items() if not reason]
    if not allowed:
        told = ", ".join(f"{address} ({reason})" for address, reason in reasons.items())
        raise httpx.ConnectError(f"{host} leads only to addresses that are refused: {told}")
    return allowed
