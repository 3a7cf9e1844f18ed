"""Changes of files below folders that may be absent, replaced as a whole, or switched by a symbolic link.

The operating system reports changes within a folder as it was when the watch began. What it does not report is looked
at once a second: whether a folder is still the same one, and what the symbolic links within it lead to. Kubernetes
(a ConfigMap's ``..data``), git-sync and deployments by symlink all replace files in such a way.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from stat import S_ISDIR

POLL = 1.0  #: seconds between looks at the folders themselves and at symbolic links
MAX_LINKS = 10_000  #: symbolic links of a folder that are looked at

_NO_TEXT = "Unable to decode path"  # as watchfiles says it

log = logging.getLogger("bridge.routes")

#: What tells one folder from another in its place: its device and inode, and the same of what its links lead to.
Identity = tuple[tuple[int, ...], ...]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is not for readers, as ``.git``, ``.a.yml.swp`` or a ConfigMap's ``..data``
    are."""
    return name.startswith(".")


class FolderWatch:
    """:param folders: absolute paths.
    :param again: those of them that are cheap to read, and reported once more when a watch on them has begun, since
        they may change until then.
    """

    def __init__(self, folders: Sequence[Path], again: Collection[Path]) -> None:
        self._folders = folders
        self._again = frozenset(again)
        self._links: dict[Path, list[str]] = {}
        #: At the last look; None for a folder that is absent.
        self._identities: dict[Path, Identity | None] = {}
        self._is_polling = False
        self._told = ""

    async def changes(self) -> AsyncGenerator[set[Path]]:
        """Paths that have changed, without end. A folder that was replaced, or whose links lead elsewhere, is one of
        the paths itself."""
        self._identities = await asyncio.to_thread(self._look, rescan=True)
        unseen: frozenset[Path] = self._again
        while True:
            unseen |= await self._replaced(rescan=True)
            present = [folder for folder in self._folders if self._identities[folder] is not None]
            if not present:
                if unseen:
                    yield set(unseen)
                unseen = frozenset()
                await asyncio.sleep(POLL)
                continue
            async with aclosing(self._reports(present)) as reports:
                async for paths, is_change in reports:
                    changed = await self._replaced(rescan=is_change)
                    if paths or changed or unseen:
                        yield paths | changed | unseen
                    unseen = changed & self._again
                    if changed:
                        break

    async def _reports(self, folders: Sequence[Path]) -> AsyncGenerator[tuple[set[Path], bool]]:
        """What the operating system reports of `folders`, at least every `POLL` seconds, and whether that is anything.
        Ends if they can't be watched. Editors' temporary files and the like are left out."""
        from watchfiles import DefaultFilter, awatch  # heavy, and only a gateway that serves watches

        is_wanted = DefaultFilter()
        batches = awatch(
            *folders,
            watch_filter=None,
            debounce=200,
            step=50,
            rust_timeout=int(POLL * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
            force_polling=self._is_polling or None,
        )
        try:
            async for batch in batches:
                yield {Path(path) for kind, path in batch if is_wanted(kind, path)}, bool(batch)
        except (OSError, RuntimeError, ExceptionGroup) as error:
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            # One of them was removed a moment ago, a name below them is no text, or the system has no watches left.
            if _NO_TEXT in str(cause):
                if self._told != str(cause):
                    log.warning("%s; give it a name in UTF-8", cause)
                    self._told = str(cause)
                yield set(folders), True  # what else was reported with it is lost
            elif all(map(Path.is_dir, folders)):
                log.warning("changes are looked for every %.0f s, since folders can't be watched: %s", POLL, cause)
                self._is_polling = True
            await asyncio.sleep(POLL)
        finally:
            await batches.aclose()

    def _look(self, *, rescan: bool) -> dict[Path, Identity | None]:
        """The folders as they are now. Called in a thread.

        :param rescan: whether there may be other links than at the last look.
        """
        if rescan:
            self._links = {folder: list(islice(_links(str(folder)), MAX_LINKS)) for folder in self._folders}
        return {folder: _identity(folder, self._links[folder]) for folder in self._folders}

    async def _replaced(self, *, rescan: bool = False) -> frozenset[Path]:
        """The folders that are not what they were at the last look."""
        before, self._identities = self._identities, await asyncio.to_thread(self._look, rescan=rescan)
        return frozenset(folder for folder in self._folders if self._identities[folder] != before[folder])


def _identity(folder: Path, links: Sequence[str]) -> Identity | None:
    try:
        stat = folder.stat()
    except OSError:
        return None
    return ((stat.st_dev, stat.st_ino), *map(_target, links)) if S_ISDIR(stat.st_mode) else None


def _links(folder: str) -> Iterator[str]:
    """The symbolic links below `folder`, in a fixed order."""
    folders = [folder]
    while folders:
        try:
            entries = sorted(os.scandir(folders.pop()), key=lambda entry: entry.name)
        except OSError:
            continue  # it was removed meanwhile
        for entry in entries:
            if entry.is_symlink():
                yield entry.path
            elif entry.is_dir(follow_symlinks=False) and not is_hidden(entry.name):
                folders.append(entry.path)


def _target(link: str) -> tuple[int, ...]:
    try:
        stat = os.stat(link)
    except OSError:
        return ()
    if S_ISDIR(stat.st_mode):
        return (stat.st_dev, stat.st_ino)
    return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
