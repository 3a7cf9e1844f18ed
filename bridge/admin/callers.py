"""Who calls the admin API, in which tenant, and with which roles: those of the token and those of bindings add up."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from starlette.requests import Request

from bridge.admin.permissions import ROLES, Permission
from bridge.api.authenticator import Authenticator
from bridge.api.call import Call, Identity
from bridge.api.certificates import ARRIVED
from bridge.api.record import Record
from bridge.api.spec.route import TENANT
from bridge.config.role_binding import EVERYWHERE, RoleBinding
from bridge.errors import ClientError, Forbidden

TENANT_FIELD = "x-tenant"  #: names the tenant for which a call is made


class Callers:
    """:param authenticate: judges the token or key. Roles are judged here.
    :param bindings: all that there are now.
    """

    def __init__(self, authenticate: Authenticator, bindings: Callable[[], Iterable[RoleBinding]]) -> None:
        self._authenticate = authenticate
        self._bindings = bindings

    async def identify(self, request: Request, permission: Permission) -> Identity:
        """The caller of `request` with the tenant for which the call is made. The record names whoever is known, also
        one who is refused then.

        :raises Unauthorized, Forbidden: the caller is not known, or may not make the call; or the tenant has a name
            that no route can bear.
        :raises ClientError: ``X-Tenant`` is malformed, or missing where there are several tenants to choose from.
        """
        call = Call(
            request.method,
            request.url.path,
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
            peer=request.client.host if request.client else "",
        )
        call.request = request.scope.get(ARRIVED)
        identity = await self._authenticate(call)
        record: Record = request.scope["bridge.record"]
        record.subject, record.tenant = identity.subject, identity.tenant
        if identity.tenant and not re.fullmatch(TENANT, identity.tenant):
            raise Forbidden("Your token's tenant has a name that no route can bear: letters, digits, '.', '_' and '-'.")
        identity = self._acting(identity, _named(request))
        record.tenant = identity.tenant
        permission.judge(identity)
        return identity

    def _acting(self, identity: Identity, tenant: str) -> Identity:
        """`identity` in the tenant that its token names, else in `tenant`, else everywhere if it has a role there, else
        in the one tenant in which it has a role.

        A token that names a tenant is never more than that tenant's, whatever bindings say.
        """
        bound = defaultdict[str, set[str]](set)
        # Not of a caller without an issuer, who has an API key: whoever makes a key chooses its subject.
        for binding in self._bindings() if "iss" in identity.claims else ():
            if binding.covers(identity.subject, identity.claims):
                bound[binding.tenant].add(binding.role)
        everywhere = bound.pop(EVERYWHERE, set())
        if identity.tenant:
            if tenant not in ("", identity.tenant):
                raise Forbidden(f"Your token is of the tenant {identity.tenant!r} and can't act for {tenant!r}.")
            return replace(identity, roles=identity.roles | everywhere | bound[identity.tenant])
        everywhere |= identity.roles & ROLES
        if not tenant and not everywhere:
            if len(bound) > 1:
                names = ", ".join(sorted(bound))
                raise ClientError(f"You have roles in several tenants: name one in X-Tenant, of {names}.")
            tenant = next(iter(bound), "")
        if tenant and not everywhere | bound[tenant]:
            raise Forbidden(f"You have no role in the tenant {tenant!r}.")
        return replace(identity, tenant=tenant, roles=identity.roles | everywhere | bound[tenant])


def _named(request: Request) -> str:
    """The tenant in the field ``X-Tenant``; ``""`` without one.

    :raises ClientError: it names none, or several.
    """
    names = request.headers.getlist(TENANT_FIELD)
    if names and (len(names) > 1 or not re.fullmatch(TENANT, names[0])):
        raise ClientError("X-Tenant names one tenant: letters, digits, '.', '_' and '-', at most 64.")
    return names[0] if names else ""
