"""An issuer's keys over time: `CachedKeys`, which keeps them current, and fixed ones.

Calls do not wait for keys: they are fetched when the gateway starts, and again shortly before they go stale. While the
issuer does not answer, old keys are used for a bounded time. A token that no key fits may mean that the issuer has new
keys, or that somebody invents tokens. So such tokens cause fetches at a bounded rate, and a call waits for the next one
that begins after its arrival: whoever invents tokens can make others wait for it, and have none of them refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from bridge.config.stamp import stamp_of
from bridge.errors import IssuerUnavailable
from bridge.stages.auth.keys import BadKey, Key, KeySet, read_jwks

log = logging.getLogger("bridge.guards")

MAX_JWKS = 512 * 1024  #: bytes of a JWK Set
CALL_WAIT = 2.0  #: seconds that a call waits for keys at most
#: Keys are fetched before they go stale: by this part of their age, and by so many seconds at most.
EARLY, EARLIEST = 0.1, 60.0
GRACE = 60.0  #: seconds past freshness in which calls needn't wait for the refresh
UNKNOWN_KID_BURST = 3  #: fetches that unknown kids and invalid signatures may cause at once, ...
UNKNOWN_KID_INTERVAL = 2.0  #: ... and seconds between those after them
MAX_WAITING = 1000  #: calls that wait for such a fetch
MAX_WITHDRAWN = 8  #: keys that are remembered after the issuer has withdrawn them
RETRY = 2.0  #: seconds until a failed fetch is tried again while there are no keys at all, ...
RETRY_STALE = 10.0  #: ... and while there are old ones. They double with each failure, ...
MAX_RETRY = 30.0  #: ... up to this many


def unavailable(cause: str, seconds: float = 0.0) -> IssuerUnavailable:
    """The error of a call that can't be judged now, but perhaps in `seconds`. `cause` is for the log."""
    return IssuerUnavailable(
        "The keys of the token's issuer can't be fetched just now. Try again in a moment.",
        headers=[("retry-after", str(max(1, round(max(seconds, 0.0)))))],
        cause=cause,
    )


