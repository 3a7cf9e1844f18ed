"""What a route publishes: annotations, rules of the spec, automatic paths; and the rules that are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.api import BindError, Call
from bridge_grpc import Grpc

HEAD = 'syntax = "proto3";\npackage a.v1;\nimport "google/api/annotations.proto";\n'
MESSAGES = (
    "message M { string id = 1; string other = 2; repeated string many = 3; M sub = 4; map<string, string> map = 5; }\n"
)


def proto(*methods: str, extra: str = "") -> str:
    return f"{HEAD}{MESSAGES}{extra}service S {{\n" + "\n".join(methods) + "\n}\n"


def rpc(name: str, option: str = "", takes: str = "M", gives: str = "M") -> str:
    body = f"{{ option (google.api.http) = {{ {option} }}; }}" if option else ";"
    return f"rpc {name}({takes}) returns ({gives}) {body}"


def paths(operations: Any) -> list[tuple[str, str]]:
    return [(op.method, op.path) for op in operations]


async def test_every_unary_method_has_an_automatic_path(bind: Any) -> None:
    operations = await bind(proto(rpc("A"), rpc("B", 'get: "/v1/b"')))
    assert paths(operations) == [("POST", "/a.v1.S/A"), ("GET", "/v1/b"), ("POST", "/a.v1.S/B")]
    assert [op.name for op in operations] == ["A", "B", "B.2"]
    assert {op.upstream_name for op in operations} == {"/a.v1.S/A", "/a.v1.S/B"}


async def test_streams_are_published_with_a_websocket_beside(bind: Any, grpc_plugin: Grpc) -> None:
    text = proto(
        rpc("A"),
        rpc("Up", 'post: "/v1/same" body: "*"', takes="stream M"),
        rpc("Down", 'get: "/v1/same"', gives="stream M"),
        rpc("Both", takes="stream M", gives="stream M"),
    )
    assert paths(await bind(text)) == [
        ("POST", "/a.v1.S/A"),
        ("POST", "/v1/same"), ("WEBSOCKET", "/v1/same"), ("POST", "/a.v1.S/Up"), ("WEBSOCKET", "/a.v1.S/Up"),
        ("GET", "/v1/same"), ("POST", "/a.v1.S/Down"), ("WEBSOCKET", "/a.v1.S/Down"),
        ("POST", "/a.v1.S/Both"), ("WEBSOCKET", "/a.v1.S/Both"),
    ]  # fmt: skip
    assert paths(await bind(text, method="Both")) == [("POST", ""), ("WEBSOCKET", "")]


@pytest.mark.parametrize("kind", ["SEARCH", "search", "QUERY", "PURGE", "M-SEARCH"])
async def test_custom_methods_of_any_name_that_the_server_reads(bind: Any, grpc_plugin: Grpc, kind: str) -> None:
    operations = await bind(proto(rpc("A", f'custom: {{ kind: "{kind}" path: "/v1/a" }}')))
    assert paths(operations) == [(kind.upper(), "/v1/a"), ("POST", "/a.v1.S/A")]
    assert grpc_plugin.skipped["/api"] == ()


@pytest.mark.parametrize("kind", ["LIST", "CONNECT"])
async def test_custom_methods_that_no_client_can_send_are_left_out_and_named(
    bind: Any, grpc_plugin: Grpc, kind: str
) -> None:
    operations = await bind(proto(rpc("A", f'custom: {{ kind: "{kind}" path: "/v1/a" }}')))
    assert paths(operations) == [("POST", "/a.v1.S/A")]
    assert f"{kind} is not an HTTP method that the gateway's server reads" in grpc_plugin.skipped["/api"][0]


@pytest.mark.parametrize("kind", ["websocket", "", "A B", "GET/1"])
async def test_what_is_no_method_is_refused(bind: Any, kind: str) -> None:
    with pytest.raises(BindError, match="can't be the method of a rule"):
        await bind(proto(rpc("A", f'custom: {{ kind: "{kind}" path: "/v1/a" }}')), strict=True)


@pytest.mark.parametrize(
    ("http", "text"),
    [
        ({}, "a/b%2Fc%2fd e"),
        ({"decode_reserved": "keep"}, "a/b%2Fc%2fd e"),
        ({"decode_reserved": "all"}, "a/b/c/d e"),
        ({"fully_decode_reserved_expansion": True}, "a/b/c/d e"),
        ({"fully_decode_reserved_expansion": False}, "a/b%2Fc%2fd e"),
    ],
)
async def test_encoded_slashes_in_several_segments(bind: Any, http: dict[str, Any], text: str) -> None:
    option = 'get: "/v1/{id=**}" additional_bindings { get: "/v2/{id=a/*}" } additional_bindings { get: "/v3/{id}" }'
    for route in ("/api", "/api/{other*}"):
        for operation in await bind(proto(rpc("A", option)), route=route, http=http):
            if operation.method != "GET" or not operation.path:
                continue
            codec: Any = operation.codec
            version, (name, *_) = operation.path[:3], re.findall(r"\{([^}*]+)", operation.path) or [""]
            raw = {"/v1": "a/b%2Fc%2fd%20e", "/v2": "b%2Fc%2fd%20e", "/v3": "a%2Fb%2Fc%2fd%20e"}[version]
            shown = codec.show(codec.request(Call(raw_params={name: raw, "other": "a/b%2Fc%2fd%20e"})))
            if name:
                assert f'id: "{"a/b/c/d e" if version == "/v3" else text}"' in shown
            if "other" in route:
                assert f'other: "{text}"' in shown


def test_switches_that_disagree() -> None:
    options = {"protos": ["a.proto"], "http": {"decode_reserved": "keep", "fully_decode_reserved_expansion": True}}
    with pytest.raises(ValidationError, match="contradict each other"):
        Grpc.options.model_validate(options)


@pytest.mark.parametrize(
    ("route", "rule", "path"),
    [
        ("/tally", "/v1/a/{id}", "/v1/a/{id}"),
        ("/", "/v1/a/{id}", "/v1/a/{id}"),
        ("/v1", "/v1/a/{id}", "/a/{id}"),
        ("/v1/a", "/v1/a/{id}", "/{id}"),
        ("/v1/a", "/v1/a", ""),
        ("/v1/a", "/v1/a:go", "/v1/a:go"),
        ("/v1", "/v1/{id=a/*}:go", "/a/{id}:go"),
        ("/v1", "/v10/a", "/v10/a"),
        ("/v1/x", "/{id=v1/x/*}", "/v1/x/{id}"),
    ],
)
async def test_a_rule_that_begins_with_the_route_s_path_is_the_whole_path(
    bind: Any, route: str, rule: str, path: str
) -> None:
    operations = await bind(proto(rpc("A", f'get: "{rule}"')), route=route)
    assert ("GET", path) in paths(operations)


async def test_rules_of_the_spec_replace_annotations(bind: Any) -> None:
    text = proto(rpc("A", 'get: "/v1/a"'), rpc("B"))
    rules = [
        {"selector": "a.v1.S.A", "post": "/old", "body": "*"},
        {
            "selector": "a.v1.S.B",
            "get": "/b/{id}",
            "additional_bindings": [{"custom": {"kind": "head", "path": "/h/{id}"}}],
        },
        {"selector": "a.v1.S.A", "post": "/new/{id}", "body": "sub", "response_body": "many"},
    ]
    assert paths(await bind(text, http_rules=rules)) == [
        ("POST", "/new/{id}"), ("POST", "/a.v1.S/A"), ("GET", "/b/{id}"), ("HEAD", "/h/{id}"), ("POST", "/a.v1.S/B")
    ]  # fmt: skip


async def test_an_annotation_may_say_what_the_automatic_path_says(bind: Any) -> None:
    assert paths(await bind(proto(rpc("A", 'post: "/a.v1.S/A" body: "*"')))) == [("POST", "/a.v1.S/A")]


async def test_zero_segments_leave_another_rule_s_path_alone(bind: Any) -> None:
    operations = await bind(proto(rpc("A", 'get: "/v1/{id=**}"'), rpc("B", 'get: "/v1"')))
    assert [(op.path, op.upstream_name) for op in operations if op.method == "GET"] == [
        ("/v1/{id*}", "/a.v1.S/A"), ("/v1", "/a.v1.S/B")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ('get: "v1/a"', "must start with /"),
        ('get: "/v1/{nope}"', "'nope' is not a field of a.v1.M"),
        ('get: "/v1/{sub.nope}"', "'sub.nope' is not a field"),
        ('get: "/v1/{many}"', "must be a single value"),
        ('get: "/v1/{map}"', "must be a single value"),
        ('get: "/v1/{sub}"', "must be a single value"),
        ('post: "/v1/a" body: "nope"', "body names 'nope'"),
        ('post: "/v1/a" body: "sub.id"', "body names 'sub.id'"),
        ('get: "/v1/a" response_body: "nope"', "response_body names 'nope'"),
    ],
)
async def test_rules_that_can_not_be_bound_say_where(bind: Any, option: str, reason: str) -> None:
    with pytest.raises(BindError) as caught:
        await bind(proto("", rpc("A", option)), strict=True)
    (fault,) = caught.value.faults
    assert reason in fault.reason
    assert "a.v1.S.A" in fault.reason
    assert (fault.file, fault.line) == ("test.proto", 7)


@pytest.mark.parametrize(
    "option",
    [
        'get: "v1/a"',
        'get: "/v1/**/x/**"',
        'get: "/v1/{nope}"',
        'get: "/v1/{many}"',
        'post: "/v1/a" body: "nope"',
        'get: "/v1/a" response_body: "nope"',
        'custom: { kind: "A B" path: "/v1/a" }',
    ],
)
async def test_an_annotation_that_can_not_be_served_costs_itself_alone(
    bind: Any, grpc_plugin: Grpc, option: str
) -> None:
    text = proto("", rpc("A", f'{option} additional_bindings {{ get: "/v1/also" }}'), rpc("B", 'get: "/v1/b"'))
    assert paths(await bind(text)) == [
        ("GET", "/v1/also"), ("POST", "/a.v1.S/A"), ("GET", "/v1/b"), ("POST", "/a.v1.S/B")
    ]  # fmt: skip
    (note,) = grpc_plugin.skipped["/api"]
    assert note.startswith("the http option of a.v1.S.A (test.proto:7): a.v1.S.A: ")


async def test_a_rule_of_the_spec_that_can_not_be_served_is_a_fault_of_the_spec(bind: Any) -> None:
    with pytest.raises(BindError, match=r"http_rules\[0\]: a\.v1\.S\.A: the path's variable 'nope'"):
        await bind(proto(rpc("A")), http_rules=[{"selector": "a.v1.S.A", "get": "/v1/{nope}"}])


async def test_of_two_rules_on_one_path_the_last_is_served_with_a_note(bind: Any, grpc_plugin: Grpc) -> None:
    text = proto(rpc("A", 'get: "/v1/{id}/x"'), rpc("B", 'get: "/v1/{other=*}/x"'), rpc("C", 'get: "/v1/c"'))

    async def served(**options: Any) -> dict[str, str]:
        operations = await bind(text, **options)
        return {op.path: op.upstream_name for op in operations if op.method == "GET"}

    assert await served() == {"/v1/{other}/x": "/a.v1.S/B", "/v1/c": "/a.v1.S/C"}
    assert grpc_plugin.skipped["/api"] == (
        "GET /v1/{id}/x is claimed twice: by the http option of a.v1.S.A (test.proto:6) and by the http option of "
        "a.v1.S.B (test.proto:7), which is served",
    )
    # The publisher's own rule counts more than an annotation, wherever it stands.
    rule = {"selector": "a.v1.S.A", "get": "/v1/c"}
    assert await served(http_rules=[rule]) == {"/v1/c": "/a.v1.S/A", "/v1/{other}/x": "/a.v1.S/B"}


async def test_a_rule_that_can_not_be_bound_takes_no_other_rule_s_path(bind: Any, grpc_plugin: Grpc) -> None:
    for options in (('get: "/v1/{id}"', 'get: "/v1/{nope}"'), ('get: "/v1/{nope}"', 'get: "/v1/{id}"')):
        good = "A" if "id" in options[0] else "B"
        operations = await bind(proto(rpc("A", options[0]), rpc("B", options[1])))
        assert [(op.path, op.upstream_name) for op in operations if op.method == "GET"] == [
            ("/v1/{id}", f"/a.v1.S/{good}")
        ]
        (note,) = grpc_plugin.skipped["/api"]
        assert "variable 'nope' is not a field" in note


async def test_an_annotation_goes_before_another_method_s_automatic_path(bind: Any, grpc_plugin: Grpc) -> None:
    for a, b in (("A", "B"), ("B", "A")):
        operations = await bind(proto(rpc(a, f'post: "/a.v1.S/{b}" body: "*"'), rpc(b)))
        assert [(op.path, op.upstream_name) for op in operations] == [
            (f"/a.v1.S/{b}", f"/a.v1.S/{a}"), (f"/a.v1.S/{a}", f"/a.v1.S/{a}")
        ]  # fmt: skip
        assert "the automatic path of" in grpc_plugin.skipped["/api"][0]


async def test_a_ready_set_of_ignored_parameters_leaves_the_request_s_own_fields(bind: Any) -> None:
    service = rpc("A", 'get: "/a"', takes="K", gives="K")
    text = f"{HEAD}message K {{ string key = 1; string alt = 2; }} service S {{ {service} }}"
    get, post = await bind(text, ignore_query=["google", "alt"])
    assert not {"key"} & get.ignored_query
    assert {"alt", "$key", "$alt", "fields"} < get.ignored_query
    assert {"key", "alt"} < post.ignored_query


async def test_a_rule_for_the_root_is_served(bind: Any) -> None:
    text = proto(rpc("A", 'get: "/"'))
    assert {("GET", ""), ("GET", "/")} <= set(paths(await bind(text)))
    for route in ("/", "/v1/"):
        operations = paths(await bind(text, route=route))
        assert ("GET", "") in operations
        assert ("GET", "/") not in operations


async def test_any_number_of_segments_before_the_end(bind: Any) -> None:
    operations = await bind(proto(rpc("A", 'get: "/v1/{id=docs/**}/{other}"')), route="/")
    assert ("GET", "/v1/docs/{id**}/{other}") in paths(operations)
    codec: Any = operations[0].codec
    for sent, value in (("", "docs"), ("a", "docs/a"), ("a%2Fb/c", "docs/a%2Fb/c")):
        shown = codec.show(codec.request(Call(raw_params={"id": sent, "other": "x"})))
        assert f'id: "{value}"' in shown
        assert 'other: "x"' in shown


async def test_zero_segments_before_a_verb(bind: Any) -> None:
    operations = await bind(proto(rpc("A", 'get: "/v1/{id=docs/**}:go"')))
    assert paths(operations)[:2] == [("GET", "/v1/docs/{id*}:go"), ("GET", "/v1/docs:go")]


async def test_two_rules_that_collide_are_named_with_both_places(bind: Any) -> None:
    text = proto(rpc("A", 'get: "/v1/{id}/x"'), rpc("B", 'get: "/v1/{other=*}/x"'))
    with pytest.raises(BindError) as caught:
        await bind(text, strict=True)
    assert "the http option of a.v1.S.A (test.proto:6)" in str(caught.value)
    assert "the http option of a.v1.S.B (test.proto:7)" in str(caught.value)
    rule = {"selector": "a.v1.S.B", "get": "/b", "additional_bindings": [{"get": "/v1/{id=*}/x"}]}
    with pytest.raises(BindError, match=r"http_rules\[0\]\.additional_bindings\[0\]"):
        await bind(text, http_rules=[rule], strict=True)


async def test_all_faults_come_at_once(bind: Any) -> None:
    with pytest.raises(BindError) as caught:
        await bind(proto(rpc("A", 'get: "x"'), rpc("B", 'get: "y"')), strict=True)
    assert [fault.line for fault in caught.value.faults] == [6, 7]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"service": "Nope"}, "no services are named 'Nope'"),
        ({"method": "Nope"}, "no methods are named 'Nope'"),
        ({"http_rules": [{"selector": "a.v1.S.Nope", "get": "/x"}]}, "there is no method 'a.v1.S.Nope'"),
    ],
)
async def test_names_that_are_not_in_the_schema(bind: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(BindError, match=re.escape(reason)):
        await bind(proto(rpc("A")), **options)


async def test_a_service_by_short_or_full_name(bind: Any) -> None:
    text = proto(rpc("A"), extra="service T { rpc B(M) returns (M); }\n")
    assert [op.path for op in await bind(text)] == ["/a.v1.T/B", "/a.v1.S/A"]
    assert [op.name for op in await bind(text)] == ["T.B", "S.A"]
    for name in ("T", "a.v1.T"):
        assert [op.path for op in await bind(text, service=name)] == ["/a.v1.T/B"]


async def test_a_route_parameter_that_no_field_takes(bind: Any) -> None:
    with pytest.raises(BindError, match=r"'nope' is not a field of a\.v1\.M"):
        await bind(proto(rpc("A")), route="/x/{nope}", method="A")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"protos": ["a.proto"], "reflection": True},
        {"protos": ["a.proto"], "descriptor_set": "x"},
        {"protos": ["a.proto"], "nope": 1},
        {"protos": ["a.proto"], "method": "A", "http_rules": [{"selector": "x", "get": "/x"}]},
        {"protos": ["a.proto"], "http_rules": [{"selector": "x"}]},
        {"protos": ["a.proto"], "http_rules": [{"selector": "x", "get": "/x", "post": "/x"}]},
        {"protos": ["a.proto"], "metadata": {"X-Upper": "x"}},
        {"protos": ["a.proto"], "metadata": {"grpc-timeout": "1S"}},
        {"protos": ["a.proto"], "metadata": {"x": "é"}},
        {"protos": ["a.proto"], "metadata": {"x-bin": "$"}},
        {"protos": ["a.proto"], "print": {"nope": True}},
        {"protos": ["a.proto"], "unknown": "drop"},
    ],
)
def test_options_are_strict(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Grpc.options.model_validate(options)
