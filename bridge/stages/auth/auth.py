"""A spec's ``auth`` block as one awaitable object: who calls, and whether they may.

Kinds: ``none``, ``JWT``, ``oauth2``, ``api_key``, ``mtls``, and ``any`` of them. Each kind finds its own credentials in
the call: in its header fields, or on its connection. These fields are named in `Authenticator.consumes` and never reach
an upstream.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api.authenticator import Authenticator
from bridge.api.spec import auth as spec
from bridge.config.settings import Networks
from bridge.stages.auth.anonymous import OpenAuthenticator
from bridge.stages.auth.api_key import ApiKeyAuthenticator, KeyStore
from bridge.stages.auth.bearer import JwtAuthenticator
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.jws import issuer_of
from bridge.stages.auth.mtls import MtlsAuthenticator
from bridge.stages.auth.oauth2 import OAuth2Authenticator
from bridge.stages.auth.possession import Possession, no_possession
from bridge.stages.auth.several import AnyAuthenticator, Kind


def build_authenticator(
    auth: spec.Auth,
    trust: Trust,
    keys: KeyStore,
    internal_networks: Networks = (),
    *,
    keeps_token: bool = False,
    possession: Possession | None = None,
) -> Authenticator:
    """The authenticator of one route.

    :param keeps_token: whether `Identity.token` is set.
    :param possession: knows the callers' certificates; None: there are no authorities of these.
    :raises BindError: an issuer or authority that isn't trusted, or an impossible header.
    """
    if isinstance(auth, spec.NoAuth):
        return OpenAuthenticator(internal_networks)
    if possession is None:
        possession = no_possession()
    if isinstance(auth, spec.AnyAuth):
        some = [one for one in auth.any if not isinstance(one, spec.NoAuth)]
        kinds = [_one(one, trust, keys, internal_networks, keeps_token, possession) for one in some]
        _divide(auth, kinds, trust)
        fallback = OpenAuthenticator(internal_networks) if len(kinds) < len(auth.any) else None
        return AnyAuthenticator(kinds, fallback) if kinds else OpenAuthenticator(internal_networks)
    return _one(auth, trust, keys, internal_networks, keeps_token, possession)


def build_admin_authenticator(
    trust: Trust, internal_networks: Networks = (), possession: Possession | None = None
) -> Authenticator:
    """The admin API's: a JWT of any trusted issuer, for any audience; roles are checked with `require_role`."""
    return JwtAuthenticator(spec.JwtAuth(type="JWT"), trust, internal_networks, possession)


def _one(
    auth: spec.OneAuth, trust: Trust, keys: KeyStore, internal: Networks, keeps_token: bool, possession: Possession
) -> Kind:
    if isinstance(auth, spec.JwtAuth):
        return JwtAuthenticator(auth, trust, internal, possession, keeps_token=keeps_token)
    if isinstance(auth, spec.OAuth2Auth):
        return OAuth2Authenticator(auth, trust, internal, possession, keeps_token=keeps_token)
    if isinstance(auth, spec.ApiKeyAuth):
        return ApiKeyAuthenticator(auth, keys, internal)
    assert isinstance(auth, spec.MtlsAuth)  # `none` is nobody's credentials
    return MtlsAuthenticator(auth, possession.certificates, internal)


def _divide(auth: spec.AnyAuth, kinds: Sequence[Kind], trust: Trust) -> None:
    """``JWT`` and ``oauth2`` in one list share the Authorization header. A JWT of a trusted issuer that an entry of
    ``JWT`` takes is verified here, and nothing else decides about it; its issuer is asked about every other token."""
    issuers = {one.issuer for one in auth.any if isinstance(one, spec.JwtAuth)}
    if not issuers or not any(isinstance(one, spec.OAuth2Auth) for one in auth.any):
        return

    def is_verified_here(token: str) -> bool:
        issuer = issuer_of(token)
        return trust.trusts(issuer) and ("" in issuers or issuer in issuers)

    for kind in kinds:
        if isinstance(kind, JwtAuthenticator):
            kind.takes = is_verified_here
        elif isinstance(kind, OAuth2Authenticator):
            kind.takes = lambda token: not is_verified_here(token)
