"""The client's address behind trusted proxies, and the host that a request is for."""

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
    """The Host field as sent, and the name in it, in lower case and without a final dot (`a.` is `a`). HTTP/1.0 may
    leave it out.

    :param hosts: all its values in the request.
    :raises ClientError: there is none, more than one, or an invalid one.
    """
    if len(hosts) == 1:
        authority = host_and_port(hosts[0])
        if authority is not None:
            return hosts[0], authority[0]
    elif not hosts and http_version == "1.0":
        return "", ""
    raise ClientError("The request needs exactly one valid Host header.")


@lru_cache(maxsize=4096)
def host_and_port(host: str) -> tuple[str, int | None] | None:
    """Name and port of a Host field; None if it is invalid.

    :raises ClientError: it is too long. (Exceptions are not cached, so clients can't fill the cache with long texts.)
    """
    if len(host) > _LONGEST_HOST:
        raise ClientError("The request needs exactly one valid Host header.")
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    name = match[1].lower().removesuffix(".")
    port = int(match[2]) if match[2] else None
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            return None
    return None if not name or (port or 0) > _MOST_PORT else (name, port)


def valid_authority(text: str) -> bool:
    """Whether `text` may be the value of a Host field."""
    return len(text) <= _LONGEST_HOST and host_and_port(text) is not None


def hostname(host: str) -> str:
    """The name in a Host field that is valid, in lower case, without brackets and port."""
    return host[1:].partition("]")[0].lower() if host.startswith("[") else host.partition(":")[0].lower()


def hops_of(peer: str, headers: Headers, proxies: Networks) -> list[str]:
    """The addresses on a request's way, the caller's (`client_address`) first and `peer` last; no address that can't be
    trusted. Empty if `peer` is none."""
    peer = canonical(peer)
    hops = [peer] if peer else []
    if not within(peer, proxies):
        return hops
    texts = [hop.strip() for name, value in headers if name == "x-forwarded-for" for hop in value.split(",")]
    for text in reversed(texts):
        if not text:
            continue
        address = _hop(text) if len(text) <= _LONGEST_HOP else ""
        if not address:
            break
        hops.insert(0, address)
        if not within(address, proxies):
            break
    return hops


def absolute_target(target: str, hosts: Sequence[str], http_version: str) -> tuple[str, str, str]:
    """Path, query and authority of a request target in absolute-form (RFC 9112, section 3.2.2).

    By this section the target's authority counts, and clients send the same as Host. Different values are used for
    attacks on systems with two parsers, so they are refused. HTTP/1.0 may leave Host out.

    :param hosts: all values of Host in the request.
    :raises ClientError: the target is not an http or https URL, names a user, or differs from Host; or Host is missing.
    """
    if target == "*":  # asterisk-form (section 3.2.4)
        raise ClientError("OPTIONS is answered for a path, not for the server as a whole (*).")
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise ClientError("The request target must be a path, or a whole http or https URL without a fragment.")
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
    if "@" in authority:
        raise ClientError("The request target must not hold user information.")
    target_host = host_and_port(authority)
    if target_host is None:
        raise ClientError("The request target names no valid host.")
    if hosts or http_version != "1.0":
        field_host = host_and_port(the_host(hosts, http_version)[0])
        default = _PORTS[scheme]
        if field_host is None or (field_host[0], field_host[1] or default) != (
            target_host[0],
            target_host[1] or default,
        ):
            raise ClientError("The Host header and the request target name different hosts.")
    return path, query, authority


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 address, or an IPv6 address without brackets."""
    if ":" not in text and not text.replace(".", "").isdigit():
        return False  # as nearly every name is, found without an exception
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


#: RFC 1122 (section 3.2.1.3), 1918, 3927 and 6598; RFC 4193 and 4291.
_INTERNAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "::/127", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip


def is_internal(host: str) -> bool:
    """Whether `host` is ``localhost`` or an address that means something else, or nothing, in other networks."""
    return host == "localhost" or (is_address(host) and within(host, _INTERNAL))


@lru_cache(maxsize=65536)
def canonical(address: str) -> str:
    """The canonical form of an IP address (RFC 5952): without a zone; IPv4-mapped IPv6 addresses (RFC 4291, section
    2.5.5.2) as IPv4. Other text is returned unchanged."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return str(ip)


@lru_cache(maxsize=65536)
def within(address: str, networks: Networks) -> bool:
    """Whether `address` is in one of `networks`; False for other text."""
    try:
        ip = ipaddress.ip_address(canonical(address))
    except ValueError:
        return False
    return any(ip in network for network in networks)


# An address, with a port where some proxies write one, quoted as in Forwarded (RFC 7239, section 6) or not.
_HOP = re.compile(
    r'("?)(?:\[([0-9A-Fa-f:.]+)(?:%[^]]*)?\](?::(\d{0,5}))?|([0-9.]+)(?::(\d{0,5}))?|([0-9A-Fa-f:.]+(?:%.*)?))\1',
    re.ASCII,
)


@lru_cache(maxsize=65536)
def _hop(text: str) -> str:
    """The address in a hop of ``X-Forwarded-For``; ``""`` if there is none (``unknown``, ``_hidden``)."""
    match = _HOP.fullmatch(text)
    if match is None:
        return ""
    ipv6, plain = match[2], match[4] or match[6]
    if int(match[3] or match[5] or 0) > _MOST_PORT:
        return ""
    try:
        if ipv6:
            ipaddress.IPv6Address(ipv6)
        else:
            ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return ""
    return canonical(ipv6 or plain)


def client_address(peer: str, headers: Headers, proxies: Networks) -> tuple[str, bool]:
    """The caller's own address in its canonical form, and whether `peer` is a trusted proxy.

    ``X-Forwarded-For`` is read from the right, past trusted proxies and empty elements (RFC 9110, section 5.6.1.2), up
    to the first other address. Elements to the left of that, or of a hop without an address, can't be trusted.
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
