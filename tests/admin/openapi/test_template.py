"""The gateway's path templates in OpenAPI's."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.admin.openapi.template import DocumentPath, words
from bridge.api import OperationDoc


@pytest.mark.parametrize(
    ("route", "path", "text", "names", "rest", "key"),
    [
        ("/v1/a", "", "/v1/a", (), "", "/v1/a"),
        ("/", "", "/", (), "", "/"),
        ("/", "/x", "/x", (), "", "/x"),
        ("/a/", "/x", "/a/x", (), "", "/a/x"),
        ("/a/{b}", "/{c.d}/e", "/a/{b}/{c.d}/e", ("b", "c.d"), "", "/a/{}/{}/e"),
        ("/a/{b*}", "", "/a/{b}", ("b",), "b", "/a/{}"),
        ("/a", "/{b}:cancel", "/a/{b}:cancel", ("b",), "", "/a/{}:cancel"),
        ("/a", "/{b*}:cancel", "/a/{b}:cancel", ("b",), "b", "/a/{}:cancel"),
        ("/a", "/b:list", "/a/b:list", (), "", "/a/b:list"),
    ],
)
def test_templates(route: Any, path: Any, text: Any, names: Any, rest: Any, key: Any) -> None:
    assert DocumentPath.of(route, path) == DocumentPath(text, names, rest, key)


def test_words() -> None:
    assert words("/v1/my-books/{id}/pages:publish") == ["v1", "my_books", "pages", "publish"]
    assert words("/{a}/{b*}") == []


def test_the_rest_of_a_path_is_marked(publish: Any, document: Any) -> None:
    declared = {"name": "file", "in": "path", "schema": {"type": "string"}, "description": "Its name."}
    doc = OperationDoc({"parameters": [declared], "responses": {"200": {"description": ""}}})
    parameter = document(publish("/files/{file*}", doc=doc))["paths"]["/files/{file}"]["get"]["parameters"][0]
    assert parameter["x-bridge-rest"] is True
    assert parameter["description"].startswith("Its name. The rest of the path")


def test_parameters_are_what_the_path_holds_each_once(publish: Any, document: Any) -> None:
    declared = [
        {"name": "page", "in": "query", "schema": {"type": "integer"}},
        {"name": "page", "in": "query", "schema": {"type": "integer"}},
        {"name": "b", "in": "path", "required": True, "schema": {"type": "integer"}},
        {"name": "gone", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "b", "in": "query", "schema": {"type": "string"}},
    ]
    doc = OperationDoc({"parameters": declared, "responses": {"200": {"description": ""}}})
    found = document(publish("/x/{a.id}/{b}", doc=doc))["paths"]["/x/{a.id}/{b}"]["get"]["parameters"]
    assert [(one["in"], one["name"]) for one in found] == [
        ("path", "a.id"),
        ("path", "b"),
        ("query", "page"),
        ("query", "b"),
    ]
    assert found[1]["schema"] == {"type": "integer"}


def test_paths_that_differ_in_names_alone_are_one_path(publish: Any, document: Any) -> None:
    def doc(*names: str) -> OperationDoc:
        parameters = [
            {"name": n, "in": "path", "required": True, "schema": {"type": "string", "title": n}} for n in names
        ]
        return OperationDoc({"parameters": parameters, "responses": {"200": {"description": ""}}})

    built = document(
        publish("/a/{x}/{y}", method="GET", route_id="1", doc=doc("x", "y")),
        publish("/a/{y}/{x}", method="POST", route_id="2", doc=doc("y", "x")),
        publish("/a/{z}/{r*}", method="GET", route_id="3"),
    )
    assert list(built["paths"]) == ["/a/{x}/{y}"]
    item = built["paths"]["/a/{x}/{y}"]
    assert [one["name"] for one in item["post"]["parameters"]] == ["x", "y"]
    assert [one["schema"]["title"] for one in item["post"]["parameters"]] == ["y", "x"]
    assert item["get"]["x-bridge"] == {
        "route": "1",
        "protocol": "soap",
        "also": [{"route": "3", "path": "/a/{z}/{r}"}],
    }
