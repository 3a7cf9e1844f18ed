"""The Lua script on a real Redis, with a clock of the test's own: against the counts in memory, and the calendar."""

from __future__ import annotations

import random
from calendar import monthrange
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.stages.quota.memory import Bursting, Sliding
from bridge.stages.quota.redis.address import redis_address
from bridge.stages.quota.redis.connection import asked, connect
from bridge.stages.quota.redis.script import FIGURES, SCRIPT
from tests.stages.quota.redis.conftest import RedisServer

#: The script with the time as its last argument.
NOW = b"local now = tonumber(ARGV[#ARGV])"
TIMED = SCRIPT.replace(b"local now = tonumber(time[1]) + tonumber(time[2]) / 1000000", NOW)
Run = Callable[..., Awaitable[list[list[int]]]]


@pytest.fixture
async def run(shared_redis: RedisServer) -> AsyncIterator[Run]:
    """``await run(now, (key, kind, cost, want, back, a, b, c), …)``: the figures of each key."""
    assert NOW in TIMED
    connection = await connect(redis_address(shared_redis.url(), Path()), lambda cause: None)
    prefix = random.randbytes(8).hex()

    async def run(now: float, *limits: tuple[Any, ...]) -> list[list[int]]:
        keys = [f"{prefix}:{limit[0]}".encode() for limit in limits]
        arguments = [str(value).encode() for limit in limits for value in limit[1:]]
        reply = await asked(connection, b"EVAL", TIMED, b"%d" % len(keys), *keys, *arguments, repr(now).encode())
        return [reply[at : at + FIGURES] for at in range(0, len(reply), FIGURES)]

    yield run
    connection._transport.close()


