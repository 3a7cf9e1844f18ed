"""Tokens that are bound to a key: to that of the client's certificate (RFC 8705, section 3) or of DPoP (RFC 9449)."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NoReturn

from bridge.api.authenticator import Security
from bridge.api.call import Call
from bridge.api.spec import auth as spec
from bridge.api.stream import WEBSOCKET
from bridge.config.settings import Networks, Settings
from bridge.errors import ClientError, Fault, Forbidden, SettingsError, Unauthorized
from bridge.http.client_address import within
from bridge.http.public_address import public_base
from bridge.stages.auth import dpop
from bridge.stages.auth.caller_certificates import CallerCertificates
from bridge.stages.auth.client_cas import ClientCas
from bridge.stages.auth.client_certificate import printable
from bridge.stages.auth.dpop import DpopProofs
from bridge.stages.auth.jwt import REALM
from bridge.stages.auth.mtls import SCHEME, SCHEME_OBJECT

#: What a route demands of tokens: ``""``: that bound ones are sent with their proof, and nothing of others.
Proof = Literal["", "certificate", "dpop", "any"]

#: The scheme of OpenAPI documents for DPoP; the registered name of the authentication scheme is ``DPoP``.
DPOP_SCHEME, DPOP_OBJECT = (
    "dpopJWT",
    {
        "type": "http",
        "scheme": "DPoP",
        "description": "A token that is bound to a key of the client, as `Authorization: DPoP TOKEN`, and in the field"
        " `DPoP` a proof for this request that the client has signed with that key (RFC 9449).",
    },
)


class Possession:
    """Whether who presents a token has the key that it is bound to.

    :param proxies: whose word on the gateway's public address counts.
    """

    def __init__(self, certificates: CallerCertificates, proofs: DpopProofs, proxies: Networks = ()) -> None:
        self.certificates, self._proofs, self._proxies = certificates, proofs, proxies

    def check(
        self,
        call: Call,
        claims: Mapping[str, Any],
        token: str,
        *,
        by_dpop: bool,
        demand: Proof = "",
        spend: bool = True,
    ) -> None:
        """Check ``cnf`` (RFC 7800) of a token that is valid by itself.

        :param by_dpop: the token was sent as ``Authorization: DPoP``, and not as ``Bearer`` or elsewhere.
        :param spend: whether a DPoP proof counts no more from now on; False for a call that is refused in any case.
        :raises Unauthorized: the key is missing or another one, or the route demands more.
        :raises ClientError: a trusted proxy sent a certificate that can't be read.
        """
        confirmation = claims.get("cnf")
        if confirmation is None:
            confirmation = {}
        if not isinstance(confirmation, dict):
            _refuse("The token is malformed: its cnf is no object.", by_dpop)
        certificate, key = confirmation.get("x5t#S256"), confirmation.get("jkt")
        if confirmation and certificate is None and key is None:
            _refuse("The token is bound to a key in a way that can not be checked here (cnf).", by_dpop)
        kind = claims.get("token_type")
        if key is None and isinstance(kind, str) and kind.lower() == "dpop":  # RFC 9449, section 6.2
            _refuse("The token is bound to a key that its issuer does not tell (cnf.jkt).", by_dpop)
        if certificate is None and (demand == "certificate" or (demand == "any" and key is None)):
            others = "" if demand == "certificate" else " or a DPoP key"
            _refuse(f"This route takes tokens that are bound to a client certificate{others} only.", by_dpop)
        if key is None and demand == "dpop":
            _refuse("This route takes tokens that are bound to a DPoP key only.", True)
        if key is None and by_dpop:
            _refuse("The token is not bound to a DPoP key (cnf.jkt); it is no DPoP token.", True)
        if certificate is not None:
            self._check_certificate(call, certificate, by_dpop)
        if key is not None:
            if not by_dpop:  # RFC 9449, section 7.2
                reason = "The token is bound to a key: send it as Authorization: DPoP, with a proof."
                bearer = f'Bearer realm="{REALM}", error="invalid_token"'
                fields = [("www-authenticate", bearer), ("www-authenticate", dpop.CHALLENGE)]
                raise Unauthorized(reason, headers=fields)
            self._check_proof(call, token, key, spend=spend)

    def _check_certificate(self, call: Call, wanted: object, by_dpop: bool) -> None:
        try:
            vouched = self.certificates.of(call)
        except Forbidden as error:  # RFC 8705, section 3: 401 with invalid_token
            _refuse(error.detail, by_dpop, error.cause)
        if vouched is None:
            _refuse("The token is bound to a client certificate, and the call has none.", by_dpop)
        thumbprint = vouched.certificate.thumbprint
        if not isinstance(wanted, str) or not hmac.compare_digest(wanted.encode(), thumbprint.encode()):
            subject = printable(vouched.certificate.subject)
            cause = f"a token that is bound to another certificate was sent with that of {subject}"
            _refuse("The token is bound to another client certificate.", by_dpop, cause)

    def _check_proof(self, call: Call, token: str, key: object, *, spend: bool) -> None:
        if not isinstance(key, str):
            _refuse("The token is malformed: its cnf.jkt is no text.", True)
        proofs = call.values(dpop.FIELD)
        if not proofs:
            dpop.refuse_proof("The token needs a proof in the DPoP header.")
        if len(proofs) > 1:
            dpop.refuse_proof("The DPoP header was sent more than once.")
        request = call.request
        if request is None:  # `explain`, and embedding without a server
            dpop.refuse_proof("A DPoP proof can not be checked here.")
        method = "GET" if request.method == WEBSOCKET else request.method
        url = self._url(call, request.secure)
        self._proofs.check(proofs[0], method=method, url=url, token=token, key=key, spend=spend)

    def _url(self, call: Call, secure: bool) -> str:
        """The URL that the client called, without its query."""
        scheme, host = "https" if secure else "http", call.header("host")
        base = ""
        if self._proxies and call.request is not None and within(call.request.peer, self._proxies):
            base = public_base(call.headers, scheme, host)
        return f"{base or f'{scheme}://{host}'}{call.path}"


def possession_of(settings: Settings, cas: ClientCas) -> Possession:
    """:raises SettingsError: the field of proxies is to be believed, and there are no proxies."""
    proxies = settings.trusted_proxies
    if settings.client_cert_header == "on" and not proxies:
        reason = "it needs BRIDGE_TRUSTED_PROXIES beside it: the addresses that may send the field"
        raise SettingsError(Fault(reason, ("BRIDGE_CLIENT_CERT_HEADER",)))
    senders = proxies if settings.client_cert_header == "on" else ()
    return Possession(CallerCertificates(cas, senders), DpopProofs(), proxies)


def wants_certificates(auth: spec.Auth) -> bool:
    """Whether a route has callers who must have a certificate."""
    kinds = auth.any if isinstance(auth, spec.AnyAuth) else (auth,)
    return any(kind.type == "mtls" or getattr(kind, "proof", None) == "certificate" for kind in kinds)


def no_possession() -> Possession:
    """For gateways without authorities of clients."""
    return Possession(CallerCertificates(ClientCas()), DpopProofs())


def sent_as_dpop(call: Call) -> bool:
    """Whether the token was sent as ``Authorization: DPoP``."""
    return call.header("authorization")[:5].lower() == "dpop "


@contextmanager
def challenging(call: Call) -> Iterator[None]:
    """Within it, a refusal of a token that was sent as ``DPoP`` gets a challenge of that scheme (RFC 9449, section
    7.1)."""
    try:
        yield
    except ClientError as error:
        if sent_as_dpop(call):
            prefix = f'Bearer realm="{REALM}"'
            error.headers = tuple(
                (name, dpop.CHALLENGE + value.removeprefix(prefix) if value.startswith(prefix) else value)
                for name, value in error.headers
            )
        raise


def with_proof(security: Security, demand: Proof) -> Security:
    """`security` of a bearer token, with what `demand` asks for beside it."""
    if not demand:
        return security
    schemes = dict(security.schemes) if demand != "dpop" else {}
    requirements: list[Mapping[str, Any]] = []
    if demand != "dpop":
        schemes[SCHEME] = SCHEME_OBJECT
        requirements += [{**requirement, SCHEME: []} for requirement in security.requirements]
    if demand != "certificate":
        schemes[DPOP_SCHEME] = DPOP_OBJECT
        needs = next(iter(next(iter(security.requirements), {"": ()}).values()))
        requirements.append({DPOP_SCHEME: list(needs)})
    return Security(schemes, tuple(requirements))


def _refuse(reason: str, by_dpop: bool, cause: str = "") -> NoReturn:
    if by_dpop:
        text = dpop.challenge("invalid_token", reason)
    else:
        text = f'Bearer realm="{REALM}", error="invalid_token", error_description="{reason.rstrip(".")}"'
    raise Unauthorized(reason, headers=[("www-authenticate", text)], cause=cause)
