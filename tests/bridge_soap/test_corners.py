"""Corners that were found by trying the transformer from outside: what is exact, what is refused, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.api import BadReply, BindError, Call, HttpReply
from bridge_soap import Soap
from bridge_soap.xsd import shipped as shipped_module
from tests.bridge_soap.test_wsdl import route
from tests.soap_cases import typed
from tests.soap_corners import CORNERS
from tests.soap_kit import Bind, MakeEcho, bind_wsdl, codec_of, envelope


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize(("schema", "trips"), CORNERS)
def test_exact_both_ways(echo: MakeEcho, schema: str, trips: tuple[tuple[str, Any], ...], strict: bool) -> None:
    service = echo(schema, strict=strict)
    for xml, expected in trips:
        assert service.trip(xml) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"#any": [{"{http://www.w3.org/2000/xmlns/}o": "x"}]},
        {"#any": [{"{http://www.w3.org/XML/1998/namespace}o": "x"}]},
        {"#any": [{"o": {"@xmlns": "urn:evil"}}]},
        {"#any": [{"{urn:u}o": {"@{http://www.w3.org/2000/xmlns/}q": "x"}}]},
        {"#any": [{"{urn:u}o": ""}], "@xmlns": "urn:evil"},
        {"#any": [{"{urn:u}o": ""}], "@{http://www.w3.org/2000/xmlns/}q": "urn:evil"},
    ],
)
def test_names_that_xml_itself_gives_a_meaning(echo: MakeEcho, value: Any) -> None:
    """They would declare namespaces, or make the message no XML at all."""
    service = echo(
        typed(
            '<xs:sequence><xs:any namespace="##any" processContents="lax"/></xs:sequence>'
            '<xs:anyAttribute processContents="lax"/>'
        )
    )
    assert service.faults(value)


def test_several_wildcards_for_attributes_let_in_what_all_do(echo: MakeEcho) -> None:
    groups = "".join(
        f'<xs:attributeGroup name="g{n}"><xs:anyAttribute namespace="{spaces}" processContents="skip"/>'
        "</xs:attributeGroup>"
        for n, spaces in enumerate(("urn:a urn:b", "urn:b urn:c", "##other"))
    )
    uses = "".join(f'<xs:attributeGroup ref="t:g{n}"/>' for n in range(3))
    service = echo(groups + typed(uses))
    assert "/@{urn:a}q" in service.faults({"@{urn:a}q": "1"})
    assert service.send({"@{urn:b}q": "1"}).get("{urn:b}q") == "1"


def test_a_fixed_value_of_simple_content(echo: MakeEcho) -> None:
    service = echo(
        typed(
            '<xs:sequence><xs:element name="m" fixed="A"><xs:complexType><xs:simpleContent>'
            '<xs:extension base="xs:string"><xs:attribute name="u"/></xs:extension></xs:simpleContent></xs:complexType>'
            "</xs:element></xs:sequence>"
        )
    )
    assert service.trip("<r><m>A</m></r>") == {"m": {"#text": "A"}}
    assert "/m/#text" in service.faults({"m": {"#text": "B"}})


def test_fixed_and_default_names(echo: MakeEcho) -> None:
    """Their prefixes are the schema's."""
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="q" type="xs:QName" default="t:foo"/>'
        '</xs:sequence><xs:attribute name="f" type="xs:QName" fixed="t:foo" use="required"/></xs:complexType>'
        "</xs:element>"
    )
    sent = service.send({})
    prefix = (sent[0].text or "").partition(":")[0]
    assert sent[0].nsmap[prefix] == "urn:t"
    assert service.send({"@f": "{urn:t}foo", "q": "{urn:t}foo"}) is not None
    assert "/@f" in service.faults({"@f": "{urn:t}bar"})


