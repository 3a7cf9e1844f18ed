"""PHP's SoapServer with an object in each caller's session, behind a route with ``cookies: session``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Running, Start
from tests.servers import Server

pytestmark = pytest.mark.live
WSDL = Path(__file__).parent / "php" / "cart.wsdl"


@pytest.fixture
async def gateway(php: Server, start: Start) -> AsyncIterator[Running]:
    spec: dict[str, Any] = {
        "route": "/v1/cart",
        "upstream": "shop-svc:80",
        "auth": {"type": "JWT"},
        "cookies": "session",
        "transform": {"request": "soap", "soap": {"wsdl": "cart.wsdl"}},
    }
    plain = {key: value for key, value in spec.items() if key != "cookies"} | {"route": "/v1/plain"}
    files = {"wsdl/cart.wsdl": await asyncio.to_thread(WSDL.read_text, "utf-8")}
    routes = {"cart.yml": json.dumps(spec), "plain.yml": json.dumps(plain)}
    async with start(mesh={"shop-svc": php.address}, routes=routes, files=files) as gateway:
        php.journal()
        yield gateway


async def call(gateway: Running, sub: str, operation: str, body: Any = None, route: str = "/v1/cart") -> Any:
    reply = await gateway.client.post(f"{route}/{operation}", json=body or {}, headers=gateway.bearer(sub=sub))
    assert reply.status_code == 200, reply.text
    assert "set-cookie" not in reply.headers
    return reply.json()


async def test_each_caller_fills_a_cart_of_its_own(gateway: Running) -> None:
    for sub, item in (("ada", "pen"), ("bob", "cup"), ("ada", "ink"), ("ada", "cap")):
        await call(gateway, sub, "add", {"item": item})
    assert await call(gateway, "ada", "show") == {"item": ["pen", "ink", "cap"]}
    assert await call(gateway, "bob", "show") == {"item": ["cup"]}
    assert await call(gateway, "eve", "show") == {"item": []}
    assert await call(gateway, "ada", "clear") == {}
    assert await call(gateway, "ada", "add", {"item": "new"}) == {"count": 1}
    assert await call(gateway, "bob", "show") == {"item": ["cup"]}


async def test_callers_at_once(gateway: Running) -> None:
    subs = [f"caller-{number}" for number in range(6)]
    for count in (1, 2, 3):
        counts = await asyncio.gather(*(call(gateway, sub, "add", {"item": sub}) for sub in subs))
        assert counts == [{"count": count}] * len(subs)
    for sub in subs:
        assert await call(gateway, sub, "show") == {"item": [sub] * 3}


async def test_without_the_key_every_call_is_a_new_session(gateway: Running) -> None:
    for _ in range(2):
        assert await call(gateway, "ada", "add", {"item": "pen"}, "/v1/plain") == {"count": 1}
