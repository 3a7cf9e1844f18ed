"""How a change of a file is noticed."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISREG

#: What changes when a file does: nanoseconds of its content's and its inode's last change, bytes, inode.
Stamp = tuple[int, int, int, int]


def stamp_of(file: Path | os.DirEntry[str]) -> Stamp | None:
    """None for what is no regular file, or can't be looked at."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino) if S_ISREG(stat.st_mode) else None
