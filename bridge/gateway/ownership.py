"""Who owns which paths and hosts, so that no tenant can take another's callers.

A caller sends its token to whichever route its request matches. So the routes of one tenant must not match, nor come
close to, what another tenant or the operator has published. What a tenant's publisher registers is refused where it

- stands on, above or beneath a path of another owner: one template, cut to the length of the other, takes a path that
  the other takes, too. ``{name}`` and ``{name*}`` count as any segment, and methods and ``:verb`` don't count at all:
  the gateway tries the next best template when the best one lacks the method;
- names a host that another tenant has a route at, whatever the path.

Hosts matter as they do in the matcher: a route without ``host`` is found at every host. What a route had before a
change is its own. The operator's word (files, and what a publisher without a tenant registers) is not judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bridge.api.route_spec import RouteSpec
from bridge.errors import NotOwned
from bridge.http.template import parse_template


@dataclass(frozen=True, slots=True)
class OwnedPath:
    """Paths that a route occupies at `host` (None: at all hosts).

    :ivar steps: the segments before any ``{name*}``; None stands for ``{name}``.
    :ivar exact: only the path ``/`` itself, and nothing beneath it.
    :ivar template: as it was written, for messages.
    """

    host: str | None
    steps: tuple[str | None, ...]
    exact: bool
    template: str

    def meets(self, other: OwnedPath) -> bool:
        """Whether one of them stands on, above or beneath the other."""
        if self.host is not None and other.host is not None and self.host != other.host:
            return False
        if self.exact or other.exact:
            return not self.steps and not other.steps
        for mine, its in zip(self.steps, other.steps, strict=False):
            if mine != its and mine is not None and its is not None:
                return False
        return True


#: The tenant that owns a route (``""``: the operator), and what the route occupies.
Holding = tuple[str, Sequence[OwnedPath]]


def owned_paths(spec: RouteSpec, templates: Iterable[str] | None = None) -> tuple[OwnedPath, ...]:
    """What a route occupies: all at and below its path.

    :param templates: the whole paths of its operations where they are known. Only a route at ``/`` is judged by them,
        or it would own everything.
    """
    if spec.route != "/" or templates is None:
        return (_owned_path(spec.host, spec.route, exact=False),)
    return tuple(_owned_path(spec.host, template, exact=template == "/") for template in templates)


def check_ownership(tenant: str, new: Sequence[OwnedPath], others: Collection[Holding]) -> None:
    """Judge what a route of `tenant` is about to occupy.

    :param new: its places, less those that it has already.
    :param others: what all other routes occupy.
    :raises NotOwned: one of the places belongs to somebody else.
    """
    for mine in new:
        host = mine.host
        for owner, places in others:
            if owner == tenant:
                continue
            for its in places:
                if owner and host is not None and host == its.host:
                    raise NotOwned("host", f"the host {host} belongs to another tenant; choose a host of your own")
                if mine.meets(its):
                    raise NotOwned("route", _overlap(mine, its, "another tenant" if owner else "the operator"))


def _overlap(mine: OwnedPath, its: OwnedPath, owner: str) -> str:
    where = f" at the host {its.host}" if its.host else ""
    return (
        f"{mine.template} stands on, above or beneath {its.template}{where}, which belongs to {owner}; "
        "choose a path of your own"
    )


@lru_cache(maxsize=65536)
def _owned_path(host: str | None, template: str, *, exact: bool) -> OwnedPath:
    steps = parse_template(template).steps
    if steps[-1:] == ("",):  # operations of /a/ are found below /a
        steps = steps[:-1]
    return OwnedPath(host, steps, exact, template)