@pytest.mark.parametrize(
    ("schema", "xml", "value"),
    [
        (
            typed(
                '<xs:sequence><xs:element name="u"><xs:simpleType><xs:list itemType="xs:QName"/></xs:simpleType>'
                "</xs:element></xs:sequence>"
            ),
            "<r><u>q:a q:b</u></r>",
            {"u": ["{urn:q}a", "{urn:q}b"]},
        ),
        (
            typed(
                '<xs:sequence><xs:element name="u"><xs:simpleType><xs:union memberTypes="xs:int xs:QName xs:string"/>'
                "</xs:simpleType></xs:element></xs:sequence>"
            ),
            "<r><u>q:a</u></r>",
            {"u": "{urn:q}a"},
        ),
        (
            '<xs:attribute name="gq" type="xs:QName"/>' + typed('<xs:anyAttribute processContents="lax"/>'),
            '<r xmlns:t="urn:t" t:gq="q:x"/>',
            {"@{urn:t}gq": "{urn:q}x"},
        ),
    ],
    ids=["list", "union", "attribute of a wildcard"],
)
def test_names_wherever_they_stand(echo: MakeEcho, schema: str, xml: str, value: Any) -> None:
    service = echo(schema)
    assert service.receive(xml.replace("<r", '<r xmlns:q="urn:q"', 1)) == value
    sent = service.send(value)
    node = sent[0] if len(sent) else sent
    text = node.text or node.get("{urn:t}gq") or ""
    assert {node.nsmap[name.partition(":")[0]] for name in text.split()} == {"urn:q"}


_LOOSE = """<xs:complexType name="AB" abstract="true"><xs:sequence><xs:element name="x" type="xs:int"/></xs:sequence>
</xs:complexType><xs:element name="r"><xs:complexType><xs:sequence>
<xs:element name="s" type="xs:string" nillable="true"/>
<xs:element name="ab" type="t:AB" minOccurs="0"/><xs:element name="any" type="xs:anyType" minOccurs="0"/>
<xs:element name="n" type="xs:int" minOccurs="0" maxOccurs="2"/>
<xs:choice minOccurs="0"><xs:element name="c" type="xs:int"/><xs:element name="d" type="xs:int"/></xs:choice>
</xs:sequence></xs:complexType></xs:element>"""


@pytest.mark.parametrize(
    ("xml", "value", "told"),
    [
        ('<r><s i:nil="true">lost</s></r>', {"s": None, "n": []}, "it is nil and holds something"),
        ("<r><s/><ab><x>1</x></ab></r>", {"s": "", "ab": {"x": 1}, "n": []}, "its type is abstract"),
        (
            '<r><s/><any i:type="q:K" xmlns:q="urn:q">x</any></r>',
            {"s": "", "any": {"@xsi:type": "{urn:q}K", "#text": "x"}, "n": []},
            "its xsi:type q:K is not known here",
        ),
        ("<r><s/><n>1</n><n>2</n><n>3</n></r>", {"s": "", "n": [1, 2, 3]}, "it holds 3 of n"),
        ("<r><s/><c>1</c><d>2</d></r>", {"s": "", "n": [], "c": 1, "d": 2}, "it holds c, d, of which the schema"),
    ],
)
def test_every_liberty_is_told(echo: MakeEcho, xml: str, value: Any, told: str) -> None:
    xml = xml.replace("<r", '<r xmlns:i="http://www.w3.org/2001/XMLSchema-instance"', 1)
    warnings: list[str] = []
    assert echo(_LOOSE).receive(xml, valid=False, warnings=warnings) == value
    assert [warning for warning in warnings if told in warning], warnings
    with pytest.raises(BadReply, match="breaks its schema"):
        echo(_LOOSE, strict=True).receive(xml, valid=False)


def test_text_between_elements_is_no_matter_but_in_strict_routes(echo: MakeEcho) -> None:
    assert echo(_LOOSE).receive("<r>text<s/></r>", valid=False, warnings=[]) == {"s": "", "n": []}
    with pytest.raises(BadReply, match="text where only elements belong"):
        echo(_LOOSE, strict=True).receive("<r>text<s/></r>", valid=False)


