"""Every construct of XML Schema, as CONTRACT section 6 maps it: XML to JSON and back, the validator watching."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soap_cases import CASES
from tests.soap_kit import MakeEcho


@pytest.mark.parametrize(("schema", "trips"), CASES)
def test_round_trip(echo: MakeEcho, schema: str, trips: tuple[tuple[str, Any], ...]) -> None:
    service = echo(schema)
    for xml, expected in trips:
        assert service.trip(xml) == expected


@pytest.mark.parametrize(("schema", "trips"), CASES)
def test_round_trip_of_types_compiled_late(
    echo: MakeEcho, monkeypatch: pytest.MonkeyPatch, schema: str, trips: tuple[tuple[str, Any], ...]
) -> None:
    """In a large contract, a type's code is made when it is first used."""
    monkeypatch.setattr("bridge_soap.encode.encoders.EAGER", 0)
    monkeypatch.setattr("bridge_soap.decode.cursor.EAGER", 0)
    test_round_trip(echo, schema, trips)


_BLOCKING = """
<xs:complexType name="Base"><xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence></xs:complexType>
<xs:complexType name="Longer" final="#all"><xs:complexContent><xs:extension base="t:Base"><xs:sequence>
  <xs:element name="b" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
<xs:complexType name="Narrower"><xs:complexContent><xs:restriction base="t:Base"><xs:sequence>
  <xs:element name="a" type="xs:int" fixed="1"/></xs:sequence></xs:restriction></xs:complexContent></xs:complexType>
<xs:element name="head" type="t:Base" block="{members}"/>
<xs:element name="longer" type="t:Longer" substitutionGroup="t:head"/>
<xs:element name="narrower" type="t:Narrower" substitutionGroup="t:head"/>
<xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="x" type="t:Base" block="{types}" minOccurs="0"/><xs:element ref="t:head" minOccurs="0"/>
</xs:sequence></xs:complexType></xs:element>"""


@pytest.mark.parametrize(
    ("members", "types", "allowed"),
    [
        ("", "", {"Longer", "Narrower", "longer", "narrower"}),
        ("substitution", "extension", {"Narrower"}),
        ("extension", "restriction", {"Longer", "narrower"}),
        ("#all", "#all", set[str]()),
    ],
)
def test_block(echo: MakeEcho, members: str, types: str, allowed: set[str]) -> None:
    """What the schema blocks is not sent. `final` forbids definitions, so it has no say in instances."""
    service = echo(_BLOCKING.format(members=members, types=types))
    for name, body in (("Longer", {"a": 1, "b": 2}), ("Narrower", {"a": 1})):
        xml = "".join(f"<{key}>{value}</{key}>" for key, value in body.items())
        typed = {"x": {"@xsi:type": name, **body}}
        if name in allowed:
            prefixes = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:t="urn:t"'
            assert service.trip(f'<r {prefixes}><x xsi:type="t:{name}">{xml}</x></r>') == typed
        else:
            assert "/x/@xsi:type" in service.faults(typed)
        member = {"head": {"@element": name.lower(), **body}}
        if name.lower() in allowed:
            assert service.trip(f"<r><{name.lower()}>{xml}</{name.lower()}></r>") == member
        else:
            assert "/head/@element" in service.faults(member)


def test_recursion_as_deep_as_json_may_be(echo: MakeEcho) -> None:
    schema = """<xs:complexType name="Node"><xs:sequence><xs:element name="v" type="xs:int"/>
      <xs:element name="n" type="t:Node" minOccurs="0"/></xs:sequence><xs:attribute name="k" type="xs:int"/>
      </xs:complexType><xs:element name="r" type="t:Node"/>"""
    service = echo(schema)
    service.trip('<r k="1"><v>0</v>' + "<n><v>1</v>" * 190 + "</n>" * 190 + "</r>")
