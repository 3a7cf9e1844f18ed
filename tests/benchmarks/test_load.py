"""wrk's script and what it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.side_by_side.load import LoadError, Request, outcome, script

LINE = (
    'BENCH {"requests":1200,"seconds":3.001000,"bytes":360000,"connect":0,"read":%d,"write":0,"status":%d,'
    '"timeout":0,"p50":1400,"p99":9100}'
)


def test_what_is_told_at_the_end_is_read() -> None:
    told = outcome(f"Running 3s test @ http://127.0.0.1:1/\n  1 threads\n\n{LINE % (0, 0)}\nTransfer/sec: 1MB\n")
    assert (told.requests, told.seconds, told.bytes) == (1200, 3.001, 360000)
    assert (told.p50, told.p99, told.errors) == (1400, 9100, "")


def test_errors_are_told_in_words() -> None:
    assert outcome(LINE % (2, 31)).errors == "2 broken while reading, 31 not 2xx"


def test_a_run_that_tells_nothing_is_none() -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        outcome("unable to connect to 127.0.0.1:1")


def test_the_body_goes_by_file_and_texts_are_quoted(tmp_path: Path) -> None:
    body = b'{"a": "]]\x00\xff"}'
    made = script(Request("POST", "/a", {"X-Quote": 'a"b\\c\n\u00e9'}, body), tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == body
    assert 'wrk.method = "POST"' in made
    assert r'wrk.headers["X-Quote"] = "a\034b\092c\010\233"' in made
