"""The trusted issuers: ``issuers.yml`` and the local issuer, together `Trust`."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from bridge.api.spec.route import TENANT
from bridge.api.spec.scalars import seconds
from bridge.api.tls import default_context
from bridge.config.settings import Settings
from bridge.config.specfile import faults_of
from bridge.config.yaml import Lines, read_document
from bridge.errors import Fault, IssuerUnavailable, SettingsError
from bridge.stages.auth.discovery import IssuerMetadata, issuer_fault
from bridge.stages.auth.introspection import Introspector
from bridge.stages.auth.introspection_endpoint import AT_ONCE, IntrospectionEndpoint
from bridge.stages.auth.introspection_entry import BadIntrospection, Introspection, IntrospectionClient
from bridge.stages.auth.jwks import CachedKeys, FixedKeys, KeySource, file_keys
from bridge.stages.auth.jwt import LEEWAY, TokenVerifier, TrustedIssuer
from bridge.stages.auth.keys import ASYMMETRIC, SYMMETRIC, BadKey, KeySet, secret_key
from bridge.stages.auth.local_issuer import LOCAL, LocalIssuer
from bridge.stages.auth.own_secrets import not_for_routes
from bridge.stages.auth.published import FETCH_TIMEOUT, DiscoveredKeys, url_keys
from bridge.stages.auth.token_types import DEFAULT_TYPES, read_types
from bridge.transport.url_client import UrlClient

if TYPE_CHECKING:
    import httpx

__all__ = ["LOCAL", "Issuer", "LocalIssuer", "Trust", "read_issuers"]

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
_OTHER_HOME = (
    "The token was made by the local issuer of another gateway. Make it with BRIDGE_HOME set to the home of this one."
)
_SOURCES = ("jwks_url", "jwks_file", "secret_env")
_LOCAL_SOURCES = ("jwks_file", "secret_env")
MAX_STALE = 3600.0  #: seconds that old keys are used while an issuer does not answer, unless its entry says otherwise
LONGEST_STALE = 7 * 86400.0
MAX_LEEWAY = 300.0  #: seconds


def _token_types(value: object) -> object:
    """:raises ValueError: it lists what can't be types of access tokens."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("it must be a list of types, such as [at+jwt, JWT]")
    return read_types(names)


