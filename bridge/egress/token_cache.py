"""Tokens that are kept until shortly before they expire.

A token is fetched by one request, however many calls wait for it. In the last part of its life, the first call that
uses it starts a renewal, and no call waits. While an endpoint fails, it is asked once in each back-off, however many
calls there are.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable

from bridge.egress.token_endpoint import Token, TokenRequestError
from bridge.errors import RequestError, UpstreamAuthFailed
from bridge.transport.backoff import Backoff

RENEW = 0.2  #: of a token's life, at its end, in which it is renewed; at most `RENEW_SECONDS`
RENEW_SECONDS = 60.0
UNUSED = 0.05  #: of a token's life, at its end, in which it isn't sent any more; at most `UNUSED_SECONDS`
UNUSED_SECONDS = 10.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  #: seconds after a failure in which nothing is asked; doubled by each further one
REFUSED = 5.0  #: seconds for which a refusal of one caller's token is kept
#: Seconds in which a token is dropped once at most because a service refused it: a service that refuses every token
#: must not cause a token request for each call.
DROP_INTERVAL = 5.0
AT_ONCE = 32  #: requests to one endpoint under way

log = logging.getLogger("bridge.tokens")


class TokenEndpoint:
    """The state of a token endpoint for one client: its failures, and how many requests it gets.

    :param name: for logs.
    :param count: counts requests by their outcome: ``ok``, ``failed``, ``refused``.
    """

    def __init__(self, name: str, count: Callable[[str], None], clock: Callable[[], float]) -> None:
        self.name, self._count = name, count
        self.backoff = Backoff(clock, FIRST_WAIT, LONGEST_WAIT)
        self._last: TokenRequestError | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def open(self) -> bool:
        """Whether it may be asked."""
        return self.backoff.open

    def error(self) -> UpstreamAuthFailed:
        """The error of calls that have no token because of the last failure."""
        failure = self._last or TokenRequestError("it was not asked")
        return auth_failed(self.name, failure, self.backoff.retry_after)

    async def ask(self, fetch: Callable[[], Awaitable[Token]], refuses: Callable[[str], bool]) -> Token:
        """A token.

        :param refuses: whether an OAuth error is the caller's, and no failure of the endpoint.
        :raises UpstreamAuthFailed: there is none. :raises TokenRequestError: a refusal.
        """
        async with self._turns:
            if not self.open:
                raise self.error()
            try:
                with self.backoff.trying():
                    token = await fetch()
            except TokenRequestError as error:
                if refuses(error.code):
                    self._worked("refused")
                    raise
                self._failed(error)
                raise self.error() from None
            except Exception as error:
                log.exception("the token endpoint %s", self.name)
                self._failed(TokenRequestError(f"the request failed: {type(error).__name__}"))
                raise self.error() from None
            self._worked("ok")
            return token

    def _worked(self, outcome: str) -> None:
        self._count(outcome)
        if self.backoff.worked():
            log.info("the token endpoint %s works again", self.name)
        self._last = None

    def _failed(self, error: TokenRequestError) -> None:
        self._count("failed")
        wait = self.backoff.failed()
        if wait is None:
            return
        self._last = error
        log.warning("the token endpoint %s: %s; it is asked again after %g s", self.name, error, wait)


def auth_failed(name: str, failure: TokenRequestError, retry_after: int) -> UpstreamAuthFailed:
    cause = f"the token endpoint {name}: {failure}"
    if failure.reached:
        return UpstreamAuthFailed("The gateway got no token for the service behind this route.", cause=cause)
    return UpstreamAuthFailed(
        "The gateway can't reach the server that gives out tokens for the service behind this route.",
        status=503,
        headers=[("retry-after", str(retry_after))],
        cause=cause,
    )


class CachedToken:
    """One token over time.

    :param fetch: raises `TokenRequestError`.
    :param refusal: the error of calls whose own token the endpoint refuses by an OAuth error; None: that is a failure.
    :param clock: seconds, monotonic.
    """

    __slots__ = (
        "_clock",
        "_dropped_at",
        "_endpoint",
        "_fetch",
        "_flight",
        "_refusal",
        "_refused",
        "_refused_until",
        "_renew_at",
        "_token",
        "_usable_until",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: TokenEndpoint,
        fetch: Callable[[], Awaitable[Token]],
        clock: Callable[[], float],
        refusal: Callable[[str], RequestError | None] = lambda code: None,
    ) -> None:
        self._endpoint, self._fetch, self._clock, self._refusal = endpoint, fetch, clock, refusal
        self._token: Token | None = None
        self._renew_at = self._usable_until = -math.inf
        self._refused, self._refused_until = "", -math.inf
        self._dropped_at = -math.inf
        self._flight: asyncio.Task[RequestError | None] | None = None

    async def text(self, wait: float) -> str:
        """The token.

        :param wait: seconds that the caller waits at most.
        :raises bridge.errors.RequestError: there is none.
        """
        now = self._clock()
        if self._token is not None and now < self._usable_until:
            due_at = max(self._renew_at, self._refused_until)
            if now >= due_at and self._flight is None and self._endpoint.open:
                self._start()
            return self._token.text
        flight = self._flight
        if flight is None:
            if now < self._refused_until and (error := self._refusal(self._refused)) is not None:
                raise error
            if not self._endpoint.open:
                raise self._endpoint.error()
            flight = self._start()
        # The request is not ended with the call that began it: others wait for it.
        done, _ = await asyncio.wait([flight], timeout=wait)
        if not done:
            raise auth_failed(self._endpoint.name, TokenRequestError(f"no answer within {wait:.3g} seconds"), 1)
        if flight.cancelled():
            raise auth_failed(self._endpoint.name, TokenRequestError("the gateway is ending", reached=False), 1)
        if (problem := flight.result()) is not None:
            raise _copy(problem)  # many calls may get it, and each raise adds to a traceback
        assert self._token is not None
        return self._token.text

    def drop(self) -> None:
        """A service refused the token: the next call gets a new one."""
        now = self._clock()
        if now - self._dropped_at >= DROP_INTERVAL:
            self._dropped_at = now
            self._usable_until = -math.inf

    def cancel(self) -> None:
        if self._flight is not None:
            self._flight.cancel()

    def _start(self) -> asyncio.Task[RequestError | None]:
        name = f"token of {self._endpoint.name}"
        self._flight = flight = asyncio.get_running_loop().create_task(self._run(), name=name)
        return flight

    async def _run(self) -> RequestError | None:
        try:
            asked_at = self._clock()
            token = await self._endpoint.ask(self._fetch, lambda code: self._refusal(code) is not None)
        except TokenRequestError as refused:
            self._refused, self._refused_until = refused.code, self._clock() + REFUSED
            return self._refusal(refused.code)
        except UpstreamAuthFailed as error:
            return error
        finally:
            self._flight = None
        life = token.lifetime
        self._token = token
        self._renew_at = asked_at + life - min(life * RENEW, RENEW_SECONDS)
        self._usable_until = asked_at + life - min(life * UNUSED, UNUSED_SECONDS)
        return None


def _copy(error: RequestError) -> RequestError:
    return type(error)(
        error.detail, members=error.members, headers=error.headers, cause=error.cause, status=error.status
    )


class TokenCounts:
    """Token requests by kind and outcome, for metrics."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, outcome: str) -> None:
        self._counts[kind, outcome] += 1

    def __call__(self) -> list[tuple[str, str, int]]:
        """Kind, outcome and number. Any thread may call this."""
        return [(kind, outcome, count) for (kind, outcome), count in list(self._counts.items())]
