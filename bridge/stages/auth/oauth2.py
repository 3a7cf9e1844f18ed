"""``oauth2``: bearer tokens about which their issuer is asked (RFC 7662)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bridge.api.authenticator import Security
from bridge.api.call import Call, Identity
from bridge.api.spec import auth as spec
from bridge.config.settings import Networks
from bridge.errors import BindError, Fault, IssuerUnavailable, Unauthorized
from bridge.stages.auth.bearer import BearerAuthenticator
from bridge.stages.auth.introspection import Introspector
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.jwt import Verified, refuse
from bridge.stages.auth.possession import Possession, challenging, with_proof
from bridge.stages.auth.sources import security_of


class OAuth2Authenticator(BearerAuthenticator):
    """``oauth2``: a bearer token, JWT or not, that its issuer says is active."""

    kind = "oauth2"

    def __init__(
        self,
        auth: spec.OAuth2Auth,
        trust: Trust,
        internal: Networks,
        possession: Possession | None = None,
        *,
        keeps_token: bool = False,
    ) -> None:
        super().__init__(auth, internal, possession, keeps_token=keeps_token)
        self._trust = trust
        self._bound = _introspector(auth.issuer, trust)

    def known(self, call: Call) -> Identity | None:
        values = call.values("authorization")
        if len(values) != 1 or not values[0].startswith("Bearer "):  # the usual spelling
            return None
        token, introspector = values[0][7:], self._trust.introspector(self._issuer)
        verified = introspector.known(token) if introspector is not None else None
        return None if verified is None else self._judged(verified, call, token, by_dpop=False)

    async def __call__(self, call: Call) -> Identity:
        token = self._token(call)
        with challenging(call):
            return self._judged(await self._verified(token), call, token)

    async def _verified(self, token: str) -> Verified:
        while True:
            introspector = self._trust.introspector(self._issuer)
            if introspector is None:
                refuse("The token comes from an issuer that is not trusted here.")
            try:
                verified = await introspector.ask(token)
            except (IssuerUnavailable, Unauthorized):
                if self._trust.introspector(self._issuer) is introspector:
                    raise
            else:
                if self._trust.introspector(self._issuer) is introspector:
                    return verified
            # The issuer's entry was changed or removed while it was asked: what is trusted now decides.

    @property
    def remarks(self) -> Sequence[str]:
        issuer = self._asked().issuer.name
        return [f"oauth2: {issuer} is asked about the caller's token (RFC 7662). {self._revocation()}"]

    def _asked(self) -> Introspector:
        """The one that is asked; after it was taken out of issuers.yml, the last one."""
        return self._trust.introspector(self._issuer) or self._bound

    def _revocation(self) -> str:
        entry = self._asked().entry
        bound = f"A token that it has revoked is refused {_within(entry.cache)}"
        if entry.stale:
            bound += f", and {_within(entry.cache + entry.stale)} while the issuer can't be asked"
        return f"{bound}."

    def openapi_scheme(self, method: str = "") -> Security:
        issuer = self._asked().issuer.name
        scopes = self._needs.listed(method, roles=False)
        scheme = {
            "type": "oauth2",
            "description": f"A bearer token about which {issuer} is asked. {self._revocation()}",
            "flows": self._flows(issuer),
        }
        is_only = self._trust.introspector("") is not None
        name = "oauth2" if is_only else "oauth2_" + re.sub(r"[^A-Za-z0-9]+", "_", issuer)
        return with_proof(security_of(name, scheme, self._sources, scopes), self._proof)

    def _flows(self, issuer: str) -> Mapping[str, Any]:
        """An OAuth Flows Object (OpenAPI 3.1, section 4.8.28) of what the issuer says of itself; empty while that is
        not known."""
        metadata = self._trust.metadata(issuer)
        if metadata is None or metadata.token_endpoint is None:
            return {}
        flow: dict[str, Any] = {"tokenUrl": metadata.token_endpoint}
        flow["scopes"] = dict.fromkeys((*metadata.scopes_supported, *self._needs.all_scopes), "")
        if metadata.authorization_endpoint is None:
            return {"clientCredentials": flow}
        return {"authorizationCode": {"authorizationUrl": metadata.authorization_endpoint, **flow}}


def _introspector(issuer: str, trust: Trust) -> Introspector:
    """:raises BindError: it can't be asked about tokens, or none is named and there is not exactly one."""
    introspector = trust.introspector(issuer)
    if introspector is not None:
        return introspector
    names = sorted(trust.introspectors)
    path = ("auth", "issuer")
    if issuer and trust.trusts(issuer):
        reason = f"{issuer} can't be asked about tokens; its entry in issuers.yml needs introspection"
    elif issuer:
        reason = f"{issuer} is not a trusted issuer; it needs an entry in issuers.yml, with introspection"
    elif names:
        reason = f"several issuers can be asked about tokens; name one of {', '.join(names)}"
    else:
        reason = "no issuer can be asked about tokens; an entry in issuers.yml needs introspection"
        path = ("auth", "type")
    raise BindError(Fault(reason, path))


def _within(seconds: float) -> str:
    return f"within {seconds:g} second{'' if seconds == 1 else 's'}" if seconds else "at once"