class Issuer(BaseModel):
    """One entry of ``issuers.yml``. One of `jwks_url`, `jwks_file` and `secret_env` says where its keys are; without
    them, the issuer says it itself (`bridge.stages.auth.discovery`).

    `roles_claim` and `tenant_claim` name claims; if no claim has the whole name, dots select members of objects
    (``realm_access.roles``). Without `algorithms`, a secret takes the HS family and everything else all the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    issuer: Annotated[str, Field(min_length=1)]  #: the token's exact ``iss``
    jwks_url: str | None = None
    jwks_file: str | None = None  #: relative to the gateway's home
    secret_env: str | None = None  #: the environment variable that holds the shared secret
    algorithms: Annotated[
        tuple[Algorithm, ...],
        BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else (v,) if isinstance(v, str) else v),
        Field(min_length=1),
    ] = ()
    roles_claim: Annotated[str, Field(min_length=1)] = "roles"
    tenant_claim: Annotated[str, Field(min_length=1)] = "tenant"
    #: Accepted values of ``typ``; `bridge.stages.auth.token_types.ABSENT` stands for none.
    token_types: Annotated[frozenset[str], BeforeValidator(_token_types)] = DEFAULT_TYPES
    #: Seconds that its clock and ours may be apart.
    leeway: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=MAX_LEEWAY, allow_inf_nan=False)] = LEEWAY
    tenant: Annotated[str, Field(pattern=TENANT)] | None = None  #: of all its tokens
    #: Seconds past their freshness in which keys are used while the issuer does not answer.
    max_stale: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=LONGEST_STALE, allow_inf_nan=False)] = (
        MAX_STALE
    )
    introspection: Introspection | None = None  #: how it is asked about tokens, for routes with ``oauth2``

    @field_validator("issuer")
    @classmethod
    def _not_ours(cls, issuer: str) -> str:
        if issuer == LOCAL:
            raise ValueError(f"{LOCAL} is the gateway's own issuer; it needs no entry")
        return issuer

    @field_validator("jwks_url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://-")
        _ = parts.port  # ValueError, if it is none
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no http or https URL")
        if parts.username or parts.password:
            raise ValueError("a URL with a password in it would end up in logs; the keys are public, leave it out")
        return url

    @field_validator("secret_env")
    @classmethod
    def _not_for_routes(cls, name: str | None) -> str | None:
        return name if name is None else not_for_routes(name)

    @model_validator(mode="after")
    def _one_source(self) -> Issuer:
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(sources) > 1:
            names = " and ".join(sources)
            raise ValueError(f"it needs one of jwks_url, jwks_file and secret_env, or none, and has {names}")
        asked = self.introspection
        if asked is not None and asked.url is None and sources:
            raise ValueError(
                f"introspection needs url: the issuer's metadata, which name it, are not read with {sources[0]}"
            )
        if not sources and (asked is None or asked.url is None) and (fault := issuer_fault(self.issuer)):
            names = "jwks_url, jwks_file and secret_env"
            raise ValueError(f"it needs exactly one of {names}, since its keys can't be discovered: {fault}")
        if "max_stale" in self.model_fields_set and sources and sources[0] in _LOCAL_SOURCES:
            raise ValueError(f"max_stale is for keys that are fetched, and {sources[0]} is on this machine")
        if self.secret_env is not None and not SYMMETRIC.issuperset(self.algorithms):
            raise ValueError("a shared secret (secret_env) takes only HS256, HS384 and HS512 as algorithms")
        shared = SYMMETRIC.intersection(self.algorithms)
        if shared and not {"secret_env", "jwks_file"}.intersection(sources):
            raise ValueError(f"{min(shared)} is for a shared secret, which is not fetched; name it with secret_env")
        return self

    @property
    def is_discovered(self) -> bool:
        """Whether the issuer itself says where its keys are."""
        return not self.has_source and not issuer_fault(self.issuer)

    @property
    def has_source(self) -> bool:
        """Whether the entry says where the issuer's keys are."""
        return any(getattr(self, name) is not None for name in _SOURCES)

    @property
    def files(self) -> list[str]:
        """Files that hold its keys, and the gateway's secrets for it."""
        files = [] if self.jwks_file is None else [self.jwks_file]
        return files + ([] if self.introspection is None else self.introspection.files)

    @property
    def allowed(self) -> frozenset[str]:
        """The algorithms its tokens may be signed with."""
        return frozenset(self.algorithms) or (SYMMETRIC if self.secret_env is not None else ASYMMETRIC)


