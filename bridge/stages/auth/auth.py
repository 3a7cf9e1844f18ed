"""A spec's ``auth`` block as one awaitable object: who calls, and whether they may.

Kinds: ``none``, ``JWT``, ``api_key``, and ``any`` of them. Each kind finds its own credentials in the call's header
fields; those fields are named in `Authenticator.consumes` and never reach an upstream.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from bridge.api.authenticator import Authenticator, Security
from bridge.api.call import ADDRESS, Call, Identity
from bridge.api.spec import auth as spec
from bridge.config.settings import Networks
from bridge.errors import BindError, ClientError, Fault, Forbidden, RequestError, Unauthorized
from bridge.http.client_address import canonical, within
from bridge.observe.masking import is_secret
from bridge.stages.auth.api_key import ApiKeyVerifier, KeyStore, identity_of
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.jwt import REALM, Verified, refuse

#: RFC 6749, section 3.3: what may stand in a scope, and so between the quotes of a challenge.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
#: RFC 6750, section 2.1.
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class _Kind(Authenticator, Protocol):
    """An authenticator that ``any`` can choose by a call's credentials."""

    kind: str
    accepts: str
    challenge: str

    def present(self, call: Call) -> bool:
        """Whether the call has this kind's credentials, valid or not."""
        ...


@lru_cache(maxsize=16384)
def _address_key(peer: str) -> str:
    """The key by which an address is counted. An IPv6 caller usually has a /64 (RFC 6177), so that is one caller."""
    peer = canonical(peer)
    if ":" not in peer:
        return f"{ADDRESS}{peer}"
    try:
        return f"{ADDRESS}{ipaddress.ip_network((int(ipaddress.IPv6Address(peer)) >> 64 << 64, 64))}"
    except ValueError:
        return f"{ADDRESS}{peer}"


class OpenAuthenticator:
    """``none``: every caller, distinguished by address."""

    consumes: frozenset[str] = frozenset()

    def __init__(self, internal: Networks) -> None:
        self._internal = internal

    def known(self, call: Call) -> Identity:
        inside = bool(self._internal) and within(call.peer, self._internal)
        return Identity(key=_address_key(call.peer), internal=inside)

    async def __call__(self, call: Call) -> Identity:
        return self.known(call)

    def openapi_scheme(self) -> Security:
        return Security()


class JwtAuthenticator:
    """``JWT``: a bearer token of a trusted issuer, in the Authorization header and nowhere else (RFC 6750, 2.1)."""

    kind = "JWT"
    consumes = frozenset({"authorization"})
    challenge = f'Bearer realm="{REALM}"'

    def __init__(self, auth: spec.JwtAuth, trust: Trust, internal: Networks, *, keeps_token: bool = False) -> None:
        if auth.issuer and not trust.trusts(auth.issuer):
            raise BindError(
                Fault(f"{auth.issuer} is not a trusted issuer; it needs an entry in issuers.yml", ("auth", "issuer"))
            )
        self._issuer = auth.issuer
        self._sources = _checked(auth.sources)
        self.accepts = f"a bearer token in {_listed('the Authorization header', auth.sources)}"
        self._audiences = frozenset([auth.audience] if isinstance(auth.audience, str) else auth.audience) - {""}
        self._needs = Needs(auth.roles, auth.scopes, bearer=True)
        self._verifier = trust.verifier
        self._internal = internal
        self._keeps_token = keeps_token

    def present(self, call: Call) -> bool:
        return any(name == "authorization" and value[:7].lower() == "bearer " for name, value in call.headers)

    def known(self, call: Call) -> Identity | None:
        values = call.values("authorization")
        if len(values) != 1 or not values[0].startswith("Bearer "):  # the usual spelling
            return None
        verified = self._verifier.known(values[0][7:])
        return None if verified is None else self._judged(verified, call)

    async def __call__(self, call: Call) -> Identity:
        token = self._token(call.values("authorization"))
        return self._judged(await self._verifier.verify(token), call)

    def _judged(self, verified: Verified, call: Call) -> Identity:
        """:raises Forbidden, Unauthorized: the token is valid, but not for this route."""
        if self._issuer and verified.issuer.name != self._issuer:
            refuse("The token comes from another issuer than this route takes.")
        if self._audiences and self._audiences.isdisjoint(verified.audiences):
            refuse("The token was made for another audience (aud).")
        self._needs.judge(verified.identity)
        inside = bool(self._internal) and within(call.peer, self._internal)
        identity = verified.inside if inside else verified.identity
        if not identity.key:
            identity = replace(identity, key=_address_key(call.peer))
        return replace(identity, token=verified.token) if self._keeps_token else identity

    def _token(self, values: Sequence[str]) -> str:
        """The token in the Authorization fields' `values`."""
        if len(values) != 1:
            if values:
                refuse("The Authorization header was sent more than once.", "invalid_request")
            # RFC 6750, section 3.1: without credentials, the challenge names no error.
            raise Unauthorized(f"This route takes {self.accepts}.", headers=[("www-authenticate", self.challenge)])
        scheme, _, token = values[0].partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized(f"This route takes {self.accepts}.", headers=[("www-authenticate", self.challenge)])
        if not _B64TOKEN.fullmatch(token):
            refuse("The bearer token is malformed.")
        return token

    def openapi_scheme(self) -> Security:
        scheme = {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A JSON Web Token of an issuer that this gateway trusts.",
        }
        return _security("bearerJWT", scheme, self._sources, [*self._needs.roles, *self._needs.scopes])


