"""NDJSON (github.com/ndjson/ndjson-spec): a message on each line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bridge.api.front import Front
from bridge.fronts.json_stream import error_item, live


class Lines:
    """`bridge.api.front.StreamFormat`. The heartbeat is an empty line, which readers of NDJSON skip."""

    id_field: ClassVar[str] = ""
    opening = b""
    heartbeat = b"\n"

    def __init__(self) -> None:
        self.headers = live("application/x-ndjson")

    def message(self, text: bytes, id: str = "") -> bytes:
        return text + b"\n"

    def end(self) -> bytes:
        return b""

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return error_item(problem) + b"\n"


class Ndjson(Front):
    name = "ndjson"
    rank = 0
    formats = dict.fromkeys(
        ("application/x-ndjson", "application/ndjson", "application/jsonl"), lambda service: Lines()
    )
