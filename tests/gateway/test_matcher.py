"""The matcher against the rules its docstring states, and against a plain reading of the templates."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import ConflictError, MethodNotAllowed, NotFound
from bridge.gateway.matcher import Matcher


def matcher(*claims: str) -> Matcher[str]:
    """``"GET /a/{b}"`` or ``"GET host /a"`` for each endpoint; the endpoint is the claim itself."""
    made: Matcher[str] = Matcher()
    for claim in claims:
        parts = claim.split()
        host = parts[1] if len(parts) == 3 else None
        made.add_all([(host, parts[-1], parts[0], claim)])
    return made


@pytest.mark.parametrize(
    ("path", "wanted", "params"),
    [
        ("/a", "GET /a", {}),
        ("/a/b", "GET /a/b", {}),
        ("/a/c", "GET /a/{x}", {"x": "c"}),
        ("/a/%62", "GET /a/b", {}),
        ("/a/c%2Fd", "GET /a/{x}", {"x": "c%2Fd"}),
        ("/a/c/d", "GET /a/{x}/d", {"x": "c"}),
        ("/a/b/d", "GET /a/{x}/d", {"x": "b"}),
        ("/a/b/c/d", "GET /a/{rest*}", {"rest": "b/c/d"}),
        ("/a/", "GET /a/{rest*}", {"rest": ""}),
        ("/a/c:go", "GET /a/{y}:go", {"y": "c"}),
        ("/a/c:no", "GET /a/{x}", {"x": "c:no"}),
        ("/a/:go", "GET /a/{x}", {"x": ":go"}),
        ("/", "GET /", {}),
    ],
)
def test_the_most_literal_template_wins(path: str, wanted: str, params: dict[str, str]) -> None:
    made = matcher(
        "GET /", "GET /a", "GET /a/b", "GET /a/{x}", "GET /a/{x}/d", "GET /a/{rest*}", "GET /a/{y}:go", "POST /a/{z}"
    )
    assert made.match("", path, "GET") == (wanted, params)


@pytest.mark.parametrize(
    ("path", "wanted", "params"),
    [
        ("/v1/projects/p1", "GET /v1/projects/{name}", {"name": "p1"}),
        ("/v1/projects/p1:getIamPolicy", "GET /v1/projects/{resource*}:getIamPolicy", {"resource": "p1"}),
        ("/v1/projects/p1/x:getIamPolicy", "GET /v1/projects/{resource*}:getIamPolicy", {"resource": "p1/x"}),
        ("/v1/projects/p1:other", "GET /v1/projects/{name}", {"name": "p1:other"}),
        ("/v1/projects/own:getIamPolicy", "GET /v1/projects/own:getIamPolicy", {}),
        ("/v1/projects/here", "GET /v1/projects/here", {}),
        ("/v1/projects/here:getIamPolicy", "GET /v1/projects/{resource*}:getIamPolicy", {"resource": "here"}),
        ("/v1/projects/p1/zones", "GET /v1/projects/{name}/zones", {"name": "p1"}),
        ("/v1/projects/p1/z:go", "GET /v1/{a}/{b}/{c}:go", {"a": "projects", "b": "p1", "c": "z"}),
    ],
)
def test_a_template_whose_verb_fits_goes_before_one_that_would_swallow_it(
    path: str, wanted: str, params: dict[str, str]
) -> None:
    made = matcher(
        "GET /v1/projects/{name}",
        "GET /v1/projects/here",
        "GET /v1/projects/own:getIamPolicy",
        "GET /v1/projects/{resource*}:getIamPolicy",
        "GET /v1/projects/{name}/zones",
        "GET /v1/projects/{name}/{zone}",
        "GET /v1/{a}/{b}/{c}:go",
    )
    assert made.match("", path, "GET") == (wanted, params)


def test_a_verb_without_the_method_gives_way_to_a_template_that_has_it() -> None:
    made = matcher("POST /a/{x*}:go", "GET /a/{y}")
    assert made.match("", "/a/b:go", "GET") == ("GET /a/{y}", {"y": "b:go"})
    with pytest.raises(MethodNotAllowed) as caught:
        made.match("", "/a/b:go", "PUT")
    assert caught.value.headers == (("allow", "GET, HEAD, POST"),)


@pytest.mark.parametrize(
    ("path", "wanted", "params"),
    [
        ("/v1/docs/c", "GET /v1/docs/{p**}/{c}", {"p": "", "c": "c"}),
        ("/v1/docs/a/b/c", "GET /v1/docs/{p**}/{c}", {"p": "a/b", "c": "c"}),
        ("/v1/docs/a/b/x/c", "GET /v1/docs/{p**}/x/{c}", {"p": "a/b", "c": "c"}),
        ("/v1/docs/a/%78/c", "GET /v1/docs/{p**}/x/{c}", {"p": "a", "c": "c"}),
        ("/v1/docs/a/c:go", "GET /v1/docs/{p**}/{d}:go", {"p": "a", "d": "c"}),
        ("/v1/docs/a/b/last", "GET /v1/docs/{p**}/last", {"p": "a/b"}),
        ("/v1/docs/fixed/c", "GET /v1/docs/fixed/{c}", {"c": "c"}),
        ("/v1/docs/fixed/b/c", "GET /v1/docs/{p**}/{c}", {"p": "fixed/b", "c": "c"}),
        ("/v1/docs/a/", "GET /v1/docs/{all*}", {"all": "a/"}),
        ("/v1/docs/", "GET /v1/docs/{all*}", {"all": ""}),
    ],
)
def test_any_number_of_segments_before_the_end(path: str, wanted: str, params: dict[str, str]) -> None:
    claims = (
        "GET /v1/docs/{all*}", "GET /v1/docs/{p**}/{c}", "GET /v1/docs/{p**}/x/{c}", "GET /v1/docs/{p**}/{d}:go",
        "GET /v1/docs/{p**}/last", "GET /v1/docs/fixed/{c}",
    )  # fmt: skip
    for order in (claims, claims[::-1]):
        assert matcher(*order).match("", path, "GET") == (wanted, params)


def test_a_template_with_segments_behind_any_number_is_removed_without_a_trace() -> None:
    made = matcher("GET /a/{p**}/b")
    twin = made.copy()
    twin.remove_all([(None, "/a/{p**}/b", "GET", "GET /a/{p**}/b")])
    with pytest.raises(NotFound):
        twin.match("", "/a/x/b", "GET")
    assert twin._everywhere.empty
    assert made.match("", "/a/x/b", "GET") == ("GET /a/{p**}/b", {"p": "x"})
    with pytest.raises(ConflictError):
        made.add_all([(None, "/a/{q**}/b", "GET", "other")])


def test_a_hostile_path_costs_no_more_steps_than_there_are_templates() -> None:
    """Counted in function calls: every `{name**}` is tried once for a path, however long that is."""
    import sys

    steps = ["".join(f"{{a{at}}}/" for at in range(n)) for n in range(8)]
    made = matcher(*[f"GET /{before}{{p**}}/x/{{q}}/y" for before in steps])
    seen = 0

    def count_calls(frame: object, event: str, arg: object) -> None:
        nonlocal seen
        seen += event == "call"

    for path in ("/" + "x1/z/" * 60, "/" + "a/" * 100 + "x:y"):
        seen = 0
        sys.setprofile(count_calls)
        try:
            with pytest.raises(NotFound):
                made.match("", path, "GET")
        finally:
            sys.setprofile(None)
        assert seen < 80


def test_a_literal_branch_without_the_method_gives_way_to_a_template_that_has_it() -> None:
    assert matcher("POST /a/b", "GET /a/{x}").match("", "/a/b", "GET") == ("GET /a/{x}", {"x": "b"})


def test_405_names_every_method_of_the_path() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        matcher("GET /a/{x}", "PUT /a/b").match("", "/a/b", "DELETE")
    assert caught.value.headers == (("allow", "GET, HEAD, PUT"),)


def test_405_names_methods_of_any_name() -> None:
    made: Matcher[str] = Matcher()
    made.add_all([(None, "/a", "*", "any"), (None, "/a", "SEARCH", "search"), (None, "/b", "SEARCH", "alone")])
    assert made.match("", "/a", "SEARCH")[0] == "search"
    for path, allow in (
        ("/a", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, SEARCH"),
        ("/b", "SEARCH"),
    ):
        with pytest.raises(MethodNotAllowed) as caught:
            made.match("", path, "PURGE")
        assert caught.value.headers == (("allow", allow),)


def test_a_star_is_every_method_that_a_spec_may_name() -> None:
    made = matcher("* /a")
    for method in ("GET", "HEAD", "OPTIONS", "PATCH"):
        assert made.match("", "/a", method)[0] == "* /a"
    for method in ("TRACE", "PURGE", "CONNECT"):
        with pytest.raises(MethodNotAllowed) as caught:
            made.match("", "/a", method)
        assert caught.value.headers == (("allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),)


@pytest.mark.parametrize("claims", [("* /a/{x}", "GET /a/{y}"), ("GET /a/{x}", "* /a/{y}"), ("* /a", "* /a")])
def test_a_star_of_one_route_leaves_nothing_to_another(claims: tuple[str, ...]) -> None:
    with pytest.raises(ConflictError, match="is published twice"):
        matcher(*claims)


def test_a_star_beside_its_own_routes_operations_is_the_rest() -> None:
    made: Matcher[str] = Matcher()
    made.add_all([(None, "/a", "*", "rest"), (None, "/a", "GET", "get")])
    assert [made.match("", "/a", method)[0] for method in ("GET", "HEAD", "PUT")] == ["get", "rest", "rest"]


def test_head_is_a_get_without_its_body() -> None:
    assert matcher("GET /a").match("", "/a", "HEAD")[0] == "GET /a"
    assert matcher("GET /a", "HEAD /a").match("", "/a", "HEAD")[0] == "HEAD /a"


@pytest.mark.parametrize("path", ["/b", "/a/", "/a/b/c", "", "/a//", "//a", "/" + "x/" * 500])
def test_404(path: str) -> None:
    with pytest.raises(NotFound):
        matcher("GET /a", "GET /a/{x}").match("", path, "GET")


def test_a_host_of_its_own_goes_before_everybody_elses() -> None:
    made = matcher("GET one.example /a", "GET /a", "GET /b")
    assert made.match("one.example", "/a", "GET")[0] == "GET one.example /a"
    assert made.match("two.example", "/a", "GET")[0] == "GET /a"
    assert made.match("one.example", "/b", "GET")[0] == "GET /b"


@pytest.mark.parametrize("claims", [("GET /a", "GET /a"), ("GET /a/{x}", "GET /a/{y}"), ("GET /{x*}", "GET /{y*}")])
def test_two_claims_to_one_place_are_refused_and_both_named(claims: tuple[str, str]) -> None:
    with pytest.raises(ConflictError, match=re.escape(claims[0])):
        matcher(*claims)


def test_a_refused_route_leaves_nothing_behind() -> None:
    made = matcher("GET /a")
    with pytest.raises(ConflictError):
        made.add_all([(None, "/b", "GET", "two"), (None, "/a", "GET", "two")])
    with pytest.raises(NotFound):
        made.match("", "/b", "GET")


segment = st.sampled_from(["a", "b", "{x}", "{y}"])
#: A parameter is named after its place too, since a template may not name one twice.
templates = st.lists(segment, min_size=1, max_size=4).map(
    lambda s: "/" + "/".join(part.replace("}", f"{at}}}") for at, part in enumerate(s))
)


@settings(max_examples=300)
@given(st.lists(templates, min_size=1, max_size=12), st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_matches_what_the_templates_say(given_templates: list[str], path: list[str]) -> None:
    """Against regular expressions; among several, the one that is literal soonest."""
    shapes = {re.sub(r"\{..\}", "{}", template): template for template in given_templates}
    made: Matcher[str] = Matcher()
    for shape, template in shapes.items():
        made.add_all([(None, template, "GET", shape)])
    text = "/" + "/".join(path)
    fitting = [s for s in shapes if re.fullmatch(s.replace("{}", "[^/]+"), text)]
    if not fitting:
        with pytest.raises(NotFound):
            made.match("", text, "GET")
    else:
        best = min(fitting, key=lambda s: [part == "{}" for part in s.split("/")])
        assert made.match("", text, "GET")[0] == best


def test_a_match_costs_the_same_with_ten_thousand_routes() -> None:
    """Counted in function calls, not in time."""
    import sys

    def calls(count: int) -> int:
        made = matcher(*[f"GET /v1/t{n}/{{id}}/x" for n in range(count)])
        seen = 0

        def count_calls(frame: object, event: str, arg: object) -> None:
            nonlocal seen
            seen += event in ("call", "c_call")

        sys.setprofile(count_calls)
        try:
            made.match("", "/v1/t7/42/x", "GET")
        finally:
            sys.setprofile(None)
        return seen

    assert calls(10_000) == calls(10)
