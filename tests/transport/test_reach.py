"""Which addresses contracts may be fetched from."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bridge.transport.reach import fetch_refusal

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "11.0.0.0",
    "223.255.255.255", "2606:4700::1111", "2a00::1", "64:ff9b::808:808",
]  # fmt: skip
NOT_PUBLIC = [
    "127.0.0.1", "127.255.255.255", "::1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "fc00::1", "fd12::1", "fec0::1", "2001:2::1", "2001:db8::1", "3fff::1", "2002:808:808::1", "100::1",
    "64:ff9b:1::808:808", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a00:1", "5f00::1", "4000::1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255",
    "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:0.0.0.0",
    "2001:0:0:0:0:0:5601:5601", "example.com", "",
]  # fmt: skip
EVERYWHERE = [ip_network("0.0.0.0/0"), ip_network("::/0")]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert not fetch_refusal(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_others_only_by_setting(address: str) -> None:
    assert fetch_refusal(address)
    assert not fetch_refusal(address, EVERYWHERE)


@pytest.mark.parametrize("address", NEVER)
def test_some_not_even_by_setting(address: str) -> None:
    assert fetch_refusal(address)
    assert fetch_refusal(address, EVERYWHERE)


def test_a_listed_network_opens_no_other() -> None:
    assert not fetch_refusal("10.1.2.3", [ip_network("10.1.0.0/16")])
    for address in ("10.2.0.1", "127.0.0.1", "fd00::1"):
        assert fetch_refusal(address, [ip_network("10.1.0.0/16")])
    # A mapped address is another way to the same place, for which IPv6 must be listed as well.
    assert fetch_refusal("::ffff:10.1.2.3", [ip_network("10.1.0.0/16")])
    assert not fetch_refusal("64:ff9b::a01:203", [ip_network("10.1.0.0/16")])
