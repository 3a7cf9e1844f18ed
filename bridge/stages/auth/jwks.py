"""The sources of an issuer's keys, and their cache: fixed, from a file, or fetched.

Keys are fetched off the request path if possible: while the cached keys are only slightly stale, calls continue to use
them during the refresh. A failed refresh never removes keys; it is repeated later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bridge.config.stamp import stamp_of
from bridge.errors import IssuerUnavailable
from bridge.http.agent import USER_AGENT
from bridge.stages.auth.keys import BadKey, Key, KeySet, read_jwks

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("bridge.guards")

MAX_JWKS = 512 * 1024  #: bytes of a JWK Set
FETCH_TIMEOUT = 5.0  #: seconds for one whole fetch
DEFAULT_AGE = 300.0  #: seconds keys are fresh when the answer says nothing
MIN_AGE, MAX_AGE = 30.0, 3600.0  #: bounds of what Cache-Control may ask for
GRACE = 60.0  #: seconds past freshness in which calls needn't wait for the refresh
UNKNOWN_KID_INTERVAL = 10.0  #: seconds between refreshes that an unknown kid or an invalid signature may cause
RETRY = 2.0  #: seconds until a failed refresh is tried again while there are no keys at all, ...
RETRY_STALE = 10.0  #: ... and while there are old ones

_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_NO_CACHE = re.compile(r"(?:^|,)\s*no-(?:cache|store)\b", re.IGNORECASE)


class KeySource(Protocol):
    """The keys of one issuer over time."""

    version: int
    """Goes up when the keys change, and only then: what was verified under another version is verified anew."""

    def fresh(self) -> bool:
        """Whether results under `version` are still valid without a refresh."""
        ...

    async def renew(self) -> None:
        """Refresh the keys if that is due; `version` may change. Never raises because of the issuer."""
        ...

    async def find(self, kid: str, algorithm: str) -> Sequence[Key]:
        """The keys to try (`KeySet.find`), after a refresh if that is due. Empty: the issuer has no such key.

        :raises IssuerUnavailable: the keys can't be fetched.
        """
        ...

    async def recheck(self) -> bool:
        """Refresh the keys because none of them verifies a signature: issuers replace keys under the same ``kid``, or
        give them none. Whether they changed; False also if no refresh is allowed yet.
        """
        ...

    async def aclose(self) -> None:
        """Stop background tasks."""
        ...


class FixedKeys:
    """Keys that never change while the gateway runs: a secret, the local issuer's."""

    version = 0

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def fresh(self) -> bool:
        return True

    async def renew(self) -> None:
        """Nothing is ever due."""

    async def find(self, kid: str, algorithm: str) -> Sequence[Key]:
        return self._keys.find(kid, algorithm)

    async def recheck(self) -> bool:
        return False

    async def aclose(self) -> None:
        """Nothing to end."""


#: Fetches the keys, and the seconds for which they are fresh. Raises `BadKey` with a sentence.
Fetch = Callable[[], Awaitable[tuple[KeySet, float]]]


