"""How long the event loop stands still while one large or finely cut message is handled, and what memory that takes.

A gateway process of its own, with real services behind it. Inside of it a sampler looks at the loop once a millisecond
(`benchmarks.large_messages`), in CPU seconds of the process: what a busy machine gives to others lengthens nothing.
The messages are a quarter of what the routes' bounds allow; with ``LARGE_MESSAGES=full`` in the environment they are
all of it, as the issue measured them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.large_messages import CASES, FACTOR, FLOOR, MB, Case, Gateway, gateway

FULL = os.environ.get("LARGE_MESSAGES") == "full"
SCALE = 1.0 if FULL else 0.25
#: An item costs so much more than another message's byte that fewer of them show the same.
SCALES = {} if FULL else {"empty items": 0.0625}
#: CPU seconds within which the loop must turn. Others wait no longer for it; `benchmarks/large_messages.py` shows that.
TURN = 0.1


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    answers = {case.answer: case.size * SCALES.get(case.name, SCALE) for case in CASES}
    with gateway(tmp_path_factory.mktemp("large"), answers) as started:
        yield started


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loop_turns_and_memory_is_bounded(running: Gateway, case: Case) -> None:
    size = int(case.size * SCALES.get(case.name, SCALE))
    before = running.told()
    status, _ = asyncio.run(case.ask(running.port, size))
    after = running.told()
    assert status in case.status
    assert after["cpu"] < TURN
    most = max(FLOOR, FACTOR * size)
    assert after["peak"] - before["now"] < most, f"{(after['peak'] - before['now']) / MB:.0f} MB"


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
