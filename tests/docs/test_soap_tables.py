"""docs/soap.md: each row of the table of XML and JSON is translated both ways, with what it shows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.docs.tables import code, table
from tests.soap_kit import Echo, infoset, make_echo

ROWS = table("docs/soap.md", "JSON and XML")
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@dataclass
class Trip:
    """A schema, a document, its JSON, and other JSON that is sent as the same document.

    :ivar others: further schemas, for other namespaces.
    """

    schema: str
    xml: str
    value: Any
    alike: list[Any] = field(default_factory=list[Any])
    others: tuple[str, ...] = ()


def root(content: str, attributes: str = "") -> str:
    return f'<xs:element name="r"><xs:complexType{attributes}>{content}</xs:complexType></xs:element>'


def sequence(*elements: str) -> str:
    """Elements as ``name type rest``."""
    parts = [element.split(" ", 2) for element in elements]
    lines = [f'<xs:element name="{name}" type="{kind}" {"".join(rest)}/>' for name, kind, *rest in parts]
    return f"<xs:sequence>{''.join(lines)}</xs:sequence>"


OTHER = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="namespace"
    xmlns:n="namespace" elementFormDefault="qualified"><xs:element name="local" type="xs:int"/>
    <xs:attribute name="name" type="xs:string"/></xs:schema>"""
