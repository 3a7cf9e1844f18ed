"""`ip` of a route: who may call by address, behind proxies too, and what is wrong with a list."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bridge.api.spec.ip import MAX_NETWORKS, IpRules
from bridge.api.spec.route import RouteSpec
from bridge.config.settings import load
from bridge.gateway.table import spec_json
from bridge.stages.addresses import AddressRules
from tests.conftest import Running, Start, Upstream

SPEC = "route: /{name}\nupstream: svc:80\nauth: {auth}\ntransform: {{request: passthrough}}\nip: {ip}\n"


def rules(**lists: Any) -> AddressRules:
    return AddressRules(IpRules.model_validate(lists))


@pytest.mark.parametrize(
    ("lists", "address", "admitted"),
    [
        ({"allow": ["192.0.2.0/24"]}, "192.0.2.0", True),
        ({"allow": ["192.0.2.0/24"]}, "192.0.2.255", True),
        ({"allow": ["192.0.2.0/24"]}, "192.0.3.0", False),
        ({"allow": ["192.0.2.7"]}, "192.0.2.7", True),
        ({"allow": ["192.0.2.7"]}, "192.0.2.8", False),
        ({"deny": ["192.0.2.7"]}, "192.0.2.7", False),
        ({"deny": ["192.0.2.7"]}, "192.0.2.8", True),
        ({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}, "192.0.2.7", False),
        ({"allow": ["192.0.2.7"], "deny": ["192.0.2.0/24"]}, "192.0.2.7", False),
        ({"allow": ["2001:db8::/32"]}, "2001:db8::1", True),
        ({"allow": ["2001:db8::/32"]}, "2001:db9::1", False),
        ({"allow": ["2001:db8::/32"]}, "192.0.2.7", False),
        # One address has several spellings; RFC 4291, section 2.5.5.2, and the zones of section 11 of RFC 4007.
        ({"allow": ["192.0.2.0/24"]}, "::ffff:192.0.2.7", True),
        ({"deny": ["192.0.2.0/24"]}, "::ffff:c000:207", False),
        ({"deny": ["::ffff:192.0.2.0/120"]}, "192.0.2.7", False),
        ({"allow": ["::ffff:0:0/96"]}, "8.8.8.8", True),
        ({"deny": ["fe80::/10"]}, "fe80::1%eth0", False),
        ({"allow": ["0.0.0.0/0"]}, "2001:db8::1", False),
        ({"allow": ["::/0"]}, "192.0.2.7", False),
        # Nothing says that what is no address is not a denied one.
        ({"deny": ["192.0.2.7"]}, "", False),
        ({"allow": ["0.0.0.0/0", "::/0"]}, "", False),
        ({"allow": ["0.0.0.0/0"]}, "unix:", False),
    ],
)
def test_who_is_admitted(lists: dict[str, list[str]], address: str, admitted: bool) -> None:
    assert rules(**lists).admit(address) is admitted


@pytest.mark.parametrize(
    ("ip", "key", "reason"),
    [
        ({}, "ip", "it needs allow or deny"),
        ({"deny": []}, "ip", "it needs allow or deny"),
        ({"allow": []}, "ip", "an empty allow admits nobody"),
        ({"allow": ["192.0.2.7/24"]}, "ip.allow.0", "write 192.0.2.0/24 for the network"),
        ({"allow": ["192.0.2.0/33"]}, "ip.allow.0", "is no address or network"),
        ({"deny": ["example.org"]}, "ip.deny.0", "is no address or network"),
        ({"deny": [7]}, "ip.deny.0", "is no address or network"),
        ({"deny": ["fe80::1%eth0"]}, "ip.deny.0", "is no address or network"),
        ({"deny": [""]}, "ip.deny.0", "is no address or network"),
        ({"deny": "192.0.2.0/24"}, "ip.deny", "tuple"),
        ({"deny": ["192.0.2.0/24"] * (MAX_NETWORKS + 1)}, "ip.deny", "at most"),
        ({"block": ["192.0.2.0/24"]}, "ip.block", "Extra inputs"),
    ],
)
def test_what_is_wrong_with_the_lists(ip: Any, key: str, reason: str) -> None:
    least = {"route": "/a", "upstream": "a:1", "auth": "none", "transform": {"request": "passthrough"}}
    with pytest.raises(ValidationError) as caught:
        RouteSpec.model_validate({**least, "ip": ip})
    errors = [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]
    assert [at.startswith(key) and reason in text for at, text in errors] == [True], errors


def test_a_spec_is_shown_as_it_can_be_read_again() -> None:
    least = {"route": "/a", "upstream": "a:1", "auth": "none", "transform": {"request": "passthrough"}}
    spec = RouteSpec.model_validate({**least, "ip": {"allow": ["192.0.2.7", "::ffff:10.0.0.0/104"]}})
    shown = spec_json(spec)
    assert shown["ip"] == {"allow": ["192.0.2.7/32", "10.0.0.0/8"]}
    assert RouteSpec.model_validate(shown) == spec


async def test_the_client_is_the_one_behind_trusted_proxies(start: Start, upstream: Upstream) -> None:
    routes = {
        "a.yml": SPEC.format(name="office", auth="none", ip="{allow: [203.0.113.0/24], deny: [203.0.113.66]}"),
        "b.yml": SPEC.format(name="local", auth="none", ip="{allow: [127.0.0.0/8]}"),
        "c.yml": SPEC.format(name="guarded", auth="{type: JWT}", ip="{deny: [203.0.113.66]}"),
    }
    proxies = load({"BRIDGE_TRUSTED_PROXIES": "127.0.0.1"}).trusted_proxies
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=routes, trusted_proxies=proxies) as gateway:

        async def status(path: str, forwarded: str) -> int:
            answer = await gateway.client.get(path, headers={"x-forwarded-for": forwarded})
            if answer.status_code == 403:
                problem = answer.json()
                assert problem["type"] == "urn:bridge:problem:forbidden"
                assert "203.0.113" not in answer.text
                assert "www-authenticate" not in answer.headers
            return answer.status_code

        assert await status("/office", "203.0.113.7") == 200
        assert await status("/office", "::ffff:203.0.113.7") == 200
        assert await status("/office", "203.0.113.66") == 403
        assert await status("/office", "203.0.113.7, 198.51.100.1") == 403  # the last one is the proxy's own word
        assert await status("/office", "unknown") == 403
        assert await status("/local", "203.0.113.7") == 403
        assert (await gateway.client.get("/local")).status_code == 200
        # Before auth: whoever may not call learns nothing of the credentials that the route takes.
        assert await status("/guarded", "203.0.113.66") == 403
        assert await status("/guarded", "203.0.113.7") == 401
    assert len(upstream.seen) == 3


async def test_without_trusted_proxies_nobody_chooses_an_address(start: Start, upstream: Upstream) -> None:
    routes = {"a.yml": SPEC.format(name="a", auth="none", ip="{allow: [203.0.113.0/24]}")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        for name in ("x-forwarded-for", "x-real-ip", "forwarded"):
            answer = await gateway.client.get("/a", headers={name: "203.0.113.7"})
            assert answer.status_code == 403
    assert [line["cause"] for line in gateway.log()] == ["the route's ip does not admit it"] * 3
    assert not upstream.seen


async def test_a_publisher_gets_the_place_of_a_wrong_network(gateway: Running) -> None:
    spec = {"route": "/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
    answer = await gateway.register({**spec, "ip": {"deny": ["192.0.2.7/24"]}})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {
            "pointer": "/ip/deny/0",
            "reason": "'192.0.2.7/24' is an address within a network; write 192.0.2.0/24 for the network",
        }
    ]
