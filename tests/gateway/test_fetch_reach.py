"""Where a registered route can make the gateway connect to when it is bound: nowhere that the operator did not open.
Canaries on the loopback count connections; what a publisher is told is the same whatever stands at an address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.catalog.binds import PER_PUBLISHER
from bridge.errors import SetupError
from bridge.transport import fetch
from bridge_soap.transformer import FETCHING
from tests.conftest import Upstream, listening
from tests.soap_kit import WSDL_DIR

LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
XML = [("content-type", "text/xml")]
NAMESPACES = 'xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://www.w3.org/2001/XMLSchema"'
PUBLISHER = {"roles": ("api_publisher",), "sub": "pat"}


def spec(wsdl: str) -> dict[str, Any]:
    return {
        "route": "/v1/ledger",
        "upstream": "svc:80",
        "auth": {"type": "none"},
        "transform": {"request": "soap", "soap": {"wsdl": wsdl, "operation": "post"}},
    }


class Canary:
    """A listener on the loopback, over IPv4 and IPv6, that counts connections and says `banner`."""

    def __init__(self, banner: bytes = b"") -> None:
        self.port, self.connections, self._banner = 0, 0, banner

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self._banner)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def canary(banner: bytes = b"") -> AsyncIterator[Canary]:
    made = Canary(banner)
    with contextlib.ExitStack() as sockets:
        four = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        made.port = four.getsockname()[1]
        servers = [await asyncio.start_server(made, sock=four)]
        with contextlib.suppress(OSError):  # where there is no IPv6, or the port is taken there
            servers.append(await asyncio.start_server(made, "::1", made.port))
        try:
            yield made
        finally:
            for server in servers:
                server.close()


async def told(gateway: Any, wsdl: str) -> str:
    """What a publisher is told of a route on `wsdl`: the same on a dry run and at registration."""
    headers = gateway.bearer(**PUBLISHER)
    dry = await gateway.client.post("/-/routes/check", json=spec(wsdl), headers=headers)
    assert dry.status_code == 200, dry.text
    assert not dry.json()["ok"]
    put = await gateway.client.post("/register", json=spec(wsdl), headers=headers)
    assert put.status_code == 400, put.text
    (problem,) = dry.json()["problems"]
    assert problem["reason"] in [error["reason"] for error in put.json()["errors"]]
    return str(problem["reason"])


SPELLINGS = [
    "http://127.0.0.1:{port}/x.wsdl",
    "HTTP://127.0.0.1:{port}/x.wsdl",
    "http://localhost:{port}/x.wsdl",
    "http://LOCALHOST.:{port}/x.wsdl",
    "http://x.localhost:{port}/x.wsdl",
    "http://2130706433:{port}/x.wsdl",
    "http://0x7f000001:{port}/x.wsdl",
    "http://0x7f.1:{port}/x.wsdl",
    "http://017700000001:{port}/x.wsdl",
    "http://0177.0.0.1:{port}/x.wsdl",
    "http://127.1:{port}/x.wsdl",
    "http://127.0.0.1.:{port}/x.wsdl",
    "http://127.255.255.254:{port}/x.wsdl",
    "http://0:{port}/x.wsdl",
    "http://0.0.0.0:{port}/x.wsdl",
    "http://[::1]:{port}/x.wsdl",
    "http://[0:0:0:0:0:0:0:1]:{port}/x.wsdl",
    "http://[::]:{port}/x.wsdl",
    "http://[::ffff:127.0.0.1]:{port}/x.wsdl",
    "http://[::ffff:7f00:1]:{port}/x.wsdl",
    "http://[::127.0.0.1]:{port}/x.wsdl",
    "http://[64:ff9b::7f00:1]:{port}/x.wsdl",
    "http://[2002:7f00:1::]:{port}/x.wsdl",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fe80::1]:{port}/x.wsdl",
    "http://10.0.0.1:{port}/x.wsdl",
    "http://172.16.0.1:{port}/x.wsdl",
    "http://192.168.0.1:{port}/x.wsdl",
    "http://100.64.0.1:{port}/x.wsdl",
    "http://198.18.0.1:{port}/x.wsdl",
    "http://192.0.2.1:{port}/x.wsdl",
    "http://[fd00::1]:{port}/x.wsdl",
    "http://[fc00::1]:{port}/x.wsdl",
    "http://224.0.0.1:{port}/x.wsdl",
    "http://255.255.255.255:{port}/x.wsdl",
]


async def test_no_spelling_of_a_private_address_is_connected_to(gateway: Any) -> None:
    async with canary() as bird:
        for spelling in SPELLINGS:
            url = spelling.format(port=bird.port)
            assert await told(gateway, url) == f"nothing of use can be fetched from {url}"
        assert bird.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com@127.0.0.1:{port}/x.wsdl",
        "http://u:p@127.0.0.1:{port}/x.wsdl",
        "http://127.0.0.1:{port}\\@example.com/x.wsdl",
        "http://example.com\\@127.0.0.1:{port}/x.wsdl",
        "http://127.0.0.1\t:{port}/x.wsdl",
        "ht\ntp://127.0.0.1:{port}/x.wsdl",
        "http://127.0.0.1:{port}/x.wsdl\r\nX-A: b",
        " http://127.0.0.1:{port}/x.wsdl",
        "//127.0.0.1:{port}/x.wsdl",
        "http:///127.0.0.1:{port}/x.wsdl",
        "http:127.0.0.1:{port}/x.wsdl",
        "http://[::1%25lo]:{port}/x.wsdl",
        "http://127%2e0%2e0%2e1:{port}/x.wsdl",
        "http://\uff11\uff12\uff17.0.0.1:{port}/x.wsdl",
        "http://\u24db\u24deca\u24dbhost:{port}/x.wsdl",
        "http://127\u30020.0.1:{port}/x.wsdl",
        "http://127.0.0.1:0{port}00/x.wsdl",
        "ftp://127.0.0.1:{port}/x.wsdl",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "gopher://127.0.0.1:{port}/_x",
        "unix:/var/run/docker.sock",
    ],
)
async def test_urls_that_two_parsers_could_read_differently(gateway: Any, url: str) -> None:
    async with canary() as bird:
        await told(gateway, url.format(port=bird.port))
        assert bird.connections == 0


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names that end in ``.test`` lead to `answers`, one list a lookup and the last for all further, and
    ``nowhere.test`` to nothing; the names that were asked for."""
    real, asked, left = socket.getaddrinfo, list[str](), list(answers)

    def lookup(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if not str(host).endswith(".test"):
            return real(host, port, *args, **more)
        if host == "nowhere.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        asked.append(str(host))
        found = left.pop(0) if len(left) > 1 else left[0]
        return [entry for address in found for entry in real(address, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


async def test_a_name_that_changes_its_answer_is_asked_once(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the judged address is the one that is connected to."""
    async with canary() as bird, listening(Upstream(body=LEDGER.encode(), headers=XML)) as port:
        asked = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        # Only the first answer is open; the second is where the canary would be met.
        async with start(mesh={}, fetch_networks="127.0.0.1") as gateway:
            made = await gateway.register(spec(f"http://rebind.test:{port}/x.wsdl"))
            assert made.status_code == 201, made.text
            assert asked == ["rebind.test"]
            assert "nothing of use" in await told(gateway, f"http://rebind.test:{bird.port}/x.wsdl")
            assert bird.connections == 0


async def test_of_several_addresses_only_the_open_ones(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["127.0.0.2", "10.9.9.9", "::1", "127.0.0.1"])
    service = Upstream(body=LEDGER.encode(), headers=XML)
    async with listening(service) as port, start(mesh={}, fetch_networks="127.0.0.1/32") as gateway:
        made = await gateway.register(spec(f"http://Many.test:{port}/a%20b.wsdl?x=1"))
        assert made.status_code == 201, made.text
        (seen,) = service.seen
        assert seen.header("host") == [f"many.test:{port}"]
        assert seen.target == "/a%20b.wsdl?x=1"


@pytest.mark.parametrize(
    "hop",
    [
        "http://127.0.0.1:{bird}/x.wsdl",
        "//127.0.0.1:{bird}/x.wsdl",
        "http://localhost:{port}/x.wsdl",
        "http://u@127.0.0.1:{port}/x.wsdl",
        "http://127.0.0.1:{port}@localhost:{bird}/x.wsdl",
        "\\\\127.0.0.1:{bird}\\x.wsdl",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/x.wsdl",
        "/loop",
    ],
)
@pytest.mark.parametrize("way", ["redirect", "wsdl:import", "xsd:import"])
async def test_what_answers_can_not_lead_elsewhere(start: Any, hop: str, way: str) -> None:
    service = Upstream()

    async def answer(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        target = hop.format(bird=bird.port, port=service.port)
        if way == "redirect":
            return 302, [("location", target)], b""
        schema = f'<s:schema><s:import namespace="urn:x" schemaLocation="{target}"/></s:schema>'
        inner = {
            "wsdl:import": f'<wsdl:import namespace="urn:x" location="{target}"/>',
            "xsd:import": f"<wsdl:types>{schema}</wsdl:types>",
        }[way]
        text = f"<wsdl:definitions {NAMESPACES}>{inner}</wsdl:definitions>"
        return 200, XML, text.encode()

    service.answer = answer
    async with canary() as bird, listening(service) as service.port:
        async with start(mesh={}, fetch_networks="127.0.0.1") as gateway:
            await told(gateway, f"http://127.0.0.1:{service.port}/x.wsdl")
        assert bird.connections == 0
        # Only itself was asked, and no more than a few times: a dry run and a registration.
        assert {seen.header("host")[0] for seen in service.seen} == {f"127.0.0.1:{service.port}"}
        assert len(service.seen) <= 2 * (fetch.MAX_REDIRECTS + 1)


FOLLOWED = [
    '<import namespace="urn:x" location="{url}"/>',
    '<types><s:schema targetNamespace="urn:ledger"><s:include schemaLocation="{url}"/></s:schema></types>',
    '<types><s:schema targetNamespace="urn:ledger"><s:redefine schemaLocation="{url}"/></s:schema></types>',
    '<types><s:schema><s:import namespace="urn:x" schemaLocation=" {url} "/></s:schema></types>',
    '<types><s:schema><s:import namespace="urn:x" schemaLocation="near.xsd"/></s:schema></types>',
]
NEAR = '<schema xmlns="http://www.w3.org/2001/XMLSchema"><import namespace="urn:y" schemaLocation="{url}"/></schema>'


@pytest.mark.parametrize("inner", FOLLOWED)
async def test_no_url_is_followed_out_of_a_file(start: Any, inner: str) -> None:
    """Nor is it for the operator: whoever wrote the contract is another."""
    async with canary() as bird:
        url = f"HTTP://127.0.0.1:{bird.port}/x"
        text = (
            f"<definitions {NAMESPACES} xmlns='http://schemas.xmlsoap.org/wsdl/'>{inner.format(url=url)}</definitions>"
        )
        files = {"wsdl/a.wsdl": text, "wsdl/near.xsd": NEAR.format(url=url)}
        async with start(mesh={}, files=files, fetch_networks="127.0.0.0/8,::1") as gateway:
            await told(gateway, "a.wsdl")
        with pytest.raises(SetupError):
            async with start(mesh={}, routes={"a.yml": json.dumps(spec("a.wsdl"))}, fetch_networks="127.0.0.0/8,::1"):
                pytest.fail("it started")
        assert bird.connections == 0


# --- what a publisher is told ----------------------------------------------------------------------------------------


def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return int(gone.getsockname()[1])


async def test_a_publisher_can_not_tell_an_open_port_from_a_closed_one(
    start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetch, "READ", 0.05)
    monkeypatch.setattr(fetch, "MAX_BYTES", 1000)
    resolving(monkeypatch, ["127.0.0.1"])
    answers: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {
        "/404": (404, [], b""),
        "/401": (401, [("www-authenticate", "Basic")], b""),
        "/500": (500, [], b"secret-inside"),
        "/204": (204, [], b""),
        "/304": (304, [("location", "/x")], b""),
        "/away": (302, [("location", "http://127.0.0.1:1/")], b""),
        "/loop": (302, [("location", "/loop")], b""),
        "/html": (200, [("content-type", "text/html")], b"<!doctype html><html><body>secret-inside</body></html>"),
        "/text": (200, [], b"secret-inside"),
        "/xml": (200, XML, b"<secret-inside/>"),
        "/empty": (200, XML, b""),
        "/large": (200, XML, b"x" * 2000),
        "/coded": (200, [("content-encoding", "gzip")], b"secret-inside"),
        "/br": (200, [("content-encoding", "br")], b"secret-inside"),
    }

    async def answer(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        return answers[request.target]

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the gateway gives up
        writer.close()

    hanging = await asyncio.start_server(silence, "127.0.0.1", 0)
    hung = hanging.sockets[0].getsockname()[1]
    async with (
        hanging,
        canary(b"SSH-2.0-OpenSSH_9.2p1\r\n") as ssh,
        canary() as hangs_up,
        listening(Upstream(answer=answer)) as port,
        start(mesh={}, fetch_networks="127.0.0.1") as gateway,
    ):
        urls = [
            *(f"http://127.0.0.1:{port}{path}" for path in answers),
            f"https://127.0.0.1:{port}/",  # not TLS
            *(f"http://127.0.0.1:{each}/" for each in (closed(), hung, ssh.port, hangs_up.port)),
            f"http://name.test:{port}/404",
            f"http://name.test:{closed()}/",
            "http://nowhere.test/",
            f"http://127.0.0.2:{port}/404",  # not opened
            f"http://10.0.0.1:{port}/",
        ]
        with caplog.at_level(logging.WARNING, "bridge.fetch"):
            for url in urls:
                assert await told(gateway, url) == f"nothing of use can be fetched from {url}"
        assert ssh.connections
    # The operator's log has the reason of each.
    log = caplog.text
    for reason in ("HTTP 404", "HTTP 401", "redirects to another host", "redirects too often", "root is secret-inside",
                   "no public address", "loopback", "nowhere.test has no address", "larger than"):  # fmt: skip
        assert reason in log, reason


async def test_the_operators_own_files_are_told_why(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, [])
    for url, why in (
        (f"http://127.0.0.1:{closed()}/x.wsdl", r"127\.0\.0\.1 \(loopback\); BRIDGE_FETCH_NETWORKS may list"),
        ("http://nowhere.test/x.wsdl", "nowhere.test has no address"),
    ):
        with pytest.raises(SetupError, match=why):
            async with start(mesh={}, routes={"a.yml": json.dumps(spec(url))}):
                pytest.fail("it started")


async def test_a_listed_network_is_fetched_from(start: Any) -> None:
    service = Upstream(body=LEDGER.encode(), headers=XML)
    async with listening(service) as port, start(mesh={}, fetch_networks="127.0.0.0/8") as gateway:
        made = await gateway.register(spec(f"http://127.0.0.1:{port}/x.wsdl"))
        assert made.status_code == 201, made.text


async def test_proxies_of_the_environment_are_ignored(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Upstream(body=LEDGER.encode(), headers=XML)
    async with canary() as bird, listening(service) as port:
        async with start(mesh={}, fetch_networks="127.0.0.0/8") as gateway:
            for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{bird.port}")
            made = await gateway.register(spec(f"http://127.0.0.1:{port}/x.wsdl"))
            assert made.status_code == 201, made.text
        assert bird.connections == 0


async def test_servers_that_hang_hold_up_nobody_elses_bind(start: Any) -> None:
    """More of them than there are threads, from several publishers, while a contract of a file is judged."""
    publishers, waiting, enough, leave = 3, 0, asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == FETCHING:
            enough.set()
        await leave.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, start(mesh={}, files={"wsdl/l.wsdl": LEDGER}, fetch_networks="127.0.0.1") as gateway:

        async def check(wsdl: str, who: str = "another") -> dict[str, Any]:
            headers = gateway.bearer(**PUBLISHER | {"sub": who})
            answer = await gateway.client.post("/-/routes/check", json=spec(wsdl), headers=headers)
            return dict(answer.json())

        hanging = [
            asyncio.create_task(check(f"http://127.0.0.1:{port}/{each}.wsdl", f"publisher {each % publishers}"))
            for each in range(publishers * PER_PUBLISHER)
        ]
        await enough.wait()
        assert (await check("l.wsdl"))["ok"]
        assert not any(task.done() for task in hanging)
        leave.set()
        assert not any(answer["ok"] for answer in await asyncio.gather(*hanging))
