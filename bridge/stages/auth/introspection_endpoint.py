"""One issuer's introspection endpoint: what is asked, what its answers mean, and when it is asked (RFC 7662).

Calls wait for the answers, and callers choose the tokens. So a request has at most `TIMEOUT` seconds, `AT_ONCE` of them
are under way, and an endpoint that does not answer is asked by one request at a time, once in each back-off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from bridge.errors import InvalidBody, IssuerUnavailable, RequestError, TooLarge
from bridge.payload.parsing import parse_json
from bridge.transport.backoff import Backoff
from bridge.transport.client_auth import ClientAuthentication
from bridge.transport.fetch import PostError
from bridge.transport.url_client import UrlClient

TIMEOUT = 2.0  #: seconds that a call waits, for its turn and for the answer together
AT_ONCE = 32  #: requests under way
MAX_ANSWER = 32 * 1024  #: bytes
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  #: seconds after a failure in which nothing is asked; doubled by each further one
#: Failures in a row that cause no back-off if the endpoint did answer: a caller may send a token that it fails on.
TOLERANCE = 2

#: Statuses that say nothing about the token: the gateway is not let in, or the endpoint works for nobody.
_AWAY = frozenset((401, 403, 407, 429, 502, 503, 504))

log = logging.getLogger("bridge.guards")


class IntrospectionError(Exception):
    """The endpoint gave no answer that can be used. The text is for the log; it has no secrets.

    :ivar away: no other token would have fared better.
    """

    def __init__(self, reason: str, *, away: bool = False) -> None:
        super().__init__(reason)
        self.away = away


class IntrospectionEndpoint:
    """The endpoint of one issuer.

    :param name: the issuer, for the log.
    :param url: gives the endpoint's URL; raises `IssuerUnavailable` if that is not known now.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        url: Callable[[], Awaitable[str]],
        client: ClientAuthentication,
        connections: UrlClient,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._url, self._client, self._connections = name, url, client, connections
        self._backoff = Backoff(clock, FIRST_WAIT, LONGEST_WAIT)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._last = ""

    @property
    def open(self) -> bool:
        """Whether it may be asked now."""
        return self._backoff.open

    def unavailable(self, reason: str = "") -> IssuerUnavailable:
        """The error of calls whose token can't be judged.

        :param reason: for the log; "": that of the last failure.
        """
        return IssuerUnavailable(
            "The token's issuer can't be asked about it just now. Try again in a moment.",
            headers=[("retry-after", str(self._backoff.retry_after))],
            cause=f"introspection at {self._name}: {reason or self._last}",
        )

    async def ask(self, token: str) -> Mapping[str, Any]:
        """The answer about `token`: an object with ``active``, which is a boolean (RFC 7662, section 2.2).

        :raises IssuerUnavailable: there is none within `TIMEOUT` seconds.
        """
        asking = False
        try:
            async with asyncio.timeout(TIMEOUT), self._turns:
                if not self.open:
                    raise self.unavailable()
                asking = True
                with self._backoff.trying():
                    answer = await self._ask(token)
        except TimeoutError:
            if not asking:
                raise self.unavailable(f"{AT_ONCE} requests are under way, and none ended in time") from None
            raise self._failed(IntrospectionError(f"no whole answer within {TIMEOUT:g} s", away=True)) from None
        except IntrospectionError as error:
            raise self._failed(error) from None
        if self._backoff.worked():
            log.info("introspection at %s works again", self._name)
        return answer

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _ask(self, token: str) -> Mapping[str, Any]:
        try:
            url = await self._url()
        except RequestError as error:
            raise IntrospectionError(error.cause or error.detail, away=True) from None
        try:
            parameters, headers = self._client.compose()
        except ValueError as error:
            raise IntrospectionError(f"the client's key can't be used: {error}", away=True) from None
        form = [("token", token), ("token_type_hint", "access_token"), *parameters]
        fields = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            "cache-control": "no-store",
            **headers,
        }
        try:
            status, answer_fields, body = await self._connections.post(
                url, urlencode(form).encode(), fields, MAX_ANSWER
            )
        except PostError as error:
            raise IntrospectionError(str(error), away=not error.connected) from None
        return read_answer(status, answer_fields.get("content-type", ""), body)

    def _failed(self, error: IntrospectionError) -> IssuerUnavailable:
        wait = self._backoff.failed(tolerance=0 if error.away else TOLERANCE)
        if wait is not None:
            self._last = str(error)
            log.warning("introspection at %s: %s; it is asked again after %g s", self._name, error, wait)
        return self.unavailable(str(error))


def read_answer(status: int, content_type: str, body: bytes) -> Mapping[str, Any]:
    """An endpoint's answer (RFC 7662, sections 2.2 and 2.3).

    :raises IntrospectionError: it says nothing about the token.
    """
    if status == 401:
        raise IntrospectionError("it refuses the gateway's client authentication (HTTP 401)", away=True)
    if status != 200:
        raise IntrospectionError(f"it answered HTTP {status}", away=status in _AWAY)
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise IntrospectionError("its answer is not application/json")
    try:
        answer: Any = parse_json(body, exact=False)
    except (InvalidBody, TooLarge):
        raise IntrospectionError("its answer is not JSON") from None
    if not isinstance(answer, dict):
        raise IntrospectionError("its answer is no JSON object")
    if not isinstance(answer.get("active"), bool):
        raise IntrospectionError("its answer has no boolean active")
    return answer
