"""Gateways that share a Redis: what they admit together, and how seldom they ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from bridge.api.call import Call, CallerLimit, Identity
from bridge.api.limiter import Limiter
from bridge.api.spec.route import RouteSpec
from bridge.stages.quota.redis.connection import RedisAway, asked
from bridge.stages.quota.redis.limiter import RedisLimiter
from bridge.stages.quota.redis.shared import Answer, Demand
from bridge.stages.quota.redis.store import RedisLimits
from tests.stages.quota.redis.conftest import Gateways, take

ANN, BOB = Identity(key="sub:i|ann"), Identity(key="sub:i|bob")


def bind(store: RedisLimits, *limits: Mapping[str, Any], operation: str = "x", **more: Any) -> Limiter:
    base = {"route": "/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
    spec = RouteSpec.model_validate({**base, "limits": limits or None, **more})
    limiter = store.bind(spec, ["x", "report"])
    assert limiter is not None
    return limiter.for_operation(operation)


async def outcomes(limiters: Sequence[Limiter], *identities: Identity, calls: int = 1) -> list[bool]:
    return [(await take(one, identity)).allowed for _ in range(calls) for one in limiters for identity in identities]


async def returned(store: RedisLimits) -> None:
    """All that leases hold is given back."""
    await store.shared._settled()
    store.shared._return_leases(None)
    await store.shared._settled()


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [
        ({"rps": 0.01, "burst": 5}, 5),
        ({"rps": 3, "burst": 3, "per": "route"}, 3),
        ({"rps": 0.01}, 1),
        ({"quota": 4, "window": "month"}, 4),
        ({"concurrency": 3}, 3),
    ],
    ids=["bucket", "of the route", "window", "quota", "concurrency"],
)
async def test_two_gateways_admit_what_one_would(gateways: Gateways, limit: Mapping[str, Any], allowed: int) -> None:
    async with gateways(2) as stores:
        found = await outcomes([bind(store, limit) for store in stores], ANN, calls=5)
    assert found == [True] * allowed + [False] * (10 - allowed)


async def test_fifty_clients_over_two_gateways_are_admitted_at_the_rate(gateways: Gateways) -> None:
    """`benchmarks/limits.py` is the same with processes, and more of it. A bucket holds two seconds' worth, so that a
    busy machine loses nobody a token; at the end each client takes what is left in it."""
    rps, burst, clients = 100.0, 200, [Identity(key=f"c{number}") for number in range(10)]
    async with gateways(2) as stores:
        limiters = [bind(store, {"rps": rps, "burst": burst}) for store in stores]
        clock = asyncio.get_running_loop().time
        began, admitted, calls = clock(), 0, 0
        while clock() < began + 1:
            found = await outcomes(limiters, *clients, calls=2)
            admitted, calls = admitted + sum(found), calls + len(found)
            await asyncio.sleep(0)
        until = clock()
        for store in stores:
            await returned(store)
        for client in clients:
            denied = [0, 0]
            while min(denied) < 2:
                for number, one in enumerate(limiters):
                    allowed = (await take(one, client)).allowed
                    denied[number] += not allowed
                    admitted += allowed
        ended = clock()
        asked = sum(store.shared.client.round_trips for store in stores)
    assert admitted <= len(clients) * (burst + rps * (ended - began)) * 1.001
    assert admitted >= len(clients) * (burst + rps * (until - began)) * 0.99
    assert asked < calls / 3


async def test_a_busy_client_hardly_asks(gateways: Gateways) -> None:
    async with gateways() as [store]:
        limiter = bind(store, {"rps": 100_000, "burst": 100_000}, {"quota": 10**9, "window": "month", "per": "tenant"})
        for _ in range(100):
            assert all(await outcomes([limiter], ANN, calls=20))
            await asyncio.sleep(0)
        assert store.shared.client.round_trips < 100
        assert store.shared.local > 1900
        figures = dict(store.states())
        assert figures["store_up"] == 1
        assert figures["local"] == store.shared.local


async def test_what_a_lease_has_left_is_returned(gateways: Gateways) -> None:
    async with gateways(2) as [one, other]:
        limits = {"rps": 0.001, "burst": 1000}, {"quota": 100_000, "window": "month", "per": "route"}
        busy, quiet = bind(one, *limits), bind(other, *limits)
        assert all(await outcomes([busy], ANN, calls=100))
        await returned(one)
        verdict = await take(quiet, ANN)
        assert dict(verdict.headers())["ratelimit"].startswith('"client";r=899;')
        assert '"route-month";r=99899;' in dict(verdict.headers())["ratelimit"]
        assert all(await outcomes([busy], ANN, calls=100))
        await one.aclose()  # a gateway that stops keeps nothing
        assert (await take(quiet, ANN)).remaining == 798


async def test_a_quiet_client_is_not_refused_for_what_another_gateway_holds(gateways: Gateways) -> None:
    async with gateways(2) as [one, other]:
        limits = {"rps": 0.001, "burst": 100}
        assert await outcomes([bind(one, limits)], ANN) == [True]
        assert not one.shared._holding  # one call leases nothing
        await outcomes([bind(one, limits)], ANN, calls=69)
        held = sum(lease.tokens for lease in one.shared._holding)
        assert held <= 10
        found = await outcomes([bind(other, limits)], ANN, calls=30)
    assert found.count(True) == 30 - held


async def test_counts_of_one_call_are_taken_together(gateways: Gateways) -> None:
    async with gateways() as [store]:
        limiter = bind(
            store,
            {"rps": 0.001, "burst": 100, "cost": {"report": 5}},
            {"quota": 50, "window": "day", "per": "route"},
            {"rps": 5, "per": "address", "name": "steady"},
            {"concurrency": 2},
            operation="report",
        )
        first = await take(limiter, ANN)
        assert '"client";r=95;' in first.headers()[1][1]
        assert store.shared.client.round_trips == 2  # one says that it is alive
        await take(limiter, BOB)
        assert (await take(limiter, ANN)).release is not None
        refused = await take(limiter, ANN)
        assert (refused.allowed, refused.policy.name) == (False, "client-concurrency")
        assert dict(refused.headers())["ratelimit"] == '"client-concurrency";r=0'
        assert first.release is not None
        first.release()
        again = dict((await take(limiter, ANN)).headers())["ratelimit"]
        assert '"client";r=85;' in again
        assert '"route-day";r=46;' in again
        assert '"steady";r=1;' in again


async def test_a_call_given_up_while_redis_is_asked_gives_everything_back(gateways: Gateways) -> None:
    async with gateways() as [store]:
        limiter = bind(store, {"concurrency": 1}, {"rps": 0.001, "burst": 50})
        for _ in range(3):
            task = asyncio.ensure_future(limiter.take(ANN, Call(peer="192.0.2.7"), ""))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(2):  # the answer has come, and what it gave has gone back
                await returned(store)
        verdict = await take(limiter, ANN)
        assert verdict.allowed
        assert '"client";r=49;' in dict(verdict.headers())["ratelimit"]


async def test_a_call_given_up_as_the_answer_comes_gives_everything_back(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task is cancelled between the answer and its next step."""
    async with gateways() as [store]:
        limiter = bind(store, {"concurrency": 1}, {"rps": 0.001, "burst": 50})
        task = asyncio.ensure_future(limiter.take(ANN, Call(peer="192.0.2.7"), ""))
        ask = store.shared.ask

        def ask_and_cancel(demands: Sequence[Demand], done: Callable[[Answer | RedisAway], None]) -> None:
            def answered(answer: Answer | RedisAway) -> None:
                done(answer)
                task.cancel()

            ask(demands, answered)

        monkeypatch.setattr(store.shared, "ask", ask_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        monkeypatch.undo()
        await returned(store)
        assert store.shared._open == {}
        assert '"client";r=49;' in dict((await take(limiter, ANN)).headers())["ratelimit"]


async def test_what_a_refused_call_gives_back_late_is_still_returned(gateways: Gateways) -> None:
    """The time of a lease ends while another limit of the call is asked for."""
    async with gateways() as [store]:
        limiter = bind(store, {"rps": 1000, "burst": 1000}, {"rps": 0.001, "per": "route"})
        assert isinstance(limiter, RedisLimiter)
        await take(limiter, BOB)
        count = limiter._parts[0].outside
        now = asyncio.get_running_loop().time()
        lease = count.lease(ANN.key, now)
        lease.tokens, lease.until = 5, now + 60
        store.shared.hold(count, lease)
        task = asyncio.ensure_future(limiter.take(ANN, Call(peer="192.0.2.7"), ""))
        await asyncio.sleep(0)
        store.shared._return_leases(None)
        assert not (await task).allowed
        assert lease.tokens == 1
        await returned(store)
        assert lease.tokens == 0


async def test_internal_callers_and_own_limits(gateways: Gateways) -> None:
    async with gateways(2) as stores:
        limit = {"rps": 1, "burst": 1, "internal_rps": 4, "per": "route"}
        inside = Identity(key="sub:i|batch", internal=True)
        found = await outcomes([bind(store, limit) for store in stores], ANN, inside, calls=2)
        assert found == [True, True, False, True, False, True, False, True]
        owner = Identity(key="key:1", limit=CallerLimit(0.01, 3))
        routes = [bind(store, auth={"type": "api_key"}, route=f"/{number}") for number, store in enumerate(stores)]
        assert await outcomes(routes, owner, calls=2) == [True, True, True, False]
        assert (await take(routes[0], owner)).policy.name == "key"
        assert (await take(routes[0], Identity(key="key:2"))).headers() == []


async def test_a_redis_that_forgot_the_script_is_given_it_again(gateways: Gateways) -> None:
    async with gateways() as [store]:
        limiter = bind(store, {"rps": 0.001, "burst": 2})
        connection = store.shared.client._connection
        assert connection is not None
        await asked(connection, b"SCRIPT", b"FLUSH")
        assert await outcomes([limiter], ANN, calls=3) == [True, True, False]


async def test_redis_knows_no_callers_name(gateways: Gateways) -> None:
    async with gateways() as [store]:
        await take(bind(store, {"rps": 1, "burst": 2}, {"concurrency": 5}), ANN)
        connection = store.shared.client._connection
        assert connection is not None
        prefix = store.shared.address.prefix.encode()
        keys = await asked(connection, b"KEYS", prefix + b"*")
        assert len(keys) >= 3
        assert all(key.startswith(prefix + b":{limits}:") or key == prefix + b":alive" for key in keys)
        assert not any(b"ann" in key for key in keys)
        lives = [await asked(connection, b"PTTL", key) for key in keys]
        assert min(life for life in lives if life != -2) > 0  # each of them expires


async def test_callers_who_do_not_call_are_forgotten(gateways: Gateways) -> None:
    async with gateways() as [store]:
        limiter = bind(store, {"rps": 1, "burst": 2})
        assert isinstance(limiter, RedisLimiter)
        for number in range(50):
            await take(limiter, Identity(key=f"c{number}"))
        [part] = limiter._parts
        now = asyncio.get_running_loop().time()
        part.outside.forget(now + 5)
        assert len(part.outside.leases) == 50
        part.outside.forget(now + 60)
        assert len(part.outside.leases) == 0
