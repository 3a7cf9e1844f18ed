"""`auth.from`: tokens and keys in cookies and queries, what reaches the service and the log, and forged requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.admin.credentials import new_key
from bridge.api.spec.route import RouteSpec
from bridge.cli.offline import explanation
from bridge.config.settings import load
from bridge.gateway.table import spec_json
from tests.conftest import Running, Start, Upstream

APP, OTHER = "https://app.example.org", "https://evil.test"
ROUTE = "route: {route}\nupstream: svc:80\nauth: {auth}\ntransform: {{request: passthrough}}\n{lines}\n"
JWT = "{type: JWT, roles: [clerk], from: [header, cookie: session, query: token]}"

ROUTES = {
    "all.yml": ROUTE.format(route="/all", auth=JWT, lines=""),
    "cors.yml": ROUTE.format(route="/cors", auth=JWT, lines=f"cors: {{origins: [{APP}], credentials: true}}"),
    "open.yml": ROUTE.format(route="/open", auth=JWT, lines="cors: {origins: any}"),
    "uncredited.yml": ROUTE.format(route="/uncredited", auth=JWT, lines=f"cors: {{origins: [{APP}]}}"),
    "cookie.yml": ROUTE.format(route="/cookie", auth="{type: JWT, from: [cookie: session]}", lines=""),
    "key.yml": ROUTE.format(route="/key", auth="{type: api_key, from: [header, query: api_key]}", lines=""),
    "any.yml": ROUTE.format(
        route="/any",
        auth="{any: [{type: JWT, from: [cookie: session]}, {type: api_key, from: [query: api_key]}, {type: none}]}",
        lines="",
    ),
}


@pytest.fixture
async def gateway(start: Start, upstream: Upstream) -> AsyncIterator[Running]:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES) as running:
        yield running


def session(token: str) -> dict[str, str]:
    return {"cookie": f"session={token}"}


async def test_what_the_service_gets(gateway: Running, upstream: Upstream) -> None:
    token = gateway.token(roles=("clerk",))
    get = gateway.client.get
    assert (await get("/all?a=1&b", headers=gateway.bearer(roles=("clerk",)))).status_code == 200
    assert (await get("/all?a=1&b", headers={"cookie": f"x=1; session={token};y=a=b"})).status_code == 200
    assert (await get("/all", headers={"cookie": f'session="{token}"'})).status_code == 200
    by_query = await get(f"/all?a=1&token={token}&b")
    assert by_query.status_code == 200
    assert by_query.headers["cache-control"] == "private"
    assert (await get(f"/all?%74oken={token}")).status_code == 200
    assert [(seen.target, seen.header("cookie"), seen.header("authorization")) for seen in upstream.seen] == [
        ("/all?a=1&b", [], []),
        ("/all?a=1&b", ["x=1; y=a=b"], []),
        ("/all", [], []),
        ("/all?a=1&b", [], []),
        ("/all", [], []),
    ]


async def test_caches_on_the_way_keep_no_callers_reply(gateway: Running, upstream: Upstream) -> None:
    """They don't know that the cookie or the parameter is a credential, as they know it of Authorization."""
    upstream.headers = [("cache-control", "max-age=60")]
    token = gateway.token(roles=("clerk",))
    by_cookie = await gateway.client.get("/all", headers=session(token))
    by_query = await gateway.client.get(f"/all?token={token}")
    refused = await gateway.client.get("/all", headers=session("no.such.token"))
    by_header = await gateway.client.get("/all", headers=gateway.bearer(roles=("clerk",)))
    assert [each.headers["cache-control"] for each in (by_cookie, by_query, refused, by_header)] == [
        "max-age=60, private",
        "max-age=60, private",
        "private",
        "max-age=60",
    ]


@pytest.mark.parametrize("security_headers", ["on", "off"])
async def test_no_page_tells_others_its_url_with_a_token(
    start: Start, upstream: Upstream, security_headers: str
) -> None:
    """As `Referer` it would come to the services of other routes, and to other sites."""
    upstream.headers = [("referrer-policy", "unsafe-url")]
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, security_headers=security_headers) as gateway:
        token = gateway.token(roles=("clerk",))
        answers = [await gateway.client.get(f"/all?token={value}") for value in (token, "no.such.token")]
        by_cookie = await gateway.client.get("/all", headers=session(token))
    assert [each.headers.get_list("referrer-policy") for each in answers] == [["no-referrer"]] * 2
    assert by_cookie.headers.get_list("referrer-policy") == ["unsafe-url"]


