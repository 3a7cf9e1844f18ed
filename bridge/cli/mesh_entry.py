"""The entry of ``mesh.yml`` that an imported route needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bridge.api.spec.upstream import Upstream
from bridge.cli.files import write
from bridge.cluster.sources.static import Table, read
from bridge.config.settings import Settings
from bridge.errors import SettingsError

CONNECT = 2.0  #: seconds to see whether a service answers
_HEADER = (
    "# Where the upstreams of routes are: a name, or name:port, and its addresses. This file is the operator's word.\n"
)


async def add_entry(
    settings: Settings, upstream: Upstream, addresses: Sequence[str], *, insists: bool = False
) -> list[str]:
    """Have the mesh know `upstream`, by an entry in its file.

    :param addresses: ``host:port`` of the service, the likeliest first. One that answers is preferred.
    :param insists: whether the user gave the address.
    :returns: sentences on what was written, or on what is to be done.
    """
    key = f"{upstream.name}:{upstream.port}"
    scheme, _, name = settings.mesh.partition(":")
    if scheme != "static":
        return [f"The mesh ({settings.mesh}) must know {key}."]
    file = settings.path(name)
    table = _table(file)
    for known in (key, upstream.name):
        if known in table:
            targets = [f"{host}:{port or upstream.port}" for host, port in table[known]]
            if not insists or addresses[0] in targets:
                return []
            return [f"{name}: {known} is at {', '.join(targets)} already; write {addresses[0]} there if it has moved."]
    address = await _reachable(addresses)
    entry = f'{key}: ["{address or "HOST:PORT"}"]\n'
    if not address:
        return [f"{name} needs an entry for {key}: {entry.strip()}"]
    if not _append(file, entry, key):
        return [f"{name} needs this entry, since no calls reach {key} without it: {entry.strip()}"]
    return [f"{name}: {key} is at {address}; change that if the service is elsewhere."]


def _table(file: Path) -> Table:
    return read(file) if os.path.exists(file) else {}


def _append(file: Path, entry: str, key: str) -> bool:
    """Whether `entry` was added to `file`, all else unchanged. False where that is not written as lines of keys."""
    before = _table(file)
    text = file.read_text("utf-8") if os.path.exists(file) else _HEADER
    text += entry if not text or text.endswith("\n") else f"\n{entry}"
    trial = file.with_name(f".{file.name}.{os.getpid()}.trial")
    try:
        write(trial, text.encode(), replace=True)
        after = read(trial)
    except SettingsError:
        return False
    finally:
        with suppress(OSError):
            trial.unlink()
    if {name: targets for name, targets in after.items() if name != key} != before or key not in after:
        return False
    write(file, text.encode(), replace=True)
    return True


async def _reachable(addresses: Sequence[str]) -> str:
    """The first of `addresses` that accepts a connection, else the first; empty where there are none."""
    for address in addresses:
        if await accepts(address):
            return address
    return addresses[0] if addresses else ""


async def accepts(address: str) -> bool:
    """Whether somebody listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError, TimeoutError):
        return False
    writer.close()
    return True
