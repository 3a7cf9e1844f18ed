"""Where a mesh name's addresses come from: one Protocol, one file for each kind of source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.api.transport import Address


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What a source knows of one name and port.

    :ivar addresses: without duplicates. Empty where the source knows that there are none.
    :ivar ttl: for how many seconds the answer may be kept.
    :ivar ranks: beside `addresses`, ``(priority, weight)`` of each with the meaning of SRV (RFC 2782): the lowest
        priority is used while any of it lives, weights are shares within one priority. ``()``: all are equal.
    :ivar cause: why there are none; for the log, never for a client.
    """

    addresses: tuple[Address, ...]
    ttl: float
    ranks: tuple[tuple[int, int], ...] = ()
    cause: str = ""


class MeshSource(Protocol):
    """A register of services. There is one for each gateway process, and all its I/O is asynchronous."""

    async def lookup(self, name: str, port: str) -> LookupResult:
        """The live addresses of `name`; `port` is a number, or a service name such as ``http``.

        :raises bridge.errors.Unavailable: the register can't be asked. Old answers are then used for a while; after an
            empty `LookupResult` they are not.
        """
        ...

    async def aclose(self) -> None:
        """Close what it holds open."""
        ...
