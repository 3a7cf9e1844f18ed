"""Whose word counts: which peers are trusted proxies, and whom they say they speak for."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from bridge.settings import Networks
from bridge.transformer import Headers


@lru_cache(maxsize=65536)
def within(address: str, networks: Networks) -> bool:
    """Is `address` in one of `networks`? Text that is no address is in none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def client_address(peer: str, headers: Headers, proxies: Networks) -> tuple[str, bool]:
    """The caller's own address and whether `peer` is a trusted proxy.

    ``X-Forwarded-For`` is read from the right, past every trusted proxy; what stands further left is hearsay.
    """
    if not within(peer, proxies):
        return peer, False
    hops: Sequence[str] = [
        hop.strip() for name, value in headers if name == "x-forwarded-for" for hop in value.split(",")
    ]
    for hop in reversed(hops):
        try:
            ipaddress.ip_address(hop)
        except ValueError:
            break
        if not within(hop, proxies):
            return hop, True
        peer = hop
    return peer, True
