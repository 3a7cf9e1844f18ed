from __future__ import annotations

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
