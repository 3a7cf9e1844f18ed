"""The last lines of the access log, read from its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

MAX_READ = 8 << 20  #: bytes that are read at most, of the file and of the one that was rotated before it


def last_lines(
    path: Path, wanted: Callable[[Mapping[str, Any]], bool], limit: int
) -> tuple[list[Mapping[str, Any]], bool]:
    """The newest lines that are `wanted`, the newest first, and whether there are no more of them in the log.

    A line that is not whole (yet) is left out. Takes some 0.1 s where little is wanted.

    :param path: of the log. No file is as good as an empty one.
    :raises OSError: it can't be read.
    """
    lines: list[Mapping[str, Any]] = []
    left = MAX_READ
    for file in (path, path.with_name(f"{path.name}.1")):
        text, is_whole = _end_of(file, left)
        left -= len(text)
        for line in _parsed(text):
            if wanted(line):
                if len(lines) == limit:
                    return lines, False
                lines.append(line)
        if not is_whole:
            return lines, False
    return lines, not path.with_name(f"{path.name}.2").exists()


def _end_of(file: Path, size: int) -> tuple[bytes, bool]:
    """The last lines of a file within `size` bytes, and whether they are all of it."""
    try:
        with open(file, "rb") as stream:
            length = os.fstat(stream.fileno()).st_size
            start = max(0, length - size)
            stream.seek(start)
            text = stream.read(min(length, size))
    except FileNotFoundError:
        return b"", True
    return (text, True) if not start else (text.partition(b"\n")[2], False)


def _parsed(text: bytes) -> Iterator[Mapping[str, Any]]:
    """The lines of `text`, the last one first."""
    end = len(text)
    while end > 0:
        start = text.rfind(b"\n", 0, end - 1) + 1
        try:
            line = orjson.loads(text[start:end])
        except orjson.JSONDecodeError:  # cut off by a crash, or being written
            line = None
        if isinstance(line, dict):
            yield line
        end = start
