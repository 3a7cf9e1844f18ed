"""The owners of paths and hosts, so that no tenant can receive another's calls.

A caller sends its token to the route that its request matches. So the routes of one tenant must not match, or overlap
with, paths that another tenant or the operator has published. A tenant's registration is refused if it

- is equal to, above or below a path of another owner: one template, cut to the length of the other, matches a path that
  the other matches, too. ``{name}`` and ``{name*}`` match any segment, and methods and ``:verb`` are ignored, since
  the matcher tries the next best template when the best one lacks the method;
- has a host at which another tenant has a route, whatever the path.

Hosts count as in the matcher: a route without ``host`` is published at every host. A route keeps the paths that it had
before a change. The operator's routes (files, and registrations of a publisher without a tenant) are not checked.

Where ``tenants.yml`` says who owns paths and hosts, nobody has them by being first: what one tenant publishes at a host
of its own keeps no other tenant from the paths that are the other's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bridge.api.spec.route import RouteSpec
from bridge.errors import NotOwned
from bridge.http.template import parse_template


@dataclass(frozen=True, slots=True)
class OwnedPath:
    """Paths that a route occupies at `host` (None: at all hosts).

    :ivar steps: the segments before any ``{name*}``; None for ``{name}``.
    :ivar exact: only the path ``/`` itself, and nothing below it.
    :ivar template: as written in the spec, for messages.
    """

    host: str | None
    steps: tuple[str | None, ...]
    exact: bool
    template: str

    def meets(self, other: OwnedPath) -> bool:
        """Whether they are equal, or one is above the other."""
        if self.host is not None and other.host is not None and self.host != other.host:
            return False
        if self.exact or other.exact:
            return not self.steps and not other.steps
        for mine, its in zip(self.steps, other.steps, strict=False):
            if mine != its and mine is not None and its is not None:
                return False
        return True


#: The tenant that owns a route (``""``: the operator), and the paths that the route occupies.
Holding = tuple[str, Sequence[OwnedPath]]


def owned_paths(spec: RouteSpec, templates: Iterable[str] | None = None) -> tuple[OwnedPath, ...]:
    """The paths that a route occupies: its path, and all below it.

    :param templates: the whole paths of its operations, if known. They are used only for a route at ``/``, which would
        own everything otherwise.
    """
    if spec.route != "/" or templates is None:
        return (_owned_path(spec.host, spec.route, exact=False),)
    return tuple(_owned_path(spec.host, template, exact=template == "/") for template in templates)


def check_ownership(
    tenant: str, new: Sequence[OwnedPath], others: Collection[Holding], *, allotted: bool = False
) -> None:
    """Check the paths that a route of `tenant` is about to occupy.

    :param new: its paths, less those that it has already.
    :param others: the paths of all other routes.
    :param allotted: whether ``tenants.yml`` says what each tenant owns.
    :raises NotOwned: one of the paths has another owner.
    """
    for mine in new:
        host = mine.host
        for owner, places in others:
            if owner == tenant:
                continue
            for its in places:
                if allotted and owner and host != its.host:
                    continue
                if owner and host is not None and host == its.host:
                    raise NotOwned("host", f"the host {host} belongs to another tenant; choose a host of your own")
                if mine.meets(its):
                    raise NotOwned("route", _overlap(mine, its, is_tenants=bool(owner)))


def _overlap(mine: OwnedPath, its: OwnedPath, *, is_tenants: bool) -> str:
    """The reason. What another tenant publishes is not told, but that it does."""
    where = f" at the host {its.host}" if its.host else ""
    path = (
        "a path that belongs to another tenant"
        if is_tenants
        else f"{its.template}{where}, which belongs to the operator"
    )
    return f"{mine.template} stands on, above or beneath {path}; choose a path of your own"


@lru_cache(maxsize=65536)
def _owned_path(host: str | None, template: str, *, exact: bool) -> OwnedPath:
    steps = parse_template(template).steps
    if steps[-1:] == ("",):  # operations of /a/ are below /a
        steps = steps[:-1]
    return OwnedPath(host, steps, exact, template)
