"""Each denial is told three times: as a problem with a type and a trace id, and in the access log under that id."""

from __future__ import annotations

from typing import Any

ROUTES = {
    "papers.yml": """route: /v1/papers
upstream: svc:80
auth: {type: JWT, audience: A, roles: [clerk], methods: {POST: {roles: [chief]}}}
transform: {request: passthrough}
""",
    "often.yml": """route: /v1/often
upstream: svc:80
auth: none
rate_limit: {rps: 0.01}
transform: {request: passthrough}
""",
    "here.yml": """route: /v1/here
upstream: svc:80
auth: none
ip: {deny: [127.0.0.1]}
transform: {request: passthrough}
""",
}


async def test_each_denial_has_a_type_a_trace_id_and_a_line_in_the_log(start: Any, upstream: Any) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES) as gateway:
        clerk = gateway.bearer(roles=("clerk",), audience="A", sub="ann")
        calls = [
            ("GET", "/v1/papers", {}, "unauthorized", "This route takes a bearer token"),
            ("GET", "/v1/papers", gateway.bearer(roles=("clerk",), audience="B"), "unauthorized", "another audience"),
            ("GET", "/v1/papers", gateway.bearer(audience="A", sub="ann"), "forbidden", "the role clerk"),
            ("POST", "/v1/papers", clerk, "forbidden", "the role chief"),
            ("GET", "/v1/here", {}, "forbidden", "ip does not admit"),
            ("GET", "/v1/often", {}, None, ""),
            ("GET", "/v1/often", {}, "rate-limited", "more calls than"),
            ("GET", "/-/routes", {}, "unauthorized", "a bearer token"),
            ("GET", "/-/routes", clerk, "forbidden", "api_publisher"),
        ]
        seen = {}
        for number, (method, path, headers, slug, _) in enumerate(calls):
            answer = await gateway.client.request(method, path, headers=headers)
            seen[answer.headers["x-trace-id"]] = number
            if slug is not None:
                problem = answer.json()
                assert problem["type"] == f"urn:bridge:problem:{slug}", calls[number]
                assert problem["trace_id"] == answer.headers["x-trace-id"]
    lines = {seen[line["trace_id"]]: line for line in gateway.log()}
    told = [(line.get("problem"), line.get("cause", "")) for _, line in sorted(lines.items())]
    assert [slug for slug, _ in told] == [slug for *_, slug, _ in calls]
    for (_, cause), (*_, reason) in zip(told, calls, strict=True):
        assert reason in cause
    # Whoever is known and may not call is named; a token that is not for the route names nobody.
    assert [lines[number].get("subject", "") for number in range(5)] == ["", "", "ann", "ann", ""]


async def test_who_was_refused_by_the_admin_api_is_in_the_log(start: Any) -> None:
    async with start(mesh={}, admin_public="none") as gateway:
        callers = [
            ("/-/routes", gateway.bearer(sub="ann", tenant="revenue"), ("ann", "revenue")),
            ("/-/metrics", gateway.bearer(sub="bob"), ("bob", None)),
            ("/-/routes", gateway.bearer(sub="cid", tenant="revenue") | {"x-tenant": "health"}, ("cid", "revenue")),
            (
                "/-/keys",
                gateway.bearer(sub="dan", roles=("api_publisher",)) | {"x-tenant": "health"},
                ("dan", "health"),
            ),
        ]
        for path, headers, _ in callers:
            assert (await gateway.client.get(path, headers=headers)).status_code == 403
    lines = [line for line in gateway.log() if line.get("problem") == "forbidden"]
    assert [(line.get("subject"), line.get("tenant")) for line in lines] == [who for *_, who in callers]
