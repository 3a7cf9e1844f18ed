"""``token_exchange``: a token for a service in exchange for the caller's (RFC 8693)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from bridge.api.call import Call
from bridge.api.spec.upstream_tokens import TokenExchangeUpstreamAuth
from bridge.egress.token_cache import CachedToken, TokenEndpoint
from bridge.egress.token_endpoint import Form, Poster, Token, request_token
from bridge.egress.token_request import PATH, TokenRequest, secret_text
from bridge.errors import Forbidden, RequestError, Unauthorized

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
REMEMBERED = 4096  #: callers' tokens whose exchange is kept

_CHALLENGE = 'Bearer realm="hms-bridge"'


class Exchanges:
    """The tokens that one client got at one endpoint for callers' tokens, shared by all routes that ask for the same.

    :param home: the folder that ``$file`` is relative to.
    :raises bridge.api.BindError: a value can't be used.
    """

    def __init__(
        self,
        auth: TokenExchangeUpstreamAuth,
        home: Path,
        poster: Poster,
        endpoint: TokenEndpoint,
        clock: Callable[[], float],
    ) -> None:
        self._request = TokenRequest(auth, home)
        self._poster, self._endpoint, self._clock = poster, endpoint, clock
        self._subject_type = auth.subject_token_type
        self._actor_type = auth.actor_token_type
        self._actor = secret_text(auth.actor_token, (*PATH, "actor_token"), home) if auth.actor_token else None
        requested = auth.requested_token_type
        self._requested: Form = [("requested_token_type", requested)] if requested else []
        self._tokens: OrderedDict[str, CachedToken] = OrderedDict()

    def of(self, call: Call) -> CachedToken:
        """The token in exchange for the one that `call` was authenticated by.

        :raises Unauthorized: it was authenticated by something else.
        """
        subject = call.identity.token
        if not subject:
            raise Unauthorized(
                "The service behind this route takes calls with a bearer token only.",
                headers=[("www-authenticate", _CHALLENGE)],
            )
        cached = self._tokens.get(subject)
        if cached is not None:
            self._tokens.move_to_end(subject)
            return cached
        expires = call.identity.claims.get("exp")

        async def fetch() -> Token:
            token = await request_token(self._poster, *self._request.compose(self._grant(subject)))
            if isinstance(expires, int | float):  # the caller's token is not valid for longer
                return replace(token, lifetime=min(token.lifetime, max(expires - time.time(), 1.0)))
            return token

        cached = self._tokens[subject] = CachedToken(self._endpoint, fetch, self._clock, self._refusal)
        if len(self._tokens) > REMEMBERED:
            self._tokens.popitem(last=False)
        return cached

    def cancel(self) -> None:
        for cached in self._tokens.values():
            cached.cancel()

    def _grant(self, subject: str) -> Form:
        """RFC 8693, section 2.1."""
        form = [
            ("grant_type", GRANT),
            ("subject_token", subject),
            ("subject_token_type", self._subject_type),
            *self._requested,
        ]
        if self._actor is not None:
            form += [("actor_token", self._actor()), ("actor_token_type", self._actor_type)]
        return form

    def _refusal(self, code: str) -> RequestError | None:
        """The error of a caller whose token the endpoint does not exchange; None: the caller is not to blame."""
        cause = f"the token endpoint {self._endpoint.name} refused the caller's token: {code}"
        match code:
            case "invalid_grant" | "invalid_token":
                reason = "The token is not accepted for the service behind this route"
                challenge = f'{_CHALLENGE}, error="invalid_token", error_description="{reason}"'
                return Unauthorized(f"{reason}.", headers=[("www-authenticate", challenge)], cause=cause)
            case "invalid_request" | "access_denied":
                # RFC 8693, section 2.2.2: the token is not acceptable, by the policy of the server.
                return Forbidden("Your token may not be used for the service behind this route.", cause=cause)
        return None


class TokenExchange:
    """Credentials (`bridge.api.egress.Credentials`) of one route.

    :param wait: seconds that a call waits for a token.
    """

    names: Collection[str] = ("authorization",)

    def __init__(self, exchanges: Exchanges, wait: float) -> None:
        self._exchanges, self._wait = exchanges, wait

    async def fields(self, call: Call) -> Sequence[tuple[str, str]]:
        return [("authorization", f"Bearer {await self._exchanges.of(call).text(self._wait)}")]

    def rejected(self, call: Call) -> None:
        self._exchanges.of(call).drop()
