"""The OpenAPI part: valid as a document, true of what the codec takes, with examples that hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from bridge.api import Call, Operation, OperationDoc
from tests.soap_cases import CASES
from tests.soap_kit import Bind, MakeEcho, codec_of


def document(operation: Operation, doc: OperationDoc) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/x/{countryCode}": {operation.method.lower(): doc.operation}},
        "components": {"schemas": doc.schemas},
    }


def media(doc: OperationDoc, where: str) -> dict[str, Any]:
    part = doc.operation["requestBody"] if where == "request" else doc.operation["responses"]["200"]
    found: dict[str, Any] = part["content"]["application/json"]
    return found


def validator(doc: OperationDoc, schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": {"schemas": doc.schemas}})


@pytest.mark.parametrize(("schema", "trips"), CASES)
def test_schemas_hold_for_every_construct(echo: MakeEcho, schema: str, trips: tuple[tuple[str, Any], ...]) -> None:
    service = echo(schema)
    doc = service.operation.describe()
    described = media(doc, "request")
    judge = validator(doc, described["schema"])
    Draft202012Validator.check_schema({**described["schema"], "components": {"schemas": doc.schemas}})
    for _, value in trips:
        if "Code" not in str(value):  # a simple type's derived types would only clutter the document
            judge.validate(value)
    if "example" in described:
        judge.validate(described["example"])
        service.send(described["example"])


async def test_a_document_from_every_contract(bind: Bind) -> None:
    for wsdl in ("orders.wsdl", "people/PeopleService.wsdl", "weather.wsdl", "encoded.wsdl"):
        for operation in await bind(wsdl):
            doc = operation.describe()
            if operation.name in ("notify", "reset"):
                assert list(doc.operation["responses"]) == ["202"]
            whole = document(operation, doc)
            whole["paths"] = {"/x": whole["paths"].popitem()[1]}
            validate(whole)
            example = media(doc, "request")["example"]
            assert codec_of(operation).request(Call("POST", body=json.dumps(example).encode())).body


async def test_parameters_words_and_faults(bind: Bind) -> None:
    operations = await bind(
        "vat.wsdl",
        route="/v1/vat/{countryCode}",
        methods=["GET", "POST"],
        options={"operation": "checkVat", "faults": {"vatFault": 422}},
    )
    by_method = {each.method: each for each in operations}
    doc = by_method["GET"].describe()
    validate(document(by_method["GET"], doc))
    country, number = doc.operation["parameters"]
    assert (country["name"], country["in"], country["required"]) == ("countryCode", "path", True)
    assert country["schema"]["pattern"] == "^(?:[A-Z]{2})$"
    assert country["schema"]["description"] == "Two letters, as ISO 3166 has them."
    assert (number["name"], number["in"], number["required"]) == ("vatNumber", "query", True)
    assert doc.operation["description"] == "Is a VAT number valid today?"
    fault = doc.operation["responses"]["422"]["content"]["application/problem+json"]["schema"]
    assert fault["properties"]["fault"]["properties"]["detail"]["properties"] == {
        "vatFault": {"$ref": "#/components/schemas/vatFault"}
    }
    assert doc.schemas["vatFault"]["properties"]["reason"]["enum"] == ["INVALID_INPUT", "MS_UNAVAILABLE"]
    body = media(by_method["POST"].describe(), "request")
    assert set(body["schema"]["properties"]) == {"vatNumber"}
    assert set(body["example"]) == {"vatNumber"}


def test_facets_are_told(echo: MakeEcho) -> None:
    doc = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence>'
        '<xs:element name="s"><xs:simpleType><xs:restriction base="xs:string"><xs:minLength value="2"/>'
        '<xs:maxLength value="5"/><xs:pattern value="\\d+"/></xs:restriction></xs:simpleType></xs:element>'
        '<xs:element name="i" default="3"><xs:simpleType><xs:restriction base="xs:int"><xs:minInclusive value="1"/>'
        '<xs:maxExclusive value="10"/></xs:restriction></xs:simpleType></xs:element>'
        '<xs:element name="d" type="xs:date" minOccurs="0"/><xs:element name="x" type="xs:decimal" maxOccurs="4"/>'
        "</xs:sequence></xs:complexType></xs:element>"
    ).operation.describe()
    assert doc.schemas["r"] == {
        "type": "object",
        "properties": {
            "s": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^(?:[0-9]+)$"},
            "i": {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": 2147483647, "exclusiveMaximum": 10},
                    {"const": ""},
                ],
                "default": 3,
            },
            "d": {"type": "string", "format": "date"},
            "x": {
                "type": "array",
                "items": {"type": "string", "pattern": r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$"},
                "minItems": 1,
                "maxItems": 4,
            },
        },
        "required": ["s", "x"],
        "additionalProperties": False,
    }


def test_types_that_lead_far_into_one_another(echo: MakeEcho) -> None:
    chain = "".join(
        f'<xs:complexType name="T{n}"><xs:sequence><xs:element name="n" type="t:T{n + 1}" minOccurs="0"/></xs:sequence>'
        "</xs:complexType>"
        for n in range(300)
    )
    last = '<xs:complexType name="T300"><xs:sequence><xs:element name="v" type="xs:int" minOccurs="300000000"'
    last += ' maxOccurs="unbounded"/></xs:sequence></xs:complexType>'
    service = echo(chain + last + '<xs:element name="r" type="t:T0"/>')
    doc = service.operation.describe()
    assert len(doc.schemas) == 301
    assert all(doc.schemas.values())
