"""A client's certificate (RFC 5280) as routes see it: its names, its times, its digest."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_LONGEST = 300  #: characters of a name in a message


#: The relative distinguished names of a name; each has its types and values, in the order of the types.
NameParts = tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ClientCertificate:
    """:ivar parts: of the subject.
    :ivar subject, issuer: distinguished names by RFC 4514, the most specific part first.
    :ivar dns, uri, email: the subject's alternative names of these kinds (RFC 5280, section 4.2.1.6).
    :ivar serial: in hexadecimal digits.
    :ivar digest: SHA-256 of its DER.
    :ivar not_before, not_after: Unix seconds.
    """

    parts: NameParts
    subject: str
    issuer: str
    dns: tuple[str, ...]
    uri: tuple[str, ...]
    email: tuple[str, ...]
    serial: str
    digest: bytes
    not_before: float
    not_after: float

    @classmethod
    def of(cls, certificate: x509.Certificate) -> ClientCertificate:
        """:raises ValueError: its names can't be read."""
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = x509.SubjectAlternativeName([])
        return cls(
            parts=name_parts(certificate.subject),
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            dns=tuple(names.get_values_for_type(x509.DNSName)),
            uri=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            email=tuple(names.get_values_for_type(x509.RFC822Name)),
            serial=f"{certificate.serial_number:x}",
            digest=sha256(certificate.public_bytes(Encoding.DER)).digest(),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )

    @property
    def thumbprint(self) -> str:
        """``x5t#S256`` (RFC 7515, section 4.1.8; RFC 8705, section 3.1)."""
        return urlsafe_b64encode(self.digest).rstrip(b"=").decode()

    @property
    def owner(self) -> str:
        """The name by which the caller is known: its first URI, else the distinguished name, else its first e-mail
        address, else its first DNS name; ``""`` if it has none of them. A renewed certificate keeps it."""
        names = (*self.uri[:1], self.subject, *self.email[:1], *self.dns[:1])
        return next((name for name in names if name), "")

    def claims(self) -> Mapping[str, Any]:
        """Its fields, for values of the form ``{$claim: certificate.subject}``."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "serial": self.serial,
            "fingerprint": self.digest.hex(),
            "x5t#S256": self.thumbprint,
            "not_before": int(self.not_before),
            "not_after": int(self.not_after),
            "dns": list(self.dns),
            "uri": list(self.uri),
            "email": list(self.email),
        }


def name_parts(name: x509.Name) -> NameParts:
    return tuple(tuple(sorted((one.oid.dotted_string, str(one.value)) for one in part)) for part in name.rdns)


def shown_subject(certificate: x509.Certificate) -> str:
    """The subject for messages and logs: bounded, and without control characters, since clients choose it."""
    try:
        text = certificate.subject.rfc4514_string() or "(no subject)"
    except ValueError:
        text = "(a subject that can't be read)"
    return printable(text)


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:_LONGEST])
