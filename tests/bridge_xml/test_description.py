"""Addresses in WSDL and XML Schema, in front of a service that does not know its route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from bridge.api import Call, PublicAddress, XmlError
from bridge.http.client_address import is_internal
from bridge_xml.description import DescribedAddress, readdress

Codec = Callable[..., Awaitable[Any]]
PUBLIC = PublicAddress("https://gw.example/eu", lambda host: host in ("s", "gw.example") or is_internal(host))

#: Every element whose address counts, and its neighbours that don't; ``%s`` is replaced.
DOCUMENT = """<?xml version="1.0"{encoding}?>
<!-- <soap:address location="http://in.example/old"/> -->
<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:http="http://schemas.xmlsoap.org/wsdl/http/"
  xmlns:d="http://www.w3.org/ns/wsdl" xmlns:x="http://www.w3.org/2001/XMLSchema"
  xmlns:a="http://www.w3.org/2005/08/addressing" xmlns:b="http://schemas.xmlsoap.org/ws/2004/08/addressing"
  targetNamespace="http://in.example/old">
  <w:documentation>Grüße: <![CDATA[<soap:address location="http://in.example/old"/>]]> http://in.example/old</w:documentation>
  <w:import namespace="http://in.example/old" location="{0}"/><d:import location = '{0}' /><d:include
     location="{0}"/>
  <w:types><x:schema><x:import namespace="http://in.example/old" schemaLocation="{0}"/><x:include schemaLocation="{0}"/>
  <x:redefine schemaLocation="{0}"/><x:override schemaLocation="{0}"/><x:element name="location"/></x:schema></w:types>
  <w:service name="S"><w:port><soap:address w:location="http://in.example/old" location="{0}"></soap:address></w:port>
  <w:port><soap12:address\tlocation\n=\n'{0}'/></w:port><w:port><http:address location="{0}"/></w:port>
  <w:port><a:EndpointReference><a:Address\tx=">">\n {0}\t</a:Address><a:Address/></a:EndpointReference>
  <b:Address >{0}</b:Address><b:Address><!-- -->http://in.example/old</b:Address><b:Address> </b:Address></w:port>
  <w:port><other xmlns="urn:x" location="http://in.example/old"/></w:port></w:service>
  <d:service><d:endpoint name="E" address="{0}" binding="http://in.example/old"/></d:service>
