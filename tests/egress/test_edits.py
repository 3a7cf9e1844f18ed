"""What a route changes on the way to its service and back: header fields, the query, and how values reach them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bridge.api.call import Call, HttpRequest, Identity
from bridge.api.spec.route import RouteSpec
from bridge.config.specfile import read_text
from bridge.egress.query import edited
from bridge.egress.route import route_egress
from bridge.errors import ClientError, SpecError
from tests.conftest import Recorded, Running, Start, Upstream
from tests.docs.pages import ROOT, blocks_of

BASE: dict[str, Any] = {
    "route": "/a/{id}",
    "upstream": "svc:80",
    "auth": "none",
    "transform": {"request": "passthrough", "response": "passthrough"},
}
JWT = {"type": "JWT", "audience": "A"}


async def register(gateway: Running, **keys: Any) -> None:
    reply = await gateway.register({**BASE, **keys})
    assert reply.status_code == 201, reply.text


# --- header fields ---------------------------------------------------------------------------------------------------


async def test_request_fields_are_set_added_and_removed(gateway: Running, upstream: Upstream) -> None:
    request = {
        "set": {"X-Set": "new", "x-level": 3, "X-Claim": {"$claim": "sub"}, "X-Many": ["a", "b"]},
        "add": {"X-Added": {"$header": "x-in"}},
        "remove": ["X-Gone", "User-Agent"],
    }
    await register(gateway, auth=JWT, headers={"request": request})
    sent = [("x-set", "old"), ("X-SET", "older"), ("x-added", "mine"), ("x-gone", "1"), ("x-in", "café")]
    headers = [*sent, *gateway.bearer(audience="A", sub="ada").items()]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    reply = await gateway.client.get("/a/7", headers=raw)
    assert reply.status_code == 200, reply.text
    [seen] = upstream.seen
    assert (seen.header("x-set"), seen.header("x-level"), seen.header("x-claim")) == (["new"], ["3"], ["ada"])
    assert seen.header("x-many") == ["a", "b"]
    assert [value.encode("latin-1") for value in seen.header("x-added")] == [b"mine", "café".encode()]
    assert seen.header("x-gone") == seen.header("user-agent") == []


@pytest.mark.parametrize(
    ("value", "claims", "status"),
    [
        ({"$claim": "org"}, {}, 403),
        ({"$claim": "sub"}, {"sub": "a\r\nx-evil: 1"}, 400),
        ({"$claim": "sub"}, {"sub": "a\0b"}, 400),
        ({"$header": "x-org"}, {}, 400),
        ({"$claim": "org", "default": None}, {}, 200),
        ({"$claim": "org", "default": "none"}, {}, 200),
    ],
)
async def test_a_value_that_a_call_lacks_or_that_no_field_takes(
    gateway: Running, upstream: Upstream, value: Any, claims: dict[str, Any], status: int
) -> None:
    await register(gateway, auth=JWT, headers={"request": {"set": {"X-Org": value}}})
    reply = await gateway.client.get("/a/7", headers={**gateway.bearer(audience="A", **claims), "x-org2": "1"})
    assert reply.status_code == status, reply.text
    if status != 200:
        assert reply.json()["type"] == f"urn:bridge:problem:{'forbidden' if status == 403 else 'invalid-parameter'}"
        assert not upstream.seen
    else:
        assert upstream.seen[0].header("x-org") == ([] if value["default"] is None else ["none"])
        assert not upstream.seen[0].header("x-evil")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"headers": {"request": {"set": {"Host": "x"}}}}, "use the key forwarded"),
        ({"headers": {"request": {"set": {"Content-Length": "1"}}}}, "frames its messages itself"),
        ({"headers": {"request": {"remove": ["Connection"]}}}, "belongs to one connection"),
        ({"headers": {"request": {"add": {"Transfer-Encoding": "x"}}}}, "belongs to one connection"),
        ({"headers": {"request": {"set": {"grpc-timeout": "1S"}}}}, "belongs to gRPC itself"),
        ({"headers": {"request": {"set": {":path": "/x"}}}}, "can't be the name of a header"),
        ({"headers": {"request": {"set": {"x y": "1"}}}}, "can't be the name of a header"),
        ({"headers": {"request": {"set": {"Authorization": "Basic YTpi"}}}}, "use upstream_auth"),
        ({"headers": {"request": {"set": {"X": "1"}, "remove": ["x"]}}}, "edited twice"),
        ({"headers": {"request": {"set": {"X": {"$clam": "sub"}}}}}, "did you mean $claim?"),
        ({"headers": {"request": {"set": {"X": None}}}}, "a text is wanted"),
        ({"headers": {"response": {"set": {"X-Trace-ID": "1"}}}}, "the gateway sends it itself"),
        ({"headers": {"response": {"remove": ["content-length"]}}}, "frames its messages itself"),
        ({"headers": {"response": {"set": {"RateLimit": "1"}}}}, "the gateway sends it itself"),
        ({"headers": {"response": {"set": {"X": {"$env": "BRIDGE_SECRET_X"}}}}}, "clients never get"),
        ({"headers": {"request": {"put": {}}}}, "unknown key"),
        ({"query": {"set": {"": "1"}}}, "can't be the name of a parameter"),
        ({"upstream": "svc:80/x?"}, "question mark"),
        ({"upstream": "svc:80/x?a=b c"}, "is not of the form"),
        ({"upstream": "svc:80/x?a=%zz"}, "percent-encoded"),
    ],
)
def test_what_no_route_may_edit(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(json.dumps({**BASE, **keys}), "a.yml")
    [fault] = caught.value.faults
    assert told in fault.reason
    assert (fault.file, fault.line) == ("a.yml", 1)


async def test_response_fields_of_replies_and_problems(gateway: Running, upstream: Upstream) -> None:
    response = {
        "set": {"X-Frame-Options": "DENY", "X-User": {"$claim": "sub", "default": "nobody"}},
        "add": {"Link": "</x>; rel=help", "X-Evil": {"$header": "x-evil"}},
        "remove": ["X-Internal"],
    }
    await register(gateway, auth=JWT, headers={"response": response})
    upstream.headers = [("x-internal", "10.0.0.1"), ("link", "<a>"), ("x-frame-options", "ALLOW"), ("x-user", "root")]
    reply = await gateway.client.get("/a/7", headers=gateway.bearer(audience="A", sub="ada"))
    assert reply.headers.get_list("link") == ["<a>", "</x>; rel=help"]
    assert (reply.headers["x-frame-options"], reply.headers["x-user"]) == ("DENY", "ada")
    assert not {"x-internal", "x-evil", "b"} & {*reply.headers}
    refused = await gateway.client.get("/a/7")
    assert (refused.status_code, refused.headers["x-frame-options"]) == (401, "DENY")
    assert refused.headers["x-user"] == "nobody"
    assert refused.headers["x-trace-id"] == refused.json()["trace_id"]
    odd = await gateway.client.get("/a/7", headers=gateway.bearer(audience="A", sub="a\r\nb: c"))
    assert (odd.status_code, odd.headers.get_list("x-user")) == (200, [])
    assert "b" not in odd.headers


async def test_what_is_cached_holds_no_other_callers_values(gateway: Running, upstream: Upstream) -> None:
    headers = {
        "request": {"set": {"X-User": {"$claim": "sub"}}},
        "response": {"set": {"X-You": {"$claim": "sub"}, "Cache-Control": "no-cache"}},
    }

    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        return 200, [], request.header("x-user")[0].encode()

    upstream.answer = answer
    await register(gateway, auth=JWT, headers=headers, cache={"ttl": "1h"})
    for user in ("ada", "bob", "ada"):
        reply = await gateway.client.get("/a/7", headers=gateway.bearer(audience="A", sub=user))
        assert (reply.text, reply.headers["x-you"]) == (user, user)
    await register(
        gateway, route="/b", headers={"response": {"set": {"X-Lang": {"$header": "x-l"}}}}, cache={"ttl": "1h"}
    )
    upstream.answer = None
    for lang in ("de", "fr"):
        reply = await gateway.client.get("/b", headers={"x-l": lang})
        assert reply.headers["x-lang"] == lang
    assert reply.headers["x-cache"] == "HIT"


async def test_replies_that_depend_on_a_header_say_so(gateway: Running, upstream: Upstream) -> None:
    await register(
        gateway, query={"set": {"lang": {"$header": "accept-language", "default": "en"}}}, cache={"ttl": "1h"}
    )
    for lang, cached in (("de", "MISS"), ("fr", "MISS"), ("de", "HIT")):
        reply = await gateway.client.get("/a/7", headers={"accept-language": lang})
        assert (reply.headers["vary"], reply.headers["x-cache"]) == ("accept-language", cached)
    assert [seen.target for seen in upstream.seen] == ["/a/7?lang=de", "/a/7?lang=fr"]


# --- the query and the path -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "asked", "sent"),
    [
        ({"upstream": "svc:80/index.php?module=ws"}, "/a/7", "/index.php?module=ws"),
        ({"upstream": "svc:80/index.php?module=ws"}, "/a/7?x=1&module=evil&%6dodule=evil", "/index.php?module=ws&x=1"),
        ({"upstream": "svc:80/i?id={id}&f=json"}, "/a/x%26y%20z", "/i?id=x%26y%20z&f=json"),
        ({"upstream": "svc:80/i?id={id}&f=json"}, "/a/x&admin=1", "/i?id=x%26admin%3D1&f=json"),
        ({"upstream": "svc:80?v=2"}, "/a/7?x=1", "/a/7?v=2&x=1"),
        ({"upstream": "svc:80/old/{id}?v=2"}, "/a/7", "/old/7?v=2"),
        ({"query": {"remove": ["utm"]}}, "/a/7?utm=1&a=%20+&UTM=2", "/a/7?a=%20+&UTM=2"),
        ({"query": {"remove": ["utm"]}}, "/a/7?utm=1", "/a/7"),
        ({"query": {"set": {"a": "x y&"}, "add": {"b": ["1", 2]}}}, "/a/7?a=0&b=0&c", "/a/7?b=0&c&a=x%20y%26&b=1&b=2"),
        ({"query": {"add": {"user": {"$header": "x-user"}}}}, "/a/7?", "/a/7?&user=ann"),
    ],
)
async def test_queries(gateway: Running, upstream: Upstream, keys: dict[str, Any], asked: str, sent: str) -> None:
    await register(gateway, **keys)
    reply = await gateway.client.get(asked, headers={"x-user": "ann"})
    assert reply.status_code == 200, reply.text
    assert [seen.target for seen in upstream.seen] == [sent]


@pytest.mark.parametrize("request_kind", ["passthrough", "xml"])
async def test_paths_by_template(gateway: Running, upstream: Upstream, request_kind: str) -> None:
    upstream.headers, upstream.body = [("content-type", "application/xml")], b"<a/>"
    for route, target in (
        ("/t/{x}/{y}", "svc:80/old/{y}/by/{x}"),
        ("/u/{x}/{rest*}", "svc:80/{x}/files/{rest*}?from={x}&all={rest}"),
        ("/w/{rest*}", "svc:80/one?path={rest}"),
    ):
        await register(gateway, route=route, upstream=target, transform={"request": request_kind})
    for asked in ("/t/a%2Fb/c", "/u/1/d/e%20f/g", "/w/p/q"):
        assert (await gateway.client.get(asked)).status_code == 200
    assert [seen.target for seen in upstream.seen] == [
        "/old/c/by/a%2Fb",
        "/1/files/d/e%20f/g?from=1&all=d/e%20f/g",
        "/one?path=p/q",
    ]


async def test_an_unknown_parameter_of_the_upstreams_query_is_found_at_bind(gateway: Running) -> None:
    reply = await gateway.register({**BASE, "upstream": "svc:80/x?id={nr}"})
    assert reply.status_code == 400
    assert "the path /a/{id} has no parameter 'nr'" in reply.text


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
PAIRS = st.lists(st.tuples(NAMES, TEXTS), max_size=6)


@given(before=PAIRS, dropped=st.frozensets(NAMES, max_size=3), added=PAIRS, plus=st.booleans())
def test_any_query_holds_what_it_should(
    before: list[tuple[str, str]], dropped: frozenset[str], added: list[tuple[str, str]], plus: bool
) -> None:
    query = urlencode(before) if plus else urlencode(before, quote_via=quote)
    target = edited(f"/p?{query}" if query else "/p", "", dropped, added)
    path, _, after = target.partition("?")
    assert path == "/p"
    assert target.isascii()
    expected = [pair for pair in before if pair[0] not in dropped] + added
    assert parse_qsl(after, keep_blank_values=True) == expected


@given(
    fields=st.lists(st.tuples(st.sampled_from(["x-a", "X-A", "x-b", "accept"]), st.sampled_from("123")), max_size=8),
    set_=st.dictionaries(st.sampled_from(["X-A", "x-b"]), st.sampled_from(["s", ["s", "t"]]), max_size=2),
    add=st.dictionaries(st.sampled_from(["X-a", "Accept"]), st.just("n"), max_size=2),
    remove=st.sets(st.sampled_from(["ACCEPT", "x-c"]), max_size=2),
)
def test_any_fields_hold_what_they_should(
    fields: list[tuple[str, str]], set_: dict[str, Any], add: dict[str, str], remove: set[str], tmp_path_factory: Any
) -> None:
    spec = RouteSpec.model_validate({**BASE, "headers": {"request": {"set": set_, "add": add, "remove": [*remove]}}})
    egress = route_egress(spec, "http", tmp_path_factory.getbasetemp())
    outbound = HttpRequest("GET", "/", [*fields])
    after = egress.apply(Call(), outbound).headers if egress else outbound.headers
    gone = {name.lower() for name in (*set_, *remove)}
    expected = [field for field in fields if field[0].lower() not in gone]
    expected += [
        (name.lower(), one) for name, value in set_.items() for one in ([value] if isinstance(value, str) else value)
    ]
    expected += [(name.lower(), value) for name, value in add.items()]
    assert after == expected
    assert outbound.headers == fields  # the codec's own request stays as it was


@given(text=st.text(max_size=20))
def test_no_claim_splits_a_message(text: str, tmp_path_factory: Any) -> None:
    keys = {"headers": {"request": {"set": {"X": {"$claim": "c"}}}}, "query": {"set": {"q": {"$claim": "c"}}}}
    egress = route_egress(RouteSpec.model_validate({**BASE, **keys}), "http", tmp_path_factory.getbasetemp())
    assert egress is not None
    try:
        sent = egress.apply(Call(identity=Identity(claims={"c": text})), HttpRequest("GET", "/p"))
    except ClientError:
        assert not text.isprintable()
        return
    [(_, value)] = sent.headers
    assert not any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in value)
    assert value == text.strip(" \t")
    assert parse_qsl(sent.path.partition("?")[2], keep_blank_values=True) == [("q", text)]


async def test_a_route_without_edits_has_the_codecs_own_function(gateway: Running, start: Start) -> None:
    await register(gateway)
    [route] = gateway.app.state.registry.table.routes.values()
    [endpoint] = route.endpoints
    assert (endpoint.egress, endpoint.request) == (None, endpoint.codec.request)


# --- docs/spec.md ----------------------------------------------------------------------------------------------------


def shown(mark: str) -> dict[str, Any]:
    """The keys of a block of docs/spec.md."""
    [block] = [block for block in blocks_of(ROOT / "docs/spec.md") if mark in block.text]
    return dict(YAML(typ="safe").load(block.text))


async def test_the_blocks_of_the_documentation(gateway: Running, upstream: Upstream) -> None:
    await register(gateway, auth=JWT, **shown("add: {X-Source: gateway}"))
    query = {**shown("index.php?module=ws&id={id}"), "upstream": "svc:80/index.php?module=ws&id={id}"}
    await register(gateway, route="/b/{id}", auth=JWT, **query)
    upstream.headers = [("x-internal-host", "a")]
    bearer = gateway.bearer(audience="A", sub="ada", tenant="t1")
    reply = await gateway.client.get("/a/7", headers={**bearer, "x-debug": "1"})
    assert (reply.headers["cache-control"], reply.headers.get("x-internal-host")) == ("no-store", None)
    seen = upstream.seen[0]
    assert [seen.header(name) for name in ("x-tenant", "x-api-version", "x-source", "x-debug")] == [
        ["t1"], ["2"], ["gateway"], [],
    ]  # fmt: skip
    await gateway.client.get("/b/7?debug=1&q=2", headers=bearer)
    assert upstream.seen[1].target == "/index.php?module=ws&id=7&q=2&format=json&user=ada"