class Trust:
    """Every trusted issuer, their keys, and the verifier that all routes share.

    :ivar local: the local issuer, or ``None`` when it is switched off.
    :ivar files: files that hold keys, which no route may send.
    :ivar verifier: verifies tokens.
    :ivar introspectors: of the issuers that can be asked about tokens, by issuer.
    """

    def __init__(self, issuers: Iterable[TrustedIssuer], local: LocalIssuer | None = None) -> None:
        self.local: LocalIssuer | None = None
        self.verifier = TokenVerifier({issuer.name: issuer for issuer in issuers})
        self.introspectors: dict[str, Introspector] = {}
        self._introspections: Counter[tuple[str, str]] = Counter()
        self.files: list[Path] = []
        #: The entries that `verifier` was made from, by issuer.
        self._entries: dict[str, Issuer] = {}
        self._client: httpx.AsyncClient | None = None
        self._making_client = threading.Lock()
        self._started = False
        self._trust_local(local)

    @classmethod
    def load(cls, settings: Settings, environ: Mapping[str, str] = os.environ, *, verifying: bool = True) -> Trust:
        """The issuers that `settings` trust. Key files and secrets are read now, URLs when a token first needs them.

        :param verifying: whether tokens will be verified. Otherwise the local issuer is trusted without its key, which
            is neither created nor read.
        :raises SettingsError: with every fault found.
        """
        trust = cls(())
        trust._take(settings, *trust._read(settings, environ, verifying=verifying))
        if not verifying and settings.local_issuer == "on":
            trust.verifier.issuers[LOCAL] = TrustedIssuer(LOCAL, frozenset({"ES256"}), FixedKeys(KeySet([])))
        return trust

    def start(self) -> None:
        """Fetch the keys of all issuers beside the calls, now and whenever they are due. One that can't be had is
        logged, and its tokens get 503 until it answers."""
        self._started = True
        for issuer in self.verifier.issuers.values():
            issuer.keys.start()

    def states(self) -> Sequence[tuple[str, float]]:
        """Each issuer whose keys are fetched, and the seconds for which they may be used if no fetch succeeds. May be
        asked in any thread."""
        issuers = list(self.verifier.issuers.values())
        figures = [(each.name, each.keys.remaining) for each in issuers if isinstance(each.keys, CachedKeys)]
        return [(name, seconds) for name, seconds in figures if seconds is not None]

    def metadata(self, issuer: str) -> IssuerMetadata | None:
        """What `issuer` says of itself; None for one whose entry says where its keys are, that isn't trusted, or that
        has not answered yet."""
        trusted = self.verifier.issuers.get(issuer)
        return trusted.keys.metadata if trusted is not None and isinstance(trusted.keys, DiscoveredKeys) else None

    async def discovered(self, issuer: str) -> IssuerMetadata | None:
        """As `metadata`, asked for now if the issuer was never reached.

        :raises IssuerUnavailable: it does not answer.
        """
        trusted = self.verifier.issuers.get(issuer)
        if trusted is None or not isinstance(trusted.keys, DiscoveredKeys):
            return None
        return await trusted.keys.discovered()

    async def undiscovered(self) -> dict[str, str]:
        """Ask the issuers that say themselves where their keys are: the reason of each that can't be used now."""
        issuers = self.verifier.issuers.values()
        asked = {each.name: each.keys.probe() for each in issuers if isinstance(each.keys, DiscoveredKeys)}
        reasons = await asyncio.gather(*asked.values())
        return {name: reason for name, reason in zip(asked, reasons, strict=True) if reason}

    async def reload(self, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        """Trust the issuers that `settings` name now. One whose entry is the same keeps its keys.

        :raises SettingsError: with every fault found; nothing has changed then.
        """
        before = list(self.verifier.issuers.values())
        introspectors_before = list(self.introspectors.values())
        self._take(settings, *await asyncio.to_thread(self._read, settings, environ))
        current = {id(issuer) for issuer in self.verifier.issuers.values()}
        for issuer in before:
            if id(issuer) not in current:
                await issuer.keys.aclose()
        for introspector in introspectors_before:
            if self.introspectors.get(introspector.issuer.name) is not introspector:
                await introspector.aclose()
        if self._started:
            self.start()

    def _read(
        self, settings: Settings, environ: Mapping[str, str], *, verifying: bool = True
    ) -> tuple[list[_Entry], LocalIssuer | None]:
        """:raises SettingsError: with every fault found."""
        path = settings.path(settings.issuers)
        entries = read_issuers(path)
        local = LocalIssuer.open(settings) if verifying and settings.local_issuer == "on" else None
        trusted: list[_Entry] = []
        faults: list[Fault] = []
        for entry, line in entries:
            if self._entries.get(entry.issuer) == entry:
                name = entry.issuer
                trusted.append(_Entry(entry, self.verifier.issuers[name], self.introspectors.get(name)))
                continue
            try:
                keys = self._keys(entry, settings, environ)
                issuer = _trusted(entry, keys)
                trusted.append(_Entry(entry, issuer, self._introspector(entry, issuer, settings, environ)))
            except _BadSource as error:
                at = line.get(".".join(error.path), line.get(error.path[0], line[""]))
                faults.append(Fault(str(error), error.path, str(path), at))
        if faults:
            raise SettingsError(faults)
        return trusted, local

    def _take(self, settings: Settings, trusted: Iterable[_Entry], local: LocalIssuer | None) -> None:
        issuers = self.verifier.issuers
        known_local = issuers.get(LOCAL)
        issuers.clear()
        self._entries = {}
        self.introspectors = {}
        for entry, issuer, introspector in trusted:
            self._entries[entry.issuer] = entry
            issuers[entry.issuer] = issuer
            if introspector is not None:
                self.introspectors[entry.issuer] = introspector
        self.files = [settings.path(file) for entry in self._entries.values() for file in entry.files]
        if known_local is not None and local is not None and self.local is not None and local.key == self.local.key:
            issuers[LOCAL] = known_local
        else:
            self._trust_local(local)
        self.verifier.forget()

    def _trust_local(self, local: LocalIssuer | None) -> None:
        self.local = local
        if local is not None:
            keys = FixedKeys(KeySet([local.key]))
            self.verifier.issuers[LOCAL] = TrustedIssuer(LOCAL, frozenset({"ES256"}), keys, unknown_key=_OTHER_HOME)

    def trusts(self, issuer: str) -> bool:
        """Whether tokens of `issuer` can be accepted at all."""
        return issuer in self.verifier.issuers

    def introspector(self, issuer: str) -> Introspector | None:
        """What asks `issuer` about tokens; for "" that of the only one that can be asked. None: there is none."""
        if not issuer and len(self.introspectors) == 1:
            return next(iter(self.introspectors.values()))
        return self.introspectors.get(issuer)

    async def aclose(self) -> None:
        """Stop background tasks and close connections."""
        for introspector in self.introspectors.values():
            await introspector.aclose()
        for issuer in self.verifier.issuers.values():
            await issuer.keys.aclose()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _keys(self, entry: Issuer, settings: Settings, environ: Mapping[str, str]) -> KeySource:
        if entry.is_discovered:
            return DiscoveredKeys(entry.issuer, self._http, max_stale=entry.max_stale)
        if entry.jwks_url is not None:
            return url_keys(entry.issuer, entry.jwks_url, self._http, max_stale=entry.max_stale)
        if entry.jwks_file is not None:
            try:
                return file_keys(entry.issuer, settings.path(entry.jwks_file))
            except BadKey as error:
                raise _BadSource(f"{entry.jwks_file}: {error}", "jwks_file") from None
        if entry.secret_env is None:  # it can be asked about its tokens, and has no keys
            return FixedKeys(KeySet([]))
        name = entry.secret_env
        secret = environ.get(name, "")
        if not secret:
            raise _BadSource(f"the environment variable {name or '(no name)'} is not set", "secret_env")
        try:
            return FixedKeys(KeySet([secret_key(os.fsencode(secret), entry.allowed)]))
        except BadKey as error:
            raise _BadSource(f"{name}: {error}", "secret_env") from None

    def _introspector(
        self, entry: Issuer, issuer: TrustedIssuer, settings: Settings, environ: Mapping[str, str]
    ) -> Introspector | None:
        asked = entry.introspection
        if asked is None:
            return None
        try:
            client = IntrospectionClient(asked, entry.issuer, settings.home, environ)
        except BadIntrospection as error:
            raise _BadSource(str(error), "introspection", error.key) from None
        url = partial(self._introspection_url, entry.issuer, asked.url)
        connections = UrlClient(client.tls, per_address=AT_ONCE)
        endpoint = IntrospectionEndpoint(entry.issuer, url, client.authentication, connections)
        return Introspector(issuer, asked, endpoint, count=partial(self._count_introspection, entry.issuer))

    def _count_introspection(self, issuer: str, outcome: str) -> None:
        self._introspections[issuer, outcome] += 1

    def introspections(self) -> list[tuple[str, str, int]]:
        """Issuer, outcome and number of requests about tokens. Any thread may call this."""
        return [(issuer, outcome, count) for (issuer, outcome), count in list(self._introspections.items())]

    async def _introspection_url(self, issuer: str, url: str | None) -> str:
        """:raises IssuerUnavailable: the issuer's metadata, which name it, can't be had or don't name it."""
        if url is not None:
            return url
        metadata = await self.discovered(issuer)
        if metadata is None or metadata.introspection_endpoint is None:
            raise IssuerUnavailable(cause="its metadata name no introspection_endpoint")
        return metadata.introspection_endpoint

    def _http(self) -> httpx.AsyncClient:
        with self._making_client:
            if self._client is None:
                import httpx  # by now `url_keys` has loaded it

                from bridge.transport.judged import JudgedTransport

                # Redirects are not followed: keys may come only from the URL that the operator configured.
                transport = JudgedTransport(default_context())
                self._client = httpx.AsyncClient(transport=transport, timeout=FETCH_TIMEOUT, follow_redirects=False)
            return self._client


def _trusted(entry: Issuer, keys: KeySource) -> TrustedIssuer:
    return TrustedIssuer(
        entry.issuer,
        entry.allowed,
        keys,
        entry.roles_claim,
        entry.tenant_claim,
        entry.token_types,
        entry.leeway,
        entry.tenant or "",
    )


class _Entry(NamedTuple):
    """An entry, and what was made of it."""

    entry: Issuer
    issuer: TrustedIssuer
    introspector: Introspector | None


class _BadSource(Exception):
    def __init__(self, reason: str, *path: str) -> None:
        super().__init__(reason)
        self.path = path


def read_issuers(path: Path) -> list[tuple[Issuer, dict[str, int]]]:
    """The entries of ``issuers.yml``, each with the lines of its keys (``""``: its own). No file: no issuers.

    The file is a list of entries, or has the one key ``issuers`` with that list.

    :raises SettingsError: with every fault found.
    """
    file = str(path)
    entries, document = read_document(path, optional=True)
    is_nested = isinstance(entries, dict) and set(entries) == {"issuers"}
    if is_nested:
        entries = entries["issuers"]
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise SettingsError(Fault("it must be a list of issuers, each a mapping with its keys", file=file, line=1))
    return _entries(entries, document.lines().at(("issuers",) if is_nested else ()), file)


def _entries(entries: list[Any], lines: Lines, file: str) -> list[tuple[Issuer, dict[str, int]]]:
    issuers: list[tuple[Issuer, dict[str, int]]] = []
    faults: list[Fault] = []
    lines_of_names: dict[str, int] = {}
    for number, entry in enumerate(entries):
        place = lines.at((number,))
        if not isinstance(entry, dict):
            faults.append(Fault("an issuer is a mapping of keys to values", file=file, line=place.line))
            continue
        try:
            issuer = Issuer.model_validate(entry)
        except ValidationError as error:
            faults += faults_of(error, Issuer, entry, place, file)
            continue
        if issuer.issuer in lines_of_names:
            reason = f"{issuer.issuer} has an entry in line {lines_of_names[issuer.issuer]} already"
            faults.append(Fault(reason, ("issuer",), file=file, line=place.at(("issuer",)).line))
        lines_of_names.setdefault(issuer.issuer, place.line)
        asked = entry.get("introspection") or {}
        paths = [(key,) for key in entry] + [("introspection", key) for key in asked]
        issuers.append((issuer, {"": place.line} | {".".join(path): place.at(path).line for path in paths}))
    if faults:
        raise SettingsError(faults)
    return issuers
