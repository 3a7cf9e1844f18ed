"""Clients that speak HTTP/2 of their own accord: curl and httpx, over TLS and without, through a whole gateway."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.server.tls import ListenerTls
from tests.conftest import serving
from tests.server.http2.kit import dialled
from tests.server.test_tls import NAME, Files
from tests.server.test_wire import OPEN
from tests.servers import need


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
async def secure(gateway: Any, files: Files) -> AsyncIterator[int]:
    """The port of a gateway that serves HTTPS."""
    await gateway.register(OPEN)
    async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
        yield port


async def curl(*arguments: str) -> tuple[bytes, str]:
    """What curl got, and the version of HTTP and the status."""
    need("curl", "curl", "--version")
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-w", "%{stderr}%{http_version} %{http_code}", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        body, told = await process.communicate()
    assert process.returncode == 0, told
    return body, told.decode()


@pytest.fixture
def trusting(files: Files, tmp_path: Path) -> list[str]:
    """curl's options for the listener's certificate."""
    bundle = tmp_path / "authority.pem"
    files.authority.cert_pem.write_to_path(str(bundle))
    return ["--cacert", str(bundle)]


@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
async def test_tls_agrees_on_the_version(
    secure: int, upstream: Any, trusting: list[str], option: str, version: str, tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 300_000)
    url = f"https://{NAME}:{secure}/p/a"
    address = ["--connect-to", f"{NAME}:{secure}:127.0.0.1:{secure}"]
    _, told = await curl(option, *trusting, *address, "--data-binary", f"@{body}", url)
    assert told == f"{version} 200"
    [request] = upstream.seen
    assert request.body == body.read_bytes()
    assert request.header("host") == ["svc:80"]
    assert not request.header("te")


async def test_without_tls_by_prior_knowledge_or_not(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    url = f"http://127.0.0.1:{gateway.port}/p/a?b=c"
    assert (await curl("--http2-prior-knowledge", "-d", "abc", url))[1] == "2 200"
    # RFC 9113, section 3.1: the upgrade from HTTP/1.1 is obsolete, so it stays with that.
    assert (await curl("--http2", url))[1] == "1.1 200"
    assert [(request.target, request.body) for request in upstream.seen] == [("/p/a?b=c", b"abc"), ("/p/a?b=c", b"")]


async def test_pages_that_are_served_by_asgi(secure: int, gateway: Any, files: Files) -> None:
    async with httpx.AsyncClient(http2=True, verify=files.client(), base_url=f"https://127.0.0.1:{secure}") as client:
        extensions = {"sni_hostname": NAME}
        health = await client.get("/-/health/live", extensions=extensions)
        assert (health.http_version, health.status_code) == ("HTTP/2", 200)
        routes = await client.get("/-/routes", extensions=extensions)
        assert (routes.http_version, routes.status_code) == ("HTTP/2", 401)
        assert routes.headers["content-type"] == "application/problem+json"
        many = await asyncio.gather(*[client.get(f"/p/{number}", extensions=extensions) for number in range(200)])
        assert {(answer.http_version, answer.status_code) for answer in many} == {("HTTP/2", 200)}
        head = await client.head("/-/docs", extensions=extensions)
        assert (head.status_code, head.content) == (200, b"")


async def test_problems_and_the_log(start: Any) -> None:
    async with start(mesh={}) as gateway:
        body, told = await curl("--http2-prior-knowledge", f"http://127.0.0.1:{gateway.port}/nowhere")
    assert told == "2 404"
    assert json.loads(body)["type"] == "urn:bridge:problem:not-found"
    [line] = gateway.log()
    assert (line["status"], line["path"], line["peer"]) == (404, "/nowhere", "127.0.0.1")
    assert line["host"] == f"127.0.0.1:{gateway.port}"


async def test_a_client_that_leaves_is_in_the_log_as_one(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(OPEN)
        async with dialled(gateway.port) as client:
            fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a")]
            client.write(client.headers(1, fields, end=False))
            await client.alive()
            client.write(client.reset(1))
            await client.alive()
    [line] = [line for line in gateway.log() if line["path"] == "/p/a"]
    assert line["status"] == 499
    assert upstream.seen == []


async def test_h2_without_alpn_is_not_taken_over_tls(secure: int, files: Files) -> None:
    """RFC 9113, section 3.2: "h2" is agreed on by ALPN."""
    async with dialled(secure, context=files.client()) as client:
        head = b""
        while b"\r\n" not in head:
            head += await client._reader.read(1000)
        assert head.startswith(b"HTTP/1.1 505 ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions_of_tls(secure: int, files: Files, version: ssl.TLSVersion) -> None:
    context = files.client()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    async with dialled(secure, context=context) as client:
        client.write(
            client.headers(1, [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/p/a")])
        )
        assert (await client.answer(1)).head[":status"] == "200"


async def test_a_services_trailers_reach_the_client(start: Any) -> None:
    """Of a body that is passed on as it comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        await writer.drain()
        writer.close()

    service = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = service.sockets[0].getsockname()[1]
    async with service, start(mesh={"svc": f"127.0.0.1:{port}"}) as gateway:
        await gateway.register({**OPEN, "transform": {"request": "passthrough", "response": "passthrough"}})
        async with dialled(gateway.port) as client:
            fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p/a")]
            client.write(client.headers(1, fields))
            answer = await client.answer(1)
    assert answer.body == b"abc"
    assert answer.heads[1:] == [{"x-sum": "1"}]
