"""The local issuer: a key pair created at first start, so that a new user can make an authorised call without an
IdP."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

from bridge.config.owner import owner_hint
from bridge.config.private_file import locked_folder, read_private, write_private
from bridge.config.settings import Settings
from bridge.errors import Fault, SettingsError
from bridge.stages.auth.keys import Key, public_key, thumbprint

LOCAL = "urn:bridge:local"
FILE = "local-issuer.pem"


def key_file(settings: Settings) -> Path:
    """Where the key of this home is, or will be."""
    return settings.state / FILE


class LocalIssuer:
    """Mints ES256 tokens of the issuer ``urn:bridge:local``. Create it with `open`."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        numbers = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        self._private = private
        self._kid = thumbprint(numbers)
        #: Verifies tokens of this issuer.
        self.key: Key = public_key(private.public_key(), self._kid, "ES256")

    @classmethod
    def open(cls, settings: Settings) -> LocalIssuer:
        """The issuer of this home; its key is created if there is none.

        Processes that start together end up with one key. The file is only for its owner (mode 0600), and so is the
        directory (0700) if it is created here.

        :raises SettingsError: the file can't be created or read, or has other content.
        """
        path = key_file(settings)
        try:
            pem = _read_or_make(path)
        except OSError as error:
            hint = owner_hint(path)
            if isinstance(error, FileNotFoundError) or not os.access(path, os.F_OK):
                hint += "; make it writable, or set BRIDGE_LOCAL_ISSUER=off"
            raise SettingsError(
                Fault(f"the local issuer's key can't be kept here: {error.strerror or error}{hint}", file=str(path))
            ) from None
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SettingsError(Fault(f"it holds no private key in PEM form; {_MEND}", file=str(path))) from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise SettingsError(Fault(f"its key is not one for ES256 (EC, P-256); {_MEND}", file=str(path)))
        return cls(private)

    def mint(
        self,
        subject: str,
        roles: Iterable[str] = (),
        tenant: str = "",
        audience: str | Iterable[str] = "",
        ttl: float = 3600.0,
        *,
        scopes: Iterable[str] = (),
    ) -> str:
        """A signed token. `ttl` is in seconds; empty parts are left out."""
        now = int(time.time())
        optional = {
            "tenant": tenant,
            "aud": audience if isinstance(audience, str) else list(audience),
            "roles": list(roles),
            "scope": " ".join(scopes),
        }
        claims = {"iss": LOCAL, "sub": subject, "iat": now, "exp": now + int(ttl), "jti": secrets.token_urlsafe(12)}
        claims |= {name: value for name, value in optional.items() if value}
        return jwt.encode(claims, self._private, algorithm="ES256", headers={"kid": self._kid})


_MEND = "put the right file back, or delete it to have a new key made (tokens of the old one end then)"


def _read_or_make(path: Path) -> bytes:
    try:
        return read_private(path)
    except FileNotFoundError:
        pass
    with locked_folder(path.parent) as directory:
        try:
            return read_private(path)
        except FileNotFoundError:
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_private(path, pem, directory)
            return pem
