"""Two `hms-bridge serve` processes on one store: what one of them has answered is so for both."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.config.settings import load
from bridge.stages.auth.local_issuer import LocalIssuer

SPEC: dict[str, Any] = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "passthrough"},
}


@dataclass
class Pair:
    """Clients of two gateways, both with a publisher's token."""

    one: httpx.AsyncClient
    two: httpx.AsyncClient
    #: Known to the mesh as ``silent:80``: takes connections and never answers.
    silent: socket.socket

    async def register(self, **more: Any) -> httpx.Response:
        answer = await self.one.post("/register", json=SPEC | more)
        assert answer.status_code == 201
        return answer


@pytest.fixture
async def pair(served: Any, upstream: Any, home: Path) -> AsyncIterator[Pair]:
    silent = socket.create_server(("127.0.0.1", 0))
    silent.setblocking(False)
    port = silent.getsockname()[1]
    (home / "mesh.yml").write_text(f"svc: 127.0.0.1:{upstream.port}\nsilent: 127.0.0.1:{port}\n")
    token = LocalIssuer.open(load({}, home=home)).mint("publisher", ("api_publisher",))
    headers = {"authorization": f"Bearer {token}"}
    first, second = await asyncio.to_thread(served), await asyncio.to_thread(served)
    async with (
        httpx.AsyncClient(base_url=first.url, headers=headers, timeout=30) as one,
        httpx.AsyncClient(base_url=second.url, headers=headers, timeout=30) as two,
    ):
        with silent:
            yield Pair(one, two, silent)


async def test_what_one_has_answered_counts_at_the_other(pair: Pair) -> None:
    """At once, also before the other has come to look at the store by itself."""
    for number in range(3):
        made = await pair.register(route=f"/r{number}")
        where, etag = made.headers["location"], made.headers["etag"]
        assert (await pair.two.get(where)).headers["etag"] == etag
        body = SPEC | {"route": f"/r{number}", "timeout": "9s"}
        changed = await pair.two.put(where, json=body, headers={"if-match": etag})
        assert changed.status_code == 200
        assert (await pair.one.put(where, json=body, headers={"if-match": etag})).status_code == 412
        assert (await pair.one.delete(where, headers={"if-match": changed.headers["etag"]})).status_code == 204
        assert (await pair.two.put(where, json=body)).status_code == 404
        assert (await pair.two.get(where)).status_code == 404
        assert (await pair.two.get(f"/r{number}")).status_code == 404  # the one that answered 404 follows at once


async def test_of_twelve_changes_of_one_version_one_is_made(pair: Pair) -> None:
    made = await pair.register()
    where, etag = made.headers["location"], made.headers["etag"]
    for _ in range(3):
        answers = await asyncio.gather(
            *(
                client.put(where, json=SPEC | {"timeout": f"{number + 2}s"}, headers={"if-match": etag})
                for number, client in enumerate([pair.one, pair.two] * 6)
            )
        )
        assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 11}
        etag = next(answer.headers["etag"] for answer in answers if answer.status_code == 200)
        assert (await pair.one.get(where)).headers["etag"] == (await pair.two.get(where)).headers["etag"] == etag


async def test_a_change_and_a_delete_that_meet(pair: Pair) -> None:
    for number in range(8):
        path = f"/race/{number}"
        where = (await pair.register(route=path)).headers["location"]
        put = pair.two.put(where, json=SPEC | {"route": path, "timeout": "7s"})
        statuses = sorted([answer.status_code for answer in await asyncio.gather(put, pair.one.delete(where))])
        assert statuses in ([200, 204], [204, 404])
        assert (await pair.one.get(where)).status_code == (await pair.two.get(where)).status_code == 404
        assert (await pair.one.get(path)).status_code == 404
        async with asyncio.timeout(20):
            while (await pair.two.get(path)).status_code != 404:
                await asyncio.sleep(0.05)


async def test_of_two_that_claim_one_path_one_has_it(pair: Pair) -> None:
    for number in range(4):
        body = SPEC | {"route": f"/claim/{number}"}
        answers = await asyncio.gather(*(client.post("/register", json=body) for client in (pair.one, pair.two)))
        assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_others_register_while_one_asks_a_server_that_says_nothing(pair: Pair, home: Path) -> None:
    """By gRPC reflection."""
    hanging = {
        "route": "/grpc",
        "upstream": "grpc://silent:80",
        "auth": "none",
        "transform": {"request": "grpc", "grpc": {"reflection": True}},
    }
    late = asyncio.create_task(pair.one.post("/register", json=hanging))
    async with asyncio.timeout(20):
        connection, _ = await asyncio.get_running_loop().sock_accept(pair.silent)
    with connection:
        where = (await pair.register()).headers["location"]
        (home / "routes/f.yml").write_text(
            "route: /file\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
        )
        async with asyncio.timeout(20):
            while (await pair.one.get("/file")).status_code != 200:
                await asyncio.sleep(0.05)
        assert (await pair.one.delete(where)).status_code == 204
        assert not late.done()
        pair.silent.close()
    assert (await late).status_code == 400


async def test_a_key_that_one_issues_and_the_other_or_a_command_ends(pair: Pair, home: Path, cli: Any) -> None:
    token = LocalIssuer.open(load({}, home=home)).mint("admin", ("api_admin",))
    admin = {"authorization": f"Bearer {token}"}
    await pair.register(auth={"type": "api_key"})

    async def refused(client: httpx.AsyncClient, key: str) -> None:
        async with asyncio.timeout(20):
            while (await client.get("/v1/a", headers={"x-api-key": key})).status_code != 401:
                await asyncio.sleep(0.05)

    key = (await pair.one.post("/-/keys", json={"subject": "payroll"}, headers=admin)).json()
    assert (await pair.two.delete(f"/-/keys/{key['id']}", headers=admin)).status_code == 204
    await refused(pair.one, key["key"])

    text = (await asyncio.to_thread(cli, "key", "new", "--sub", "payroll")).stdout.strip()
    for client in (pair.one, pair.two):
        assert (await client.get("/v1/a", headers={"x-api-key": text})).status_code != 401
    rotated = json.loads((await asyncio.to_thread(cli, "key", "rotate", text.split("_")[1], "--json")).stdout)
    assert (await pair.two.get("/v1/a", headers={"x-api-key": rotated["key"]})).status_code != 401
    await asyncio.to_thread(cli, "key", "revoke", rotated["id"])
    for client in (pair.one, pair.two):
        await refused(client, rotated["key"])
