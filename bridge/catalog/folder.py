"""The folder of spec files: which there are, in their order, and what they say. A file that has not changed since it
was read is not read again, so a change of one among thousands costs little more than a look at them all.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bridge.catalog.folder_watch import is_hidden
from bridge.config.specfile import Draft, read_drafts, read_file
from bridge.config.stamp import Stamp, stamp_of
from bridge.errors import Fault, SettingsError
from bridge.gateway.table import Source

log = logging.getLogger("bridge.routes")

SUFFIXES = (".yml", ".yaml", ".json")
#: Seconds after a change in which another may leave the same stamp, file systems' clocks being coarse.
YOUNG = 2.0


def is_spec(name: str) -> bool:
    """Whether a file of that name is a spec file. Hidden files are none."""
    return name.endswith(SUFFIXES) and not is_hidden(name)


class File(NamedTuple):
    """A spec file as it was found: the id that its first route has, where it lies, and its stamp."""

    name: str
    path: str
    stamp: Stamp

    @property
    def is_empty(self) -> bool:
        return not self.stamp[2]

    def age(self) -> float:
        """Seconds since its last change; 0 for one in the future."""
        return max(time.time() - max(self.stamp[:2]) / 1e9, 0.0)


class Folder:
    """:param home: what the files' names are shown below."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self._shown = str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
        #: By file, with its stamp when it was read.
        self._read: dict[str, tuple[Stamp, Sequence[Source]]] = {}
        #: What is called as a spec file is, but is none, and was logged.
        self._odd: set[str] = set()

    def files(self) -> list[Path]:
        """Every spec file, in the order in which they are read.

        :raises SettingsError: the folder, or one in it, can't be read.
        """
        return [Path(file.path) for file in self.look()]

    def look(self) -> list[File]:
        """As `files`, with what `read` wants to know; also raises as that does. May be called in a thread."""
        files = sorted(self._listed(), key=lambda one: one[0].split(os.sep))
        self._read = {path: self._read[path] for path, _ in files if path in self._read}
        prefix = len(str(self.path)) + 1
        return [File(f"file:{path[prefix:].replace(os.sep, '/')}", path, stamp) for path, stamp in files]

    def read(self, file: File) -> Sequence[Source]:
        """The routes of a file.

        :raises SpecError: it is wrong.
        """
        cached = self._read.get(file.path)
        if cached is not None and cached[0] == file.stamp:
            return cached[1]
        name, path, stamp = file
        label = self.label(file)
        sources = [
            Source(f"{name}{f'#{number}' if number else ''}", "file", spec, label, document)
            for number, (spec, document) in enumerate(read_file(path, label))
        ]
        if file.age() > YOUNG:
            self._read[path] = (stamp, sources)
        return sources

    def drafts(self, file: File) -> tuple[list[tuple[Draft, Source | None]], list[Fault]]:
        """The documents of a file in which something is wrong, as far as they can be read, each with its route; and
        what is wrong with the file itself."""
        label = self.label(file)
        drafts, faults = read_drafts(Path(file.path), label)
        sources = [self._source(file, *one) for one in enumerate(drafts)]
        return list(zip(drafts, sources, strict=True)), faults

    def _source(self, file: File, number: int, draft: Draft) -> Source | None:
        if draft.spec is None:
            return None
        id = f"{file.name}{f'#{number}' if number else ''}"
        return Source(id, "file", draft.spec, self.label(file), draft.document)

    def label(self, file: File) -> str:
        """What faults and messages call `file`."""
        return os.path.join(self._shown, file.name.removeprefix("file:"))

    def _listed(self) -> Iterator[tuple[str, Stamp]]:
        """Hidden files and folders are passed over. A link to a folder is followed only into what is hidden below this
        one, since all else is read by itself, or lies elsewhere: Kubernetes mounts the folders of a ConfigMap so."""
        followed: set[str] = set()
        folders = [str(self.path)]
        while folders:
            folder = folders.pop()
            try:
                entries = list(os.scandir(folder))
            except FileNotFoundError:
                continue  # there is none, or it was taken away meanwhile
            except OSError as error:
                if isinstance(error, NotADirectoryError) and folder != str(self.path):
                    continue
                raise SettingsError(Fault(f"it can't be read: {error.strerror}", file=folder)) from None
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    if self._leads_to_hidden(entry.path, followed):
                        folders.append(entry.path)
                elif is_spec(entry.name):
                    stamp = stamp_of(entry)
                    if stamp is not None:
                        yield entry.path, stamp
                    else:
                        self._tell_of(entry.path)

    def _tell_of(self, path: str) -> None:
        """Log once that what is called as a spec file is none."""
        if path not in self._odd and os.path.lexists(path):
            self._odd.add(path)
            name = os.path.join(self._shown, os.path.relpath(path, self.path))
            log.warning("%s is passed over: it is no regular file, or a link to nothing", name)

    def _leads_to_hidden(self, link: str, followed: set[str]) -> bool:
        """Whether a link leads to a hidden folder below this one, to which none of `followed` leads. It is added."""
        target, root = os.path.realpath(link), os.path.realpath(self.path)
        steps = os.path.relpath(target, root).split(os.sep)
        if steps[0] in (".", "..") or not any(map(is_hidden, steps)) or target in followed:
            return False
        followed.add(target)
        return True
