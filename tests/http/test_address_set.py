"""Sets of networks, compared with the plain question to each network."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from bridge.http.address_set import AddressSet


def _networks(version: int, bits: int) -> st.SearchStrategy[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    make = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    # Few distinct numbers, so that networks touch, overlap and contain one another.
    near = st.one_of(st.integers(0, 40), st.integers(2**bits - 40, 2**bits - 1), st.integers(0, 2**bits - 1))
    return st.builds(lambda number, prefix: make((number, prefix), strict=False), near, st.integers(bits - 6, bits))


NETWORKS = st.lists(st.one_of(_networks(4, 32), _networks(6, 128)), max_size=12)
ADDRESSES = st.one_of(
    st.integers(0, 60).map(ipaddress.IPv4Address),
    st.integers(0, 60).map(ipaddress.IPv6Address),
    st.integers(2**32 - 60, 2**32 - 1).map(ipaddress.IPv4Address),
    st.ip_addresses(),
)


@given(NETWORKS, st.lists(ADDRESSES, min_size=1, max_size=20))
def test_it_holds_what_one_of_its_networks_holds(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
) -> None:
    found = AddressSet(networks)
    edges = [edge for network in networks for edge in (network[0], network[-1])]
    for address in [*addresses, *edges]:
        assert (address in found) == any(address in network for network in networks), address


def test_everything_and_nothing() -> None:
    everything = AddressSet([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")])
    nothing = AddressSet([])
    for text in ("0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"):
        assert ipaddress.ip_address(text) in everything
        assert ipaddress.ip_address(text) not in nothing
