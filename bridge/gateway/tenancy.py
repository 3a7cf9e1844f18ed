"""What tenants may register, as ``tenants.yml`` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.api.spec.route import RouteSpec
from bridge.api.spec.upstream import Upstream
from bridge.api.spec.upstream_tokens import TokenRequestSpec
from bridge.config.tenants_file import TenantEntry, TenantsFile, steps_of
from bridge.errors import NotOwned
from bridge.gateway.ownership import OwnedPath, owned_paths


class Tenancy:
    """:ivar content: of ``tenants.yml``, as it is in force.
    :param name: of the file, for messages.
    """

    def __init__(self, content: TenantsFile | None = None, name: str = "tenants.yml") -> None:
        self.content, self._name = content or TenantsFile(), name

    def approves(self, tenant: str) -> bool:
        """Whether changes of the tenant's routes wait for a second person."""
        entry = (self.content.tenants or {}).get(tenant)
        return entry is not None and entry.approval

    def check(self, spec: RouteSpec, owned: Sequence[OwnedPath] | None = None) -> None:
        """:raises NotOwned: as `refusals`."""
        for key, reason in self.refusals(spec, owned):
            raise NotOwned(key, reason)

    def refusals(self, spec: RouteSpec, owned: Sequence[OwnedPath] | None = None) -> Iterator[tuple[str, str]]:
        """Keys of a tenant's spec that name what is not the tenant's, and why; none for a spec without a tenant.

        :param owned: the paths that the route occupies. None: it is not bound yet, so that they may not be known.
        """
        if spec.tenant is None or self.content.tenants is None:
            return
        entry = self.content.tenants.get(spec.tenant)
        if entry is None:
            yield "tenant", f"the tenant {spec.tenant} owns nothing: it has no entry in {self._name}"
            return
        if spec.host is not None and not entry.has_host(spec.host):
            yield "host", f"{spec.host} is no host of {self._allowed(spec.tenant, entry.hosts)}"
        if spec.host is None or entry.paths:
            if owned is None and spec.route != "/":
                owned = owned_paths(spec)
            for path in owned or ():
                if not _is_below(path, entry):
                    yield "route", f"{path.template} is not below a path of {self._allowed(spec.tenant, entry.paths)}"
        for key, upstream in _upstreams(spec):
            if not entry.has_upstream(upstream.name, upstream.port):
                name = f"{upstream.name}:{upstream.port}"
                yield key, f"{name} is no upstream of {self._allowed(spec.tenant, entry.upstreams)}"

    def _allowed(self, tenant: str, own: Sequence[str]) -> str:
        return f"the tenant {tenant}, for which {self._name} has {', '.join(own) or 'none'}"


def _is_below(path: OwnedPath, entry: TenantEntry) -> bool:
    return any(path.steps[: len(steps)] == steps for steps in map(steps_of, entry.paths))


def _upstreams(spec: RouteSpec) -> Iterator[tuple[str, Upstream]]:
    """Everything in a spec that names a service of the mesh, with its key."""
    yield "upstream", spec.upstream
    auth = spec.upstream_auth
    if isinstance(auth, TokenRequestSpec) and auth.token_upstream is not None:
        yield "upstream_auth/token_upstream", Upstream.parse(auth.token_upstream)