class KeySource(Protocol):
    """The keys of one issuer over time."""

    version: int
    """Goes up when the keys change, and only then: what was verified under another version is verified anew."""

    def start(self) -> None:
        """Fetch the keys beside the calls, and keep them current until `aclose`."""
        ...

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

    def withdrawn(self, kid: str, algorithm: str) -> Sequence[Key]:
        """Keys that the issuer published under that name and does no longer; the last few."""
        ...

    def check_withdrawal(self) -> None:
        """Refresh the keys beside the calls if tokens have caused no refresh lately: a withdrawn key may be back."""
        ...

    async def recheck(self) -> bool:
        """Refresh the keys because none of them verifies a signature: issuers replace keys under the same ``kid``, or
        give them none. Whether they changed; False also if they can't be fetched now.
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

    def start(self) -> None:
        """Nothing is ever due."""

    def fresh(self) -> bool:
        return True

    async def renew(self) -> None:
        """Nothing is ever due."""

    async def find(self, kid: str, algorithm: str) -> Sequence[Key]:
        return self._keys.find(kid, algorithm)

    def withdrawn(self, kid: str, algorithm: str) -> Sequence[Key]:
        return ()

    def check_withdrawal(self) -> None:
        """They are never withdrawn."""

    async def recheck(self) -> bool:
        return False

    async def aclose(self) -> None:
        """Nothing to end."""


#: Fetches the keys, and the seconds for which they are fresh. Raises `BadKey` with a sentence.
Fetch = Callable[[], Awaitable[tuple[KeySet, float]]]


class CachedKeys:
    """Keys behind a `Fetch`, of which one runs at a time.

    :param name: the issuer, for the log.
    :param keys: those already known; ``None`` makes the first call fetch them.
    :param grace: seconds past freshness in which calls continue to use old keys during a refresh.
    :param max_stale: seconds past freshness in which old keys are used while they can't be fetched.
    :param unknown_interval: seconds between fetches that tokens cause, after the first `UNKNOWN_KID_BURST`.
    :param eager: fetch them before a call needs them.
    """

    def __init__(
        self,
        name: str,
        fetch: Fetch,
        keys: KeySet | None = None,
        *,
        grace: float = GRACE,
        max_stale: float = float("inf"),
        unknown_interval: float = UNKNOWN_KID_INTERVAL,
        eager: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = 0
        self._name = name
        self._fetch = fetch
        self._keys = keys
        self._grace = grace
        self._max_stale = max_stale
        self._eager = eager
        self._clock = clock
        self._expires = clock() if keys is not None else float("-inf")
        self._retry_at = float("-inf")
        self._failures, self._reason = 0, ""
        self._flight: asyncio.Task[None] | None = None
        self._begun = self._succeeded = 0  # the numbers of the last fetch, and of the last one that gave keys
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._turns = _Turns(UNKNOWN_KID_BURST, unknown_interval, clock)
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")  # when the last fetch began that a token caused and that gave keys
        self._waiting = 0
        self._withdrawn: tuple[Key, ...] = ()

    def start(self) -> None:
        if self._eager and self._keys is None:
            self._start()

    def fresh(self) -> bool:
        return self._clock() < self._expires

    @property
    def remaining(self) -> float | None:
        """Seconds for which the keys may be used if no fetch succeeds, 0 if there are none; None if that is for ever.
        May be asked in any thread."""
        if self._max_stale == float("inf"):
            return None
        return 0.0 if self._keys is None else max(self._expires + self._max_stale - self._clock(), 0.0)

    async def find(self, kid: str, algorithm: str) -> Sequence[Key]:
        came, mark = self._clock(), self._begun
        await self.renew()
        if self._keys is None:
            raise self.unavailable()
        while not (keys := self._keys.find(kid, algorithm) if self._keys is not None else ()):
            if self._knows(came, mark):
                break
            if not await self._newer(came, mark):
                raise self.unavailable()
        return keys

    def withdrawn(self, kid: str, algorithm: str) -> Sequence[Key]:
        return [key for key in self._withdrawn if key.kid == kid and algorithm in key.algorithms]

    def check_withdrawal(self) -> None:
        if self._flight is None and self._asking is None and self._turns.are_full() and not self._failures:
            self._ask()

    async def recheck(self) -> bool:
        version = self.version
        await self._newer(self._clock(), self._begun)
        return self.version != version

    async def renew(self) -> None:
        now = self._clock()
        if now < self._expires:
            return
        if self._keys is not None and now >= self._expires + self._max_stale:
            self._keys = None
            self.version += 1
            log.error("the keys of %s are too old (max_stale); its tokens get 503 until it answers", self._name)
        if self._keys is None:
            if now >= self._retry_at or self._flight is not None:
                await self._refresh(CALL_WAIT)
        elif self._failures or now < self._expires + self._grace:
            if now >= self._retry_at:
                self._start()
        else:
            await self._refresh(CALL_WAIT / 2)

    async def probe(self) -> str:
        """Fetch them once and keep nothing: why they can't be had, for the operator; ``""`` if they can."""
        try:
            await self._fetch()
        except BadKey as error:
            return str(error)
        return ""

    def unavailable(self) -> IssuerUnavailable:
        """The error of a call that can't be judged without an answer of the issuer."""
        cause = f"no keys of {self._name}" + (f": {self._reason}" if self._reason else "")
        return unavailable(cause, self._retry_at - self._clock())

    async def aclose(self) -> None:
        self._closed = True
        self._failures, self._retry_at = self._failures + 1, self._clock() + RETRY  # for those who wait
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in (self._asking, self._flight) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- fetches ---------------------------------------------------------------------------------------------------

    def _start(self) -> asyncio.Task[None]:
        if self._flight is None or self._flight.done():
            self._begun += 1
            self._flight = asyncio.get_running_loop().create_task(self._run(self._begun), name=f"keys of {self._name}")
        return self._flight

    async def _refresh(self, limit: float) -> None:
        # A cancelled caller must not end the fetch that others wait for, and `aclose` ends the fetch and no caller.
        await _ended(self._start(), limit)

    async def _run(self, number: int) -> None:
        try:
            keys, age = await self._fetch()
        except BadKey as error:
            self._failed(str(error))
        except Exception:  # a defect here must not end the refreshes
            log.exception("the keys of %s can't be fetched", self._name)
            self._failed("the fetch failed in an unexpected way")
        else:
            if self._keys is not None and keys.fingerprint != self._keys.fingerprint:
                log.info("%s has changed its keys", self._name)
                self.version += 1
                known = (*self._keys.keys, *self._withdrawn)
                current = {key.fingerprint for key in keys.keys}
                self._withdrawn = tuple(key for key in known if key.fingerprint not in current)[:MAX_WITHDRAWN]
            if self._failures:
                log.info("%s answers again", self._name)
            now = self._clock()
            self._keys, self._failures, self._reason, self._succeeded = keys, 0, "", number
            self._expires = now + age
            self._again_at(self._expires - min(age * EARLY, EARLIEST))
        finally:
            self._flight = None

    def _failed(self, reason: str) -> None:
        if reason != self._reason:
            rest = "old ones are used" if self._keys else "its tokens get 503 until it answers"
            log.warning("the keys of %s can't be fetched; %s: %s", self._name, rest, reason)
        wait = min((RETRY if self._keys is None else RETRY_STALE) * 2**self._failures, MAX_RETRY)
        self._failures, self._reason = min(self._failures + 1, 10), reason
        self._retry_at = self._clock() + wait
        self._again_at(self._retry_at)

    def _again_at(self, when: float) -> None:
        """Fetch them at `when` by the clock."""
        if self._timer is not None:
            self._timer.cancel()
        if self._eager and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(when - self._clock(), 0.0), self._due, when)

    def _due(self, when: float) -> None:
        if self._clock() >= when:
            self._start()
        else:
            self._again_at(when)

    # --- fetches that tokens cause ---------------------------------------------------------------------------------

    def _knows(self, came: float, mark: int) -> bool:
        """Whether the keys are those that the issuer had at `came` or later; `mark` is the number of the last fetch
        that had begun by then."""
        return self._succeeded > mark or self._asked_at >= came

    async def _newer(self, came: float, mark: int) -> bool:
        """Wait for keys as of `came`, or for others than there are. False if they can't be had in time."""
        if self._knows(came, mark):
            return True
        if (self._failures and self._clock() < self._retry_at) or self._waiting >= MAX_WAITING:
            return False
        version, failures = self.version, self._failures
        self._waiting += 1
        try:
            async with asyncio.timeout(CALL_WAIT):
                while not (self._knows(came, mark) or self.version != version):
                    await _ended(self._flight or self._ask(), None)
                    if self._failures > failures or self._closed:
                        return False
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None:
            name = f"keys of {self._name} for a token"
            self._asking = asyncio.get_running_loop().create_task(self._ask_in_turn(), name=name)
        return self._asking

    async def _ask_in_turn(self) -> None:
        try:
            await self._fetch_in_turn()
        finally:
            self._asking = None

    async def _fetch_in_turn(self) -> None:
        wait = self._turns.take()
        if wait > 0:
            await asyncio.sleep(wait)
        if self._flight is not None:  # it began before who waits came
            await asyncio.wait([self._flight])
        began, number = self._clock(), self._begun + 1
        await _ended(self._start(), None)
        if self._succeeded >= number:
            self._asked_at = began


class _Turns:
    """A token bucket: `burst` turns at once, then one in `interval` seconds."""

    def __init__(self, burst: int, interval: float, clock: Callable[[], float]) -> None:
        self._burst, self._interval, self._clock = burst, interval, clock
        self._left, self._at = float(burst), clock()

    def take(self) -> float:
        """Seconds until the turn that is taken."""
        self._fill()
        self._left -= 1
        return max(-self._left, 0.0) * self._interval

    def are_full(self) -> bool:
        """Whether no turn was taken lately."""
        self._fill()
        return self._left >= self._burst

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._left + (now - self._at) / self._interval, self._burst)
        self._at = now


async def _ended(task: asyncio.Task[None], limit: float | None) -> None:
    """Wait for `task` to end, `limit` seconds at most. It is not cancelled with whoever waits."""
    done, _ = await asyncio.wait([task], timeout=limit)
    if done and not task.cancelled():
        task.result()


# --- from a file -----------------------------------------------------------------------------------------------------


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
    """The keys in a file, read again when its time or size changes; checked at most once a second, and a
    hundred times for tokens that no key fits.

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

    return CachedKeys(name, fetch, keys, grace=0.0, unknown_interval=0.01, eager=False, clock=clock)
