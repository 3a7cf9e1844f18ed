"""TLS in a spec's ``connection`` (RFC 8446): the trusted authorities, and the gateway's own certificate."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bridge.api.spec.connection import ConnectionSpec
from bridge.api.values import Origin, read_secret
from bridge.errors import BindError, Fault


def default_context(roots: str | None = None) -> ssl.SSLContext:
    """A client's context, the same on every Python.

    From 3.13 on, Python's default also requires extensions of RFC 5280 (`ssl.VERIFY_X509_STRICT`): key
    identifiers, a critical basicConstraints, a key usage. Private authorities of legacy services lack them, and gRPC's
    library does not require them. Chain, dates and name are checked in any case.

    :param roots: PEM of the authorities to trust; ``None`` for the system's.
    :raises ssl.SSLError, ValueError: `roots` can't be used.
    """
    context = ssl.create_default_context(cadata=roots)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts, as read at bind; None for each that the spec leaves out.

    :ivar roots: the trusted authorities; None for the system's.
    :ivar certificate: the gateway's own chain, and `key` its private key: for mutual TLS.
    :ivar server_name: the name that the service's certificate must contain; None for the mesh name.
    """

    roots: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    server_name: str | None = None

    def authorities(self) -> bytes | None:
        """PEM of the trusted authorities, for libraries that don't use the system's; None if there is no file of
        them."""
        if self.roots is not None:
            return self.roots
        paths = ssl.get_default_verify_paths()
        for path in (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
            if path and Path(path).is_file():
                return Path(path).read_bytes()
        return None

    def context(self, protocol: str = "http/1.1") -> ssl.SSLContext:
        """:param protocol: for ALPN (RFC 7301).
        :raises bridge.api.BindError: a PEM text can't be used.
        """
        try:
            client_context = default_context(self.roots.decode() if self.roots else None)
        except (ssl.SSLError, ValueError):
            raise BindError(Fault("the file holds no certificates that can be read", ("connection", "ca"))) from None
        client_context.set_alpn_protocols([protocol])
        if self.certificate and self.key:
            with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # ssl reads keys from files only; mode 0600
                file.write(self.certificate + b"\n" + self.key)
                file.flush()
                load_chain(client_context, file.name)
        return client_context


def load_chain(context: ssl.SSLContext, file: str, key_file: str | None = None) -> None:
    """Load the certificate in `file` into `context`, with the key in `key_file` or in the same file.

    :raises bridge.api.BindError: they can't be used.
    """
    try:
        # Without a callback, OpenSSL would prompt for the passphrase at the terminal, and wait.
        context.load_cert_chain(file, key_file, password=_refuse)
    except _Encrypted:
        raise BindError(
            Fault("the key is encrypted, and the gateway has no passphrase", ("connection", "key"))
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BindError(Fault("it is not the key of the certificate", ("connection", "key"))) from None
        reason = "it or its key can't be read"
        raise BindError(Fault(reason, ("connection", "certificate"))) from None


class _Encrypted(Exception):
    """OpenSSL asks for a passphrase."""


def _refuse() -> str:
    raise _Encrypted


def read_tls(connection: ConnectionSpec, home: Path) -> Tls:
    """The files that `connection` names, read now. They are in the folders of a spec's secrets (`bridge.api.values`).

    :raises bridge.api.BindError: one can't be read, is not PEM, or the key doesn't belong to the certificate.
    """

    def pem(name: str | None, key: str) -> bytes | None:
        if name is None:
            return None
        text = read_secret(Origin("file", name, ("connection", key)), home)
        if "-----BEGIN " not in text:
            raise BindError(Fault(f"the file {name} holds no PEM", ("connection", key)))
        return text.encode()

    tls = Tls(
        pem(connection.ca, "ca"),
        pem(connection.certificate, "certificate"),
        pem(connection.key, "key"),
        connection.server_name,
    )
    if tls.roots or tls.certificate:
        tls.context()  # gRPC accepts any text, and fails only when it connects
    return tls
