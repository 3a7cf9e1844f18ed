"""``tenants.yml``: what each tenant owns, and roles beside what tokens say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from bridge.api.spec.route import TENANT
from bridge.api.spec.scalars import Model, Names, check_name
from bridge.config.role_binding import RoleBinding
from bridge.config.specfile import faults_of
from bridge.config.yaml import read_document
from bridge.errors import Fault, KeyPath, SettingsError
from bridge.http.template import decoded, parse_template

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
        return any(_hosts_meet(own, host) for own in self.hosts)

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
    overlaps = list(_overlaps(content.tenants or {}))
    if overlaps:
        lines = document.lines()
        raise SettingsError([Fault(reason, path, file, lines.at(path).line) for path, reason in overlaps])
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


def _overlaps(tenants: Mapping[str, TenantEntry]) -> Iterator[tuple[KeyPath, str]]:
    """Where two tenants own the same."""
    for (first, mine), (second, its) in combinations(tenants.items(), 2):
        for number, path in enumerate(its.paths):
            if other := next((one for one in mine.paths if _paths_meet(one, path)), None):
                yield ("tenants", second, "paths", number), f"{path} overlaps with {other}, which {first} owns"
        for number, host in enumerate(its.hosts):
            if other := next((one for one in mine.hosts if _hosts_meet(one, host)), None):
                yield ("tenants", second, "hosts", number), f"{host} overlaps with {other}, which {first} owns"


def _paths_meet(first: str, second: str) -> bool:
    return all(mine == its for mine, its in zip(steps_of(first), steps_of(second), strict=False))


def _hosts_meet(first: str, second: str) -> bool:
    """Whether there is a host that both of them are."""
    if first == second:
        return True
    return any(
        one.startswith("*.") and other.removeprefix("*").endswith(one[1:])
        for one, other in ((first, second), (second, first))
    )
