"""The sources of a mesh name's addresses: one Protocol, one file for each kind of source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bridge.api.transport import Address


@dataclass(frozen=True, slots=True)
class LookupResult:
    """A source's answer for one name and port.

    :ivar addresses: without duplicates. Empty if the source knows that there are none.
    :ivar ttl: seconds for which the answer may be cached.
    :ivar ranks: parallel to `addresses`, ``(priority, weight)`` of each as in SRV (RFC 2782): the lowest priority is
        used while any of its addresses is alive, weights are shares within one priority. ``()``: all are equal.
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

        :raises bridge.errors.Unavailable: the register is unavailable. Old answers are then used for some time; after
            an empty `LookupResult` they are not.
        """
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


@runtime_checkable
class Listing(Protocol):
    """A source that holds the list of all its names, so that it knows without a lookup which ones it does not have."""

    async def unlisted(self, name: str, port: str) -> str:
        """Why it has no address of `name`; ``""`` where it lists it. Nothing is resolved."""
        ...
