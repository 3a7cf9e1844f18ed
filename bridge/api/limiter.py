"""How often a caller may call: the interface of a route's ``rate_limit``."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

from bridge.api.call import Call, Identity


class Verdict:
    """Whether a call is allowed. Times are in seconds from now.

    :ivar allowed: the call may proceed.
    :ivar limit: calls that fit in `window` seconds.
    :ivar remaining: calls that may still follow immediately.
    :ivar reset_after: until the whole limit is available again; for a refused call, until one more is allowed.
    :ivar retry_after: until one more call is allowed; 0 if this one is allowed.
    :ivar window: the period of `limit`.
    """

    __slots__ = ("allowed", "limit", "remaining", "reset_after", "retry_after", "window")

    def __init__(
        self, allowed: bool, limit: int, remaining: int, reset_after: float, retry_after: float, window: float
    ) -> None:
        self.allowed = allowed
        self.limit = limit
        self.remaining = remaining
        self.reset_after = reset_after
        self.retry_after = retry_after
        self.window = window

    def headers(self) -> list[tuple[str, str]]:
        """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4), the
        ``X-RateLimit-*`` that most clients know (reset in seconds from now), and ``Retry-After`` on a refusal."""
        policy, limit = _policy(self.limit, self.window)
        remaining, reset = f"{self.remaining}", f"{math.ceil(self.reset_after)}"
        fields = [
            policy,
            ("ratelimit", f'"default";r={remaining};t={reset}'),
            limit,
            ("x-ratelimit-remaining", remaining),
            ("x-ratelimit-reset", reset),
        ]
        if not self.allowed:
            fields.append(("retry-after", str(max(1, math.ceil(self.retry_after)))))
        return fields


@lru_cache(maxsize=1024)
def _policy(limit: int, window: float) -> tuple[tuple[str, str], tuple[str, str]]:
    """The fields that depend on the limit alone."""
    policy = ("ratelimit-policy", f'"default";q={limit};w={math.ceil(window)}')
    return policy, ("x-ratelimit-limit", str(limit))


class Limiter(Protocol):
    """Counts the calls of a route, in any store."""

    def take_now(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict | None:
        """Count one call if that needs no waiting; else None: nothing is counted, and `take` must be awaited."""
        ...

    async def take(self, identity: Identity, call: Call, route_tenant: str | None) -> Verdict:
        """Count one call."""
        ...
