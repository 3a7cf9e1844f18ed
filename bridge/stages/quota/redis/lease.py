"""What a gateway knows of one caller's count in Redis: tokens that it may spend without asking, and refusals."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from bridge.api.limiter import Policy, Verdict

LIFE = 0.2  #: seconds for which a gateway may keep tokens, or believe a refusal
AHEAD = 0.1  #: seconds of demand that a lease is for
MAX_CALLERS = 100_000  #: of one limit, whose leases are remembered
_SPAN = 0.5  #: seconds over which demand is measured
_PAUSE = 0.01  #: seconds; where a caller wants more than there is, tokens gather for so long before they are asked for


class Lease:
    """One caller's count.

    :ivar tokens: that may be spent until `until`; they are taken in Redis already.
    :ivar period: the beginning of the quota's period that they are of.
    :ivar denied_until: until then, calls that cost `denied_cost` or more are refused without asking.
    :ivar remaining, reset_at, free_at: as Redis said last. Times are the loop's own clock.
    :ivar asking: requests to Redis that are under way for it.
    """

    __slots__ = (
        "asking", "demand", "denied_cost", "denied_until", "free_at", "key", "low", "period", "remaining", "reset_at",
        "since", "tokens", "until",
    )  # fmt: skip

    def __init__(self, key: bytes, now: float) -> None:
        self.key = key
        self.tokens = self.low = 0
        self.until = self.denied_until = 0.0
        self.denied_cost = 1
        self.period = 0
        self.remaining = 0
        self.reset_at = self.free_at = now
        self.demand, self.since = 0.0, now
        self.asking = 0

    def want(self, now: float, cost: int, most: int) -> int:
        """Tokens to ask for beyond `cost`: for `AHEAD` seconds at the rate that was seen here. So whoever calls seldom
        has none set aside."""
        elapsed, demand = now - self.since, self.demand - cost
        wanted = int(demand * AHEAD / elapsed) if elapsed > AHEAD else int(demand)
        if elapsed > _SPAN:
            self.demand, self.since = self.demand * AHEAD / elapsed, now - AHEAD
        return min(wanted, most)

    def unused(self, now: float) -> int:
        """Tokens that are to be returned, since their time is over."""
        if now < self.until:
            return 0
        back, self.tokens = self.tokens, 0
        return back


class SharedCount:
    """One limit in Redis, for callers from outside or for internal ones.

    :param arguments: the script's: kind, a, b (`bridge.stages.quota.redis.script`).
    :param id: begins the keys. :param limit, window: as its clients see it.
    :param leases: how many tokens a lease may have; 0: each call is asked for.
    :param pause: seconds for which a refusal holds at least.
    """

    def __init__(
        self,
        id: bytes,
        policy: Policy,
        arguments: tuple[bytes, bytes, bytes],
        limit: int,
        window: float,
        most: int = 0,
        pause: float = 0.0,
    ) -> None:
        self.id, self.policy = id, policy
        self.is_open = policy.is_open
        self.script_kind, self.a, self.b = arguments
        self.limit, self.window, self.most, self.pause = limit, window, most, min(pause, _PAUSE)
        policy.describe(limit, window)
        self.leases: OrderedDict[str, Lease] = OrderedDict()

    def lease(self, caller: str, now: float) -> Lease:
        lease = self.leases.get(caller)
        if lease is None:
            digest = blake2b(caller.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
            lease = self.leases[caller] = Lease(b"%s:%s" % (self.id, digest.encode()), now)
            if len(self.leases) > MAX_CALLERS:
                self.leases.popitem(last=False)
        else:
            self.leases.move_to_end(caller)
        return lease

    def forget(self, now: float) -> None:
        """Forget callers that have not called for a while, a few at a time."""
        leases = self.leases
        for _ in range(2000):
            caller = next(iter(leases), None)
            if caller is None:
                return
            lease = leases[caller]
            if lease.tokens or lease.asking or now < lease.denied_until or now - max(lease.since, lease.until) < 10.0:
                return
            del leases[caller]

    def allowed(self, lease: Lease, now: float) -> Verdict:
        reset = lease.reset_at - now
        remaining = lease.remaining
        return Verdict(
            True,
            self.limit,
            remaining if remaining > 0 else 0,
            reset if reset > 0.0 else 0.0,
            0.0,
            self.window,
            self.policy,
        )

    def refused(self, lease: Lease, now: float) -> Verdict:
        wait = max(0.0, lease.free_at - now)
        return Verdict(False, self.limit, lease.remaining, wait, wait, self.window, self.policy)
