"""The access log: every record a line, rotated by size, nothing lost on close, secrets masked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.api.record import Record
from bridge.observe.access import AccessLog


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


def test_a_folder_that_cant_be_written_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        AccessLog(str(tmp_path / "file/access.log"), size=1, keep=1)


def test_no_record_ends_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def count(record: Record) -> None:
        if record.path == "/bad":
            raise KeyError("a metric")

    log = AccessLog(str(tmp_path / "a"), size=10**6, keep=1, also=count)
    log(entry(1, subject="half \ud800 a pair"))
    log(Record(1.0, "2", "GET", "/bad"))
    log(Record(float("nan"), "3", "GET", "/never"))
    log(entry(4, bytes_in=2**70))
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["/a", "/bad", "/a"]
    assert lines[0]["subject"] == "half \ud800 a pair"
    assert lines[2]["bytes_in"] == 2**70
    assert "trace 2: its record can't be written" in caplog.text


def test_a_log_that_can_t_be_rotated_goes_on_when_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    log = AccessLog(str(folder / "access.log"), size=1, keep=1)

    def written(number: int) -> bool:
        """Hand a record over and wait until it is in the file or lost."""
        before = len(caplog.records)
        log(entry(number))
        while True:
            if any(file.is_file() and f"{number:032x}" in file.read_text() for file in folder.glob("access.log*")):
                return True
            if len(caplog.records) > before:
                return False

    assert written(1)
    folder.rename(tmp_path / "away")
    folder.write_text("in the way")
    assert not written(2)
    assert not written(3)
    folder.unlink()
    assert written(4)
    log.close()
    assert "bytes are lost" in caplog.text
