"""The roles and scopes that a route asks of its callers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import Any

from bridge.api.call import Identity
from bridge.api.spec.auth import AnyAuth, Auth, MethodNeeds
from bridge.api.stream import WEBSOCKET
from bridge.api.transformer import Operation
from bridge.errors import Forbidden
from bridge.stages.auth.jwt import REALM

#: RFC 6749, section 3.3: what may stand in a scope, and so between the quotes of a challenge.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class Needs:
    """A route's conditions for an authenticated caller: one of `roles`, all of `scopes`.

    :param methods: what calls with one method need in addition; HEAD is judged as GET.
    :param bearer: refusals carry the challenge of RFC 6750, section 3.1, which only tokens have.
    """

    def __init__(
        self,
        roles: Iterable[str],
        scopes: Iterable[str],
        methods: Mapping[Any, MethodNeeds] | None = None,
        *,
        bearer: bool,
    ) -> None:
        self.roles = tuple(roles)
        self.scopes = tuple(scopes)
        self._roles = frozenset(self.roles)
        self._scopes = frozenset(self.scopes)
        challenge = f'Bearer realm="{REALM}", error="insufficient_scope"'
        if self.scopes and all(map(_SCOPE.fullmatch, self.scopes)):
            challenge += f', scope="{" ".join(self.scopes)}"'
        self._headers = [("www-authenticate", challenge)] if bearer else []
        self._methods = {name: Needs(more.roles, more.scopes, bearer=bearer) for name, more in (methods or {}).items()}
        for alias, name in (("HEAD", "GET"), (WEBSOCKET, "GET")):
            if name in self._methods:
                self._methods.setdefault(alias, self._methods[name])

    def listed(self, method: str, *, roles: bool = True) -> list[str]:
        """The roles and scopes that calls with `method` need, without repetitions.

        :param roles: otherwise the scopes alone.
        """
        more = self._methods.get(method)
        names = [*(self.roles if roles else ()), *self.scopes, *(more.listed("", roles=roles) if more else ())]
        return list(dict.fromkeys(names))

    @property
    def all_scopes(self) -> list[str]:
        """The scopes that calls with any method need."""
        methods = (scope for more in self._methods.values() for scope in more.scopes)
        return list(dict.fromkeys((*self.scopes, *methods)))

    def _refusal(self, which: str, identity: Identity) -> Forbidden:
        refusal = Forbidden(f"This needs {which}.", headers=self._headers)
        refusal.caller = identity.subject, identity.tenant
        return refusal

    def judge(self, identity: Identity, method: str = "") -> None:
        """:raises Forbidden: a role or scope is missing; `detail` names it."""
        if self._roles and self._roles.isdisjoint(identity.roles):
            which = f"the role {self.roles[0]}" if len(self.roles) == 1 else f"one of the roles {', '.join(self.roles)}"
            raise self._refusal(which, identity)
        if not self._scopes <= identity.scopes:
            missing = [scope for scope in self.scopes if scope not in identity.scopes]
            which = f"the scope {missing[0]}" if len(missing) == 1 else f"the scopes {', '.join(missing)}"
            raise self._refusal(which, identity)
        if self._methods:
            more = self._methods.get(method)
            if more is not None:
                more.judge(identity)


def ways_around(auth: Auth, operations: Iterable[Operation]) -> list[str]:
    """A sentence on each pair of HTTP methods by which the same methods of a service are called, under conditions
    (``auth.methods``) by the one and not by the other: a gRPC method has an automatic path, a POST, beside those of its
    rules."""
    ways: dict[str, set[str]] = {}
    for operation in operations:
        if operation.service is not None:
            method = "GET" if operation.method in ("HEAD", WEBSOCKET) else operation.method
            ways.setdefault(operation.service.path, set()).add(method)
    pairs: dict[tuple[str, str], str] = {}
    for kind in auth.any if isinstance(auth, AnyAuth) else (auth,):
        needs: Mapping[Any, MethodNeeds] = getattr(kind, "methods", {})
        for path, methods in ways.items():
            for asked, other in permutations(sorted(methods), 2):
                if asked in needs and needs.get(other) != needs[asked]:
                    pairs.setdefault((asked, other), path)
    return [
        f"auth.methods: {path} can be called by {other}, too, without the conditions of {asked}; give {other} the "
        f"same, or leave it out of the route's methods"
        for (asked, other), path in pairs.items()
    ]


def require_role(identity: Identity, role: str) -> None:
    """:raises Forbidden: the caller doesn't have `role`."""
    Needs([role], (), bearer=True).judge(identity)
