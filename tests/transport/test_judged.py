"""httpx's connections to judged addresses: that name, ``Host`` and TLS agree."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import httpx
import pytest
import trustme

from bridge.transport.judged import JudgedTransport


async def test_a_name_is_looked_up_and_verified_as_host_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """IDNA 2008, as URLs have it; Python's own reading of such a name is another domain (strasse.example)."""
    authority, asked, heads = trustme.CA(), [], []
    name = "xn--strae-oqa.example"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(own)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=own)
    port = server.sockets[0].getsockname()[1]

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr("bridge.transport.judged.named_refusal", lambda name, address: "")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    transport = JudgedTransport(trust)
    loop = asyncio.get_running_loop()
    whole = loop.getaddrinfo

    async def only_names(host: str, port: int, **more: Any) -> list[Any]:
        is_name = isinstance(host, str) and host.endswith(".example")
        return await (getaddrinfo(host, port) if is_name else whole(host, port, **more))

    monkeypatch.setattr(loop, "getaddrinfo", only_names, raising=False)
    try:
        async with asyncio.timeout(10), httpx.AsyncClient(transport=transport) as client:
            reply = await client.get(f"https://stra\u00dfe.example:{port}/keys")
        assert reply.text == "ok"
        assert asked == [name]
        assert f"Host: {name}:{port}".encode() in heads[0]
    finally:
        server.close()
