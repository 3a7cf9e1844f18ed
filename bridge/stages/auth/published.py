"""What issuers publish, over HTTP: their keys at a URL, or found by their metadata (`bridge.stages.auth.discovery`).

One fetch is bounded in time and size. Redirects are not followed: keys come from the URL that the operator configured,
or that the issuer's own document names, and from nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from bridge.http.agent import USER_AGENT
from bridge.stages.auth.discovery import MAX_METADATA, BadMetadata, IssuerMetadata, metadata_urls, read_metadata
from bridge.stages.auth.jwks import MAX_JWKS, CachedKeys
from bridge.stages.auth.keys import BadKey, KeySet, read_jwks

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("bridge.guards")

FETCH_TIMEOUT = 5.0  #: seconds for one whole fetch, with the documents that it takes
DEFAULT_AGE = 300.0  #: seconds keys are fresh when the answer says nothing
MIN_AGE, MAX_AGE = 30.0, 3600.0  #: bounds of what Cache-Control may ask for

_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_NO_CACHE = re.compile(r"(?:^|,)\s*no-(?:cache|store)\b", re.IGNORECASE)

T = TypeVar("T")
#: Makes or gives the client, in a thread: the first time it reads the system's authorities.
Client = Callable[[], "httpx.AsyncClient"]


def url_keys(
    name: str,
    url: str,
    client: Client,
    *,
    max_stale: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
) -> CachedKeys:
    """The keys published at `url`. `client` is called at the first fetch, so that starting needs no TLS set-up."""
    import httpx  # noqa: F401  # heavy, and only gateways with such an issuer need it; the first call mustn't wait

    async def fetch() -> tuple[KeySet, float]:
        return await _bounded(client, lambda made: _fetch_keys(made, url))

    return CachedKeys(name, fetch, max_stale=max_stale, clock=clock)


class DiscoveredKeys(CachedKeys):
    """The keys of an issuer of which only the name is known. Its document is asked for with each refresh of the keys,
    since it may name another place for them.

    :param issuer: an issuer for which `bridge.stages.auth.discovery.issuer_fault` finds nothing.
    """

    def __init__(
        self,
        issuer: str,
        client: Client,
        *,
        max_stale: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import httpx  # noqa: F401  # as above

        super().__init__(issuer, self._fetch_all, max_stale=max_stale, clock=clock)
        self._issuer = issuer
        self._client = client
        self._metadata: IssuerMetadata | None = None

    @property
    def metadata(self) -> IssuerMetadata | None:
        """The document as it was read last; None while the issuer has not answered yet."""
        return self._metadata

    async def discovered(self) -> IssuerMetadata:
        """The document, asked for now if it was never read.

        :raises IssuerUnavailable: it can't be had at the moment.
        """
        if self._metadata is None:
            await self.renew()
        if self._metadata is None:
            raise self.unavailable()
        return self._metadata

    async def _fetch_all(self) -> tuple[KeySet, float]:
        return await _bounded(self._client, self._discover)

    async def _discover(self, client: httpx.AsyncClient) -> tuple[KeySet, float]:
        metadata = await discover(client, self._issuer)
        if metadata != self._metadata:
            log.info("%s was discovered; its keys are at %s", self._issuer, metadata.jwks_uri or "no place")
        self._metadata = metadata
        if metadata.jwks_uri is None:
            raise BadKey("its metadata names no jwks_uri, so it has no keys that verify tokens")
        return await _fetch_keys(client, metadata.jwks_uri)


async def discover(client: httpx.AsyncClient, issuer: str) -> IssuerMetadata:
    """The metadata of `issuer`: OpenID Connect's, and if it has none (404) the authorization server's of RFC 8414.

    :raises BadKey: there is none, or it can't be used.
    """
    openid, oauth = metadata_urls(issuer)
    for url in (openid, oauth):
        status, body, _ = await _get(client, url, "application/json", MAX_METADATA)
        if status == 404 and url == openid:
            continue
        if status != 200:
            also = f", and {openid} with 404" if url == oauth else ""
            raise BadKey(f"discovery failed: {url} answers with status {status}{also}")
        try:
            return read_metadata(body, issuer)
        except BadMetadata as error:
            raise BadKey(f"discovery failed: {url}: {error}") from None
    raise AssertionError("the second URL decides")


async def _bounded(client: Client, ask: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """:raises BadKey: there is no whole answer in time."""
    try:
        async with asyncio.timeout(FETCH_TIMEOUT):
            return await ask(await asyncio.to_thread(client))
    except TimeoutError:
        raise BadKey(f"no whole answer within {FETCH_TIMEOUT:g} s") from None


async def _fetch_keys(client: httpx.AsyncClient, url: str) -> tuple[KeySet, float]:
    status, body, cache_control = await _get(client, url, "application/jwk-set+json, application/json", MAX_JWKS)
    if status != 200:
        raise BadKey(f"{url} answers with status {status}")
    try:
        return read_jwks(body), _age(cache_control)
    except BadKey as error:
        raise BadKey(f"{url}: {error}") from None


async def _get(client: httpx.AsyncClient, url: str, accept: str, most: int) -> tuple[int, bytes, str]:
    """Status, body and Cache-Control of the answer; the body only of one with status 200.

    :raises BadKey: there is none, or it has more than `most` bytes.
    """
    import httpx

    # Never decompressed: a few compressed bytes could expand to very many.
    headers = {"accept": accept, "accept-encoding": "identity", "user-agent": USER_AGENT}
    body = bytearray()
    try:
        async with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 200:
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > most:
                        raise BadKey(f"the answer of {url} has more than {most // 1024} kB")
            return answer.status_code, bytes(body), answer.headers.get("cache-control", "")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise BadKey(f"{url}: {str(error) or type(error).__name__}") from None


def _age(cache_control: str) -> float:
    """Seconds the keys are fresh (RFC 9111, section 5.2.2), within bounds."""
    if _NO_CACHE.search(cache_control):
        return MIN_AGE
    match = _MAX_AGE.search(cache_control)
    return min(max(float(match[1]), MIN_AGE), MAX_AGE) if match else DEFAULT_AGE
