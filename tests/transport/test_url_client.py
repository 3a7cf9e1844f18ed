"""Requests to URLs of the operator: what happens to one while another fails."""

from __future__ import annotations

import asyncio

import pytest

from bridge.transport.fetch import PostError
from bridge.transport.url_client import UrlClient


async def test_an_answer_counts_although_the_name_has_lost_its_addresses_meanwhile() -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await gate.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://localhost:{server.sockets[0].getsockname()[1]}/token"
    client = UrlClient(per_address=2)
    try:
        async with asyncio.timeout(10):
            first = asyncio.create_task(client.post(url, b"", {}, 100))
            await asked.wait()
            server.close()  # it listens no more; the connection stays
            with pytest.raises(PostError):
                await client.post(url, b"", {}, 100)
            gate.set()
            status, _, body = await first
        assert (status, body) == (200, b"ok")
    finally:
        gate.set()
        await client.aclose()
        server.close()