class CachedKeys:
    """Keys behind a `Fetch`: single-flight, refreshed by age and, within limits, on an unknown ``kid`` or a signature
    that no key verifies.

    :param name: the issuer, for the log.
    :param keys: those already known; ``None`` makes the first call fetch them.
    :param grace: seconds past freshness in which calls continue to use old keys during a refresh.
    :param unknown_interval: the least seconds between two refreshes that tokens cause.
    """

    def __init__(
        self,
        name: str,
        fetch: Fetch,
        keys: KeySet | None = None,
        *,
        grace: float = GRACE,
        unknown_interval: float = UNKNOWN_KID_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = 0
        self._name = name
        self._fetch = fetch
        self._keys = keys
        self._grace = grace
        self._unknown_interval = unknown_interval
        self._clock = clock
        self._expires = clock() if keys is not None else float("-inf")
        self._retry_at = float("-inf")
        self._unknown_at = float("-inf")
        self._failed = False
        self._fetches = 0
        self._flight: asyncio.Task[None] | None = None

    def fresh(self) -> bool:
        return self._clock() < self._expires

    async def find(self, kid: str, algorithm: str) -> Sequence[Key]:
        before = self._fetches
        await self.renew()
        keys = self._keys.find(kid, algorithm) if self._keys else ()
        if not keys and self._keys is not None and self._fetches == before and self._may_ask_again():
            await self._refresh()
            keys = self._keys.find(kid, algorithm)
        if not keys and (self._keys is None or self._failed):
            wait = max(1, round(self._retry_at - self._clock()))
            raise IssuerUnavailable(
                "The keys of the token's issuer can't be fetched just now. Try again in a moment.",
                headers=[("retry-after", str(wait))],
                cause=f"no keys of {self._name}",
            )
        return keys

    async def aclose(self) -> None:
        self._failed, self._retry_at = True, self._clock() + RETRY  # for those who wait
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    async def recheck(self) -> bool:
        version = self.version
        if self._may_ask_again():
            await self._refresh()
        return self.version != version

    def _may_ask_again(self) -> bool:
        """A token that no key fits may mean that the issuer rotated its keys, or that a client invents tokens."""
        if self._flight is not None:
            return True
        now = self._clock()
        if now - self._unknown_at < self._unknown_interval:
            return False
        self._unknown_at = now
        return True

    async def renew(self) -> None:
        now = self._clock()
        if now < self._expires:
            return
        if self._keys is None:
            if now >= self._retry_at or self._flight is not None:
                await self._refresh()
        elif self._failed or now < self._expires + self._grace:
            if now >= self._retry_at:
                self._start()
        else:
            await self._refresh()

    def _start(self) -> asyncio.Task[None]:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.get_running_loop().create_task(self._run(), name=f"keys of {self._name}")
        return self._flight

    async def _refresh(self) -> None:
        # A cancelled caller must not end the fetch that others wait for, and `aclose` ends the fetch and no caller.
        flight = self._start()
        await asyncio.wait([flight])
        if not flight.cancelled():
            flight.result()

    async def _run(self) -> None:
        try:
            keys, age = await self._fetch()
        except BadKey as error:
            self._failed = True
            self._retry_at = self._clock() + (RETRY if self._keys is None else RETRY_STALE)
            log.warning("the keys of %s can't be refreshed: %s", self._name, error)
        else:
            if self._keys is not None and keys.fingerprint != self._keys.fingerprint:
                log.info("%s has changed its keys", self._name)
                self.version += 1
            self._keys, self._failed = keys, False
            self._expires = self._clock() + age
        finally:
            self._fetches += 1
            self._flight = None


def url_keys(
    name: str, url: str, client: Callable[[], httpx.AsyncClient], *, clock: Callable[[], float] = time.monotonic
) -> CachedKeys:
    """The keys published at `url`. `client` is called at the first fetch, so that starting needs no TLS set-up."""

    import httpx  # heavy, and only gateways with such an issuer need it; the first call mustn't wait for it

    async def fetch() -> tuple[KeySet, float]:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                return await _get(client(), url)
        except TimeoutError:
            raise BadKey(f"no answer within {FETCH_TIMEOUT:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise BadKey(str(error) or type(error).__name__) from None

    return CachedKeys(name, fetch, clock=clock)


async def _get(client: httpx.AsyncClient, url: str) -> tuple[KeySet, float]:
    body = bytearray()
    # Never decompressed: a few compressed bytes could expand to very many.
    headers = {
        "accept": "application/jwk-set+json, application/json",
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
    }
    async with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code != 200:
            raise BadKey(f"the answer has status {answer.status_code}")
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > MAX_JWKS:
                raise BadKey(f"the answer has more than {MAX_JWKS // 1024} kB")
    return read_jwks(bytes(body)), _age(answer.headers.get("cache-control", ""))


def _age(cache_control: str) -> float:
    """Seconds the keys are fresh (RFC 9111, section 5.2.2), within bounds."""
    if _NO_CACHE.search(cache_control):
        return MIN_AGE
    match = _MAX_AGE.search(cache_control)
    return min(max(float(match[1]), MIN_AGE), MAX_AGE) if match else DEFAULT_AGE


def read_jwks_file(path: Path) -> KeySet:
    """:raises BadKey: it can't be read, is too large, or is no JWK Set."""
    if os.path.exists(path) and not os.path.isfile(path):  # of a pipe, one would wait for a writer
        raise BadKey("it is no file")
    try:
        with path.open("rb") as file:
            body = file.read(MAX_JWKS + 1)
    except OSError as error:
        raise BadKey(error.strerror or str(error)) from None
    if len(body) > MAX_JWKS:
        raise BadKey(f"it has more than {MAX_JWKS // 1024} kB")
    return read_jwks(body)


def file_keys(name: str, path: Path, *, clock: Callable[[], float] = time.monotonic) -> CachedKeys:
    """The keys in a file, read again when its time or size changes; checked at most once a second.

    :raises BadKey: it can't be read now. Later, the keys stay in use until the file is valid again.
    """
    last_stamp = stamp_of(path)  # before reading, so that a change in between is noticed the next time
    keys = read_jwks_file(path)

    def look() -> KeySet:
        nonlocal keys, last_stamp
        stamp = stamp_of(path)
        if stamp != last_stamp:
            keys = read_jwks_file(path)
            last_stamp = stamp
        return keys

    async def fetch() -> tuple[KeySet, float]:
        return await asyncio.to_thread(look), 1.0

    return CachedKeys(name, fetch, keys, grace=0.0, unknown_interval=1.0, clock=clock)
