"""Which addresses a name may resolve to when its owner is not the operator (SSRF).

For services of the mesh (`refusal`) private networks are allowed, since services run there. Refused are addresses that
a service on another host can't have, and those at which clouds serve credentials to any local client. For contracts by
URL (`fetch_refusal`) private networks are refused as well, unless the operator lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

#: Cloud metadata and host agents outside the link-local range, which covers the usual 169.254.169.254.
METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")))

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1; deprecated, yet some stacks still route it

#: Non-public addresses, by IANA's special-purpose registries (RFC 6890). Of IPv6 only 2000::/3 is public.
#: A literal list, since ``ipaddress.is_global`` differs between versions of Python.
_SPECIAL = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
_PUBLIC6 = IPv6Network("2000::/3")


def refusal(address: str, *, loopback: bool = False) -> str:
    """Why nothing may be sent to `address`; ``""`` if it is allowed. `loopback` allows 127.0.0.0/8 and ::1.

    An IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo) is checked itself.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return "no address"
    for inner in (ip, *_inside(ip)):
        if inner in METADATA:
            return "metadata service"
        if inner.is_loopback:
            if not loopback:
                return "loopback"
        elif inner.is_link_local:
            return "link-local"
        elif inner.is_multicast:
            return "multicast"
        elif inner.is_unspecified or (inner.version == 4 and (inner.packed[0] == 0 or inner.packed[0] >= 240)):
            return "no unicast address"
    return ""


def named_refusal(host: str, address: str) -> str:
    """Why nothing is sent to `address`, to which the name `host` leads; ``""`` if it is allowed. For names that the
    operator wrote, and whose owners decide where they lead. Loopback is for ``localhost`` alone (RFC 6761, section
    6.3)."""
    return refusal(address, loopback=host.rstrip(".").lower().rpartition(".")[2] == "localhost")


def fetch_refusal(address: str, networks: Sequence[IPv4Network | IPv6Network] = ()) -> str:
    """Why nothing is fetched from `address`; ``""`` if it is allowed.

    :param networks: the operator's, from which contracts may be fetched although they are not public. They may include
        loopback and private addresses; metadata services, link-local, multicast and unspecified addresses stay refused.
    """
    reason = refusal(address, loopback=True)
    if reason:
        return reason
    ip = ip_address(address.partition("%")[0])
    # By NAT64, a host without IPv4 reaches public IPv4 addresses. Services have no other addresses of this kind.
    for candidate in _inside(ip) if ip in _NAT64 else (ip, *_inside(ip)):
        if not _is_public(candidate) and not any(candidate in network for network in networks):
            return "loopback" if candidate.is_loopback else "no public address"
    return ""


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv6Address) and ip not in _PUBLIC6:
        return False
    return not any(ip in network for network in _SPECIAL)


def _inside(ip: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(ip, IPv4Address):
        return []
    inner = [ip.ipv4_mapped, ip.sixtofour, ip.teredo and ip.teredo[1]]
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        inner.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return [address for address in inner if address is not None]
