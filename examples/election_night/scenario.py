"""The demo's calls: one real call of each kind, one that is refused, and the expected replies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from stage import Stage

#: Yields a sentence for each difference from the expected reply.
Check = Callable[[Any], Iterator[str]]


@dataclass(frozen=True)
class Scene:
    """`holder`: whose token is sent; ``""``: none."""

    kind: str
    title: str
    method: str
    path: str
    status: int
    check: Check
    holder: str = ""
    body: Any = None
    upstream: bool = True


@dataclass
class Played:
    """A scene and its result. `exchange` is the service's record: target, request, reply, status; `logged` the
    gateway's own line about the call."""

    scene: Scene
    sent: list[str]
    status: int
    reason: str
    content_type: str
    body: Any
    trace_id: str
    milliseconds: float
    exchange: dict[str, Any] | None
    logged: dict[str, Any]
    faults: list[str] = field(default_factory=list)


def _expect(value: Any, expected: Any, what: str) -> Iterator[str]:
    if value != expected:
        yield f"{what} should be {expected!r} and is {value!r}"


def _at(value: Any, *steps: str | int) -> Any:
    """The member at the end of `steps`; None where one is missing."""
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _returns(body: Any) -> Iterator[str]:
    returns = _at(body, "returns")
    yield from _expect(_at(returns, "countyName"), "Alder", "countyName")
    yield from _expect(_at(returns, "turnout"), "60.15", "turnout, with both its digits,")
    yield from _expect(_at(returns, "reportedAt"), "2026-11-03T21:17:40-06:00", "reportedAt, with its zone,")
    yield from _expect(_at(returns, "precinctsReporting"), 4, "precinctsReporting")
    yield from _expect(_at(returns, "ballotsCast"), "4556", "ballotsCast, as 64 bits,")
    yield from _expect(_at(returns, "candidate", 0, "votes"), 2357, "the first candidate's votes")
    yield from _expect(_at(returns, "candidate", 2, "@code"), "LINDQVIST", "the third candidate's code")


def _receipt(body: Any) -> Iterator[str]:
    yield from _expect(_at(body, "sequence"), "20261", "sequence")
    yield from _expect(_at(body, "count", "ballotsCounted"), "4317", "ballotsCounted")
    yield from _expect(_at(body, "count", "bySource", "MAIL"), "1622", "the ballots by mail")
    yield from _expect(_at(body, "count", "updatedAt"), "2026-11-04T03:30:00Z", "updatedAt")


def _race(body: Any) -> Iterator[str]:
    race = _at(body, "results", "race")
    candidates = _at(race, "candidate")
    yield from _expect(isinstance(candidates, list) and len(candidates), 1, "the number of candidates in the array")
    yield from _expect(_at(candidates, 0, "name"), "Rosalind Pelletier", "the candidate")
    yield from _expect(_at(candidates, 0, "votes", "#text"), "3945", "the candidate's votes")


def _problem(body: Any) -> Iterator[str]:
    yield from _expect(_at(body, "type"), "urn:bridge:problem:unauthorized", "the problem's type")
    yield from _expect(bool(_at(body, "trace_id")), True, "whether the problem has a trace id")


SCENES = (
    Scene(
        "SOAP",
        "A citizen asks for a county's returns; a SOAP service answers",
        "GET",
        "/v1/returns/91001",
        200,
        _returns,
        holder="citizen",
    ),
    Scene(
        "gRPC",
        "A counting room submits a batch of ballots; a gRPC service books it",
        "POST",
        "/v1/ballots/91003/batches",
        200,
        _receipt,
        holder="clerk",
        body={"batchId": "BL-0107", "source": "MAIL", "ballots": 412, "scannedAt": "2026-11-03T21:30:00-06:00"},
    ),
    Scene(
        "XML",
        "A newspaper reads a race from an XML feed; one candidate stays an array",
        "GET",
        "/v1/results/register-of-deeds",
        200,
        _race,
    ),
    Scene(
        "refused",
        "The first call again without a token; nothing reaches the service",
        "GET",
        "/v1/returns/91001",
        401,
        _problem,
        upstream=False,
    ),
)


def play(scene: Scene, stage: Stage, client: httpx.Client, tokens: dict[str, str]) -> Played:
    """Make the call and check the reply."""
    headers = {"Authorization": f"Bearer {tokens[scene.holder]}"} if scene.holder else {}
    lines = [f"{scene.method} {scene.path}"]
    lines += [f"Authorization: Bearer {tokens[scene.holder][:8]}…  ({scene.holder})"] if scene.holder else []
    began = time.perf_counter()
    answer = client.request(scene.method, scene.path, headers=headers, json=scene.body)
    took = (time.perf_counter() - began) * 1000
    content_type = answer.headers.get("content-type", "")
    body = answer.json() if "json" in content_type else answer.text
    trace_id = answer.headers.get("x-trace-id", "")
    played = Played(
        scene,
        lines,
        answer.status_code,
        answer.reason_phrase,
        content_type,
        body,
        trace_id,
        took,
        stage.exchange(trace_id),
        stage.logged(trace_id),
    )
    played.faults += _expect(played.status, scene.status, "the status")
    played.faults += _expect(played.exchange is not None, scene.upstream, "whether the call reached the service")
    played.faults += scene.check(body)
    return played
