"""``tenants.yml``: what each tenant owns, and roles beside what tokens say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, ValidationError

from bridge.api.spec.route import TENANT
from bridge.api.spec.scalars import Model, Names, check_name
from bridge.config.role_binding import EVERYWHERE, RoleBinding
from bridge.config.specfile import faults_of
from bridge.config.yaml import read_document
from bridge.errors import Fault, KeyPath, SettingsError
from bridge.http.template import decoded, parse_template
from bridge.wording import suggestion

_UPSTREAM = re.compile(r"([^:/]+)(?::([a-z0-9-]+))?")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9._-]{1,253}")


def steps_of(prefix: str) -> tuple[str | None, ...]:
    """The segments of a path, percent-decoded; none for ``/``."""
    steps = parse_template(prefix).steps
    return steps[:-1] if steps[-1:] == ("",) else steps


def _prefixes(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        template = parse_template(path)
        decoded(path)
        if template.rest or template.names or template.verb:
            raise ValueError(f"{path!r} is no prefix: it has plain segments only, as /revenue/v1")
    return paths


def _hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    plain = tuple(host.lower().removesuffix(".") for host in hosts)
    for host, name in zip(hosts, plain, strict=True):
        if not _HOST.fullmatch(name):
            raise ValueError(f"{host!r} is no host; write api.example, or *.example for all below it")
    return plain


def _upstreams(upstreams: tuple[str, ...]) -> tuple[str, ...]:
    for upstream in upstreams:
        match = _UPSTREAM.fullmatch(upstream)
        if not match:
            raise ValueError(f"{upstream!r} is not of the form name or name:port, in which * may stand")
        check_name(match[1].replace("*", "x"))
    return upstreams


class TenantEntry(Model):
    """What one tenant owns.

    :ivar paths: prefixes of whole segments: ``/v1/vat`` is also ``/v1/vat/{number}``, and is not ``/v1/vats``.
    :ivar hosts: names, or ``*.name`` for all names below one.
    :ivar upstreams: names in the mesh, with a port or for each port. ``*`` stands for any characters but dots.
    :ivar approval: whether each change waits until a second person approves of it.
    """

    paths: Annotated[Names, AfterValidator(_prefixes)] = ()
    hosts: Annotated[Names, AfterValidator(_hosts)] = ()
    upstreams: Annotated[Names, AfterValidator(_upstreams)] = ()
    approval: bool = False

    def has_host(self, host: str) -> bool:
        return any(key in self.hosts for key in _above_host(host))

    def has_upstream(self, name: str, port: str) -> bool:
        for upstream in self.upstreams:
            match = _UPSTREAM.fullmatch(upstream)
            assert match is not None
            pattern = "[^.]*".join(map(re.escape, match[1].split("*")))
            if match[2] in (None, port) and re.fullmatch(pattern, name):
                return True
        return False


class TenantsFile(Model):
    """:ivar tenants: by name. None: the file says nothing of what tenants own, and who comes first owns a path."""

    tenants: dict[Annotated[str, Field(pattern=TENANT)], TenantEntry] | None = None
    roles: Annotated[tuple[RoleBinding, ...], Field(strict=False)] = ()


def read_tenants(path: Path) -> TenantsFile:
    """:raises SettingsError: with every fault found."""
    file = str(path)
    value, document = read_document(path, optional=True)
    if value is None:
        return TenantsFile()
    if not isinstance(value, dict):
        raise SettingsError(Fault("it must be a mapping with the keys tenants and roles", file=file, line=1))
    try:
        content = TenantsFile.model_validate(value)
    except ValidationError as error:
        raise SettingsError(faults_of(error, TenantsFile, value, document.lines(), file)) from None
    faults = [*_overlaps(content.tenants or {}), *_unlisted(content)]
    if "tenants" in value and content.tenants is None:
        # Without the key, tenants may register anything: that is never what half a file says.
        faults.append((("tenants",), "it is empty; list the tenants, or write {} if none may register anything"))
    if faults:
        lines = document.lines()
        raise SettingsError([Fault(reason, path, file, lines.at(path).line) for path, reason in faults])
    return content


def reread_tenants(path: Path, before: TenantsFile) -> TenantsFile:
    """As `read_tenants`, for a gateway that serves by `before`.

    A file that has lost the key ``tenants`` may be one that is just being written, or was cut short. It would open
    every path and upstream to all tenants, so it counts as wrong; a file that was removed does not.

    :raises SettingsError: with every fault found.
    """
    content = read_tenants(path)
    if content.tenants is None and before.tenants is not None and path.exists():
        reason = (
            "the key tenants is missing, which the file had before, and without it tenants may register anything; if "
            "that is meant, remove the file, or start the gateway again"
        )
        raise SettingsError(Fault(reason, file=str(path), line=1))
    return content


def _unlisted(content: TenantsFile) -> Iterator[tuple[KeyPath, str]]:
    """Roles in tenants that the file does not list, and so in none that may publish."""
    if content.tenants is None:
        return
    for number, role in enumerate(content.roles):
        if role.tenant not in (EVERYWHERE, *content.tenants):
            near = suggestion(role.tenant, content.tenants)
            yield ("roles", number, "tenant"), f"{role.tenant!r} has no entry in tenants{near}"


class _Own(NamedTuple):
    """Something that a tenant owns. `place` orders what there is as in the file."""

    place: tuple[int, int]
    tenant: str
    text: str


def _overlaps(tenants: Mapping[str, TenantEntry]) -> Iterator[tuple[KeyPath, str]]:
    """Where two tenants own the same. The time grows with the number of tenants and not with its square."""
    for kind, covering in (("paths", _above_path), ("hosts", _above_host)):
        owners: dict[object, _Own] = {}
        below: list[tuple[_Own, Sequence[object]]] = []
        for at, (tenant, entry) in enumerate(tenants.items()):
            for number, text in enumerate(getattr(entry, kind)):
                own, [key, *above] = _Own((at, number), tenant, text), covering(text)
                first = owners.setdefault(key, own)
                below.append((own, above if first is own else [key, *above]))
        told: set[_Own] = set()
        for own, keys in below:
            others = (owners.get(key) for key in keys)
            other = next((one for one in others if one is not None and one.tenant != own.tenant), None)
            if other is None:
                continue
            first, later = sorted((own, other))
            if later not in told:
                told.add(later)
                reason = f"{later.text} overlaps with {first.text}, which {first.tenant} owns"
                yield ("tenants", later.tenant, kind, later.place[1]), reason


def _above_path(path: str) -> Sequence[object]:
    """What stands for a prefix, and for each prefix above it."""
    steps = steps_of(path)
    return [steps[:length] for length in range(len(steps), -1, -1)]


def _above_host(host: str) -> Sequence[object]:
    """A host, and each ``*.name`` that it is below."""
    labels = host.removeprefix("*.").split(".")
    return [host, *("*." + ".".join(labels[at:]) for at in range(1, len(labels)))]
