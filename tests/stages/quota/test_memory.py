"""Limits, against the rule itself and against a second, exact implementation of the bucket."""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.api.call import Call, Identity
from bridge.api.spec.limits import RateLimit
from bridge.stages.quota.memory import MAX_SLOTS, Bursting, MemoryLimiter, Sliding

ANN, BOB = Identity(key="sub:i|ann"), Identity(key="sub:i|bob")
CALL = Call(peer="192.0.2.7")

#: Moments in steps of 1/1024 s: floats hold them exactly, so a second is a second to the last bit.
steps = st.lists(
    st.one_of(st.integers(0, 3), st.integers(0, 40), st.integers(0, 3000), st.sampled_from([1023, 1024, 1025])),
    min_size=1,
    max_size=400,
)


def moments(gaps: Any) -> Any:
    now, found = 0, []
    for gap in gaps:
        now += gap
        found.append(now / 1024)
    return found


def limiter(clock: Any, **spec: Any) -> Any:
    return MemoryLimiter(RateLimit.model_validate(spec), clock)


def take(limit: Any, identity: Any = ANN, call: Any = CALL, tenant: Any = None) -> Any:
    return limit.take_now(identity, call, tenant)


# --- without burst ---------------------------------------------------------------------------------------------


def test_the_51st_call_in_one_second(clock: Any) -> None:
    limit = limiter(clock, rps=50)
    for at in range(50):
        clock.now = 1000 + at / 64
        verdict = take(limit)
        assert (verdict.allowed, verdict.remaining) == (True, 49 - at)
    clock.now = 1000 + 63.999 / 64
    refused = take(limit)
    assert (refused.allowed, refused.limit, refused.remaining) == (False, 50, 0)
    assert refused.retry_after == pytest.approx(0.001 / 64)
    clock.now = 1001
    assert take(limit).allowed  # the first token is back
    assert not take(limit).allowed  # the second isn't


def test_no_burst_across_the_border_of_a_second(clock: Any) -> None:
    """Where fixed windows let twice the limit through."""
    limit = limiter(clock, rps=50)
    clock.now = 1000.9
    assert sum(take(limit).allowed for _ in range(60)) == 50
    clock.now = 1001.1
    assert sum(take(limit).allowed for _ in range(60)) == 0


def test_a_refused_call_takes_nothing(clock: Any) -> None:
    limit = limiter(clock, rps=1)
    assert take(limit).allowed
    for tenth in range(1, 10):
        clock.now = 1000 + tenth / 10
        assert not take(limit).allowed
    clock.now = 1001
    assert take(limit).allowed


def test_less_than_one_a_second(clock: Any) -> None:
    limit = limiter(clock, rps=0.5)
    assert take(limit).allowed
    clock.now += 1.5
    verdict = take(limit)
    assert (verdict.allowed, verdict.limit, verdict.window, verdict.retry_after) == (False, 1, 2.0, 0.5)
    clock.now += 0.5
    assert take(limit).allowed


def test_a_fraction_above_one_is_cut_off(clock: Any) -> None:
    limit = limiter(clock, rps=2.5)
    assert [take(limit).allowed for _ in range(3)] == [True, True, False]


@given(gaps=steps, count=st.one_of(st.integers(1, 5), st.integers(1, MAX_SLOTS), st.integers(MAX_SLOTS + 1, 300)))
@example(gaps=[0] * 130 + [1023, 1, 0], count=65)
def test_never_more_than_the_limit_in_any_second(gaps: Any, count: Any) -> None:
    window = Sliding(count, 1.0)
    passed = [now for now in moments(gaps) if window.take(now).allowed]
    for at, now in enumerate(passed):
        assert at - bisect_left(passed, now - 1.0 + 2**-12) + 1 <= count


@given(gaps=steps, count=st.integers(1, MAX_SLOTS))
def test_and_never_fewer_where_every_call_has_its_slot(gaps: Any, count: Any) -> None:
    window = Sliding(count, 1.0)
    passed: list[float] = []
    for now in moments(gaps):
        verdict = window.take(now)
        recent = [then for then in passed if then > now - 1.0]
        assert verdict.allowed == (len(recent) < count)
        if verdict.allowed:
            passed.append(now)
            assert verdict.remaining == count - len(recent) - 1
        else:
            assert now + verdict.retry_after == recent[0] + 1.0


