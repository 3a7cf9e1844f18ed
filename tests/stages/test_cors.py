"""`cors`: preflights and the fields of every response, judged as a browser does by the Fetch standard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from bridge.api.spec.cors import CorsSpec
from bridge.api.spec.route import RouteSpec
from bridge.config.settings import load
from bridge.errors import SettingsError
from bridge.gateway.table import spec_json
from bridge.stages.cors import CorsPolicy
from tests.conftest import Running, Start, Upstream

APP, OTHER = "https://app.example.org", "https://evil.test"
ROUTE = "route: {route}\nupstream: svc:80\ntransform: {{request: passthrough}}\n{lines}\n"


def route(path: str, *lines: str, auth: str = "none") -> str:
    return ROUTE.format(route=path, lines="\n".join([f"auth: {auth}", *lines]))


CORS = f"cors: {{origins: [{APP}]}}"

# --- the browser's side ----------------------------------------------------------------------------------------------

#: Fetch, section 2.2.2: methods and headers that need no permission. (Values of headers are not judged here.)
SAFELISTED_METHODS = frozenset(("GET", "HEAD", "POST"))
SAFELISTED_HEADERS = frozenset(("accept", "accept-language", "content-language", "range"))


def listed(response: httpx.Response, name: str) -> list[str]:
    return [part.strip() for part in response.headers.get(name, "").split(",") if part.strip()]


def cors_check(response: httpx.Response, origin: str, *, credentials: bool) -> bool:
    """Fetch, section 4.9."""
    values = response.headers.get_list("access-control-allow-origin")
    if len(values) != 1:
        return False
    if not credentials and values[0] == "*":
        return True
    if values[0] != origin:
        return False
    return not credentials or response.headers.get("access-control-allow-credentials") == "true"


def preflight_passes(
    response: httpx.Response, origin: str, method: str, names: Iterable[str], *, credentials: bool
) -> bool:
    """Fetch, section 4.8, steps 7 and 8."""
    if not cors_check(response, origin, credentials=credentials) or not response.is_success:
        return False
    methods = listed(response, "access-control-allow-methods")
    headers = [name.lower() for name in listed(response, "access-control-allow-headers")]
    if method not in methods and method not in SAFELISTED_METHODS and (credentials or "*" not in methods):
        return False
    if "authorization" in names and "authorization" not in headers:
        return False
    return all(name in headers or (not credentials and "*" in headers) for name in names)


async def preflight(
    gateway: Running, path: str, origin: str, method: str, *names: str, credentials: bool = False, **more: Any
) -> bool:
    """Whether a browser would send the request after this preflight, which is the gateway's own answer."""
    fields = {"origin": origin, "access-control-request-method": method, **more}
    if names:
        fields["access-control-request-headers"] = ",".join(sorted(names))
    response = await gateway.client.options(path, headers=fields)
    assert response.status_code == 204, response.text
    assert response.content == b""
    vary = {name.lower() for name in listed(response, "vary")}
    assert vary == {"origin", "access-control-request-method", "access-control-request-headers"}
    return preflight_passes(response, origin, method, names, credentials=credentials)


# --- preflights ------------------------------------------------------------------------------------------------------

ROUTES = {
    "plain.yml": route("/v1/plain", "methods: [GET, PUT]", CORS),
    "token.yml": route("/v1/token/{id}", "methods: [GET, DELETE]", CORS, auth="{type: JWT}"),
    "key.yml": route("/v1/key", CORS, auth="{type: api_key, header: X-Office-Key}"),
    "named.yml": route(
        "/v1/named",
        f"cors: {{origins: [{APP}], methods: [GET, PATCH], headers: [X-Clerk, X-Desk], max_age: 1h}}",
    ),
    "cookie.yml": route("/v1/cookie", f"cors: {{origins: [{APP}], headers: any, credentials: true}}"),
    "null.yml": route("/v1/null", 'cors: {origins: ["null"]}'),
    "any.yml": route("/v1/any", "cors: {origins: any}"),
    "suffix.yml": route("/v1/suffix", 'cors: {origins: ["*.example.org", "http://localhost:*"]}'),
    "post.yml": route("/v1/post", CORS),
    "none.yml": route("/v1/none", "methods: [GET]"),
}


