"""Settings: the environment (``BRIDGE_…``), then the file given by ``--config``, then defaults that need no server.

Every name here is ``BRIDGE_NAME`` in the environment and ``name`` in the file. An unknown one is an error in either.
Variables ``BRIDGE_SECRET_…`` are no settings: they hold the secrets that routes may name (`bridge.api.grants`).
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bridge.api.grants import SECRET_PREFIX
from bridge.api.spec.cors import CorsSpec
from bridge.api.spec.scalars import Seconds, Size
from bridge.api.validation import reason_of
from bridge.config.address import ListenAddress, listen_address
from bridge.config.api_info import Contact, License, Servers, Text, Url
from bridge.config.yaml import NO_LINES, read_document
from bridge.errors import Fault, SettingsError
from bridge.wording import suggestion


def _networks(value: object) -> object:
    """``10.0.0.0/8,192.168.1.4`` or a list of such."""
    items = value.split(",") if isinstance(value, str) else value
    if isinstance(items, list | tuple):
        return tuple(ipaddress.ip_network(str(item).strip()) for item in items if str(item).strip())
    return value


def _listener(value: object) -> object:
    return listen_address(value) if isinstance(value, str) else value


#: Pages below ``/-/`` that need no token where `Settings.admin_public` names them.
PAGES = ("health", "metrics", "openapi", "docs", "console")


def _pages(value: object) -> object:
    """``health,metrics`` or a list of such; ``none`` for no page at all."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return value
    names = [item.strip() if isinstance(item, str) else item for item in items if item != ""]
    if names == ["none"]:
        return frozenset()
    for name in names:
        if name not in PAGES:
            raise ValueError(f"there is no page {name!r}; choose from {', '.join(PAGES)}, or write none")
    return frozenset(names)


