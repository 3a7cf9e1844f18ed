"""Lists of revoked certificates (CRLs; RFC 5280, section 5)."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_HANDLED = (x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuingDistributionPoint)


class RevocationList:
    """One CRL. Its signature is checked with `signed_by`, once for each key.

    :ivar serials: of the revoked certificates. :ivar expires: ``nextUpdate`` in Unix seconds; infinite if absent.
    """

    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        """:raises ValueError: it is not a whole list of an issuer's own certificates, or can't be read."""
        for extension in crl.extensions:
            if extension.critical and not isinstance(extension.value, _HANDLED):
                raise ValueError(
                    f"a CRL has a critical extension that is not understood ({extension.oid.dotted_string})"
                )
            if isinstance(extension.value, x509.IssuingDistributionPoint):
                point = extension.value
                if point.indirect_crl or point.only_some_reasons or point.only_contains_ca_certs:
                    raise ValueError("a CRL is indirect, or not of all reasons or clients' certificates")
                if point.only_contains_attribute_certs:
                    raise ValueError("a CRL is of attribute certificates")
        self._crl = crl
        self.issuer = crl.issuer
        self.serials = frozenset(entry.serial_number for entry in crl)
        update = crl.next_update_utc
        self.expires = update.timestamp() if update is not None else float("inf")
        self._keys: dict[bytes, bool] = {}

    def signed_by(self, issuer: x509.Certificate) -> bool:
        """Whether `issuer`, whose subject is the list's issuer, has signed it."""
        key = issuer.public_key()
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            return False
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if spki not in self._keys:
            try:
                self._keys[spki] = self._crl.is_signature_valid(key)
            except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
                self._keys[spki] = False
        return self._keys[spki]


def read_crls(data: bytes) -> list[RevocationList]:
    """The CRLs in PEM or DER; of PEM, as many as there are.

    :raises ValueError: there is none, or one can't be used.
    """
    texts = _PEM.findall(data)
    try:
        crls = [x509.load_pem_x509_crl(text) for text in texts] or [x509.load_der_x509_crl(data)]
    except ValueError:
        raise ValueError("it holds no CRL that can be read, in PEM or DER") from None
    return [RevocationList(crl) for crl in crls]
