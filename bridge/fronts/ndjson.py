"""NDJSON (github.com/ndjson/ndjson-spec): a message on each line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bridge.api.front import Front, MakeFormat, StreamFormat


class NdjsonFormat(StreamFormat):
    """The heartbeat is an empty line, which readers of NDJSON skip."""

    heartbeat = b"\n"

    def message(self, text: bytes, id: str = "") -> bytes:
        return text + b"\n"

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return super().error(problem) + b"\n"


class Ndjson(Front):
    name = "ndjson"
    rank = 0
    formats: ClassVar[Mapping[str, MakeFormat]] = dict.fromkeys(
        ("application/x-ndjson", "application/ndjson", "application/jsonl"),
        lambda service: NdjsonFormat("application/x-ndjson"),
    )
