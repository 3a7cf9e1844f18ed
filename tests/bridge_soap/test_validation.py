"""What a wrong body is told: every fault at once, each with its pointer, and nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from bridge.api import Call, InvalidBody, UnsupportedMediaType
from bridge_soap.message import codec
from tests.soap_kit import Echo, MakeEcho, codec_of

ORDER = """
<xs:simpleType name="Sku"><xs:restriction base="xs:string">
  <xs:pattern value="[A-Z]{3}-\\d+"/></xs:restriction></xs:simpleType>
<xs:complexType name="Line"><xs:sequence>
  <xs:element name="sku" type="t:Sku"/><xs:element name="qty"><xs:simpleType><xs:restriction base="xs:int">
    <xs:minInclusive value="1"/><xs:maxExclusive value="100"/></xs:restriction></xs:simpleType></xs:element>
  <xs:element name="price" type="xs:decimal" minOccurs="0"/>
</xs:sequence></xs:complexType>
<xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="id" type="xs:long"/>
  <xs:element name="when" type="xs:dateTime" minOccurs="0"/>
  <xs:element name="line" type="t:Line" minOccurs="1" maxOccurs="3"/>
  <xs:choice><xs:element name="card" type="xs:string"/><xs:element name="cash" type="xs:boolean"/></xs:choice>