class ApiKeyAuthenticator:
    """``api_key``: a key of the gateway's own in a header field."""

    kind = "api_key"

    def __init__(self, auth: spec.ApiKeyAuth, keys: KeyStore, internal: Networks) -> None:
        self._verifier = ApiKeyVerifier(auth, keys)
        self._needs = Needs(auth.roles, auth.scopes, bearer=False)
        self._internal = internal
        self.consumes = frozenset({self._verifier.header})
        self._sources = _checked(auth.sources)
        self.accepts = f"an API key in {_listed(f'the {self._verifier.field} header', auth.sources)}"
        self._verifier.accepts = self.accepts
        self.challenge = self._verifier.challenge

    def present(self, call: Call) -> bool:
        return self._verifier.present(call)

    async def __call__(self, call: Call) -> Identity:
        return self.known(call)

    def known(self, call: Call) -> Identity:
        key = self._verifier.verify(call)
        identity = identity_of(key, bool(self._internal) and within(call.peer, self._internal))
        self._needs.judge(identity)
        return identity

    def openapi_scheme(self) -> Security:
        header = self._verifier.field
        standard = header.lower() == "x-api-key"
        name = "apiKey" if standard else "apiKey_" + re.sub(r"[^A-Za-z0-9._-]", "_", header.lower())
        scheme = {"type": "apiKey", "in": "header", "name": header, "description": "A key that this gateway gave out."}
        return _security(name, scheme, self._sources, [*self._needs.roles, *self._needs.scopes])


def _checked(sources: Sequence[spec.Source]) -> Sequence[spec.Source]:
    """:raises BindError: a query parameter has a name by which the access log would not mask it."""
    for at, source in enumerate(sources):
        if isinstance(source, spec.QuerySource) and not is_secret(source.query):
            reason = f"the access log masks what sounds like a secret, and {source.query!r} does not; "
            raise BindError(Fault(f"{reason}call it token, access_token or api_key", ("auth", "from", at)))
    return sources


def _listed(header: str, sources: Sequence[spec.Source]) -> str:
    names = [
        f"the cookie {one.cookie}"
        if isinstance(one, spec.CookieSource)
        else f"the query parameter {one.query}"
        if isinstance(one, spec.QuerySource)
        else header
        for one in sources
    ]
    return " or ".join([*([", ".join(names[:-1])] if names[:-1] else []), names[-1]])


def _security(name: str, scheme: Mapping[str, Any], sources: Sequence[spec.Source], needs: Sequence[str]) -> Security:
    """:param scheme: of the header; a client chooses one of `sources`. :param needs: roles and scopes."""
    schemes: dict[str, Mapping[str, Any]] = {}
    for one in sources:
        if isinstance(one, str):
            schemes[name] = scheme
            continue
        place, parameter = ("cookie", one.cookie) if isinstance(one, spec.CookieSource) else ("query", one.query)
        key = re.sub(r"[^A-Za-z0-9._-]", "_", f"{name}_{place}_{parameter}")
        schemes[key] = {"type": "apiKey", "in": place, "name": parameter, "description": scheme["description"]}
    return Security(schemes, tuple({key: list(needs)} for key in schemes))


