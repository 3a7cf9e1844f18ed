"""Clients' certificates in the TLS handshake (RFC 8446, section 4.3.2): verified by OpenSSL, and never demanded."""

from __future__ import annotations

import logging
import ssl
import sys
import time
from collections.abc import Sequence
from typing import Any

from cryptography import x509

from bridge.api.certificates import ShownCertificates
from bridge.stages.auth.client_certificate import shown_subject

LOG_INTERVAL, LOG_LINES = 10.0, 10  #: at most so many lines about refused handshakes in so many seconds
_DER = 2  #: of OpenSSL's certificates in Python before 3.13

log = logging.getLogger("bridge")


def request_certificates(context: ssl.SSLContext, *, wanted: bool) -> None:
    """Have handshakes of `context` ask clients for a certificate, or not.

    A client that has none goes on without; one with a certificate that does not verify is refused, which is logged.
    """
    if not wanted:
        context.verify_mode = ssl.CERT_NONE
        return
    context.verify_mode = ssl.CERT_OPTIONAL
    # An authority below another one may be trusted alone.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A session that is resumed would keep what was verified once, and tickets keep no intermediate certificates.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.sslobject_class = _VerifyingObject


def shown_certificates(tls: ssl.SSLObject) -> ShownCertificates | None:
    """The certificates of the client at the other end; None if it has shown none."""
    own = tls.getpeercert(binary_form=True)
    if own is None:
        return None
    return ShownCertificates([own, *(der for der in _chain(tls, "get_unverified_chain") if der != own)])


def _chain(tls: ssl.SSLObject, method: str) -> Sequence[bytes]:
    if sys.version_info >= (3, 13):
        chain: Any = getattr(tls, method)()
        return list(chain or ())
    # Later Pythons have it as a method of `SSLObject`.
    chain = getattr(tls._sslobj, method)()  # type: ignore[attr-defined]
    return [certificate.public_bytes(_DER) for certificate in chain or ()]


class _VerifyingObject(ssl.SSLObject):
    """Logs why the handshake of a client with a certificate failed. Servers of asyncio tell it to nobody."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            # As far as OpenSSL came: it begins with the client's certificate.
            chain = _chain(self, "get_verified_chain")
            _refusals.tell(error.verify_message, chain[0] if chain else None)
            raise


class _Refusals:
    """Lines about refused handshakes, which anybody can cause: only so many in a time."""

    def __init__(self) -> None:
        self._since, self._lines = 0.0, 0

    def tell(self, reason: str, certificate: bytes | None) -> None:
        now = time.monotonic()
        if now - self._since > LOG_INTERVAL:
            if self._lines > LOG_LINES:
                log.warning("%d more client certificates were refused in the handshake", self._lines - LOG_LINES)
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines <= LOG_LINES:
            try:
                subject = shown_subject(x509.load_der_x509_certificate(certificate or b""))
            except ValueError:
                subject = "(unreadable)"
            log.warning("a client certificate was refused in the handshake: %s: %s", subject, reason)


_refusals = _Refusals()