async def test_credentials_are_taken_from_where_the_route_says(gateway: Running, upstream: Upstream) -> None:
    token = gateway.token(roles=("clerk",))
    statuses = [
        (await gateway.client.get(path, headers=headers)).status_code
        for path, headers in [
            ("/cookie", session(token)),
            ("/cookie", gateway.bearer()),
            (f"/cookie?token={token}", {}),
            ("/cookie", {**gateway.bearer(), **session(token)}),  # the field is none of the route's ways
            ("/cookie", {"cookie": f"other={token}"}),
            ("/cookie", {"cookie": "session="}),
            ("/all", {}),
        ]
    ]
    assert statuses == [200, 401, 401, 200, 401, 401, 401]
    missing = await gateway.client.get("/all")
    assert missing.json()["detail"] == (
        "This route takes a bearer token in the Authorization header, the cookie session or the query parameter token."
    )
    assert missing.headers["www-authenticate"] == 'Bearer realm="hms-bridge"'


async def test_two_ways_at_once(gateway: Running, upstream: Upstream) -> None:
    """RFC 6750, section 2: clients must not use more than one."""
    token = gateway.token(roles=("clerk",))
    bearer = gateway.bearer(roles=("clerk",))
    for path, headers in [
        ("/all", {**bearer, **session(token)}),
        (f"/all?token={token}", bearer),
        (f"/all?token={token}", session(token)),
        (f"/all?token={token}&token={token}", {}),
        ("/all", {"cookie": f"session={token}; session=other"}),
    ]:
        answer = await gateway.client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:bridge:problem:bad-request"), path
        assert token not in answer.text
    assert not upstream.seen


async def test_explain_shows_what_the_service_gets(start: Start, tmp_path: Path) -> None:
    async with start(mesh={"svc": "127.0.0.1:1"}, routes=ROUTES) as gateway:
        fields = [("cookie", "x=1; session=hunter2"), ("authorization", "Bearer hunter2"), ("x-desk", "4")]
        shown = await explanation(gateway.settings, "/all?token=hunter2&a=1", b"", "", fields)
    first, _, sent = shown.partition("\n")
    assert first.startswith("GET /all?a=1 ")
    assert "x-desk: 4" in sent
    assert "authorization" not in shown
    assert "token" not in sent
    assert "hunter2" not in shown


async def test_an_ignored_parameter_may_hold_credentials(start: Start, upstream: Upstream) -> None:
    """Google's clients send `access_token` and `key` with other parameters that routes ignore."""
    text = (
        "{route: /a, upstream: svc:80, auth: {type: JWT, from: [query: access_token]}, "
        "transform: {request: passthrough, passthrough: {ignore_query: [google]}}}"
    )
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": text}) as gateway:
        answer = await gateway.client.get(f"/a?access_token={gateway.token()}&alt=json&key=hunter2&b=1")
        assert answer.status_code == 200
        assert (await gateway.client.get("/a?alt=json")).status_code == 401
    assert [seen.target for seen in upstream.seen] == ["/a?b=1"]
    assert "hunter2" not in str(gateway.log())


async def test_api_keys_in_a_query(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    key, _ = await new_key(load({}, home=tmp_path / "home"), "billing", "", [], [], "")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES) as gateway:
        statuses = [
            (await gateway.client.get(path, headers=headers)).status_code
            for path, headers in [
                (f"/key?api_key={key}&a=1", {}),
                ("/key", {"x-api-key": key}),
                (f"/any?api_key={key}", {}),
                (f"/key?api_key={key[:-1]}x", {}),
                (f"/any?api_key={key[:-1]}x", {}),
                ("/any", {}),
                ("/any", session("no.such.token")),
            ]
        ]
    assert statuses == [200, 200, 200, 401, 401, 200, 401]
    assert [(seen.target, seen.header("x-api-key")) for seen in upstream.seen] == [
        ("/key?a=1", []),
        ("/key", []),
        ("/any", []),
        ("/any", []),
    ]


async def test_the_log_has_no_token(start: Start, upstream: Upstream) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES) as gateway:
        token = gateway.token(roles=("clerk",))
        for path in ("/all", "/nothing", "/key", "/cookie"):
            for value in (token, "plain-secret"):
                await gateway.client.get(f"{path}?token={value}&api_key={value}&a=1", headers=session(value))
                await gateway.client.options(f"{path}?token={value}", headers={"origin": APP})
    text = (gateway.home / ".bridge/access.log").read_text()
    assert token not in text
    assert "plain-secret" not in text
    assert "token=***&api_key=***&a=1" in text


