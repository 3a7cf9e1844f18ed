"""``mtls``: callers with a client certificate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cryptography import x509

from bridge.api.authenticator import Security
from bridge.api.call import Call, Identity
from bridge.api.spec import auth as spec
from bridge.config.settings import Networks
from bridge.errors import BindError, Fault, Forbidden, Unauthorized
from bridge.http.client_address import within
from bridge.stages.auth.caller_certificates import CallerCertificates
from bridge.stages.auth.client_cas import Vouched
from bridge.stages.auth.client_certificate import ClientCertificate, name_parts, printable
from bridge.stages.auth.jwt import REALM
from bridge.stages.auth.needs import Needs

#: The scheme of OpenAPI documents (OpenAPI 3.1, Security Scheme Object).
SCHEME, SCHEME_OBJECT = (
    "mutualTLS",
    {
        "type": "mutualTLS",
        "description": "A certificate of an authority that this gateway trusts, in the TLS handshake.",
    },
)


class MtlsAuthenticator:
    """``mtls``: a certificate for which an authority of ``client-cas.yml`` vouches, with a name that it takes."""

    kind = "mtls"
    consumes: frozenset[str] = frozenset()
    accepts = "a client certificate"
    challenge = f'Certificate realm="{REALM}"'

    def __init__(self, auth: spec.MtlsAuth, certificates: CallerCertificates, internal: Networks) -> None:
        """:raises BindError: an authority that there is not, or a rule that can't be read."""
        check_authorities(certificates, auth.ca, ("auth", "ca"))
        self._certificates = certificates
        self._ca = auth.ca
        self._subjects = [_subject_rule(rule, number) for number, rule in enumerate(auth.subjects)]
        self._sans = [_san_rule(rule, number) for number, rule in enumerate(auth.sans)]
        self._needs = Needs(auth.roles, auth.scopes, auth.methods, bearer=False)
        self._internal = internal

    def present(self, call: Call) -> bool:
        return self._certificates.present(call)

    async def __call__(self, call: Call) -> Identity:
        return self.known(call)

    def known(self, call: Call) -> Identity:
        vouched = self._certificates.of(call)
        if vouched is None:
            raise Unauthorized(
                f"This route takes {self.accepts}, and the call has none.",
                headers=[("www-authenticate", self.challenge)],
            )
        self._judge(vouched)
        inside = bool(self._internal) and within(call.peer, self._internal)
        identity = vouched.inside if inside else vouched.identity
        self._needs.judge(identity, call.method)
        return identity

    def _judge(self, vouched: Vouched) -> None:
        certificate, ca = vouched.certificate, vouched.ca
        who = printable(certificate.subject or certificate.owner)
        cause = f"client certificate of {who}, by {ca.name}: not one of this route"
        if self._ca and ca.name != self._ca:
            raise Forbidden("The client certificate is of another authority than this route takes.", cause=cause)
        if self._subjects and not any(rule(certificate) for rule in self._subjects):
            raise Forbidden("The client certificate has a subject that this route does not take.", cause=cause)
        if self._sans and not any(rule(certificate) for rule in self._sans):
            raise Forbidden("The client certificate has no name (SAN) that this route takes.", cause=cause)

    def openapi_scheme(self, method: str = "") -> Security:
        return Security({SCHEME: SCHEME_OBJECT}, ({SCHEME: self._needs.listed(method)},))


def check_authorities(certificates: CallerCertificates, name: str, path: tuple[str, ...]) -> None:
    """:param name: of an authority; ``""`` for any.
    :raises BindError: there is none.
    """
    known = certificates.cas.names
    if name and name not in known:
        reason = f"{name} is not an authority of clients; it needs an entry in client-cas.yml"
        raise BindError(Fault(reason, path))
    if not known:
        reason = "no authority of clients is configured, so no certificate can be judged; client-cas.yml names them"
        raise BindError(Fault(reason, path))


# --- rules ----------------------------------------------------------------------------------------------------------

Rule = Callable[[ClientCertificate], bool]


def _subject_rule(text: str, number: int) -> Rule:
    """A distinguished name (RFC 4514). ``*`` within a value stands for any characters of that value, so that it can't
    reach into another part of the name.

    :raises BindError: it is no distinguished name.
    """
    try:
        wanted = name_parts(x509.Name.from_rfc4514_string(text))
        if not wanted:
            raise ValueError
    except ValueError:
        reason = f"{text[:80]!r} is no distinguished name; write CN=clerk,O=Court, with * for any text within a value"
        raise BindError(Fault(reason, ("auth", "subjects", number))) from None
    patterns = [[(oid, _pattern(value, ".")) for oid, value in part] for part in wanted]

    def fits(certificate: ClientCertificate) -> bool:
        parts = certificate.parts
        return len(parts) == len(patterns) and all(map(_part_fits, parts, patterns))

    return fits


def _part_fits(part: Sequence[tuple[str, str]], pattern: Sequence[tuple[str, re.Pattern[str]]]) -> bool:
    return len(part) == len(pattern) and all(
        oid == wanted and rule.fullmatch(value) is not None
        for (oid, value), (wanted, rule) in zip(part, pattern, strict=True)
    )


def _san_rule(text: str, number: int) -> Rule:
    """``dns:NAME`` (``*`` is one label), ``uri:URI`` (``*`` is any text without ``/``, ``?`` and ``#``) or
    ``email:ADDRESS`` (``*`` is any text without ``@``).

    :raises BindError: it is none of them.
    """
    kind, _, wanted = text.partition(":")
    if kind == "dns" and wanted:
        name = _pattern(wanted.lower(), "[^.]")
        return lambda certificate: any(name.fullmatch(each.lower()) for each in certificate.dns)
    if kind == "uri" and ":" in wanted:
        uri = _pattern(wanted, "[^/?#]")
        return lambda certificate: any(uri.fullmatch(each) for each in certificate.uri)
    local, at, domain = wanted.rpartition("@")
    if kind == "email" and local and at and domain:
        address, host = _pattern(local, "[^@]"), _pattern(domain.lower(), "[^@]")
        return lambda certificate: any(_email_fits(each, address, host) for each in certificate.email)
    reason = f"{text[:80]!r} is no name; write dns:NAME, uri:spiffe://TRUST-DOMAIN/PATH or email:ADDRESS"
    raise BindError(Fault(reason, ("auth", "sans", number)))


def _email_fits(address: str, local: re.Pattern[str], domain: re.Pattern[str]) -> bool:
    before, _, behind = address.rpartition("@")
    return local.fullmatch(before) is not None and domain.fullmatch(behind.lower()) is not None


def _pattern(text: str, any_character: str) -> re.Pattern[str]:
    """`text`, in which ``*`` stands for one or more of `any_character`."""
    first, *others = map(re.escape, text.split("*"))
    # Atomic groups: each star but the last takes as little as it can, for good, so that no value takes long to compare.
    between = "".join(f"(?>{any_character}+?{part})" for part in others[:-1])
    return re.compile(first + between + (f"{any_character}+{others[-1]}" if others else ""), re.DOTALL)