@given(gaps=steps, count=st.integers(MAX_SLOTS + 1, 300))
def test_shared_slots_are_at_most_a_63rd_of_a_second_late(gaps: Any, count: Any) -> None:
    window = Sliding(count, 1.0)
    passed: list[float] = []
    for now in moments(gaps):
        if window.take(now).allowed:
            passed.append(now)
        else:
            assert len([then for then in passed if then > now - 1.0 - 1 / (MAX_SLOTS - 1)]) >= count


@given(gaps=steps, count=st.integers(1, 300))
def test_waiting_as_long_as_told_is_enough(gaps: Any, count: Any) -> None:
    window = Sliding(count, 1.0)
    for now in moments(gaps):
        verdict = window.take(now)
        if not verdict.allowed:
            assert window.take(now + verdict.retry_after + 1e-9).allowed
            return


# --- with burst ------------------------------------------------------------------------------------------------


class Reference:
    """The token bucket in exact numbers."""

    def __init__(self, rps: Any, burst: Any) -> None:
        self.rps, self.burst, self.tokens, self.at = Fraction(rps), burst, Fraction(burst), Fraction(0)

    def take(self, now: Any) -> Any:
        now = Fraction(now)
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.at) * self.rps)
        self.at = now
        if self.tokens < 1:
            return False, 0
        self.tokens -= 1
        return True, math.floor(self.tokens)


@given(gaps=steps, eighths=st.integers(1, 4000), burst=st.integers(1, 200))
def test_the_bucket_is_the_bucket(gaps: Any, eighths: Any, burst: Any) -> None:
    rps = eighths / 8  # with moments in 1/1024 s, every sum is exact in a float too
    bucket, reference = Bursting(rps, burst, 0.0), Reference(rps, burst)
    for now in moments(gaps):
        verdict = bucket.take(now)
        assert (verdict.allowed, verdict.remaining) == reference.take(now)


@given(gaps=steps, rps=st.floats(0.01, 1000), burst=st.integers(1, 50))
def test_never_more_than_burst_and_rate_together(gaps: Any, rps: Any, burst: Any) -> None:
    bucket = Bursting(rps, burst, 0.0)
    times = moments(gaps)
    passed = sum(bucket.take(now).allowed for now in times)
    assert passed <= burst + times[-1] * rps + 1e-6


@given(rps=st.floats(0.01, 1000), burst=st.integers(1, 50))
def test_waiting_as_long_as_told_is_enough_for_the_bucket_too(rps: Any, burst: Any) -> None:
    bucket = Bursting(rps, burst, 0.0)
    for _ in range(burst):
        assert bucket.take(0.0).allowed
    wait = bucket.take(0.0).retry_after
    assert bucket.take(wait).allowed


def test_tenths_of_a_second_do_not_lose_a_token_to_rounding() -> None:
    bucket = Bursting(10, 1, 0.0)
    now, passed = 0.0, 0
    for _ in range(1000):
        passed += bucket.take(now).allowed
        now += 0.1
    assert passed == 1000


def test_a_clock_that_goes_back_gives_nothing(clock: Any) -> None:
    limit = limiter(clock, rps=1, burst=1)
    assert take(limit).allowed
    clock.now -= 500
    assert not take(limit).allowed


# --- whose bucket ----------------------------------------------------------------------------------------------


def test_each_client_has_its_own(clock: Any) -> None:
    limit = limiter(clock, rps=1)
    assert take(limit).allowed
    assert take(limit, BOB).allowed
    assert not take(limit).allowed
    assert take(limit, Identity()).allowed
    assert not take(limit, Identity(), Call(peer="192.0.2.7")).allowed
    assert take(limit, Identity(), Call(peer="192.0.2.8")).allowed


def test_a_route_has_one(clock: Any) -> None:
    limit = limiter(clock, rps=1, per="route")
    assert take(limit).allowed
    assert not take(limit, BOB).allowed


def test_a_tenant_has_one(clock: Any) -> None:
    limit = limiter(clock, rps=1, per="tenant")

    def of(tenant: str) -> Identity:
        return Identity(key=f"sub:{tenant}", tenant=tenant)

    assert take(limit, of("a")).allowed
    assert not take(limit, of("a"), tenant="b").allowed
    assert take(limit, of(""), tenant="b").allowed
    assert not take(limit, of("b")).allowed
    assert take(limit, of("")).allowed
    assert not take(limit, Identity(key="another")).allowed


