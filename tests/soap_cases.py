"""Every construct of XML Schema with instances and the JSON that CONTRACT section 6 gives them."""

from __future__ import annotations

from typing import Any

import pytest

CASES: list[Any] = []


def case(name: str, schema: str, *trips: tuple[str, Any]) -> None:
    CASES.append(pytest.param(schema, trips, id=name))


def typed(content: str) -> str:
    """A root element with this complex content."""
    return f'<xs:element name="r"><xs:complexType>{content}</xs:complexType></xs:element>'


case(
    "sequence",
    typed('<xs:sequence><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:int"/></xs:sequence>'),
    ("<r><a>x</a><b>5</b></r>", {"a": "x", "b": 5}),
    ("<r><a/><b>-1</b></r>", {"a": "", "b": -1}),
)
case(
    "array",
    typed(
        '<xs:sequence><xs:element name="a" type="xs:string" maxOccurs="3"/>'
        '<xs:element name="b" type="xs:int" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>'
    ),
    ("<r><a>x</a></r>", {"a": ["x"], "b": []}),
    ("<r><a>x</a><a/><b>1</b><b>2</b></r>", {"a": ["x", ""], "b": [1, 2]}),
)
case(
    "all",
    typed('<xs:all><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:int" minOccurs="0"/></xs:all>'),
    ("<r><b>5</b><a>x</a></r>", {"b": 5, "a": "x"}),
    ("<r><a>x</a></r>", {"a": "x"}),
)
case(
    "choice",
    typed('<xs:choice><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:int"/></xs:choice>'),
    ("<r><a>x</a></r>", {"a": "x"}),
    ("<r><b>1</b></r>", {"b": 1}),
)
case(
    "optional choice of groups",
    typed(
        '<xs:sequence><xs:element name="k" type="xs:string"/><xs:choice minOccurs="0"><xs:sequence>'
        '<xs:element name="a" type="xs:string"/><xs:element name="l" type="xs:int" minOccurs="0" maxOccurs="9"/>'
        '</xs:sequence><xs:element name="b" type="xs:int"/></xs:choice></xs:sequence>'
    ),
    ("<r><k/></r>", {"k": ""}),
    ("<r><k/><a>x</a></r>", {"k": "", "a": "x", "l": []}),
    ("<r><k/><a>x</a><l>4</l></r>", {"k": "", "a": "x", "l": [4]}),
    ("<r><k/><b>1</b></r>", {"k": "", "b": 1}),
)
case(
    "branches that share a name",
    typed(
        '<xs:choice><xs:sequence><xs:element name="a" type="xs:int"/><xs:element name="z" type="xs:int"/></xs:sequence>'
        '<xs:sequence><xs:element name="b" type="xs:int"/><xs:element name="z" type="xs:int"/></xs:sequence>'
        "</xs:choice>"
    ),
    ("<r><a>1</a><z>2</z></r>", {"a": 1, "z": 2}),
    ("<r><b>1</b><z>2</z></r>", {"b": 1, "z": 2}),
)
case(
    "an empty list chosen",
    '<xs:simpleType name="L"><xs:list itemType="xs:int"/></xs:simpleType>'
    + typed('<xs:choice><xs:element name="a" type="t:L"/><xs:element name="b" type="xs:int"/></xs:choice>'),
    ("<r><a/></r>", {"a": []}),
)
case(
    "repeated choice",
    typed(
        '<xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="a" type="xs:string"/>'
        '<xs:element name="b" type="xs:int"/></xs:choice>'
    ),
    ("<r><a>x</a><b>1</b><a>y</a></r>", {"#items": [{"a": "x"}, {"b": 1}, {"a": "y"}]}),
    ("<r/>", {"#items": []}),
)
case(
    "repeated choice among others",
    typed(
        '<xs:sequence><xs:element name="h" type="xs:int"/><xs:choice maxOccurs="unbounded">'
        '<xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:int"/></xs:choice>'
        '<xs:element name="t" type="xs:int" minOccurs="0"/></xs:sequence>'
    ),
    ("<r><h>1</h><b>1</b><a>y</a><t>2</t></r>", {"h": 1, "#items": [{"b": 1}, {"a": "y"}], "t": 2}),
)
case(
    "repeated sequence",
    typed(
        '<xs:sequence maxOccurs="unbounded"><xs:element name="k" type="xs:string"/>'
        '<xs:element name="v" type="xs:int" minOccurs="0"/></xs:sequence>'
    ),
    ("<r><k>a</k><v>1</v><k>b</k></r>", {"#items": [{"k": "a"}, {"v": 1}, {"k": "b"}]}),
)
case(
    "one name in two places",
    typed(
        '<xs:sequence><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:int"/>'
        '<xs:element name="a" type="xs:string" minOccurs="0"/></xs:sequence>'
    ),
    ("<r><a>1</a><b>2</b><a>3</a></r>", {"#items": [{"a": "1"}, {"b": 2}, {"a": "3"}]}),
    ("<r><a>1</a><b>2</b></r>", {"#items": [{"a": "1"}, {"b": 2}]}),
)
case(
    "repeated group of one element is an array",
    typed('<xs:sequence minOccurs="0" maxOccurs="unbounded"><xs:element name="a" type="xs:int"/></xs:sequence>'),
    ("<r><a>1</a><a>2</a></r>", {"a": [1, 2]}),
)
case(
    "group and attribute group",
    '<xs:group name="g"><xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence></xs:group>'
    '<xs:attributeGroup name="ag"><xs:attribute name="x" type="xs:int"/></xs:attributeGroup>'
    + typed(
        '<xs:sequence><xs:group ref="t:g"/><xs:element name="b" type="xs:int"/></xs:sequence>'
        '<xs:attributeGroup ref="t:ag"/>'
    ),
    ('<r x="7"><a>1</a><b>2</b></r>', {"@x": 7, "a": 1, "b": 2}),
)
case(
    "attributes and text",
    '<xs:element name="r"><xs:complexType><xs:simpleContent><xs:extension base="xs:decimal">'
    '<xs:attribute name="currency" type="xs:string" use="required"/><xs:attribute name="d" type="xs:date"/>'
    "</xs:extension></xs:simpleContent></xs:complexType></xs:element>",
    ('<r currency="EUR">19.90</r>', {"@currency": "EUR", "#text": "19.90"}),
    ('<r currency="a &quot;&#10;b" d="2026-11-03">1</r>', {"@currency": 'a "\nb', "@d": "2026-11-03", "#text": "1"}),
)
case(
    "nil",
    typed(
        '<xs:sequence><xs:element name="a" type="xs:int" nillable="true"/>'
        '<xs:element name="l" type="xs:string" nillable="true" minOccurs="0" maxOccurs="unbounded"/>'
        '<xs:element name="c" nillable="true" minOccurs="0"><xs:complexType><xs:sequence>'
        '<xs:element name="d" type="xs:int"/></xs:sequence><xs:attribute name="w" type="xs:string"/></xs:complexType>'
        "</xs:element></xs:sequence>"
    ),
    ('<r xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><a i:nil="true"/></r>', {"a": None, "l": []}),
    (
        '<r xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><a>1</a><l>x</l><l i:nil="true"/><l/>'
        '<c i:nil="true" w="why"/></r>',
        {"a": 1, "l": ["x", None, ""], "c": {"#nil": True, "@w": "why"}},
    ),
    (
        '<r xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><a>1</a><c i:nil="true"/></r>',
        {"a": 1, "l": [], "c": None},
    ),
)
case(
    "extension",
    '<xs:complexType name="Base"><xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence>'
    '<xs:attribute name="x" type="xs:int"/></xs:complexType>'
    '<xs:complexType name="Derived"><xs:complexContent><xs:extension base="t:Base"><xs:sequence>'
    '<xs:element name="b" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>'
    + typed(
        '<xs:sequence><xs:element name="p" type="t:Base" maxOccurs="unbounded"/>'
        '<xs:element name="q" type="t:Derived"/></xs:sequence>'
    ),
    (
        '<r xmlns:t="urn:t" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><p x="1"><a>1</a></p>'
        '<p i:type="t:Derived"><a>1</a><b>2</b></p><q><a>3</a><b>4</b></q></r>',
        {"p": [{"@x": 1, "a": 1}, {"@xsi:type": "Derived", "a": 1, "b": 2}], "q": {"a": 3, "b": 4}},
    ),
)
case(
    "abstract type",
    '<xs:complexType name="Shape" abstract="true"><xs:sequence/></xs:complexType>'
    '<xs:complexType name="Circle"><xs:complexContent><xs:extension base="t:Shape"><xs:sequence>'
    '<xs:element name="radius" type="xs:double"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>'
    + typed('<xs:sequence><xs:element name="s" type="t:Shape"/></xs:sequence>'),
    (
        '<r xmlns:t="urn:t" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        '<s i:type="t:Circle"><radius>1.5</radius></s></r>',
        {"s": {"@xsi:type": "Circle", "radius": 1.5}},
    ),
)
case(
    "restriction",
    '<xs:complexType name="Base"><xs:sequence><xs:element name="a" type="xs:int" minOccurs="0"/>'
    '<xs:element name="b" type="xs:int" minOccurs="0"/></xs:sequence><xs:attribute name="x"/>'
    '<xs:attribute name="y"/></xs:complexType>'
    + '<xs:element name="r"><xs:complexType><xs:complexContent><xs:restriction base="t:Base"><xs:sequence>'
    '<xs:element name="b" type="xs:int"/></xs:sequence><xs:attribute name="x" use="prohibited"/></xs:restriction>'
    "</xs:complexContent></xs:complexType></xs:element>",
    ('<r y="1"><b>1</b></r>', {"@y": "1", "b": 1}),
)
case(
    "simple type by xsi:type",
    '<xs:simpleType name="Code"><xs:restriction base="xs:string"><xs:length value="2"/></xs:restriction>'
    "</xs:simpleType>" + typed('<xs:sequence><xs:element name="a" type="xs:string"/></xs:sequence>'),
    (
        '<r xmlns:t="urn:t" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><a i:type="t:Code">ab</a></r>',
        {"a": {"@xsi:type": "Code", "#text": "ab"}},
    ),
)
case(
    "substitution group",
    '<xs:element name="shape" type="t:S" abstract="true"/><xs:complexType name="S"><xs:sequence/></xs:complexType>'
    '<xs:complexType name="C"><xs:complexContent><xs:extension base="t:S"><xs:sequence>'
    '<xs:element name="radius" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>'
    '<xs:element name="circle" type="t:C" substitutionGroup="t:shape"/>'
    '<xs:element name="dot" type="t:C" substitutionGroup="t:circle" nillable="true"/>'
    + typed('<xs:sequence><xs:element ref="t:shape" maxOccurs="unbounded"/></xs:sequence>'),
    (
        '<r xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><circle><radius>1</radius></circle>'
        '<dot><radius>2</radius></dot><dot i:nil="true"/></r>',
        {
            "shape": [
                {"@element": "circle", "radius": 1},
                {"@element": "dot", "radius": 2},
                {"@element": "dot", "#nil": True},
            ]
        },
    ),
)
case(
    "substitution group of simple type",
    '<xs:element name="name" type="xs:string"/><xs:element name="nom" type="xs:string" substitutionGroup="t:name"/>'
    + typed('<xs:sequence><xs:element ref="t:name" maxOccurs="2"/></xs:sequence>'),
    ("<r><name>a</name><nom>b</nom></r>", {"name": ["a", {"@element": "nom", "#text": "b"}]}),
)
case(
    "mixed",
    '<xs:element name="r"><xs:complexType mixed="true"><xs:choice minOccurs="0" maxOccurs="unbounded">'
    '<xs:element name="b" type="xs:string"/><xs:element name="i" type="xs:int"/></xs:choice>'
    '<xs:attribute name="x"/></xs:complexType></xs:element>',
    ("<r>one <b>two</b> three<i>4</i> </r>", {"#content": ["one ", {"b": "two"}, " three", {"i": 4}, " "]}),
    ('<r x="y"/>', {"@x": "y", "#content": []}),
)
case(
    "any",
    '<xs:element name="known" type="xs:int"/>'
    + typed(
        '<xs:sequence><xs:element name="a" type="xs:int"/>'
        '<xs:any namespace="##any" processContents="lax" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>'
    ),
    ("<r><a>1</a></r>", {"a": 1, "#any": []}),
    (
        '<r><a>1</a><known>5</known><o:x xmlns:o="urn:o" q="1"><o:y>text</o:y><z xmlns=""/></o:x></r>',
        {
            "a": 1,
            "#any": [
                {"{urn:t}known": 5},
                {"{urn:o}x": {"@q": "1", "#any": [{"{urn:o}y": "text"}, {"z": ""}]}},
            ],
        },
    ),
)
case(
    "any of another namespace, skipped",
    typed(
        '<xs:sequence><xs:any namespace="##other" processContents="skip"/>'
        '<xs:element name="a" type="xs:int" minOccurs="0"/></xs:sequence>'
    ),
    (
        '<r><o:x xmlns:o="urn:o">a<o:y/>b</o:x></r>',
        {"#any": [{"{urn:o}x": {"#content": ["a", {"{urn:o}y": ""}, "b"]}}]},
    ),
)
case(
    "any attribute",
    '<xs:attribute name="lvl" type="xs:int"/>' + typed('<xs:anyAttribute namespace="##any" processContents="lax"/>'),
    (
        '<r xmlns:t="urn:t" xmlns:o="urn:o" p="1" o:q="2" t:lvl="3" xml:lang="en"/>',
        {"@p": "1", "@{urn:o}q": "2", "@{urn:t}lvl": 3, "@{http://www.w3.org/XML/1998/namespace}lang": "en"},
    ),
)
case(
    "recursion",
    '<xs:complexType name="Node"><xs:sequence><xs:element name="v" type="xs:int"/>'
    '<xs:element name="kids" type="t:Node" minOccurs="0" maxOccurs="unbounded"/></xs:sequence></xs:complexType>'
    '<xs:element name="r" type="t:Node"/>',
    (
        "<r><v>1</v><kids><v>2</v><kids><v>3</v></kids></kids><kids><v>4</v></kids></r>",
        {
            "v": 1,
            "kids": [{"v": 2, "kids": [{"v": 3, "kids": []}]}, {"v": 4, "kids": []}],
        },
    ),
)
case(
    "list and union",
    '<xs:simpleType name="U"><xs:union memberTypes="xs:int xs:boolean xs:date"/></xs:simpleType>'
    '<xs:simpleType name="L"><xs:list itemType="xs:int"/></xs:simpleType>'
    + typed(
        '<xs:sequence><xs:element name="l" type="t:L"/><xs:element name="u" type="t:U" maxOccurs="9"/>'
        '<xs:element name="t" type="xs:NMTOKENS" minOccurs="0"/></xs:sequence><xs:attribute name="x" type="t:L"/>'
    ),
    (
        '<r x="1 2"><l>3 4 5</l><u>7</u><u>true</u><u>2026-11-03</u><t>a b</t></r>',
        {"@x": [1, 2], "l": [3, 4, 5], "u": [7, True, "2026-11-03"], "t": ["a", "b"]},
    ),
    ("<r><l/><u>1</u></r>", {"l": [], "u": [1]}),
)
case(
    "anyType",
    typed('<xs:sequence><xs:element name="a" maxOccurs="9"/></xs:sequence>'),
    (
        '<r xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        '<a>text</a><a i:type="xs:int">5</a><a x="1"/><a><b xmlns="">c</b></a></r>',
        {"a": ["text", {"@xsi:type": "int", "#text": 5}, {"@x": "1"}, {"#any": [{"b": "c"}]}]},
    ),
)
case(
    "whitespace",
    typed(
        '<xs:sequence><xs:element name="s" type="xs:string"/><xs:element name="n" type="xs:normalizedString"/>'
        '<xs:element name="t" type="xs:token"/></xs:sequence>'
    ),
    ("<r><s> a\n\tb&#13;\n </s><n> a b </n><t>a b</t></r>", {"s": " a\n\tb\r\n ", "n": " a b ", "t": "a b"}),
)
case(
    "element defaults stay empty",
    typed('<xs:sequence><xs:element name="a" type="xs:int" default="5"/></xs:sequence>'),
    ("<r><a/></r>", {"a": ""}),
    ("<r><a>6</a></r>", {"a": 6}),
)
case("empty type", typed(""), ("<r/>", {}))
case("simple root", '<xs:element name="r" type="xs:int"/>', ("<r>5</r>", 5))
case("nillable root", '<xs:element name="r" type="xs:int" nillable="true"/>', ("<r>5</r>", 5))
case(
    "unqualified locals",
    '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int" form="unqualified"/>'
    '<xs:element name="b" type="xs:int"/></xs:sequence><xs:attribute name="x" form="qualified" type="xs:int"/>'
    "</xs:complexType></xs:element>",
    ('<r xmlns:t="urn:t" t:x="1"><a xmlns="">1</a><b>2</b></r>', {"@x": 1, "a": 1, "b": 2}),
)
