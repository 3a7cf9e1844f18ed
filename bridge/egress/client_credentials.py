"""``client_credentials``: the gateway's own token for a service (RFC 6749, section 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from bridge.api.call import Call
from bridge.egress.token_cache import CachedToken, TokenEndpoint
from bridge.egress.token_endpoint import Poster, Token, request_token
from bridge.egress.token_request import TokenRequest

GRANT = "client_credentials"


class ClientToken:
    """The token of one client at one endpoint, shared by all routes that ask for the same."""

    def __init__(
        self, request: TokenRequest, poster: Poster, endpoint: TokenEndpoint, clock: Callable[[], float]
    ) -> None:
        self._request, self._poster = request, poster
        self.cached = CachedToken(endpoint, self._fetch, clock)

    async def _fetch(self) -> Token:
        form, headers = self._request.compose([("grant_type", GRANT)])
        return await request_token(self._poster, form, headers)

    def cancel(self) -> None:
        self.cached.cancel()


class ClientCredentials:
    """Credentials (`bridge.api.egress.Credentials`) of one route.

    :param wait: seconds that a call waits for a token.
    """

    names: Collection[str] = ("authorization",)
    caching: Sequence[tuple[str, str]] = ()  #: `bridge.api.egress.Shared`: all callers have the same

    def __init__(self, token: ClientToken, wait: float) -> None:
        self._token, self._wait = token, wait

    async def fields(self, call: Call) -> Sequence[tuple[str, str]]:
        return [("authorization", f"Bearer {await self._token.cached.text(self._wait)}")]

    def rejected(self, call: Call) -> None:
        self._token.cached.drop()
