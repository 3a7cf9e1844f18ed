"""Numbers whose pattern wants zeros or a sign in front are JSON strings; all others stay numbers."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bridge.api import BindError
from bridge_soap.message.large import LARGE
from tests.soap_cases import typed
from tests.soap_kit import Echo, MakeEcho


def restricted(base: str, *facets: str) -> str:
    return f'<xs:restriction base="xs:{base}">{"".join(facets)}</xs:restriction>'


def pattern(*values: str) -> str:
    return "".join(f'<xs:pattern value="{value}"/>' for value in values)


def service_of(echo: MakeEcho, simple: str, **options: Any) -> Echo:
    return echo(f'<xs:simpleType name="S">{simple}</xs:simpleType><xs:element name="r" type="t:S"/>', **options)


def schema_of(service: Echo) -> Any:
    document = service.operation.describe()
    content = document.operation["requestBody"]["content"]["application/json"]
    assert not list(
        Draft202012Validator(content["schema"] | {"components": {"schemas": document.schemas}}).iter_errors(
            content["example"]
        )
    )
    return content["schema"]


TEXTS = [
    (restricted("int", pattern("[0-9]{5}")), "00042"),
    (restricted("int", pattern("[0-9]{5}"), '<xs:minInclusive value="50"/><xs:maxInclusive value="500"/>'), "00050"),
    (restricted("unsignedByte", pattern("0[1-9]|1[0-2]")), "07"),
    (restricted("short", pattern(r"\d{4}")), "0001"),
    (restricted("int", pattern(r"\+[0-9]+")), "+5"),
    (restricted("int", pattern("0123|0456")), "0456"),
    (restricted("int", pattern("[1-9]", "00[0-9]")), "007"),
    (restricted("float", pattern(r"[0-9]{3}\.[0-9]{2}")), "007.50"),
    (restricted("double", pattern(r"\.[0-9]+")), ".5"),
]


@pytest.mark.parametrize(("simple", "text"), TEXTS)
def test_a_number_whose_pattern_wants_zeros_is_a_string(echo: MakeEcho, simple: str, text: str) -> None:
    for numbers in ("exact", "native"):
        service = service_of(echo, simple, numbers=numbers)
        assert service.trip(f"<r>{text}</r>") == text
        schema = schema_of(service)
        assert schema["type"] == "string"
        assert "minimum" not in schema
        assert "pattern" in service.faults("42x")[""] or "is not" in service.faults("42x")[""]


NUMBERS = [
    (restricted("int", pattern("[0-9]{1,5}")), 7),
    (restricted("int", pattern("[1-9][0-9]{4}")), 12345),
    (restricted("int", pattern("[0-9]{5}"), '<xs:minInclusive value="10000"/>'), 12345),
    (restricted("int", pattern(r"[+-]?\d+")), -7),
    (restricted("unsignedByte", pattern("0?[1-9]|1[0-2]")), 7),
    (restricted("int", '<xs:totalDigits value="5"/>'), 7),
    (restricted("double", pattern(r"[0-9]+\.[0-9]{2}")), 1.25),
    (restricted("int", '<xs:enumeration value="01"/><xs:enumeration value="02"/>'), 1),
]


@pytest.mark.parametrize(("simple", "value"), NUMBERS)
def test_a_number_that_json_can_hold_stays_a_number(echo: MakeEcho, simple: str, value: Any) -> None:
    service = service_of(echo, simple)
    assert service.trip(f"<r>{value}</r>") == value
    assert schema_of(service).get("type") != "string"


def test_numbers_are_read_where_they_fit(echo: MakeEcho) -> None:
    service = service_of(echo, restricted("int", pattern("[0-9]{5}")))
    assert service.send(12345).text == "12345"
    assert service.faults(42)[""].endswith("write it as a string")
    warnings: list[str] = []
    assert service.receive("<r>x</r>", valid=False, warnings=warnings) == "x"
    assert warnings


def test_lists_unions_and_attributes(echo: MakeEcho) -> None:
    zip_code = f'<xs:simpleType name="Z">{restricted("int", pattern("[0-9]{5}"))}</xs:simpleType>'
    service = echo(
        zip_code
        + '<xs:simpleType name="L"><xs:list itemType="t:Z"/></xs:simpleType>'
        + '<xs:simpleType name="U"><xs:union memberTypes="t:Z xs:boolean"/></xs:simpleType>'
        + f'<xs:simpleType name="P"><xs:restriction base="t:I">{pattern("[0-9]{2}( [0-9]{2})*")}</xs:restriction>'
        + '</xs:simpleType><xs:simpleType name="I"><xs:list itemType="xs:int"/></xs:simpleType>'
        + typed(
            '<xs:sequence><xs:element name="l" type="t:L"/><xs:element name="u" type="t:U" maxOccurs="2"/>'
            '<xs:element name="p" type="t:P"/></xs:sequence><xs:attribute name="z" type="t:Z"/>'
        )
    )
    xml = '<r z="00001"><l>00002 12345</l><u>00003</u><u>true</u><p>01 22</p></r>'
    value = {"@z": "00001", "l": ["00002", "12345"], "u": ["00003", True], "p": ["01", "22"]}
    assert service.trip(xml) == value
    assert schema_of(service)


def test_a_union_with_a_pattern_of_its_own(echo: MakeEcho) -> None:
    union = '<xs:simpleType name="U"><xs:union memberTypes="xs:int xs:float"/></xs:simpleType>'
    narrow = f'<xs:restriction base="t:U">{pattern("[0-9]{3}")}</xs:restriction>'
    assert (
        echo(union + f'<xs:simpleType name="S">{narrow}</xs:simpleType><xs:element name="r" type="t:S"/>').trip(
            "<r>007</r>"
        )
        == "007"
    )
    union = union.replace("xs:float", "xs:string")  # which keeps zeros, so a number may stay one
    service = echo(union + f'<xs:simpleType name="S">{narrow}</xs:simpleType><xs:element name="r" type="t:S"/>')
    assert (service.trip("<r>007</r>"), service.trip("<r>123</r>")) == ("007", 123)


@pytest.mark.parametrize("base", ["long", "integer", "decimal"])
def test_native_numbers_with_zeros_are_strings(echo: MakeEcho, base: str) -> None:
    service = service_of(echo, restricted(base, pattern("[0-9]{10}")), numbers="native")
    assert service.trip("<r>0000000005</r>") == "0000000005"
    assert schema_of(service)["type"] == "string"
    plain = service_of(echo, restricted(base, pattern("[1-9][0-9]*")), numbers="native")
    assert plain.trip("<r>5</r>") == 5


def test_a_boolean_whose_pattern_wants_digits(echo: MakeEcho) -> None:
    service = service_of(echo, restricted("boolean", pattern("[01]")))
    assert (service.trip("<r>1</r>"), service.trip("<r>0</r>")) == (True, False)


def test_a_pattern_that_is_none_is_still_refused(echo: MakeEcho) -> None:
    with pytest.raises(BindError):
        service_of(echo, restricted("int", pattern("[0-9")))


def test_records_and_large_replies(echo: MakeEcho) -> None:
    zip_code = f'<xs:simpleType name="Z">{restricted("int", pattern("[0-9]{5}"))}</xs:simpleType>'
    row = '<xs:sequence><xs:element name="z" type="t:Z"/><xs:element name="n" type="xs:int"/></xs:sequence>'
    service = echo(
        f'{zip_code}<xs:complexType name="R">{row}</xs:complexType>'
        + typed('<xs:sequence><xs:element name="row" type="t:R" maxOccurs="unbounded"/></xs:sequence>')
    )
    row = "<row><z>00042</z><n>7</n></row>"
    assert service.trip(f"<r>{row * 9}</r>") == {"row": [{"z": "00042", "n": 7}] * 9}
    xml = f"<r>{(row + ' ' * 200) * 5000}</r>"
    assert len(xml) > LARGE
    assert service.receive(xml) == {"row": [{"z": "00042", "n": 7}] * 5000}
