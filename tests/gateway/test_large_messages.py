"""How long the event loop stands still while one large or finely cut message is handled, and what memory that takes.

A gateway process of its own, with real services behind it. Inside of it a sampler looks at the loop once a millisecond
(`benchmarks.large_messages`), in CPU seconds of the process: what a busy machine gives to others lengthens nothing.
The messages are a quarter of what the routes' bounds allow; `make test-slow` sends all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.large_messages import CASES, FACTOR, FLOOR, MB, Case, Gateway, added, gateway

#: CPU seconds within which the loop must turn. Others wait no longer for it; `benchmarks/large_messages.py` shows that.
TURN = 0.1


def scale(case: Case) -> float:
    """An empty item costs so much more than another message's byte that fewer of them show the same."""
    return 0.0625 if case.name == "empty items" else 0.25


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    answers = {case.answer: case.size * scale(case) for case in CASES}
    with gateway(tmp_path_factory.mktemp("large"), answers) as started:
        yield started


@pytest.fixture(scope="module")
def running_in_full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("full"), {case.answer: case.size for case in CASES}) as started:
        yield started


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loop_turns_and_memory_is_bounded(running: Gateway, case: Case) -> None:
    judge(running, case, int(case.size * scale(case)))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loop_turns_at_full_size(running_in_full: Gateway, case: Case) -> None:
    judge(running_in_full, case, int(case.size))


def judge(gateway: Gateway, case: Case, size: int) -> None:
    before = gateway.told()
    status, _ = asyncio.run(case.ask(gateway.port, size))
    after = gateway.told()
    assert status in case.status
    assert after["cpu"] < TURN
    most = max(FLOOR, FACTOR * size)
    assert added(before, after) < most, f"{added(before, after) / MB:.0f} MB"


def test_the_sampler_sees_a_loop_that_stands_still(tmp_path: Path) -> None:
    """A message that is worked on in the loop: what all of the tests above would find."""
    case = next(case for case in CASES if case.name == "a SOAP reply")
    with gateway(
        tmp_path, {case.answer: 8 * MB}, before="import bridge.payload.offload as o; o.LARGE = 1 << 40"
    ) as started:
        started.told()
        status, _ = asyncio.run(case.ask(started.port, 0))
        assert status == 200
        assert started.told()["cpu"] > TURN


async def test_many_at_once_come_out_right(running: Gateway) -> None:
    """Codecs, parsers and what they remember are used by several threads and the loop at once."""
    kinds = [case for case in CASES if case.name in ("a SOAP reply", "an XML reply", "rows, SOAP", "a JSON reply")]
    alone = [await case.ask(running.port, MB) for case in kinds]
    assert await asyncio.gather(*[case.ask(running.port, MB) for case in kinds * 3]) == alone * 3
