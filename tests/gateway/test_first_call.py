"""The contract's first promise: register the short form over HTTP, call it with a citizen's token."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

import httpx
import pytest

import bridge.stages.quota.store
from bridge.stages.quota.memory import MemoryLimiter

SHORT = {
    "route": "/v1/counts",
    "upstream": "svc:80",
    "methods": ["GET"],
    "auth": {"type": "JWT", "audience": "ELECTION_PUBLIC"},
    "rate_limit": {"rps": 50},
    "transform": {"request": "passthrough", "response": "json"},
}


def problem(response: httpx.Response, slug: str) -> dict[str, Any]:
    """The response's problem, held against RFC 9457 and the contract."""
    body: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:bridge:problem:{slug}"
    assert body["status"] == body["code"] == response.status_code
    assert body["title"]
    assert body["detail"]
    assert body["trace_id"] == response.headers["x-trace-id"]
    return body


async def test_a_registered_route_serves_at_once(gateway: Any, upstream: Any) -> None:
    answer = await gateway.register(SHORT)
    assert (answer.status_code, answer.json()) == (201, {"route_id": 1, "status": "ACTIVE"})
    call = await gateway.client.get("/v1/counts?county=7", headers=gateway.bearer(audience="ELECTION_PUBLIC"))
    assert (call.status_code, call.json()) == (200, {"ok": True})
    assert upstream.seen[0].target == "/v1/counts?county=7"
    assert re.fullmatch(r"[0-9a-f]{32}", call.headers["x-trace-id"])
    assert upstream.seen[0].header("x-trace-id") == [call.headers["x-trace-id"]]
    assert call.headers["x-trace-id"] in upstream.seen[0].header("traceparent")[0]
    assert upstream.seen[0].header("authorization") == []
    assert upstream.seen[0].header("host") == ["svc:80"]


async def test_without_a_token_or_for_another_audience_it_is_401(gateway: Any, upstream: Any) -> None:
    await gateway.register(SHORT)
    nobody = await gateway.client.get("/v1/counts")
    other = await gateway.client.get("/v1/counts", headers=gateway.bearer(audience="TAX"))
    for response in (nobody, other):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        problem(response, "unauthorized")
    assert upstream.seen == []


async def test_register_asks_for_the_publisher_role(gateway: Any) -> None:
    refused = await gateway.client.post("/register", json=SHORT, headers=gateway.bearer(roles=("citizen",)))
    assert refused.status_code == 403
    problem(refused, "forbidden")
    unknown = await gateway.client.post("/register", json=SHORT)
    assert unknown.status_code == 401
    problem(unknown, "unauthorized")
    assert (await gateway.client.get("/v1/counts")).status_code == 404


async def test_the_51st_call_in_a_second_is_429(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge.stages.quota.store, "MemoryLimiter", partial(MemoryLimiter, clock=lambda: 1000.0))
    await gateway.register(SHORT)
    token = gateway.bearer(audience="ELECTION_PUBLIC", sub="a")
    answers = await asyncio.gather(*[gateway.client.get("/v1/counts", headers=token) for _ in range(51)])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 50 + [429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit-policy"].startswith('"default";q=50;w=1')
    assert refused.headers["x-ratelimit-remaining"] == "0"
    problem(refused, "rate-limited")
    another = await gateway.client.get("/v1/counts", headers=gateway.bearer(audience="ELECTION_PUBLIC", sub="else"))
    assert another.status_code == 200


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"rout": "/x"}, "/rout", "did you mean 'route'"),
        ({"auth": None}, "/auth", ""),
        ({"upstream": "127.0.0.1:80"}, "/upstream", "an address"),
        ({"route": "/-/x"}, "/route", "belongs to the gateway"),
        ({"route": "/register"}, "/route", "belongs to the gateway"),
        ({"rate_limit": {"rps": 0}}, "/rate_limit/rps", "greater than 0"),
        ({"transform": {"request": "nobody"}}, "/transform/request", "no transformer is named"),
        ({"timeout": "soon"}, "/timeout", "no duration"),
        ({"methods": ["FETCH"]}, "/methods/0", "GET"),
    ],
)
async def test_a_wrong_spec_is_400_with_pointers(gateway: Any, change: Any, pointer: str, words: str) -> None:
    answer = await gateway.register({**SHORT, **change})
    assert answer.status_code == 400
    errors = problem(answer, "invalid-spec")["errors"]
    assert errors[0]["pointer"] == pointer
    assert words in errors[0]["reason"]


async def test_a_route_without_auth_is_refused_unless_it_says_none(gateway: Any) -> None:
    spec = {key: value for key, value in SHORT.items() if key != "auth"}
    answer = await gateway.register(spec)
    assert answer.status_code == 400
    assert "auth: {type: none}" in problem(answer, "invalid-spec")["errors"][0]["reason"]
    assert (await gateway.register({**spec, "auth": {"type": "none"}})).status_code == 201
    assert (await gateway.client.get("/v1/counts")).status_code == 200


async def test_a_taken_path_is_409_and_names_the_other(gateway: Any) -> None:
    await gateway.register(SHORT)
    answer = await gateway.register(SHORT)
    assert answer.status_code == 409
    assert "route 1" in problem(answer, "conflict")["errors"][0]["reason"]


async def test_yaml_and_bad_bodies(gateway: Any) -> None:
    headers = gateway.bearer(roles=("api_publisher",))
    yaml = "route: /y\nupstream: svc:80\nauth: {type: none}\ntransform: {request: passthrough}\n"
    post = gateway.client.post
    assert (await post("/register", content=yaml, headers={**headers, "content-type": "text/yaml"})).status_code == 201
    wrong = await post("/register", content="a: [", headers={**headers, "content-type": "text/yaml"})
    assert wrong.status_code == 400
    assert problem(wrong, "invalid-spec")["errors"][0]["line"]
    for body in ("{", "[]", '"x"', "{'a':1}", "\xff"):
        answer = await post("/register", content=body.encode("latin-1"), headers=headers)
        assert answer.status_code == 400, body
    assert (await post("/register", content="x", headers={**headers, "content-type": "text/csv"})).status_code == 415
    curls = {**headers, "content-type": "application/x-www-form-urlencoded"}
    spec = '{"route": "/z", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}'
    assert (await post("/register", content=spec, headers=curls)).status_code == 201
    assert (await post("/register", content="route=/a", headers=curls)).status_code == 415
    assert (await post("/register", content=b" " * 300_000, headers=headers)).status_code == 413


async def test_404_405_and_the_gateways_own_pages(gateway: Any) -> None:
    await gateway.register(SHORT)
    problem(await gateway.client.get("/nothing"), "not-found")
    wrong = await gateway.client.delete("/v1/counts")
    assert wrong.headers["allow"] == "GET, HEAD"
    problem(wrong, "method-not-allowed")
    problem(await gateway.client.get("/-/nothing"), "not-found")
    wrong = await gateway.client.get("/register")
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["allow"]
    problem(wrong, "method-not-allowed")
    assert (await gateway.client.get("/-/health/live")).status_code == 200
    assert (await gateway.client.get("/-/health/ready")).json() == {"status": "ready", "routes": 1}


async def test_head_has_the_headers_and_no_body(gateway: Any, upstream: Any) -> None:
    await gateway.register({**SHORT, "auth": {"type": "none"}})
    answer = await gateway.client.head("/v1/counts")
    assert (answer.status_code, answer.content) == (200, b"")
