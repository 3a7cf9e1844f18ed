"""What the route that is being bound may read: which secrets, and where they may be sent.

Routes have two kinds of authors. The operator writes files and commands, and may use every secret that is meant for
routes. A publisher registers routes through the admin API, chooses their upstream and the URL of their WSDL, and so
could send any secret to a host of its own. A publisher's route may therefore use only secrets that the operator has
bound to their destination, in ``secrets.yml``. A secret that is sent to a token endpoint buys tokens for the route's
upstream, so it is bound to both. Two things of the gateway itself are bound like secrets: its signature
(``signed_jwt``), and the tokens of callers (``token_exchange``).

The `Grant` of the route that is being bound is a context variable: it applies to all that a plug-in calls while it
binds, in tasks and in ``asyncio.to_thread`` alike. Outside of a bind there is none, and no secret can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from bridge.api.spec.scalars import Names, check_name
from bridge.api.spec.upstream import Upstream
from bridge.errors import BindError, Fault, KeyPath

#: The prefix of variables with secrets for routes. They are not settings.
SECRET_PREFIX = "BRIDGE_SECRET_"  # noqa: S105  # a name, not a password

#: Where Docker, Podman, systemd and Kubernetes put the secrets of a container.
SECRET_DIRS = (PurePosixPath("secrets"), PurePosixPath("/run/secrets"), PurePosixPath("/var/run/secrets"))

#: What the gateway has and no variable or file holds, as the kinds of ``upstream_auth`` that use it are named.
SIGNATURE, CALLER_TOKEN = "signed_jwt", "token_exchange"

_VARIABLE = re.compile(r"BRIDGE_SECRET_[A-Za-z0-9_*]+")
_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}|\*")
_DESTINATION = re.compile(r"(?:(https?|grpcs?)://)?([^:/]+)(?::([a-z0-9-]+))?")
_PORTS = {"http": 80, "https": 443}


def tenant_prefix(tenant: str) -> str:
    """What the names of a tenant's own variables begin with: ``BRIDGE_SECRET_CITY_HALL__`` for ``city-hall``.

    Letters are upper-cased and a hyphen between two of ``a-z0-9`` is an underscore; every other character is ``x`` and
    its code in two hexadecimal digits (``a_b``: ``Ax5fB``). So no tenant's part holds two underscores in a row or ends
    in one, the first ``__`` of a name ends it, and no two tenants share a variable.
    """
    small = re.compile(r"[a-z0-9]")
    encoded = ""
    for at, character in enumerate(tenant):
        between = 0 < at < len(tenant) - 1 and small.match(tenant[at - 1]) and small.match(tenant[at + 1])
        if small.match(character):
            encoded += character.upper()
        elif character == "-" and between:
            encoded += "_"
        else:
            encoded += f"x{ord(character):02x}"
    return f"{SECRET_PREFIX}{encoded}__"


def origin_of(url: str) -> str:
    """The origin of an http(s) URL (RFC 6454) as ``scheme://host:port``; ``""`` for any other text."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname or parts.username is not None:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.lower()
    return f"{scheme}://{host}:{port or _PORTS[scheme]}"


