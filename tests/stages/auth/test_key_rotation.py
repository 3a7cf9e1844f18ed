"""An issuer rotates its keys while many clients call: over real sockets, with discovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from bridge.stages.auth import published
from tests.conftest import Running, Start, Upstream
from tests.stages.auth.issuer_server import PublishedIssuer, an_issuer
from tests.stages.conftest import Pair, new_pair

CLIENTS = 6
CALLS = 25  #: with a new key, until a rotation counts as taken
ROUTE = "route: /a\nupstream: svc:80\nauth: {type: JWT}\ntransform: {request: passthrough}\n"


@dataclass
class Rotation:
    """Clients that call all the time with tokens of the issuer's current key and of those before it.

    :ivar refused: calls with a good token that were refused; of none may be said that.
    :ivar late: calls that were admitted with a withdrawn key, though the gateway had fetched the keys since.
    """

    gateway: Running
    issuer: PublishedIssuer
    keys: list[Pair]
    claims: dict[str, Any]
    current: Pair
    withdrawn: dict[int, int] = field(default_factory=dict)  #: fetches of keys by then, by id of the pair
    refused: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    good: dict[int, int] = field(default_factory=dict)  #: admitted calls, by id of the pair
    bad: dict[int, int] = field(default_factory=dict)
    stopping: bool = False

    def fetches(self) -> int:
        return self.issuer.asked.count("/jwks")

    def publish(self, *keys: Pair) -> None:
        """The keys from now on, of which the last one signs from now on."""
        for pair in self.keys:
            if pair not in keys:
                self.withdrawn[id(pair)] = self.fetches()
        self.keys, self.current = [*self.keys, *(pair for pair in keys if pair not in self.keys)], keys[-1]
        self.issuer.publish(*keys)

    async def call(self, client: httpx.AsyncClient, pair: Pair, number: int) -> None:
        # Every token is another text, so that none is known from a call before.
        token = pair.sign(self.claims | {"jti": f"{number}-{id(pair)}"})
        # One fetch is under way at a time: of two that began since, the first has ended.
        known = id(pair) in self.withdrawn and self.fetches() >= self.withdrawn[id(pair)] + 2
        answer = await client.get("/a", headers={"authorization": f"Bearer {token}"})
        counts = self.good if answer.status_code == 200 else self.bad
        counts[id(pair)] = counts.get(id(pair), 0) + 1
        if answer.status_code != 200 and id(pair) not in self.withdrawn:
            self.refused.append(answer.text)
        if answer.status_code == 200 and known:
            self.late.append(f"call {number}, fetch {self.fetches()}")

    async def client(self, first: int) -> None:
        number = first
        async with httpx.AsyncClient(base_url=self.gateway.client.base_url, timeout=20) as client:
            while not self.stopping:
                await self.call(client, self.current, number)
                if number % 3 == 0:
                    await self.call(client, self.keys[0], number)
                number += CLIENTS

    async def until(self, counts: dict[int, int], pair: Pair, count: int) -> None:
        while counts.get(id(pair), 0) < count:
            await asyncio.sleep(0.005)


@pytest.fixture
async def rotation(
    patient: None, start: Start, upstream: Upstream, claims_of: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rotation]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(published, "MIN_AGE", 0.5)
    one = new_pair("ES256", "one")
    async with an_issuer() as issuer:
        issuer.fields["cache-control"] = "max-age=0"
        issuer.publish(one)
        files = {"issuers.yml": f"- issuer: {issuer.url}\n"}
        async with start({"svc": f"127.0.0.1:{upstream.port}"}, {"a.yml": ROUTE}, files) as gateway:
            made = Rotation(gateway, issuer, [one], claims_of(iss=issuer.url), one)
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for first in range(CLIENTS):
                    group.create_task(made.client(first))
                yield made
                made.stopping = True
            assert made.refused == []
            assert made.late == []


async def test_rotation_under_load(rotation: Rotation) -> None:
    one = rotation.keys[0]
    two, two_again = new_pair("ES256", "two"), new_pair("ES256", "two")
    await rotation.until(rotation.good, one, CALLS)
    rotation.publish(one, two)  # a new key beside the old one
    await rotation.until(rotation.good, two, CALLS)
    rotation.publish(one, two_again)  # another key under a kid that is known
    await rotation.until(rotation.good, two_again, CALLS)
    rotation.publish(two_again)  # the old key is withdrawn
    await rotation.until(rotation.bad, one, CALLS)
    await rotation.until(rotation.good, two_again, 2 * CALLS)
