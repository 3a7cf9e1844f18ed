"""The path template grammar of ``google/api/http.proto``, and what the core matches in its place."""

from __future__ import annotations

import pytest

from bridge_grpc.mapping.http_rule import TemplateError, decode_several, parse, to_core

# template, the core's template, parameters as sent, the variables
CASES = [
    ("/v1/messages/{message_id}", "/v1/messages/{message_id}", {"message_id": "a%20b"}, {"message_id": "a b"}),
    ("/v1/{var=*}", "/v1/{var}", {"var": "a%2Fb"}, {"var": "a/b"}),
    ("/v1/{name=messages/*}", "/v1/messages/{name}", {"name": "123456"}, {"name": "messages/123456"}),
    (
        "/v1/{name=shelves/*/books/*}",
        "/v1/shelves/{name_1}/books/{name_2}",
        {"name_1": "s%2F1", "name_2": "b%20%C3%A9"},
        {"name": "shelves/s%2F1/books/b é"},
    ),
    ("/v1/{name=**}", "/v1/{name*}", {"name": "a/b%2fc/d%3F"}, {"name": "a/b%2fc/d?"}),
    ("/v1/{name=shelves/**}", "/v1/shelves/{name*}", {"name": "a/b"}, {"name": "shelves/a/b"}),
    ("/v1/{name=shelves/**}", "/v1/shelves/{name*}", {"name": ""}, {"name": "shelves"}),
    ("/v1/{sub.sub_field}/x", "/v1/{sub.sub_field}/x", {"sub.sub_field": "+"}, {"sub.sub_field": "+"}),
    ("/v1/{name=operations/*}:cancel", "/v1/operations/{name}:cancel", {"name": "7"}, {"name": "operations/7"}),
    ("/v1/{name=**}:undo", "/v1/{name*}:undo", {"name": "a/b"}, {"name": "a/b"}),
    ("/v1/messages:search", "/v1/messages:search", {}, {}),
    ("/v1/*/x/**", "/v1/{segment_1}/x/{segment_2*}", {"segment_1": "a", "segment_2": "b/c"}, {}),
    ("/v1/{a}/{b=x/*}", "/v1/{a}/x/{b}", {"a": "1", "b": "2"}, {"a": "1", "b": "x/2"}),
    ("/v1/urn:x:y/{a}", "/v1/urn:x:y/{a}", {"a": "1"}, {"a": "1"}),
    ("/v1/a b/{a}", None, {}, {}),
    ("/v1/{kind=shelf}", "/v1/shelf", {}, {"kind": "shelf"}),
    ("/v1/caf%C3%A9/{a}", "/v1/caf%C3%A9/{a}", {"a": "1"}, {"a": "1"}),
    ("/v1/café", "/v1/caf%C3%A9", {}, {}),
    ("/", "", {}, {}),
    ("/v1/{a=x/**}/{b}", "/v1/x/{a**}/{b}", {"a": "y/z", "b": "1"}, {"a": "x/y/z", "b": "1"}),
    ("/v1/{a=x/**}/{b}", "/v1/x/{a**}/{b}", {"a": "", "b": "1"}, {"a": "x", "b": "1"}),
    ("/v1/{a=x/*/**/y}:go", "/v1/x/{a_1}/{a_2**}/y:go", {"a_1": "1", "a_2": ""}, {"a": "x/1/y"}),
    ("/v1/**/y", "/v1/{segment_1**}/y", {"segment_1": "a/b"}, {}),
]


@pytest.mark.parametrize(("template", "core", "raw", "variables"), [case for case in CASES if case[1] is not None])
def test_templates(template: str, core: str, raw: dict[str, str], variables: dict[str, str]) -> None:
    path, captures = to_core(parse(template))
    assert path == core
    assert {".".join(c.field_path): c.text(raw) for c in captures} == variables


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("v1/x", "must start with /"),
        ("/v1//x", "empty segment"),
        ("/v1/", "empty segment"),
        ("/v1/a b", "can't be a path segment"),
        ("/v1/{a", "not closed"),
        ("/v1/{}", "needs a field's name"),
        ("/v1/{1a}", "needs a field's name"),
        ("/v1/{a=}", "empty segment"),
        ("/v1/{a={b}}", "can't hold another"),
        ("/v1/{a}b", "has no place"),
        ("/v1/b{a}", "has no place"),
        ("/v1/**/x/**", "may stand in it once"),
        ("/v1/{a=**}/x/{b=y/**}", "may stand in it once"),
        ("/:go", "empty segment"),
        ("/v1/{a}/{a}", "stands in it twice"),
        ("/v1/x:", "needs one word"),
        ("/v1/{a}:b:c", "needs one word"),
        ("/v1/{a}:b/c", "needs one word"),
        ("/v1/../x", "dot segment"),
        ("/v1/x?y=1", "can't be a path segment"),
        ("/v1/x=y", "has no place"),
        ("", "must start with /"),
    ],
)
def test_broken_templates_say_why(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        parse(template)


def test_parameters_avoid_names_that_are_taken() -> None:
    path, captures = to_core(parse("/v1/{tenant}/{name=a/*/b/*}"), frozenset({"tenant", "name_2"}))
    assert path == "/v1/{tenant_}/a/{name_1}/b/{name_2_}"
    assert captures[1].text({"name_1": "x", "name_2_": "y"}) == "a/x/b/y"


def test_templates_that_match_the_same_paths_have_one_key() -> None:
    assert parse("/v1/{a}/x").key() == parse("/v1/{b=*}/x").key() == parse("/v1/*/x").key()
    assert parse("/v1/{a=shelves/*}").key() == parse("/v1/shelves/{b}").key()
    assert parse("/v1/{a}").key() != parse("/v1/{a=**}").key() != parse("/v1/{a}:b").key()


def test_an_encoded_slash_stays_encoded_in_several_segments() -> None:
    assert decode_several("a%2Fb%2fc%20d%25") == "a%2Fb%2fc d%"
