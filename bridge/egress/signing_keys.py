"""The keys by which the gateway signs tokens for services, and their public part (RFC 7517).

They are not the local issuer's: nothing that a service gets can be sent back to the gateway as a caller's token. One
file below ``.bridge/`` holds them, for all processes of a home. A key signs for `PERIOD`; the next one is published
`AHEAD` of its first use, and the last one for `KEEP` after that, so that services have time to read them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

from bridge.config.owner import owner_hint
from bridge.config.private_file import locked_folder, read_private, write_private
from bridge.config.stamp import Stamp, stamp_of

FILE = "signing-keys.json"
ALGORITHM = "ES256"
PERIOD = 30 * 86400.0  #: seconds for which a key signs
AHEAD = 86400.0  #: seconds between the publication of a key and its first use
KEEP = 86400.0  #: seconds for which a key is published after its last use; longer than any token is valid
CHECK_EVERY = 60.0  #: seconds between two looks at the file, for keys of other processes
MAX_AGE = 3600  #: seconds for which services may keep the published keys; far less than `AHEAD`

log = logging.getLogger("bridge.tokens")


class KeysUnavailable(Exception):
    """The keys can't be read or kept; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """:ivar since: when it signs first, in Unix seconds."""

    private: ec.EllipticCurvePrivateKey
    since: float
    kid: str

    @classmethod
    def of(cls, private: ec.EllipticCurvePrivateKey, since: float) -> SigningKey:
        der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kid = base64.urlsafe_b64encode(hashlib.sha256(der).digest()[:16]).decode().rstrip("=")
        return cls(private, since, kid)

    @property
    def public(self) -> dict[str, Any]:
        numbers = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**numbers, "kid": self.kid, "use": "sig", "alg": ALGORITHM}


class SigningKeys:
    """The keys of one home. Methods may be called by any thread; those that read or write the file say so.

    :param clock: Unix seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path, self._clock = path, clock
        self._keys: Sequence[SigningKey] = ()
        self._stamp: Stamp | None = None
        self._read_at = self._kept_at = float("-inf")  #: when `refresh` came to an end; with `make`
        self._lock = threading.Lock()
        self._refreshing = asyncio.Lock()

    @property
    def fresh(self) -> bool:
        """Whether `refresh` has nothing to do yet."""
        return self._is_recent(self._kept_at)

    async def refreshed(self, *, make: bool = True) -> None:
        """`refresh` in a thread if it has something to do: once for all who wait for it. On the event loop only.

        :raises KeysUnavailable: there are no keys, and none can be made.
        """
        if not self._is_recent(self._kept_at if make else self._read_at):
            async with self._refreshing:
                if not self._is_recent(self._kept_at if make else self._read_at):
                    await asyncio.to_thread(self.refresh, make=make)

    def _is_recent(self, at: float) -> bool:
        return bool(self._keys) and 0 <= self._clock() - at < CHECK_EVERY

    def refresh(self, *, make: bool = True) -> None:
        """Read the file if it has changed; make keys that are due. Does I/O.

        :param make: otherwise the file is only read.
        :raises KeysUnavailable: there are no keys, and none can be made.
        """
        with self._lock:
            try:
                self._read()
                if make and self._due(self._clock()):
                    self._rotate()
            except (OSError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
                reason = f"the keys of the gateway can't be kept in {self._path}: {_reason(error)}"
                if isinstance(error, OSError):
                    reason += owner_hint(self._path)
                if not self._keys:
                    raise KeysUnavailable(reason) from None
                log.error("%s; those before it are used", reason)
            self._read_at = self._clock()
            if make:
                self._kept_at = self._read_at

    def sign(self, claims: dict[str, Any]) -> str:
        """A compact JWS (RFC 7515) of `claims`, by the current key.

        :raises KeysUnavailable: there is none.
        """
        now, keys = self._clock(), self._keys
        if not keys:
            raise KeysUnavailable(f"the keys of the gateway are gone from {self._path}")
        key = next((key for key in reversed(keys) if key.since <= now), keys[0])
        return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.kid})

    def published(self) -> dict[str, Any]:
        """The JWK Set of all keys that services may meet."""
        return {"keys": [key.public for key in self._keys]}

    def _due(self, now: float) -> bool:
        return not self._keys or now >= self._keys[-1].since + PERIOD - AHEAD

    def _read(self) -> None:
        stamp = stamp_of(self._path)
        if stamp is None and not os.path.lexists(self._path):
            self._keys, self._stamp = (), None
        elif stamp != self._stamp:
            entries = json.loads(read_private(self._path))["keys"]
            self._keys = sorted(map(_parse, entries), key=lambda key: key.since)
            self._stamp = stamp

    def _rotate(self) -> None:
        with locked_folder(self._path.parent) as directory:
            self._read()  # another process may have been first
            now = self._clock()
            if not self._due(now):
                return
            # The first key, and one after a long rest, sign at once: there is none whose time they could wait for.
            last = self._keys[-1] if self._keys else None
            since = now if last is None else max(now + AHEAD, last.since + PERIOD)
            private = ec.generate_private_key(ec.SECP256R1())
            keys = [*self._keys, SigningKey.of(private, since)]
            ends = [key.since for key in keys[1:]]
            keys = [key for key, end in zip(keys, [*ends, float("inf")], strict=True) if now < end + KEEP]
            write_private(self._path, json.dumps({"keys": list(map(_written, keys))}).encode(), directory)
            self._keys, self._stamp = keys, stamp_of(self._path)
            if last is not None:
                log.info("a new key signs tokens for services from now on in %.0f hours", (since - now) / 3600)


def _written(key: SigningKey) -> dict[str, Any]:
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"since": key.since, "pem": pem}


def _parse(entry: dict[str, Any]) -> SigningKey:
    """:raises ValueError, TypeError, KeyError, UnsupportedAlgorithm: it is no key."""
    private = load_pem_private_key(entry["pem"].encode(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ValueError("a key in it is not one for ES256 (EC, P-256)")
    return SigningKey.of(private, float(entry["since"]))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if type(error) is ValueError and str(error).startswith("a key in it"):
        return str(error)
    return "it holds something else; delete it to have new keys made"
