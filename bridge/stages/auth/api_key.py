"""API keys that the gateway makes itself: ``hmsb_ID_SECRET``.

The secret has 256 random bits, so its plain SHA-256 tells nothing about it and a slow password hash would only cost
time. Only the hash is stored: a key is shown once, when it is created.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import NoReturn, Protocol

from bridge.api.authenticator import Security
from bridge.api.call import Call, CallerLimit, Identity
from bridge.api.spec.auth import ApiKeyAuth
from bridge.config.settings import Networks
from bridge.errors import BindError, Fault, Unauthorized
from bridge.http.client_address import within
from bridge.http.token import is_token
from bridge.stages.auth.needs import Needs
from bridge.stages.auth.sources import checked, listed, security_of

PREFIX = "hmsb"
_FORM = re.compile(r"hmsb_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
#: Compared with when there is no such key, so that a missing id takes as long as a wrong secret.
_NOBODY = sha256(b"nobody").hexdigest()


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The stored part of a key. `hash` is the hex SHA-256 of the whole text; times are Unix seconds, ``None``:
    never."""

    id: str
    hash: str
    subject: str
    tenant: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    limit: CallerLimit | None = None


class KeyStore(Protocol):
    """The store of keys."""

    def find(self, key_id: str) -> StoredKey | None:
        """The key with this id. Called on the event loop for each request, so it only reads memory."""
        ...


class MemoryKeys:
    """A `KeyStore` in memory: for tests, and as a cache of a database."""

    def __init__(self, keys: Iterable[StoredKey] = ()) -> None:
        self.keys = {key.id: key for key in keys}

    def find(self, key_id: str) -> StoredKey | None:
        return self.keys.get(key_id)


def mint_key(
    subject: str,
    *,
    tenant: str = "",
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    ttl: float | None = None,
    limit: CallerLimit | None = None,
    clock: Callable[[], float] = time.time,
) -> tuple[str, StoredKey]:
    """A new key: its text, and the part to store. `ttl` is in seconds; ``None``: it doesn't expire."""
    key_id, now = secrets.token_hex(8), clock()
    text = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    return text, StoredKey(
        id=key_id,
        hash=sha256(text.encode()).hexdigest(),
        subject=subject,
        tenant=tenant,
        roles=frozenset(roles),
        scopes=frozenset(scopes),
        created=now,
        expires=None if ttl is None else now + ttl,
        limit=limit,
    )


class ApiKeyVerifier:
    """Finds and verifies the key in one header field. A route's further conditions are not checked here."""

    def __init__(self, auth: ApiKeyAuth, keys: KeyStore, clock: Callable[[], float] = time.time) -> None:
        if not is_token(auth.header):
            raise BindError(Fault(f"{auth.header!r} can't be the name of a header field", ("auth", "header")))
        self.field = auth.header
        self.header = auth.header.lower()
        self.accepts = f"an API key in the {self.field} header"
        self._keys = keys
        self._clock = clock

    def present(self, call: Call) -> bool:
        """Whether the call has a key, valid or not."""
        return any(name == self.header for name, _ in call.headers)

    def verify(self, call: Call) -> StoredKey:
        """The caller's key.

        :raises Unauthorized: there is none, or it isn't valid; only a caller with the right secret gets the exact
            reason.
        """
        texts = call.values(self.header)
        if not texts:
            self.refuse(f"This route takes {self.accepts}.")
        if len(texts) > 1:
            self.refuse(f"The {self.field} header was sent more than once.")
        form = _FORM.fullmatch(texts[0])
        if form is None:
            self.refuse("That is not an API key of this gateway.")
        stored_key = self._keys.find(form[1])
        digest = sha256(texts[0].encode("ascii")).hexdigest()
        if not hmac.compare_digest(digest, stored_key.hash if stored_key else _NOBODY) or stored_key is None:
            self.refuse("The API key is not valid.")
        if stored_key.revoked is not None:
            self.refuse("The API key has been revoked.")
        if stored_key.expires is not None and self._clock() >= stored_key.expires:
            self.refuse("The API key has expired.")
        return stored_key

    def refuse(self, reason: str) -> NoReturn:
        """401 with a challenge (RFC 9110, section 11.6.1) that names the field."""
        raise Unauthorized(reason, headers=[("www-authenticate", self.challenge)])

    @property
    def challenge(self) -> str:
        return f'ApiKey realm="hms-bridge", header="{self.field}"'


def identity_of(key: StoredKey, internal: bool) -> Identity:
    """The identity of this key's callers."""
    return Identity(
        subject=key.subject,
        tenant=key.tenant,
        roles=key.roles,
        scopes=key.scopes,
        key=f"key:{key.id}",
        internal=internal or "internal" in key.roles,
        limit=key.limit,
    )


class ApiKeyAuthenticator:
    """``api_key``: a key of the gateway's own in a header field."""

    kind = "api_key"

    def __init__(self, auth: ApiKeyAuth, keys: KeyStore, internal: Networks) -> None:
        self._verifier = ApiKeyVerifier(auth, keys)
        self._needs = Needs(auth.roles, auth.scopes, auth.methods, bearer=False)
        self._internal = internal
        self.consumes = frozenset({self._verifier.header})
        self._sources = checked(auth.sources)
        self.accepts = f"an API key in {listed(f'the {self._verifier.field} header', auth.sources)}"
        self._verifier.accepts = self.accepts
        self.challenge = self._verifier.challenge

    def present(self, call: Call) -> bool:
        return self._verifier.present(call)

    async def __call__(self, call: Call) -> Identity:
        return self.known(call)

    def known(self, call: Call) -> Identity:
        key = self._verifier.verify(call)
        identity = identity_of(key, bool(self._internal) and within(call.peer, self._internal))
        self._needs.judge(identity, call.method)
        return identity

    def openapi_scheme(self, method: str = "") -> Security:
        header = self._verifier.field
        standard = header.lower() == "x-api-key"
        name = "apiKey" if standard else "apiKey_" + re.sub(r"[^A-Za-z0-9._-]", "_", header.lower())
        scheme = {"type": "apiKey", "in": "header", "name": header, "description": "A key that this gateway gave out."}
        return security_of(name, scheme, self._sources, self._needs.listed(method))
