"""Where a mesh name's addresses come from: one Protocol, one file for each kind of source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

#: An IP address as text (IPv6 without brackets) and a TCP port.
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What a source knows of one name and port.

    :ivar addresses: each one once. Empty is an answer too: the source is sure that nothing is there.
    :ivar ttl: for how many seconds the answer may be kept.
    :ivar ranks: beside `addresses`, ``(priority, weight)`` of each with the meaning of SRV (RFC 2782): the lowest
        priority is used while any of it lives, weights are shares within one priority. ``()``: all are equal.
    :ivar cause: why there are none; for the log, never for the client.
    """

    addresses: tuple[Address, ...]
    ttl: float
    ranks: tuple[tuple[int, int], ...] = ()
    cause: str = ""


class MeshSource(Protocol):
    """A register of services. One exists per gateway process, and all its I/O is asynchronous."""

    async def lookup(self, name: str, port: str) -> LookupResult:
        """The live addresses of `name`; `port` is a number, or a service name such as ``http``.

        :raises bridge.errors.Unavailable: the register can't be asked. Old answers then stay good for a while, unlike
            after an empty `LookupResult`.
        """
        ...

    async def aclose(self) -> None:
        """Give back what was taken."""
        ...
