"""The gateway's own log on standard error: one event a line, as text or JSON, without secrets."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.api.problem import problem
from bridge.api.record import Record
from bridge.config.settings import load
from bridge.errors import SettingsError
from bridge.observe.failures import Failures
from bridge.observe.log import JsonLogFormatter, TextLogFormatter, log_to_stderr
from tests import process_log


def record(message: str, *args: Any, error: BaseException | None = None, trace_id: str = "") -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("bridge.routes", logging.WARNING, __file__, 1, message, args, info)
    made.created = 1_700_000_000.5
    if trace_id:
        made.trace_id = trace_id
    return made


def failure() -> Exception:
    try:
        raise ValueError("it broke\n12:00:00 INFO bridge: forged")
    except ValueError as error:
        return error


def as_json(*args: Any, **more: Any) -> dict[str, Any]:
    line = JsonLogFormatter().format(record(*args, **more))
    assert "\n" not in line
    event: dict[str, Any] = json.loads(line)
    return event


def test_an_event_as_json() -> None:
    assert as_json("%d routes are live", 3) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "warning",
        "logger": "bridge.routes",
        "message": "3 routes are live",
    }
    event = as_json("trace %s: an unforeseen failure", "ab12", error=failure(), trace_id="ab12")
    assert (event["trace_id"], event["message"]) == ("ab12", "an unforeseen failure")
    assert event["exception"].startswith("Traceback (most recent call last):\n")
    assert event["exception"].endswith("ValueError: it broke\n12:00:00 INFO bridge: forged")


def test_failures_of_calls_carry_their_trace_id(lines: Any) -> None:
    log_to_stderr("info", "json")
    problem(ValueError("a defect"), "ab12")
    Failures().count(Record(0.0, "cd34", "GET", "/a", upstream="svc:80", status=502, cause="refused"))
    assert [(event["trace_id"], event["message"]) for event in lines()] == [
        ("ab12", "an unforeseen failure"),
        ("cd34", "svc:80: GET /a got 502: refused (trace cd34)"),
    ]


def test_nothing_from_outside_begins_a_line() -> None:
    text = TextLogFormatter().format(record("a\r\n b\x1b[2J\u2028c", error=failure()))
    first, *rest = text.split("\n")
    assert first.endswith(" WARNING bridge.routes: a; b\\x1b[2J; c")
    assert len(rest) > 3
    assert all(line.startswith("  ") for line in rest)
    assert as_json("a\n\nb")["message"] == "a; b"
    assert as_json("%d routes", "no")["message"] == "%d routes (its arguments don't fit)"
    assert as_json("\ud800 %s", "é")["message"] == "\\ud800 é"


@pytest.mark.parametrize("kind", [TextLogFormatter, JsonLogFormatter])
def test_secrets_are_masked_as_in_the_access_log(kind: type[logging.Formatter]) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    error = RuntimeError("https://a.example/x?api_key=hush refused")
    text = kind().format(record("%s with ?password=hush&a=1", token, error=error))
    assert "hush" not in text
    assert token not in text
    assert "a=1" in text


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """``lines()``: the events of the process's log since the last call. Its logging is put back in the end."""
    with process_log.restored():
        yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_level_and_whose_messages(lines: Any) -> None:
    log_to_stderr("warning", "json")
    for name in ("bridge", "bridge.mesh", "asyncio", "plug_in"):
        for level in (logging.INFO, logging.WARNING):
            logging.getLogger(name).log(level, "said")
    assert [(event["logger"], event["level"]) for event in lines()] == [
        (name, "warning") for name in ("bridge", "bridge.mesh", "asyncio", "plug_in")
    ]
    log_to_stderr("debug", "json")
    logging.getLogger("bridge.mesh").debug("said")
    logging.getLogger("httpx").debug("GET with a secret")
    assert [event["logger"] for event in lines()] == ["bridge.mesh"]


def test_what_nobody_catches_is_an_event_too(lines: Any) -> None:
    log_to_stderr("info", "json")
    error = failure()
    sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("an old way", DeprecationWarning, stacklevel=1)
    failed, worker, warned = lines()
    assert (failed["level"], failed["message"]) == ("critical", "the gateway failed")
    assert worker["message"] == "the thread worker failed"
    assert worker["exception"].endswith("ZeroDivisionError: division by zero")
    assert warned["logger"] == "py.warnings"
    assert "an old way" in warned["message"]


def test_a_level_or_format_that_is_not_there_is_refused() -> None:
    assert (load({}).log_level, load({}).log_format) == ("info", "text")
    for name in ("BRIDGE_LOG_LEVEL", "BRIDGE_LOG_FORMAT"):
        with pytest.raises(SettingsError, match=name):
            load({name: "loud"})
