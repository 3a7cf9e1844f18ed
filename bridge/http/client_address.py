"""Whose word counts: which peers are trusted proxies, whom they say they speak for, and which host is asked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from bridge.errors import ClientError

Headers = Sequence[tuple[str, str]]
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

# RFC 9110, section 7.2: reg-name, IPv4 or bracketed IPv6, and a port, which may be empty (RFC 3986, section 3.2.3).
_HOST = re.compile(r"([A-Za-z0-9._-]{1,254}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{0,5}))?", re.ASCII)
_MOST_PORT = 65535
_LONGEST_HOST, _LONGEST_HOP = 300, 100  # characters
_ABSOLUTE = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.ASCII | re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


def the_host(hosts: Sequence[str], http_version: str) -> tuple[str, str]:
    """The Host field as sent, and the name in it, in lower case and without the dot that may end it (`a.` is `a`).
    HTTP/1.0 may leave it out.

    :param hosts: every value that it has in the request.
    :raises ClientError: there is none, more than one, or one that is no host.
    """
    if len(hosts) == 1:
        found = _authority(hosts[0])
        if found is not None:
            return hosts[0], found[0]
    elif not hosts and http_version == "1.0":
        return "", ""
    raise ClientError("The request needs exactly one valid Host header.")


@lru_cache(maxsize=4096)
def _authority(host: str) -> tuple[str, int | None] | None:
    """Name and port of what a Host field holds; None where it is no host.

    :raises ClientError: it is longer than any host. (What is raised is not remembered: a client chooses this text.)
    """
    if len(host) > _LONGEST_HOST:
        raise ClientError("The request needs exactly one valid Host header.")
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    name = found[1].lower().removesuffix(".")
    port = int(found[2]) if found[2] else None
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            return None
    return None if not name or (port or 0) > _MOST_PORT else (name, port)


def absolute_target(target: str, hosts: Sequence[str], http_version: str) -> tuple[str, str, str]:
    """Path, query and authority of a request target in absolute-form (RFC 9112, section 3.2.2).

    The section lets the target's authority count and has clients send the same as Host. Whoever sends two that differ
    wants one of two readers to take one for the other, so they must agree. HTTP/1.0 may leave Host out.

    :param hosts: every value that Host has in the request.
    :raises ClientError: the target is no http or https URL, names a user, or differs from Host; or Host is missing.
    """
    if target == "*":  # asterisk-form (section 3.2.4)
        raise ClientError("OPTIONS is answered for a path, not for the server as a whole (*).")
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise ClientError("The request target must be a path, or a whole http or https URL without a fragment.")
    scheme, authority, path, query = found[1].lower(), found[2], found[3], found[4] or ""
    if "@" in authority:
        raise ClientError("The request target must not hold user information.")
    asked = _authority(authority)
    if asked is None:
        raise ClientError("The request target names no valid host.")
    if hosts or http_version != "1.0":
        said = _authority(the_host(hosts, http_version)[0])
        default = _PORTS[scheme]
        if said is None or (said[0], said[1] or default) != (asked[0], asked[1] or default):
            raise ClientError("The Host header and the request target name different hosts.")
    return path, query, authority


@lru_cache(maxsize=65536)
def canonical(address: str) -> str:
    """The one spelling of an IP address (RFC 5952): without a zone, and as IPv4 where it is one that is mapped into
    IPv6 (RFC 4291, section 2.5.5.2). Text that is no address stays as it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(found)


@lru_cache(maxsize=65536)
def within(address: str, networks: Networks) -> bool:
    """Is `address` in one of `networks`? Text that is no address is in none."""
    try:
        found = ipaddress.ip_address(canonical(address))
    except ValueError:
        return False
    return any(found in network for network in networks)


# An address, with a port where some proxies write one, quoted as in Forwarded (RFC 7239, section 6) or not.
_HOP = re.compile(
    r'("?)(?:\[([0-9A-Fa-f:.]+)(?:%[^]]*)?\](?::(\d{0,5}))?|([0-9.]+)(?::(\d{0,5}))?|([0-9A-Fa-f:.]+(?:%.*)?))\1',
    re.ASCII,
)


@lru_cache(maxsize=65536)
def _hop(text: str) -> str:
    """The address that a hop of ``X-Forwarded-For`` names; ``""`` where it names none (``unknown``, ``_hidden``)."""
    found = _HOP.fullmatch(text)
    if found is None:
        return ""
    bracketed, plain = found[2], found[4] or found[6]
    if int(found[3] or found[5] or 0) > _MOST_PORT:
        return ""
    try:
        if bracketed:
            ipaddress.IPv6Address(bracketed)
        else:
            ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return ""
    return canonical(bracketed or plain)


def client_address(peer: str, headers: Headers, proxies: Networks) -> tuple[str, bool]:
    """The caller's own address in its canonical spelling, and whether `peer` is a trusted proxy.

    ``X-Forwarded-For`` is read from the right, past every trusted proxy and past empty elements, which are none (RFC
    9110, section 5.6.1.2). What stands left of a stranger, or of a hop that names no address, is hearsay.
    """
    peer = canonical(peer)
    if not within(peer, proxies):
        return peer, False
    hops = [hop.strip() for name, value in headers if name == "x-forwarded-for" for hop in value.split(",")]
    for hop in reversed(hops):
        if not hop:
            continue
        address = _hop(hop) if len(hop) <= _LONGEST_HOP else ""
        if not address:
            break
        if not within(address, proxies):
            return address, True
        peer = address
    return peer, True
