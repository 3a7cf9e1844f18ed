"""What all commands share: settings, output, and the conversion of errors to sentences and an exit code."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bridge.config.owner import owner_hint
from bridge.config.settings import Settings, load
from bridge.errors import BridgeError, SettingsError, SetupError

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.", metavar="FILE")]


def console() -> Console:
    """Standard error."""
    from rich.console import Console  # slow to import, and not needed for what scripts read

    return Console(stderr=True, highlight=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print each line of `text` to standard error; red on a terminal."""
    if not text:
        return
    error = console()
    for line in text.splitlines():
        error.print(printable(line), style="red" if error.is_terminal else None, markup=False)


def printable(text: str) -> str:
    """`text` with escapes for what would steer the terminal, or can't be written: file names may hold such."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def out(text: str) -> None:
    """Print to standard output."""
    sys.stdout.write(text + "\n")


def show_table(rows: Sequence[Mapping[str, Any]], nothing: str) -> None:
    """Print `rows`, which have the same keys, in columns for people; `nothing` if there are none. Lines are not broken,
    so that what is copied from them is whole."""
    from rich.console import Console

    screen = Console(highlight=False, soft_wrap=True)
    head, *lines = [
        [*rows[0]] if rows else [nothing],
        *([printable(str(value)) for value in row.values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for number, line in enumerate((head, *lines)):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        screen.print(text, style=None if number else "bold", markup=False)


@contextmanager
def explained() -> Iterator[None]:
    """Turn the gateway's errors into sentences on standard error and exit code 1."""
    try:
        yield
    except SetupError as error:
        complain(str(error))
        raise typer.Exit(1) from None
    except BridgeError as error:
        complain(getattr(error, "detail", "") or str(error))
        for entry in getattr(error, "errors", ()):
            complain(f"  {entry[0] or 'the body'}: {entry[1]}")
        raise typer.Exit(1) from None
    except BrokenPipeError:
        # `hms-bridge routes | head`: the reader wants no more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work` in an event loop, with errors as in `explained`."""
    with explained():
        return asyncio.run(work())


def whole_number(text: str, option: str, low: int, high: int) -> int:
    """The value of an option, whose help would otherwise be all that a user gets to read about a wrong one.

    :raises SettingsError: it is no whole number from `low` to `high`.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise SettingsError(f"{option}: {text!r} is not a whole number from {low} to {high}")
    return int(text)


def settings_of(config: Path | None = None, **values: Any) -> Settings:
    """The settings of the environment, the file `config` and `values`, with errors as in `explained`.

    :raises typer.Exit: also where the home is no folder, since a command would then find nothing wrong in nothing.
    """
    with explained():
        settings = load(os.environ, config, **values)
        try:
            os.getcwd()
        except OSError as error:
            raise SettingsError(
                f"the current directory can't be used ({error.strerror}); go to another one, such as the gateway's home"
            ) from None
        if not os.path.isdir(settings.home):
            raise SettingsError(f"BRIDGE_HOME: {settings.home} is not a folder; make it, or name the one that is meant")
        if not os.access(settings.home, os.R_OK | os.X_OK):
            raise SettingsError(
                f"BRIDGE_HOME: {settings.home.absolute()} can't be read: Permission denied{owner_hint(settings.home)}"
            )
        return settings
