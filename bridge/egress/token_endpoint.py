"""A token endpoint: where token requests are posted, and what its answers mean (RFC 6749, sections 5.1 and 5.2)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from bridge.api.call import HttpRequest
from bridge.errors import InvalidBody, RequestError, Timeout, TooLarge, Unavailable
from bridge.payload.parsing import parse_json
from bridge.transport.fetch import Fetcher, PostError

TIMEOUT = 5.0  #: seconds for one token request
MAX_ANSWER = 64 * 1024  #: bytes
MAX_TOKEN = 16 * 1024  #: characters of a token; it is sent in a header field
DEFAULT_LIFETIME = 300.0  #: seconds of a token whose answer has no ``expires_in``
MAX_LIFETIME = 86400.0  #: seconds; a token that says it lasts longer is renewed then

#: RFC 6750, section 2.1: what may stand after ``Bearer``.
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]+)?")
#: Errors that endpoints give (RFC 6749, section 5.2; RFC 8693, section 2.2.2; RFC 8707, section 2; ``invalid_token`` is
#: Keycloak's for a token that it does not exchange). Other texts are not logged: they could quote what was sent.
_ERRORS = frozenset(
    (
        "access_denied", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "invalid_target",
        "invalid_token", "server_error", "temporarily_unavailable", "unauthorized_client", "unsupported_grant_type",
        "unsupported_token_type",
    )
)  # fmt: skip

Form = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Token:
    """:ivar lifetime: seconds from now."""

    text: str
    lifetime: float

    def __repr__(self) -> str:
        return "Token(***)"


class TokenRequestError(Exception):
    """A token request brought no token. The text is for the log; it has no secrets.

    :ivar reached: whether the endpoint took the connection.
    :ivar code: its OAuth error, if that is a known one.
    """

    def __init__(self, reason: str, *, reached: bool = True, code: str = "") -> None:
        super().__init__(reason)
        self.reached, self.code = reached, code


class Poster(Protocol):
    """Posts to one token endpoint.

    :ivar name: for logs: the endpoint's origin, or its name in the mesh.
    """

    name: str

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer; of a body, at most a byte more than `MAX_ANSWER`. The caller bounds the time.

        :raises TokenRequestError: there is none.
        """
        ...


class UrlPoster:
    """An endpoint by URL, within the reach of `bridge.transport.fetch`."""

    def __init__(self, fetcher: Fetcher, url: str, name: str) -> None:
        self._fetcher, self._url, self.name = fetcher, url, name

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            return await self._fetcher.post(self._url, body, headers, MAX_ANSWER)
        except PostError as error:
            reason = str(error).removeprefix("it can't be fetched: ")
            raise TokenRequestError(reason, reached=error.connected) from None


class MeshPoster:
    """An endpoint of the mesh.

    :param send: of its cluster.
    """

    def __init__(self, send: Callable[..., Any], path: str, name: str) -> None:
        self._send, self._path, self.name = send, path, name

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        request = HttpRequest("POST", self._path, list(headers.items()), body)
        try:
            answer = await self._send(request, deadline=asyncio.get_running_loop().time() + TIMEOUT, trace=())
        except Timeout as error:
            raise TokenRequestError(error.cause or "no answer in time") from None
        except RequestError as error:
            reached = not isinstance(error, Unavailable)
            raise TokenRequestError(error.cause or error.detail, reached=reached) from None
        return answer.status, answer.body[: MAX_ANSWER + 1]


async def request_token(poster: Poster, form: Form, headers: Mapping[str, str]) -> Token:
    """One token request.

    :param headers: with the client's authentication; names in lower case.
    :raises TokenRequestError: it brought no token.
    """
    fields = {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
        "cache-control": "no-store",
        **headers,
    }
    try:
        async with asyncio.timeout(TIMEOUT):
            status, answer = await poster.post(urlencode(form).encode(), fields)
    except TimeoutError:
        raise TokenRequestError(f"no whole answer within {TIMEOUT:g} seconds") from None
    if len(answer) > MAX_ANSWER:
        raise TokenRequestError(f"its answer is larger than {MAX_ANSWER // 1024} KiB")
    return read_answer(status, answer)


def read_answer(status: int, body: bytes) -> Token:
    """The token in an endpoint's answer.

    :raises TokenRequestError: there is none that can be used.
    """
    try:
        answer: Any = parse_json(body, exact=False)
    except (InvalidBody, TooLarge):
        answer = None
    if status != 200:
        error = answer.get("error") if isinstance(answer, dict) else None
        code = error if isinstance(error, str) and error in _ERRORS else ""
        raise TokenRequestError(f"it answered HTTP {status}" + (f": {code}" if code else ""), code=code)
    if not isinstance(answer, dict):
        raise TokenRequestError("its answer is no JSON object")
    text, kind = answer.get("access_token"), answer.get("token_type")
    if not isinstance(text, str) or not text:
        raise TokenRequestError("its answer has no access_token")
    if len(text) > MAX_TOKEN:
        raise TokenRequestError(f"its token is longer than {MAX_TOKEN} characters")
    if not _B64TOKEN.fullmatch(text):
        raise TokenRequestError("its token holds characters that no bearer token has")
    if not isinstance(kind, str) or kind.lower() != "bearer":  # RFC 6749, section 7.1
        raise TokenRequestError("its token is not of the token_type Bearer")
    return Token(text, _lifetime(answer.get("expires_in")))


def _lifetime(seconds: Any) -> float:
    if seconds is None:
        return DEFAULT_LIFETIME
    if isinstance(seconds, str) and _NUMBER.fullmatch(seconds):  # some servers quote it
        seconds = float(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TokenRequestError("its expires_in is no number")
    if seconds <= 0:
        raise TokenRequestError("its token has expired already")
    return float(min(seconds, MAX_LIFETIME))
