"""The authorities of clients' certificates: ``client-cas.yml``, and the judgement of certificates by it.

The TLS handshake has OpenSSL verify what a client shows. Here it is judged again (RFC 5280, section 6), for three
reasons: the authority whose key has signed decides the tenant; certificates may come in a proxy's header field; and on
a connection that stays open, certificates expire, are revoked, or lose their authority. A judgement is kept with the
connection's certificates as long as it holds, so that a call costs two comparisons.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.api.call import Identity
from bridge.api.certificates import ShownCertificates
from bridge.api.spec.route import TENANT
from bridge.api.spec.scalars import Names
from bridge.config.specfile import faults_of
from bridge.config.stamp import Stamp, stamp_of
from bridge.config.yaml import NO_LINES, Lines, read_document
from bridge.errors import Fault, Forbidden, IssuerUnavailable, RequestError, SettingsError
from bridge.stages.auth.client_certificate import ClientCertificate, printable, shown_subject
from bridge.stages.auth.revocation import RevocationList, read_crls

LOOK_INTERVAL = 1.0  #: seconds between looks at the files
MAX_FILE = 64 * 1024**2  #: bytes of a file of certificates or CRLs
MAX_SENT = 8  #: certificates that a client may send beside its own
_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")

log = logging.getLogger("bridge.guards")


class CaEntry(BaseModel):
    """One entry of ``client-cas.yml``. Files are relative to the gateway's home."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    ]  #: as routes name it: ``auth: {type: mtls, ca: NAME}``
    ca: Annotated[str, Field(min_length=1)]  #: PEM: the authority's certificates, during a change old and new ones
    crl: Annotated[str, Field(min_length=1)] | None = None  #: PEM or DER: its lists of revoked certificates
    tenant: Annotated[str, Field(pattern=TENANT)] | None = None  #: of the callers that it vouches for
    roles: Names = ()  #: of these callers, as `scopes`
    scopes: Names = ()


@dataclass(frozen=True, slots=True, eq=False)
class ClientCa:
    """An authority: its entry, with what its files hold. `crls` is None where revocation is not checked."""

    entry: CaEntry
    certificates: Sequence[x509.Certificate]
    crls: Sequence[RevocationList] | None


@dataclass(frozen=True, slots=True, eq=False)
class CaBundle:
    """All authorities at one time.

    :ivar by_certificate: the authority to which a certificate belongs (its DER).
    """

    cas: Sequence[ClientCa] = ()
    by_certificate: dict[bytes, ClientCa] = field(default_factory=dict[bytes, ClientCa])

    @property
    def pem(self) -> str:
        """The certificates of all authorities."""
        return "".join(
            certificate.public_bytes(Encoding.PEM).decode() for ca in self.cas for certificate in ca.certificates
        )


@dataclass(frozen=True, slots=True, eq=False)
class Vouched:
    """A certificate, the authority that vouches for it, and its callers; `inside` is the same `identity` with
    `Identity.internal` set, for callers from an internal network."""

    certificate: ClientCertificate
    ca: CaEntry
    identity: Identity
    inside: Identity


@dataclass(frozen=True, slots=True, eq=False)
class _Judgement:
    """:ivar until: Unix seconds; another one may be due then. :ivar refuse: the error, if there is no `vouched`."""

    bundle: CaBundle
    until: float
    vouched: Vouched | None = None
    refuse: Callable[[], RequestError] | None = None


