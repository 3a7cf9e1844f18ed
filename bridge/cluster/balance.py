"""The mesh: a source's answers, cached for their TTL, with another address first for each call."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from math import gcd

from bridge.api.capabilities import capability
from bridge.api.spec.upstream import Upstream
from bridge.api.transport import Address
from bridge.cluster.outlier import OutlierDetector
from bridge.cluster.sources.source import Listing, LookupResult, MeshSource
from bridge.errors import Unavailable, UnknownUpstream

STALE = 300.0  #: seconds for which an answer is used beyond its TTL while the source is unavailable
RETRY = 1.0  #: seconds between lookups at an unavailable source
FRESH_TIMEOUT = 0.25  #: seconds that a caller waits for a fresh answer if there is an old one

NOBODY = "No service answers to this route's upstream name."

_log = logging.getLogger("bridge.mesh")


def unavailable(cause: str) -> UnknownUpstream:
    """`cause` may contain addresses: it is for the log, and never sent to a client."""
    return UnknownUpstream(NOBODY, cause=cause, headers=[("retry-after", "1")])


class Mesh:
    """Addresses by name and port: cached until their TTL, with shared lookups, balanced.

    :param clock: seconds, monotonic.
    """

    def __init__(self, source: MeshSource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._entries: dict[tuple[str, str], _Entry] = {}

    async def addresses(self, name: str, port: str) -> Sequence[Address]:
        """Live addresses in order of preference; each call puts another one first.

        :raises bridge.errors.Unavailable: the name has no addresses, or its source is unavailable.
        """
        key = (name, port)
        entry = self._entry(key)
        now = self._clock()
        if now >= entry.expires:
            await self._freshen(key, entry, now)
        if not entry.result.addresses:
            raise unavailable(entry.result.cause or f"{name}:{port} has no addresses")
        return entry.ordered(now)

    def known(self, name: str, port: str) -> Sequence[Address] | None:
        """The same without waiting; None if a lookup is needed, or the name has no addresses."""
        entry = self._entries.get((name, port))
        now = self._clock()
        return None if entry is None or now >= entry.expires else entry.ordered(now) or None

    async def warnings(self, upstream: Upstream) -> list[str]:
        """What a route to `upstream` should know: that the mesh can't have an address of it, without a lookup."""
        listing = capability(self._source, Listing)
        cause = await listing.unlisted(upstream.name, upstream.port) if listing is not None else ""
        return [f"{cause}, so calls get 503 until it does"] if cause else []

    def outliers(self, name: str, port: str) -> OutlierDetector:
        """The detector of the name, shared by all routes to it; it gets the reports on its instances."""
        return self._entry((name, port)).outliers

    async def refresh(self) -> None:
        """Look up every name in use now, whatever its TTL. A lookup that fails changes nothing."""
        for key, entry in list(self._entries.items()):
            entry.expires = float("-inf")
            await self._freshen(key, entry, self._clock())

    def ejections(self) -> Iterator[tuple[str, int, int]]:
        """For each ``name:port`` in use: the number of ejections, and of instances that are ejected now."""
        for (name, port), entry in self._entries.items():
            yield f"{name}:{port}", entry.outliers.ejections, entry.outliers.ejected

    async def aclose(self) -> None:
        """Stop lookups and close the source."""
        tasks = [entry.lookup for entry in self._entries.values() if entry.lookup is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._source.aclose()

    def _entry(self, key: tuple[str, str]) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(OutlierDetector(f"{key[0]}:{key[1]}", self._clock))
        return entry

    async def _freshen(self, key: tuple[str, str], entry: _Entry, now: float) -> None:
        if entry.lookup is None:
            entry.lookup = asyncio.create_task(self._ask(key, entry), name=f"mesh {key[0]}:{key[1]}")
        task = entry.lookup
        stale = bool(entry.result.addresses) and now < entry.stale_until
        # wait(), unlike wait_for(), does not cancel the shared lookup when a waiting caller is cancelled.
        await asyncio.wait((task,), timeout=FRESH_TIMEOUT if stale else None)
        if task.cancelled():
            raise unavailable("the mesh is closed")
        if task.done():
            task.result()  # raises unexpected exceptions of the source

    async def _ask(self, key: tuple[str, str], entry: _Entry) -> None:
        try:
            result = await self._source.lookup(*key)
        except Unavailable as error:
            now = self._clock()
            entry.expires = now + RETRY
            if now >= entry.stale_until:
                entry.take(LookupResult((), RETRY, cause=error.cause))
            elif not entry.failure_logged:
                _log.warning("%s:%s can't be looked up, its last addresses stay in use: %s", *key, error.cause)
            entry.failure_logged = True
        else:
            now = self._clock()
            entry.expires = now + result.ttl
            entry.stale_until = entry.expires + STALE if result.addresses else now
            entry.failure_logged = False
            entry.take(result)
        finally:
            entry.lookup = None


class _Entry:
    """One name and port: the source's answer, when it expires, and which address is next."""

    __slots__ = (
        "expires",
        "failure_logged",
        "lookup",
        "order",
        "ordered_epoch",
        "outliers",
        "rest",
        "result",
        "review",
        "schedule",
        "stale_until",
        "turn",
    )  # fmt: skip

    def __init__(self, outliers: OutlierDetector) -> None:
        self.outliers = outliers
        self.result = LookupResult((), 0)
        self.expires = self.stale_until = float("-inf")
        self.lookup: asyncio.Task[None] | None = None
        self.failure_logged = False
        self.ordered_epoch = -1  # the detector's epoch at which `order` and `rest` were computed
        self.review = float("inf")  # when they have to be computed again
        self.order: tuple[Address, ...] = ()  # addresses that are used in turn
        self.rest: tuple[Address, ...] = ()  # further addresses: lower priorities, then the ejected
        self.schedule: Sequence[int] = ()
        # Gateways that start together must not use the addresses in the same order.
        self.turn = secrets.randbelow(1 << 16)

    def take(self, result: LookupResult) -> None:
        self.result = result
        self.outliers.retain(result.addresses)
        self.ordered_epoch = -1

    def ordered(self, now: float) -> tuple[Address, ...]:
        if now >= self.review or self.ordered_epoch != self.outliers.epoch:
            probe = self._probe(now)
            self._arrange(now)
            if probe is not None:
                return (probe, *(address for address in self.order + self.rest if address != probe))
        if len(self.schedule) < 2:
            return self.order + self.rest
        self.turn += 1
        first = self.schedule[self.turn % len(self.schedule)]
        return self.order[first:] + self.order[:first] + self.rest

    def _by_rank(self) -> list[tuple[tuple[int, int], Address]]:
        ranks = self.result.ranks or ((0, 0),) * len(self.result.addresses)
        return sorted(zip(ranks, self.result.addresses, strict=True), key=lambda pair: pair[0][0])

    def _probe(self, now: float) -> Address | None:
        """An instance whose ejection is over, for this call to probe. One of an unused priority is readmitted without a
        probe."""
        outliers, candidates = self.outliers, self.outliers.due(now)
        if not candidates:
            return None
        ranks = {address: priority for (priority, _), address in self._by_rank()}
        lowest = min((rank for address, rank in ranks.items() if outliers.in_service(address)), default=None)
        for address in candidates:
            if lowest is None or ranks[address] <= lowest:
                outliers.probe(address)
                return address
            outliers.readmit(address)
        return None

    def _arrange(self, now: float) -> None:
        outliers, ranked = self.outliers, self._by_rank()
        well = [pair for pair in ranked if outliers.in_service(pair[1])]
        ejected = [pair[1] for pair in ranked if not outliers.in_service(pair[1])]
        if not well:  # all are used as if none were ejected
            well, ejected = ranked, []
        first = [pair for pair in well if pair[0][0] == well[0][0][0]]
        self.order = tuple(address for _, address in first)
        # The ejected come last, in case none of the others accepts a connection.
        self.rest = (*(address for _, address in well[len(first) :]), *sorted(ejected, key=outliers.out_until))
        weights = [weight for (_, weight), _ in first]
        shares = [outliers.share(address, now) for address in self.order]
        if set(shares) - {1.0}:
            weights = [100 * weight if any(weights) else 100 for weight in weights]
            weights = [round(weight * share) for weight, share in zip(weights, shares, strict=True)]
        self.schedule = turns(weights)
        self.ordered_epoch, self.review = outliers.epoch, outliers.next_change(now)


def turns(weights: Sequence[int]) -> Sequence[int]:
    """Indices of `weights` in the order of their turns, each as often as its share, spread evenly.

    Smooth weighted round robin. Shares are parts of about a hundred; a weight of 0 among others gets "a very small
    chance" (RFC 2782), here one turn.
    """
    if len(set(weights)) < 2:
        return range(len(weights))
    total = sum(weights)
    shares = [max(1, round(100 * weight / total)) for weight in weights]
    common = gcd(*shares)
    shares = [share // common for share in shares]
    credit, order = [0] * len(shares), []
    for _ in range(sum(shares)):
        credit = [have + share for have, share in zip(credit, shares, strict=True)]
        best = credit.index(max(credit))
        credit[best] -= sum(shares)
        order.append(best)
    return order
