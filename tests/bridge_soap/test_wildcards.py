"""``any`` and ``anyAttribute``: each rule for namespaces with each `processContents`, judged as libxml2 judges."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from lxml import etree

from bridge.api import Call, InvalidBody
from tests.soap_cases import typed
from tests.soap_kit import SOAP11, Echo, MakeEcho, codec_of

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


@pytest.mark.parametrize(("spaces", "process"), [*itertools.product(SPACES, PROCESS)])
def test_elements(echo: MakeEcho, spaces: str, process: str) -> None:
    service = echo(
        GLOBALS + typed(f'<xs:sequence><xs:any namespace="{spaces}" processContents="{process}"/></xs:sequence>')
    )
    for name, text in itertools.product(NAMES, ("5", "five")):
        xml = f'<r xmlns="urn:t">{clark_xml(name, text)}</r>'
        valid = service.schema.validate(etree.fromstring(xml))
        typed_value: Any = 5 if text == "5" and name == "{urn:t}known" and process != "skip" else text
        sent = takes(service, {"#any": [{name: typed_value}]})
        assert (sent is not None) is valid, (name, text)
        if sent is not None:
            service.schema.assertValid(etree.fromstring(etree.tostring(sent)))
            assert (sent[0].tag, sent[0].text) == (name, text)


@pytest.mark.parametrize(("spaces", "process"), [*itertools.product(SPACES, PROCESS)])
def test_attributes(echo: MakeEcho, spaces: str, process: str) -> None:
    service = echo(GLOBALS + typed(f'<xs:anyAttribute namespace="{spaces}" processContents="{process}"/>'))
    for name, text in itertools.product(NAMES, ("5", "five")):
        root = etree.Element("{urn:t}r")
        root.set(name, text)
        valid = service.schema.validate(etree.fromstring(etree.tostring(root)))
        typed_value: Any = 5 if text == "5" and name == "{urn:t}known" and process != "skip" else text
        sent = takes(service, {f"@{name}": typed_value})
        assert (sent is not None) is valid, (name, text)
        if sent is not None:
            assert sent.get(name) == text