async def test_the_reason_is_for_the_log(start: Start, upstream: Upstream) -> None:
    """Which part failed, whoever made the browser send it does not learn."""
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES) as gateway:
        expired = gateway.token(roles=("clerk",), ttl=-3600)
        answers = [
            await gateway.client.get("/all", headers=session(value)) for value in ("nonsense", "no.such.token", expired)
        ]
        answers += [await gateway.client.get(f"/all?token={value}") for value in ("nonsense", expired)]
        assert {(each.status_code, each.json()["detail"]) for each in answers} == {
            (401, "The credentials are not valid for this call.")
        }
        assert {each.headers["www-authenticate"] for each in answers} == {'Bearer realm="hms-bridge"'}
        roleless = await gateway.client.get("/all", headers=session(gateway.token()))
        forged = await gateway.client.post(
            "/all", headers={**session(gateway.token(roles=("clerk",))), "origin": OTHER}
        )
        for each in (roleless, forged):
            assert (each.status_code, each.json()["detail"]) == (403, "This call is not allowed.")
    causes = [line["cause"] for line in gateway.log()]
    assert "expired" in causes[2]
    assert "clerk" in causes[5]
    assert causes[6] == "a cookie's token came from a page that may not use it"
    assert not upstream.seen


#: path, request fields beside the cookie -> status of a POST
PAGES: list[tuple[str, dict[str, str], int]] = [
    ("/all", {}, 403),  # nothing shows where it comes from
    ("/all", {"origin": OTHER}, 403),
    ("/all", {"origin": APP}, 403),
    ("/all", {"origin": "null"}, 403),
    ("/all", {"origin": "http://api.example.org"}, 200),
    ("/all", {"origin": "https://api.example.org"}, 200),
    ("/all", {"origin": "https://api.example.org.evil.test"}, 403),
    ("/all", {"origin": "http://api.example.org", "x-forwarded-proto": "https"}, 403),
    ("/all", {"origin": "http://api.example.org", "x-forwarded-proto": "https, https"}, 403),
    ("/all", {"sec-fetch-site": "same-origin"}, 200),
    ("/all", {"sec-fetch-site": "same-site"}, 403),
    ("/all", {"sec-fetch-site": "cross-site"}, 403),
    ("/all", {"sec-fetch-site": "none"}, 403),
    ("/all", {"sec-fetch-site": "cross-site", "referer": "https://api.example.org/"}, 403),
    ("/all", {"origin": "null", "sec-fetch-site": "same-origin"}, 200),
    ("/all", {"origin": "null", "referer": "https://api.example.org/"}, 403),
    ("/all", {"referer": "https://api.example.org/a?b"}, 200),
    ("/all", {"referer": "https://evil.test/?https://api.example.org/"}, 403),
    ("/all", {"referer": "https://api.example.org@evil.test/"}, 403),
    ("/all", {"referer": "nonsense"}, 403),
    ("/cors", {"origin": APP}, 200),
    ("/cors", {"origin": OTHER}, 403),
    ("/cors", {"origin": "https://api.example.org"}, 200),
    ("/cors", {"referer": f"{APP}/page"}, 200),
    ("/cors", {}, 403),
    # Cookies are for pages that `cors` trusts with them.
    ("/open", {"origin": OTHER}, 403),
    ("/open", {"origin": "https://api.example.org"}, 200),
    ("/uncredited", {"origin": APP}, 403),
    ("/cors", {"origin": APP, "sec-fetch-site": "cross-site"}, 200),
]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_who_may_use_a_cookie(gateway: Running, upstream: Upstream, method: str) -> None:
    host = {"host": "api.example.org"}
    for path, fields, status in PAGES:
        headers = {**host, **session(gateway.token(roles=("clerk",))), **fields}
        answer = await gateway.client.request(method, path, headers=headers)
        assert answer.status_code == status, (path, fields)
    assert len(upstream.seen) == [status for *_, status in PAGES].count(200)
    # What is safe, and what has its token in a field that no page of others can set, needs no origin.
    assert (await gateway.client.get("/all", headers=session(gateway.token(roles=("clerk",))))).status_code == 200
    assert (await gateway.client.post("/all", headers=gateway.bearer(roles=("clerk",)))).status_code == 200


