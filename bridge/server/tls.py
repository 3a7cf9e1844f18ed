"""TLS on the listener (RFC 8446, RFC 5246): its certificate is read from disk, and again when its files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from bridge.api.tls import load_chain
from bridge.errors import BindError, Fault, SettingsError
from bridge.server.client_tls import request_certificates
from bridge.stages.auth.client_cas import ClientCas

RELOAD_INTERVAL = 1.0  #: seconds between looks at the files
HANDSHAKE_TIMEOUT = 10.0  #: seconds from the connection to the end of its handshake
SHUTDOWN_TIMEOUT = 2.0  #: seconds that a client may take to answer the end of its session

log = logging.getLogger("bridge")

Stamp = tuple[tuple[int, int, int], ...]


class ListenerTls:
    """:ivar context: of the listener. Each handshake uses the certificate that is current when it begins.

    :param key: the private key's file; None where it stands in the certificate's.
    :raises SettingsError: a file can't be read, or they don't belong together.
    """

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._cas: ClientCas | None = None
        self._files = {"BRIDGE_TLS_CERT": certificate} | ({"BRIDGE_TLS_KEY": key} if key is not None else {})
        self._stamp = self._look()
        self._current = self.context = self._load()
        # Loaded into the context itself, a certificate of another kind of key would be offered beside the old one.
        self.context.sni_callback = self._choose

    def request_certificates(self, cas: ClientCas) -> None:
        """Ask clients for certificates of `cas`, while it has authorities.

        :raises SettingsError: their certificates can't be used.
        """
        self._cas = cas
        self._renew()
        cas.subscribe(self._renew_authorities)

    def _renew(self) -> None:
        """:raises SettingsError: the files, or the authorities, can't be used; nothing has changed then."""
        self._current = self._load()
        # OpenSSL takes from it what a handshake asks for, and from the current one the authorities that it verifies by.
        request_certificates(self.context, wanted=self._current.verify_mode is not ssl.CERT_NONE)

    def _renew_authorities(self) -> None:
        """Connections that are open stay; their certificates are judged by the new authorities at the next call."""
        try:
            self._renew()
        except SettingsError as error:
            log.error("%s; the certificate and the client authorities before it are kept", error)

    def _trust(self, context: ssl.SSLContext) -> None:
        """:raises SettingsError: OpenSSL can't use the authorities' certificates."""
        authorities = self._cas.bundle.pem if self._cas is not None else ""
        request_certificates(context, wanted=bool(authorities))
        if authorities:
            try:
                context.load_verify_locations(cadata=authorities)
            except (ssl.SSLError, ValueError) as error:
                reason = f"OpenSSL can't use the certificates of the authorities: {error}"
                raise SettingsError(Fault(reason, ("BRIDGE_CLIENT_CAS",))) from None

    def _choose(self, handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        handshake.context = self._current

    def _load(self) -> ssl.SSLContext:
        for setting, path in self._files.items():
            try:
                path.read_bytes()
            except OSError as error:
                raise SettingsError(f"{setting}: {path} can't be read: {error.strerror}") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2", "http/1.1"])
        try:
            load_chain(context, *map(str, self._files.values()))
        except BindError as error:
            [fault] = error.faults
            is_key = fault.path == ("connection", "key") and len(self._files) > 1
            setting = "BRIDGE_TLS_KEY" if is_key else "BRIDGE_TLS_CERT"
            raise SettingsError(f"{setting}: {self._files[setting]}: {fault.reason}") from None
        self._trust(context)
        return context

    def _look(self) -> Stamp | None:
        """What tells the files' versions apart; None where one of them is not there."""
        try:
            stats = [path.stat() for path in self._files.values()]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    async def follow(self) -> None:
        """Load the files again whenever they have changed, for ever. A change that can't be used is logged."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL)
            stamp = self._look()
            if stamp != self._stamp:
                await self.reload()

    async def reload(self) -> None:
        """Load the files again. If they can't be used, that is logged, and the certificate stays."""
        self._stamp = self._look()
        try:
            self._current = self._load()
        except SettingsError as error:
            log.error("%s; the certificate before it is kept", error)
        else:
            log.info("the TLS certificate was loaded again from %s", self._files["BRIDGE_TLS_CERT"])


def listener_tls(certificate: Path | None, key: Path | None) -> ListenerTls | None:
    """None where no certificate is configured.

    :raises SettingsError: they can't be used, or there is a key alone.
    """
    if certificate is None:
        if key is not None:
            raise SettingsError(Fault("it needs BRIDGE_TLS_CERT beside it", ("BRIDGE_TLS_KEY",)))
        return None
    return ListenerTls(certificate, key)