@pytest.fixture
async def gateway(start: Start, upstream: Upstream) -> Any:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES) as running:
        yield running


#: path, origin, method, request headers, credentials -> whether a browser sends the request
PREFLIGHTS = [
    ("/v1/plain", APP, "GET", (), False, True),
    ("/v1/plain", APP, "PUT", (), False, True),
    ("/v1/plain", APP, "HEAD", ("content-type",), False, True),
    ("/v1/plain", APP, "PUT", ("content-type",), False, True),
    ("/v1/plain", APP, "PUT", ("content-type", "x-request-timeout"), False, True),
    ("/v1/plain", APP, "DELETE", (), False, False),
    ("/v1/plain", APP, "PUT", ("authorization",), False, False),
    ("/v1/plain", APP, "PUT", ("x-clerk",), False, False),
    ("/v1/plain", APP, "PUT", (), True, False),
    (
        "/v1/plain",
        APP,
        "put",
        (),
        False,
        False,
    ),  # methods are case-sensitive, and `put` is none of those that are normalized
    ("/v1/plain", OTHER, "PUT", (), False, False),
    ("/v1/plain", "null", "PUT", (), False, False),
    ("/v1/plain", f"{APP}.evil.test", "PUT", (), False, False),
    ("/v1/token/7", APP, "GET", ("authorization",), False, True),
    ("/v1/token/7", APP, "DELETE", ("authorization", "content-type"), False, True),
    ("/v1/token/7", APP, "GET", ("x-office-key",), False, False),
    ("/v1/key", APP, "POST", ("x-office-key",), False, True),
    ("/v1/key", APP, "PATCH", ("x-office-key",), False, True),
    ("/v1/key", APP, "GET", ("authorization",), False, False),
    ("/v1/named", APP, "PATCH", ("x-clerk", "x-desk", "content-type"), False, True),
    ("/v1/named", APP, "PUT", (), False, False),
    ("/v1/named", APP, "PATCH", ("x-other",), False, False),
    ("/v1/cookie", APP, "PUT", ("x-anything", "authorization"), True, True),
    ("/v1/cookie", APP, "PUT", ("x-anything",), False, True),
    ("/v1/cookie", "null", "PUT", (), True, False),
    ("/v1/null", "null", "PUT", (), False, True),
    ("/v1/null", "null", "PUT", (), True, False),
    ("/v1/cookie", OTHER, "PUT", (), True, False),
    ("/v1/any", OTHER, "DELETE", ("content-type",), False, True),
    ("/v1/any", "null", "DELETE", ("content-type",), False, True),
    ("/v1/any", OTHER, "DELETE", (), True, False),
    ("/v1/suffix", "https://a.b.example.org", "PUT", (), False, True),
    ("/v1/suffix", "https://example.org", "PUT", (), False, False),
    ("/v1/suffix", "https://evilexample.org", "PUT", (), False, False),
    ("/v1/suffix", "http://a.example.org", "PUT", (), False, False),
    ("/v1/suffix", "http://localhost:5173", "PUT", (), False, True),
    # What is below a route is the route's, too, so that the page gets to see the 404 or 405.
    ("/v1/plain/below/it", APP, "PUT", ("content-type",), False, True),
    ("/v1/token/7/below", APP, "DELETE", ("authorization",), False, True),
    ("/v1/plain/below", OTHER, "PUT", (), False, False),
]


async def test_preflights(gateway: Running, upstream: Upstream) -> None:
    wrong = [row for row in PREFLIGHTS if await preflight(gateway, *row[:3], *row[3], credentials=row[4]) is not row[5]]
    assert wrong == []
    assert not upstream.seen


async def test_the_age_of_a_preflight(gateway: Running) -> None:
    fields = {"origin": APP, "access-control-request-method": "PATCH"}
    for path, seconds in (("/v1/named", "3600"), ("/v1/plain", "600")):
        response = await gateway.client.options(path, headers=fields)
        assert response.headers["access-control-max-age"] == seconds


