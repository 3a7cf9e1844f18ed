"""Documents that plug-ins fetch by URL when a route is bound (`bridge.api.Context.fetch`), and forms that are posted to
a URL of a route.

A publisher chooses the URL, so the gateway must not give access to the networks that it is in (SSRF):

- A name is resolved once, every address is checked by `bridge.transport.reach.fetch_refusal`, and the connection goes
  to a checked address: there is no second resolution that could return another one. TLS and ``Host`` keep the name.
- Redirects are followed on the same host and port only, never from https to http, and each is checked again.
  Credentials are sent only to their origin (RFC 6454). A form is not sent on to where a redirect leads.
- Proxies and ``.netrc`` of the environment are ignored. Bytes, time and redirects are limited.
- A publisher learns that a document can't be fetched, but not why: messages that distinguish closed ports from open
  ones could be used to scan ports. The gateway's log and the operator's own files and commands get the reason.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin

from bridge.api.fetching import Fetched, fetch_error
from bridge.api.tls import default_context
from bridge.errors import BadReply, Fault, FetchError
from bridge.http.agent import USER_AGENT
from bridge.http.client_address import is_address
from bridge.http.coding import decode
from bridge.transport.reach import fetch_refusal

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 16 * 1024**2  #: of a document, as received and decoded
MAX_REDIRECTS = 5
#: Seconds: to connect to one address, between two pieces of a reply, for a document with all its redirects.
CONNECT, READ, TOTAL = 5.0, 15.0, 30.0
RESOLVERS = 16  #: concurrent lookups of names; each occupies a thread, and can't be cancelled

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_PORTS = {"http": 80, "https": 443}
_PATH = "/%:@!$&'()*+,;=~-._[]"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_HINT = "; BRIDGE_FETCH_NETWORKS may list networks that are allowed nevertheless"


@dataclass(frozen=True, slots=True)
class UrlTarget:
    """A URL, parsed once. The request is built from these parts, so that no second parser can interpret it
    differently."""

    scheme: str
    host: str  #: a name or an address, without brackets
    port: int
    authority: str  #: for the ``Host`` field, in lower case
    target: str  #: path and query

    @classmethod
    def parse(cls, url: str) -> UrlTarget:
        """:raises ValueError: it is not a plain http(s) URL."""
        parts = None if _CONTROL.search(url) else _URL.fullmatch(url)
        if parts is None:
            raise ValueError("it is not of the form http(s)://host[:port]/path")
        scheme = parts["scheme"].lower()
        port = int(parts["port"]) if parts["port"] is not None else _PORTS[scheme]
        if not 0 < port < 65536:
            raise ValueError(f"{port} is no port")
        query = quote(parts["query"] or "", safe=_PATH + "?")
        target = quote(parts["path"] or "/", safe=_PATH) + query
        authority = parts["host"].lower() + (f":{port}" if parts["port"] is not None else "")
        return cls(scheme, parts["host"].lower().strip("[]"), port, authority, target)

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


class _FetchFailure(Exception):
    """One fetch failed; the reason is for the operator."""

    def __init__(self, reason: str, *, answered: bool = True, status: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.answered, self.status = reason, answered, status


class PostError(Exception):
    """A form got no answer. The text is the reason, for the operator.

    :ivar connected: whether the server took the connection.
    """

    def __init__(self, reason: str, *, connected: bool) -> None:
        super().__init__(reason)
        self.connected = connected


def check_url(url: str, networks: Sequence[IPv4Network | IPv6Network] = ()) -> None:
    """What can be said of `url` without asking anybody.

    :raises ValueError: it is not a plain http(s) URL, or names an address that is refused.
    """
    host = UrlTarget.parse(url).host
    if is_address(host) and (reason := fetch_refusal(host, networks)):
        raise ValueError(f"{host} is refused: {reason}{_HINT if 'public' in reason or reason == 'loopback' else ''}")


class Fetcher:
    """Fetches documents by URL for routes that are being bound, and posts forms for calls.

    :param networks: networks from which documents may be fetched although they are not public
        (``BRIDGE_FETCH_NETWORKS``).
    :param connected: called with each host that answered, and its address.
    """

    def __init__(
        self,
        networks: Sequence[IPv4Network | IPv6Network] = (),
        connected: Callable[[str, str], object] = lambda host, address: None,
    ) -> None:
        self._networks = networks
        self._connected = connected
        self._lookups: ThreadPoolExecutor | None = None
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> Fetched:
        """The document at `url`.

        :param headers: credentials; only the origin of `url` gets them.
        :raises bridge.api.FetchError: it can't be fetched.
        """
        try:
            first = UrlTarget.parse(url)
        except ValueError as error:
            raise FetchError(Fault(f"the URL can't be used: {error}", file=re.sub(r"//[^/?#]*@", "//", url))) from None
        try:
            async with asyncio.timeout(TOTAL):
                return await self._follow(url, first, headers)
        except _FetchFailure as error:
            raise fetch_error(url, error.reason, answered=error.answered, status=error.status) from None
        except TimeoutError:
            reason = f"it can't be fetched: there was no whole answer within {TOTAL:.0f} seconds"
            raise fetch_error(url, reason, answered=False) from None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], max_bytes: int) -> tuple[int, bytes]:
        """Status and body of the answer to a POST; redirects are answers. The caller bounds the time.

        :param headers: names in lower case, with the content type and an ``accept``.
        :param max_bytes: at most one byte more is read of the answer's body.
        :raises PostError: there is none.
        """
        # Heavy, and a call waits for it: it is loaded in a thread, beside other calls.
        httpx: Any = await asyncio.to_thread(import_module, "httpx")
        target = UrlTarget.parse(url)
        async with await self._client() as client:
            try:
                reply = await self._ask(client, target, headers, body)
            except _FetchFailure as failure:
                raise PostError(failure.reason, connected=failure.answered) from None
            answer = bytearray()
            try:
                async for part in reply.aiter_raw():
                    answer += part
                    if len(answer) > max_bytes:
                        break
            except (httpx.HTTPError, OSError, ValueError) as error:
                raise PostError(f"its answer broke off: {str(error) or type(error).__name__}", connected=True) from None
            finally:
                await reply.aclose()
            return reply.status_code, bytes(answer[: max_bytes + 1])

    async def aclose(self) -> None:
        """Does not wait for lookups: the system's resolver may take long."""
        if self._lookups is not None:
            self._lookups.shutdown(wait=False, cancel_futures=True)
            self._lookups = None

    async def addresses(self, host: str, port: int) -> list[str]:
        """Every address of `host`, from the system's resolver.

        :raises OSError: it has none.
        """
        if self._lookups is None:
            # A separate pool: binds occupy the threads of the loop's pool while they wait for a fetch.
            self._lookups = ThreadPoolExecutor(RESOLVERS, "fetch-lookup")
        infos = await asyncio.get_running_loop().run_in_executor(
            self._lookups, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(info[4][0]) for info in infos))

    async def _follow(self, url: str, first: UrlTarget, headers: Mapping[str, str]) -> Fetched:
        import httpx  # heavy, and most contracts are files

        target = first
        async with await self._client() as client:
            for _ in range(MAX_REDIRECTS + 1):
                credentials = headers if target.origin == first.origin else {}
                reply = await self._ask(client, target, credentials)
                try:
                    location = reply.headers.get("location")
                    if reply.is_redirect and location is not None:
                        url, target = _redirect(url, target, location)
                        continue
                    if reply.status_code != 200:
                        raise _FetchFailure(
                            _status_reason(reply.status_code, has_credentials=bool(credentials)),
                            status=reply.status_code,
                        )
                    return Fetched(await _read_body(reply), url)
                except (httpx.HTTPError, OSError, ValueError) as error:
                    raise _FetchFailure(f"it can't be fetched: {str(error) or type(error).__name__}") from None
                finally:
                    await reply.aclose()
        raise _FetchFailure("it redirects too often")

    async def _client(self) -> httpx.AsyncClient:
        """A client of its own for each URL: connections are to addresses, and none may be used for another host."""
        import httpx

        if self._tls is None:
            self._tls = await asyncio.to_thread(default_context)
        timeout = httpx.Timeout(READ, connect=CONNECT)
        return httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=timeout)

    async def _usable_addresses(self, target: UrlTarget) -> list[str]:
        """The allowed addresses of the target's host; at least one.

        :raises _FetchFailure: it has none.
        """
        try:
            addresses = await self.addresses(target.host, target.port)
        except (OSError, ValueError) as error:
            raise _FetchFailure(f"it can't be fetched: {target.host} has no address: {error}", answered=False) from None
        reasons = {address: fetch_refusal(address, self._networks) for address in addresses}
        public = [address for address, reason in reasons.items() if not reason]
        if not public:
            details = ", ".join(f"{address} ({reason})" for address, reason in reasons.items())
            hint = "; BRIDGE_FETCH_NETWORKS may list networks from where contracts are fetched"
            raise _FetchFailure(
                f"{target.host} leads only to addresses that are refused: {details}{hint}", answered=False
            )
        return public

    async def _ask(
        self, client: httpx.AsyncClient, target: UrlTarget, headers: Mapping[str, str], body: bytes | None = None
    ) -> httpx.Response:
        """The reply's head, from the first allowed address that accepts a connection: to a GET, or a POST of `body`."""
        import httpx

        fields = {"accept": "text/xml, application/xml, */*", "accept-encoding": "identity", "user-agent": USER_AGENT}
        fields |= {**headers, "host": target.authority}
        problem: Exception | None = None
        connected = False
        for address in await self._usable_addresses(target):
            literal = f"[{address}]" if ":" in address else address
            request = client.build_request(
                "GET" if body is None else "POST",
                f"{target.scheme}://{literal}:{target.port}{target.target}",
                headers=fields,
                content=body,
                extensions={"sni_hostname": target.host.rstrip(".")},
            )
            try:
                reply = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error  # another address may succeed
                continue
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                problem, connected = error, True
                break
            self._connected(target.host, address)
            return reply
        reason = f"it can't be fetched: {str(problem) or type(problem).__name__}"
        raise _FetchFailure(reason, answered=connected and body is not None)


