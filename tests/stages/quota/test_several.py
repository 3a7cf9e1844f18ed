"""Several limits at once: a call is counted in all of them or in none, and each is what it would be alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.api.call import Call, CallerLimit, Identity
from bridge.api.limiter import Limiter, Verdict
from bridge.api.spec.limits import MAX_LIMITS, Limit
from bridge.api.spec.route import RouteSpec
from bridge.errors import BindError
from bridge.stages.quota.counters import ConcurrencyCounter, Counter, QuotaCounter, QuotaCounts
from bridge.stages.quota.memory import MAX_BUCKETS, Rate
from bridge.stages.quota.parts import parts_of
from bridge.stages.quota.several import CountedPart, OwnRates, SeveralLimiter
from bridge.stages.quota.store import MemoryLimits, same_limits

ANN, BOB = Identity(key="sub:i|ann"), Identity(key="sub:i|bob")
CALL = Call(peer="192.0.2.7")
Clock = Any


def spec(*limits: Mapping[str, Any], **more: Any) -> RouteSpec:
    base = {"route": "/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
    return RouteSpec.model_validate({**base, "limits": limits, **more})


def limiter(clock: Callable[[], float], *limits: Mapping[str, Any], operation: str = "x") -> Limiter:
    """In memory, with one clock for rates and quotas."""

    def counters(limit: Limit) -> tuple[Counter, Counter]:
        counter: Counter
        if limit.concurrency is not None:
            counter = ConcurrencyCounter(limit.concurrency, limit.policy)
        elif limit.quota is not None and limit.window is not None:
            counter = QuotaCounter(limit.quota, limit.policy, QuotaCounts(limit.window, clock))
        else:
            rate = Rate(limit, limit.policy, MAX_BUCKETS)
            return rate.outside, rate.inside
        return counter, counter

    parts = parts_of(spec(*limits))
    counted = [CountedPart(part, *counters(part.limit), part.whose) for part in parts if isinstance(part.limit, Limit)]
    return SeveralLimiter(counted, OwnRates(), clock).for_operation(operation)


def take(limit: Limiter, identity: Identity = ANN, call: Call = CALL, tenant: str = "") -> Verdict:
    verdict = limit.take_now(identity, call, tenant)
    assert verdict is not None
    return verdict


def fields(verdict: Verdict) -> dict[str, str]:
    return dict(verdict.headers())


# --- all or none -----------------------------------------------------------------------------------------------


def test_a_call_that_the_second_refuses_takes_nothing_of_the_first(clock: Clock) -> None:
    limit = limiter(clock, {"rps": 1, "burst": 5}, {"rps": 1, "burst": 1, "per": "route"})
    assert take(limit).allowed
    for _ in range(20):
        assert not take(limit).allowed
    clock.now += 1
    left = fields(take(limit))["ratelimit"]
    assert left.startswith('"client";r=4;')  # 5, less one, more one, less one


@given(
    costs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2000)), min_size=1, max_size=120),
    burst=st.integers(3, 9),
    quota=st.integers(3, 40),
    count=st.integers(3, 90),
)
def test_each_limit_counts_the_calls_that_all_allow(costs: Any, burst: int, quota: int, count: int) -> None:
    """Against three limits that are asked one by one, and counted only if all have said yes."""
    now = [1000.0]
    cost = {f"n{number}": number for number in range(4)}
    rate, day, window = (
        {"name": "rate", "rps": 2, "burst": burst, "cost": cost},
        {"name": "day", "quota": quota, "window": "day", "cost": cost},
        {"name": "window", "rps": count, "cost": cost},
    )
    both = limiter(lambda: now[0], rate, day, window)
    tokens, used, at = float(burst), 0, 1000.0
    taken: list[tuple[float, int]] = []
    for number, gap in costs:
        now[0] += gap / 1024
        tokens, at = min(burst, tokens + (now[0] - at) * 2), now[0]
        # Up to 64 calls a second are exact; above it a slot is shared for up to a 63rd of one, and never early.
        late = 0 if count <= 64 else 1 / 63
        recent = sum(each for when, each in taken if when > now[0] - 1)
        at_most = sum(each for when, each in taken if when > now[0] - 1 - late)
        rest = tokens + 1e-9 >= number and used + number <= quota
        verdict = take(both.for_operation(f"n{number}"))
        if number == 0:
            assert verdict.allowed
            assert verdict.headers() == []
        elif verdict.allowed:
            assert rest
            assert recent + number <= count
            tokens, used = tokens - number, used + number
            taken.append((now[0], number))
        else:
            assert not rest or at_most + number > count


@given(
    gaps=st.lists(st.tuples(st.integers(1, 7), st.integers(0, 900)), min_size=1, max_size=80), count=st.integers(7, 150)
)
def test_waiting_as_long_as_told_is_enough_for_whatever_a_call_costs(gaps: Any, count: int) -> None:
    now = [1000.0]
    limit = limiter(lambda: now[0], {"rps": count, "cost": {f"n{number}": number for number in range(1, 8)}})
    for number, gap in gaps:
        now[0] += gap / 1024
        verdict = take(limit.for_operation(f"n{number}"))
        if not verdict.allowed:
            now[0] += verdict.retry_after + 1e-9
            assert take(limit.for_operation(f"n{number}")).allowed
            return


def test_calls_under_way_are_given_back_once(clock: Clock) -> None:
    limit = limiter(clock, {"concurrency": 2}, {"rps": 100, "burst": 100})
    first, second = take(limit), take(limit)
    refused = take(limit)
    assert (refused.allowed, refused.policy.name, refused.release) == (False, "client-concurrency", None)
    assert take(limit, BOB).allowed
    assert first.release is not None
    first.release()
    assert take(limit).allowed
    assert not take(limit).allowed
    assert second.release is not None


def test_no_caller_is_remembered_once_no_call_is_under_way() -> None:
    counter = ConcurrencyCounter(5, "n")
    for name in "abc":
        counter.take(name, 0.0)
    for name in "abc":
        counter.refund(name, 1)
    assert len(counter) == 0


# --- what a call costs -----------------------------------------------------------------------------------------


def test_an_operation_or_a_method_costs_more(clock: Clock) -> None:
    limit = limiter(clock, {"rps": 1, "burst": 10, "cost": {"POST": 4, "report": 9, "GET": 0}}, operation="report")
    assert fields(take(limit))["x-ratelimit-remaining"] == "1"
    other = limiter(clock, {"rps": 1, "burst": 10, "cost": {"POST": 4, "report": 9, "GET": 0}})
    assert take(other).headers() == []  # GET is not counted
    assert fields(take(other, call=Call("POST")))["x-ratelimit-remaining"] == "6"
    assert fields(take(other, call=Call("PUT")))["x-ratelimit-remaining"] == "5"
    refused = [take(other, call=Call("POST")) for _ in range(2)][1]
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 1, 3.0)


def test_a_head_and_a_handshake_cost_what_a_get_costs(clock: Clock) -> None:
    """Otherwise they would be the cheap way to the same work."""
    for method in ("GET", "HEAD", "WEBSOCKET"):
        limit = limiter(clock, {"rps": 1, "burst": 10, "cost": {"GET": 6}})
        assert [take(limit, call=Call(method)).allowed for _ in range(2)] == [True, False], method
    with pytest.raises(BindError, match="HEAD counts as GET"):
        MemoryLimits().bind(spec({"rps": 9, "cost": {"HEAD": 2}}), ["report"])
    assert MemoryLimits().bind(spec({"rps": 9, "cost": {"HEAD": 2}}), ["HEAD"]) is not None


def test_a_cost_for_what_the_route_does_not_have() -> None:
    with pytest.raises(BindError, match="'reprot' is no operation of this route and no method; did you mean 'report'"):
        MemoryLimits().bind(spec({"rps": 9, "cost": {"reprot": 2}}), ["report"])
    assert MemoryLimits().bind(spec({"rps": 9, "cost": {"report": 2, "PUT": 3}}), ["report"]) is not None


# --- whose ------------------------------------------------------------------------------------------------------


def test_by_address_and_by_key(clock: Clock) -> None:
    limit = limiter(clock, {"rps": 1, "burst": 1, "per": "address"})
    assert take(limit, call=Call(peer="2001:db8::1")).allowed
    assert not take(limit, BOB, Call(peer="2001:db8::2")).allowed  # the same /64
    assert take(limit, BOB, Call(peer="2001:db8:0:1::2")).allowed
    by_key = limiter(clock, {"rps": 1, "burst": 1, "per": "key"})
    assert take(by_key, Identity(key="key:1")).allowed
    assert not take(by_key, Identity(key="key:1")).allowed
    assert take(by_key, Identity(key="key:2")).allowed
    assert take(by_key, ANN).allowed  # no key: each client by itself
    assert take(by_key, BOB).allowed


def test_a_callers_own_limit_is_over_all_routes() -> None:
    limits = MemoryLimits()
    keyed = {"auth": {"type": "api_key"}, "limits": None}
    one, other = limits.bind(spec(**keyed, route="/a"), []), limits.bind(spec(**keyed, route="/b"), [])
    assert one is not None
    assert other is not None
    owner = Identity(key="key:1", limit=CallerLimit(0.01, 2))
    assert take(one, owner).allowed
    assert fields(take(other, owner))["ratelimit"] == '"key";r=0;t=200'
    refused = take(one, owner)
    assert (refused.allowed, refused.policy.name) == (False, "key")
    assert take(one, Identity(key="key:2")).headers() == []
    assert take(one, Identity(key="key:1", limit=CallerLimit(0.01, 3))).allowed  # it was changed


def test_internal_callers_have_their_own_rate(clock: Clock) -> None:
    limit = limiter(clock, {"rps": 1, "internal_rps": 5}, {"quota": 100, "window": "day"})
    inside = Identity(key="sub:i|batch", internal=True)
    assert [take(limit, inside).allowed for _ in range(6)] == [True] * 5 + [False]
    assert [take(limit).allowed for _ in range(2)] == [True, False]


# --- what the client reads ---------------------------------------------------------------------------------------


def test_the_fields_name_every_policy_and_the_one_that_refused(clock: Clock) -> None:
    clock.now = 86400.0 * 3 + 600
    limit = limiter(
        clock,
        {"rps": 2, "burst": 4},
        {"quota": 3, "window": "day", "per": "tenant"},
        {"concurrency": 7, "per": "route"},
    )
    assert take(limit).headers() == [
        (
            "ratelimit-policy",
            '"client";q=4;w=2, "tenant-day";q=3;w=86400, "route-concurrency";q=7;qu="concurrent-requests"',
        ),
        ("ratelimit", '"client";r=3;t=1, "tenant-day";r=2;t=85800, "route-concurrency";r=6'),
        ("x-ratelimit-limit", "3"),
        ("x-ratelimit-remaining", "2"),
        ("x-ratelimit-reset", "85800"),
    ]
    take(limit)
    take(limit)
    refused = fields(take(limit))
    assert refused["ratelimit"] == '"tenant-day";r=0;t=85800'
    assert refused["retry-after"] == refused["x-ratelimit-reset"] == "85800"


def test_of_several_that_refuse_the_longest_counts(clock: Clock) -> None:
    clock.now = 86400.0 * 3
    limit = limiter(clock, {"rps": 1, "burst": 1}, {"quota": 1, "window": "day"})
    take(limit)
    refused = take(limit)
    assert refused.policy.name == "client-day"
    assert fields(refused)["ratelimit"] == '"client";r=0;t=1, "client-day";r=0;t=86400'


# --- what a spec may say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({}, "one of rps, quota and concurrency; it has none"),
        ({"rps": 1, "quota": 5, "window": "day"}, "it has rps and quota"),
        ({"quota": 5}, "a quota needs its window"),
        ({"quota": 5, "window": "week"}, "'day' or 'month'"),
        ({"rps": 5, "window": "day"}, "window goes with quota, not with rps"),
        ({"concurrency": 5, "burst": 5}, "burst goes with rps"),
        ({"quota": 5, "window": "day", "internal_rps": 5}, "internal_rps goes with rps"),
        ({"concurrency": 5, "cost": {"GET": 2}}, "cost goes with rps or quota"),
        ({"rps": 5, "cost": {"GET": 6}}, "GET takes 6, and the limit never holds more than 5"),
        ({"rps": 5, "internal_rps": 2, "cost": {"GET": 3}}, "GET takes 3, and the limit never holds more than 2"),
        ({"rps": 5, "cost": {"GET": -1}}, "greater than or equal to 0"),
        ({"rps": 5, "name": "key"}, "'key' is the name of the limit that an API key has itself"),
        ({"rps": 5, "name": 'a"b'}, "pattern"),
        ({"rps": 5, "per": "adress"}, "did you mean 'address'"),
        ({"concurrency": 0}, "greater than or equal to 1"),
        ({"rps": 5, "brust": 5}, "Extra inputs"),
    ],
)
def test_a_limit_that_is_none(limit: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        spec(limit)


def test_names_and_numbers_of_limits() -> None:
    with pytest.raises(ValidationError, match=r"two of them are called 'client'; give one another name"):
        spec({"rps": 1}, {"rps": 5, "per": "client"})
    for many in (0, MAX_LIMITS + 1):
        with pytest.raises(ValidationError, match=f"1 to 8 limits, not {many}"):
            spec(*({"rps": 1, "name": f"n{number}"} for number in range(many)))
    names = [limit.policy for limit in spec(
        {"rps": 1, "per": "key"}, {"rps": 1, "per": "claim:org/unit"}, {"quota": 1, "window": "month", "per": "key"},
        {"concurrency": 1}, {"rps": 1, "name": "fair-use"},
    ).limits or ()]  # fmt: skip
    assert names == ["route-key", "claim-org_unit", "key-month", "client-concurrency", "fair-use"]


def test_rate_limit_is_one_of_them() -> None:
    parts = parts_of(spec({"rps": 5, "per": "route"}, rate_limit={"rps": 1}))
    assert [part.name for part in parts] == ["default", "route"]


def test_counts_outlast_a_change_of_something_else() -> None:
    one = spec({"rps": 5})
    assert same_limits(one, spec({"rps": 5}, timeout="5s"))
    assert not same_limits(one, spec({"rps": 6}))
    assert not same_limits(one, spec({"rps": 5}, route="/b"))
    assert not same_limits(one, spec({"rps": 5}, auth={"type": "api_key"}))
