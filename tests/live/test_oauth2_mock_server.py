"""oauth2-mock-server, an issuer that others wrote: its metadata is discovered, and its keys rotate."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import Start, Upstream
from tests.servers import PATIENCE

SCRIPT = Path(__file__).parent / "node/mock_issuer.mjs"
ROUTE = "route: /a\nupstream: svc:80\nauth: {type: JWT}\ntransform: {request: passthrough}\n"

Ask = Callable[[str], Awaitable[str]]


@cache
def node_path() -> str:
    """As in `tests.live.test_connect_node`: the server wants a newer Node than Debian has, so it skips everywhere."""
    try:
        root = subprocess.run(("npm", "root", "-g"), capture_output=True, text=True, check=True).stdout.strip()
        path = os.environ.get("NODE_PATH", root)
        probe = ("node", "-e", "require.resolve('oauth2-mock-server')")
        subprocess.run(probe, capture_output=True, check=True, env={**os.environ, "NODE_PATH": path})
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("npm install -g oauth2-mock-server, with Node 20.19 or later, gets the issuer")
    return path


@pytest.fixture
async def issuer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, Ask]]:
    """Its name, and what gives it a command."""
    monkeypatch.setenv("NODE_PATH", node_path())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    process = await asyncio.create_subprocess_exec("node", str(SCRIPT), stdin=-1, stdout=-1)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def answer() -> str:
        return (await asyncio.wait_for(stdout.readline(), PATIENCE)).decode().strip()

    async def ask(command: str) -> str:
        stdin.write(f"{command}\n".encode())
        return await answer()

    yield await answer(), ask
    stdin.close()
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


@pytest.mark.live
async def test_an_issuer_is_discovered_and_rotates(issuer: tuple[str, Ask], start: Start, upstream: Upstream) -> None:
    name, ask = issuer
    files = {"issuers.yml": f"- issuer: {name}\n"}
    async with start({"svc": f"127.0.0.1:{upstream.port}"}, {"a.yml": ROUTE}, files) as gateway:

        async def status(token: str) -> int:
            return (await gateway.client.get("/a", headers={"authorization": f"Bearer {token}"})).status_code

        one = await ask("sign one")
        assert await status(one) == 200
        await ask("new two")
        assert await status(await ask("sign two")) == 200
        assert await status(one) == 200
        await ask("again")
        assert await status(await ask("sign again")) == 200
        assert await status(one) == 401