</w:definitions>
"""
COUNT = 13


def document(value: str, encoding: str = "") -> str:
    return DOCUMENT.replace("{0}", value).replace("{encoding}", f' encoding="{encoding}"' if encoding else "")


@pytest.mark.parametrize(
    ("codec", "declared", "charset", "mark"),
    [
        ("utf-8", "", "", b""),
        ("utf-8", "UTF-8", "", b"\xef\xbb\xbf"),
        ("utf-8", "", "utf-8", b""),
        ("iso-8859-1", "ISO-8859-1", "", b""),
        ("windows-1252", "", "windows-1252", b""),
        ("utf-16-le", "UTF-16", "", b"\xff\xfe"),
        ("utf-16-be", "utf-16", "utf-16", b"\xfe\xff"),
        ("utf-16-le", "UTF-16", "utf-16", b""),
        ("cp500", "", "cp500", b""),  # EBCDIC
        ("gb18030", "", "GB18030", b""),
    ],
)
def test_other_bytes_stay(codec: str, declared: str, charset: str, mark: bytes) -> None:
    old, new = (
        'http://in.example/old?a=1&amp;b="2"'.replace('"', "&quot;"),
        "https://gw.example/r?a=1&amp;b=&apos;&#228;",
    )
    seen: list[DescribedAddress] = []

    def public(addresses: list[DescribedAddress]) -> list[str]:
        seen.extend(addresses)
        return ["https://gw.example/r?a=1&b='ä"] * len(addresses)

    body = mark + document(old, declared).encode(codec)
    assert readdress(body, charset, public) == mark + document(new, declared).encode(codec)
    assert [each.value for each in seen] == ['http://in.example/old?a=1&b="2"'] * COUNT
    assert [each.calls for each in seen] == [False] * 7 + [True] * 6


def test_nothing_to_change_is_the_same_body() -> None:
    body = document("x").encode()
    assert readdress(body, "", lambda addresses: [each.value for each in addresses]) is body


def test_a_large_one() -> None:
    body = document("http://in.example/old").replace("</w:definitions>", "<!-- ä -->" * 200_000 + "</w:definitions>")
    changed = readdress(body.encode(), "", lambda addresses: ["http://new"] * len(addresses))
    assert changed.decode() == document("http://new").replace(
        "</w:definitions>", "<!-- ä -->" * 200_000 + "</w:definitions>"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
        b"<a/>\xff",
        b'<?xml version="1.0" encoding="UTF-16"?><a/>',
        b'<?xml version="1.0" encoding="none-such"?><a/>',
        b"\xff\xfe<\0a\0/\0",
        b'<?xml version="1.0" encoding="punycode"?><a/>',
        b'<?xml version="1.0" encoding="hex"?><a/>',
    ],
)
def test_what_cannot_be_read(body: bytes) -> None:
    with pytest.raises(XmlError):
        readdress(body, "", lambda addresses: [""] * len(addresses))


VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(["soap:address", "x", "soap:binding"]), VALUES, VALUES), max_size=5), VALUES)
def test_a_parser_sees_the_new_values_and_the_old_document(elements: list[tuple[str, str, str]], new: str) -> None:
    """lxml writes the document and reads the result."""
    space = "http://schemas.xmlsoap.org/wsdl/soap/"
    root = etree.Element("root", nsmap={"soap": space})
    for name, value, text in elements:
        child = etree.SubElement(root, name.replace("soap:", f"{{{space}}}"))
        child.set("before", value)
        child.set("location", value)
        child.text = text
    for encoding in ("utf-8", "utf-16", "iso-8859-1"):
        body: Any = etree.tostring(root, encoding=encoding)
        read = etree.fromstring(readdress(body, "", lambda addresses: [new] * len(addresses)))
        for child, (name, value, text) in zip(read, elements, strict=True):
            expected = new if name == "soap:address" else value
            assert (child.get("before"), child.get("location"), child.text or "") == (value, expected, text)


@pytest.mark.parametrize("calls", [True, False])
@pytest.mark.parametrize(
    ("route", "upstream", "value", "public"),
    [
        # the service's own path, under any host if it is an address for calls
        ("/v1/permits/{id}", "s:80/old/{id}", "http://in.example/old/7", "https://gw.example/eu/v1/permits/7"),
        ("/v1/permits/{id}", "s:80/old/{id}", "HTTPS://In.example:8443/old/7/", "https://gw.example/eu/v1/permits/7"),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://in.example/old/%37", "https://gw.example/eu/v1/permits/7"),
        ("/v1/permits/{id}", "s:80/old/{id}?a=b", "http://in.example/old/7", "https://gw.example/eu/v1/permits/7"),
        ("/v1/permits/{id}", "s:80", "http://in.example/v1/permits/7", "https://gw.example/eu/v1/permits/7"),
        ("/v1/permits/{id}", "s:80/", "http://in.example", "https://gw.example/eu/v1/permits/7"),
        # … and its own host, by any name that it has
        ("/v1/permits/{id}", "s:80/old/{id}", "http://s/old/8", "https://gw.example/eu/v1/permits/8"),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://s:8080/old/8?a#b", "https://gw.example/eu/v1/permits/8?a#b"),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://10.1.2.3:99/old/8", "https://gw.example/eu/v1/permits/8"),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://[::1]/old/a.xsd", "https://gw.example/eu/v1/permits/a.xsd"),
        ("/v1/permits/{id}", "s:80/old/{id}", "https://gw.example/old/8", "https://gw.example/eu/v1/permits/8"),
        ("/v1/permits/{id}", "s:80", "http://s/v1/permits/8", "https://gw.example/eu/v1/permits/8"),
        ("/v1/permits/{id}", "s:80", "http://s/v1/other", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://s/new/8", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://in.example/old/8", None),
        # relative references
        ("/v1/permits/{id}", "s:80/old/{id}", "/old/8.xsd", "https://gw.example/eu/v1/permits/8.xsd"),
        ("/v1/permits/{id}", "s:80/old/{id}", "8.xsd", None),  # right as it is
        ("/v1/permits/{id}", "s:80/old/x/{id}", "../y.xsd", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "?xsd=1", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "#part", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "", None),
        # others
        ("/v1/permits/{id}", "s:80/old/{id}", "jms:queue/old/7", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "http:/old/7", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "http://[/old/7", None),
        ("/v1/permits/{id}", "s:80/old/{id}", "REPLACE_WITH_ACTUAL_URL", None),
    ],
)
async def test_where_addresses_lead(
    passthrough: Codec, calls: bool, route: str, upstream: str, value: str, public: str | None
) -> None:
    codec = await passthrough("passthrough", route=route, upstream=upstream)
    call = Call("GET", "/v1/permits/7", raw_params={"id": "7"}, query="wsdl")
    if not calls and "in.example" in value.lower():
        public = None  # another document at another host is not the service's …
    [result] = codec._addresses.described(call, [DescribedAddress(value, calls, 0, 0)], PUBLIC)
    assert result == (value if public is None else public)


async def test_the_host_of_a_services_address_is_its_own(passthrough: Codec) -> None:
    codec = await passthrough("passthrough", route="/v1/permits/{id}", upstream="s:80/old/{id}")
    call = Call("GET", "/v1/permits/7", raw_params={"id": "7"}, query="wsdl")
    values = [
        ("http://in.example:81/old/common.xsd", False),
        ("http://in.example/old/common.xsd", False),
        ("http://any.example/old/7?xsd=xsd0", False),  # … unless it is a description of the service
        ("http://in.example:81/old/7", True),
        ("http://in.example:81/old/8", True),
        ("http://in.example:81/else", True),
    ]
    addresses = [DescribedAddress(value, calls, 0, 0) for value, calls in values]
    assert codec._addresses.described(call, addresses, PUBLIC) == [
        "https://gw.example/eu/v1/permits/common.xsd",
        "http://in.example/old/common.xsd",
        "https://gw.example/eu/v1/permits/7?xsd=xsd0",
        "https://gw.example/eu/v1/permits/7",
        "https://gw.example/eu/v1/permits/8",
        "http://in.example:81/else",
    ]


@pytest.mark.parametrize(
    ("query", "asks"),
    [
        ("wsdl", True), ("WSDL", True), ("singleWsdl", True), ("xsd=xsd0", True), ("wsdl=Orders.wsdl", True),
        ("a=b&Wsdl&c", True), ("wsdl2", True), ("", False), ("wsdls", False), ("a=wsdl", False), ("awsdl", False),
    ],
)  # fmt: skip
async def test_what_asks(passthrough: Codec, query: str, asks: bool) -> None:
    codec = await passthrough("passthrough")
    assert codec.asks_for_description(Call(query=query)) is asks