def steps(seed: int, longest: float = 0.5) -> list[tuple[float, int]]:
    """Moments that a float of milliseconds holds, near now, since keys expire; and costs."""
    generator = random.Random(seed)
    now, found = 2_000_000_000.0, []
    for _ in range(150):
        now += generator.choice([0.0, 1 / 1024, 3 / 64, round(generator.random() * longest * 64) / 64])
        found.append((now, generator.choice([1, 1, 1, 2, 5])))
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_a_bucket_is_that_of_memory(run: Run, seed: int) -> None:
    rps, burst = random.Random(seed).choice([(4.0, 5), (0.5, 7), (100.0, 20), (16.0, 90)])
    bucket = Bursting(rps, burst, 2_000_000_000.0)
    for now, cost in steps(seed, 2 / rps):
        verdict = bucket.take(now, cost)
        [[fits, extra, remaining, reset, wait, _]] = await run(now, ("b", "bucket", cost, 0, 0, rps, burst, 0))
        assert (bool(fits), remaining, extra) == (verdict.allowed, verdict.remaining, 0)
        assert wait / 1e6 == pytest.approx(verdict.retry_after, abs=1e-4)
        if fits:
            assert reset / 1e6 == pytest.approx(verdict.reset_after, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
async def test_a_window_is_that_of_memory(run: Run, seed: int) -> None:
    count, length = random.Random(seed).choice([(5, 1.0), (5, 20.0), (64, 1.0), (20, 1.0)])
    window = Sliding(count, length)
    for now, cost in steps(seed, 3 * length / count):
        verdict = window.take(now, cost)
        [[fits, _, remaining, _, wait, _]] = await run(now, ("w", "window", cost, 0, 0, count, length, 0))
        assert (bool(fits), remaining) == (verdict.allowed, verdict.remaining)
        assert wait / 1e6 == pytest.approx(verdict.retry_after, abs=1e-4)


async def test_a_large_window_is_never_early_and_at_most_a_63rd_late(run: Run) -> None:
    taken: list[tuple[float, int]] = []
    for now, cost in steps(9, 0.05):
        [[fits, *_]] = await run(now, ("w", "window", cost * 20, 0, 0, 300, 1.0, 0))
        strict = sum(each for at, each in taken if at > now - 1)
        late = sum(each for at, each in taken if at > now - 1 - 1 / 63 - 1e-6)
        assert strict + cost * 20 <= 300 if fits else late + cost * 20 > 300
        if fits:
            taken.append((now, cost * 20))


async def test_the_months_of_four_centuries(run: Run) -> None:
    generator = random.Random(1)
    borders = [
        datetime(year, month, day, tzinfo=UTC) for year in (2027, 2028, 2100, 2400) for month, day in ((2, 28), (3, 1))
    ]
    moments = [datetime.fromtimestamp(generator.randrange(14_000_000_000), UTC) for _ in range(150)] + borders
    for moment in [*moments, *(datetime.fromtimestamp(each.timestamp() - 1e-3, UTC) for each in borders)]:
        now = moment.timestamp()
        start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
        [[fits, _, remaining, reset, wait, begins]] = await run(now, (f"q{now}", "quota", 1, 0, 0, 5, "month", 0))
        assert (fits, remaining, wait, begins) == (1, 4, 0, start)
        assert now + reset / 1e6 == pytest.approx(start + monthrange(moment.year, moment.month)[1] * 86400, abs=1e-3)


async def test_a_quota_begins_anew_and_takes_back_only_its_own(run: Run) -> None:
    midnight = 24000 * 86400.0
    quota = ("q", "quota", 2, 50, 0, 30, "day", 0)
    [[_, leased, remaining, *_, start]] = await run(midnight - 60, quota)
    assert (leased, remaining, start) == (2, 26, midnight - 86400)  # a tenth of what is left
    [[*_, remaining, _, _, _]] = await run(midnight - 50, ("q", "quota", 0, 0, 2, 30, "day", int(start)))
    assert remaining == 28
    [[*_, remaining, _, _, _]] = await run(midnight + 1, ("q", "quota", 1, 0, 2, 30, "day", int(start)))
    assert remaining == 29
    [[fits, _, remaining, reset, wait, _]] = await run(midnight + 2, ("q", "quota", 30, 0, 0, 30, "day", 0))
    assert (fits, remaining) == (0, 29)
    assert reset == wait == (86400 - 2) * 1_000_000


async def test_all_or_none(run: Run) -> None:
    now = 2_000_000_000.0
    bucket, quota = ("b", "bucket", 1, 4, 0, 1, 10, 0), ("q", "quota", 1, 0, 0, 1, "day", 0)
    assert [figures[:3] for figures in await run(now, bucket, quota)] == [[1, 4, 5], [1, 0, 0]]
    assert [figures[:3] for figures in await run(now, bucket, quota)] == [[1, 0, 5], [0, 0, 0]]
    returned = ("b", "bucket", 1, 4, 3, 1, 10, 0)
    assert [figures[:3] for figures in await run(now, returned, quota)] == [[1, 0, 8], [0, 0, 0]]
    assert [figures[:3] for figures in await run(now, ("b", "bucket", 0, 0, 9, 1, 10, 0))] == [[1, 0, 10]]


async def test_calls_under_way_of_a_gateway_that_died_no_longer_count(run: Run) -> None:
    now = 2_000_000_000.0

    async def call(gateway: str, cost: int = 1, back: int = 0, at: float = now) -> tuple[int, int]:
        [[fits, _, remaining, *_]] = await run(at, ("o", "open", cost, 0, back, 3, gateway, 15))
        return fits, remaining

    assert [await call("a"), await call("b"), await call("b"), await call("a")] == [(1, 2), (1, 1), (1, 0), (0, 0)]
    assert await call("b", cost=-1) == (1, 1)
    assert await call("a", at=now + 10) == (1, 0)
    assert await call("a", at=now + 17) == (1, 0)  # b's is 17 seconds old, a's two are 7
    assert await call("c", at=now + 40) == (1, 2)
    assert await call("c", cost=0, back=3, at=now + 41) == (1, 1)  # it says that it has two
    assert [await call("c", cost=-1, at=now + 41) for _ in range(4)] == [(1, 2), (1, 3), (1, 3), (1, 3)]


async def test_gateways_that_are_alive(run: Run) -> None:
    counts = []
    for at, gateway in ((0, "a"), (1, "b"), (8, "a"), (17, "a"), (40, "c")):
        [figures] = await run(2_000_000_000.0 + at, ("g", "alive", 0, 0, 0, "", gateway, 15))
        counts.append(figures[-1])
    assert counts == [1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("kind", "a", "b"), [("bucket", 1.0, 5), ("window", 5, 1.0), ("window", 100, 1.0)], ids=["bucket", "few", "many"]
)
async def test_a_clock_that_is_set_back_gives_nothing_and_refuses_nobody_for_long(
    run: Run, kind: str, a: float, b: float
) -> None:
    now, most = 2_000_000_000.0, b if kind == "bucket" else a

    async def fits(at: float, cost: float) -> bool:
        [[found, *_]] = await run(at, ("c", kind, cost, 0, 0, a, b, 0))
        return bool(found)

    assert await fits(now + 3600, most)
    assert [await fits(now + late, 1) for late in (0, 0.5)] == [False, False]
    assert await fits(now + 5.5, most)
    assert not await fits(now + 5.5, 1)
