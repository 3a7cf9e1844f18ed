"""Whose word counts: which peers are trusted proxies, whom they say they speak for, and which host is asked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from bridge.errors import ClientError
from bridge.messages import Headers
from bridge.settings import Networks

# RFC 9110, section 7.2: reg-name, IPv4 or bracketed IPv6, and a port.
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)


def the_host(hosts: Sequence[str], http_version: str) -> tuple[str, str]:
    """The Host field as sent, and the name in it, in lower case. HTTP/1.0 may leave it out.

    :param hosts: every value that it has in the request.
    :raises ClientError: there is none, more than one, or one that is no host.
    """
    if len(hosts) == 1:
        name = _name(hosts[0])
        if name is not None:
            return hosts[0], name
    elif not hosts and http_version == "1.0":
        return "", ""
    raise ClientError("The request needs exactly one valid Host header.")


@lru_cache(maxsize=4096)
def _name(host: str) -> str | None:
    found = _HOST.fullmatch(host)
    return found[1].lower() if found else None


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