class AnyAuthenticator:
    """``any``: the first kind whose credentials the call has decides. Wrong credentials do not lead to a later kind;
    only several entries of the deciding kind are tried in turn. ``none`` at any place in the list admits callers
    without credentials."""

    def __init__(self, kinds: Sequence[_Kind], fallback: OpenAuthenticator | None) -> None:
        self._kinds = kinds
        self._fallback = fallback
        self.consumes = frozenset[str]().union(*(kind.consumes for kind in kinds))

    def known(self, call: Call) -> Identity | None:
        return None

    async def __call__(self, call: Call) -> Identity:
        first = next((kind for kind in self._kinds if kind.present(call)), None)
        if first is None:
            if self._fallback is not None:
                return await self._fallback(call)
            raise self._nothing()
        problem: RequestError | None = None
        for kind in self._kinds:
            if kind.kind == first.kind and kind.present(call):
                try:
                    return await kind(call)
                except ClientError as error:
                    # Valid but insufficient credentials are a better reason than wrong ones.
                    if problem is None or isinstance(error, Forbidden):
                        problem = error
        assert problem is not None
        raise problem

    def _nothing(self) -> Unauthorized:
        accepted = " or ".join(dict.fromkeys(kind.accepts for kind in self._kinds))
        challenges = dict.fromkeys(kind.challenge for kind in self._kinds)
        return Unauthorized(
            f"This route takes {accepted}.", headers=[("www-authenticate", challenge) for challenge in challenges]
        )

    def openapi_scheme(self) -> Security:
        parts = [kind.openapi_scheme() for kind in self._kinds]
        schemes = {name: scheme for part in parts for name, scheme in part.schemes.items()}
        requirements = [requirement for part in parts for requirement in part.requirements]
        # OpenAPI 3.1: an empty requirement beside others makes security optional.
        return Security(schemes, (*requirements, {}) if self._fallback else tuple(requirements))


class Needs:
    """A route's conditions for an authenticated caller: one of `roles`, all of `scopes`.

    :param bearer: refusals carry the challenge of RFC 6750, section 3.1, which only tokens have.
    """

    def __init__(self, roles: Iterable[str], scopes: Iterable[str], *, bearer: bool) -> None:
        self.roles = tuple(roles)
        self.scopes = tuple(scopes)
        self._roles = frozenset(self.roles)
        self._scopes = frozenset(self.scopes)
        challenge = f'Bearer realm="{REALM}", error="insufficient_scope"'
        if self.scopes and all(map(_SCOPE.fullmatch, self.scopes)):
            challenge += f', scope="{" ".join(self.scopes)}"'
        self._headers = [("www-authenticate", challenge)] if bearer else []

    def judge(self, identity: Identity) -> None:
        """:raises Forbidden: a role or scope is missing; `detail` names it."""
        if self._roles and self._roles.isdisjoint(identity.roles):
            which = f"the role {self.roles[0]}" if len(self.roles) == 1 else f"one of the roles {', '.join(self.roles)}"
            raise Forbidden(f"This needs {which}.", headers=self._headers)
        if not self._scopes <= identity.scopes:
            missing = [scope for scope in self.scopes if scope not in identity.scopes]
            which = f"the scope {missing[0]}" if len(missing) == 1 else f"the scopes {', '.join(missing)}"
            raise Forbidden(f"This needs {which}.", headers=self._headers)


def require_role(identity: Identity, role: str) -> None:
    """:raises Forbidden: the caller doesn't have `role`."""
    Needs([role], (), bearer=True).judge(identity)


def build_authenticator(
    auth: spec.Auth, trust: Trust, keys: KeyStore, internal_networks: Networks = (), *, keeps_token: bool = False
) -> Authenticator:
    """The authenticator of one route.

    :param keeps_token: whether `Identity.token` is set.
    :raises BindError: a kind that this version doesn't have, an issuer that isn't trusted, or an impossible header.
    """
    if isinstance(auth, spec.NoAuth):
        return OpenAuthenticator(internal_networks)
    if isinstance(auth, spec.AnyAuth):
        some = [one for one in auth.any if not isinstance(one, spec.NoAuth)]
        kinds = [_one(one, trust, keys, internal_networks, keeps_token) for one in some]
        fallback = OpenAuthenticator(internal_networks) if len(kinds) < len(auth.any) else None
        return AnyAuthenticator(kinds, fallback) if kinds else OpenAuthenticator(internal_networks)
    return _one(auth, trust, keys, internal_networks, keeps_token)


def build_admin_authenticator(trust: Trust, internal_networks: Networks = ()) -> Authenticator:
    """The admin API's: a JWT of any trusted issuer, for any audience; roles are checked with `require_role`."""
    return JwtAuthenticator(spec.JwtAuth(type="JWT"), trust, internal_networks)


def _one(auth: spec.OneAuth, trust: Trust, keys: KeyStore, internal: Networks, keeps_token: bool) -> _Kind:
    if isinstance(auth, spec.JwtAuth):
        return JwtAuthenticator(auth, trust, internal, keeps_token=keeps_token)
    if isinstance(auth, spec.ApiKeyAuth):
        return ApiKeyAuthenticator(auth, keys, internal)
    raise BindError(
        Fault(f"auth of type {auth.type} is not offered in this version; JWT, api_key and none are", ("auth", "type"))
    )
