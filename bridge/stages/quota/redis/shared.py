"""What one gateway has in Redis: leases, calls under way, and its sign that it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any
from weakref import WeakSet

from bridge.api.call import CallerLimit
from bridge.errors import LimitsUnavailable
from bridge.stages.quota.redis.address import RedisAddress
from bridge.stages.quota.redis.client import RedisClient
from bridge.stages.quota.redis.connection import RedisAway
from bridge.stages.quota.redis.lease import LIFE, Lease, SharedCount
from bridge.stages.quota.redis.script import FIGURES, TAG
from bridge.stages.quota.store import MemoryLimits

ALIVE = 15  #: seconds after its last sign that a gateway, and its calls under way, no longer count
SIGN = 5.0  #: seconds between two signs
CHUNK = 100  #: keys of one request that returns tokens or tells of calls under way
MAX_OWN = 10_000  #: different limits of callers that are counted at one time

#: What a call takes: of which count, whose, and how much.
Demand = tuple[SharedCount, Lease, int]
#: For each demand, the script's figures.
Answer = Sequence[Sequence[int]]


class SharedCounts:
    """:param make_own: the count of a caller's own limit.
    :ivar local: calls that were decided without asking. :ivar uncounted: those that were without Redis.
    :ivar gateways: how many were alive lately.
    """

    def __init__(self, address: RedisAddress, make_own: Callable[[CallerLimit], SharedCount]) -> None:
        self.address = address
        self.client = RedisClient(address, self._changed)
        self.local = self.uncounted = 0
        self.gateways = 1
        self._make_own = make_own
        self._own: dict[CallerLimit, SharedCount] = {}
        self._gateway = secrets.token_hex(8).encode()
        self._counts: WeakSet[SharedCount] = WeakSet()
        self._holding: dict[Lease, SharedCount] = {}
        #: Calls under way here, and requests to Redis that may add to them, by key.
        self._open: dict[bytes, int] = {}
        self._asking: Counter[bytes] = Counter()
        self._memory: MemoryLimits | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.client.start()
        self._tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._sign())]

    async def aclose(self) -> None:
        """Give back what is not used, so that others have it at once."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self.client.up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.address.timeout):
                    await self._settled()  # what is asked for may still give a lease
                    self._return_leases(None)
                    await self._settled()
        await self.client.aclose()

    async def _settled(self) -> None:
        """All that was asked before has its answer, or Redis is away."""
        settled = asyncio.Event()
        self.client.run(lambda _: settled.set(), [], [])
        await settled.wait()

    def added(self, count: SharedCount) -> SharedCount:
        """`count`, whose callers are forgotten in time."""
        self._counts.add(count)
        return count

    def own(self, limit: CallerLimit) -> SharedCount:
        """The count of a caller's own limit, over all routes."""
        count = self._own.get(limit)
        if count is None:
            if len(self._own) >= MAX_OWN:
                del self._own[next(iter(self._own))]
            count = self._own[limit] = self.added(self._make_own(limit))
        return count

    def without_redis(self) -> MemoryLimits | None:
        """Where calls are counted while Redis is away; None: they are not.

        :raises LimitsUnavailable: none is taken.
        """
        self.uncounted += 1
        if self.address.on_failure == "closed":
            raise LimitsUnavailable
        if self.address.on_failure == "open":
            return None
        if self._memory is None:
            self._memory = MemoryLimits(share=self.address.share or 1.0 / max(1, self.gateways))
        return self._memory

    def ask(self, demands: Sequence[Demand], done: Callable[[Answer | RedisAway], None]) -> None:
        """Take all of `demands` in Redis or none, return what leases have not used, and lease more where that helps."""
        now = asyncio.get_running_loop().time()
        keys, arguments = [], []
        for count, lease, cost in demands:
            want = lease.want(now, cost, count.most) if count.most else 0
            keys.append(lease.key)
            arguments += self._arguments(count, lease, cost, want, lease.unused(now))
            lease.asking += 1
            if count.is_open:
                self._asking[lease.key] += 1

        def answered(reply: Any) -> None:
            for count, lease, _ in demands:
                lease.asking -= 1
                if count.is_open:
                    self._asking[lease.key] -= 1
                    if not self._asking[lease.key]:
                        del self._asking[lease.key]
            if isinstance(reply, RedisAway):
                self._untold([lease.key for count, lease, _ in demands if count.is_open], reply)
                done(reply)
                return
            answer = [reply[at : at + FIGURES] for at in range(0, len(reply), FIGURES)]
            taken = all(figures[0] for figures in answer)
            for demand, figures in zip(demands, answer, strict=True):
                self._learn(demand, figures, taken=taken)
            done(answer)

        self.client.run(answered, keys, arguments)

    def refill(self, count: SharedCount, lease: Lease) -> None:
        """Lease more before the last tokens are spent, so that no call waits for it."""
        if count.most:
            self.ask([(count, lease, 0)], _ignore)

    def give_back(self, demands: Sequence[Demand]) -> None:
        """What was taken for a call that is not made."""
        now = asyncio.get_running_loop().time()
        for count, lease, cost in demands:
            if count.is_open:
                self.release([lease])
            elif count.most:
                lease.tokens, lease.until = lease.tokens + cost, now + LIFE
                self.hold(count, lease)

    def hold(self, count: SharedCount, lease: Lease) -> None:
        """What `lease` has is returned when its time is over."""
        if lease.tokens:
            self._holding[lease] = count

    def release(self, leases: Sequence[Lease]) -> None:
        """A call is over that was under way."""
        keys, arguments = [], []
        for lease in leases:
            left = self._open.get(lease.key, 0) - 1
            if left > 0:
                self._open[lease.key] = left
            else:
                self._open.pop(lease.key, None)
            keys.append(lease.key)
            arguments += [b"open", b"-1", b"0", b"0", b"0", self._gateway, b"%d" % ALIVE]
        self.client.run(partial(self._untold, keys), keys, arguments)

    def _untold(self, keys: Sequence[bytes], reply: Any) -> None:
        """Without an answer, Redis may count calls under `keys` that are over: it is told at the next time, even that
        there are none."""
        if isinstance(reply, RedisAway):
            for key in keys:
                self._open.setdefault(key, 0)

    def _learn(self, demand: Demand, figures: Sequence[int], *, taken: bool) -> None:
        count, lease, cost = demand
        fits, extra, remaining, reset, wait, period = figures
        now = asyncio.get_running_loop().time()
        if extra:
            if period != lease.period:
                lease.tokens, lease.period = 0, period
            lease.tokens += extra
            lease.low, lease.until = extra // 4, now + LIFE
            self._holding[lease] = count
        lease.remaining = remaining + lease.tokens
        lease.reset_at = now + reset / 1e6
        if count.is_open:
            lease.free_at = now + wait / 1e6
            if taken and cost > 0:
                self._open[lease.key] = self._open.get(lease.key, 0) + cost
        elif not fits:
            lease.free_at, lease.denied_cost = now + wait / 1e6, cost
            lease.denied_until = max(min(lease.free_at, now + LIFE), now + count.pause)

    def _arguments(self, count: SharedCount, lease: Lease, cost: int, want: int, back: int) -> list[bytes]:
        if count.is_open:
            return [b"open", b"%d" % cost, b"0", b"0", count.a, self._gateway, b"%d" % ALIVE]
        return [
            count.script_kind, b"%d" % cost, b"%d" % want, b"%d" % back, count.a, count.b, b"%d" % lease.period,
        ]  # fmt: skip

    def _changed(self, up: bool) -> None:
        # What Redis said before it went is not known to be true any more.
        self._memory = None
        self._holding.clear()
        for count in self._counts:
            count.leases.clear()
        if up:
            self._tell()

    async def _sweep(self) -> None:
        """Return the tokens of leases whose time is over."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LIFE / 2)
            now = loop.time()
            self._return_leases(now)

    def _return_leases(self, now: float | None) -> None:
        """:param now: those whose time is over; None: all."""
        over = [(lease, count) for lease, count in self._holding.items() if now is None or now >= lease.until]
        for chunk in _chunks(over):
            keys, arguments = [], []
            for lease, count in chunk:
                del self._holding[lease]
                back, lease.tokens = lease.tokens, 0
                if back:
                    keys.append(lease.key)
                    arguments += self._arguments(count, lease, 0, 0, back)
            if keys:
                self.client.run(_ignore, keys, arguments)

    async def _sign(self) -> None:
        """Tell Redis now and then, and forget callers that have not called for a while."""
        while True:
            await asyncio.sleep(SIGN)
            now = asyncio.get_running_loop().time()
            for count in list(self._counts):
                count.forget(now)
            if self.client.up:
                self._tell()

    def _tell(self) -> None:
        """That this gateway is alive, and how many calls are under way, as Redis may have lost some."""
        gateways = f"{self.address.prefix}:{TAG}:gateways".encode()

        def counted(reply: Any) -> None:
            if not isinstance(reply, RedisAway):
                self.gateways = max(1, reply[FIGURES - 1])

        self.client.run(counted, [gateways], [b"alive", b"0", b"0", b"0", b"", self._gateway, b"%d" % ALIVE])
        for chunk in _chunks(list(self._open.items())):
            keys, arguments = [], []
            for key, calls in chunk:
                back = 0 if key in self._asking else calls + 1
                if back == 1:
                    del self._open[key]
                keys.append(key)
                arguments += [b"open", b"0", b"0", b"%d" % back, b"0", self._gateway, b"%d" % ALIVE]
            self.client.run(partial(self._untold, keys), keys, arguments)


def _ignore(_: Any) -> None: ...


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
