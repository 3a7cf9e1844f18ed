"""Settings of single methods, through the whole gateway."""

from __future__ import annotations

from typing import Any

RETRY = (
    ", calls: {Once: {timeout: %s, retry: {max_attempts: 3, initial_backoff: 1ms, max_backoff: 2ms, "
    "codes: [UNAVAILABLE]}}}"
)


async def test_a_call_is_sent_again_where_the_route_says_so(stage: Any) -> None:
    async with stage(options=RETRY % "20s") as made:
        made.flow.unavailable = 2
        answer = await made.client.post("/flow/flow.Flow/Once", json={"upto": 5})
        assert (answer.status_code, answer.json()) == (200, {"n": 5})
        made.flow.unavailable = 3
        refused = await made.client.post("/flow/flow.Flow/Once", json={"upto": 5})
    assert refused.status_code == 503
    assert len(made.flow.calls) == 6


GOOGLES = """, http_rules: [
  {selector: flow.Flow.Once, get: "/v1/{text=docs/**}/{upto}",
    additional_bindings: [{get: "/"}, {get: "/v1/{text=docs/*}"}]},
  {selector: flow.Flow.Count, get: "/v1/{text=docs/**}:count"},
  {selector: flow.Flow.Follow, get: "/same"}, {selector: flow.Flow.Download, get: "/same"}]
"""


async def test_paths_of_google_s_own_protos_are_served(stage: Any) -> None:
    async with stage(options=GOOGLES) as made:
        for path, answer in (("/flow/v1/docs/a/b/7", {"n": 7}), ("/flow/v1/docs/8", {}), ("/flow", {})):
            got = await made.client.get(path)
            assert (got.status_code, got.json()) == (200, answer), path
        for path in ("/flow/v1/docs/a:count?upto=2", "/flow/v1/docs/a/b/c:count?upto=2", "/flow/v1/docs:count?upto=2"):
            assert (await made.client.get(path)).text.count("\n") == 2, path
        document = (await made.client.get("/-/openapi.json")).json()
    operation = document["paths"]["/flow/v1/docs/{text}/{upto}"]["get"]
    text, upto = operation["parameters"][:2]
    assert (text["name"], text["x-bridge-rest"], upto["name"]) == ("text", True, "upto")
    assert "Any number of segments" in text["description"]


async def test_system_parameters_of_google_s_clients_are_ignored_where_the_route_says_so(stage: Any) -> None:
    """By path, body and stream alike; they are in no log, and other unknown ones are still refused."""
    sent = "key=SECRET&%24alt=json%3Benum-encoding%3Dint&prettyPrint=false&%24.xgafv=2&fields=n&own=MINE"
    calls = [("GET", "/flow/count/2", None), ("POST", "/flow/flow.Flow/Once", {"upto": 2})]
    async with stage() as made:
        for method, path, body in calls:
            assert (await made.client.request(method, f"{path}?{sent}", json=body)).status_code == 400
    async with stage(options=", ignore_query: [google, own]") as made:
        for method, path, body in calls:
            answer = await made.client.request(method, f"{path}?{sent}", json=body)
            assert (answer.status_code, answer.text.strip()[-7:]) == (200, '{"n":2}')
            unknown = await made.client.request(method, f"{path}?{sent}&other=1", json=body)
            assert [fault["parameter"] for fault in unknown.json()["errors"]] == ["other"]
    log = made.gateway.log()
    assert {line.get("query", "") for line in log[-4:]} == {"", "other=1"}
    assert "SECRET" not in str(log[-4:])


async def test_without_such_a_word_it_is_sent_once(stage: Any) -> None:
    async with stage() as made:
        made.flow.unavailable = 1
        refused = await made.client.post("/flow/flow.Flow/Once", json={"upto": 5})
    assert (refused.status_code, len(made.flow.calls)) == (503, 1)
    assert refused.json()["type"] == "urn:bridge:problem:upstream-fault"  # the service's own word, not the gateway's


async def test_a_success_may_be_201_or_204(stage: Any) -> None:
    for status, body in ((201, b'{"n":5}'), (204, b"")):
        async with stage(options=f", statuses: {{Once: {status}}}") as made:
            answer = await made.client.post("/flow/flow.Flow/Once", json={"upto": 5})
            assert (answer.status_code, answer.content) == (status, body)
            assert ("content-type" in answer.headers) is bool(body)
            headers = {"connect-protocol-version": "1"}
            connect = await made.client.post("/flow/flow.Flow/Once", json={"upto": 5}, headers=headers)
            assert (connect.status_code, connect.json()) == (200, {"n": 5})
            refused = await made.client.post("/flow/flow.Flow/Once", json={"fail_at_once": True})
            assert refused.status_code == 429


async def test_a_methods_own_timeout(stage: Any) -> None:
    async with stage(options=RETRY % "500ms") as made:
        late = await made.client.post("/flow/flow.Flow/Once", json={"hang_after": 1})
    assert late.status_code == 504


async def test_a_connections_limits(stage: Any) -> None:
    async with stage("connection: {max_message: 1000, keepalive: 400s, compression: gzip}") as made:
        small = await made.client.get("/flow/count/1?size=10")
        large = await made.client.get("/flow/count/1?size=5000")
    assert small.status_code == 200
    assert (large.status_code, large.json()["type"]) == (502, "urn:bridge:problem:reply-too-large")
