"""What is fetched by URL at bind: over TLS by the name, within bounds of time and size, and without credentials for
anybody but the origin they are for."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme

from bridge.api import FetchError
from bridge.transport import fetch
from bridge.transport.fetch import Fetcher

pytestmark = pytest.mark.usefixtures("operator")

Say = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher([ip_network("127.0.0.1")])
    yield made
    await made.aclose()


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that end in ``.test`` lead to the loopback."""
    real = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **more: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith(".test") else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@asynccontextmanager
async def serving(say: Say | bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that says the same to every request; its port, and the heads of the requests."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if isinstance(say, bytes):
                writer.write(say)
            else:
                await say(heads[-1], writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the gateway has gone
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that this machine trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


async def test_tls_is_judged_by_the_name_and_not_by_the_address(fetcher: Fetcher, authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("contracts.test").configure_cert(context)
    asked: list[str | None] = []
    context.set_servername_callback(lambda _socket, name, _context: asked.append(name))
    async with serving(OK, context) as (port, heads):
        assert await fetcher.fetch(f"https://contracts.test:{port}/a?b=c#d") == b"ok"
        assert asked == ["contracts.test"]
        assert heads[0].startswith("GET /a?b=c HTTP/1.1\r\n")
        assert f"host: contracts.test:{port}\r\n" in heads[0].lower()
        for other in (f"https://other.test:{port}/", f"https://127.0.0.1:{port}/"):
            with pytest.raises(FetchError, match="certificate verify failed"):
                await fetcher.fetch(other)
        assert len(heads) == 1


async def test_credentials_stay_with_their_origin(fetcher: Fetcher, authority: trustme.CA) -> None:
    """A redirect from http to https on one host changes the origin; one back to http is not followed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("contracts.test").configure_cert(context)

    async def plain(head: str, writer: asyncio.StreamWriter) -> None:
        body = b"/there" if head.startswith("GET /here ") else b""
        writer.write(b"HTTP/1.1 302 LookupResult\r\nlocation: " + body + b"\r\n\r\n" if body else OK)

    async with serving(plain) as (port, heads):
        assert await fetcher.fetch(f"http://contracts.test:{port}/here", {"authorization": "Bearer x"}) == b"ok"
        assert ["authorization: bearer x" in head.lower() for head in heads] == [True, True]

    down = b"HTTP/1.1 302 LookupResult\r\nlocation: http://contracts.test:%d/\r\n\r\n"
    seen: list[str] = []

    async def secure(head: str, writer: asyncio.StreamWriter) -> None:
        seen.append(head)
        writer.write(down % port)

    async with serving(secure, context) as (port, _):
        with pytest.raises(FetchError, match="redirects from https to http"):
            await fetcher.fetch(f"https://contracts.test:{port}/", {"authorization": "Bearer x"})
        assert len(seen) == 1


async def test_another_scheme_is_another_origin(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from port 80 to 443, which no test may bind: both are said to lie where the server is."""
    sent: list[tuple[str, dict[str, str]]] = []
    replies = iter(("https://contracts.test/", None))

    class Reply:
        def __init__(self, location: str | None) -> None:
            self.headers = {"location": location} if location else {}
            self.is_redirect, self.status_code = bool(location), 302 if location else 404

        async def aclose(self) -> None: ...

    async def ask(client: Any, target: Any, headers: dict[str, str]) -> Any:
        sent.append((target.scheme, dict(headers)))
        return Reply(next(replies))

    monkeypatch.setattr(fetcher, "_ask", ask)
    with pytest.raises(FetchError, match="HTTP 404"):
        await fetcher.fetch("http://contracts.test/", {"authorization": "x"})
    assert sent == [("http", {"authorization": "x"}), ("https", {})]


async def test_a_server_that_drips_is_left_in_time(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TOTAL", 0.2)
    for start in (b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\n\r\n"):

        async def drip(head: str, writer: asyncio.StreamWriter, start: bytes = start) -> None:
            writer.write(start)
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with serving(drip) as (port, _):
            with pytest.raises(FetchError, match="no whole answer within"):
                await fetcher.fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("coded", [False, True])
async def test_a_document_is_bounded_as_it_comes_and_as_it_is(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, coded: bool
) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", 100_000)
    for size in (100_000, 100_001):
        body = b"x" * size
        sent, coding = (gzip.compress(body), b"content-encoding: gzip\r\n") if coded else (body, b"")
        async with serving(b"HTTP/1.1 200 OK\r\n" + coding + b"\r\n" + sent) as (port, heads):
            if size <= 100_000:
                assert await fetcher.fetch(f"http://127.0.0.1:{port}/") == body
            else:
                with pytest.raises(FetchError, match=r"larger than|more than 100000 bytes"):
                    await fetcher.fetch(f"http://127.0.0.1:{port}/")
            assert "accept-encoding: identity\r\n" in heads[0].lower()


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a b.xsd", "/a%20b.xsd"),
        ("/a%20b.xsd", "/a%20b.xsd"),
        ("/\u00fc?\u00fc", "/%C3%BC?%C3%BC"),
        ("/a\\b", "/a%5Cb"),
        ("", "/"),
        ("?wsdl", "/?wsdl"),
        ("/%0d%0aX:y", "/%0d%0aX:y"),
    ],
)
async def test_what_is_asked_for(fetcher: Fetcher, path: str, sent: str) -> None:
    async with serving(OK) as (port, heads):
        await fetcher.fetch(f"http://127.0.0.1:{port}{path}")
    assert re.match(re.escape(f"GET {sent} HTTP/1.1\r\n"), heads[0], re.IGNORECASE)
