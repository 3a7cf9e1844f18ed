"""A route's ``upstream_auth`` as `bridge.api.egress.Credentials`, where that needs I/O or expires."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from bridge.api.egress import Credentials
from bridge.api.grants import CALLER_TOKEN, needed_grant, origin_of
from bridge.api.spec.auth import AnyAuth, JwtAuth, OAuth2Auth
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.retry import RetrySpec
from bridge.api.spec.route import RouteSpec
from bridge.api.spec.upstream import Upstream
from bridge.api.spec.upstream_tokens import (
    ClientCredentialsUpstreamAuth,
    SignedJwtUpstreamAuth,
    TokenExchangeUpstreamAuth,
    TokenRequestSpec,
)
from bridge.config.settings import Settings
from bridge.egress.client_credentials import ClientCredentials, ClientToken
from bridge.egress.signed_jwt import SignedJwt
from bridge.egress.signing_keys import FILE, KeysUnavailable, SigningKeys
from bridge.egress.token_cache import TokenCounts, TokenEndpoint
from bridge.egress.token_endpoint import TIMEOUT, MeshPoster, Poster, UrlPoster
from bridge.egress.token_exchange import Exchanges, TokenExchange
from bridge.egress.token_request import PATH, TokenRequest, key_of, sent_to
from bridge.errors import BindError, Fault
from bridge.transport.fetch import Fetcher, check_url

#: Of a route's ``timeout``: what a call waits for a token at most, so that there is time to say why it failed.
SHARE = 0.9

_KINDS = (ClientCredentialsUpstreamAuth, TokenExchangeUpstreamAuth, SignedJwtUpstreamAuth)

#: Binds an upstream of the mesh (`bridge.cluster.pool.Upstreams.bind`).
Connect = Callable[[Upstream, str, ConnectionSpec, RetrySpec | None], Any]


class CredentialsBinder:
    """Binds the credentials of routes; those that ask for the same tokens share them.

    :param connect: for token endpoints in the mesh.
    :param writing: whether the gateway's keys may be made.
    :param clock: seconds, monotonic.
    :ivar keys: by which tokens for services are signed.
    :ivar counts: of token requests.
    """

    def __init__(
        self,
        settings: Settings,
        fetcher: Fetcher,
        connect: Connect,
        *,
        writing: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._fetcher, self._connect = settings, fetcher, connect
        self._writing, self._clock = writing, clock
        self.keys = SigningKeys(settings.state / FILE, time.time)
        self.counts = TokenCounts()
        self._shared: WeakValueDictionary[str, ClientToken | Exchanges] = WeakValueDictionary()

    def bind(self, spec: RouteSpec) -> Credentials | None:
        """The credentials of a route; None if it has none of these kinds. Called within its grant.

        :raises bridge.api.BindError: they can't be used, or the route may not use them.
        """
        wait = min(TIMEOUT + 1.0, SHARE * spec.timeout)
        if isinstance(spec.upstream_auth, _KINDS):
            _check_fields(spec)
        match spec.upstream_auth:
            case ClientCredentialsUpstreamAuth() as auth:
                return ClientCredentials(self._client_token(auth), wait)
            case TokenExchangeUpstreamAuth() as auth:
                _check_caller(spec)
                return TokenExchange(self._exchanges(auth), wait)
            case SignedJwtUpstreamAuth() as auth:
                signed = SignedJwt(spec, auth, self.keys, self._settings.signed_jwt_issuer, self._settings.home)
                self._prepare()
                return signed
        return None

    async def aclose(self) -> None:
        for shared in list(self._shared.values()):
            shared.cancel()

    def _client_token(self, auth: ClientCredentialsUpstreamAuth) -> ClientToken:
        with sent_to(auth):
            request = TokenRequest(auth, self._settings.home)
        key = key_of(auth)
        shared = self._shared.get(key)
        if shared is None:
            poster = self._poster(auth)
            shared = self._shared[key] = ClientToken(request, poster, self._endpoint(poster, auth.type), self._clock)
        assert isinstance(shared, ClientToken)
        return shared

    def _exchanges(self, auth: TokenExchangeUpstreamAuth) -> Exchanges:
        with sent_to(auth):
            needed_grant(PATH).check_own(CALLER_TOKEN, (*PATH, "type"))
            poster = self._poster(auth)
            endpoint = self._endpoint(poster, auth.type)
            exchanges = Exchanges(auth, self._settings.home, poster, endpoint, self._clock)
        key = key_of(auth)
        shared = self._shared.setdefault(key, exchanges)
        assert isinstance(shared, Exchanges)
        return shared

    def _endpoint(self, poster: Poster, kind: str) -> TokenEndpoint:
        return TokenEndpoint(poster.name, partial(self.counts.add, kind), self._clock)

    def _poster(self, auth: TokenRequestSpec) -> Poster:
        """:raises bridge.api.BindError: the endpoint can't be asked."""
        if auth.token_upstream is not None:
            upstream = Upstream.parse(auth.token_upstream)
            try:
                cluster = self._connect(upstream, "http", ConnectionSpec(), None)
            except BindError as error:
                raise BindError([Fault(fault.reason, (*PATH, "token_upstream")) for fault in error.faults]) from None
            path = (upstream.path or "/") + (f"?{upstream.query}" if upstream.query else "")
            return MeshPoster(cluster.send, path, f"{upstream.name}:{upstream.port}")
        assert auth.token_url is not None
        try:
            check_url(auth.token_url, self._settings.fetch_networks)
        except ValueError as error:
            raise BindError(Fault(f"it can't be used: {error}", (*PATH, "token_url"))) from None
        return UrlPoster(self._fetcher, auth.token_url, origin_of(auth.token_url))

    def _prepare(self) -> None:
        """The keys are there before the first call, so that services can read them.

        :raises bridge.api.BindError: they can't be kept.
        """
        if self._writing and not self.keys.fresh:
            try:
                self.keys.refresh()
            except KeysUnavailable as error:
                raise BindError(Fault(str(error), (*PATH, "type"))) from None


def _check_fields(spec: RouteSpec) -> None:
    """:raises bridge.api.BindError: the route itself says what the field of the credentials holds."""
    for name in spec.headers.request.names:
        if name.lower() == "authorization":
            raise BindError(Fault(f"upstream_auth sends {name!r} already", ("headers", "request")))


def _check_caller(spec: RouteSpec) -> None:
    """:raises bridge.api.BindError: no caller of the route has a token."""
    kinds = spec.auth.any if isinstance(spec.auth, AnyAuth) else (spec.auth,)
    if not any(isinstance(kind, JwtAuth | OAuth2Auth) for kind in kinds):
        raise BindError(
            Fault(
                "token_exchange needs callers with a token: auth of type JWT or oauth2, or any of which one is",
                (*PATH, "type"),
            )
        )
