"""Who calls, by address: one caller has one name in limits and in the log, however its address is written."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.conftest import serving
from tests.server.test_wire import OPEN

LIMITED = {**OPEN, "rate_limit": {"rps": 0.001, "burst": 1}}
OWN = "127.0.0.1"  # where the tests call from, a trusted proxy here

SAME = [
    ["1.2.3.4", "::ffff:1.2.3.4", "::FFFF:1.2.3.4", "::ffff:102:304", "0:0:0:0:0:ffff:0102:0304", "1.2.3.4:1234",
     "[::ffff:1.2.3.4]:443", "[::ffff:1.2.3.4]", '"1.2.3.4"', '"[::ffff:102:304]:9"', "6.6.6.6 ,  1.2.3.4",
     "1.2.3.4,", "1.2.3.4,,127.0.0.9:8080", "unknown, 1.2.3.4", "1.2.3.4, ::ffff:127.0.0.7", "1.2.3.4:"],
    ["2001:db8::1", "2001:DB8::1", "2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8:0::1", "[2001:db8::1]:443",
     "[2001:DB8::1]", '"[2001:db8::1]:443"', "2001:db8::1%eth0", "[2001:db8::1%25eth0]:1", "2001:db8::0.0.0.1"],
]  # fmt: skip


@pytest.mark.parametrize("spellings", SAME, ids=["IPv4", "IPv6"])
async def test_one_address_is_one_caller(start: Any, upstream: Any, spellings: list[str]) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, trusted_proxies="127.0.0.0/8") as gateway:
        assert (await gateway.register(LIMITED)).status_code == 201
        got = [(await gateway.client.get("/p/a", headers={"x-forwarded-for": one})).status_code for one in spellings]
        assert got == [200] + [429] * (len(spellings) - 1)
        live = [await gateway.client.get("/-/health/live", headers={"x-forwarded-for": one}) for one in spellings]
        assert all(answer.is_success for answer in live)
    assert {line["peer"] for line in gateway.log() if line["path"] != "/register"} == {spellings[0]}


@pytest.mark.parametrize(
    "hops",
    [
        "unknown", "_hidden", '"_hidden:80"', "", ",", "1.2.3.4.5", "01.2.3.4", "1.2.3", "1.2.3.4:99999", "1.2.3.4:x",
        "1.2.3.4:80:80", "[1.2.3.4]:80", "[2001:db8::1", "[2001:db8::1]443", "[2001:db8::1]:x", "2001:db8::1::2",
        "6.6.6.6, unknown", "6.6.6.6, _hidden", "6.6.6.6, x, 127.0.0.9", "for=1.2.3.4",
        "6.6.6.6, 1.2.3.4%" + "a" * 9000, "::ffff:1.2.3.4.5", "\u00b2",
    ],
)  # fmt: skip
async def test_a_hop_that_is_no_address_ends_what_is_believed(start: Any, hops: str) -> None:
    """What stands left of it is hearsay: the last proxy that is known counts as the caller."""
    async with start(mesh={}, trusted_proxies="127.0.0.0/8") as gateway:
        await gateway.client.get("/p/a", headers={"x-forwarded-for": hops.encode()})
    [line] = gateway.log()
    assert line["peer"] in (OWN, "127.0.0.9")


async def test_who_connects_over_ipv6_with_an_ipv4_address(start: Any, upstream: Any) -> None:
    """A dual-stack listener sees such callers as ::ffff:1.2.3.4; networks and the log see 1.2.3.4."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, internal_networks="127.0.0.0/8") as gateway:
        await gateway.register({**OPEN, "rate_limit": {"rps": 0.001, "burst": 1}})
        bound = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        async with serving(gateway.app, bound) as port:
            for path in ("/p/a", "/-/health/live"):
                reader, writer = await asyncio.open_connection(OWN, port)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                async with asyncio.timeout(10):
                    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
                writer.close()
        assert (await gateway.client.get("/p/a")).status_code == 429
    assert {line["peer"] for line in gateway.log()} == {OWN}
