"""Files that commands write: whole or not at all, and never over another one unless that is asked for."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bridge.errors import Fault, SettingsError

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def check_free(paths: Mapping[Path, bytes | None], advice: str = "--force replaces it") -> None:
    """:param paths: files that are to be written, with their content; None for content that is not known yet.
    :param advice: what to do about one that exists.
    :raises SettingsError: one of them exists with other content; one fault each.
    """
    faults = [
        Fault(f"it exists already; {advice}", file=str(path))
        for path, content in paths.items()
        if os.path.exists(path) and (content is None or not _holds(path, content))
    ]
    if faults:
        raise SettingsError(faults)


def write(path: Path, content: bytes, *, replace: bool = False) -> bool:
    """Write a file at once: who reads it sees the old content, or all of the new. Folders are created.

    :param replace: whether it may exist with other content.
    :returns: whether anything was written; False where it holds `content` already.
    :raises SettingsError: it exists with other content, or can't be written.
    """
    try:
        if _holds(path, content):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that followers of the folder don't take for a spec.
        half = path.with_name(f".{path.name}.{os.getpid()}.new")
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            _place(half, path, replace=replace)
        finally:
            half.unlink(missing_ok=True)
    except FileExistsError:
        raise SettingsError(Fault("it exists already; --force replaces it", file=str(path))) from None
    except OSError as error:
        raise SettingsError(Fault(f"it can't be written: {error.strerror or error}", file=str(path))) from None
    return True


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder at once: with all its files, or not at all.

    :param files: by path below the folder.
    :raises SettingsError: there is something of this name, or it can't be written.
    """
    # A rename would replace an empty folder.
    if os.path.lexists(folder):
        raise SettingsError(Fault("it exists already; remove it, or choose another name", file=str(folder)))
    half = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    try:
        try:
            half.mkdir()
            for name, content in files.items():
                write(half / name, content)
            half.rename(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    except OSError as error:
        raise SettingsError(Fault(f"it can't be written: {error.strerror or error}", file=str(folder))) from None


def _place(half: Path, path: Path, *, replace: bool) -> None:
    """:raises FileExistsError: there is one, and it may not be replaced."""
    if not replace:
        try:
            os.link(half, path)  # unlike a rename, it fails where another process was faster
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.exists(path):
                raise FileExistsError from None
    half.replace(path)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
