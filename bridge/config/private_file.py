"""Files with private keys in the gateway's state, made once and shared by the processes of a home."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_SIZE = 64 * 1024  #: bytes


def read_private(path: Path) -> bytes:
    """:raises OSError: it can't be read, or everybody may read it."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o007:
            raise PermissionError(0, "everybody may read it; it is a private key: chmod 600")
        return file.read(MAX_SIZE)


@contextmanager
def locked_folder(folder: Path) -> Iterator[int]:
    """`folder`, made if there is none (mode 0700), as an open directory that one process at a time has.

    The lock lies on the directory itself: no lock file stays behind, and it ends with the process.

    :raises OSError: it can't be made or opened.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(directory)


def write_private(path: Path, content: bytes, directory: int) -> None:
    """Make or replace the file, for its owner only (mode 0600), as a whole or not at all.

    :param directory: of its folder, locked.
    :raises OSError: it can't be written.
    """
    half = path.with_name(f".{path.name}.new")
    # Left behind by a process that was killed; we hold the lock, so nobody is writing it.
    half.unlink(missing_ok=True)
    file = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    half.rename(path)
    os.fsync(directory)