IMPORTING = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t" xmlns:t="urn:t"
    xmlns:n="namespace" elementFormDefault="qualified"><xs:import namespace="namespace" schemaLocation="s1.xsd"/>
    {}</xs:schema>"""
TEXT = (
    '<xs:simpleContent><xs:extension base="xs:string"><xs:attribute name="name" type="xs:int"/>'
    "</xs:extension></xs:simpleContent>"
)
BASE = f"""<xs:complexType name="Base">{sequence("a xs:int")}</xs:complexType>
<xs:complexType name="Derived"><xs:complexContent><xs:extension base="t:Base">{sequence("b xs:int")}</xs:extension>
</xs:complexContent></xs:complexType>"""

ARRAY_AND_KEY = sequence('a xs:int minOccurs="0" maxOccurs="2"', "k xs:int")

#: A row's first cell: what it speaks of.
TRIPS: dict[str, list[Trip]] = {
    "element": [
        Trip(root(sequence("local xs:string")), "<r><local>x</local></r>", {"local": "x"}),
        Trip(
            IMPORTING.format(
                root('<xs:sequence><xs:element name="local" type="xs:int"/><xs:element ref="n:local"/></xs:sequence>')
            ),
            '<r><local>1</local><n:local xmlns:n="namespace">2</n:local></r>',
            {"{urn:t}local": 1, "{namespace}local": 2},
            others=(OTHER,),
        ),
    ],
    "attribute; text beside attributes": [
        Trip(root(TEXT), '<r name="1">x</r>', {"@name": 1, "#text": "x"}),
        Trip(root(TEXT), "<r>x</r>", {"#text": "x"}, ["x"]),
    ],
    "`maxOccurs` above 1": [
        Trip(root(sequence('a xs:int minOccurs="0" maxOccurs="2"')), "<r><a>1</a></r>", {"a": [1]}),
        Trip(root(sequence('a xs:int minOccurs="0" maxOccurs="2"')), "<r/>", {"a": []}, [{}]),
        Trip(
            root(f"<xs:choice>{ARRAY_AND_KEY}{sequence('b xs:string')}</xs:choice>"),
            "<r><b/></r>",
            {"b": ""},
        ),
    ],
    "absent; nil; empty": [
        Trip(
            root(sequence('a xs:int minOccurs="0"', 'b xs:int nillable="true"', "c xs:string")),
            f'<r {XSI}><b xsi:nil="true"/><c/></r>',
            {"b": None, "c": ""},
        ),
        Trip(
            root('<xs:sequence><xs:element name="e"><xs:complexType/></xs:element></xs:sequence>'),
            "<r><e/></r>",
            {"e": {}},
        ),
        Trip(
            f'<xs:complexType name="T">{TEXT}</xs:complexType>' + root(sequence('a t:T nillable="true"')),
            f'<r {XSI}><a xsi:nil="true" name="1"/></r>',
            {"a": {"@name": 1, "#nil": True}},
        ),
    ],
    "boolean; `byte` to `int` and their unsigned kin, float, double": [
        Trip(
            root(sequence("a xs:boolean", "b xs:boolean", "c xs:byte", "d xs:unsignedInt", "e xs:int")),
            "<r><a>true</a><b>false</b><c>-128</c><d>4294967295</d><e>-5</e></r>",
            {"a": True, "b": False, "c": -128, "d": 4294967295, "e": -5},
        ),
        Trip(
            root(sequence("a xs:float", "b xs:double", "c xs:double", "d xs:double")),
            "<r><a>INF</a><b>-INF</b><c>NaN</c><d>1.5</d></r>",
            {"a": "INF", "b": "-INF", "c": "NaN", "d": 1.5},
        ),
    ],
    "`long`, `unsignedLong`, unbounded integers, decimal": [
        Trip(
            root(sequence("a xs:long", "b xs:unsignedLong", "c xs:integer", "d xs:decimal")),
            "<r><a>5</a><b>18446744073709551615</b><c>100000000000000000000000</c><d>1.50</d></r>",
            {"a": "5", "b": "18446744073709551615", "c": "100000000000000000000000", "d": "1.50"},
            [{"a": 5, "b": 18446744073709551615, "c": "100000000000000000000000", "d": "1.50"}],
        ),
    ],
    "a number whose pattern wants zeros or a sign in front (`xs:int` with `[0-9]{5}`)": [
        Trip(
            '<xs:simpleType name="Code"><xs:restriction base="xs:int"><xs:pattern value="[0-9]{5}"/></xs:restriction>'
            "</xs:simpleType>" + root(sequence("a t:Code", "b t:Code")),
            "<r><a>00042</a><b>12345</b></r>",
            {"a": "00042", "b": "12345"},
            [{"a": "00042", "b": 12345}],
        ),
    ],
    "dates, times, durations, `anyURI`": [
        Trip(
            root(sequence("a xs:dateTime", "b xs:time", "c xs:gYear", "d xs:duration", "e xs:anyURI", "f xs:date")),
            "<r><a>2026-11-03T24:00:00.1234567890-06:00</a><b>24:00:00</b><c>-0044</c><d>P1Y2M</d>"
            "<e>http://a/?b</e><f>12026-11-03Z</f></r>".replace("24:00:00.1234567890", "23:00:00.1234567890"),
            {
                "a": "2026-11-03T23:00:00.1234567890-06:00",
                "b": "24:00:00",
                "c": "-0044",
                "d": "P1Y2M",
                "e": "http://a/?b",
                "f": "12026-11-03Z",
            },
        ),
    ],
    "base64Binary; hexBinary; QName": [
        Trip(
            root(sequence("a xs:base64Binary", "b xs:hexBinary", "c xs:QName")),
            '<r><a>AQI=</a><b>0AFF</b><c xmlns:n="namespace">n:local</c></r>',
            {"a": "AQI=", "b": "0AFF", "c": "{namespace}local"},
        ),
    ],
    "list; union": [
        Trip(
            '<xs:simpleType name="L"><xs:list itemType="xs:int"/></xs:simpleType>'
            '<xs:simpleType name="U"><xs:union memberTypes="xs:int xs:string"/></xs:simpleType>'
            + root(sequence("a t:L", "b t:U", "c t:U")),
            "<r><a>1 2</a><b>5</b><c>x</c></r>",
            {"a": [1, 2], "b": 5, "c": "x"},
        ),
    ],
    "`all`; choice": [
        Trip(
            root(sequence("a xs:int", "b xs:int").replace("sequence", "all")),
            "<r><b>2</b><a>1</a></r>",
            {"b": 2, "a": 1},
        ),
        Trip(root(sequence("a xs:int", "b xs:int").replace("sequence", "choice")), "<r><b>2</b></r>", {"b": 2}),
    ],
    "a group of several elements that repeats; one name in two places": [
        Trip(
            root(
                '<xs:choice maxOccurs="unbounded"><xs:element name="a" type="xs:int"/>'
                '<xs:element name="b" type="xs:int"/></xs:choice>'
            ),
            "<r><a>1</a><b>2</b><a>3</a></r>",
            {"#items": [{"a": 1}, {"b": 2}, {"a": 3}]},
        ),
        Trip(
            root(sequence("a xs:int", "b xs:int", "a xs:int")),
            "<r><a>1</a><b>2</b><a>3</a></r>",
            {"#items": [{"a": 1}, {"b": 2}, {"a": 3}]},
            [{"a": [1, 3], "b": [2]}],
        ),
    ],
    "xsi:type other than declared": [
        Trip(
            BASE + root(sequence("x t:Base")),
            f'<r {XSI} xmlns:t="urn:t"><x xsi:type="t:Derived"><a>1</a><b>2</b></x></r>',
            {"x": {"@xsi:type": "Derived", "a": 1, "b": 2}},
            [{"x": {"@xsi:type": "{urn:t}Derived", "a": 1, "b": 2}}],
        ),
    ],
    "substitution group": [
        Trip(
            '<xs:element name="head" type="xs:anyType"/>'.replace("xs:anyType", "t:Base")
            + BASE
            + '<xs:element name="member" type="t:Base" substitutionGroup="t:head"/>'
            + root('<xs:sequence><xs:element ref="t:head"/></xs:sequence>'),
            "<r><member><a>1</a></member></r>",
            {"head": {"@element": "member", "a": 1}},
        ),
    ],
    "mixed content": [
        Trip(
            root(sequence('b xs:string minOccurs="0"'), ' mixed="true"'),
            "<r>text<b>bold</b>tail</r>",
            {"#content": ["text", {"b": "bold"}, "tail"]},
        ),
        Trip(
            root(sequence('b xs:string minOccurs="0"'), ' mixed="true"'),
            "<r>text</r>",
            {"#content": ["text"]},
            ["text"],
        ),
    ],
    "`any`; `anyAttribute`": [
        Trip(
            IMPORTING.format(
                root('<xs:sequence><xs:any namespace="##other"/></xs:sequence><xs:anyAttribute namespace="##other"/>')
            ),
            '<r xmlns:n="namespace" n:name="x"><n:local>1</n:local></r>',
            {"@{namespace}name": "x", "#any": [{"{namespace}local": 1}]},
            others=(OTHER,),
        ),
    ],
    "anyType, and elements that no schema declares": [
        Trip(
            root(sequence('a xs:anyType maxOccurs="9"')),
            f'<r {XSI} xmlns:xs="http://www.w3.org/2001/XMLSchema"><a>text</a><a xsi:type="xs:int">5</a><a x="1">y</a>'
            '<a><b xmlns="">c</b></a><a>m<b xmlns="">c</b></a></r>',
            {
                "a": [
                    "text",
                    {"@xsi:type": "int", "#text": 5},
                    {"@x": "1", "#text": "y"},
                    {"#any": [{"b": "c"}]},
                    {"#content": ["m", {"b": "c"}]},
                ]
            },
        ),
    ],
}

#: A row's first cell: where else it is tried.
ELSEWHERE = {
    "header blocks; attachments": "tests/docs/test_pages_served.py",
    "rpc/encoded": "tests/bridge_soap/test_section5.py",
}


def test_every_row_has_its_examples() -> None:
    assert [row[0] for row in ROWS] == [*TRIPS, *ELSEWHERE]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_row_in_both_directions(row: list[str], tmp_path: Path) -> None:
    trips = TRIPS.get(row[0], [])
    for number, trip in enumerate(trips):
        (folder := tmp_path / str(number)).mkdir()
        service = make_echo(folder, trip.schema, others=trip.others)
        if "xs:QName" in trip.schema:  # its prefix may change on the way
            assert service.receive(trip.xml) == trip.value
            last = service.send(trip.value)[-1]
            prefix, _, local = (last.text or "").partition(":")
            assert f"{{{last.nsmap[prefix]}}}{local}" == trip.value["c"]
            continue
        assert service.trip(trip.xml) == trip.value
        original = etree.fromstring(trip.xml.replace("<r", '<r xmlns="urn:t"', 1))
        for value in trip.alike:
            assert infoset(service.send(value)) == infoset(original), value
    shown = [span for span in code(row[1]) if re.match(r'["\[{-]', span)]
    values = "\n".join(json.dumps([trip.value, trip.alike]) for trip in trips)
    for part in [part for span in shown if trips for part in span.split("…")]:
        assert part.replace("{namespace}Name", "{urn:t}Derived").replace('"Name"', '"Derived"') in values, part


# --- numbers as strings ----------------------------------------------------------------------------------------------

NUMBERS = Path(__file__).parents[2].joinpath("docs/soap.md").read_text("utf-8").partition("### Numbers as strings\n")[2]


def test_numbers_as_strings(tmp_path: Path) -> None:
    paragraph = NUMBERS.partition("\n\n")[0] or NUMBERS.strip().partition("\n\n")[0]
    before, _, after = paragraph.replace("\n", " ").partition("It stays a number")
    strings = [span for span in code(before.partition("reject:")[2]) if span not in ("xs:int", "00042")]
    numbers = code(after.partition(", or ")[0])
    assert (len(strings), len(numbers)) == (3, 3), (strings, numbers)
    for pattern in strings + numbers:
        text, value = example(pattern, tmp_path, "")
        assert value == (text if pattern in strings else int(text)), pattern
    assert code(after.partition(", or ")[2])[:2] == ["[0-9]{5}", "minInclusive"]
    assert example("[0-9]{5}", tmp_path, '<xs:minInclusive value="10000"/>')[1] == 12345


def example(pattern: str, folder: Path, facet: str) -> tuple[str, Any]:
    """A text of the pattern, and its JSON."""
    text = next(text for text in ("12345", "12", "+7") if re.fullmatch(pattern, text))
    kind = f'<xs:restriction base="xs:int"><xs:pattern value="{pattern}"/>{facet}</xs:restriction>'
    service: Echo = make_echo(folder, f'<xs:simpleType name="N">{kind}</xs:simpleType>' + root(sequence("a t:N")))
    return text, service.receive(f"<r><a>{text}</a></r>")["a"]