def test_a_type_that_only_the_service_knows_goes_back_to_it(echo: MakeEcho) -> None:
    sent = echo(_LOOSE).operation
    body = b'{"s": "", "any": {"@xsi:type": "{urn:q}K", "#text": "x"}}'
    assert b'xmlns:t0="urn:q" xsi:type="t0:K">x<' in codec_of(sent).request(Call("POST", body=body)).body


_STRICT = """<xs:element name="r"><xs:complexType><xs:sequence>
<xs:element name="fixed" type="xs:int" fixed="5" minOccurs="0"/>
<xs:element name="both" minOccurs="0" fixed="1.0"><xs:complexType><xs:simpleContent>
  <xs:extension base="xs:decimal"><xs:attribute name="unit" fixed="kg"/></xs:extension>
</xs:simpleContent></xs:complexType></xs:element>
<xs:element name="empty" minOccurs="0"><xs:complexType/></xs:element>
<xs:element name="mixed" minOccurs="0"><xs:complexType mixed="true"><xs:sequence>
  <xs:element name="b" type="xs:string" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>
  <xs:attribute name="k" use="required"/></xs:complexType></xs:element>
</xs:sequence></xs:complexType></xs:element>"""


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        ("<fixed>6</fixed>", "another value than the fixed one"),
        ("<both>2</both>", "another value than the fixed one"),
        ('<both unit="lb">1</both>', "its attribute unit is another value than the fixed one"),
        ("<empty>text</empty>", "text where only elements belong"),
        ("<mixed>text</mixed>", "its attribute k is missing"),
    ],
)
def test_strict_routes_refuse_what_no_validator_takes(echo: MakeEcho, xml: str, told: str) -> None:
    """`receive` asks libxml2, too."""
    with pytest.raises(BadReply, match=told):
        echo(_STRICT, strict=True).receive(f"<r>{xml}</r>", valid=False)


def test_fixed_values_of_other_texts_are_the_same(echo: MakeEcho) -> None:
    """Values are compared (structures, section 3.3.4), which libxml2 does with texts."""
    value = {"fixed": 5, "both": {"@unit": "kg", "#text": "1.00"}, "empty": {}}
    xml = '<r><fixed> 05 </fixed><both unit="kg">1.00</both><empty/></r>'
    assert echo(_STRICT, strict=True).receive(xml, valid=False) == value


_PARAMETERS = """<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="f" type="xs:double"/>
<xs:element name="l" minOccurs="0"><xs:simpleType><xs:list itemType="xs:float"/></xs:simpleType></xs:element>
</xs:sequence></xs:complexType></xs:element>"""


async def test_numbers_in_parameters(echo: MakeEcho, tmp_path: Path) -> None:
    import asyncio

    await asyncio.to_thread(echo, _PARAMETERS)
    operations = await bind_wsdl(tmp_path, "echo.wsdl", methods=["GET"], options={"operation": "echo"})
    for text in ("1.5", "5", "1.50", "1e5", "0", "-0", "INF"):
        sent = codec_of(operations[0]).request(Call("GET", query=f"f={text}&l={text}%20{text}"))
        assert f":f>{text}</".encode() in sent.body
        assert f":l>{text} {text}</".encode() in sent.body


# --- contracts ---------------------------------------------------------------------------------------------------

_WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" xmlns:w="urn:w" targetNamespace="urn:w">{before}
 <types>{schemas}</types>
 <message name="m"><part name="p" element="t:q"/></message>
 <portType name="p"><operation name="op"><input message="w:m"/></operation></portType>
 <binding name="b" type="w:p"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
 <operation name="op"><soap:operation soapAction="{action}"/><input><soap:body use="literal"/></input></operation>
 </binding>
 {after}</definitions>"""
_SERVICE = '<service name="s">{ports}<port name="p" binding="w:b"><soap:address location="http://x/"/></port></service>'
_Q = '<xs:schema targetNamespace="urn:t"><xs:element name="q" type="t:T"/></xs:schema>'
_T = '<xs:schema targetNamespace="urn:t"><xs:complexType name="T"><xs:sequence/></xs:complexType></xs:schema>'


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, ()),
        ({"schemas": "\n" * 70_000 + _Q + _T}, ()),  # libxml2 counts lines no further than 65,535
        ({"after": ""}, ()),  # without a service, each binding is served
        ({"before": '<import namespace="urn:none" location="none.wsdl"/>'}, ("it imports none.wsdl",)),
        (
            {"after": _SERVICE.format(ports='<port name="z" binding="w:z"><soap:address location="http://z"/></port>')},
            ("the binding 'w:z' is not defined",),
        ),
        (
            {
                "after": '<binding name="bb" type="w:none"><soap:binding/></binding>'
                + _SERVICE.format(ports='<port name="z" binding="w:bb"><soap:address location="http://z"/></port>')
            },
            ("the portType 'w:none' is not defined",),
        ),
    ],
)
async def test_what_is_dead_and_not_needed(bind: Bind, tmp_path: Path, parts: dict[str, str], told: tuple[str]) -> None:
    given = {"before": "", "schemas": _Q + _T, "action": "a", "after": _SERVICE.format(ports=""), **parts}
    (tmp_path / "a.wsdl").write_text(_WSDL.format(**given))
    soap = Soap()
    operations = await bind("a.wsdl", folder=tmp_path, soap=soap)
    assert operations[0].name == "op"
    notes = soap.notes(route("a.wsdl"))
    assert len(notes) == len(told)
    assert all(words in note for words, note in zip(told, notes, strict=True))


_KNOWN = """<xs:schema targetNamespace="urn:t" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:x="urn:nowhere"
  xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:xmime="http://www.w3.org/2005/05/xmlmime">
  <xs:import namespace="http://www.w3.org/2000/09/xmldsig#" schemaLocation="http://nowhere.invalid/xmldsig.xsd"/>
  <xs:import namespace="http://www.w3.org/2005/08/addressing"/>
  <xs:element name="q"><xs:complexType><xs:sequence><xs:element ref="ds:Signature" minOccurs="0"/>
  <xs:element ref="wsa:EndpointReference" minOccurs="0"/><xs:element name="b" type="xmime:base64Binary" minOccurs="0"/>
  </xs:sequence><xs:attribute ref="x:forgotten"/></xs:complexType></xs:element></xs:schema>"""


async def test_schemas_that_everybody_knows_need_not_be_there(bind: Bind, tmp_path: Path) -> None:
    given = {"before": "", "schemas": _KNOWN, "action": "a", "after": _SERVICE.format(ports="")}
    (tmp_path / "a.wsdl").write_text(_WSDL.format(**given))
    (operation,) = await bind("a.wsdl", folder=tmp_path)
    value = {
        "@forgotten": "any text",
        "EndpointReference": {"Address": {"#text": "urn:a"}},
        "b": {"@contentType": "image/png", "#text": "AAAA"},
    }
    sent = codec_of(operation).request(Call("POST", body=json.dumps(value).encode())).body
    assert b":contentType=" in sent


async def test_a_document_with_entities_of_its_own(bind: Bind, tmp_path: Path) -> None:
    given = {"before": "", "schemas": _Q + _T, "action": "&why;", "after": _SERVICE.format(ports="")}
    (tmp_path / "a.wsdl").write_text(' \n<!DOCTYPE x [<!ENTITY why "urn:why">]>' + _WSDL.format(**given))
    operations = await bind("a.wsdl", folder=tmp_path)
    request = codec_of(operations[0]).request(Call("POST", body=b"{}"))
    assert ("soapaction", '"urn:why"') in request.headers


_DRAFT = """<schema xmlns="http://www.w3.org/2000/10/XMLSchema" targetNamespace="urn:t"><element name="q"><complexType>
<sequence><element name="at" type="timeInstant"/></sequence></complexType></element></schema>"""


async def test_drafts_of_xml_schema(bind: Bind, tmp_path: Path) -> None:
    given = {"before": "", "schemas": _DRAFT, "action": "a", "after": _SERVICE.format(ports="")}
    (tmp_path / "a.wsdl").write_text(_WSDL.format(**given))
    operations = await bind("a.wsdl", folder=tmp_path)
    body = b'{"at": "2026-11-03T20:15:00Z"}'
    assert b">2026-11-03T20:15:00Z</" in codec_of(operations[0]).request(Call("POST", body=body)).body


_UNUSABLE = """<xs:complexType name="B"><xs:sequence><xs:element name="x" type="xs:int"/></xs:sequence></xs:complexType>
<xs:complexType name="D"><xs:complexContent><xs:extension base="t:B"><xs:sequence><xs:element ref="t:e"/></xs:sequence>
</xs:extension></xs:complexContent></xs:complexType>
<xs:element name="e"><xs:complexType><xs:sequence><xs:element ref="t:nowhere"/></xs:sequence></xs:complexType>
</xs:element>
<xs:element name="q"><xs:complexType><xs:sequence><xs:element name="n" type="t:B" minOccurs="0"/>
<xs:any processContents="lax" minOccurs="0" maxOccurs="9"/></xs:sequence></xs:complexType></xs:element>"""


async def test_a_type_that_is_broken_further_down_is_read_as_declared(bind: Bind, tmp_path: Path) -> None:
    schema = f'<xs:schema targetNamespace="urn:t" elementFormDefault="qualified">{_UNUSABLE}</xs:schema>'
    given = {"before": "", "schemas": schema, "action": "a", "after": _SERVICE.format(ports="")}
    text = _WSDL.format(**given).replace('<input message="w:m"/>', '<input message="w:m"/><output message="w:m"/>')
    (tmp_path / "a.wsdl").write_text(text)
    (operation,) = await bind("a.wsdl", folder=tmp_path)
    types = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns:t="urn:t" i:type="t:D"'
    body = f'<q xmlns="urn:t"><n {types}><x>1</x></n><g xmlns="urn:g" {types}/></q>'
    call = Call()
    reply = codec_of(operation).reply(call, HttpReply(200, [], envelope(body)))
    assert json.loads(reply.content) == {"n": {"x": 1}, "#any": [{"{urn:g}g": {"@xsi:type": "{urn:t}D"}}]}
    assert len(call.warnings) == 2


async def test_types_that_derive_from_one_another_without_end(bind: Bind, tmp_path: Path) -> None:
    step = '<xs:complexType name="T{}"><xs:complexContent><xs:extension base="t:T{}"/>{}'
    end = "</xs:complexContent></xs:complexType>"
    chain = "".join(step.format(number, number - 1, end) for number in range(1, 900))
    schema = (
        f'<xs:schema targetNamespace="urn:t"><xs:complexType name="T0"><xs:sequence/></xs:complexType>{chain}'
        '<xs:element name="q" type="t:T899"/></xs:schema>'
    )
    text = _WSDL.format(before="", schemas=schema, action="a", after=_SERVICE.format(ports=""))
    (tmp_path / "a.wsdl").write_text(text)
    with pytest.raises(BindError, match="too deeply"):
        await bind("a.wsdl", folder=tmp_path)


def test_a_document_of_many_megabytes(echo: MakeEcho) -> None:
    service = echo('<xs:element name="r" type="xs:base64Binary"/>')
    body = envelope(f'<r xmlns="urn:t">{"AAAA" * 2_700_000}</r>')
    reply = codec_of(service.operation).reply(Call(), HttpReply(200, [], body))
    assert len(json.loads(reply.content)) == 10_800_000


def test_every_shipped_schema_is_known_loads_and_has_its_terms_told() -> None:
    folder = Path(shipped_module.__file__).parent / "shipped"
    files = {path.name for path in folder.iterdir()} - {"NOTICE.md"}
    assert files == {*shipped_module.SCHEMAS.values(), *shipped_module.WSDLS.values()}
    told = (folder / "NOTICE.md").read_text("utf-8")
    for namespace, name in (*shipped_module.SCHEMAS.items(), *shipped_module.WSDLS.items()):
        assert f"`{name}`" in told
        assert shipped_module.shipped(name).root.get("targetNamespace") == namespace
