from __future__ import annotations

from typing import Any

import pytest

from bridge.http.template import fill_template, join_template, parse_template, split_template


@pytest.mark.parametrize(
    ("text", "steps", "names", "rest", "verb"),
    [
        ("/", ("",), (), "", ""),
        ("/a/b", ("a", "b"), (), "", ""),
        ("/a/", ("a", ""), (), "", ""),
        ("/a%20b/{x}", ("a b", None), ("x",), "", ""),
        ("/{a.b}/c/{rest*}", (None, "c"), ("a.b", "rest"), "rest", ""),
        ("/a/{x}:go", ("a", None), ("x",), "", "go"),
        ("/{x*}:go", (), ("x",), "x", "go"),
        ("/a:go", ("a:go",), (), "", ""),
    ],
)
def test_a_template_is_taken_apart(text: str, steps: Any, names: Any, rest: str, verb: str) -> None:
    template = parse_template(text)
    assert template.text == text
    assert template.steps == steps
    assert template.names == names
    assert (template.rest, template.verb) == (rest, verb)
    assert template.pieces[1::2] == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "must start with /"),
        ("", "must start with /"),
        ("/a//b", "has an empty segment"),
        ("/{a}/{a}", "'a' stands in it twice"),
        ("/{a*}/b", "takes the rest of the path"),
        ("/{a**}", "once, and not at the end"),
        ("/{a**}/b/{c**}/d", "once, and not at the end"),
        ("/{a**}/b/{c*}", "takes the rest of the path"),
        ("/{a}:go/b", "belongs at the end"),
        ("/{a}:g%6F", "one word of letters"),
        ("/{a}b", "fills a whole segment"),
        ("/b{a}", "fills a whole segment"),
        ("/{}", "fills a whole segment"),
        ("/{a", "fills a whole segment"),
        ("/a b", "can't be a path segment"),
        ("/%zz", "can't be a path segment"),
        ("/%00", "can't be a path segment"),
        ("/a/..", "can't be a path segment"),
        ("/%2e%2e/a", "can't be a path segment"),
        ("/a%2f.", "can't be a path segment"),
    ],
)
def test_what_is_no_template(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_template(text)


def test_keys_are_equal_where_paths_are() -> None:
    def key(text: str) -> object:
        return parse_template(text).key

    assert key("/a/{x}/b") == key("/%61/{y}/b")
    assert key("/{x*}") == key("/{y*}")
    assert len({key(text) for text in ("/a", "/a/", "/{a}", "/a/{a}", "/{a*}", "/{a}:go", "/{a*}:go")}) == 7


def test_values_are_filled_in_as_they_are() -> None:
    pieces = split_template("/a/{x}/{y*}?q={x}")
    assert pieces == ("/a/", "x", "/", "y", "?q=", "x", "")
    assert fill_template(pieces, {"x": "%2F", "y": "b/c"}) == "/a/%2F/b/c?q=%2F"
    assert fill_template(pieces, {"x": "1"}) == "/a/1/?q=1"


def test_an_operations_path_is_below_its_route() -> None:
    assert join_template("/", "") == "/"
    assert join_template("/", "/x") == "/x"
    assert join_template("/a/", "/{x}") == "/a/{x}"
    assert join_template("/a/", "") == "/a/"
