"""One operation as the outside sees it, and who sees it: what the table hands to the document's builder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.api.spec.route import RouteSpec
from bridge.api.transformer import Operation


@dataclass(frozen=True, slots=True)
class PublishedOperation:
    """A bound operation with the guards' part of its documentation.

    :ivar route_id: the route's id as the admin API writes it.
    :ivar security: Security Requirement Objects, any one of which is enough; empty for a public operation.
    :ivar by_method: the same for methods that need something else, of an operation that takes all methods.
    :ivar schemes: the Security Scheme Objects that `security` names.
    """

    route_id: str
    spec: RouteSpec
    operation: Operation
    security: Sequence[Mapping[str, Sequence[str]]] = ()
    schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    by_method: Mapping[str, Sequence[Mapping[str, Sequence[str]]]] = field(
        default_factory=dict[str, Sequence[Mapping[str, Sequence[str]]]]
    )


def for_host(operations: Iterable[PublishedOperation], host: str) -> list[PublishedOperation]:
    """Those that a request with this ``Host`` (a port is ignored) can reach: its own and the ones of every host."""
    name = _without_port(host).rstrip(".").lower()
    return [one for one in operations if one.spec.host in (None, name)]


def for_tenant(operations: Iterable[PublishedOperation], tenant: str) -> list[PublishedOperation]:
    """Those that belong to `tenant`; routes without a tenant belong to nobody and are left out."""
    return [one for one in operations if one.spec.tenant == tenant]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
