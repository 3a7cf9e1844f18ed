"""A spec's ``auth`` block as one awaitable object: who calls, and whether they may.

Kinds: ``none``, ``JWT``, ``api_key``, and ``any`` of them. Each kind finds its own credentials in the call's header
fields; those fields are named in `Authenticator.consumes` and never reach an upstream.
"""

from __future__ import annotations

from bridge.api.authenticator import Authenticator
from bridge.api.spec import auth as spec
from bridge.config.settings import Networks
from bridge.errors import BindError, Fault
from bridge.stages.auth.anonymous import OpenAuthenticator
from bridge.stages.auth.api_key import ApiKeyAuthenticator, KeyStore
from bridge.stages.auth.bearer import JwtAuthenticator
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.several import AnyAuthenticator, Kind


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


def _one(auth: spec.OneAuth, trust: Trust, keys: KeyStore, internal: Networks, keeps_token: bool) -> Kind:
    if isinstance(auth, spec.JwtAuth):
        return JwtAuthenticator(auth, trust, internal, keeps_token=keeps_token)
    if isinstance(auth, spec.ApiKeyAuth):
        return ApiKeyAuthenticator(auth, keys, internal)
    raise BindError(
        Fault(f"auth of type {auth.type} is not offered in this version; JWT, api_key and none are", ("auth", "type"))
    )
