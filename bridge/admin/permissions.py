"""Which roles may make which call of the admin API: one table, which `bridge.admin.publisher.PublisherAccess.route` and
`bridge.admin.access.Access` ask before a handler runs. A call that is not in it can't be mounted.

=================  ==========================================================
role               what for
=================  ==========================================================
``api_publisher``  routes
``api_admin``      routes, and who else may do what: keys, roles, approvals
``auditor``        reads everything and changes nothing
=================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.api.call import Identity
from bridge.stages.auth.needs import Needs

PUBLISHER, ADMIN, AUDITOR = "api_publisher", "api_admin", "auditor"
ROLES = frozenset({PUBLISHER, ADMIN, AUDITOR})


@dataclass(frozen=True, slots=True)
class Permission:
    """:ivar roles: any one of them is enough; none: the call is for everybody.
    :ivar changes: whether the call changes anything, and not only reads.
    """

    roles: tuple[str, ...]
    changes: bool = False

    def judge(self, who: Identity) -> None:
        """:raises Forbidden: `who` has none of the roles."""
        Needs(self.roles, (), bearer=True).judge(who)


EVERYBODY = Permission(())
#: Routes, and the pages that are not public.
READ = Permission((PUBLISHER, ADMIN, AUDITOR))
#: A dry run keeps the gateway busy, and asks servers that its spec names.
TRY = Permission((PUBLISHER, ADMIN))
PUBLISH = Permission((PUBLISHER, ADMIN), changes=True)
#: Keys, roles, and the log, which says who called what.
READ_ACCESS = Permission((ADMIN, AUDITOR))
ADMINISTER = Permission((ADMIN,), changes=True)

#: By path, as it is mounted, and method; GET includes HEAD.
PERMISSIONS: Mapping[str, Mapping[str, Permission]] = {
    "/register": {"POST": PUBLISH},
    "/-/routes": {"GET": READ, "POST": PUBLISH},
    "/-/routes/check": {"POST": TRY},
    "/-/routes/deleted": {"GET": READ},
    "/-/routes/{id:path}": {"GET": READ, "PUT": PUBLISH, "DELETE": PUBLISH},
    "/-/routes/{id:path}/check": {"POST": TRY},
    "/-/routes/{id:path}/openapi": {"GET": READ},
    "/-/routes/{id:path}/history": {"GET": READ},
    "/-/routes/{id:path}/history/{revision}": {"GET": READ},
    "/-/routes/{id:path}/history/{revision}/diff/{other}": {"GET": READ},
    "/-/routes/{id:path}/rollback": {"POST": PUBLISH},
    "/-/changes": {"GET": READ},
    "/-/changes/{id}": {"GET": READ},
    "/-/changes/{id}/approve": {"POST": PUBLISH},
    "/-/changes/{id}/reject": {"POST": PUBLISH},
    "/-/bindings": {"GET": READ_ACCESS, "POST": ADMINISTER},
    "/-/bindings/{id}": {"GET": READ_ACCESS, "PUT": ADMINISTER, "DELETE": ADMINISTER},
    "/-/bindings/{id}/history": {"GET": READ_ACCESS},
    "/-/keys": {"GET": READ_ACCESS, "POST": ADMINISTER},
    "/-/keys/{id}": {"GET": READ_ACCESS, "DELETE": ADMINISTER},
    "/-/keys/{id}/rotate": {"POST": ADMINISTER},
    "/-/log": {"GET": READ_ACCESS},
    # Pages, which `BRIDGE_ADMIN_PUBLIC` may open to everybody.
    "/-/health/live": {"GET": READ},
    "/-/health/ready": {"GET": READ},
    "/-/metrics": {"GET": READ},
    "/-/openapi.json": {"GET": READ},
    "/-/docs": {"GET": READ},
    "/-/console": {"GET": READ},
    "/-/static": {"GET": EVERYBODY},
    "/-/jwks.json": {"GET": EVERYBODY},
}