async def test_a_preflight_is_not_counted_and_needs_no_credentials(start: Start, upstream: Upstream) -> None:
    routes = {"a.yml": route("/a", CORS, "rate_limit: {rps: 1}", auth="{type: JWT}")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        for _ in range(5):
            assert await preflight(gateway, "/a", APP, "PUT", "authorization")
        assert (await gateway.client.put("/a", headers={"origin": APP, **gateway.bearer()})).status_code == 200
    statuses = [(line["method"], line["route"], line["status"]) for line in gateway.log()]
    assert statuses == [("OPTIONS", "file:a.yml", 204)] * 5 + [("PUT", "file:a.yml", 200)]


async def test_a_route_without_cors_knows_no_preflight(gateway: Running) -> None:
    fields = {"origin": APP, "access-control-request-method": "GET"}
    response = await gateway.client.options("/v1/none", headers=fields)
    assert response.status_code == 405
    assert not any(name.startswith(("access-control-", "vary")) for name in response.headers)
    assert (await gateway.client.options("/v1/nothing", headers=fields)).status_code == 404


async def test_options_that_are_no_preflights_reach_the_service(start: Start, upstream: Upstream) -> None:
    routes = {
        "all.yml": route("/all", CORS),
        "two.yml": route("/two", "methods: [GET, OPTIONS]", CORS),
        "get.yml": route("/split", "methods: [GET]", CORS),
        "options.yml": route("/split", "methods: [OPTIONS]"),
        "own.yml": route("/own"),
    }
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        preflight_fields = {"origin": APP, "access-control-request-method": "GET"}
        for path in ("/all", "/two", "/split"):
            assert await preflight(gateway, path, APP, "GET")
        assert not upstream.seen
        upstream.headers = [("allow", "GET, OPTIONS")]
        # Without either of the two fields it is no preflight. A route that leaves CORS to its service gets those, too.
        plain = [{}, {"origin": APP}, {"access-control-request-method": "GET"}]
        for path, fields in [("/own", preflight_fields), *[(p, f) for p in ("/all", "/two", "/split") for f in plain]]:
            response = await gateway.client.options(path, headers=fields)
            assert (response.status_code, response.headers["allow"]) == (200, "GET, OPTIONS")
        assert [seen.method for seen in upstream.seen] == ["OPTIONS"] * 10


# --- responses -------------------------------------------------------------------------------------------------------


#: path, origin, credentials -> whether the page may read the response
READABLE = [
    ("/v1/plain", APP, False, True),
    ("/v1/plain", APP, True, False),
    ("/v1/plain", OTHER, False, False),
    ("/v1/plain", "null", False, False),
    ("/v1/cookie", APP, True, True),
    ("/v1/cookie", "null", True, False),
    ("/v1/null", "null", False, True),
    ("/v1/null", "null", True, False),
    ("/v1/cookie", OTHER, True, False),
    ("/v1/any", OTHER, False, True),
    ("/v1/any", OTHER, True, False),
    ("/v1/none", APP, False, False),
]


async def test_who_may_read_a_response(gateway: Running) -> None:
    for path, origin, credentials, readable in READABLE:
        response = await gateway.client.get(path, headers={"origin": origin})
        assert response.status_code == 200
        assert cors_check(response, origin, credentials=credentials) is readable, (path, origin, credentials)
        without = await gateway.client.get(path)
        # RFC 9110, section 12.5.5: what depends on a field says so, also where the field is missing.
        expected = [] if path in ("/v1/any", "/v1/none") else ["Origin"]
        assert [listed(each, "vary") for each in (response, without)] == [expected, expected]


async def test_a_method_that_cors_leaves_out_is_not_readable(gateway: Running) -> None:
    for method, readable in (("GET", True), ("HEAD", True), ("PATCH", True), ("PUT", False)):
        response = await gateway.client.request(method, "/v1/named", headers={"origin": APP})
        assert cors_check(response, APP, credentials=False) is readable, method


async def test_exposed_fields(start: Start, upstream: Upstream) -> None:
    routes = {
        "named.yml": route("/named", f"cors: {{origins: [{APP}], exposed: [X-Trace-ID, RateLimit]}}"),
        "any.yml": route("/any", f"cors: {{origins: [{APP}], exposed: any}}"),
    }
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        for path, value in (("/named", "X-Trace-ID, RateLimit"), ("/any", "*")):
            response = await gateway.client.get(path, headers={"origin": APP})
            assert response.headers["access-control-expose-headers"] == value
            assert "access-control-expose-headers" not in (await gateway.client.get(path)).headers


async def test_errors_can_be_read(start: Start, upstream: Upstream, unused_port: int) -> None:
    away = f"upstream: away:{unused_port}"
    routes = {
        "guarded.yml": route("/guarded", CORS, auth="{type: JWT}"),
        "limited.yml": route("/limited", CORS, "rate_limit: {rps: 1}"),
        "away.yml": route("/away", CORS).replace("upstream: svc:80", away),
        "small.yml": route("/small", CORS, "max_body: 1"),
        "near.yml": route("/near", CORS, "ip: {deny: [127.0.0.1]}"),
        "get.yml": route("/get", CORS, "methods: [GET]"),
        "below.yml": route("/deep/{id}/", CORS),
        "rest.yml": route("/rest/{path*}", CORS, "methods: [GET]"),
        "bare.yml": route("/bare", "methods: [GET]"),
        "host.yml": route("/hosted", CORS, "host: api.example.org", "methods: [GET]"),
    }
    mesh = {"svc": f"127.0.0.1:{upstream.port}", "away": "127.0.0.1"}
    async with start(mesh=mesh, routes=routes) as gateway:
        await gateway.client.get("/limited")
        for method, path, status in [
            ("GET", "/guarded", 401),
            ("GET", "/limited", 429),
            ("GET", "/away", 503),
            ("POST", "/small", 413),
            ("GET", "/near", 403),
            ("PUT", "/get", 405),
            ("GET", "/get/below", 404),
            ("GET", "/deep/7/a/b", 404),
            ("POST", "/rest/a/b", 405),
        ]:
            fields = {"origin": APP}
            response = await gateway.client.request(
                method, path, headers=fields, content=b"xx" if status == 413 else b""
            )
            assert response.status_code == status, path
            assert cors_check(response, APP, credentials=False), path
            assert "Origin" in listed(response, "vary")
            fields = {"origin": OTHER}
            response = await gateway.client.request(
                method, path, headers=fields, content=b"xx" if status == 413 else b""
            )
            assert not cors_check(response, OTHER, credentials=False), path
            assert "Origin" in listed(response, "vary")
        for method, path in [("PUT", "/bare"), ("GET", "/bare/below"), ("GET", "/"), ("GET", "/hosted")]:
            response = await gateway.client.request(method, path, headers={"origin": APP})
            assert response.status_code in (404, 405)
            assert "access-control-allow-origin" not in response.headers
        hosted = {"origin": APP, "host": "api.example.org"}
        for method, path in [("PUT", "/hosted"), ("GET", "/hosted/below")]:
            assert cors_check(await gateway.client.request(method, path, headers=hosted), APP, credentials=False)


async def test_the_service_s_own_fields_are_replaced(gateway: Running, upstream: Upstream) -> None:
    upstream.headers = [
        ("content-type", "application/json"),
        ("vary", "Accept"),
        ("Access-Control-Allow-Origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Secret"),
    ]
    response = await gateway.client.get("/v1/plain", headers={"origin": APP})
    assert cors_check(response, APP, credentials=False)
    assert "access-control-allow-credentials" not in response.headers
    assert "access-control-expose-headers" not in response.headers
    assert sorted(listed(response, "vary")) == ["Accept", "Origin"]
    refused = await gateway.client.get("/v1/plain", headers={"origin": OTHER})
    assert "access-control-allow-origin" not in refused.headers
    # Without `cors`, CORS is the service's.
    assert (await gateway.client.get("/v1/none")).headers["access-control-allow-origin"] == "*"


async def test_a_stored_reply_has_the_fields_of_its_caller(start: Start, upstream: Upstream) -> None:
    second = "https://second.example.org"
    routes = {"a.yml": route("/a", f"cors: {{origins: [{APP}, {second}]}}", "cache: {ttl: 60s}", "methods: [GET]")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        upstream.headers = [("content-type", "application/json"), ("access-control-allow-origin", OTHER)]
        for origin in (APP, second, OTHER, None, APP):
            response = await gateway.client.get("/a", headers={"origin": origin} if origin else {})
            granted = response.headers.get("access-control-allow-origin")
            assert granted == (origin if origin in (APP, second) else None)
            assert listed(response, "vary") == ["Origin"]
        again = await gateway.client.get("/a", headers={"origin": second, "if-none-match": response.headers["etag"]})
        assert (again.status_code, again.headers["access-control-allow-origin"]) == (304, second)
        assert len(upstream.seen) == 1


async def test_a_route_that_goes_takes_its_errors_fields_with_it(gateway: Running) -> None:
    spec = {
        "route": "/r",
        "methods": ["GET"],
        "upstream": "svc:80",
        "auth": "none",
        "transform": {"request": "passthrough"},
        "cors": {"origins": [APP]},
    }
    second = {**spec, "methods": ["PUT"], "cors": {"origins": [OTHER]}}
    first_id = (await gateway.register(spec)).json()["route_id"]
    second_id = (await gateway.register(second)).json()["route_id"]
    admin = gateway.bearer(roles=("api_publisher",), sub="publisher")

    async def granted() -> set[str | None]:
        answers = [await gateway.client.get("/r/below", headers={"origin": each}) for each in (APP, OTHER)]
        return {each.headers.get("access-control-allow-origin") for each in answers} - {None}

    assert await granted() == {APP}
    await gateway.client.delete(f"/-/routes/{first_id}", headers=admin)
    assert await granted() == {OTHER}
    await gateway.client.put(f"/-/routes/{second_id}", headers=admin, json={**second, "cors": "none"})
    assert await granted() == set()


# --- requests without a preflight ------------------------------------------------------------------------------------


#: request fields -> status
UNASKED: list[tuple[dict[str, str], int]] = [
    ({}, 200),  # no browser
    ({"origin": APP}, 200),
    ({"origin": OTHER}, 403),
    ({"origin": "null"}, 403),
    ({"origin": OTHER, "content-type": "text/plain"}, 403),
    ({"origin": OTHER, "content-type": "application/x-www-form-urlencoded"}, 403),
    ({"origin": OTHER, "sec-fetch-site": "cross-site"}, 403),
    ({"origin": OTHER, "sec-fetch-site": "same-site"}, 403),
    ({"origin": "https://public.example.org", "sec-fetch-site": "same-origin"}, 200),  # a proxy changed Host
    ({"origin": "http://api.example.org", "host": "api.example.org"}, 200),
    ({"origin": "http://api.example.org:81", "host": "api.example.org"}, 403),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_what_is_sent_without_a_preflight(gateway: Running, upstream: Upstream, method: str) -> None:
    for fields, status in UNASKED:
        response = await gateway.client.request(method, "/v1/post", headers=fields, content=b'{"a":1}')
        assert response.status_code == status, fields
        if status == 403:
            problem = response.json()
            assert (problem["type"], problem["detail"]) == ("urn:bridge:problem:forbidden", "This call is not allowed.")
    assert len(upstream.seen) == [status for _, status in UNASKED].count(200)


async def test_pages_of_any_origin_may_send(gateway: Running) -> None:
    assert (await gateway.client.post("/v1/any", headers={"origin": OTHER}, content=b"{}")).status_code == 200
    assert (await gateway.client.get("/v1/post", headers={"origin": OTHER})).status_code == 200


# --- the setting, and what is wrong with a spec ----------------------------------------------------------------------

LEAST: dict[str, Any] = {"route": "/a", "upstream": "a:1", "auth": "none", "transform": {"request": "passthrough"}}


async def test_the_default_of_all_routes(start: Start, upstream: Upstream) -> None:
    routes = {
        "a.yml": route("/default"),
        "b.yml": route("/own", f"cors: {{origins: [{OTHER}]}}"),
        "c.yml": route("/none", "methods: [GET]", "cors: none"),
    }
    settings = load({"BRIDGE_CORS": f"{APP}, *.example.com"})
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes, cors=settings.cors) as gateway:
        assert await preflight(gateway, "/default", APP, "PUT")
        assert await preflight(gateway, "/default", "https://a.example.com", "PUT")
        assert not await preflight(gateway, "/default", OTHER, "PUT")
        assert await preflight(gateway, "/own", OTHER, "PUT")
        assert not await preflight(gateway, "/own", APP, "PUT")
        fields = {"origin": APP, "access-control-request-method": "GET"}
        assert (await gateway.client.options("/none", headers=fields)).status_code == 405
        assert "vary" not in (await gateway.client.get("/none", headers=fields)).headers
        assert not cors_check(await gateway.client.get("/none/below", headers=fields), APP, credentials=False)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("any", {"origins": "any"}),
        (APP, {"origins": [APP]}),
        (f"{APP},*.example.com", {"origins": [APP, "*.example.com"]}),
        (f'{{"origins": ["{APP}"], "credentials": true}}', {"origins": [APP], "credentials": True}),
        ("none", {"origins": []}),
    ],
)
def test_how_the_setting_is_written(text: str, spec: dict[str, Any]) -> None:
    assert load({"BRIDGE_CORS": text}).cors == CorsSpec.model_validate(spec)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://app.example.org/", "has a path"),
        ('{"origins": "any", "credentials": true}', "name the origins"),
        ('{"origins": [', "BRIDGE_CORS"),
        ("*", "any"),
    ],
)
def test_a_wrong_setting(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        load({"BRIDGE_CORS": text})
    assert str(caught.value).startswith("BRIDGE_CORS: ")


#: `cors`, the pointer of what is wrong, and part of the reason
WRONG: list[tuple[Any, str, str]] = [
    ({}, "/cors/origins", "it is missing"),
    ({"origins": "any", "credentials": True}, "/cors/credentials", "with origins: any, every page"),
    ({"origins": [APP, "null"], "credentials": True}, "/cors/credentials", 'with origins: "null", every page'),
    ({"origins": [APP], "credentials": True, "exposed": "any"}, "/cors/credentials", "name the fields"),
    ({"origins": ["*"]}, "/cors/origins/0", "origins: any"),
    ({"origins": [f"{APP}/"]}, "/cors/origins/0", "has a path"),
    ({"origins": [None]}, "/cors/origins/0", '"null"'),
    ({"origins": [APP, "*.org"]}, "/cors/origins/1", "top-level domain"),
    ({"origins": [APP], "methods": ["get"]}, "/cors/methods/0", "GET"),
    ({"origins": [APP], "methods": []}, "/cors/methods", "it must not be empty"),
    ({"origins": [APP], "headers": ["*"]}, "/cors/headers/0", "write any"),
    ({"origins": [APP], "headers": ["X Y"]}, "/cors/headers/0", "can't be the name of a header field"),
    ({"origins": [APP], "headers": ["X-A\r\nX-B: 1"]}, "/cors/headers/0", "can't be the name of a header field"),
    ({"origins": [APP], "max_age": "2d"}, "/cors/max_age", "86400"),
    ({"origins": [APP], "origin": APP}, "/cors/origin", "unknown key; did you mean 'origins'"),
    ("all", "/cors", "{origins: [https://app.example.org]}, or none"),
    (True, "/cors", "a mapping"),
]


async def test_what_is_wrong_with_a_spec(gateway: Running) -> None:
    for cors, key, reason in WRONG:
        answer = await gateway.register({**LEAST, "cors": cors})
        assert answer.status_code == 400
        errors = answer.json()["errors"]
        assert [error["pointer"] for error in errors] == [key], errors
        assert reason in errors[0]["reason"]


@pytest.mark.parametrize(
    "cors", ["none", {"origins": "any"}, {"origins": APP}, {"origins": ["HTTPS://App.example.org:443", "*.b.org"]}]
)
def test_a_spec_is_shown_as_it_can_be_read_again(cors: Any) -> None:
    spec = RouteSpec.model_validate({**LEAST, "cors": cors})
    assert RouteSpec.model_validate(spec_json(spec)) == spec


def test_a_list_of_requested_fields_is_bounded() -> None:
    policy = CorsPolicy(CorsSpec.model_validate({"origins": [APP], "headers": "any"}))
    fields = dict(policy.preflight(APP, ",".join(f"x-{n}" for n in range(1000)) + ", bad name,\x00"))
    names = fields["access-control-allow-headers"].split(", ")
    assert len(names) <= 256
    assert names[:2] == ["x-0", "x-1"]
