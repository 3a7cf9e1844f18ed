"""Bearer tokens, and of them ``JWT``: those that issuers sign."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from bridge.api.authenticator import Security
from bridge.api.call import Call, Identity
from bridge.api.spec import auth as spec
from bridge.config.settings import Networks
from bridge.errors import BindError, Fault, Forbidden, Unauthorized
from bridge.http.client_address import within
from bridge.stages.auth import dpop
from bridge.stages.auth.anonymous import address_key
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.jwt import REALM, Verified, refuse
from bridge.stages.auth.mtls import check_authorities
from bridge.stages.auth.needs import Needs
from bridge.stages.auth.possession import Possession, Proof, challenging, no_possession, sent_as_dpop, with_proof
from bridge.stages.auth.sources import checked, listed, security_of

#: RFC 6750, section 2.1.
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_SCHEME = re.compile("(?:bearer|dpop) ", re.IGNORECASE)

_BEARER = f'Bearer realm="{REALM}"'
#: By what a route demands of tokens; without credentials, a challenge names no error (RFC 6750, section 3.1).
CHALLENGES: Mapping[Proof, str] = {
    "": _BEARER,
    "certificate": _BEARER,
    "dpop": dpop.CHALLENGE,
    "any": f"{_BEARER}, {dpop.CHALLENGE}",
}
_BY_DPOP = ("dpop", "any")
_ACCEPTED: Mapping[Proof, str] = {
    "": "a bearer token",
    "certificate": "a bearer token that is bound to the client's certificate",
    "dpop": "a DPoP token with its proof",
    "any": "a token that is bound to the client's certificate or DPoP key",
}


class BearerAuthenticator:
    """Tokens in the Authorization header and nowhere else (RFC 6750, section 2.1; RFC 9449, section 7.1): what all
    kinds of them share, which is how a token is read and what a route asks of it. One that is bound to a key is sent
    with its proof (`bridge.stages.auth.possession`).

    :ivar kind: the spec's ``type``.
    :ivar takes: whether a token is for this kind to judge; None: all are.
    """

    kind = ""

    def __init__(
        self,
        auth: spec.JwtAuth | spec.OAuth2Auth,
        internal: Networks,
        possession: Possession | None = None,
        *,
        keeps_token: bool,
    ) -> None:
        self._issuer = auth.issuer
        self._sources = checked(auth.sources)
        self._possession = possession or no_possession()
        self._proof: Proof = auth.proof or ""
        if auth.proof == "certificate":
            check_authorities(self._possession.certificates, "", ("auth", "proof"))
        self.consumes = frozenset({"authorization", dpop.FIELD} if self._proof in _BY_DPOP else {"authorization"})
        self.challenge = CHALLENGES[self._proof]
        self.accepts = f"{_ACCEPTED[self._proof]} in {listed('the Authorization header', auth.sources)}"
        self._audiences = frozenset([auth.audience] if isinstance(auth.audience, str) else auth.audience) - {""}
        self._needs = Needs(auth.roles, auth.scopes, auth.methods, bearer=True)
        self._internal = internal
        self._keeps_token = keeps_token
        self.takes: Callable[[str], bool] | None = None

    def present(self, call: Call) -> bool:
        takes = self.takes
        return any(
            name == "authorization"
            and (match := _SCHEME.match(value)) is not None
            and (takes is None or takes(value[match.end() :].strip(" ")))
            for name, value in call.headers
        )

    def _judged(self, verified: Verified, call: Call, token: str, *, by_dpop: bool | None = None) -> Identity:
        """:param by_dpop: whether the token was sent as ``DPoP``; None: that is looked up.
        :raises Forbidden, Unauthorized: the token is valid, but not for this route.
        """
        if self._issuer and verified.issuer.name != self._issuer:
            refuse("The token comes from another issuer than this route takes.")
        if self._audiences and self._audiences.isdisjoint(verified.audiences):
            refuse("The token was made for another audience (aud).")
        claims = verified.identity.claims
        if by_dpop is None:
            by_dpop = sent_as_dpop(call)
        denial: Forbidden | None = None
        try:
            self._needs.judge(verified.identity, call.method)
        except Forbidden as error:
            denial = error  # it is told to those who have the key; their proof still counts for another entry of `any`
        if by_dpop or self._proof or "cnf" in claims:
            proved = self._possession
            proved.check(call, claims, token, by_dpop=by_dpop, demand=self._proof, spend=denial is None)
        if denial is not None:
            raise denial
        inside = bool(self._internal) and within(call.peer, self._internal)
        identity = verified.inside if inside else verified.identity
        if not identity.key:
            identity = replace(identity, key=address_key(call.peer))
        return replace(identity, token=token) if self._keeps_token else identity

    def _token(self, call: Call) -> str:
        """The call's token.

        :raises Unauthorized: it has none, or more than one.
        """
        values = call.values("authorization")
        if len(values) != 1:
            if values:
                refuse("The Authorization header was sent more than once.", "invalid_request")
            # RFC 6750, section 3.1: without credentials, the challenge names no error.
            raise Unauthorized(f"This route takes {self.accepts}.", headers=[("www-authenticate", self.challenge)])
        scheme, _, token = values[0].partition(" ")
        token = token.strip(" ")
        if scheme.lower() not in ("bearer", "dpop"):
            raise Unauthorized(f"This route takes {self.accepts}.", headers=[("www-authenticate", self.challenge)])
        if not _B64TOKEN.fullmatch(token):
            refuse("The bearer token is malformed.")
        return token


class JwtAuthenticator(BearerAuthenticator):
    """``JWT``: a token that a trusted issuer signed."""

    kind = "JWT"

    def __init__(
        self,
        auth: spec.JwtAuth,
        trust: Trust,
        internal: Networks,
        possession: Possession | None = None,
        *,
        keeps_token: bool = False,
    ) -> None:
        if auth.issuer and not trust.trusts(auth.issuer):
            raise BindError(
                Fault(f"{auth.issuer} is not a trusted issuer; it needs an entry in issuers.yml", ("auth", "issuer"))
            )
        super().__init__(auth, internal, possession, keeps_token=keeps_token)
        self._verifier = trust.verifier

    def known(self, call: Call) -> Identity | None:
        values = call.values("authorization")
        if len(values) != 1 or not values[0].startswith("Bearer "):  # the usual spelling
            return None
        token = values[0][7:]
        verified = self._verifier.known(token)
        return None if verified is None else self._judged(verified, call, token, by_dpop=False)

    async def __call__(self, call: Call) -> Identity:
        token = self._token(call)
        with challenging(call):
            return self._judged(await self._verifier.verify(token), call, token)

    def openapi_scheme(self, method: str = "") -> Security:
        scheme = {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A JSON Web Token of an issuer that this gateway trusts.",
        }
        security = security_of("bearerJWT", scheme, self._sources, self._needs.listed(method))
        return with_proof(security, self._proof)
