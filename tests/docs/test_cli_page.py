"""docs/cli.md and the commands of docs/openapi.md as written, in an empty folder."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path

from bridge.observe.log import JsonLogFormatter
from tests.docs.pages import ROOT, blocks_of
from tests.docs.walking import walk

BLOCKS = blocks_of(ROOT / "docs" / "cli.md")


def test_the_pages_on_commands_and_openapi(tmp_path: Path) -> None:
    with walk(tmp_path, "8080", "9001") as reader:
        for block in BLOCKS:
            if block.language == "console":
                reader.read(block)
        reader.run("rm routes/new.yml")  # a wrong spec, in which the first page shows how it is told
        for block in blocks_of(ROOT / "docs" / "openapi.md"):
            if block.language == "console":
                reader.read(block)


def test_logrotate_signals_the_gateway_and_not_its_own_shell() -> None:
    """The shell that runs the script has the pattern on its command line, too, and pkill spares only itself."""
    [block] = [block for block in BLOCKS if "postrotate" in block.text]
    script = block.text.partition("postrotate\n")[2].partition("endscript")[0]
    [pattern] = re.findall(r"pkill -HUP -f '(.+)'", script)
    assert re.search(pattern, f"{sys.executable} /opt/hms-bridge/bin/hms-bridge serve --port 80")
    assert not re.search(pattern, f"sh -c {script} logrotate_script")
    assert block.text.startswith("/srv/bridge/.bridge/access.log {")


def test_an_event_of_the_log_in_json() -> None:
    [block] = [block for block in BLOCKS if block.language == "json"]
    shown = json.loads(block.text)
    try:
        raise RuntimeError
    except RuntimeError:
        record = logging.LogRecord(shown["logger"], logging.ERROR, "", 0, shown["message"], None, sys.exc_info())
    record.trace_id = shown["trace_id"]
    event = json.loads(JsonLogFormatter().format(record))
    assert event.keys() == shown.keys()
    assert event["exception"].startswith(shown["exception"].removesuffix("…"))
    assert re.fullmatch(r"[\d-]+T[\d:]+\.\d{3}Z", event["time"])
    volatile = {"time", "exception"}
    assert {name: event[name] for name in event.keys() - volatile} == {
        name: shown[name] for name in shown.keys() - volatile
    }


def test_every_block_of_the_page_on_commands_has_its_test() -> None:
    others = [block for block in BLOCKS if block.language != "console"]
    assert [block.language for block in others] == ["", "json"]
