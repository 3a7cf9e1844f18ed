"""API keys that the gateway makes itself (`bridge.stages.auth.key_text`), as callers send them."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Any, NoReturn, Protocol

from bridge.api.authenticator import Security
from bridge.api.call import Call, Identity
from bridge.api.spec.auth import ApiKeyAuth
from bridge.config.settings import Networks
from bridge.errors import BindError, Fault, Unauthorized
from bridge.http.client_address import within
from bridge.http.token import is_token
from bridge.stages.auth.key_text import id_in, is_whole
from bridge.stages.auth.needs import Needs
from bridge.stages.auth.sources import checked, listed, security_of
from bridge.stages.auth.stored_key import StoredKey

#: Compared with when there is no such key, so that a missing id takes as long as a wrong secret.
_NOBODY = sha256(b"nobody").hexdigest()


class UnknownKey(Unauthorized):
    """No key has this id, as far as this process knows. The text is whole, so another process may have made the key a
    moment ago."""


class KeyStore(Protocol):
    """The store of keys.

    :ivar clock: Unix seconds, by which keys expire.
    """

    clock: Callable[[], float]

    def find(self, key_id: str) -> StoredKey | None:
        """The key with this id. Called on the event loop for each request, so it only reads memory."""
        ...

    async def refresh(self) -> None:
        """Take over the keys that other processes made. It is asked for each unknown key, so one look serves all who
        wait, and it ends within two seconds."""
        ...


class MemoryKeys:
    """A `KeyStore` in memory, for tests."""

    def __init__(self, keys: Iterable[StoredKey] = (), clock: Callable[[], float] = time.time) -> None:
        self.keys = {key.id: key for key in keys}
        self.clock = clock

    def find(self, key_id: str) -> StoredKey | None:
        return self.keys.get(key_id)

    async def refresh(self) -> None: ...


class ApiKeyVerifier:
    """Finds and verifies the key in one header field. A route's further conditions are not checked here."""

    def __init__(self, auth: ApiKeyAuth, keys: KeyStore, clock: Callable[[], float] | None = None) -> None:
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
        :raises UnknownKey: `KeyStore.refresh` may find it.
        """
        texts = call.values(self.header)
        if not texts:
            self.refuse(f"This route takes {self.accepts}.")
        if len(texts) > 1:
            self.refuse(f"The {self.field} header was sent more than once.")
        key_id = id_in(texts[0])
        if key_id is None:
            self.refuse("That is not an API key of this gateway.")
        stored_key = self._keys.find(key_id)
        digest = sha256(texts[0].encode("ascii")).hexdigest()
        if not hmac.compare_digest(digest, stored_key.hash if stored_key else _NOBODY) or stored_key is None:
            is_unknown = stored_key is None and is_whole(texts[0])
            self.refuse("The API key is not valid.", UnknownKey if is_unknown else Unauthorized)
        if stored_key.revoked is not None:
            self.refuse("The API key has been revoked.")
        now = self._clock() if self._clock else self._keys.clock()
        if stored_key.has_expired(now):
            replaced = "A new API key has replaced this one, which has expired."
            self.refuse(replaced if stored_key.replaced_by else "The API key has expired.")
        return stored_key

    def refuse(self, reason: str, error: type[Unauthorized] = Unauthorized) -> NoReturn:
        """401 with a challenge (RFC 9110, section 11.6.1) that names the field."""
        raise error(reason, headers=[("www-authenticate", self.challenge)])

    @property
    def challenge(self) -> str:
        return f'ApiKey realm="hms-bridge", header="{self.field}"'


@lru_cache(maxsize=4096)
def identity_of(key: StoredKey, internal: bool) -> Identity:
    """The identity of this key's callers. Its claims are named as those of tokens are (RFC 9068, section 2.2), so that
    values of a route (``$claim``) are the same for both."""
    claims: dict[str, Any] = {"sub": key.subject, "roles": sorted(key.roles), "scope": " ".join(sorted(key.scopes))}
    if key.tenant:
        claims["tenant"] = key.tenant
    return Identity(
        claims=claims,
        subject=key.subject,
        tenant=key.tenant,
        roles=key.roles,
        scopes=key.scopes,
        key=f"key:{key.line}",
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
        self._keys = keys
        self.consumes = frozenset({self._verifier.header})
        self._sources = checked(auth.sources)
        self.accepts = f"an API key in {listed(f'the {self._verifier.field} header', auth.sources)}"
        self._verifier.accepts = self.accepts
        self.challenge = self._verifier.challenge

    def present(self, call: Call) -> bool:
        return self._verifier.present(call)

    async def __call__(self, call: Call) -> Identity:
        try:
            return self._caller(call)
        except UnknownKey:
            await self._keys.refresh()
            return self._caller(call)

    def known(self, call: Call) -> Identity | None:
        try:
            return self._caller(call)
        except UnknownKey:
            return None

    def _caller(self, call: Call) -> Identity:
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
