"""What a route counts for each call: its ``rate_limit`` and its ``limits``, as one list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from bridge.api.call import Call
from bridge.api.spec.auth import AnyAuth, ApiKeyAuth
from bridge.api.spec.limits import Limit, RateLimit
from bridge.api.spec.route import METHODS, RouteSpec
from bridge.api.stream import WEBSOCKET
from bridge.errors import BindError, Fault
from bridge.stages.quota.caller import CallerKey, caller_key
from bridge.wording import suggestion

#: What a call takes: a number, or one by its method; methods that are not in it take 1.
Cost = int | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LimitPart:
    """One limit of a route.

    :ivar name: of its policy. :ivar id: the same in every gateway that has the route, whatever its store calls it.
    """

    limit: RateLimit | Limit
    name: str
    id: str
    whose: CallerKey

    def cost(self, operation: str) -> Cost:
        """What a call of `operation` takes: by its name, else by its method."""
        costs = None if isinstance(self.limit, RateLimit) else self.limit.cost
        if not costs:
            return 1
        by_method = {name: cost for name, cost in costs.items() if name in METHODS and name != operation}
        if "GET" in by_method:  # a handshake of a WebSocket is a GET, too
            by_method |= {"HEAD": by_method["GET"], WEBSOCKET: by_method["GET"]}
        return costs.get(operation, by_method or 1)


def cost_of(cost: Cost, call: Call) -> int:
    return cost if isinstance(cost, int) else cost.get(call.method, 1)


def parts_of(spec: RouteSpec) -> Sequence[LimitPart]:
    """The limits of a route in the order in which they are counted."""
    parts = []
    if spec.rate_limit is not None:
        parts.append(LimitPart(spec.rate_limit, "default", _id(spec, "default"), caller_key(spec.rate_limit.per)))
    for limit in spec.limits or ():
        parts.append(LimitPart(limit, limit.policy, _id(spec, limit.policy), caller_key(limit.per)))
    return parts


def _id(spec: RouteSpec, name: str) -> str:
    methods = ",".join(sorted(spec.methods or ()))
    route = "\n".join((spec.tenant or "", spec.host or "", spec.route, methods))
    return f"{name}:{blake2b(route.encode(), digest_size=8).hexdigest()}"


def has_own_limits(spec: RouteSpec) -> bool:
    """Whether callers of the route may have limits of their own: those with API keys."""
    auth = spec.auth
    if isinstance(auth, AnyAuth):
        return any(isinstance(kind, ApiKeyAuth) for kind in auth.any)
    return isinstance(auth, ApiKeyAuth)


def check_costs(spec: RouteSpec, operations: Collection[str]) -> None:
    """:raises BindError: `cost` names neither an operation of the route nor a method, or HEAD, which counts as GET."""
    for number, limit in enumerate(spec.limits or ()):
        for name in limit.cost or ():
            if name not in operations and name not in METHODS:
                known = sorted({*operations, *METHODS})
                hint = suggestion(name, known) or f"; there are {', '.join(sorted(operations))}"
                reason = f"{name!r} is no operation of this route and no method{hint}"
                raise BindError(Fault(reason, ("limits", number, "cost", name)))
            if name == "HEAD" and name not in operations:
                raise BindError(Fault("HEAD counts as GET; name GET", ("limits", number, "cost", name)))


def limit_remarks(spec: RouteSpec, operation: str, call: Call) -> Sequence[str]:
    """A sentence on each of a route's ``limits``, and what `call` takes of it; for ``explain``."""
    if not spec.limits:
        return ()
    texts = []
    for part in parts_of(spec):
        text = f"{part.name} allows {_allowance(part.limit)}, per {part.limit.per}"
        if isinstance(part.limit, Limit) and part.limit.concurrency is not None:
            texts.append(text)
        else:
            texts.append(f"{text}; this call takes {cost_of(part.cost(operation), call)}")
    return texts


def _allowance(limit: RateLimit | Limit) -> str:
    if isinstance(limit, Limit):
        if limit.quota is not None:
            return f"{limit.quota} calls a {limit.window}"
        if limit.concurrency is not None:
            return f"{limit.concurrency} calls at once"
    text = f"{limit.rps:g} calls a second"
    text += f" and {limit.burst} at once" if limit.burst is not None else ""
    return text + (f" (internal callers {limit.internal_rps:g} a second)" if limit.internal_rps is not None else "")