class _Refusal(Exception):
    """Why a certificate is refused: for its owner (`str`) and, if that says more, for the log.

    :ivar until: Unix seconds from which on it may be another reason, or none.
    """

    def __init__(self, reason: str, cause: str = "", until: float = float("inf"), *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.cause, self.until, self.unknown = cause or reason, until, unknown


class ClientCas:
    """The authorities in force. Without any, nobody is asked for a certificate.

    :param path: of ``client-cas.yml``; None: there are no authorities.
    :param told: is told whether the file is in force as it is written (`bridge.observe.config_files.ConfigFiles`).
    :raises SettingsError: with every fault found.
    """

    def __init__(
        self,
        path: Path | None = None,
        home: Path = Path(),
        told: Callable[[bool], None] = lambda current: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._home, self._told, self._clock = path, home, told, clock
        self._subscribers: list[Callable[[], None]] = []
        self._outdated: set[str] = set()
        self._seen: Sequence[tuple[Path, Stamp | None]] = ()  # the files as they were read last
        self.bundle, faults = self._read(CaBundle())
        if faults:
            raise SettingsError(faults)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(ca.entry.name for ca in self.bundle.cas)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """:param changed: is called on the event loop after each change of `bundle`."""
        self._subscribers.append(changed)

    def vouch(self, shown: ShownCertificates) -> Vouched:
        """Who vouches for a client's certificate now.

        :raises Forbidden: nobody does, it is revoked, or not valid at this time; `cause` has its subject.
        :raises IssuerUnavailable: whether it was revoked can't be told: the CRL is out of date.
        """
        judgement: _Judgement | None = shown.judged
        if judgement is None or judgement.bundle is not self.bundle or self._clock() >= judgement.until:
            judgement = shown.judged = self._judge(shown.chain)
        if judgement.vouched is None:
            assert judgement.refuse is not None
            raise judgement.refuse()
        return judgement.vouched

    # --- the files ----------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read all files again. Of one that can't be used, what it held before stays in force.

        :raises SettingsError: with every fault found.
        """
        bundle, faults = await asyncio.to_thread(self._read, self.bundle)
        if bundle is not self.bundle:
            self.bundle = bundle
            for changed in self._subscribers:
                changed()
        if faults:
            raise SettingsError(faults)

    async def follow(self) -> None:
        """Read the files again whenever one has changed, for ever. A change that can't be used is logged."""
        missing = False
        while self._path is not None:
            await asyncio.sleep(LOOK_INTERVAL)
            self._check_age()
            if all(stamp_of(path) == stamp for path, stamp in self._seen):
                missing = False
                continue
            # A file that is gone may be on its way back: programs replace files by removing them first.
            if not missing and stamp_of(self._path) is None and self.bundle.cas:
                missing = True
                continue
            missing = False
            try:
                await self.reload()
            except SettingsError as error:
                log.error("%s; what it held before is kept", error)
                self._told(False)
            else:
                log.info("the client authorities were loaded again from %s", self._path)
                self._told(True)

    def _check_age(self) -> None:
        """Tell of a CRL that has become too old: calls are refused for it, and only the operator can mend that."""
        now = self._clock()
        for ca in self.bundle.cas:
            name = ca.entry.name
            if not ca.crls or any(crl.expires > now for crl in ca.crls):
                self._outdated.discard(name)
            elif name not in self._outdated:
                self._outdated.add(name)
                log.error("%s: the CRL of %s is out of date; its clients are refused", ca.entry.crl, name)
                self._told(False)

    def _read(self, before: CaBundle) -> tuple[CaBundle, list[Fault]]:
        """The files as they are now; in place of what can't be used, what there was `before`; and what is wrong."""
        if self._path is None:
            return before, []
        seen = [(self._path, stamp_of(self._path))]
        faults: list[Fault] = []
        known = {ca.entry.name: ca for ca in before.cas}
        try:
            entries = read_client_cas(self._path)
        except SettingsError as error:
            faults += error.faults
            entries = [(ca.entry, NO_LINES) for ca in before.cas]
        cas: list[ClientCa] = []
        for entry, lines in entries:
            seen += [(self._home / name, stamp_of(self._home / name)) for name in (entry.ca, entry.crl) if name]
            ca, wrong = _load(entry, self._home, known.get(entry.name))
            faults += [Fault(str(each), (each.key,), str(self._path), lines.at((each.key,)).line) for each in wrong]
            if ca is not None:
                cas.append(ca)
        self._seen = seen
        try:
            return CaBundle(cas, _owners(cas, self._path)), faults
        except SettingsError as error:
            return before, [*faults, *error.faults]

    # --- certificates -------------------------------------------------------------------------------------------

    def _judge(self, chain: Sequence[bytes]) -> _Judgement:
        bundle, now = self.bundle, self._clock()
        try:
            own, *others = [x509.load_der_x509_certificate(der) for der in chain[: 1 + MAX_SENT]]
        except ValueError:
            return _Judgement(bundle, float("inf"), refuse=lambda: Forbidden("The client certificate can't be read."))
        try:
            certificate = ClientCertificate.of(own)
            ca, path = _anchored(bundle, own, others, certificate, now)
            until = min(link.not_valid_after_utc.timestamp() for link in path)
            if ca.crls is not None:
                until = min(until, _check_revocation(ca.crls, path, now))
        except _Refusal as refusal:
            return _Judgement(bundle, refusal.until, refuse=_error(refusal, shown_subject(own)))
        except ValueError:
            return _Judgement(
                bundle, float("inf"), refuse=_error(_Refusal("has names that can't be read"), shown_subject(own))
            )
        return _Judgement(bundle, until, _vouched(certificate, ca.entry))


def _vouched(certificate: ClientCertificate, ca: CaEntry) -> Vouched:
    owner = certificate.owner
    fields: dict[str, Any] = {
        "subject": owner,
        "tenant": ca.tenant or "",
        "roles": frozenset(ca.roles),
        "scopes": frozenset(ca.scopes),
        "claims": {"sub": owner, "certificate": {"ca": ca.name, **certificate.claims()}},
        # A renewed certificate with the same name is the same caller, for limits.
        "key": f"cert:{ca.name}|{owner}" if owner else f"cert:{certificate.digest.hex()}",
    }
    return Vouched(
        certificate,
        ca,
        identity=Identity(**fields, internal="internal" in ca.roles),
        inside=Identity(**fields, internal=True),
    )


def _error(refusal: _Refusal, subject: str) -> Callable[[], RequestError]:
    reason, cause = str(refusal), f"client certificate of {subject}: it {refusal.cause}"
    if refusal.unknown:
        return lambda: IssuerUnavailable(f"The client certificate {reason}. Try again later.", cause=cause)
    return lambda: Forbidden(f"The client certificate {reason}.", cause=cause)


def _anchored(
    bundle: CaBundle, own: x509.Certificate, others: Sequence[x509.Certificate], names: ClientCertificate, now: float
) -> tuple[ClientCa, Sequence[x509.Certificate]]:
    """The authority, and the path from the client's certificate to the authority's. Where one authority stands above
    another, the one that is nearer to the client's certificate counts.

    :raises _Refusal: there is none, or the certificate can't be used now, or not for this.
    """
    if now >= names.not_after:
        raise _Refusal("has expired", f"expired at {datetime.fromtimestamp(names.not_after, UTC):%Y-%m-%dT%H:%M:%SZ}")
    if now < names.not_before:
        raise _Refusal("is not valid yet", until=names.not_before)
    if not _is_strong(own):
        raise _Refusal("has a key that is too weak: RSA of 2048 bits, an EC curve of NIST or Ed25519 is the least")
    if not bundle.cas:
        raise _Refusal("is of no authority that this gateway trusts")
    store = verification.Store([certificate for ca in bundle.cas for certificate in ca.certificates])
    policy = verification.PolicyBuilder().store(store).time(datetime.fromtimestamp(now, UTC))
    verifier = policy.extension_policies(ca_policy=_OF_CAS, ee_policy=_OF_CLIENTS).build_client_verifier()
    try:
        path = verifier.verify(own, list(others)).chain
    except verification.VerificationError as error:
        if _WRONG_USE in str(error):
            raise _Refusal(
                "is not made for clients (extended key usage clientAuth, key usage digitalSignature)"
            ) from None
        # A path may end at once where an authority's certificate comes into force, expires or is loaded.
        cause = f"is of no authority that this gateway trusts ({printable(str(error).partition(' (encountered')[0])})"
        raise _Refusal("is of no authority that this gateway trusts", cause, until=now + 60) from None
    except ValueError as error:
        raise _Refusal("can't be read", f"can't be read ({printable(str(error))})") from None
    return bundle.by_certificate[path[-1].public_bytes(Encoding.DER)], path


def _check_revocation(crls: Iterable[RevocationList], path: Sequence[x509.Certificate], now: float) -> float:
    """:returns: until when the CRLs hold, in Unix seconds.
    :raises _Refusal: a certificate of the path is revoked, or the CRL of the client's issuer is missing or too old.
    """
    until = float("inf")
    for number, (certificate, issuer) in enumerate(pairwise(path)):
        signed = [crl for crl in crls if crl.issuer == issuer.subject and crl.signed_by(issuer)]
        if any(certificate.serial_number in crl.serials for crl in signed):
            raise _Refusal("was revoked" if not number else "is of an authority that was revoked")
        if not signed and number:
            continue  # many authorities publish no list of the authorities below them
        current = [crl.expires for crl in signed if crl.expires > now]
        if not current:
            known = "the CRL is out of date" if signed else "there is no CRL of its issuer"
            raise _Refusal(
                "can't be accepted just now: whether it was revoked is not known",
                f"may be revoked: {known}",
                unknown=True,
            )
        until = min(until, max(current))
    return until


def _is_strong(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= _RSA_BITS
    return key.curve.name in _CURVES if isinstance(key, ec.EllipticCurvePublicKey) else True


# --- what the extensions of certificates must say (RFC 5280, section 4.2) -------------------------------------------

_WRONG_USE = "it is not for authenticating clients"


def _check_ca(policy: verification.Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("it is not an authority's")


def _check_signs(policy: verification.Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("its key usage has no keyCertSign")


def _check_authenticates(
    policy: verification.Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not (usage.digital_signature or usage.key_agreement):
        raise ValueError(_WRONG_USE)


def _check_purpose(
    policy: verification.Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None
) -> None:
    # As OpenSSL judges the handshake: anyExtendedKeyUsage is not enough.
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError(_WRONG_USE)


_ANY = verification.Criticality.AGNOSTIC
_OF_CAS = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, _ANY, _check_ca)
    .may_be_present(x509.KeyUsage, _ANY, _check_signs)
    .may_be_present(x509.ExtendedKeyUsage, _ANY, _check_purpose)
)
_OF_CLIENTS = (
    verification.ExtensionPolicy.permit_all()
    .may_be_present(x509.KeyUsage, _ANY, _check_authenticates)
    .may_be_present(x509.ExtendedKeyUsage, _ANY, _check_purpose)
)


# --- client-cas.yml -------------------------------------------------------------------------------------------------


class _WrongFile(Exception):
    def __init__(self, reason: str, key: str) -> None:
        super().__init__(reason)
        self.key = key


def read_client_cas(path: Path) -> list[tuple[CaEntry, Lines]]:
    """The entries of ``client-cas.yml``, each with its lines. No file: no entries.

    :raises SettingsError: with every fault found.
    """
    file = str(path)
    entries, document = read_document(path, optional=True)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise SettingsError(Fault("it must be a list of authorities: {name: …, ca: FILE}", file=file, line=1))
    read: list[tuple[CaEntry, Lines]] = []
    faults: list[Fault] = []
    names: dict[str, int] = {}
    for number, value in enumerate(entries):
        lines = document.lines().at((number,))
        if not isinstance(value, dict):
            faults.append(Fault("an authority is a mapping: {name: …, ca: FILE}", file=file, line=lines.line))
            continue
        try:
            entry = CaEntry.model_validate(value)
        except ValidationError as error:
            faults += faults_of(error, CaEntry, value, lines, file)
            continue
        if entry.name in names:
            reason = f"{entry.name} has an entry in line {names[entry.name]} already"
            faults.append(Fault(reason, ("name",), file=file, line=lines.at(("name",)).line))
        names.setdefault(entry.name, lines.line)
        read.append((entry, lines))
    if faults:
        raise SettingsError(faults)
    return read


def _load(entry: CaEntry, home: Path, before: ClientCa | None) -> tuple[ClientCa | None, list[_WrongFile]]:
    """The authority, and what is wrong with its files. A file that can't be used counts as it was `before`; without
    that there is no authority."""
    wrong: list[_WrongFile] = []
    try:
        certificates: Sequence[x509.Certificate] = _load_certificates(entry, home)
    except _WrongFile as error:
        wrong.append(error)
        if before is None:
            return None, wrong
        certificates = before.certificates
    if entry.crl is None:
        return ClientCa(entry, certificates, None), wrong
    try:
        crls: Sequence[RevocationList] | None = _load_crls(entry.crl, entry.ca, home, certificates)
    except _WrongFile as error:
        wrong.append(error)
        crls = before.crls if before is not None else None
        if crls is None:  # certificates that may be revoked are worse than none
            return None, wrong
    return ClientCa(entry, certificates, crls), wrong


def _load_certificates(entry: CaEntry, home: Path) -> Sequence[x509.Certificate]:
    """:raises _WrongFile: the file can't be used."""
    try:
        certificates = x509.load_pem_x509_certificates(_bytes(home, entry.ca, "ca"))
    except ValueError:
        raise _WrongFile(f"{entry.ca}: it holds no certificates that can be read, in PEM", "ca") from None
    for certificate in certificates:
        _check_authority(certificate, entry.ca)
    return certificates


def _load_crls(file: str, ca: str, home: Path, certificates: Sequence[x509.Certificate]) -> Sequence[RevocationList]:
    """:raises _WrongFile: the file can't be used."""
    try:
        crls = read_crls(_bytes(home, file, "crl"))
    except ValueError as error:
        raise _WrongFile(f"{file}: {error}", "crl") from None
    for crl in crls:
        issuers = [certificate for certificate in certificates if certificate.subject == crl.issuer]
        if issuers and not any(map(crl.signed_by, issuers)):  # of authorities below, the certificates come with calls
            who = crl.issuer.rfc4514_string()
            raise _WrongFile(f"{file}: its CRL of {who} has a signature that none of {ca} has made", "crl")
    return crls


def _bytes(home: Path, name: str, key: str) -> bytes:
    path = home / name
    if path.exists() and not path.is_file():  # of a pipe, one would wait for a writer
        raise _WrongFile(f"{name}: it is no file", key)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise _WrongFile(f"{name}: {error.strerror or error}", key) from None
    if len(data) > MAX_FILE:
        raise _WrongFile(f"{name}: it has more than {MAX_FILE // 1024**2} MB", key)
    return data


def _check_authority(certificate: x509.Certificate, file: str) -> None:
    """:raises _WrongFile: it can't be an authority's."""
    who = f"{file}: the certificate of {shown_subject(certificate)}"
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        is_authority = constraints.ca
    except (x509.ExtensionNotFound, ValueError):
        is_authority = False
    if not is_authority:
        raise _WrongFile(f"{who} is not an authority's (basic constraints)", "ca")
    key: Any = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or not _is_strong(certificate):
        raise _WrongFile(f"{who} has a key that is not taken; RSA of 2048 bits, P-256, P-384 and P-521 are", "ca")


def _owners(cas: Iterable[ClientCa], path: Path) -> dict[bytes, ClientCa]:
    """:raises SettingsError: two authorities have one key, so that nothing tells whose certificates they are."""
    keys: dict[bytes, ClientCa] = {}
    owners: dict[bytes, ClientCa] = {}
    for ca in cas:
        for certificate in ca.certificates:
            key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            other = keys.setdefault(key, ca)
            if other is not ca:
                names = f"{other.entry.name} and {ca.entry.name}"
                reason = f"{names} have the same key in their ca ({shown_subject(certificate)})"
                raise SettingsError(Fault(reason, ("ca",), str(path)))
            owners[certificate.public_bytes(Encoding.DER)] = ca
    return owners
