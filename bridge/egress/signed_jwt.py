"""``signed_jwt``: short-lived tokens that the gateway signs for services (RFC 7519)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bridge.api.call import Call
from bridge.api.grants import SIGNATURE, needed_grant
from bridge.api.spec.route import RouteSpec
from bridge.api.spec.upstream_tokens import SignedJwtUpstreamAuth
from bridge.api.values import ABSENT, Secret, call_values, invalid_value, is_origin, missing_value, read_origin
from bridge.egress.signing_keys import KeysUnavailable, SigningKeys
from bridge.errors import BindError, Fault, HeadTooLarge, KeyPath, UpstreamAuthFailed

LEEWAY = 10  #: seconds that a service's clock may be behind ours
MAX_TOKEN = 8 * 1024  #: characters

PATH: KeyPath = ("upstream_auth",)

_ClaimOf = Callable[[Call], Any]


class SignedJwt:
    """Credentials (`bridge.api.egress.Credentials`): a token signed for each call.

    :param issuer: the ``iss`` of this gateway.
    :param home: the folder that ``$file`` is relative to.
    :raises bridge.api.BindError: a value can't be used, or the route may not have the gateway's signature.
    """

    names: Collection[str] = ("authorization",)

    def __init__(
        self, spec: RouteSpec, auth: SignedJwtUpstreamAuth, keys: SigningKeys, issuer: str, home: Path
    ) -> None:
        grant = needed_grant(PATH)
        grant.check_own(SIGNATURE, (*PATH, "type"))
        audience = auth.audience or (spec.upstream.name,)
        if not grant.operator and audience != (spec.upstream.name,):
            # What its upstream gets could be sent on to another service, as if the gateway had sent it there.
            reason = f"a registered route signs for its upstream, {spec.upstream.name}; leave audience out"
            raise BindError(Fault(reason, (*PATH, "audience")))
        self._keys, self._issuer, self._ttl = keys, issuer, int(auth.ttl)
        self._audience: str | list[str] = audience[0] if len(audience) == 1 else list(audience)
        self._claims = {name: _claim(value, (*PATH, "claims", name), home) for name, value in auth.claims.items()}

    async def fields(self, call: Call) -> Sequence[tuple[str, str]]:
        claims = self._payload(call)
        try:
            if not self._keys.fresh:
                await self._keys.refreshed()
            token = self._keys.sign(claims)
        except KeysUnavailable as error:
            raise UpstreamAuthFailed(
                "The gateway can't sign a token for the service behind this route.", cause=str(error)
            ) from None
        if len(token) > MAX_TOKEN:
            raise HeadTooLarge("A header or a claim of this call is too large for the service behind this route.")
        return [("authorization", f"Bearer {token}")]

    def rejected(self, call: Call) -> None:
        """Each call has a token of its own already."""

    def _payload(self, call: Call) -> dict[str, Any]:
        """:raises bridge.api.ClientError: the call lacks a value."""
        now = int(call.clock())
        claims: dict[str, Any] = {"iss": self._issuer}
        if call.identity.subject:
            claims["sub"] = call.identity.subject
        for name, value in self._claims.items():
            claim = value(call)
            if claim is ABSENT:
                claims.pop(name, None)
            else:
                claims[name] = claim
        jti = base64.urlsafe_b64encode(call.random(12)).decode()
        return claims | {
            "aud": self._audience,
            "iat": now,
            "nbf": now - LEEWAY,
            "exp": now + self._ttl,
            "jti": jti,
        }


def _claim(value: Any, path: KeyPath, home: Path) -> _ClaimOf:
    """The claim of each call; ABSENT: it is left out.

    :raises bridge.api.BindError: the value can't be used.
    """
    if not is_origin(value):
        _check_plain(value, path)
        return lambda call: value
    origin = read_origin(value, path)
    if origin.secret:
        secret = Secret(origin, home)
        return lambda call: secret.text()

    def of_call(call: Call) -> Any:
        values = call_values(origin, call, whole=True)
        if len(values) > 1:
            raise invalid_value(origin, "a single value is wanted")
        if values:
            return values[0]
        if origin.default is ABSENT:
            raise missing_value(origin)
        return ABSENT if origin.default is None else origin.default

    return of_call


def _check_plain(value: Any, path: KeyPath) -> None:
    """:raises bridge.api.BindError: an origin stands within it."""
    inner: Sequence[tuple[str | int, Any]] = ()
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for key, item in inner:
        if is_origin(item):
            raise BindError(Fault("an origin is a claim of its own, not a part of one", (*path, key)))
        _check_plain(item, (*path, key))