class Binding(BaseModel):
    """One entry of ``secrets.yml``: where secrets may be sent by routes that were registered through the admin API."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    secret: (
        str  #: a variable, or a file as a spec names it; ``*`` stands for any characters; `SIGNATURE`, `CALLER_TOKEN`
    )
    upstreams: Names = ()  #: mesh names, ``[scheme://]name[:port]``
    wsdls: Names = ()  #: origins of WSDLs, ``https://host[:port]``
    token_urls: Names = ()  #: origins of token endpoints, likewise; beside `upstreams`, which get the tokens
    tenants: Names = ()  #: tenants that may use it, ``*`` for all; absent: the secret's owner, and routes of no tenant

    @field_validator("secret")
    @classmethod
    def _nameable(cls, secret: str) -> str:
        if secret in (SIGNATURE, CALLER_TOKEN):
            return secret
        if not _VARIABLE.fullmatch(secret) and not any(PurePosixPath(secret).is_relative_to(d) for d in SECRET_DIRS):
            raise ValueError(
                f"it is neither a variable {SECRET_PREFIX}… nor a file below secrets/ or /run/secrets,"
                f" nor {SIGNATURE} or {CALLER_TOKEN}"
            )
        return secret if secret.startswith(SECRET_PREFIX) else str(PurePosixPath(secret))

    @field_validator("upstreams")
    @classmethod
    def _mesh_names(cls, upstreams: tuple[str, ...]) -> tuple[str, ...]:
        for upstream in upstreams:
            match = _DESTINATION.fullmatch(upstream)
            if not match:
                raise ValueError(f"{upstream!r} is not of the form [scheme://]name[:port]")
            check_name(match[2])
        return upstreams

    @field_validator("wsdls", "token_urls")
    @classmethod
    def _origins(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            origin = origin_of(url)
            if not origin or urlsplit(url).path.strip("/") or "?" in url or "#" in url:
                raise ValueError(f"{url!r} is no origin; write https://host or https://host:port")
        return tuple(map(origin_of, urls))

    @field_validator("tenants")
    @classmethod
    def _tenants(cls, tenants: tuple[str, ...]) -> tuple[str, ...]:
        if not tenants:
            raise ValueError("an empty list lets nobody use it; leave tenants out for those whose own it is")
        for tenant in tenants:
            if not _TENANT.fullmatch(tenant):
                raise ValueError(f"{tenant!r} can't be a tenant")
        return tenants

    @model_validator(mode="after")
    def _somewhere(self) -> Binding:
        if not self.upstreams and not self.wsdls:
            raise ValueError("it says nowhere to send it; upstreams or wsdls must name a place")
        if self.token_urls and not self.upstreams:
            raise ValueError("upstreams must name the services that get the tokens of token_urls")
        return self

    def covers(self, secret: str) -> bool:
        pattern = ".*".join(map(re.escape, self.secret.split("*")))
        return re.fullmatch(pattern, secret, re.DOTALL) is not None

    def serves(self, tenant: str, *, own: bool) -> bool:
        """Whether routes of `tenant` (``""``: of none) may use it; `own`: the tenant owns the secret."""
        if self.tenants:
            return "*" in self.tenants or tenant in self.tenants
        return own or not tenant

    def leads_to(self, upstream: Upstream, scheme: str) -> bool:
        for each in self.upstreams:
            match = _DESTINATION.fullmatch(each)
            assert match is not None
            if match[1] in (None, scheme) and match[2] == upstream.name and match[3] in (None, upstream.port):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Secrets:
    """The operator's configuration of secrets for routes.

    :ivar bindings: the entries of ``secrets.yml``.
    :ivar reserved: resolved files and folders that the gateway itself uses; no route may name them, wherever they are.
    :ivar file: the file of the bindings, for messages.
    """

    bindings: Sequence[Binding] = ()
    reserved: frozenset[Path] = frozenset()
    file: str = "secrets.yml"

    def reserves(self, path: Path) -> bool:
        resolved = path.resolve()
        return any(resolved.is_relative_to(own) for own in self.reserved)


NO_SECRETS = Secrets()


@dataclass(frozen=True, slots=True)
class Grant:
    """What the route that is being bound may read.

    :ivar operator: whether the operator wrote it: a file in ``routes/``, or a command. Messages then include the
        reason why something can't be reached.
    :ivar tenant: the route's owner; ``""`` for none.
    :ivar upstream: the destination of its calls, and `scheme` their protocol; None if there is no route.
    :ivar token_endpoint: where what is read now is sent to, for tokens that go to `upstream`: a URL, or a mesh name and
        its scheme; None: it goes to `upstream` itself.
    """

    operator: bool
    tenant: str = ""
    upstream: Upstream | None = None
    scheme: str = ""
    secrets: Secrets = NO_SECRETS
    token_endpoint: str | tuple[Upstream, str] | None = None

    def check_own(self, secret: str, path: KeyPath) -> None:
        """As `check_variable`, for `SIGNATURE` or `CALLER_TOKEN`, which belong to no tenant."""
        self._check(secret, False, path, "")

    def check_variable(self, name: str, path: KeyPath, url: str = "") -> None:
        """:param url: where the value would be sent, if that isn't the route's upstream.
        :raises bridge.api.BindError: the route may not name the variable, or not send it there.
        """
        if not name.startswith(SECRET_PREFIX):
            reason = (
                f"{name} can't be named by a route; a route may name variables that begin with {SECRET_PREFIX} only"
            )
            raise BindError(Fault(reason, path))
        self._check(name, name.startswith(tenant_prefix(self.tenant)), path, url)

    def check_file(self, file: PurePosixPath, path: KeyPath) -> None:
        """As `check_variable`, for a file as the spec names it, which is already known to be in a folder of secrets."""
        own = any(
            file.is_relative_to(folder) and file.relative_to(folder).parts[:-1][:1] == (self.tenant,)
            for folder in SECRET_DIRS
        )
        self._check(str(file), own, path, "")

    def _check(self, secret: str, own: bool, path: KeyPath, url: str) -> None:
        """The message is the same whether the secret exists or not, so that it does not reveal which ones exist."""
        if self.operator:
            return
        if any(
            binding.covers(secret) and binding.serves(self.tenant, own=own) and self._reaches(binding, url)
            for binding in self.secrets.bindings
        ):
            return
        place, keys = self._place(url)
        entry = f"{{secret: {secret}, {keys}"
        entry += f", tenants: [{self.tenant}]}}" if self.tenant and not own else "}"
        reason = f"{secret} is not bound to {place}; the operator may allow it in {self.secrets.file}, as {entry}"
        raise BindError(Fault(reason, path))

    def _reaches(self, binding: Binding, url: str) -> bool:
        """Whether `binding` covers each place that a secret, and what is got for it, is sent to."""
        if url:
            return origin_of(url) in binding.wsdls
        if self.upstream is None or not binding.leads_to(self.upstream, self.scheme):
            return False
        match self.token_endpoint:
            case None:
                return True
            case str(endpoint):
                return origin_of(endpoint) in binding.token_urls
            case (endpoint, scheme):
                return binding.leads_to(endpoint, scheme)

    def _place(self, url: str) -> tuple[str, str]:
        """The destination in words, and the keys of an entry that allows it."""
        upstream = f"{self.upstream.name}:{self.upstream.port}" if self.upstream is not None else "nowhere"
        match self.token_endpoint:
            case _ if url:
                place = origin_of(url) or upstream
                return place, f"wsdls: ['{place}']"
            case None:
                return upstream, f"upstreams: ['{upstream}']"
            case str(endpoint):
                origin = origin_of(endpoint)
                return f"{origin} for {upstream}", f"upstreams: ['{upstream}'], token_urls: ['{origin}']"
            case (endpoint, _):
                name = f"{endpoint.name}:{endpoint.port}"
                return f"{name} for {upstream}", f"upstreams: ['{upstream}', '{name}']"


_current: ContextVar[Grant | None] = ContextVar("bridge.grant", default=None)


@contextmanager
def granted(grant: Grant) -> Iterator[None]:
    """Apply `grant` to the calls inside."""
    token = _current.set(grant)
    try:
        yield
    finally:
        _current.reset(token)


def current_grant() -> Grant | None:
    """The grant of the route that is being bound; None outside of a bind."""
    return _current.get()


def needed_grant(path: KeyPath) -> Grant:
    """:raises bridge.api.BindError: no route is being bound."""
    grant = _current.get()
    if grant is None:
        raise BindError(Fault("secrets can be read only while a route is bound, in the task that binds it", path))
    return grant
