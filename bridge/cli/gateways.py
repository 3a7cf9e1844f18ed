"""Gateways that run on this host, so that credentials are not made for the wrong one by mistake.

They are found by their processes (Linux's ``/proc``): nothing is written anywhere, and a gateway that was killed leaves
nothing behind. On other systems none is found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bridge.config.settings import Settings, load
from bridge.errors import SettingsError

_PROC = Path("/proc")
_PROGRAM = "hms-bridge"
_MODULES = ("bridge", "bridge.cli.main")
_SHOWN = 10  #: gateways that a message names


class RunningGateway(NamedTuple):
    """A process of ``serve`` and its settings; paths are absolute."""

    pid: int
    settings: Settings


def running_gateways() -> Iterator[RunningGateway]:
    """Those whose environment this user may read, and that see the same files (not in another container)."""
    own = _mounts("self")
    for process in _PROC.glob("[0-9]*") if own else ():
        try:
            options = _serve_options((process / "cmdline").read_bytes().decode(errors="replace").split("\0"))
            if options is None or _mounts(process.name) != own:
                continue
            folder = Path(os.readlink(process / "cwd"))
            pairs = (os.fsdecode(entry).partition("=") for entry in (process / "environ").read_bytes().split(b"\0"))
            environ = {name: value for name, _, value in pairs if name.startswith("BRIDGE_")}
            config = _option(options, "--config")
            settings = load(environ, folder / config if config else None)
        except (OSError, SettingsError):
            continue  # it has ended, or is another user's, or is no gateway that can serve
        yield RunningGateway(int(process.name), settings.model_copy(update={"home": folder / settings.home}))


def other_gateways(settings: Settings) -> list[RunningGateway]:
    """Gateways that run with other homes, if none runs with that of `settings`."""
    home = settings.home.resolve()
    others = []
    for gateway in running_gateways():
        if gateway.settings.home.resolve() == home:
            return []
        others.append(gateway)
    return others


def check_home(settings: Settings, file: Path, what: str) -> str:
    """Whether the home of `settings` is the one that is meant, before `what` is made there.

    :param file: what a gateway of this home would have made at its first start.
    :returns: a note for the user; ``""``: there is nothing to say.
    :raises SettingsError: nobody named the home, no gateway has ever had it, and one with another home runs.
    """
    if "home" in settings.model_fields_set:
        return ""
    others = other_gateways(settings)
    if not others:
        return ""
    homes = ", ".join(f"{gateway.settings.home} (process {gateway.pid})" for gateway in others[:_SHOWN])
    here = settings.home.absolute()
    which = "The gateway that runs on this host has" if len(others) == 1 else "The gateways that run on this host have"
    if os.path.exists(file):  # unlike Path.exists, it raises nothing where the folder may not be entered
        return f"{which} another home than {here}, for which this {what} is: {homes}. BRIDGE_HOME chooses."
    raise SettingsError(
        f"{which} another home than {here}: {homes}. A {what} made here would be refused there. "
        f"Set BRIDGE_HOME={others[0].settings.home}, or BRIDGE_HOME=. to make it for a gateway with this home."
    )


def _serve_options(words: Sequence[str]) -> Sequence[str] | None:
    """The options of ``hms-bridge serve`` or ``python -m bridge serve``; None for another command."""
    for number, word in enumerate(words[:4]):
        is_ours = word.rpartition("/")[2] == _PROGRAM or (word in _MODULES and number and words[number - 1] == "-m")
        if is_ours and words[number + 1 : number + 2] == ["serve"]:
            return words[number + 2 :]
    return None


def _option(words: Sequence[str], name: str) -> str:
    for number, word in enumerate(words):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name:
            return "".join(words[number + 1 : number + 2])
    return ""


def _mounts(process: str) -> str:
    """The mount namespace of `process`; ``""`` where it can't be looked at."""
    try:
        return os.readlink(_PROC / process / "ns" / "mnt")
    except OSError:
        return ""
