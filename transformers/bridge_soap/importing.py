"""``hms-bridge import soap``: a route spec for a WSDL."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.api import BindError, Fault, ImportOutput, Operation, RouteSpec, faults_of
from bridge_soap.access import access_of
from bridge_soap.binding import Binder
from bridge_soap.contract import Contract
from bridge_soap.documents import BlockingFetch, shown
from bridge_soap.locations import is_url
from bridge_soap.options import SoapOptions
from bridge_soap.policy.lacks import policy_lacks
from bridge_soap.published_tree import common_folder
from bridge_soap.saving import save_contract
from bridge_soap.wsdl.model import SoapOperation
from bridge_soap.wsdl.selection import choose


class _Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.2 reads as numbers, too; PyYAML quotes those of YAML 1.1."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:[eE][-+]?[0-9]+)?|0o[0-7]+"), list("+-0123456789")
)
_WORD = re.compile(r"[A-Za-z0-9]+")


class SoapImport(BaseModel):
    """From a WSDL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wsdl: str = Field(description="A WSDL: a file or a URL.")
    wsdl_user: str = Field(default="", description="The user that the WSDL's server asks for.")
    wsdl_password_env: str = Field(default="", description="The environment variable that holds the password.")
    wsdl_bearer_env: str = Field(default="", description="The environment variable that holds a bearer token.")

    @property
    def auth(self) -> dict[str, str]:
        """As the spec's ``wsdl_auth``."""
        values = (self.wsdl_user, self.wsdl_password_env, self.wsdl_bearer_env)
        return {
            key: value for key, value in zip(("username", "password_env", "bearer_env"), values, strict=True) if value
        }


def import_spec(
    options: SoapImport, wsdl_dir: Path, fetch: BlockingFetch | None = None, output: ImportOutput | None = None
) -> tuple[str, list[str]]:
    """A spec as YAML, and notes on what it leaves out. Comments in the spec list open decisions.

    :param output: takes the contract, if the import saves, and the addresses of its service.
    """
    output = output or ImportOutput()
    notes: list[str] = []
    hints: list[str] = []
    reference, folder = _place(options.wsdl, wsdl_dir, hints if not output.saves else [])
    keys: dict[str, Any] = {"wsdl": reference}
    if options.auth:
        keys["wsdl_auth"] = options.auth
    settings = _options(keys)
    contract = Contract(reference, folder, access_of(settings.wsdl_auth, reference), fetch)
    if output.saves and (is_url(reference) or folder != wsdl_dir):
        keys = {"wsdl": save_contract(contract.library, wsdl_dir, output)}
        settings = _options(keys)
    services = list(dict.fromkeys(each.service for each in contract.wsdl.operations))
    hosts = {urlsplit(each.address).netloc for each in contract.wsdl.operations}
    if len(services) > 1 and len(hosts) > 1:
        keys["service"] = services[0]
        others = ", ".join(services[1:])
        notes.append(f"the services {others}, which are on other hosts: give each a spec of its own")
        settings = _options(keys)
    choices = choose(contract.wsdl, settings)
    address = choices[0].operation.address
    output.addresses += dict.fromkeys(each for url in (address, options.wsdl) if (each := _socket_address(url)))
    spec = _spec(choices[0].operation, keys, hints if not output.saves else [])
    route = RouteSpec.model_validate(spec)
    published, skipped = Binder(contract, route, settings, wsdl_dir.parent).all(choices)
    names = {each.upstream_name for each in published}
    lacks = policy_lacks(contract, [each for each in choices if each.operation.name in names], route, settings)
    return _text(spec, published, hints), [*notes, *skipped, *contract.liberties.notes, *lacks]


def _options(options: dict[str, Any]) -> SoapOptions:
    try:
        return SoapOptions.model_validate(options)
    except ValidationError as error:
        raise BindError(faults_of(error, SoapOptions, options)) from None


def _place(wsdl: str, wsdl_dir: Path, hints: list[str]) -> tuple[str, Path]:
    """The WSDL's name in the spec, and the folder that it is relative to now."""
    if is_url(wsdl):
        return wsdl, wsdl_dir
    if "://" in wsdl:
        if not wsdl.startswith("file://"):
            scheme = wsdl.partition(":")[0]
            reason = f"{scheme}:// is no place for a WSDL; name a file, or a URL with http:// or https://"
            raise BindError(Fault(reason, file=shown(wsdl)))
        wsdl = unquote(urlsplit(wsdl).path)
    for path in (wsdl_dir / wsdl, Path(wsdl)):
        if os.path.isfile(path) and path.resolve().is_relative_to(wsdl_dir.resolve()):
            return path.resolve().relative_to(wsdl_dir.resolve()).as_posix(), wsdl_dir
    path = Path(wsdl).resolve()
    folder = common_folder(path)
    name = path.relative_to(folder).as_posix()
    where = "" if folder == path.parent else f", in the same folders as in {folder}"
    hints.append(f"Copy {name} and what it imports to {wsdl_dir.name}/, where the gateway looks for it{where}.")
    return name, folder


def _spec(operation: SoapOperation, options: dict[str, Any], hints: list[str]) -> dict[str, Any]:
    words = _WORD.findall(operation.service) or ["service"]
    slug = "-".join(words).lower()
    return {
        "route": f"/v1/{slug}",
        "upstream": _upstream(operation.address, slug, hints),
        "auth": {"type": "JWT", "audience": "_".join(words).upper()},
        "rate_limit": {"rps": 50, "burst": 100},
        "timeout": "30s",
        "transform": {"request": "soap", "response": "json", "soap": options},
    }


def _socket_address(url: str) -> str:
    """``host:port`` of an http(s) URL; empty for what is none."""
    try:
        parts = urlsplit(url if is_url(url) else "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return ""
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else ""


def _upstream(address: str, slug: str, hints: list[str]) -> str:
    """A mesh name and port from the WSDL's address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    scheme, host = parts.scheme.lower(), parts.hostname or ""
    try:
        port = parts.port or (443 if scheme == "https" else 80)
    except ValueError:
        port = 80
    try:
        ipaddress.ip_address(host)
    except ValueError:
        is_name = bool(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host)) and ".." not in host
    else:
        is_name = False
    name = host if is_name and host != "localhost" else slug
    upstream = f"{'https://' if scheme == 'https' else ''}{name}:{port}"
    hints.append(
        f"The mesh must know {name}:{port}; with the static source, add it to mesh.yml"
        + (f" (the WSDL says {parts.netloc})." if parts.netloc and name != host else ".")
    )
    return upstream


def _text(spec: dict[str, Any], published: Sequence[Operation], hints: list[str]) -> str:
    # In mixed style: lists and mappings of scalars are written in one line.
    text = yaml.dump(spec, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True)
    lines = [f"#   {each.method} {spec['route']}{each.path}" for each in published]
    todo = ["# Before it serves:", *(f"#   {hint}" for hint in hints)] if hints else []
    return "\n".join(["# Made from the WSDL; it publishes:", *lines, *todo]) + "\n" + text
