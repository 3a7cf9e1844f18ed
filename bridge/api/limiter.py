"""How often a caller may call: the interface of a route's ``rate_limit`` and ``limits``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Literal, Protocol

from bridge.api.call import Call, Identity

Kind = Literal["rate", "quota", "concurrency"]
Fields = list[tuple[str, str]]


class Policy:
    """One limit as its clients see it, with what header fields say of it alone.

    :ivar item: of ``RateLimit-Policy``. :ivar state: begins that of ``RateLimit``.
    """

    __slots__ = ("is_open", "item", "kind", "limit_field", "name", "policy_field", "state")

    def __init__(self, name: str, kind: Kind, limit: int = 0, window: float = 0.0) -> None:
        self.name, self.kind = name, kind
        self.is_open = kind == "concurrency"
        self.state = f'"{name}";r='
        self.item = ""
        self.policy_field = self.limit_field = ("", "")
        self.describe(limit, window)

    def describe(self, limit: int, window: float) -> None:
        """From now on it is of `limit` calls in `window` seconds (at once, of a concurrency)."""
        # draft-ietf-httpapi-ratelimit-headers-11, section 3.1: q, qu and w.
        rest = 'qu="concurrent-requests"' if self.is_open else f"w={ceil(window)}"
        self.item = f'"{self.name}";q={limit};{rest}'
        self.policy_field = ("ratelimit-policy", self.item)
        self.limit_field = ("x-ratelimit-limit", str(limit))


DEFAULT = Policy("default", "rate")  #: of limiters that are given none


class Verdict:
    """Whether a call is allowed. Times are in seconds from now.

    :ivar allowed: the call may proceed.
    :ivar limit: calls that fit in `window` seconds.
    :ivar remaining: calls that may still follow immediately.
    :ivar reset_after: until the whole limit is available again; for a refused call, until one more is allowed.
    :ivar retry_after: until one more call is allowed; 0 if this one is allowed.
    :ivar window: the period of `limit`; 0 for one of calls that are under way.
    :ivar policy: the limit.
    :ivar release: to be called when the call is over; None: nothing waits for that.
    """

    __slots__ = ("allowed", "limit", "policy", "release", "remaining", "reset_after", "retry_after", "window")

    def __init__(
        self,
        allowed: bool,
        limit: int,
        remaining: int,
        reset_after: float,
        retry_after: float,
        window: float,
        policy: Policy = DEFAULT,
    ) -> None:
        self.allowed = allowed
        self.limit = limit
        self.remaining = remaining
        self.reset_after = reset_after
        self.retry_after = retry_after
        self.window = window
        self.policy = policy
        self.release: Callable[[], None] | None = None

    def headers(self) -> Fields:
        """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4), the
        ``X-RateLimit-*`` that most clients know (reset in seconds from now), and ``Retry-After`` on a refusal."""
        policy = self.policy
        remaining, reset = f"{self.remaining}", f"{ceil(self.reset_after)}"
        fields = [
            policy.policy_field,
            ("ratelimit", f"{policy.state}{remaining};t={reset}"),
            policy.limit_field,
            ("x-ratelimit-remaining", remaining),
            ("x-ratelimit-reset", reset),
        ]
        if not self.allowed:
            fields.append(("retry-after", str(max(1, ceil(self.retry_after)))))
        return fields


class Verdicts(Verdict):
    """The verdict of several limits. Its own figures are those of the one that leaves the fewest calls; where some
    refuse, of the one that refuses for longest.

    :ivar parts: of each limit, in the order of the spec.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Verdict], release: Callable[[], None] | None = None) -> None:
        tightest = parts[0]
        for part in parts:
            if part.allowed:
                tighter = tightest.allowed and part.remaining < tightest.remaining
            else:
                tighter = tightest.allowed or part.retry_after > tightest.retry_after
            if tighter:
                tightest = part
        self.allowed = tightest.allowed
        self.limit, self.remaining, self.window = tightest.limit, tightest.remaining, tightest.window
        self.reset_after, self.retry_after = tightest.reset_after, tightest.retry_after
        self.policy = tightest.policy
        self.parts, self.release = parts, release

    def headers(self) -> Fields:
        """As of one limit, with an item for each policy; a refusal's ``RateLimit`` has only those that refuse."""
        states, allowed = [], self.allowed
        for part in self.parts:
            if part.allowed is allowed:
                policy = part.policy
                # Nobody knows when a call that is under way will end.
                time = "" if policy.is_open else f";t={ceil(part.reset_after)}"
                states.append(f"{policy.state}{part.remaining}{time}")
        fields = [
            ("ratelimit-policy", ", ".join([part.policy.item for part in self.parts])),
            ("ratelimit", ", ".join(states)),
            self.policy.limit_field,
            ("x-ratelimit-remaining", f"{self.remaining}"),
            ("x-ratelimit-reset", f"{ceil(self.reset_after)}"),
        ]
        if not allowed:
            fields.append(("retry-after", str(max(1, ceil(self.retry_after)))))
        return fields


class Unlimited(Verdict):
    """No limit applies to the call, or none is known: the response says nothing of limits."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(True, 0, 0, 0.0, 0.0, 0.0)

    def headers(self) -> Fields:
        return []


UNLIMITED = Unlimited()


class Limiter(Protocol):
    """Counts the calls of a route, in any store."""

    def for_operation(self, name: str) -> Limiter:
        """The same counts, as a call of the operation `name` takes of them."""
        ...

    def take_now(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict | None:
        """Count one call if that needs no waiting; else None: nothing is counted, and `take` must be awaited.

        :raises bridge.errors.LimitsUnavailable: calls can't be counted, and are then refused.
        """
        ...

    async def take(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        """Count one call.

        :raises bridge.errors.LimitsUnavailable: as `take_now`.
        """
        ...
