"""The attempts of one call: the instance of each, the report on its health, and the decision on a further one.

- An instance that accepts no connection costs no attempt: the next one is tried, `ADDRESSES` at most, each within its
  share of the remaining time.
- A call that a service reports as not processed is sent again at once, `REPEATS` times at most.
- With a `Retry` policy, other calls are sent again after a growing, jittered wait (gRFC A6): a call that was never
  sent, and an idempotent one that ended with a listed code before a reply began.
- No attempt begins after the deadline, and a throttle limits the retries to a service that is down.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from typing import Any, Protocol

from bridge.api.call import Retry
from bridge.api.transport import Address, Attempt, Channel, InstanceVerdict, Outcome
from bridge.cluster.outlier import OutlierDetector, fair
from bridge.errors import RequestError, Timeout, Unavailable
from bridge.transport.connecting import CONNECT
from bridge.transport.deadline import TICK, Until

NOWHERE: Sequence[Address] = (("", 0),)  #: stands for instances that can't be looked up
ADDRESSES = 8  #: instances that are tried for one attempt
REPEATS = 2  #: further attempts for a call that no service has processed (gRFC A6, "Transparent Retries")
JITTER = 0.2  #: of a wait, plus or minus
MAX_TOKENS = 10.0  #: of the throttle; below half of them, nothing is sent again
TOKEN_RATIO = 0.1  #: of a token that a success returns


class Throttle:
    """The tokens of one upstream (gRFC A6, "Throttling Retry Attempts"): a failure takes one, a success returns a
    tenth.

    :ivar full: it has all its tokens.
    """

    __slots__ = ("_tokens", "full")

    def __init__(self) -> None:
        self._tokens = MAX_TOKENS
        self.full = True

    def failed(self) -> None:
        self._tokens, self.full = max(0.0, self._tokens - 1), False

    def succeeded(self) -> None:
        self._tokens = min(MAX_TOKENS, self._tokens + TOKEN_RATIO)
        self.full = self._tokens == MAX_TOKENS

    @property
    def open(self) -> bool:
        return self._tokens > MAX_TOKENS / 2


class Instances(Protocol):
    """A `bridge.cluster.cluster.Cluster`, as the attempts of a call use it."""

    channel: Channel
    outliers: OutlierDetector
    retry: Retry | None
    throttle: Throttle

    async def addresses(self) -> Sequence[Address]: ...

    def failed(self, address: Address, epoch: int, cause: str) -> None: ...


class Attempts:
    """The attempts of one call: the `bridge.api.transport.AttemptContext` of the current one, until `again` moves on.

    :param addresses: the instances, the preferred one first.
    :param deadline: in the loop's `time()`.
    :param client_timeout: the client's own timeout in seconds, if shorter than the route's.
    """

    __slots__ = (
        "_backoff",
        "_client_timeout",
        "_cluster",
        "_epoch",
        "_left",
        "_refused",
        "_request",
        "_rest",
        "address",
        "addresses",
        "answered",
        "began",
        "connect_timeout",
        "deadline",
        "repeats",
        "retries",
        "until",
    )  # fmt: skip

    def __init__(
        self,
        cluster: Instances,
        request: Any,
        addresses: Sequence[Address],
        now: float,
        deadline: float,
        client_timeout: float | None,
    ) -> None:
        self._cluster, self._request, self._client_timeout = cluster, request, client_timeout
        self.deadline = deadline
        self.until: Until | None = None  # what enforces it
        self.retries = self.repeats = 0
        self._backoff = 0.0
        # `_start`, inlined.
        self.addresses = addresses
        self.address = addresses[0]
        self._epoch = cluster.outliers.epoch
        self._rest: Sequence[Address] | None = None  # to be tried after `address`; None until one refused
        self._refused: list[Address] = []
        self.began, self.answered = now, False
        remaining = deadline - now
        if remaining > CONNECT * ADDRESSES:
            self.connect_timeout = CONNECT
        else:
            self.connect_timeout = min(CONNECT, max(remaining / min(len(addresses), ADDRESSES), 0.001))

    async def again(self, attempt: Attempt) -> bool:
        """Report `attempt`. True if one more follows now; this is then its context.

        :raises bridge.errors.Timeout: no instance took a connection before the deadline.
        """
        self.answered = True  # later waits are not the instance's fault
        self._report(attempt)
        if attempt.outcome is Outcome.REFUSED:
            if self._next(attempt.verdict):
                return True
            self._exhausted(attempt)
        elif attempt.outcome is Outcome.NOT_PROCESSED and self.repeats < REPEATS:
            self.repeats += 1
            if await self._start(attempt):
                return True
        delay = self._delay(attempt)
        while delay is not None:
            self.retries += 1
            await asyncio.sleep(delay)
            if await self._start(attempt):
                return True
            delay = self._delay(attempt)
        return False

    def hold(self) -> None:
        until = self.until
        if until is not None:
            self._left = max(0.001, until.when - asyncio.get_running_loop().time())
            self.deadline = math.inf
            until.move(math.inf)

    def release(self) -> None:
        until = self.until
        if until is not None:
            now = asyncio.get_running_loop().time()
            self.began, self.deadline = now, now + self._left
            until.move(self.deadline)

    def expired(self, error: Timeout) -> None:
        """The deadline passed during the attempt."""
        if not self.answered:
            self._report(Attempt(error, verdict=InstanceVerdict.LATE))

    # --- the instance ---------------------------------------------------------------------------------------------

    def _report(self, attempt: Attempt) -> None:
        cluster, address, verdict = self._cluster, self.address, attempt.verdict
        outliers = cluster.outliers
        now = asyncio.get_running_loop().time()
        cause = cause_of(attempt)
        if verdict in (InstanceVerdict.FINE, InstanceVerdict.ALIVE):
            if outliers.suspects and address in outliers.suspects:
                outliers.succeeded(address, self._epoch)
        elif verdict is InstanceVerdict.BAD or (
            verdict is InstanceVerdict.LATE
            and fair(self.deadline - self.began, self._client_timeout, now - self.deadline)
        ):
            cluster.failed(address, self._epoch, cause)
        elif verdict is InstanceVerdict.UNREACHABLE:
            delay = attempt.waited
            if delay is None or fair(delay, self._client_timeout, now - self.began - delay):
                outliers.unreachable(address, self._epoch, cause)

    def _next(self, verdict: InstanceVerdict) -> bool:
        """Move on to the next instance of this round, if there is one. Those that are known to accept no calls do not
        count towards `ADDRESSES`."""
        if self._rest is None:
            is_resting = self._cluster.channel.resting
            self._rest = [address for address in self.addresses[1:] if not is_resting(address)]
        if verdict is not InstanceVerdict.NONE:
            self._refused.append(self.address)
        count = min(len(self._rest), ADDRESSES - len(self._refused))
        if count <= 0:
            return False
        self.address, self._rest = self._rest[0], self._rest[1:]
        self._begin(count)
        return True

    def _begin(self, count: int) -> None:
        """:param count: instances that share the time."""
        now = asyncio.get_running_loop().time()
        self.began, self.answered = now, False
        self.connect_timeout = min(CONNECT, max((self.deadline - now) / count, 0.001))

    async def _start(self, attempt: Attempt) -> bool:
        """Begin a new round, with the current instances. False if there are none: `attempt` then has the error."""
        try:
            self.addresses = await self._cluster.addresses()
        except Unavailable as error:
            attempt.result, attempt.outcome, attempt.pushback = error, Outcome.REFUSED, None
            return False
        self._epoch = self._cluster.outliers.epoch
        self.address, self._rest, self._refused = self.addresses[0], None, []
        self._begin(min(len(self.addresses), ADDRESSES))
        return True

    def _exhausted(self, attempt: Attempt) -> None:
        """No instance accepted the call; list all of them in the cause of `attempt`, the last one.

        :raises bridge.errors.Timeout: the deadline has passed.
        """
        cause = f"none of {format_addresses(self._refused)} took a connection: {cause_of(attempt)}"
        if asyncio.get_running_loop().time() >= self.deadline - TICK:
            raise Timeout(cause=cause)
        if len(self._refused) > 1:
            attempt.result.cause = cause

    # --- the policy -----------------------------------------------------------------------------------------------

    def _delay(self, attempt: Attempt) -> float | None:
        """Seconds until the policy's next attempt; None: there is none."""
        cluster = self._cluster
        request_policy: Retry | None = self._request.retry
        policy = request_policy or cluster.retry
        is_refused = attempt.outcome is Outcome.REFUSED
        if attempt.verdict is InstanceVerdict.FINE:
            cluster.throttle.succeeded()
            return None
        if policy is None:
            return None
        has_retry_code = is_refused or attempt.code in policy.codes
        if has_retry_code or attempt.pushback == math.inf:
            cluster.throttle.failed()
        may_repeat = has_retry_code and attempt.outcome is not Outcome.FINAL and attempt.pushback != math.inf
        if not may_repeat or self.retries + 1 >= policy.max_attempts or not cluster.throttle.open:
            return None
        if not is_refused and request_policy is None and not cluster.channel.repeatable(self._request):
            return None
        if attempt.pushback is not None:
            delay, self._backoff = attempt.pushback, 0.0  # a wait that the service set restarts the series
        else:
            last = self._backoff
            self._backoff = min(last * policy.multiplier, policy.max_backoff) if last else policy.initial_backoff
            delay = self._backoff * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # spreads callers, guards nothing
        return delay if asyncio.get_running_loop().time() + delay < self.deadline else None


def cause_of(attempt: Attempt) -> str:
    """The error's cause, for the log."""
    result = attempt.result
    if isinstance(result, RequestError):
        return result.cause or str(result)
    return f"status {attempt.code}"


def format_addresses(addresses: Sequence[Address]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in addresses)