def _redirect(url: str, target: UrlTarget, location: str) -> tuple[str, UrlTarget]:
    """The target of a redirect.

    :raises _FetchFailure: it is not on the same host and port.
    """
    try:
        destination = urljoin(url, location)
        parts = UrlTarget.parse(destination)
    except ValueError:
        raise _FetchFailure("it redirects to what is no http(s) URL") from None
    if parts.authority != target.authority:
        raise _FetchFailure("it redirects to another host, which is refused")
    if target.scheme == "https" and parts.scheme == "http":
        raise _FetchFailure("it redirects from https to http, which is refused")
    return destination, parts


async def _read_body(reply: httpx.Response) -> bytes:
    """:raises _FetchFailure: it is too large, or has an unsupported coding."""
    body = bytearray()
    async for part in reply.aiter_raw():
        body += part
        if len(body) > MAX_BYTES:
            raise _FetchFailure(f"it is larger than {MAX_BYTES // 1024**2} MiB")
    codings = reply.headers.get("content-encoding", "")
    if not codings:
        return bytes(body)
    try:
        return await asyncio.to_thread(decode, bytes(body), codings, MAX_BYTES)
    except BadReply as error:
        raise _FetchFailure(f"it can't be decoded: {error.cause}") from None


def _status_reason(status: int, *, has_credentials: bool) -> str:
    if status not in (401, 403, 407):
        return f"the server answered HTTP {status}"
    if has_credentials:
        return f"the server refuses the credentials (HTTP {status})"
    return f"the server wants credentials (HTTP {status})"
