from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from bridge.http.memo import Memo


def test_the_oldest_goes() -> None:
    memo = Memo[int, str](3)
    for number in range(5):
        memo[number] = str(number)
    assert memo == {2: "2", 3: "3", 4: "4"}


def test_it_reads_as_a_dict() -> None:
    memo = Memo[str, int](1)
    assert memo.get("a") is None
    memo["a"] = 1
    assert memo["a"] == 1


def test_setting_a_key_again_removes_no_other() -> None:
    memo = Memo[str, int](2)
    memo["a"] = memo["b"] = 1
    memo["b"] = 2
    assert memo == {"a": 1, "b": 2}


def test_threads_may_share_one() -> None:
    memo = Memo[int, int](8)

    def fill(start: int) -> None:
        for number in range(start, start + 50_000):
            memo[number] = number

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for _ in threads.map(fill, range(0, 400_000, 100_000)):
                pass
    finally:
        sys.setswitchinterval(before)
    assert len(memo) <= 8 + 4  # each thread may add one before another looks
