"""Passthrough in front of nginx and Node, asked by curl and wrk: ranges, large files, uploads, events, trailers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.server.tls import ListenerTls
from tests.conftest import Running, Start, serving
from tests.server.test_tls import NAME, Files
from tests.servers import Server, need, running

HERE = Path(__file__).parent / "http"
READY = r"^ready (\d+)"
LARGE = 1 << 20  #: bytes of nginx's file
UPLOAD = 20_000_000

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("nginx", "nginx", "-v")
    command = (sys.executable, str(HERE / "nginx.py"))
    with running("nginx", command, tmp_path_factory.mktemp("nginx"), ready=READY) as server:
        yield server


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("Node", "node", "--version")
    with running("Node", ("node", str(HERE / "bodies.js")), tmp_path_factory.mktemp("node"), ready=READY) as server:
        yield server


@pytest.fixture
def before(start: Start) -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    """``async with before(server, **spec) as gateway``"""

    @contextlib.asynccontextmanager
    async def before(server: Server, **spec: Any) -> AsyncIterator[Running]:
        whole = {
            "route": "/{rest*}",
            "upstream": "svc:80",
            "auth": "none",
            "transform": {"request": "passthrough", "response": "passthrough"},
            **spec,
        }
        async with start(mesh={"svc": server.address}, routes={"p.yml": json.dumps(whole)}) as gateway:
            yield gateway

    return before


async def curl(gateway: Running, path: str, *options: str, origin: str = "") -> tuple[str, bytes]:
    """Head and body of the last response."""
    need("curl", "curl", "--version")
    command = ("curl", "-sS", "-D", "-", *options, f"{origin or f'http://127.0.0.1:{gateway.port}'}{path}")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    while re.match(rb"HTTP/1.1 1\d\d ", out):
        out = out.partition(b"\r\n\r\n")[2]
    head, _, body = out.partition(b"\r\n\r\n")
    return head.decode("latin-1").lower() + "\r\n", body


FILE = b"0123456789abcdef" * (LARGE >> 4)


async def test_parts_of_a_file(nginx: Server, before: Any) -> None:
    async with before(nginx) as gateway:
        head, body = await curl(gateway, "/large")
        assert "200 ok" in head
        assert f"content-length: {LARGE}\r\n" in head
        assert "accept-ranges: bytes\r\n" in head
        assert body == FILE
        head, body = await curl(gateway, "/large", "-r", "100-200099")
        assert " 206 " in head
        assert f"content-range: bytes 100-200099/{LARGE}\r\n" in head
        assert body == FILE[100:200_100]
        head, body = await curl(gateway, "/large", "-r", "0-9,500000-700000")
        assert "multipart/byteranges" in head
        assert body.count(b"Content-Range: bytes ") == 2
        assert FILE[500_000:700_001] in body
        head, _ = await curl(gateway, "/large", "-r", "9999999-")
        assert " 416 " in head
        head, body = await curl(gateway, "/large", "-I")
        assert f"content-length: {LARGE}\r\n" in head
        assert body.strip() == b""  # curl writes a line end there
        etag = re.search(r"etag: (.*)\r\n", head)
        assert etag is not None
        head, body = await curl(gateway, "/large", "-H", f"If-None-Match: {etag[1]}")
        assert (head.split()[1], body) == ("304", b"")
    lines = gateway.log()
    assert [line["bytes_out"] for line in lines][:2] == [LARGE, 200_000]
    assert all("cause" not in line for line in lines)


async def test_a_coded_reply_stays_coded(nginx: Server, before: Any) -> None:
    async with before(nginx) as gateway:
        head, body = await curl(gateway, "/large", "-H", "Accept-Encoding: gzip")
        assert "content-encoding: gzip\r\n" in head
        assert body[:2] == b"\x1f\x8b"
        _, body = await curl(gateway, "/large", "--compressed")
        assert body == FILE


@pytest.mark.parametrize("chunked", [False, True])
async def test_uploads(node: Server, before: Any, tmp_path: Path, chunked: bool) -> None:
    text = bytes(range(256)) * (UPLOAD // 256)
    file = tmp_path / "file"
    file.write_bytes(text)
    framing = ("-H", "Transfer-Encoding: chunked") if chunked else ()
    async with before(node) as gateway:
        for expect in ("Expect:", "Expect: 100-continue"):
            head, body = await curl(gateway, "/sum", "-T", str(file), "-H", expect, *framing)
            assert " 200 " in head
            seen = json.loads(body)
            assert seen["sum"] == hashlib.sha256(text).hexdigest()
            assert seen["length"] == (None if chunked else str(len(text)))
    assert [line["bytes_in"] for line in gateway.log()] == [len(text)] * 2


async def test_bodies_over_http_2(node: Server, nginx: Server, before: Any, tmp_path: Path) -> None:
    text = bytes(range(256)) * (UPLOAD // 256)
    file = tmp_path / "file"
    file.write_bytes(text)
    async with before(node) as gateway:
        _, body = await curl(gateway, "/sum", "-T", str(file), "--http2-prior-knowledge")
        assert json.loads(body) == {"sum": hashlib.sha256(text).hexdigest(), "length": str(len(text))}
    async with before(nginx) as gateway:
        head, body = await curl(gateway, "/large", "--http2-prior-knowledge")
        assert head.startswith("http/2 200")
        assert f"content-length: {LARGE}\r\n" in head
        assert body == FILE


@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
async def test_parts_heads_and_trailers_over_tls(
    nginx: Server, node: Server, before: Any, tmp_path: Path, option: str, version: str
) -> None:
    """curl agrees on the version of HTTP by ALPN; what it gets is the same in both."""
    files, authority = Files(tmp_path), tmp_path / "authority.pem"
    files.authority.cert_pem.write_to_path(str(authority))
    tls = ListenerTls(files.certificate, files.key)
    async with before(nginx) as gateway, serving(gateway.app, tls=tls) as port:
        origin = f"https://{NAME}:{port}"
        secure = (option, "--cacert", str(authority), "--connect-to", f"{NAME}:{port}:127.0.0.1:{port}")
        asked = partial(curl, gateway, "/large", *secure, origin=origin)
        head, body = await asked()
        assert head.startswith(f"http/{version} 200")
        assert body == FILE
        head, body = await asked("-r", "100-200099")
        assert head.startswith(f"http/{version} 206")
        assert f"content-range: bytes 100-200099/{LARGE}\r\n" in head
        assert "content-length: 200000\r\n" in head
        assert body == FILE[100:200_100]
        head, body = await asked("-r", "-16")
        assert (head.split()[1], body) == ("206", FILE[-16:])
        head, body = await asked("-r", "0-9,500000-700000")
        assert "multipart/byteranges" in head
        assert FILE[500_000:700_001] in body
        assert (await asked("-r", f"{LARGE}-"))[0].split()[1] == "416"
        head, body = await asked("-I")
        assert f"content-length: {LARGE}\r\n" in head
        assert body.strip() == b""
        head, body = await asked("-C", "1000000", "-H", "Accept-Encoding: identity")  # goes on with a download
        assert (head.split()[1], body) == ("206", FILE[1_000_000:])
    async with before(node) as gateway, serving(gateway.app, tls=tls) as port:
        origin = f"https://{NAME}:{port}"
        secure = (option, "--cacert", str(authority), "--connect-to", f"{NAME}:{port}:127.0.0.1:{port}")
        head, body = await curl(gateway, "/trailers", *secure, "-d", "abc", origin=origin)
        # curl writes them where it writes fields, when they have come.
        assert (head.split()[1], body.lower().split()) == ("200", [b"abcx-answered:", b"no"])


async def test_a_service_that_refuses_an_upload_at_once(
    node: Server, nginx: Server, before: Any, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(UPLOAD))
    for server, path in ((node, "/refuse"), (nginx, "/narrow")):
        async with before(server) as gateway:
            for expect in ("Expect:", "Expect: 100-continue"):
                head, _ = await curl(gateway, path, "-T", str(file), "-H", expect)
                assert " 413 " in head


async def test_events_of_node_arrive_one_by_one(node: Server, before: Any) -> None:
    """Each is sent when the one before has been asked for by another call."""
    async with before(node) as gateway, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"text/event-stream" in (await reader.readuntil(b"\r\n\r\n")).lower()
        for number in range(20):
            assert (await gateway.client.post("/next")).status_code == 204
            await reader.readuntil(b"data: %d\n\n" % number)
        writer.close()
        while json.loads((await gateway.client.get("/listeners")).content) != 0:  # Node sees the client leave
            await asyncio.sleep(0.01)


async def test_trailers_of_node(node: Server, before: Any) -> None:
    async with before(node) as gateway, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"PUT /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        writer.write(b"0\r\nX-Asked: yes\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n0\r\n")).endswith(b"ab\r\n0\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"x-answered: yes\r\n\r\n"
        writer.close()


async def test_downloads_under_load(nginx: Server, before: Any) -> None:
    """wrk reads large files over many connections, and curl's are right all the while."""
    need("wrk", "sh", "-c", "command -v wrk")
    async with before(nginx) as gateway:
        url = f"http://127.0.0.1:{gateway.port}/large"
        process = await asyncio.create_subprocess_exec(
            "wrk", "-t1", "-c16", "-d2", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(5):
            assert (await curl(gateway, "/large"))[1] == FILE
        out, _ = await process.communicate()
        assert re.search(rb"\d+ requests in", out)
        assert b"Socket errors" not in out
        assert b"Non-2xx" not in out
