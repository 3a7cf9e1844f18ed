"""Registrations at random over an operator's table: no tenant's route ever gets a request that would have been answered
by another's, or refused there for its method. ``FUZZ_CASES=100000`` asks for more than CI does."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

from bridge.api.call import Identity
from bridge.config.settings import Settings
from bridge.config.specfile import read_value
from bridge.errors import ConflictError, MethodNotAllowed, NotFound, NotOwned
from bridge.gateway.table import Source, Table
from bridge.runtime import Runtime

CASES = int(os.environ.get("FUZZ_CASES", "3000"))
ROUND = 60  #: registrations over one table
PROBES = 12  #: requests sent at each route that was let in

TENANTS = ("t1", "t2", "T2", "t3")
HOSTS = (None, None, None, "t1.example", "t2.example", "T2.example", "t2.example.", "api.example")
WORDS = ("t1", "t2", "t3", "v1", "pay", "7", "p%61y", "a:b", "%7Bx%7D")
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")


def route(chance: random.Random) -> str:
    names = iter("abcdef")
    segments = [
        chance.choice(WORDS) if chance.random() < 0.65 else f"{{{next(names)}}}"
        for _ in range(chance.choice((0, 1, 1, 2, 2, 2, 3, 3, 4)))
    ]
    end = chance.random()
    if end < 0.15:
        segments.append(f"{{{next(names)}*}}" + chance.choice(("", ":go")))
    elif end < 0.3 and segments and segments[-1].endswith("}"):
        segments[-1] += ":go"
    elif end < 0.36 and segments:
        segments.append("")
    return "/" + "/".join(segments)


def spec(chance: random.Random, tenant: str | None) -> Any:
    value: dict[str, Any] = {
        "route": route(chance),
        "upstream": "svc:80",
        "auth": {"type": "none"},
        "transform": {"request": "passthrough"},
        "host": chance.choice(HOSTS),
        "tenant": tenant,
    }
    if chance.random() < 0.6:
        value["methods"] = chance.sample(METHODS[:4], chance.choice((1, 2)))
    return read_value({key: item for key, item in value.items() if item is not None})


def request(chance: random.Random, host: str | None, template: str) -> tuple[str, str, str]:
    """A request that `template` may have been made for."""
    segments = []
    for segment in template[1:].split("/"):
        word = chance.choice(WORDS)
        if segment.startswith("{") and "*}" in segment:
            word = "/".join(chance.choices(WORDS, k=chance.choice((1, 1, 2, 3))))
        elif not segment.startswith("{"):
            word = segment
        segments.append(word + (":go" if segment.endswith(":go") or chance.random() < 0.1 else ""))
    at = (host or chance.choice(HOSTS) or "other.example").lower()
    return at, "/" + "/".join(segments), chance.choice(METHODS)


def has(table: Table, at: tuple[str, str, str]) -> bool:
    """Whether a route of `table` has the request's path, be it with another method."""
    host, path, method = at
    try:
        table.match(host, path, method)
    except MethodNotAllowed:
        return True
    except NotFound:
        return False
    return True


async def play(house: Runtime, chance: random.Random, seen: Counter[str]) -> None:
    registry = house.registry
    for _ in range(chance.choice((0, 2, 6))):
        await register(house, spec(chance, None), seen)
    for _ in range(ROUND):
        tenant = chance.choice(TENANTS)
        new = await register(house, spec(chance, tenant), seen)
        if new is None:
            continue
        routes = registry.table.routes
        others = Table(other for other in routes.values() if other.source.spec.tenant != tenant)
        mine = routes[new].source.spec
        for _ in range(PROBES):
            any_route = chance.choice(list(routes.values())).source.spec
            probed = chance.choice((mine, mine, any_route))
            at = request(chance, probed.host, probed.route)
            try:
                endpoint, _ = registry.table.match(*at)
            except (NotFound, MethodNotAllowed):
                continue
            seen["probes"] += 1
            if endpoint.tenant == tenant:
                seen["own"] += 1
                assert not has(others, at), f"{tenant} takes {at} with {endpoint.route.source.spec}"


async def register(house: Runtime, value: Any, seen: Counter[str]) -> int | None:
    seen["cases"] += 1
    try:
        bound = await house.registry.put(Source(0, "store", value), Identity(subject="fuzz", tenant=value.tenant or ""))
    except NotOwned:
        seen["refused"] += 1
        return None
    except ConflictError:
        seen["conflicts"] += 1
        return None
    seen["accepted"] += 1
    assert isinstance(bound.source.id, int)
    return bound.source.id


async def test_no_tenant_takes_a_request_of_another(tmp_path: Path) -> None:
    chance, seen, rounds = random.Random(CASES), Counter[str](), 0
    while seen["cases"] < CASES:
        home = tmp_path / str(rounds)
        home.mkdir()
        house = Runtime(Settings(home=home), serving=False)
        try:
            await house.registry.load()
            await play(house, chance, seen)
        finally:
            await house.aclose()
        rounds += 1
    print(dict(seen))
    # The fuzz is worth something only while much is let in, much is refused, and requests arrive.
    assert seen["accepted"] > CASES / 20
    assert seen["refused"] > CASES / 5
    assert seen["own"] > CASES / 5