def test_a_claim_has_one(clock: Any) -> None:
    limit = limiter(clock, rps=1, per="claim:org")

    def of(key: str, **claims: Any) -> Identity:
        return Identity(key=key, claims=claims)

    assert take(limit, of("ann", org="a")).allowed
    assert not take(limit, of("bob", org="a")).allowed
    assert take(limit, of("bob", org=7)).allowed
    assert take(limit, of("ann")).allowed  # without the claim, the client
    assert not take(limit, of("ann", org=["a"])).allowed
    assert take(limit, of("eve", org="ann")).allowed  # a claim's value is nobody's key


def test_internal_callers_have_a_limit_of_their_own(clock: Any) -> None:
    limit = limiter(clock, rps=1, internal_rps=3, per="route")
    inside = Identity(key="sub:i|batch", internal=True)
    assert [take(limit).allowed for _ in range(2)] == [True, False]
    assert [take(limit, inside).allowed for _ in range(4)] == [True, True, True, False]
    assert take(limit, inside).limit == 3


def test_without_one_they_share_the_others(clock: Any) -> None:
    limit = limiter(clock, rps=1, per="route")
    assert take(limit).allowed
    assert not take(limit, Identity(internal=True)).allowed


def test_internal_callers_burst_too(clock: Any) -> None:
    limit = limiter(clock, rps=5, burst=10, internal_rps=50)
    inside = Identity(key="sub:i|batch", internal=True)
    assert sum(take(limit, inside).allowed for _ in range(100)) == 50
    clock.now += 1
    assert sum(take(limit, inside).allowed for _ in range(100)) == 50


# --- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [{"rps": 5}, {"rps": 500}, {"rps": 5, "burst": 20}])
def test_idle_buckets_are_forgotten(clock: Any, spec: Any) -> None:
    limit = limiter(clock, **spec)
    for at in range(2000):
        take(limit, Identity(key=f"{at}"))
    clock.now += 10
    for at in range(1500):
        take(limit, Identity(key=f"new {at}"))
    assert len(limit._outside) == 1500


def test_forgetting_gives_nobody_more(clock: Any) -> None:
    limit = limiter(clock, rps=1)
    assert take(limit).allowed
    clock.now += 0.5
    for at in range(100):
        take(limit, Identity(key=f"{at}"))
    assert not take(limit).allowed


def test_the_number_of_buckets_is_bounded(clock: Any) -> None:
    limit = MemoryLimiter(RateLimit(rps=1), clock, max_buckets=100)
    for at in range(1000):
        take(limit, Identity(key=f"{at}"))
    assert len(limit._outside) == 100
    assert not take(limit, Identity(key="999")).allowed


def test_a_window_remembers_a_bounded_number_of_moments() -> None:
    window = Sliding(100_000, 1.0)
    for at in range(50_000):
        window.take(at / 10_000)
    assert len(window._times) == MAX_SLOTS
    assert window._size <= MAX_SLOTS


# --- header fields ---------------------------------------------------------------------------------------------


def test_what_the_response_says(clock: Any) -> None:
    limit = limiter(clock, rps=50)
    assert take(limit).headers() == [
        ("ratelimit-policy", '"default";q=50;w=1'),
        ("ratelimit", '"default";r=49;t=1'),
        ("x-ratelimit-limit", "50"),
        ("x-ratelimit-remaining", "49"),
        ("x-ratelimit-reset", "1"),
    ]
    for _ in range(49):
        take(limit)
    clock.now += 0.25
    refused = dict(take(limit).headers())
    assert refused["ratelimit"] == '"default";r=0;t=1'
    assert refused["retry-after"] == "1"


def test_what_it_says_of_a_bucket(clock: Any) -> None:
    limit = limiter(clock, rps=0.5, burst=3)
    assert dict(take(limit).headers())["ratelimit-policy"] == '"default";q=3;w=6'
    take(limit)
    assert dict(take(limit).headers())["ratelimit"] == '"default";r=0;t=6'
    assert dict(take(limit).headers())["retry-after"] == "2"


@given(gaps=steps, rps=st.floats(0.01, 500), burst=st.none() | st.integers(1, 100))
def test_the_fields_are_always_whole_numbers_in_bounds(gaps: Any, rps: Any, burst: Any) -> None:
    now = [0.0]
    limit = MemoryLimiter(RateLimit(rps=rps, burst=burst), lambda: now[0])
    for now[0] in moments(gaps[:60]):
        verdict = take(limit)
        fields = dict(verdict.headers())
        assert 0 <= int(fields["x-ratelimit-remaining"]) <= int(fields["x-ratelimit-limit"])
        assert int(fields["x-ratelimit-reset"]) >= 0
        assert ("retry-after" in fields) is not verdict.allowed
        assert int(fields.get("retry-after", "1")) >= 1
