"""The document as a whole: paths, methods, what the gateway adds, and what it never says."""

from __future__ import annotations

import json
import logging
import random
import time
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.admin.openapi import build_document, for_host, for_tenant
from bridge.api import OperationDoc


def ok(**more: Any) -> OperationDoc:
    return OperationDoc({"responses": {"200": {"description": "Fine."}}} | more)


def test_an_operation_with_all_that_the_gateway_adds(publish: Any, document: Any) -> None:
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    built = document(
        publish(
            tenant="revenue",
            security=[{"jwt": []}],
            schemes={"jwt": bearer},
            rate_limit={"rps": 50},
            doc=ok(summary="Is this VAT number valid?"),
        ),
        servers=[{"url": "https://api.example"}],
    )
    assert built["openapi"].startswith("3.1")
    assert built["servers"] == [{"url": "https://api.example"}]
    assert built["tags"] == [{"name": "revenue"}]
    entry = built["paths"]["/v1/vat/{countryCode}"]["get"]
    assert entry["tags"] == ["revenue"]
    assert entry["summary"] == "Is this VAT number valid?"
    assert entry["operationId"] == "v1_vat_checkVat"
    assert entry["security"] == [{"jwt": []}]
    assert entry["parameters"] == [
        {"name": "countryCode", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    assert list(entry["responses"]) == ["200", "400", "401", "429", "502", "503", "504", "default"]
    assert {"X-Trace-ID", "RateLimit", "RateLimit-Policy"} <= entry["responses"]["200"]["headers"].keys()
    assert entry["x-bridge"] == {"route": "1", "protocol": "soap"}
    assert built["components"]["securitySchemes"] == {"jwt": bearer}
    limited = built["components"]["responses"]["RateLimited"]
    assert {"Retry-After", "RateLimit", "RateLimit-Policy", "X-Trace-ID"} <= limited["headers"].keys()


def test_an_open_unlimited_operation_says_no_more_than_is_true(publish: Any, document: Any) -> None:
    built = document(publish())
    entry = built["paths"]["/v1/vat/{countryCode}"]["get"]
    assert entry["security"] == []
    assert list(entry["responses"]) == ["200", "400", "502", "503", "504", "default"]
    assert list(entry["responses"]["200"]["headers"]) == ["X-Trace-ID"]
    assert set(built["components"]["responses"]) == {"BadGateway", "BadRequest", "Problem", "Timeout", "Unavailable"}


def statuses(built: dict[str, Any], path: str, method: str) -> list[str]:
    return list(built["paths"][path][method]["responses"])


def test_an_operation_has_those_problems_that_it_can_answer_with(publish: Any, document: Any) -> None:
    typed: dict[str, Any] = {"content": {"application/json": {}}}
    any_type: dict[str, Any] = {"content": {"*/*": {}}}
    jwt = {"security": [{"jwt": []}], "schemes": {"jwt": {"type": "mutualTLS"}}}
    soap = {"request": "soap", "soap": {"headers": {"Caller": {"id": {"$claim": "sub"}}}}}
    exchange = {"type": "token_exchange", "token_url": "https://idp.example/token"}
    by_page: dict[str, dict[str, Any]] = {
        "cookie": {"auth": {"type": "JWT", "from": [{"cookie": "session"}]}},
        "page": {"auth": {"type": "JWT"}, "cors": {"origins": ["https://app.example.org"]}},
        "exchanged": {"auth": {"type": "JWT"}, "upstream_auth": exchange},
    }
    built = document(
        publish("/open", method="GET"),
        publish("/typed", method="POST", doc=ok(requestBody=typed)),
        publish("/any", method="*", methods=["GET", "POST"], doc=ok(requestBody=any_type)),
        publish("/known", method="GET", auth={"type": "JWT"}, **jwt),
        publish("/role", method="GET", auth={"any": [{"type": "mtls"}, {"type": "JWT", "roles": ["clerk"]}]}, **jwt),
        publish("/claim", method="GET", auth={"type": "JWT"}, transform=soap, **jwt),
        publish("/near", method="GET", ip={"allow": ["10.0.0.0/8"]}),
        publish("/limited", method="GET", rate_limit={"rps": 1}),
        *(
            publish(f"/{name}/{method.lower()}", method=method, **keys, **jwt)
            for method in ("GET", "POST")
            for name, keys in by_page.items()
        ),
    )
    upstream = ["502", "503", "504", "default"]
    assert statuses(built, "/open", "get") == ["200", "400", *upstream]
    assert statuses(built, "/typed", "post") == ["200", "400", "413", "415", *upstream]
    unread = built["components"]["responses"]["UnsupportedMediaType"]["content"]["application/problem+json"]["examples"]
    assert set(unread) == {"unsupported-media-type", "unsupported-coding"}
    assert statuses(built, "/any", "post") == ["200", "400", "413", *upstream], "bytes are forwarded whatever they are"
    assert statuses(built, "/any", "get") == ["200", "400", *upstream]
    assert statuses(built, "/known", "get") == ["200", "400", "401", *upstream]
    assert statuses(built, "/role", "get") == ["200", "400", "401", "403", *upstream]
    assert statuses(built, "/claim", "get") == ["200", "400", "401", "403", *upstream]
    assert statuses(built, "/near", "get") == ["200", "400", "403", *upstream]
    for path in ("/cookie/get", "/page/get"):
        assert "403" not in statuses(built, path, "get")
    for path in ("/cookie/post", "/page/post", "/exchanged/post"):
        assert "403" in statuses(built, path, "post")
    assert "403" in statuses(built, "/exchanged/get", "get")
    assert statuses(built, "/limited", "get") == ["200", "400", "429", *upstream]
    assert set(built["components"]["headers"]) >= {"RateLimit", "Retry-After", "X-Trace-ID"}
    assert "RateLimit" not in document(publish("/open", method="GET"))["components"]["headers"]


def test_problems_of_the_service_are_problems_and_stand_once(publish: Any, document: Any) -> None:
    schema = {"type": "object", "properties": {"fault": {"type": "object"}}}
    common = {"$ref": "#/components/schemas/Problem"}
    refusal: dict[str, Any] = {
        "description": "No such trader.",
        "content": {"application/problem+json": {"schema": schema}},
    }
    gone = {"description": "Gone.", "content": {"application/problem+json": {"schema": common}}}

    def doc(**responses: Any) -> OperationDoc:
        return OperationDoc({"responses": {"200": {"description": "Fine."}, **responses}})

    built = document(
        publish("/a", doc=doc(**{"404": refusal, "410": gone})),
        publish("/b", doc=doc(**{"404": refusal})),
        publish("/c", doc=doc(**{"404": {**refusal, "description": "No such county."}})),
    )
    entries = {path: item["get"]["responses"] for path, item in built["paths"].items()}
    assert entries["/a"]["404"] == entries["/b"]["404"] == {"$ref": "#/components/responses/Service404"}
    shared = built["components"]["responses"]["Service404"]
    assert shared["description"] == "No such trader."
    assert shared["content"]["application/problem+json"]["schema"] == {"allOf": [common, schema]}
    assert entries["/c"]["404"]["description"] == "No such county."
    assert entries["/a"]["410"]["content"]["application/problem+json"]["schema"] == common
    assert "$ref" not in refusal["content"]["application/problem+json"]["schema"], "what was described is not changed"


def test_problem_examples_follow_the_problem_schema(publish: Any, document: Any) -> None:
    from jsonschema import Draft202012Validator

    body: dict[str, Any] = {"content": {"application/json": {}}}
    built = document(
        publish(
            method="POST",
            doc=ok(requestBody=body),
            rate_limit={"rps": 1},
            auth={"type": "JWT", "roles": ["clerk"]},
            security=[{"key": []}],
            schemes={"key": {"type": "mutualTLS"}},
        )
    )
    judge = Draft202012Validator(built["components"]["schemas"]["Problem"])
    seen = 0
    for status, response in built["components"]["responses"].items():
        for example in response["content"]["application/problem+json"].get("examples", {}).values():
            judge.validate(example["value"])
            seen += 1
            assert example["value"]["type"].startswith("urn:bridge:problem:"), status
    assert seen == 15


def test_what_a_transformer_declares_goes_before_what_the_gateway_adds(publish: Any, document: Any) -> None:
    doc = OperationDoc(
        {
            "operationId": "theirs",
            "tags": ["theirs"],
            "security": [{}],
            "servers": [{"url": "http://10.1.2.3:8080"}],
            "deprecated": True,
            "x-soap-action": "urn:check",
            "parameters": [{"name": "countryCode", "in": "path", "schema": {"type": "string", "maxLength": 2}}],
            "responses": {
                200: {"description": "Valid.", "headers": {"X-Seen": {"schema": {"type": "string"}}}},
                "502": {"description": "No such trader."},
            },
        }
    )
    entry = document(publish(doc=doc))["paths"]["/v1/vat/{countryCode}"]["get"]
    assert entry["operationId"] == "v1_vat_checkVat"
    assert entry["tags"] == ["vat"]
    assert entry["security"] == []
    assert "servers" not in entry
    assert entry["deprecated"] is True
    assert entry["x-soap-action"] == "urn:check"
    assert entry["parameters"][0]["schema"]["maxLength"] == 2
    assert entry["parameters"][0]["required"] is True
    assert entry["responses"]["502"]["description"] == "No such trader."
    assert set(entry["responses"]["200"]["headers"]) == {"X-Seen", "X-Trace-ID"}
    assert "operationId" in doc.operation, "what describe() returned is not changed"
    assert list(doc.operation["responses"]) == [200, "502"]


def test_no_upstream_is_ever_named(publish: Any, document: Any) -> None:
    built = document(publish(upstream="https://secret-svc:9443/internal/path"))
    text = json.dumps(built)
    for word in ("secret-svc", "9443", "internal/path", "urn:checkVat"):
        assert word not in text


@pytest.mark.parametrize(
    ("upstream", "said", "shown"),
    [
        ("vat-svc:8080", "Calls vat-svc, or vat-svc:8080.", "Calls the service, or the service."),
        ("vat-svc:8080", "A vat-svc-like my-vat-svc", "A vat-svc-like my-vat-svc"),
        ("vat.internal:80", "At vat.internal", "At the service"),
        ("tally:50051", "The tally, from tally:50051", "The tally, from the service"),
        ("tally:50051", "tally:500510", "tally:500510"),
    ],
)
def test_a_transformer_that_names_its_upstream_is_not_repeated(
    publish: Any, document: Any, upstream: str, said: str, shown: str
) -> None:
    doc = OperationDoc({"summary": said, "responses": {"200": {"description": said}}})
    entry = document(publish(upstream=upstream, doc=doc))["paths"]["/v1/vat/{countryCode}"]["get"]
    assert entry["summary"] == shown
    assert entry["responses"]["200"]["description"] == shown


def test_a_description_that_raises_costs_its_own_operation_only(publish: Any, document: Any, caplog: Any) -> None:
    def raises() -> OperationDoc:
        raise RuntimeError("wsdl at http://10.0.0.7/secret went away")

    with caplog.at_level(logging.WARNING, "bridge.openapi"):
        built = document(
            publish("/a", name="broken", route_id="7", doc=raises, method="POST"), publish("/b", doc=ok(summary="Well"))
        )
    assert built["paths"]["/b"]["get"]["summary"] == "Well"
    broken = built["paths"]["/a"]["post"]
    assert broken["summary"] == "broken"
    assert "could not be described" in broken["description"]
    assert "10.0.0.7" not in json.dumps(built)
    assert "route 7, operation broken" in caplog.text


@pytest.mark.parametrize(
    "doc",
    [
        pytest.param(ok(requestBody={"content": {"a/b": {"schema": {"$ref": "#/components/schemas/No"}}}}), id="ref"),
        pytest.param(ok(requestBody={"$ref": "other.yaml#/Body"}), id="file"),
        pytest.param(OperationDoc(ok().operation, {"A": {"$ref": "#/components/schemas/B"}}), id="schema-ref"),
        pytest.param(OperationDoc(ok().operation, {"A": {"default": object()}}), id="no-json"),
        pytest.param(ok(parameters=[{"name": "x"}]), id="parameter"),
        pytest.param(OperationDoc({"responses": {"200": "fine"}}), id="response"),
        pytest.param(OperationDoc(None), id="none"),  # type: ignore[arg-type]  # what a careless plug-in may return
    ],
)
def test_a_description_that_is_wrong_costs_its_own_operation_only(
    publish: Any, document: Any, caplog: Any, doc: Any
) -> None:
    built = document(publish("/a", doc=doc), publish("/b", doc=ok(summary="Well")))
    assert "could not be described" in built["paths"]["/a"]["get"]["description"]
    assert built["paths"]["/b"]["get"]["summary"] == "Well"
    assert set(built["components"]["schemas"]) == {"Problem"}
    assert "can't be described" in caplog.text


KEYS = st.sampled_from(
    [
        "parameters",
        "responses",
        "requestBody",
        "description",
        "$ref",
        "name",
        "in",
        "headers",
        "content",
        "schema",
        "200",
    ]
)
JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["path", "query", "countryCode", "\ud800", "#/components/schemas/A"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(operation=st.dictionaries(KEYS, JSON), schemas=st.dictionaries(st.sampled_from("AB"), JSON))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixture is a plain function
def test_no_description_breaks_the_document(publish: Any, operation: Any, schemas: Any) -> None:
    good = publish("/b", doc=ok(summary="Well"))
    built = build_document([publish(doc=OperationDoc(operation, schemas)), good], title="Bridge", version="1")
    read = json.loads(orjson.dumps(built))
    assert read["paths"]["/b"]["get"]["summary"] == "Well"
    assert read["paths"]["/v1/vat/{countryCode}"]["get"]["responses"]["502"]


def test_star_takes_the_methods_that_nothing_else_takes(publish: Any, document: Any) -> None:
    described = []

    def once() -> OperationDoc:
        described.append(1)
        return ok(requestBody={"content": {"application/json": {}}})

    built = document(
        publish("/a", method="*", name="rest", doc=once),
        publish("/a", method="POST", name="post"),
        publish("/b", method="*", name="some", methods=["GET", "OPTIONS"], route_id="2"),
    )
    item = built["paths"]["/a"]
    assert list(item) == ["get", "post", "put", "patch", "delete"]
    assert item["post"]["summary"] == "post"
    assert item["put"]["operationId"] == "put_a_rest"
    assert "requestBody" in item["put"]
    assert "requestBody" not in item["get"]
    assert list(built["paths"]["/b"]) == ["get", "options"]
    assert described == [1]


def test_a_method_that_openapi_does_not_know_is_left_out(publish: Any, document: Any, caplog: Any) -> None:
    caplog.set_level("INFO", logger="bridge.openapi")
    assert document(publish(method="LOCK"))["paths"] == {}
    assert [(record.levelname, "LOCK" in record.getMessage()) for record in caplog.records] == [("INFO", True)]


def test_operation_ids_are_unique_and_do_not_move(publish: Any, document: Any) -> None:
    first = publish("/v1/vat/{c}", name="check", route_id="1")
    second = publish("/v1/vat/{c}/{n}", name="check", route_id="2")
    third = publish("/v2/books", "/{id}:publish", "POST", name="pkg.Svc/Publish", route_id="3")
    alone = document(third)["paths"]["/v2/books/{id}:publish"]["post"]["operationId"]
    built = document(first, second, third)
    ids = {entry["operationId"] for item in built["paths"].values() for entry in item.values()}
    assert ids == {"v1_vat_check", "v1_vat_check_2", "v2_books_pkg_Svc_Publish"}
    assert alone in ids


def test_the_order_of_operations_changes_nothing(publish: Any, document: Any) -> None:
    schema = OperationDoc(
        ok(requestBody={"content": {"a/b": {"schema": {"$ref": "#/components/schemas/T"}}}}).operation
    )
    operations = [
        publish(
            f"/v{at % 3}/{'ab'[at % 2]}/{{p{at}}}",
            method=("GET", "POST", "*")[at % 3],
            route_id=str(at),
            doc=OperationDoc(schema.operation, {"T": {"type": "string", "maxLength": at % 4}}),
        )
        for at in range(12)
    ]
    built = json.dumps(document(*operations))
    for seed in range(5):
        random.Random(seed).shuffle(operations)
        assert json.dumps(document(*operations)) == built


def test_security_schemes_of_one_name(publish: Any, document: Any) -> None:
    key, other = ({"type": "apiKey", "in": "header", "name": name} for name in ("X-API-Key", "X-Other"))
    built = document(
        publish("/a", security=[{"key": []}], schemes={"key": key}),
        publish("/b", security=[{"key": []}], schemes={"key": key}),
        publish("/c", security=[{"key": ["admin"]}, {}], schemes={"key": other}),
    )
    assert built["components"]["securitySchemes"] == {"key": key, "key_2": other}
    assert built["paths"]["/b"]["get"]["security"] == [{"key": []}]
    assert built["paths"]["/c"]["get"]["security"] == [{"key_2": ["admin"]}, {}]


def test_hosts_and_tenants(publish: Any, document: Any) -> None:
    everywhere = publish("/a", route_id="1", tenant="tax", doc=ok(summary="everywhere"))
    here = publish("/a", route_id="2", host="here.example", doc=ok(summary="here"))
    there = publish("/b", route_id="3", host="there.example", tenant="tax")
    every = [everywhere, here, there]
    assert for_host(every, "HERE.example.:8080") == [everywhere, here]
    assert for_host(every, "[::1]:8080") == [everywhere]
    assert for_tenant(every, "tax") == [everywhere, there]

    own = document(*for_host(every, "here.example"))["paths"]["/a"]["get"]
    assert own["summary"] == "here", "a host's own route goes before every host's"
    assert own["x-bridge"]["also"] == [{"route": "1", "path": "/a"}]
    assert "servers" not in own
    whole = document(*every)["paths"]
    assert whole["/b"]["get"]["servers"] == [{"url": "//there.example"}]


def test_nothing_published_is_a_document_too(document: Any) -> None:
    assert document()["paths"] == {}


def test_a_thousand_operations_are_quick(publish: Any) -> None:
    schemas = {
        f"Type{at}": {
            "type": "object",
            "description": "An element of the county's return.",
            "properties": {
                "next": {"$ref": f"#/components/schemas/Type{(at + 1) % 20}"},
                **{f"field{n}": {"type": "string", "maxLength": n} for n in range(8)},
            },
        }
        for at in range(20)
    }
    operations = []
    for at in range(1000):
        own = json.loads(json.dumps(schemas).replace("county", f"county {at // 50}"))
        body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Type0"}}}}
        doc = OperationDoc({"requestBody": body, "responses": {"200": {"description": "", **body}}}, own)
        operations.append(publish(f"/v1/route{at}", method="POST", route_id=str(at), doc=doc))
    began = time.process_time()
    built = build_document(operations, title="Bridge", version="1")
    took = time.process_time() - began
    assert len(built["paths"]) == 1000
    assert len(built["components"]["schemas"]) == 1 + 20 * 20
    assert took < 2, f"{took:.2f} s of CPU for 1,000 operations"
