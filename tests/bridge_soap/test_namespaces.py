"""Schemas in several namespaces and files: collisions, redefinitions, attributes of other namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.api import BindError
from tests.soap_kit import MakeEcho, bind_wsdl

HEAD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" xmlns:o="urn:o"'
OTHER = (
    f'{HEAD} targetNamespace="urn:o" elementFormDefault="qualified"><xs:element name="id" type="xs:string"/>'
    '<xs:attribute name="id" type="xs:int"/><xs:complexType name="Thing"><xs:sequence>'
    '<xs:element name="note" type="xs:string"/></xs:sequence></xs:complexType></xs:schema>'
)


def schema(content: str) -> str:
    imported = '<xs:import namespace="urn:o" schemaLocation="s1.xsd"/>'
    return f'{HEAD} targetNamespace="urn:t" elementFormDefault="qualified">{imported}{content}</xs:schema>'


def test_one_local_name_in_two_namespaces(echo: MakeEcho) -> None:
    service = echo(
        schema(
            '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="id" type="xs:int"/>'
            '<xs:element ref="o:id"/></xs:sequence><xs:attribute name="id" type="xs:string"/>'
            '<xs:attribute ref="o:id"/></xs:complexType></xs:element>'
        ),
        others=[OTHER],
    )
    assert service.trip('<r xmlns:o="urn:o" id="a" o:id="7"><id>1</id><o:id>x</o:id></r>') == {
        "@id": "a",
        "@{urn:o}id": 7,
        "{urn:t}id": 1,
        "{urn:o}id": "x",
    }


def test_a_derived_type_of_another_namespace(echo: MakeEcho) -> None:
    service = echo(
        schema(
            '<xs:complexType name="Thing"><xs:complexContent><xs:extension base="o:Thing"><xs:sequence>'
            '<xs:element name="more" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>'
            '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="thing" type="o:Thing"/></xs:sequence>'
            "</xs:complexType></xs:element>"
        ),
        others=[OTHER],
    )
    xsi = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
    # Two types are named Thing, so the short name would not say which.
    assert service.trip(
        f'<r xmlns:o="urn:o" xmlns:t="urn:t" {xsi}><thing i:type="t:Thing"><o:note>n</o:note><more>1</more></thing></r>'
    ) == {"thing": {"@xsi:type": "{urn:t}Thing", "note": "n", "more": 1}}
    assert service.trip('<r xmlns:o="urn:o"><thing><o:note>n</o:note></thing></r>') == {"thing": {"note": "n"}}


def test_xml_lang(echo: MakeEcho) -> None:
    service = echo(
        '<xs:import namespace="http://www.w3.org/XML/1998/namespace"/>'
        '<xs:element name="r"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">'
        '<xs:anyAttribute namespace="http://www.w3.org/XML/1998/namespace" processContents="skip"/></xs:extension>'
        "</xs:simpleContent></xs:complexType></xs:element>"
    )
    value = {"@{http://www.w3.org/XML/1998/namespace}lang": "en-IE", "#text": "x"}
    assert service.trip('<r xml:lang="en-IE">x</r>') == value


WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:t="urn:t" targetNamespace="urn:w" xmlns:w="urn:w">
  <types><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t" elementFormDefault="qualified">
  {content}</xs:schema></types>
  <message name="m"><part name="body" element="t:r"/></message>
  <portType name="p"><operation name="echo"><input message="w:m"/></operation></portType>
  <binding name="b" type="w:p"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="echo"><soap:operation/><input><soap:body use="literal"/></input></operation></binding>
  <service name="s"><port name="p" binding="w:b"><soap:address location="http://e/"/></port></service>
</definitions>"""