def _cors(value: object) -> object:
    """``https://app.example.org,*.example.com``, ``any``, ``none``; or all keys of a route's ``cors``, from the
    environment as JSON."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"it is not JSON: {error}") from None
    if text == "any":
        return {"origins": "any"}
    return {"origins": [] if text in ("", "none") else [item.strip() for item in text.split(",")]}


def _issuer(value: object) -> object:
    """A URI that isn't the local issuer's, whose tokens the gateway itself takes."""
    if not isinstance(value, str) or ":" not in value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("it is a URI, such as https://gateway.example")
    if value == "urn:bridge:local":
        raise ValueError("that is the issuer of tokens for callers; tokens for services need another one")
    return value


def _count(value: object) -> object:
    """A number; from the environment, its digits."""
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]

Networks = Annotated[
    tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], BeforeValidator(_networks), Field(strict=False)
]


class Settings(BaseModel):
    """All that an operator decides. Relative paths are below `home`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Path(".")  #: `routes/`, `wsdl/`, `protos/`, `mesh.yml`, `issuers.yml` lie here
    routes: Path = Path("routes")
    store: str = "sqlite:///.bridge/routes.db"
    limits: str = "memory://"
    mesh: str = "static:mesh.yml"
    policies: Path = Path("policies")
    issuers: Path = Path("issuers.yml")
    client_cas: Path = Path("client-cas.yml")  #: the authorities of clients' certificates
    client_cert_header: Literal["on", "off"] = "off"  #: whether trusted proxies send Client-Cert (RFC 9440)
    secrets: Path = Path("secrets.yml")  #: where registered routes may send which secret
    tenants: Path = Path("tenants.yml")  #: what tenants own, and roles beside what tokens say
    log: str = ".bridge/access.log"  #: a file, or ``-`` for standard output
    log_level: LogLevel = "info"  #: the least level of the gateway's own log, on standard error
    log_format: LogFormat = "text"  #: of the gateway's own log
    log_size: Size = 64 * 1024**2  #: bytes after which the access log is rotated
    log_keep: Annotated[int, BeforeValidator(_count), Field(ge=1)] = 10  #: rotated files kept
    local_issuer: Literal["on", "off"] = "on"
    trusted_proxies: Networks = ()  #: whose X-Forwarded-For and trace headers are believed
    internal_networks: Networks = ()  #: callers from here get a limit's ``internal_rps``
    fetch_networks: Networks = ()  #: from where contracts are fetched beside the public Internet
    cors: Annotated[CorsSpec | None, BeforeValidator(_cors)] = None  #: of routes without one of their own
    security_headers: Literal["on", "off"] = "off"  #: whether routes that don't say anything send them
    #: ``iss`` of the tokens that the gateway signs for services.
    signed_jwt_issuer: Annotated[str, BeforeValidator(_issuer)] = "urn:bridge:gateway"
    max_body: Size = 8 * 1024**2  #: bytes of a request
    max_json: Size = 48 * 1024**2  #: bytes that the values of a request's JSON may take once they are read
    max_reply: Size = 32 * 1024**2  #: bytes of an upstream's answer
    compress: Literal["on", "off"] = "off"  #: whether routes that don't say anything compress their replies
    tls_cert: Path | None = None  #: PEM: the listener's certificate chain; with it, the gateway serves HTTPS
    tls_key: Path | None = None  #: PEM: the certificate's private key; None where it stands in the same file
    body_timeout: Seconds = 30.0  #: how long a client may take to send its body
    #: Where ``/-/`` and ``/register`` are served; None: with the routes, on the one listener.
    admin_bind: Annotated[ListenAddress | None, BeforeValidator(_listener)] = None
    #: Pages that need no token on the routes' listener; None: see `public_pages`.
    admin_public: Annotated[frozenset[str] | None, BeforeValidator(_pages)] = None
    openapi_title: Text = "HMS Bridge"  #: of the OpenAPI document, as the settings below
    openapi_version: Text | None = None  #: of the API; None: the gateway's own
    openapi_description: Annotated[str, Field(min_length=1, max_length=64 * 1024)] | None = None  #: in Markdown
    openapi_contact: Contact | None = None  #: who answers questions
    openapi_license: License | None = None
    openapi_terms: Url | None = None  #: the terms of service
    openapi_servers: Servers = ()  #: where the routes are served; none: where the document is, or as a proxy says
    drain: Seconds = 30.0  #: how long calls under way may take once the gateway is told to stop

    def path(self, relative: Path | str) -> Path:
        """`relative` below `home`; an absolute path as it is."""
        return self.home / relative

    @property
    def public_pages(self) -> frozenset[str]:
        """`admin_public`, or its default: all pages on a listener that they share with the routes, else ``health``."""
        if self.admin_public is not None:
            return self.admin_public
        return frozenset(PAGES) if self.admin_bind is None else frozenset({"health"})

    @property
    def state(self) -> Path:
        """What the gateway keeps: local issuer's key, routes, log."""
        return self.home / ".bridge"


def load(environ: Mapping[str, str] = os.environ, config: Path | None = None, **given: Any) -> Settings:
    """Settings from the command line's `given` (those that aren't None), the environment, `config`, defaults.

    :raises SettingsError: an unknown name, or a value that can't be used; says which and from where.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    document = None
    if config is not None:
        content, document = read_document(config)
        if not isinstance(content, dict | None):
            raise SettingsError(Fault("it must map names to values", file=str(config), line=document.lines().line))
        values = dict(content or {})
    for name, value in environ.items():
        if name.startswith("BRIDGE_") and not name.startswith(SECRET_PREFIX):
            key = name.removeprefix("BRIDGE_").lower()
            values[key], origin[key] = value, name
    for key, value in given.items():
        if value is not None:
            values[key], origin[key] = value, f"--{key.replace('_', '-')}"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = document.lines() if document else NO_LINES
        faults = []
        for entry in error.errors():
            path = entry["loc"]
            key = str(path[0])
            reason = reason_of(entry)
            if entry["type"] == "extra_forbidden" and len(path) == 1:
                prefix = "BRIDGE_" if origin.get(key, "").startswith("BRIDGE_") else ""
                known = [f"{prefix}{name.upper() if prefix else name}" for name in Settings.model_fields]
                reason = f"no setting has this name{suggestion(origin.get(key, key), known)}"
            if key in origin:
                faults.append(Fault(reason, (origin[key],)))
            else:
                faults.append(Fault(reason, path, file=str(config), line=lines.at(path).line))
        raise SettingsError(faults) from None
