"""Retries by gRPC's rules (gRFC A6): what a policy lists, before anything was answered, within the deadline."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable

from bridge.api.call import GrpcReply, Retry
from bridge.transport.attempt import Ended, Metadata

MAX_TOKENS = 10.0  #: of the throttle; half of them spent, nothing is sent again
TOKEN_RATIO = 0.1  #: of a token that a success gives back
JITTER = 0.2  #: of a delay, either way

_PUSHBACK = "grpc-retry-pushback-ms"
_MILLISECONDS = re.compile(r"[0-9]{1,9}")


class Throttle:
    """One server's tokens (A6, "Throttling Retry Attempts"): a failure takes one, so a server that is down is not asked
    several times over by everybody."""

    def __init__(self) -> None:
        self._tokens = MAX_TOKENS

    def failed(self) -> None:
        self._tokens = max(0.0, self._tokens - 1)

    def succeeded(self) -> None:
        self._tokens = min(MAX_TOKENS, self._tokens + TOKEN_RATIO)

    @property
    def open(self) -> bool:
        return self._tokens > MAX_TOKENS / 2


async def attempts(
    policy: Retry, throttle: Throttle, deadline: float, once: Callable[[int], Awaitable[Ended]]
) -> GrpcReply:
    """Call `once` with the number of attempts before, until it ends in what is not to be tried again.

    :param deadline: in the running loop's `time()`; a delay that would pass it isn't waited for.
    :raises bridge.errors.RequestError: as `once`'s last attempt.
    """
    loop = asyncio.get_running_loop()
    backoff = policy.initial_backoff
    before = 0
    while True:
        ended = await once(before)
        pushback = _pushback(ended.trailers)
        # A service that has begun to answer has committed itself (A6, "When Retries are Valid").
        again = ended.code in policy.codes and not ended.committed and pushback != "no"
        if ended.code in policy.codes or pushback == "no":
            throttle.failed()
        elif not ended.code:
            throttle.succeeded()
        delay = random.uniform(1 - JITTER, 1 + JITTER) * backoff  # noqa: S311  # spreads callers, guards nothing
        if isinstance(pushback, float):
            delay = pushback
        before += 1
        if not again or before >= policy.max_attempts or not throttle.open or loop.time() + delay >= deadline:
            return ended.settle()
        # A delay that the service named starts the series anew.
        backoff = (
            policy.initial_backoff
            if isinstance(pushback, float)
            else min(backoff * policy.multiplier, policy.max_backoff)
        )
        await asyncio.sleep(delay)


def _pushback(trailers: Metadata) -> float | str | None:
    """Seconds that the service asks to wait, ``no`` where it wants no retry (or says what can't be read), or None."""
    value = next((value for name, value in trailers if name == _PUSHBACK), None)
    if value is None:
        return None
    return int(value) / 1000 if isinstance(value, str) and _MILLISECONDS.fullmatch(value) else "no"
