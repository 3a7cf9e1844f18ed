"""Failed calls in the gateway's own log: each upstream's first at once, the others counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.api.record import Record
from bridge.observe.failures import INTERVAL, Failures


def record(status: int, upstream: str = "svc:80", cause: str = "connection refused") -> Record:
    return Record(0.0, "4bf9", "GET", "/v1/a", upstream=upstream, status=status, cause=cause)


def test_many_failures_of_one_service_are_one_line_until_the_interval_is_over(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    failures = Failures(lambda: now)
    for _ in range(3):
        failures.count(record(502))
    failures.count(record(502, "other:80"))
    failures.count(record(504, cause="no answer in 2 s"))
    assert [line.getMessage() for line in caplog.records] == [
        "svc:80: GET /v1/a got 502: connection refused (trace 4bf9)",
        "other:80: GET /v1/a got 502: connection refused (trace 4bf9)",
        "svc:80: GET /v1/a got 504: no answer in 2 s (trace 4bf9)",
    ]
    caplog.clear()
    now += INTERVAL
    failures.count(record(502))
    now += INTERVAL
    failures.count(record(502))
    assert [line.getMessage() for line in caplog.records] == [
        "svc:80: GET /v1/a got 502: connection refused (trace 4bf9); "
        "2 more calls failed like this since the last message",
        "svc:80: GET /v1/a got 502: connection refused (trace 4bf9)",
    ]


def test_only_failures_behind_the_gateway_are_told(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    failures.count(record(404))
    failures.count(record(200, cause=""))
    failures.count(record(503, upstream=""))
    failures.count(record(499))
    failures.count(replace(record(200, cause="One message may have at most 10 bytes."), client_failed=True))
    failures.count(replace(record(503, cause="The gateway is shutting down."), gateway_failed=True))
    assert caplog.records == []
    failures.count(record(200, cause="the service reset the stream"))
    assert "svc:80: GET /v1/a got an incomplete answer: the service reset the stream" in caplog.text
    failures.count(record(500, cause=""))
    assert "the service answered 500" in caplog.text


def test_a_text_of_the_service_can_not_steer_the_terminal(caplog: pytest.LogCaptureFixture) -> None:
    Failures().count(record(502, cause="\x1b[2J\nERROR forged?token=abc " + "x" * 1000))
    [line] = caplog.records
    assert line.getMessage().isprintable()
    assert "abc" not in line.getMessage()
    assert len(line.getMessage()) < 600