async def test_a_wrong_origin_says_nothing_of_the_token(gateway: Running) -> None:
    answers = [
        await gateway.client.post("/all", headers={**session(value), "origin": OTHER})
        for value in (gateway.token(roles=("clerk",)), gateway.token(), "nonsense")
    ]
    assert {(each.status_code, each.json()["detail"]) for each in answers} == {(403, "This call is not allowed.")}


async def test_the_openapi_document(gateway: Running) -> None:
    document = (await gateway.client.get("/-/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]

    def places(path: str) -> list[tuple[str, str]]:
        names = [name for one in document["paths"][path]["get"]["security"] for name in one]
        return [(schemes[name].get("in", schemes[name]["type"]), schemes[name].get("name", "")) for name in names]

    assert places("/all") == [("http", ""), ("cookie", "session"), ("query", "token")]
    assert places("/cookie") == [("cookie", "session")]
    assert places("/key") == [("header", "X-API-Key"), ("query", "api_key")]
    assert places("/any") == [("cookie", "session"), ("query", "api_key")]


LEAST: dict[str, Any] = {"route": "/a", "upstream": "svc:80", "transform": {"request": "passthrough"}}
WRONG: list[tuple[Any, str, str]] = [
    ({"type": "JWT", "from": []}, "/auth/from", "it must not be empty"),
    ({"type": "JWT", "from": "header"}, "/auth/from", "a list"),
    ({"type": "JWT", "from": ["body"]}, "/auth/from/0", "header"),
    ({"type": "JWT", "from": ["header", "header"]}, "/auth/from", "twice"),
    ({"type": "JWT", "from": [{"cookie": "a b"}]}, "/auth/from/0/cookie", "name of a cookie"),
    ({"type": "JWT", "from": [{"cookie": "a;b"}]}, "/auth/from/0/cookie", "name of a cookie"),
    ({"type": "JWT", "from": [{"query": ""}]}, "/auth/from/0/query", "name of a query parameter"),
    ({"type": "JWT", "from": [{"query": "t"}]}, "/auth/from/0", "token, access_token or api_key"),
    ({"type": "JWT", "from": [{"form": "token"}]}, "/auth/from/0", "header"),
    ({"type": "JWT", "from": ["cookie"]}, "/auth/from/0", "{cookie: NAME}"),
    ({"type": "JWT", "from": [{"cookie": "a", "query": "token"}]}, "/auth/from/0", "{cookie: NAME}"),
    ({"type": "JWT", "from": [{"cookie": "a", "path": "/"}]}, "/auth/from/0/path", "unknown key"),
    ({"type": "JWT", "from": [5]}, "/auth/from/0", "{cookie: NAME}"),
    ({"type": "none", "from": ["header"]}, "/auth/from", "unknown key"),
    ({"any": [{"type": "none"}], "from": ["header"]}, "/auth/from", "unknown key"),
    (
        {"any": [{"type": "JWT", "from": [{"cookie": "s"}]}, {"type": "api_key", "from": [{"cookie": "s"}]}]},
        "/auth",
        "the cookie s can't hold two kinds of credentials",
    ),
    (
        {"any": [{"type": "JWT", "from": [{"cookie": "s"}]}, {"type": "api_key", "header": "Authorization"}]},
        "/auth",
        "can't share the Authorization header",
    ),
    ({"any": [{"type": "JWT"}, {"type": "JWT", "from": [{"cookie": "s"}]}]}, "/auth", "the same from"),
]


async def test_what_is_wrong_with_a_spec(gateway: Running) -> None:
    for auth, pointer, reason in WRONG:
        answer = await gateway.register({**LEAST, "auth": auth})
        assert answer.status_code == 400, auth
        errors = answer.json()["errors"]
        assert [error["pointer"].startswith(pointer) for error in errors] == [True], errors
        assert reason in errors[0]["reason"]


def test_a_spec_is_shown_as_it_can_be_read_again() -> None:
    auth = {"type": "JWT", "from": ["header", {"cookie": "session"}, {"query": "token"}]}
    spec = RouteSpec.model_validate({**LEAST, "auth": auth})
    assert spec_json(spec)["auth"] == auth
    assert RouteSpec.model_validate(spec_json(spec)) == spec
    both = {"any": [auth, {"type": "api_key", "from": [{"query": "api_key"}]}]}
    assert spec_json(RouteSpec.model_validate({**LEAST, "auth": both}))["auth"] == both
    with pytest.raises(ValidationError):
        RouteSpec.model_validate({**LEAST, "auth": {"type": "JWT", "sources": ["header"]}})
