"""``static:mesh.yml``: the operator's list of names and addresses.

::

    tally-svc: 10.0.0.7                      # the port is the route's
    vat-svc:8080: [10.0.1.4:9001, "[fd00::7]:9001", legacy-host.internal:9001]

The more specific key has precedence: ``name:port`` before ``name``. Any address may stand in the file, loopback too,
since the operator wrote it. Of a name, others decide where it leads: what `bridge.transport.reach.refusal` refuses is
left out, and loopback is allowed for ``localhost`` alone (RFC 6761, section 6.3).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.api.spec.upstream import Upstream
from bridge.api.transport import Address
from bridge.cluster.balance import unavailable
from bridge.cluster.sources.source import LookupResult
from bridge.config.stamp import Stamp, stamp_of
from bridge.config.yaml import read_document
from bridge.errors import Fault, SettingsError, SetupError
from bridge.http.client_address import is_address
from bridge.transport.reach import named_refusal
from bridge.wording import counted

#: Host as written (an address without brackets, or a name), and its port; ``None`` takes the route's.
Target = tuple[str, int | None]
Table = dict[str, tuple[Target, ...]]

TTL = 1.0  # seconds; also the interval at which the file is checked
NAME_TTL = 5.0  # seconds; the system resolver returns no TTL

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_log = logging.getLogger("bridge.mesh")


class StaticSource:
    """Addresses from a file, read again when it changes. An invalid edit is logged, and the last valid content stays in
    use.

    :raises SettingsError: (constructor) the file exists but is invalid; each fault has file, line and key.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._checked = clock()
        self._stamp = stamp_of(file)
        self._reading: asyncio.Task[None] | None = None
        self._table = read(file) if os.path.lexists(file) else {}

    async def lookup(self, name: str, port: str) -> LookupResult:
        """As `bridge.cluster.sources.source.MeshSource`."""
        if cause := await self.unlisted(name, port):
            return LookupResult((), TTL, cause=cause)
        targets = self._targets(name, port)
        default = int(port) if port.isdigit() else None
        if default is None and any(target_port is None for _, target_port in targets):
            return LookupResult((), TTL, cause=f"{self._file.name} gives {name} no port, and {port!r} is not a number")
        lists = await asyncio.gather(*(_resolve(host, target_port or default or 0) for host, target_port in targets))
        addresses = tuple(dict.fromkeys(address for group in lists for address in group or ()))
        if not addresses:
            if None not in lists:
                return LookupResult((), NAME_TTL, cause=f"{name} leads only to addresses that are refused")
            raise unavailable(f"none of the hosts that {self._file.name} names for {name}:{port} resolves")
        return LookupResult(addresses, TTL if all(map(is_address, (host for host, _ in targets))) else NAME_TTL)

    async def unlisted(self, name: str, port: str) -> str:
        """As `bridge.cluster.sources.source.Listing`."""
        await self._refresh()
        return "" if self._targets(name, port) else f"{self._file.name} names neither {name}:{port} nor {name}"

    async def aclose(self) -> None:
        """Nothing to close."""

    def _targets(self, name: str, port: str) -> tuple[Target, ...]:
        return self._table.get(f"{name}:{port}") or self._table.get(name) or ()

    async def _refresh(self) -> None:
        now = self._clock()
        if self._reading is None and now - self._checked >= TTL:
            self._checked = now
            # One stat a second is cheaper than the use of a thread.
            if (stamp := stamp_of(self._file)) != self._stamp:
                self._reading = asyncio.create_task(self._load(stamp))
        if self._reading is not None:
            await asyncio.shield(self._reading)

    async def _load(self, stamp: Stamp | None) -> None:
        try:
            self._table = await asyncio.to_thread(read, self._file) if stamp else {}
            _log.info("%s: read again, %s", self._file, counted(len(self._table), "name"))
        except SetupError as error:
            _log.error("%s", error)
        finally:
            self._stamp = stamp
            self._reading = None


async def _resolve(host: str, port: int) -> list[Address] | None:
    """The addresses of `host` that are allowed; None: it has none at all."""
    if is_address(host):
        return [(host, port)]
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        _log.warning("%s can't be resolved: %s", host, error.strerror or error)
        return None
    addresses: list[Address] = []
    for address in dict.fromkeys(str(info[4][0]) for info in infos):
        if reason := named_refusal(host, address):
            hint = "; an address that stands in the file itself is used" if reason == "loopback" else ""
            _log.warning("%s leads to %s, which is refused (%s)%s", host, address, reason, hint)
        else:
            addresses.append((address, port))
    return addresses


# --- the file ----------------------------------------------------------------------------------------------------


def read(file: Path) -> Table:
    """The entries of `file`, by ``name`` and ``name:port``.

    :raises SettingsError: every fault of the file, each with its line.
    """
    names, document = read_document(file)
    if names is None:
        return {}
    if not isinstance(names, dict):
        raise SettingsError(Fault("it must map names to addresses", file=str(file), line=document.lines().line))
    table: Table = {}
    faults: list[tuple[str, int, str]] = []  # name, number of its address, reason
    for name, value in names.items():
        targets = []
        for number, item in enumerate(value if isinstance(value, list) and value else [value]):
            try:
                if number == 0:
                    _check_key(name)
                targets.append(_target(item, needs_port=":" in name and not name.rpartition(":")[2].isdigit()))
            except ValueError as error:
                faults.append((name, number, str(error)))
        table[name] = tuple(targets)
    if faults:
        lines = document.lines()
        raise SettingsError(
            [Fault(reason, (name,), str(file), lines.at((name, number)).line) for name, number, reason in faults]
        )
    return table


def _check_key(name: str) -> None:
    """:raises ValueError: no route can name it."""
    Upstream.parse(name if ":" in name else f"{name}:1")
    if "/" in name:
        raise ValueError(f"{name!r} is not of the form name or name:port")


def _target(text: Any, *, needs_port: bool) -> Target:
    """``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

    :raises ValueError: it has none of these forms.
    """
    if not text:
        raise ValueError("it names no address")
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is neither a host name nor an address")
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        ok = bracket and (not port or port[0] == ":") and ":" in host and is_address(host)
        if not ok or port == ":":
            raise ValueError(f"{text!r} is neither [address] nor [address]:port")
        port = port[1:]
    elif text.count(":") > 1:
        hint = "; write an IPv6 address in brackets" if is_address(text) else ""
        raise ValueError(f"{text!r} is neither host nor host:port{hint}")
    elif ":" in text:
        host, _, port = text.partition(":")
        port = port or "?"
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r}: {port!r} is no port")
    if not is_address(host) and (not _HOST.fullmatch(host) or host.replace(".", "").isdigit()):
        raise ValueError(f"{host!r} is neither a host name nor an address")
    if needs_port and not port:
        raise ValueError(f"{text!r} needs a port, since the key's is a service name")
    return host, int(port) if port else None
