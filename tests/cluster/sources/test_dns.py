"""Names looked up in a real DNS server of the test's own, over UDP and TCP."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import pytest

from bridge.cluster.balance import Mesh
from bridge.cluster.mesh import open_mesh
from bridge.cluster.sources import dns as room
from bridge.cluster.sources.dns import DnsSource
from bridge.errors import SettingsError, Unavailable
from bridge.transport.reach import refusal


@pytest.fixture
def source(nameserver: Any) -> Any:
    return DnsSource.from_url(nameserver.url)


async def test_a_and_aaaa(nameserver: Any, source: Any) -> None:
    nameserver.zone = {
        ("tally-svc.", "A"): ["30 10.0.0.1", "30 10.0.0.2"],
        ("tally-svc.", "AAAA"): ["60 fd00::1"],
    }
    found = await source.lookup("tally-svc", "8080")
    assert set(found.addresses) == {("10.0.0.1", 8080), ("10.0.0.2", 8080), ("fd00::1", 8080)}
    assert found.ttl == 30
    mesh = Mesh(source)
    assert {(await mesh.addresses("tally-svc", "8080"))[2] for _ in range(4)} == {("fd00::1", 8080)}


async def test_only_aaaa(nameserver: Any, source: Any) -> None:
    nameserver.zone = {("six.", "AAAA"): ["60 fd00::1"]}
    assert (await source.lookup("six", "80")).addresses == (("fd00::1", 80),)


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1), (7, 7), (86400, 300)])
async def test_ttls_are_honoured_within_bounds(nameserver: Any, source: Any, ttl: Any, kept: Any) -> None:
    nameserver.zone = {("a.", "A"): [f"{ttl} 10.0.0.1"]}
    assert (await source.lookup("a", "80")).ttl == kept


async def test_the_shortest_ttl_of_an_alias_counts(nameserver: Any, source: Any) -> None:
    nameserver.zone = {("a.", "CNAME"): ["5 b."], ("b.", "A"): ["200 10.0.0.1"]}
    found = await source.lookup("a", "80")
    assert found.addresses == (("10.0.0.1", 80),)
    assert found.ttl == 5


async def test_an_answer_is_asked_for_anew_after_its_ttl(nameserver: Any, source: Any, clock: Any) -> None:
    nameserver.zone = {("a.", "A"): ["20 10.0.0.1"]}
    mesh = Mesh(source, clock)
    assert await mesh.addresses("a", "80") == (("10.0.0.1", 80),)
    nameserver.zone = {("a.", "A"): ["20 10.0.0.2"]}
    clock.now += 19
    assert await mesh.addresses("a", "80") == (("10.0.0.1", 80),)
    clock.now += 2
    assert await mesh.addresses("a", "80") == (("10.0.0.2", 80),)


SRV = {
    ("_http._tcp.tally-svc.", "SRV"): ["30 10 60 9001 one.", "30 10 40 9002 two.", "30 20 0 9003 spare."],
    ("one.", "A"): ["60 10.0.0.1"],
    ("two.", "A"): ["12 10.0.0.2"],
    ("two.", "AAAA"): ["60 fd00::2"],
    ("spare.", "A"): ["60 10.0.0.3"],
}


async def test_a_service_name_is_looked_up_as_srv(nameserver: Any, source: Any) -> None:
    nameserver.zone = SRV
    mesh = Mesh(source)
    orders = [tuple(await mesh.addresses("tally-svc", "http")) for _ in range(100)]
    one, two, six, spare = ("10.0.0.1", 9001), ("10.0.0.2", 9002), ("fd00::2", 9002), ("10.0.0.3", 9003)
    assert Counter(order[0] for order in orders) == {one: 60, two: 40}
    assert {order[2:] for order in orders} == {(six, spare)}
    assert (await source.lookup("tally-svc", "http")).ttl == 12  # the shortest of all that were used


async def test_a_failed_priority_gives_way_to_the_next(nameserver: Any, source: Any) -> None:
    nameserver.zone = SRV
    mesh = Mesh(source)
    for address in list(await mesh.addresses("tally-svc", "http"))[:3]:
        mesh.outliers("tally-svc", "http").unreachable(address, 1000, "refused")
    assert (await mesh.addresses("tally-svc", "http"))[0] == ("10.0.0.3", 9003)


async def test_without_addresses_the_name_itself_is_asked_for_srv(nameserver: Any, source: Any) -> None:
    nameserver.zone = {("tally-svc.", "SRV"): ["30 0 0 9001 one."], ("one.", "A"): ["60 10.0.0.1"]}
    assert (await source.lookup("tally-svc", "8080")).addresses == (("10.0.0.1", 9001),)
    assert ("tally-svc.", "A", "udp") in nameserver.asked


async def test_where_there_are_addresses_srv_is_not_asked(nameserver: Any, source: Any) -> None:
    nameserver.zone = {("a.", "A"): ["30 10.0.0.1"], ("a.", "SRV"): ["30 0 0 9001 a."]}
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.1", 80),)
    assert "SRV" not in {kind for _, kind, _ in nameserver.asked}


@pytest.mark.parametrize("record", ["30 0 0 0 .", "30 0 0 80 .", "30 0 0 9001 nowhere."])
async def test_services_that_are_decidedly_not_there(nameserver: Any, source: Any, record: Any) -> None:
    nameserver.zone = {("_http._tcp.a.", "SRV"): [record]}
    assert (await source.lookup("a", "http")).addresses == ()


@pytest.mark.parametrize("port", ["80", "http"])
async def test_an_unknown_name(nameserver: Any, source: Any, port: Any) -> None:
    mesh = Mesh(source)
    with pytest.raises(Unavailable) as none:
        await mesh.addresses("unknown", port)
    assert none.value.detail == "No service answers to this route's upstream name."
    assert "unknown" in none.value.cause


@pytest.mark.parametrize(("minimum", "kept"), [(1, 1), (3, 3), (3600, 5)])
async def test_absence_is_kept_as_its_zone_says_but_never_long(
    nameserver: Any, source: Any, minimum: Any, kept: Any
) -> None:
    nameserver.soa = f"3600 ns. admin. 1 3600 600 86400 {minimum}"
    assert (await source.lookup("unknown", "80")).ttl == kept


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_failing_server_is_not_absence(
    nameserver: Any, source: Any, clock: Any, rcode: Any, caplog: Any
) -> None:
    nameserver.zone = {("a.", "A"): ["20 10.0.0.1"]}
    mesh = Mesh(source, clock)
    await mesh.addresses("a", "80")
    nameserver.rcode = rcode
    clock.now += 60
    with caplog.at_level(logging.WARNING, "bridge.mesh"):
        assert await mesh.addresses("a", "80") == (("10.0.0.1", 80),)
    assert "last addresses stay in use" in caplog.text
    with pytest.raises(Unavailable):
        await source.lookup("a", "80")


async def test_a_mute_server_ends_in_an_error_in_time(nameserver: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(room, "LIFETIME", 0.1)
    nameserver.mute = True
    with pytest.raises(Unavailable):
        await DnsSource.from_url(nameserver.url).lookup("a", "80")


async def test_one_family_that_fails_does_not_take_the_other(nameserver: Any, source: Any, monkeypatch: Any) -> Any:
    nameserver.zone = {("a.", "A"): ["20 10.0.0.1"]}
    answer = nameserver.answer

    def half(wire: Any, over: Any) -> Any:
        response = answer(wire, over)
        if response.question[0].rdtype == dns.rdatatype.AAAA:
            response.set_rcode(dns.rcode.SERVFAIL)
        return response

    monkeypatch.setattr(nameserver, "answer", half)
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.1", 80),)
    with pytest.raises(Unavailable):  # nothing of A, and AAAA can't be asked: that is not "none"
        await source.lookup("b", "80")


async def test_truncated_answers_are_asked_for_over_tcp(nameserver: Any, source: Any) -> None:
    nameserver.truncate = True
    nameserver.zone = {("a.", "A"): [f"20 10.0.{n // 250}.{n % 250 + 1}" for n in range(300)]}
    assert len((await source.lookup("a", "80")).addresses) == 300
    assert ("a.", "A", "tcp") in nameserver.asked


# --- what a name may not lead to ---------------------------------------------------------------------------------

REFUSED = {
    "A": "127.0.0.1 127.255.0.9 169.254.169.254 0.0.0.0 0.1.2.3 224.0.0.1 255.255.255.255 100.100.100.200",
    "AAAA": "::1 :: fe80::1 ff02::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: "
    "fd00:ec2::254",
}


@pytest.mark.parametrize(("kind", "address"), [(kind, one) for kind, all in REFUSED.items() for one in all.split()])
async def test_refused_addresses(nameserver: Any, source: Any, kind: Any, address: Any, caplog: Any) -> None:
    nameserver.zone = {("evil.", kind): [f"30 {address}"]}
    mesh = Mesh(source)
    with caplog.at_level(logging.WARNING, "bridge.mesh"), pytest.raises(Unavailable) as none:
        await mesh.addresses("evil", "80")
    assert address not in none.value.detail
    assert "refused" in caplog.text


async def test_refused_behind_srv_and_beside_good_ones(nameserver: Any, source: Any) -> None:
    nameserver.zone = {
        ("_http._tcp.a.", "SRV"): ["30 0 0 80 evil.", "30 0 0 80 good."],
        ("evil.", "A"): ["30 169.254.169.254"],
        ("good.", "A"): ["30 10.0.0.1", "30 127.0.0.1"],
    }
    assert (await source.lookup("a", "http")).addresses == (("10.0.0.1", 80),)


async def test_loopback_can_be_allowed_and_nothing_else_with_it(nameserver: Any, tmp_path: Any) -> None:
    nameserver.zone = {("a.", "A"): ["30 127.0.0.1", "30 169.254.169.254"], ("a.", "AAAA"): ["30 ::ffff:127.0.0.1"]}
    mesh = open_mesh(nameserver.url + "?loopback=allow", tmp_path)
    assert set(await mesh.addresses("a", "80")) == {("127.0.0.1", 80), ("::ffff:127.0.0.1", 80)}
    await mesh.aclose()


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "8.8.8.8", "fd00::1", "2001:db8::1", "100.64.0.1"]
)
def test_what_services_have_is_fine(address: Any) -> None:
    assert refusal(address) == ""


@pytest.mark.parametrize("text", ["", "name", "1.2.3", "2130706433", "0x7f000001"])
def test_what_is_no_address_is_refused(text: Any) -> None:
    assert refusal(text) == "no address"


# --- search lists ------------------------------------------------------------------------------------------------


async def test_a_server_of_ones_own_is_asked_for_absolute_names(nameserver: Any, source: Any) -> None:
    await source.lookup("a", "80")
    assert {name for name, _, _ in nameserver.asked} == {"a."}


async def test_the_search_list_of_resolv_conf_holds(nameserver: Any, monkeypatch: Any) -> None:
    """A pod's short names work because its resolv.conf brings a search list."""
    source = DnsSource.from_url(nameserver.url + "?search=on")
    source._resolver.search = [dns.name.from_text("ns.svc.cluster.local.")]
    nameserver.zone = {("tally-svc.ns.svc.cluster.local.", "A"): ["30 10.0.0.1"]}
    assert (await source.lookup("tally-svc", "80")).addresses == (("10.0.0.1", 80),)
    off = DnsSource.from_url(nameserver.url + "?search=off")
    off._resolver.search = source._resolver.search
    assert (await off.lookup("tally-svc", "80")).addresses == ()


async def test_the_hosts_own_servers_by_default(monkeypatch: Any, tmp_path: Any) -> None:
    configured: list[Any] = []

    def read(self: Any, f: Any) -> None:
        configured.append(f)
        self.nameservers = ["10.9.9.9"]

    monkeypatch.setattr(
        "dns.resolver.BaseResolver.read_resolv_conf",
        read,
    )
    source = DnsSource.from_url("dns:")
    assert configured == ["/etc/resolv.conf"]
    assert source._search
    assert not DnsSource.from_url("dns:?search=off")._search


def test_a_host_without_servers_is_told(monkeypatch: Any, tmp_path: Any) -> None:
    def nothing(self: Any, f: Any) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("dns.resolver.BaseResolver.read_resolv_conf", nothing)
    with pytest.raises(SettingsError, match="names no DNS server"):
        open_mesh("dns:", tmp_path)