async def test_redefine(tmp_path: Path) -> None:
    (tmp_path / "base.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">'
        '<xs:complexType name="T"><xs:sequence><xs:element name="a" type="xs:string"/></xs:sequence></xs:complexType>'
        '<xs:simpleType name="S"><xs:restriction base="xs:string"><xs:maxLength value="9"/></xs:restriction>'
        '</xs:simpleType><xs:group name="G"><xs:sequence><xs:element name="g" type="S"/></xs:sequence></xs:group>'
        "</xs:schema>"
    )
    content = (
        '<xs:redefine schemaLocation="base.xsd"><xs:complexType name="T"><xs:complexContent><xs:extension base="t:T">'
        '<xs:sequence><xs:element name="b" type="t:S"/></xs:sequence></xs:extension></xs:complexContent>'
        '</xs:complexType><xs:simpleType name="S"><xs:restriction base="t:S"><xs:minLength value="2"/></xs:restriction>'
        '</xs:simpleType><xs:group name="G"><xs:sequence><xs:group ref="t:G"/><xs:element name="h" type="xs:int"/>'
        '</xs:sequence></xs:group></xs:redefine><xs:element name="r"><xs:complexType><xs:sequence>'
        '<xs:element name="t" type="t:T"/><xs:group ref="t:G"/></xs:sequence></xs:complexType></xs:element>'
    )
    (tmp_path / "a.wsdl").write_text(WSDL.format(content=content))
    from bridge.api import Call, InvalidBody
    from tests.soap_kit import codec_of

    codec = codec_of((await bind_wsdl(tmp_path, "a.wsdl", options={"operation": "echo"}))[0])
    body = b'{"t": {"a": "x", "b": "yy"}, "g": "zz", "h": 1}'
    sent = codec.request(Call("POST", body=body)).body
    assert b"<n0:t><n0:a>x</n0:a><n0:b>yy</n0:b></n0:t><n0:g>zz</n0:g><n0:h>1</n0:h>" in sent
    with pytest.raises(InvalidBody):
        codec.request(Call("POST", body=body.replace(b"zz", b"z")))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('<xs:complexType name="A"><xs:complexContent><xs:extension base="t:A"/></xs:complexContent></xs:complexType>'
         '<xs:element name="r" type="t:A"/>', "the type is defined by itself"),
        ('<xs:group name="G"><xs:sequence><xs:group ref="t:G"/></xs:sequence></xs:group><xs:element name="r">'
         '<xs:complexType><xs:group ref="t:G"/></xs:complexType></xs:element>', "the group contains itself"),
        ('<xs:group name="G"><xs:sequence><xs:group ref="t:H"/></xs:sequence></xs:group><xs:group name="H">'
         '<xs:sequence><xs:group ref="t:G"/></xs:sequence></xs:group><xs:element name="r"><xs:complexType>'
         '<xs:group ref="t:G"/></xs:complexType></xs:element>', "the group contains itself"),
        ('<xs:attributeGroup name="G"><xs:attributeGroup ref="t:H"/></xs:attributeGroup><xs:attributeGroup name="H">'
         '<xs:attributeGroup ref="t:G"/></xs:attributeGroup><xs:element name="r"><xs:complexType>'
         '<xs:attributeGroup ref="t:G"/></xs:complexType></xs:element>', "contains itself"),
        ('<xs:simpleType name="A"><xs:restriction base="t:B"/></xs:simpleType><xs:simpleType name="B">'
         '<xs:restriction base="t:A"/></xs:simpleType><xs:element name="r" type="t:A"/>', "is defined by itself"),
        ('<xs:element name="r" substitutionGroup="t:q"/><xs:element name="q" substitutionGroup="t:r"/>', "itself"),
        ('<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int"/>'
         '<xs:element name="a" type="xs:date"/></xs:sequence></xs:complexType></xs:element>', "different types"),
    ],
)  # fmt: skip
async def test_definitions_that_bite_their_tail(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.wsdl").write_text(WSDL.format(content=content))
    with pytest.raises(BindError, match=told) as caught:
        await bind_wsdl(tmp_path, "a.wsdl", options={"operation": "echo"})
    assert str(caught.value).startswith("a.wsdl:")
