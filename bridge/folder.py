"""The folder of spec files: which there are, in their order, and what they say. A file that has not changed since it
was read is not read again, so a change of one among thousands costs little more than a look at them all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISREG

from bridge.specfile import read_file
from bridge.table import Source

SUFFIXES = (".yml", ".yaml", ".json")
#: Seconds after a change in which another may leave the same stamp, file systems' clocks being coarse.
YOUNG = 2.0

#: What changes when a file does: nanoseconds of its content's and its inode's last change, bytes, inode.
Stamp = tuple[int, int, int, int]


class Folder:
    """:param home: what the files' names are shown below."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self._shown = str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
        #: By file, with its stamp when it was read.
        self._read: dict[str, tuple[Stamp, Sequence[Source]]] = {}

    def files(self) -> list[Path]:
        """Every spec file, in the order in which they are read."""
        return [Path(file) for file, _ in self._listed()]

    def scan(self) -> Iterator[tuple[str, Path, Stamp]]:
        """The id that a file's first route has, the file, and its stamp; for each, in order."""
        listed = self._listed()
        self._read = {file: self._read[file] for file, _ in listed if file in self._read}
        prefix = len(str(self.path)) + 1
        for file, stamp in listed:
            yield f"file:{file[prefix:].replace(os.sep, '/')}", Path(file), stamp

    def read(self, name: str, path: Path, stamp: Stamp) -> Sequence[Source]:
        """The routes of a file that `scan` found.

        :raises SpecError: it is wrong.
        """
        known = self._read.get(str(path))
        if known is not None and known[0] == stamp:
            return known[1]
        shown = os.path.join(self._shown, name.removeprefix("file:"))
        sources = [
            Source(f"{name}{f'#{number}' if number else ''}", "file", spec, shown, document)
            for number, (spec, document) in enumerate(read_file(path, shown))
        ]
        if time.time() - max(stamp[:2]) / 1e9 > YOUNG:
            self._read[str(path)] = (stamp, sources)
        return sources

    def _listed(self) -> list[tuple[str, Stamp]]:
        found: list[tuple[str, Stamp]] = []
        folders = [str(self.path)]
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError:
                continue  # there is none, or it was taken away meanwhile
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(SUFFIXES) and entry.name not in SUFFIXES:
                    stamp = _stamp(entry)
                    if stamp is not None:
                        found.append((entry.path, stamp))
        return sorted(found, key=lambda one: one[0].split(os.sep))


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """None for what is no file, or not any more."""
    try:
        stat = entry.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino) if S_ISREG(stat.st_mode) else None
