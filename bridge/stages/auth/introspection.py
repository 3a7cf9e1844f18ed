"""Bearer tokens about which their issuer is asked (RFC 7662), and for how long its answers count.

An answer counts for the entry's ``cache``, from when the request for it was sent, and never beyond the token's ``exp``:
so a token that was revoked is refused after ``cache`` at the latest. Tokens are known by their digests alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from bridge.errors import IssuerUnavailable, RequestError, Unauthorized
from bridge.stages.auth.introspection_endpoint import IntrospectionEndpoint
from bridge.stages.auth.introspection_entry import Introspection
from bridge.stages.auth.jws import MAX_TOKEN
from bridge.stages.auth.jwt import TrustedIssuer, Verified, check_times, read_claims, refuse
from bridge.stages.auth.token_types import ABSENT, OtherKind, check_kind

REMEMBERED = 4096  #: tokens that were active, and as many that were not
#: The caller: who authorized the token, else the client that uses it.
SUBJECTS = ("sub", "username", "client_id", "azp")

_INACTIVE = "The token is not active: it has expired, was revoked, or is none of its issuer."
#: Values of ``token_type`` (RFC 6749, section 5.1; RFC 9449, section 5), and what some servers call it.
_ACCESS_TYPES = frozenset(("bearer", "dpop", "access_token"))
#: Values of ``token_use``, by which some servers tell tokens apart.
_OTHER_USES = frozenset(("refresh", "refresh_token", "id", "id_token"))

log = logging.getLogger("bridge.guards")


@dataclass(frozen=True, slots=True)
class _Active:
    """:ivar until: when the answer ceases to count, and `stale`: while the issuer can't be asked; monotonic."""

    verified: Verified
    until: float
    stale: float


@dataclass(frozen=True, slots=True)
class _Refused:
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class _Flight:
    task: asyncio.Task[Verified | _Refused | RequestError]
    began: float


