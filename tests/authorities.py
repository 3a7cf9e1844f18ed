"""Authorities of certificates for tests: certificates of all kinds, CRLs, and files of them."""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bridge.api.certificates import ShownCertificates

DAY = dt.timedelta(days=1)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


@dataclass
class Issued:
    """A certificate, its key, and those between it and its root."""

    certificate: x509.Certificate
    key: Any
    chain: Sequence[x509.Certificate] = ()

    @property
    def pem(self) -> str:
        return "".join(each.public_bytes(Encoding.PEM).decode() for each in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> str:
        pem: bytes = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def shown(self) -> ShownCertificates:
        return ShownCertificates([self.der, *(each.public_bytes(Encoding.DER) for each in self.chain)])

    def load(self, context: ssl.SSLContext) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(self.pem + self.key_pem)
            file.flush()
            context.load_cert_chain(file.name)


@dataclass
class Authority:
    """An authority, by default a root of its own."""

    name: str = "Court CA"
    above: Authority | None = None
    issued: Issued = field(init=False)
    not_before: dt.datetime = field(default_factory=lambda: now() - 2 * DAY)
    not_after: dt.datetime = field(default_factory=lambda: now() + 20 * DAY)
    key: Any = None
    path_length: int | None = None
    is_ca: bool = True

    def __post_init__(self) -> None:
        key = self.key or ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(self.is_ca, self.path_length if self.is_ca else None)
        # By which OpenSSL tells two authorities of one name apart.
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        extensions = [(constraints, True), (identifier, False)]
        self.issued = make(self.name, self.above, key, extensions, not_before=self.not_before, not_after=self.not_after)

    @property
    def pem(self) -> str:
        return self.issued.certificate.public_bytes(Encoding.PEM).decode()

    def issue(
        self,
        subject: str = "CN=clerk,O=Court",
        *,
        sans: Sequence[str] = (),
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        key: Any = None,
        **more: Any,
    ) -> Issued:
        """:param sans: ``dns:…``, ``uri:…``, ``email:…``."""
        kinds: dict[str, Callable[[str], x509.GeneralName]]
        kinds = {"dns": x509.DNSName, "uri": x509.UniformResourceIdentifier, "email": x509.RFC822Name}
        names = [kinds[name.partition(":")[0]](name.partition(":")[2]) for name in sans]
        every = [*extensions, *([(x509.SubjectAlternativeName(names), False)] if names else [])]
        return make(subject, self, key or ec.generate_private_key(ec.SECP256R1()), every, **more)

    def crl(
        self,
        *revoked: Issued | Authority,
        next_update: dt.datetime | None = None,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> str:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.issued.certificate.subject)
            .last_update(now() - DAY)
            .next_update(next_update or now() + DAY)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        for one in revoked:
            certificate = one.issued.certificate if isinstance(one, Authority) else one.certificate
            entry = (
                x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now() - DAY)
            )
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.issued.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def make(
    subject: str,
    above: Authority | None,
    key: Any,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
    *,
    not_before: dt.datetime | None = None,
    not_after: dt.datetime | None = None,
) -> Issued:
    name = x509.Name.from_rfc4514_string(subject if not subject or "=" in subject else f"CN={subject}")
    issuer, signing = (above.issued.certificate.subject, above.issued.key) if above else (name, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now() - DAY)
        .not_valid_after(not_after or now() + DAY)
    )
    every = [*extensions]
    if above is not None:
        every.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False))
    for extension, critical in every:
        builder = builder.add_extension(extension, critical)
    algorithm = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    chain = [] if above is None or above.above is None else [above.issued.certificate, *above.issued.chain]
    return Issued(builder.sign(signing, algorithm), key, chain)
