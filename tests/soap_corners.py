"""Corners of XML Schema that once went wrong, with instances and their JSON; tables as in `soap_cases`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soap_cases import typed

CORNERS: list[Any] = []
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def corner(name: str, schema: str, *trips: tuple[str, Any]) -> None:
    CORNERS.append(pytest.param(schema, trips, id=name))


def one(attributes: str, content: str = "") -> str:
    """A root element with one child."""
    end = f">{content}</xs:element>" if content else "/>"
    return typed(f"<xs:sequence><xs:element {attributes}{end}</xs:sequence>")


_BASE = (
    '<xs:complexType name="B"><xs:sequence><xs:element name="a" type="xs:string"/></xs:sequence></xs:complexType>'
    '<xs:complexType name="D"><xs:complexContent><xs:extension base="t:B"><xs:attribute name="x" use="required"/>'
    "</xs:extension></xs:complexContent></xs:complexType>"
)

corner(
    "a text that says xmlns beside an attribute",
    typed(
        '<xs:sequence><xs:element name="n" type="xs:string"/><xs:element name="c"><xs:complexType>'
        '<xs:attribute name="id"/></xs:complexType></xs:element></xs:sequence>'
    ),
    ('<r><n>see xmlns</n><c id="1"/></r>', {"n": "see xmlns", "c": {"@id": "1"}}),
    ('<r><n> xmlns=</n><c id="1"/></r>', {"n": " xmlns=", "c": {"@id": "1"}}),
)
corner(
    "mixed, without elements",
    '<xs:element name="r"><xs:complexType mixed="true"><xs:attribute name="x"/></xs:complexType></xs:element>',
    ('<r x="1">abc</r>', {"@x": "1", "#content": ["abc"]}),
    ("<r/>", {"#content": []}),
)
corner(
    "anyType with an attribute",
    typed(
        '<xs:complexContent><xs:extension base="xs:anyType"><xs:attribute name="q"/></xs:extension></xs:complexContent>'
    ),
    ('<r q="1">x</r>', {"@q": "1", "#content": ["x"]}),
)
corner(
    "a global element that holds itself",
    typed('<xs:sequence><xs:element ref="t:r" minOccurs="0"/></xs:sequence>'),
    ("<r><r/></r>", {"r": {}}),
)
corner(
    "a union of QName and string",
    one('name="u"', '<xs:simpleType><xs:union memberTypes="xs:QName xs:string"/></xs:simpleType>'),
    ("<r><u>hello world</u></r>", {"u": "hello world"}),
    ("<r><u>see {x} y</u></r>", {"u": "see {x} y"}),
)
corner(
    "a union of int and QName",
    one('name="u"', '<xs:simpleType><xs:union memberTypes="xs:int xs:QName"/></xs:simpleType>'),
    ("<r><u>5</u></r>", {"u": 5}),
)
corner(
    "skip, all the way down",
    '<xs:element name="g" type="xs:int"/>'
    + typed('<xs:sequence><xs:any processContents="skip" minOccurs="0" maxOccurs="9"/></xs:sequence>'),
    (
        '<r><o xmlns="urn:o"><g xmlns="urn:t">5</g></o></r>',
        {"#any": [{"{urn:o}o": {"#any": [{"{urn:t}g": "5"}]}}]},
    ),
    (
        f'<r {XSI}><o xmlns="urn:o"><k xsi:nil="true" xsi:type="q:T" xmlns:q="urn:q"/></o></r>',
        {"#any": [{"{urn:o}o": {"#any": [{"{urn:o}k": {"#nil": True, "@xsi:type": "{urn:q}T"}}]}}]},
    ),
)
corner(
    "attributes that a wildcard skips",
    '<xs:attribute name="ga" type="xs:int"/>' + typed('<xs:anyAttribute processContents="skip"/>'),
    ('<r xmlns:t="urn:t" t:ga="007"/>', {"@{urn:t}ga": "007"}),
)
corner(
    "an element of no namespace beside one of its name",
    typed(
        '<xs:choice maxOccurs="unbounded"><xs:element name="a" type="xs:int"/>'
        '<xs:any namespace="##local" processContents="skip"/></xs:choice>'
    ),
    ('<r><a>1</a><a xmlns="">x</a></r>', {"#items": [{"a": 1}, {"{}a": "x"}]}),
)
corner(
    "an attribute of no namespace beside one of its name",
    '<xs:attribute name="id" type="xs:int"/>'
    + typed('<xs:attribute ref="t:id"/><xs:anyAttribute namespace="##any" processContents="lax"/>'),
    ('<r xmlns:t="urn:t" t:id="1" id="2"/>', {"@id": 1, "@{}id": "2"}),
)
corner(
    "numbers as they were written",
    one('name="v" type="xs:double" maxOccurs="9"'),
    (
        "<r><v>1.0E10</v><v>1E5</v><v>1e-5</v><v>-0.0</v><v>4.9E-324</v><v>1.23456789E7</v></r>",
        {"v": [1e10, 1e5, 1e-5, -0.0, 4.9e-324, 12345678.9]},
    ),
    ("<r><v>-0</v><v>0</v></r>", {"v": [0.0, 0]}),
)
corner(
    "default of simple content",
    one(
        'name="m" default="5"',
        '<xs:complexType><xs:simpleContent><xs:extension base="xs:int"><xs:attribute name="u"/></xs:extension>'
        "</xs:simpleContent></xs:complexType>",
    ),
    ("<r><m/></r>", {"m": {"#text": ""}}),
    ('<r><m u="1">7</m></r>', {"m": {"@u": "1", "#text": 7}}),
)
corner(
    "a list's items are parted by XML's spaces only",
    one('name="l"', '<xs:simpleType><xs:list itemType="xs:string"/></xs:simpleType>'),
    ("<r><l>a\u00a0b c</l></r>", {"l": ["a\u00a0b", "c"]}),
    ("<r><l>12\u202f345</l></r>", {"l": ["12\u202f345"]}),
)
corner(
    "enumerations have white space, too",
    one(
        'name="e"',
        '<xs:simpleType><xs:restriction base="xs:token"><xs:enumeration value="A "/><xs:enumeration value="B  C"/>'
        "</xs:restriction></xs:simpleType>",
    ),
    ("<r><e>A</e></r>", {"e": "A"}),
    ("<r><e>B C</e></r>", {"e": "B C"}),
)
corner(
    "names with combining characters",
    typed('<xs:sequence><xs:element name="a\u0301b" type="xs:int"/><xs:element name="\u0915\u094d"/></xs:sequence>'),
    ("<r><a\u0301b>1</a\u0301b><\u0915\u094d/></r>", {"a\u0301b": 1, "\u0915\u094d": ""}),
)
corner(
    "a choice with an empty branch",
    typed('<xs:choice><xs:sequence/><xs:element name="a" type="xs:int"/></xs:choice>'),
    ("<r/>", {}),
    ("<r><a>1</a></r>", {"a": 1}),
)
corner(
    "one name, nillable in one place",
    typed(
        '<xs:sequence><xs:element name="k" type="xs:string"/><xs:element name="m" type="xs:string"/>'
        '<xs:element name="k" type="xs:string" nillable="true"/></xs:sequence>'
    ),
    (f'<r {XSI}><k>A</k><m/><k xsi:nil="true"/></r>', {"#items": [{"k": "A"}, {"m": ""}, {"k": None}]}),
)
corner(
    "a member of a group that is also a branch",
    '<xs:element name="h" type="xs:string"/><xs:element name="m" substitutionGroup="t:h" type="xs:string"/>'
    '<xs:element name="o" type="xs:string"/>'
    + typed(
        '<xs:choice><xs:sequence><xs:element ref="t:o"/><xs:element ref="t:h"/></xs:sequence>'
        '<xs:element ref="t:m"/></xs:choice>'
    ),
    ("<r><m>1</m></r>", {"#items": [{"m": "1"}]}),
    ("<r><o/><m>1</m></r>", {"#items": [{"o": ""}, {"m": "1"}]}),
    ("<r><o/><h>1</h></r>", {"#items": [{"o": ""}, {"h": "1"}]}),
)
corner(
    "nil of a derived type",
    _BASE + one('name="b" type="t:B" nillable="true"'),
    (
        f'<r {XSI} xmlns:t="urn:t"><b xsi:type="t:D" xsi:nil="true" x="1"/></r>',
        {"b": {"@xsi:type": "D", "#nil": True, "@x": "1"}},
    ),
)
corner(
    "a member of a derived type",
    _BASE
    + '<xs:element name="h" type="t:B"/><xs:element name="m" type="t:B" substitutionGroup="t:h"/>'
    + typed('<xs:sequence><xs:element ref="t:h"/></xs:sequence>'),
    (
        f'<r {XSI} xmlns:t="urn:t"><m xsi:type="t:D" x="1"><a/></m></r>',
        {"h": {"@element": "m", "@xsi:type": "D", "@x": "1", "a": ""}},
    ),
)
corner(
    "values with several forms",
    typed(
        '<xs:sequence><xs:element name="f"><xs:simpleType><xs:restriction base="xs:decimal">'
        '<xs:enumeration value="1.0"/></xs:restriction></xs:simpleType></xs:element>'
        '<xs:element name="s" type="xs:string" fixed="F"/></xs:sequence>'
        '<xs:attribute name="c" type="xs:decimal" fixed="1.0"/>'
    ),
    ('<r c="1.00"><f>1.000</f><s/></r>', {"@c": "1.00", "f": "1.000", "s": ""}),
)
corner(
    "a .NET DataSet",
    one(
        'name="result" minOccurs="0"',
        '<xs:complexType><xs:sequence><xs:element name="x"/><xs:any processContents="lax"/></xs:sequence>'
        "</xs:complexType>",
    ),
    (
        '<r><result><x/><diffgram xmlns="urn:d"><Row id="1"><a>1</a></Row></diffgram></result></r>',
        {
            "result": {
                "x": "",
                "#any": [{"{urn:d}diffgram": {"#any": [{"{urn:d}Row": {"@id": "1", "#any": [{"{urn:d}a": "1"}]}}]}}],
            }
        },
    ),
)
