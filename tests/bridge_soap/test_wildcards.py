"""``any`` and ``anyAttribute``: each rule for namespaces with each `processContents`, judged as libxml2 judges.

A strict wildcard is the exception: in a namespace that the contract defines nothing of it lets in what a lax one
does."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from lxml import etree

from bridge.api import BadReply, Call, HttpReply, InvalidBody, pointer_of
from tests.soap_cases import typed
from tests.soap_kit import SOAP11, Echo, MakeEcho, codec_of, envelope, infoset

SPACES = ("##any", "##other", "##local", "##targetNamespace", "urn:a", "urn:a ##local", "urn:b ##targetNamespace")
PROCESS = ("strict", "lax", "skip")
#: Names with a value that fits their declaration, where they have one, and one that doesn't.
NAMES = ("{urn:t}known", "{urn:t}unknown", "{urn:a}x", "{urn:b}x", "x")
GLOBALS = '<xs:element name="known" type="xs:int"/><xs:attribute name="known" type="xs:int"/>'


def takes(service: Echo, value: Any) -> etree._Element | None:
    """What is sent for a value; None where it is refused."""
    try:
        request = codec_of(service.operation).request(Call("POST", body=json.dumps(value).encode()))
    except InvalidBody:
        return None
    return etree.fromstring(request.body).find(f"{{{SOAP11}}}Body")[0]  # type: ignore[index]  # it has one


def clark_xml(name: str, text: str) -> str:
    namespace, _, local = name.rpartition("}")
    return (
        f'<w:{local} xmlns:w="{namespace[1:]}">{text}</w:{local}>' if namespace else f'<{name} xmlns="">{text}</{name}>'
    )


def judges(echo: MakeEcho, content: str, process: str) -> tuple[Echo, etree.XMLSchema]:
    """A service, and what judges names in namespaces that its contract defines nothing of."""
    lax = echo(GLOBALS + typed(content.format("lax" if process == "strict" else process))).schema
    return echo(GLOBALS + typed(content.format(process))), lax


@pytest.mark.parametrize(("spaces", "process"), [*itertools.product(SPACES, PROCESS)])
def test_elements(echo: MakeEcho, spaces: str, process: str) -> None:
    content = f'<xs:sequence><xs:any namespace="{spaces}" processContents="{{}}"/></xs:sequence>'
    service, lax = judges(echo, content, process)
    for name, text in itertools.product(NAMES, ("5", "five")):
        xml = f'<r xmlns="urn:t">{clark_xml(name, text)}</r>'
        judge = service.schema if name.startswith("{urn:t}") else lax
        valid = judge.validate(etree.fromstring(xml))
        typed_value: Any = 5 if text == "5" and name == "{urn:t}known" and process != "skip" else text
        sent = takes(service, {"#any": [{name: typed_value}]})
        assert (sent is not None) is valid, (name, text)
        if sent is not None:
            judge.assertValid(etree.fromstring(etree.tostring(sent)))
            assert (sent[0].tag, sent[0].text) == (name, text)


@pytest.mark.parametrize(("spaces", "process"), [*itertools.product(SPACES, PROCESS)])
def test_attributes(echo: MakeEcho, spaces: str, process: str) -> None:
    service, lax = judges(echo, f'<xs:anyAttribute namespace="{spaces}" processContents="{{}}"/>', process)
    for name, text in itertools.product(NAMES, ("5", "five")):
        root = etree.Element("{urn:t}r")
        root.set(name, text)
        judge = service.schema if name.startswith("{urn:t}") else lax
        valid = judge.validate(etree.fromstring(etree.tostring(root)))
        typed_value: Any = 5 if text == "5" and name == "{urn:t}known" and process != "skip" else text
        sent = takes(service, {f"@{name}": typed_value})
        assert (sent is not None) is valid, (name, text)
        if sent is not None:
            assert sent.get(name) == text


# --- strict wildcards where the contract declares nothing ---

#: How ASP.NET publishes a parameter of type XmlElement.
XML_ELEMENT = (
    '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="doc" minOccurs="0">'
    '<xs:complexType mixed="true"><xs:sequence><xs:any/></xs:sequence></xs:complexType>'
    "</xs:element></xs:sequence></xs:complexType></xs:element>"
)
INVOICE = (
    '<doc><i:invoice xmlns:i="urn:tax" currency="EUR"><i:line sku="a">2<b xmlns="">bold</b></i:line>'
    '<i:nothing xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"/></i:invoice></doc>'
)


def reply_to(service: Echo, body: str) -> tuple[bytes, list[str]]:
    call = Call()
    inbound = HttpReply(200, [("content-type", "text/xml")], envelope(body))
    return codec_of(service.operation).reply(call, inbound).content, call.warnings


@pytest.mark.parametrize("xml", [INVOICE, "<doc><Factura xmlns=''><total>5</total></Factura></doc>"])
def test_an_xml_document_that_the_contract_does_not_know_goes_both_ways(echo: MakeEcho, xml: str) -> None:
    service = echo(XML_ELEMENT)
    content, warnings = reply_to(service, f'<r xmlns="urn:t">{xml}</r>')
    assert "only elements that it declares" in warnings[0]
    call = Call("POST", body=content, headers=[("content-type", "application/json")])
    sent = etree.fromstring(codec_of(service.operation).request(call).body)
    body = sent.find(f"{{{SOAP11}}}Body")
    assert body is not None
    assert infoset(body[0]) == infoset(etree.fromstring(f'<r xmlns="urn:t">{xml}</r>'))
    assert call.warnings == [
        f"{next(iter(pointers(content)))}: the schema allows only elements that it declares here, "
        "and nothing of that namespace; it is sent as it is"
    ]


def pointers(content: bytes) -> list[str]:
    (item,) = json.loads(content)["doc"]["#content"]
    return [pointer_of(["doc", "#content", 0, name]) for name in item]


def test_strict_routes_go_by_the_letter_of_a_strict_wildcard(echo: MakeEcho) -> None:
    service = echo(XML_ELEMENT, strict=True)
    with pytest.raises(BadReply, match="only elements that it declares"):
        reply_to(service, f'<r xmlns="urn:t">{INVOICE}</r>')
    faults = service.faults({"doc": {"#content": [{"{urn:tax}invoice": "x"}]}})
    assert "only elements that it declares" in faults["/doc/#content/0/{urn:tax}invoice"]


def test_attributes_of_an_unknown_namespace_are_told_in_replies(echo: MakeEcho) -> None:
    schema = typed("<xs:anyAttribute/>")
    body = '<r xmlns="urn:t" xmlns:o="urn:o" o:x="1"/>'
    content, warnings = reply_to(echo(schema), body)
    assert json.loads(content) == {"@{urn:o}x": "1"}
    assert "only attributes that it declares" in warnings[0]
    with pytest.raises(BadReply, match="only attributes"):
        reply_to(echo(schema, strict=True), body)


def test_an_xsi_type_is_as_good_as_a_declaration(echo: MakeEcho) -> None:
    service = echo(typed("<xs:sequence><xs:any/></xs:sequence>"))
    value = {"#any": [{"{urn:t}unknown": {"@xsi:type": "int", "#text": 5}}]}
    sent = takes(service, value)
    assert sent is not None
    content, warnings = reply_to(service, etree.tostring(sent).decode())
    assert json.loads(content) == value
    assert not warnings


def test_the_document_says_what_a_strict_wildcard_lets_in(echo: MakeEcho) -> None:
    service = echo(XML_ELEMENT)
    assert service.operation.describe is not None
    document = service.operation.describe()
    assert "any of a namespace that it defines nothing of" in json.dumps(document.schemas)
    example = document.operation["requestBody"]["content"]["application/json"]["example"]
    assert example == {"doc": {"#content": ["text", {"{urn:example}anything": "anything"}]}}
    assert takes(service, example) is not None
