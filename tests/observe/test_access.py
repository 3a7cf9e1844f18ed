"""The access log: every record a line, rotated by size, nothing lost on close, secrets masked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.observe.access import AccessLog, Record, masked


def entry(number: int = 0, **more: object) -> Record:
    return Record(1_000_000.5, f"{number:032x}", "GET", "/a", **more)  # type: ignore[arg-type]


def test_nothing_is_lost_on_close(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "deep/access.log"), size=10**9, keep=3)
    for number in range(5000):
        log(entry(number))
    log.close()
    log.close()
    lines = (tmp_path / "deep/access.log").read_text().splitlines()
    assert [int(json.loads(line)["trace_id"], 16) for line in lines] == list(range(5000))
    assert (tmp_path / "deep/access.log").stat().st_mode & 0o007 == 0


def test_it_appends_and_rotates_by_size(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    written = 0
    for _ in range(12):
        log = AccessLog(str(path), size=600, keep=2)
        for _ in range(2):
            log(entry(written))
            written += 1
        log.close()
    files = sorted(tmp_path.iterdir(), key=lambda file: file.name)
    assert [file.name for file in files] == ["access.log", "access.log.1", "access.log.2"]
    assert all(file.stat().st_size <= 600 for file in files)
    kept = [json.loads(line)["trace_id"] for file in reversed(files) for line in file.read_text().splitlines()]
    assert kept == sorted(kept)
    assert int(kept[-1], 16) == written - 1


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "a"), size=10**6, keep=1)
    log(entry(status=404, total=0.0015))
    log.close()
    line = json.loads((tmp_path / "a").read_text())
    assert line == {
        "time": "1970-01-12T13:46:40.500Z",
        "trace_id": "0" * 32,
        "method": "GET",
        "path": "/a",
        "status": 404,
        "bytes_in": 0,
        "bytes_out": 0,
        "ms_total": 1.5,
        "ms_upstream": 0.0,
        "ms_translation": 0.0,
    }


def test_a_line_stays_one_line(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "a"), size=10**6, keep=1)
    log(entry(subject='x\n{"forged": true}\r'))
    log.close()
    assert len((tmp_path / "a").read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("a=1&b=2", "a=1&b=2"),
        ("a=1&Access_Token=x&b=2", "a=1&Access_Token=***&b=2"),
        ("api%5Fkey=x", "api%5Fkey=***"),
        ("pass%77ord=x", "pass%77ord=***"),
        ("", ""),
        ("token", "token"),
    ],
)
def test_secrets_in_a_query_are_masked(query: str, shown: str) -> None:
    assert masked(query) == shown


def test_a_folder_that_cant_be_written_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        AccessLog(str(tmp_path / "file/access.log"), size=1, keep=1)
