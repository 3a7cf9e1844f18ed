"""`/-/routes…`: read, replace with If-Match, delete, dry run; and each publisher in its own tenant."""

from __future__ import annotations

from typing import Any

SPEC = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "passthrough"},
}


async def test_read_replace_delete(gateway: Any, upstream: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",), sub="pat")
    client = gateway.client
    made = await client.post("/-/routes", json=SPEC, headers=admin)
    assert made.status_code == 201
    where = made.headers["location"]
    shown = await client.get(where, headers=admin)
    assert shown.json()["spec"] == SPEC
    assert shown.headers["etag"] == made.headers["etag"]

    changed = {**SPEC, "route": "/v2/a"}
    stale = await client.put(where, json=changed, headers={**admin, "if-match": '"stale"'})
    assert stale.status_code == 412
    fresh = await client.put(where, json=changed, headers={**admin, "if-match": shown.headers["etag"]})
    assert fresh.status_code == 200
    assert fresh.headers["etag"] != shown.headers["etag"]
    assert (await client.get("/v1/a")).status_code == 404
    assert (await client.get("/v2/a")).status_code == 200

    gone = await client.delete(where, headers=admin)
    assert gone.status_code == 204
    assert (await client.get("/v2/a")).status_code == 404
    assert (await client.get(where, headers=admin)).status_code == 404
    assert (await client.delete(where, headers=admin)).status_code == 404


async def test_numbers_are_never_used_again(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    first = (await gateway.register(SPEC)).json()["route_id"]
    await gateway.client.delete(f"/-/routes/{first}", headers=admin)
    assert (await gateway.register(SPEC)).json()["route_id"] > first


async def test_a_dry_run_finds_faults_and_publishes_nothing(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    good = (await gateway.client.post("/-/routes/check", json=SPEC, headers=admin)).json()
    assert good["ok"]
    assert "/v1/a" in good["openapi"]["paths"]
    assert (await gateway.client.get("/v1/a")).status_code == 404
    bad = (await gateway.client.post("/-/routes/check", json={**SPEC, "x": 1}, headers=admin)).json()
    assert not bad["ok"]
    assert bad["problems"][0]["key"] == "x"


async def test_a_dry_run_of_a_change_does_not_conflict_with_the_route_that_it_changes(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    post = gateway.client.post
    made = await gateway.register(SPEC)
    number, etag = made.json()["route_id"], made.headers["etag"]
    await gateway.register({**SPEC, "route": "/v1/b"})
    changed = {**SPEC, "timeout": "2s"}
    for url in (f"/-/routes/check?id={number}", f"/-/routes/{number}/check"):
        dry = (await post(url, json=changed, headers=admin)).json()
        assert (dry["ok"], dry["problems"]) == (True, [])
        taken = (await post(url, json={**SPEC, "route": "/v1/b"}, headers=admin)).json()
        assert "by route 2 and by route 1" in taken["problems"][0]["reason"]
        assert (await post(url, json=changed, headers={**admin, "if-match": '"stale"'})).status_code == 412
        assert (await post(url, json=changed, headers={**admin, "if-match": etag})).json()["ok"]
    as_new = (await post("/-/routes/check", json=changed, headers=admin)).json()
    assert "published twice: by route 1 and by the new route" in as_new["problems"][0]["reason"]
    assert "/-/routes/check?id=ID" in as_new["problems"][0]["reason"]
    assert (await gateway.client.get(f"/-/routes/{number}", headers=admin)).headers["etag"] == etag


async def test_a_dry_run_of_a_change_names_a_route_of_the_publishers(gateway: Any) -> None:
    await gateway.register(SPEC, tenant="revenue")
    post = gateway.client.post
    admin = gateway.bearer(roles=("api_publisher",))
    other = gateway.bearer(roles=("api_publisher",), tenant="health")
    assert (await post("/-/routes/check?id=1", json=SPEC, headers=other)).status_code == 404
    assert (await post("/-/routes/check?id=77", json=SPEC, headers=admin)).status_code == 404
    assert (await post("/-/routes/check?id=", json=SPEC, headers=admin)).status_code == 400
    assert (await post("/-/routes/1/check?id=2", json=SPEC, headers=admin)).status_code == 400
    misspelt = await post("/-/routes/check?route=1", json=SPEC, headers=admin)
    assert misspelt.status_code == 400
    assert "id names the route that the spec would replace" in misspelt.json()["detail"]


async def test_a_dry_run_of_a_spec_file_names_the_file(start: Any, upstream: Any) -> None:
    text = "route: /f\nupstream: svc:80\nauth: {type: none}\ntransform: {request: passthrough}\n"
    routes = {"a.yml": f"{text.replace('/f', '/e')}---\n{text}"}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        headers = {**gateway.bearer(roles=("api_publisher",)), "content-type": "application/yaml"}
        post = gateway.client.post
        as_new = (await post("/-/routes/check", content=text, headers=headers)).json()
        assert "by document 2 of routes/a.yml and by the new route" in as_new["problems"][0]["reason"]
        for url in ("/-/routes/check?id=file:a.yml%231", "/-/routes/file:a.yml%231/check"):
            assert (await post(url, content=text, headers=headers)).json()["ok"]


async def test_a_key_with_a_dot_is_one_step_of_a_pointer(gateway: Any) -> None:
    soap = {"headers": {"My.Block": {"a/b": "\x01"}}}
    spec = {**SPEC, "transform": {"request": "soap", "soap": soap}}
    refused = await gateway.register(spec)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/transform/soap/headers/My.Block/a~1b"
    admin = gateway.bearer(roles=("api_publisher",))
    dry = (await gateway.client.post("/-/routes/check", json=spec, headers=admin)).json()
    assert dry["problems"][0]["key"] == 'transform.soap.headers["My.Block"].a/b'


async def test_what_keys_say_and_what_only_binding_finds_is_told_together(gateway: Any) -> None:
    soap = {"request": "soap", "soap": {"wsdl": "nowhere.wsdl"}}
    spec = {**SPEC, "colour": "red", "rate_limit": {"rps": 0}, "transform": soap}
    admin = gateway.bearer(roles=("api_publisher",))
    dry = (await gateway.client.post("/-/routes/check", json=spec, headers=admin)).json()
    assert [each["key"] for each in dry["problems"]] == ["rate_limit.rps", "colour", "transform.soap.wsdl"]
    errors = (await gateway.register(spec)).json()["errors"]
    assert [each["pointer"] for each in errors] == ["/rate_limit/rps", "/colour", "/transform/soap/wsdl"]
    text = "route: v1/a\ntenant: other\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
    theirs = {**gateway.bearer(roles=("api_publisher",), tenant="mine"), "content-type": "application/yaml"}
    refused = await gateway.client.post("/-/routes", content=text, headers=theirs)
    assert refused.status_code == 403, "nothing is bound for somebody else"


async def test_pointers_to_options_keep_dots_and_slashes_of_keys(gateway: Any) -> None:
    grpc = {"reflection": True, "calls": {"vote.Count/Tally": {"tmeout": "1s"}, "a~b": {"timeout": "soon"}}}
    spec = {**SPEC, "transform": {"request": "grpc", "grpc": grpc}}
    errors = (await gateway.register(spec)).json()["errors"]
    assert sorted(error["pointer"] for error in errors) == [
        "/transform/grpc/calls/a~0b/timeout",
        "/transform/grpc/calls/vote.Count~1Tally/tmeout",
    ]
    assert any(error["reason"] == "unknown key; did you mean 'timeout'?" for error in errors)
    admin = gateway.bearer(roles=("api_publisher",))
    problems = (await gateway.client.post("/-/routes/check", json=spec, headers=admin)).json()["problems"]
    assert 'transform.grpc.calls["vote.Count/Tally"].tmeout' in [each["key"] for each in problems]


async def test_a_publisher_of_a_tenant_keeps_to_it(gateway: Any) -> None:
    mine = await gateway.register(SPEC, tenant="revenue")
    assert mine.status_code == 201
    theirs = await gateway.register({**SPEC, "route": "/v1/b", "tenant": "health"}, tenant="revenue")
    assert theirs.status_code == 403
    other = gateway.bearer(roles=("api_publisher",), tenant="health")
    assert (await gateway.client.get("/-/routes", headers=other)).json() == {"routes": []}
    assert (await gateway.client.delete(f"/-/routes/{mine.json()['route_id']}", headers=other)).status_code == 404


async def test_nobody_is_told_which_other_tenants_there_are(gateway: Any) -> None:
    where = (await gateway.register(SPEC, tenant="revenue")).headers["location"]
    other = gateway.bearer(roles=("api_publisher",), tenant="health")
    calls = [("GET", ""), ("DELETE", ""), ("GET", "/openapi"), ("GET", "/history"), ("POST", "/check")]
    for method, below in calls:
        answer = await gateway.client.request(method, where + below, json=SPEC, headers=other)
        assert answer.status_code == 404, below
        assert "revenue" not in answer.text


async def test_a_files_route_is_listed_but_changed_in_its_file(start: Any, upstream: Any) -> None:
    routes = {"a.yml": "route: /f\nupstream: svc:80\nauth: {type: none}\ntransform: {request: passthrough}\n"}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        admin = gateway.bearer(roles=("api_publisher",))
        listed = (await gateway.client.get("/-/routes", headers=admin)).json()["routes"]
        assert [(r["route_id"], r["source"], r["status"]) for r in listed] == [("file:a.yml", "file", "ACTIVE")]
        answer = await gateway.client.delete("/-/routes/file:a.yml", headers=admin)
        assert answer.status_code == 409
        assert "routes/a.yml" in answer.json()["detail"]
