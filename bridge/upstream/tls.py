"""What a route says of TLS: whom it trusts, and who the gateway says it is. Files are read and judged at bind."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import BindError, Fault
from bridge.origin import secret_file
from bridge.spec import Connection


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts. Two that are equal make the same connections, so a renewed certificate makes new ones.

    :ivar ca: the authorities that are trusted; None for the system's.
    :ivar certificate: the gateway's own with its chain, and `key`; None where it has none to show.
    """

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    files: tuple[Path, Path] | None = None

    @classmethod
    def read(cls, connection: Connection, home: Path) -> Tls:
        """:raises bridge.BindError: a file can't be had, or isn't what its key says; all of them are told at once."""
        paths: dict[str, Path] = {}
        texts: dict[str, bytes] = {}
        faults: list[Fault] = []
        for name in ("ca", "certificate", "key"):
            named = getattr(connection, name)
            if named is None:
                continue
            try:
                paths[name] = secret_file(named, f"connection.{name}", home)
                texts[name] = paths[name].read_bytes()
            except BindError as error:
                faults += error.faults
            except OSError as error:
                faults.append(Fault(f"the file {named} can't be read: {error.strerror}", f"connection.{name}"))
        if faults:
            raise BindError(faults)
        files = (paths["certificate"], paths["key"]) if "key" in paths else None
        made = cls(texts.get("ca"), texts.get("certificate"), texts.get("key"), files)
        made.context()
        return made

    def context(self) -> ssl.SSLContext:
        """A client's context for HTTP/1.1. gRPC takes the texts instead, but they are judged here for both.

        :raises bridge.BindError: OpenSSL can't use them.
        """
        try:
            context = ssl.create_default_context(cadata=self.ca.decode("ascii") if self.ca is not None else None)
        except (ssl.SSLError, ValueError):
            raise BindError(Fault("the file holds no certificates in PEM", "connection.ca")) from None
        context.set_alpn_protocols(["http/1.1"])
        if self.files is not None:
            try:
                context.load_cert_chain(*self.files, password=_refuse)
            except _Encrypted:
                raise BindError(
                    Fault("the key is encrypted; the gateway has no passphrase", "connection.key")
                ) from None
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise BindError(Fault("it is not the key of the certificate", "connection.key")) from None
                raise BindError(
                    Fault("it is no certificate, or key no key, in PEM", "connection.certificate")
                ) from None
            except OSError as error:
                raise BindError(Fault(f"it can't be read: {error.strerror}", "connection.certificate")) from None
        return context


NO_TLS = Tls()


class _Encrypted(Exception):
    """OpenSSL asks for a passphrase."""


def _refuse() -> str:
    raise _Encrypted
