"""Which addresses a name may lead to when the name's owner is not the operator (SSRF).

Private networks are fine, services live there. What is refused is what no service of another host can have, and the
addresses where clouds serve credentials to whoever asks from inside.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: Cloud metadata and host agents outside the link-local range, which covers the usual 169.254.169.254.
METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")))

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1; deprecated, yet some stacks still route it


def refused(address: str, *, loopback: bool = False) -> str:
    """Why nothing may be sent to `address`; ``""`` when it may. `loopback` allows 127.0.0.0/8 and ::1.

    An IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo) is judged as itself.
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


def _inside(ip: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(ip, IPv4Address):
        return []
    found = [ip.ipv4_mapped, ip.sixtofour, ip.teredo and ip.teredo[1]]
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        found.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]