class Introspector:
    """The tokens of one issuer.

    :param issuer: how its claims are read.
    :param count: counts requests by their outcome: ``active``, ``refused``, ``failed``.
    :param clock: seconds, monotonic. :param now: Unix seconds.
    """

    def __init__(
        self,
        issuer: TrustedIssuer,
        entry: Introspection,
        endpoint: IntrospectionEndpoint,
        *,
        count: Callable[[str], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.issuer, self.entry, self._count = issuer, entry, count
        self._endpoint, self._clock, self._now = endpoint, clock, now
        self._active: OrderedDict[bytes, _Active] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._flights: dict[bytes, _Flight] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def known(self, token: str) -> Verified | None:
        """The token, if an answer about it still counts; else None.

        :raises Unauthorized: it is not active.
        """
        digest = sha256(token.encode("utf-8", "surrogateescape")).digest()
        active = self._active.get(digest)
        if active is None:
            refused = self._refused.get(digest)
            if refused is not None and self._clock() < refused.until:
                refuse(refused.reason)
            return None
        now = self._now()
        if self._clock() >= active.until or now >= active.verified.expires:
            return None
        self._active.move_to_end(digest)
        check_times(active.verified, now)
        return active.verified

    async def ask(self, token: str) -> Verified:
        """The token, after its issuer was asked if no answer about it counts any more.

        :raises Unauthorized: it is not active, or its claims can't be used.
        :raises IssuerUnavailable: the issuer can't be asked.
        """
        if len(token) > MAX_TOKEN:
            refuse(f"The token is longer than {MAX_TOKEN} bytes.")
        verified = self.known(token)
        if verified is not None:
            return verified
        digest = sha256(token.encode()).digest()
        if not self._endpoint.open:
            return self._without(digest, self._endpoint.unavailable())
        flight = self._flights.get(digest)
        # An answer that counts is not older than `cache`, for those who wait for it as for those who come later.
        if flight is None or self._clock() - flight.began > self.entry.cache:
            flight = self._start(digest, token)
        # The request is not ended with the call that began it: others wait for it.
        await asyncio.wait([flight.task])
        if flight.task.cancelled():
            raise self._endpoint.unavailable("the gateway is ending")
        outcome = flight.task.result()
        if isinstance(outcome, _Refused):
            refuse(outcome.reason)
        if isinstance(outcome, RequestError):
            return self._without(digest, outcome)
        check_times(outcome, self._now())
        return outcome

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._endpoint.aclose()

    def _without(self, digest: bytes, problem: RequestError) -> Verified:
        """The token while its issuer can't be asked.

        :raises RequestError: `problem`, unless it was active and may count for longer.
        """
        active = self._active.get(digest)
        if active is not None and self._clock() < active.stale and self._now() < active.verified.expires:
            self._active.move_to_end(digest)
            check_times(active.verified, self._now())
            return active.verified
        # Many calls may get it, and each raise adds to a traceback.
        raise IssuerUnavailable(problem.detail, headers=problem.headers, cause=problem.cause)

    def _start(self, digest: bytes, token: str) -> _Flight:
        began = self._clock()
        task = asyncio.get_running_loop().create_task(
            self._ask(digest, token, began), name=f"introspection at {self.issuer.name}"
        )
        flight = self._flights[digest] = _Flight(task, began)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if self._flights.get(digest) is flight:
                del self._flights[digest]

        task.add_done_callback(ended)
        return flight

    async def _ask(self, digest: bytes, token: str, began: float) -> Verified | _Refused | RequestError:
        try:
            answer = await self._endpoint.ask(token)
        except IssuerUnavailable as error:
            self._count("failed")
            return error
        except Exception as error:
            self._count("failed")
            log.exception("introspection at %s", self.issuer.name)
            return self._endpoint.unavailable(f"the request failed: {type(error).__name__}")
        flight = self._flights.get(digest)
        is_newest = flight is not None and flight.began == began
        try:
            verified = self._judge(answer)
        except Unauthorized as error:
            self._count("refused")
            refused = _Refused(error.detail, began + self.entry.negative_cache)
            if is_newest:
                self._active.pop(digest, None)
                _keep(self._refused, digest, refused)
            return refused
        self._count("active")
        if is_newest:
            self._refused.pop(digest, None)
            until = began + self.entry.cache
            _keep(self._active, digest, _Active(verified, until, until + self.entry.stale))
        return verified

    def _judge(self, answer: Mapping[str, Any]) -> Verified:
        """What the issuer says of the token.

        :raises Unauthorized: it is no access token of this issuer that is valid now.
        """
        if not answer["active"]:
            refuse(_INACTIVE)
        if answer.get("iss") not in (None, self.issuer.name):
            refuse("The token comes from another issuer than the one that was asked.")
        _check_kind(answer)
        now = self._now()
        verified = read_claims(answer, self.issuer, now, subjects=SUBJECTS, lasting=True)
        check_times(verified, now)
        return verified


def _check_kind(answer: Mapping[str, Any]) -> None:
    """Servers call refresh tokens active, too.

    :raises Unauthorized: it is another token than one for access.
    """
    kind, use = answer.get("token_type"), answer.get("token_use")
    if kind is not None and (not isinstance(kind, str) or kind.lower() not in _ACCESS_TYPES):
        refuse("The token is no access token.")
    if kind is not None and kind.lower() == "dpop" and "cnf" not in answer:  # RFC 9449, section 6.2
        refuse("The token is bound to a key that its issuer does not tell.")
    if isinstance(use, str) and use.lower() in _OTHER_USES:
        refuse("The token is no access token.")
    try:
        # What a JWT may say by its claim `typ`, an answer says by `token_type` as well.
        check_kind({}, answer if kind is None else {"typ": "Bearer", **answer}, frozenset({ABSENT}))
    except OtherKind as error:
        refuse(str(error))


def _keep(answers: OrderedDict[bytes, Any], digest: bytes, answer: Any) -> None:
    answers[digest] = answer
    answers.move_to_end(digest)
    if len(answers) > REMEMBERED:
        answers.popitem(last=False)
