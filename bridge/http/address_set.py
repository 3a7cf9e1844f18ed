"""Many networks as one set, so that a lookup costs the same for one as for a thousand."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressSet:
    """All addresses of `networks`.

    :ivar _starts, _ends: by IP version, the first and last address of each range; sorted and without overlaps.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in networks:
            ranges[network.version].append((int(network.network_address), int(network.broadcast_address)))
        merged = {version: _merged(sorted(items)) for version, items in ranges.items()}
        self._starts = {version: [first for first, _ in items] for version, items in merged.items()}
        self._ends = {version: [last for _, last in items] for version, items in merged.items()}

    def __contains__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        number = int(address)
        at = bisect_right(self._starts[address.version], number) - 1
        return at >= 0 and number <= self._ends[address.version][at]


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged
