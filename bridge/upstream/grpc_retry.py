"""Whether and when a call is sent again: gRFC A6, client retries.

Pure but for the dice: `bridge.upstream.grpc.GrpcUpstream.send` makes the attempts and waits between them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from bridge.transformer import RetryPolicy

ATTEMPTS = "grpc-previous-rpc-attempts"  #: metadata of each further attempt: how many there were
_PUSHBACK = "grpc-retry-pushback-ms"  # of the trailers: when to come again
_MILLISECONDS = re.compile(r"[0-9]{1,9}")

MAX_TOKENS = 10.0  #: of a throttle; no retries while half of them or fewer are left
TOKEN_RATIO = 0.1  #: what a call that went well gives back; one that failed takes 1

Metadata = Sequence[tuple[str, str | bytes]]


class Throttle:
    """One upstream's tokens ("Throttling Retry Attempts and Hedged RPCs"): a service that fails a lot is not asked
    more often on top of that."""

    def __init__(self) -> None:
        self._tokens = MAX_TOKENS

    @property
    def open(self) -> bool:
        return self._tokens > MAX_TOKENS / 2

    def failed(self) -> None:
        self._tokens = max(0.0, self._tokens - 1)

    def went_well(self) -> None:
        self._tokens = min(MAX_TOKENS, self._tokens + TOKEN_RATIO)


class Attempts:
    """The attempts of one call.

    :ivar made: how many there were.
    """

    def __init__(self, policy: RetryPolicy, throttle: Throttle) -> None:
        self._policy = policy
        self._throttle = throttle
        self._backoff = policy.initial_backoff
        self.made = 0

    @property
    def metadata(self) -> Metadata:
        return [(ATTEMPTS, str(self.made))] if self.made else []

    def ended(self, code: int, trailers: Metadata, *, committed: bool) -> float | None:
        """After how many seconds to try again; None for not at all.

        :param committed: whether the service's headers have come: what it says then is its answer.
        """
        self.made += 1
        if code == 0:
            self._throttle.went_well()
            return None
        pushback = next((value for name, value in trailers if name == _PUSHBACK), None)
        refused = pushback is not None and not _is_time(pushback)
        if code in self._policy.codes or refused:
            self._throttle.failed()
        if (
            code not in self._policy.codes
            or refused
            or committed
            or self.made >= self._policy.max_attempts
            or not self._throttle.open
        ):
            return None
        if pushback is not None:
            self._backoff = self._policy.initial_backoff
            return int(pushback) / 1000
        pause = min(self._backoff, self._policy.max_backoff) * random.uniform(0.8, 1.2)  # noqa: S311  # no secret
        self._backoff = min(self._backoff * self._policy.multiplier, self._policy.max_backoff)
        return pause


def _is_time(value: str | bytes) -> bool:
    """Negative numbers and anything else mean: don't come again ("Pushback")."""
    return isinstance(value, str) and _MILLISECONDS.fullmatch(value) is not None