</xs:sequence><xs:attribute name="version" type="xs:short" use="required"/></xs:complexType></xs:element>
"""

GOOD = {"@version": 1, "id": "9223372036854775807", "line": [{"sku": "ABC-1", "qty": 1}], "card": "4111"}


@pytest.fixture
def order(echo: MakeEcho) -> Echo:
    return echo(ORDER)


def test_a_good_body_goes_through_in_any_order(order: Echo) -> None:
    sent = order.send(dict(reversed(GOOD.items())))
    assert [child.tag.rpartition("}")[2] for child in sent] == ["id", "line", "card"]


def test_all_faults_at_once(order: Echo) -> None:
    faults = order.faults(
        {
            "id": "9223372036854775808",
            "when": "2026-02-30T00:00:00",
            "line": [{"sku": "abc", "qty": 100}, {"qty": True, "colour": "red"}, "text", None],
            "card": "1",
            "cash": False,
            "unknown": 1,
        }
    )
    assert faults == {
        "/@version": "it is required",
        "/id": "'9223372036854775808' is not a whole number from -9223372036854775808 to 9223372036854775807",
        "/when": "'2026-02-30T00:00:00' is not a dateTime such as 2026-11-03T20:15:00Z",
        "/line": "it must hold 1 to 3 items, not 4",
        "/line/0/sku": "'abc' does not match the pattern [A-Z]{3}-\\d+",
        "/line/0/qty": "'100' must be less than 100",
        "/line/1/sku": "it is required",
        "/line/1/qty": "a whole number from -2147483648 to 2147483647 is wanted, not a boolean",
        "/line/1/colour": "the schema has no such property here",
        "/line/2": "an object is wanted, not a string",
        "/line/3": "null is not allowed: the schema does not say nillable; leave it out",
        "": "only one of card, cash may be given, not card, cash together",
        "/unknown": "the schema has no such property here",
    }


@pytest.mark.parametrize(
    ("change", "pointer", "reason"),
    [
        ({"card": None}, "/card", "null is not allowed"),
        ({"card": "a\x00b"}, "/card", "U+0000"),
        ({"card": "\ufffe"}, "/card", "U+FFFE"),
        ({"card": 5}, "/card", "a string is wanted, not a number"),
        ({"card": {}}, "/card", "a string is wanted, not an object"),
        ({"card": {"number": "4"}}, "/card", "a string is wanted, not an object"),
        ({"line": {"sku": "ABC-1", "qty": 1}}, "/line", "an array is wanted, not an object"),
        ({"line": []}, "/line", "it must hold 1 to 3 items, not 0"),
        ({"id": 1.5}, "/id", "not a whole number"),
        ({"id": "0x10"}, "/id", "not a whole number"),
        ({"id": True}, "/id", "not a boolean"),
        ({"@version": 40000}, "/@version", "40000 is not a whole number from -32768 to 32767"),
        ({"@version": "1"}, "/@version", "not a string"),
        ({"@other": 1}, "/@other", "no such property"),
        ({"#text": "x"}, "/#text", "no such property"),
        ({"@xsi:type": "Nope"}, "/@xsi:type", "no type"),
        ({"a/b~c": 1}, "/a~1b~0c", "no such property"),
    ],
)
def test_one_fault(order: Echo, change: dict[str, Any], pointer: str, reason: str) -> None:
    faults = order.faults({**GOOD, **change})
    assert list(faults) == [pointer]
    assert reason in faults[pointer]


def test_a_missing_choice(order: Echo) -> None:
    assert order.faults({key: value for key, value in GOOD.items() if key != "card"}) == {
        "": "exactly one of card, cash is needed"
    }


def test_numbers_keep_every_digit(order: Echo) -> None:
    line = b'{"sku": "ABC-1", "qty": 1.0, "price": 0.10}'
    raw = b'{"@version": 1, "id": 9223372036854775807, "card": "x", "line": [' + line + b"]}"
    sent = order.send(None, raw=raw)
    assert sent.findtext("{urn:t}id") == "9223372036854775807"
    assert sent.findtext("{urn:t}line/{urn:t}price") == "0.10"
    assert sent.findtext("{urn:t}line/{urn:t}qty") == "1"


@pytest.mark.parametrize("number", ["1E+999999999", "1e400000", "-1E-99999999"])
def test_a_number_that_would_fill_the_memory(order: Echo, number: str) -> None:
    raw = (
        b'{"@version": 1, "id": 1, "card": "x", "line": [{"sku": "ABC-1", "qty": 1, "price": '
        + number.encode()
        + b"}]}"
    )
    faults = order.faults(None, raw=raw)
    assert faults in ({"/line/0/price": "the number has too many digits"}, {"": "a number in it is out of range"})


def test_a_body_that_is_no_object(order: Echo) -> None:
    assert order.faults([1]) == {"": "an object is wanted, not an array"}
    assert order.faults(None, raw=b"{") != {}


def test_an_empty_body_lacks_what_is_required(order: Echo) -> None:
    assert set(order.faults(None, raw=b"")) == {"/@version", "/id", "/line", ""}


def test_other_content_types_are_refused(order: Echo) -> None:
    call = Call("POST", body=b"a=1", headers=[("content-type", "application/x-www-form-urlencoded")])
    with pytest.raises(UnsupportedMediaType, match="application/json"):
        codec_of(order.operation).request(call)


@pytest.mark.parametrize("strict", [False, True])
def test_what_curl_declares_for_want_of_another_is_read(echo: MakeEcho, strict: bool) -> None:
    schema = '<xs:element name="r"><xs:complexType><xs:attribute name="a"/></xs:complexType></xs:element>'
    codec = codec_of(echo(schema, strict=strict).operation)
    call = Call("POST", body=b'{"@a": "1"}', headers=[("content-type", "application/x-www-form-urlencoded")])
    if strict:
        with pytest.raises(UnsupportedMediaType):
            codec.request(call)
    else:
        assert b' a="1"' in codec.request(call).body
        assert call.warnings == ["the body was read as JSON, though declared as a form"]


@pytest.mark.parametrize("body", [b'"x"', b" 5\n", b"-1.5e3", b"true", b"null", b'\xef\xbb\xbf"x"'])
def test_scalars_are_json_though_declared_as_a_form(echo: MakeEcho, body: bytes) -> None:
    codec = codec_of(echo('<xs:element name="r" type="xs:anySimpleType" nillable="true"/>').operation)
    call = Call("POST", body=body, headers=[("content-type", "application/x-www-form-urlencoded")])
    assert codec.request(call).body
    assert call.warnings == ["the body was read as JSON, though declared as a form"]


def test_faults_are_bounded(echo: MakeEcho) -> None:
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int" maxOccurs="unbounded"/>'
        "</xs:sequence></xs:complexType></xs:element>"
    )
    with pytest.raises(InvalidBody) as caught:
        service.send({"a": ["x"] * 5000})
    assert len(caught.value.errors) == 500
    with pytest.raises(InvalidBody) as caught:
        service.send({f"n{number}": 1 for number in range(5000)})
    assert len(caught.value.errors) == 500


def test_large_messages_are_written_as_any_are(echo: MakeEcho, monkeypatch: pytest.MonkeyPatch) -> None:
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence>'
        '<xs:element name="a" type="xs:string" maxOccurs="unbounded"/>'
        "</xs:sequence></xs:complexType></xs:element>"
    )
    value = {"a": ["x", "é", "<\n>"] * 100}
    sent = etree.tostring(service.send(value))
    monkeypatch.setattr(codec, "_LARGE", 0)
    assert etree.tostring(service.send(value)) == sent
    monkeypatch.setattr(codec, "_PIECES", 7)  # it is encoded as it grows
    assert etree.tostring(service.send(value)) == sent
    monkeypatch.setattr(codec, "_PIECES", 1)
    assert etree.tostring(service.send(value)) == sent


ITEMS = """<xs:element name="r"><xs:complexType><xs:sequence>
<xs:element name="h" type="xs:int"/>
<xs:choice minOccurs="0" maxOccurs="4"><xs:element name="a" type="xs:int"/>
<xs:sequence><xs:element name="b" type="xs:int"/><xs:element name="c" type="xs:int"/></xs:sequence></xs:choice>
</xs:sequence></xs:complexType></xs:element>"""


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({"h": 1, "#items": [{"b": 1}, {"a": 1}]}, {"/#items/1/a": "a can't stand here; c can"}),
        ({"h": 1, "#items": [{"b": 1}]}, {"/#items": "c is missing at the end"}),
        ({"h": 1, "#items": [{"a": 1}] * 5}, {"/#items/4/a": "a can't stand here"}),
        ({"h": 1, "#items": [{"z": 1}]}, {"/#items/0/z": "the schema has no such element here"}),
        ({"h": 1, "#items": [{"a": 1, "b": 1}]}, {"/#items/0": "an object with exactly one element is wanted"}),
        (
            {"h": 1, "#items": [{"a": "x"}]},
            {"/#items/0/a": "a whole number from -2147483648 to 2147483647 is wanted, not a string"},
        ),
        ({"h": 1, "#items": {"a": 1}}, {"/#items": "an array is wanted, not an object"}),
        ({"h": 1, "#items": [], "a": 1}, {"/a": "it belongs in #items, which is given too"}),
        ({"h": 1, "a": [1], "b": [2], "c": [3]}, {"": "the order of a, b, c can't be told; give them in #items"}),
    ],
)
def test_items_out_of_order(echo: MakeEcho, value: Any, faults: dict[str, str]) -> None:
    assert echo(ITEMS).faults(value) == faults


def test_keyed_arrays_where_they_leave_no_doubt(echo: MakeEcho) -> None:
    sent = echo(ITEMS).send({"h": 1, "a": [1, 2]})
    assert [child.text for child in sent] == ["1", "1", "2"]
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence maxOccurs="9"><xs:element name="k" type="xs:string"/>'
        '<xs:element name="v" type="xs:int"/></xs:sequence></xs:complexType></xs:element>'
    )
    assert [child.text for child in service.send({"k": ["a", "b"], "v": [1, 2]})] == ["a", "1", "b", "2"]


def test_defaults_and_fixed_values(echo: MakeEcho) -> None:
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="v" type="xs:decimal" fixed="1.0"/>'
        '<xs:element name="d" type="xs:int" default="5"/><xs:element name="o" type="xs:int" default="5" minOccurs="0"/>'
        '</xs:sequence><xs:attribute name="f" type="xs:string" fixed="x" use="required"/></xs:complexType></xs:element>'
    )
    sent = service.send({})
    assert [(child.tag[7:], child.text) for child in sent] == [("v", "1.0"), ("d", "5")]
    assert sent.get("f") == "x"
    assert service.send({"v": "1.0", "@f": "x"})[0].text == "1.0"
    assert set(service.faults({"v": "2", "@f": "y"})) == {"/v", "/@f"}


def test_variants_that_do_not_fit(echo: MakeEcho) -> None:
    service = echo(
        '<xs:complexType name="B" abstract="true"><xs:sequence/></xs:complexType>'
        '<xs:complexType name="D"><xs:complexContent><xs:extension base="t:B"><xs:sequence>'
        '<xs:element name="x" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>'
        '<xs:complexType name="Other"><xs:sequence/></xs:complexType>'
        '<xs:element name="h" type="xs:string" abstract="true"/>'
        '<xs:element name="m" type="xs:string" substitutionGroup="t:h"/>'
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="b" type="t:B"/>'
        '<xs:element ref="t:h" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>'
    )
    assert service.faults({"b": {}}) == {"/b": "@xsi:type is required: the type B is abstract"}
    assert service.faults({"b": {"@xsi:type": "B"}}) == {"/b/@xsi:type": "no type 'B' can stand here; D can"}
    assert service.faults({"b": {"@xsi:type": "Other"}}) == {"/b/@xsi:type": "no type 'Other' can stand here; D can"}
    assert service.faults({"b": {"@xsi:type": 5}}) == {"/b/@xsi:type": "the name of a type is wanted as a string"}
    good = {"@xsi:type": "{urn:t}D", "x": 1}
    assert service.send({"b": good})[0][0].text == "1"
    assert service.faults({"b": good, "h": "x"}) == {"/h": "@element is required and must name one of m"}
    assert service.faults({"b": good, "h": {"@element": "h"}}) == {"/h/@element": "it must name one of m"}
    assert service.faults({"b": {"@xsi:type": "D", "x": "y", "z": 1}}).keys() == {"/b/x", "/b/z"}


def test_wildcards_hold_their_rules(echo: MakeEcho) -> None:
    service = echo(
        '<xs:element name="known" type="xs:int"/>'
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:any namespace="##targetNamespace" maxOccurs="2"/>'
        '</xs:sequence><xs:anyAttribute namespace="##other" processContents="skip"/></xs:complexType></xs:element>'
    )
    assert service.send({"#any": [{"{urn:t}known": 1}], "@{urn:o}x": "1"}).get("{urn:o}x") == "1"
    assert service.faults({"#any": [{"{urn:t}known": "x"}]}).keys() == {"/#any/0/{urn:t}known"}
    assert service.faults({"#any": [{"{urn:o}other": 1}]}).keys() == {"/#any/0/{urn:o}other"}
    assert service.faults({"#any": [{"{urn:t}strange": 1}]}).keys() == {"/#any/0/{urn:t}strange"}
    assert service.faults({"#any": []}).keys() == {"/#any"}
    assert service.faults({"#any": [{"{urn:t}known": 1}], "@x": "1"}).keys() == {"/@x"}
    assert service.faults({"#any": [{"a b": 1}]}).keys() == {"/#any/0/a b"}


@pytest.mark.parametrize(
    "key",
    [
        "{urn:o\x01}x",
        "{urn:o}x y",
        "{urn:o}",
        "{",
        "}",
        "{u{rn}x",
        'x" y="1',
        "x><y",
        "{\ud800}x".encode("utf-8", "replace").decode(),
    ],
)
def test_names_can_not_break_out(echo: MakeEcho, key: str) -> None:
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:any processContents="skip" minOccurs="0"/></xs:sequence>'
        '<xs:anyAttribute processContents="skip"/></xs:complexType></xs:element>'
    )
    for value in ({"#any": [{key: 1}]}, {f"@{key}": "1"}, {"#any": [{"x": {f"@{key}": 1}}]}):
        try:
            sent = service.send(value)
        except InvalidBody:
            continue
        assert sent is not None  # valid, by the judge in `send`
