"""How this command is written on the user's command line."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "hms-bridge"


def program() -> str:
    """The command as the user can type it again: its name where the shell finds it, else its path, quoted."""
    beside = Path(sys.executable).parent / NAME
    typed = Path(sys.argv[0])
    own = typed if typed.name == NAME else beside
    on_path = shutil.which(NAME)
    if on_path and own.exists() and os.path.samefile(on_path, own):
        return NAME
    if own.exists():
        return shlex.quote(str(own))
    return f"{shlex.quote(sys.executable)} -m bridge"


def interpreter() -> str:
    """``python`` as the user can type it for the environment of this command: the name where the shell finds that one,
    else its path, quoted."""
    on_path = shutil.which("python")
    # An environment's `python` is a link to the one that it was made with, so the folders are compared.
    if on_path and os.path.samefile(Path(on_path).parent, Path(sys.executable).parent):
        return "python"
    return shlex.quote(sys.executable)
