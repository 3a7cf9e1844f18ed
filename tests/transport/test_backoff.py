"""When a failing server is asked again."""

from __future__ import annotations

from bridge.transport.backoff import Backoff


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def is_open(backoff: Backoff) -> bool:
    """So that type checkers don't take the property for a constant."""
    return backoff.open


def test_each_failure_doubles_the_wait_up_to_the_longest() -> None:
    time = Time()
    backoff = Backoff(time, 1.0, 5.0)
    waits = []
    for _ in range(5):
        assert is_open(backoff)
        waits.append(backoff.failed())
        assert not is_open(backoff)
        assert backoff.failed() is None, "it was under way when another one failed"
        time.now = backoff.retry_at
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.worked()
    assert not backoff.worked()
    assert backoff.failed() == 1.0


def test_one_request_at_a_time_finds_out_whether_it_works_again() -> None:
    time = Time()
    backoff = Backoff(time, 1.5, 5.0)
    with backoff.trying(), backoff.trying():
        assert is_open(backoff)
    backoff.failed()
    assert backoff.retry_after == 2
    time.now += 1.5
    assert backoff.retry_after == 1
    with backoff.trying():
        assert not is_open(backoff)
    assert is_open(backoff)


def test_failures_that_a_request_may_cause_count_when_they_follow_each_other() -> None:
    backoff = Backoff(Time(), 1.0, 5.0)
    for _ in range(3):
        assert backoff.failed(tolerance=2) is None
        assert backoff.failed(tolerance=2) is None
        assert is_open(backoff)
        assert not backoff.worked()
    for _ in range(2):
        backoff.failed(tolerance=2)
    assert backoff.failed(tolerance=2) == 1.0
    assert not is_open(backoff)
