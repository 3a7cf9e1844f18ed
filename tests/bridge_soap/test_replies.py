"""Replies and faults: what the client gets for what a service says, and for what is no SOAP at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.api import BadReply, Call, HttpReply, UpstreamError, UpstreamFault
from tests.soap_kit import SOAP11, Bind, MakeEcho, codec_of, envelope

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
XML = [("content-type", "text/xml; charset=utf-8")]


def fault11(code: str, text: str = "no", detail: str = "") -> str:
    inner = f"<detail>{detail}</detail>" if detail else ""
    return f"<s:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring>{inner}</s:Fault>"


def fault12(code: str, text: str = "no", detail: str = "", sub: str = "") -> str:
    sub = f"<s:Subcode><s:Value>{sub}</s:Value></s:Subcode>" if sub else ""
    inner = f"<s:Detail>{detail}</s:Detail>" if detail else ""
    return (
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value>{sub}</s:Code><s:Reason>"
        f'<s:Text xml:lang="de">nein</s:Text><s:Text xml:lang="en">{text}</s:Text></s:Reason>{inner}</s:Fault>'
    )


async def fault_of(bind: Bind, body: bytes, status: int = 500, **options: Any) -> UpstreamFault:
    codec = codec_of((await bind("vat.wsdl", options={"operation": "checkVat", **options}))[0])
    with pytest.raises(UpstreamFault) as caught:
        codec.reply(Call(), HttpReply(status, XML, body))
    return caught.value


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (envelope(fault11("s:Client")), 400, "Client"),
        (envelope(fault11("s:Server")), 502, "Server"),
        (envelope(fault11("s:Client.Authentication")), 400, "Client.Authentication"),
        (envelope(fault11("MustUnderstand")), 502, "MustUnderstand"),
        (envelope(fault11("vendor:12")), 502, "12"),
        (envelope(fault12("Sender"), SOAP12), 400, "Sender"),
        (envelope(fault12("Receiver"), SOAP12), 502, "Receiver"),
        (envelope(fault12("VersionMismatch"), SOAP12), 502, "VersionMismatch"),
    ],
)
@pytest.mark.parametrize("http", [200, 500, 400])
async def test_codes_become_statuses(bind: Bind, body: bytes, status: int, code: str, http: int) -> None:
    fault = await fault_of(bind, body, http)
    assert fault.status == status
    assert fault.members == {"fault": {"code": code, "reason": "no"}}
    assert fault.detail == "no"


async def test_a_declared_detail_is_typed(bind: Bind) -> None:
    inner = "<v:reason>MS_UNAVAILABLE</v:reason><v:retryAfter>30</v:retryAfter>"
    detail = f'<v:vatFault xmlns:v="urn:revenue:vat:types">{inner}</v:vatFault>'
    for body in (envelope(fault11("s:Server", detail=detail)), envelope(fault12("Receiver", detail=detail), SOAP12)):
        fault = await fault_of(bind, body)
        assert fault.members["fault"]["detail"] == {"vatFault": {"reason": "MS_UNAVAILABLE", "retryAfter": 30}}
        assert (await fault_of(bind, body, faults={"vatFault": 503})).status == 503


async def test_an_undeclared_detail_keeps_its_shape(bind: Bind) -> None:
    fault = await fault_of(bind, envelope(fault11("s:Server", detail='<e xmlns="urn:e"><n>5</n></e>')))
    assert fault.members["fault"]["detail"] == {"#any": [{"{urn:e}e": {"#any": [{"{urn:e}n": "5"}]}}]}
    fault = await fault_of(bind, envelope(fault11("s:Server", detail="only text")))
    assert fault.members["fault"]["detail"] == "only text"


async def test_subcodes(bind: Bind) -> None:
    body = envelope(fault12("Sender", sub="m:Timeout"), SOAP12).replace(b"<s:Fault>", b'<s:Fault xmlns:m="urn:m">')
    assert (await fault_of(bind, body)).members["fault"]["subcode"] == "Timeout"


async def test_traces_and_host_names_stay_inside(bind: Bind) -> None:
    trace = "Object reference not set.\n   at Orders.Place() in C:\\src\\Orders.cs:line 5\n   at System.Web"
    detail = (
        '<a:stackTrace xmlns:a="http://xml.apache.org/axis/">at com.x.Y</a:stackTrace>'
        '<a:hostname xmlns:a="http://xml.apache.org/axis/">db-7.internal</a:hostname>'
    )
    fault = await fault_of(bind, envelope(fault11("s:Server", trace, detail)))
    assert fault.members["fault"] == {"code": "Server", "reason": "Object reference not set.", "detail": {}}


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Illegal division by zero at /srv/ledger/Book.pm line 95.\n", "Illegal division by zero"),
        ("No such book at Book.pm line 7, &lt;STDIN> line 3.\n", "No such book"),
        ("Broken at /srv/a.pl line 7.\n\tmain::f(1) called at /srv/a.pl line 9\n", "Broken"),
        ("The price is missing at order 7 line 9.", "The price is missing at order 7 line 9."),
    ],
)
async def test_where_perl_died_stays_inside(bind: Bind, reason: str, told: str) -> None:
    assert (await fault_of(bind, envelope(fault11("s:Server", reason)))).members["fault"]["reason"] == told


@pytest.mark.parametrize(
    ("status", "body", "raised", "told"),
    [
        (200, b"<html>hi</html>", BadReply, "its root is html"),
        (200, b"not xml", BadReply, "not well-formed"),
        (200, b"", BadReply, "empty answer"),
        (200, envelope("<other/>"), BadReply, "holds other where checkVatResponse was expected"),
        (200, b'<!DOCTYPE a [<!ENTITY e "x">]>' + envelope("&e;"), BadReply, "DOCTYPE"),
        (200, f'<s:Envelope xmlns:s="{SOAP11}"/>'.encode(), BadReply, "no body"),
        (503, b"<html>internal-host-7 is down</html>", UpstreamError, "The service answered HTTP 503."),
        (404, b"", UpstreamError, "HTTP 404"),
        (302, b"", UpstreamError, "HTTP 302"),
        (500, envelope("<x/>"), UpstreamError, "HTTP 500"),
    ],
)
async def test_what_is_no_answer(bind: Bind, status: int, body: bytes, raised: type[UpstreamError], told: str) -> None:
    codec = codec_of((await bind("vat.wsdl", options={"operation": "checkVat"}))[0])
    with pytest.raises(raised) as caught:
        codec.reply(Call(), HttpReply(status, XML, body))
    assert told in caught.value.detail
    assert "internal-host" not in caught.value.detail
    assert caught.value.status == 502


ANSWER = '<r xmlns="urn:t">é€</r>'


@pytest.mark.parametrize(
    ("encoding", "declared", "header"),
    [
        ("utf-8", "", "text/xml"),
        ("utf-8-sig", "", "text/xml; charset=utf-8"),
        ("utf-16", '<?xml version="1.0" encoding="utf-16"?>', "text/xml"),
        ("utf-16", "", "text/xml; charset=utf-16"),
        ("iso8859-15", '<?xml version="1.0" encoding="iso-8859-15"?>', "text/xml"),
        ("windows-1252", '<?xml version="1.0" encoding="windows-1252"?>', "application/xml"),
        ("windows-1252", "", "text/xml; charset=windows-1252"),
        ("windows-1252", '<?xml version="1.0" encoding="utf-8"?>', "text/xml; charset=windows-1252"),
        ("utf-8", '<?xml version="1.0" encoding="utf-8"?>', 'text/xml;charset="UTF-8"'),
        ("utf-8", '<?xml version="1.0" encoding="iso-8859-1"?>', "text/xml; charset=utf-8"),
        ("iso8859-15", '<?xml version="1.0" encoding="iso-8859-15"?>', "text/xml; charset=nonsense"),
    ],
)
def test_encodings(echo: MakeEcho, encoding: str, declared: str, header: str) -> None:
    codec = codec_of(echo('<xs:element name="r" type="xs:string"/>').operation)
    body = (declared + envelope(ANSWER).decode()).encode(encoding)
    answer = codec.reply(Call(), HttpReply(200, [("content-type", header)], body))
    assert json.loads(answer.content) == "é€"


LENIENT = """<xs:element name="r"><xs:complexType><xs:sequence>
<xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:string" minOccurs="0"/>
<xs:element name="c" type="xs:boolean"/><xs:element name="l" type="xs:int" minOccurs="0" maxOccurs="5"/>
</xs:sequence></xs:complexType></xs:element>"""


@pytest.mark.parametrize(
    ("xml", "value", "told"),
    [
        ("<r><c>true</c><a>1</a></r>", {"a": 1, "c": True, "l": []}, "order"),
        ("<r><a>1</a><x/><c>1</c></r>", {"a": 1, "c": True, "l": []}, "the schema doesn't know it"),
        ("<r><a>1</a></r>", {"a": 1, "l": []}, "c is missing in it"),
        ('<r><a>1</a><c xmlns="">true</c></r>', {"a": 1, "c": True, "l": []}, "its namespace is not the schema's"),
        ("<r><a>n/a</a><c>true</c></r>", {"a": "n/a", "c": True, "l": []}, "not a whole number"),
        ("<r><a/><c>true</c></r>", {"a": "", "c": True, "l": []}, "not a whole number"),
        ("<r><a>1</a><a>2</a><c>true</c></r>", {"a": 1, "c": True, "l": []}, "more often than the schema allows"),
        ('<r><a z="1">1</a><c>true</c></r>', {"a": 1, "c": True, "l": []}, "attribute z"),
        ("<r><a>1<x/></a><c>true</c></r>", {"a": 1, "c": True, "l": []}, "child elements where only text belongs"),
        (
            '<r><a xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/><c>true</c></r>',
            {"a": None, "c": True, "l": []},
            "nil",
        ),
        ("<r><a>1</a><l>1</l><c>0</c><l>2</l></r>", {"a": 1, "c": False, "l": [1, 2]}, "order"),
    ],
)
def test_replies_that_break_their_schema(echo: MakeEcho, xml: str, value: Any, told: str) -> None:
    warnings: list[str] = []
    assert echo(LENIENT).receive(xml, valid=False, warnings=warnings) == value
    assert any(told in each for each in warnings), warnings
    assert all(each.startswith("r") for each in warnings)
    with pytest.raises(BadReply, match="breaks its schema"):
        echo(LENIENT, strict=True).receive(xml, valid=False)


def test_strict_takes_what_is_valid(echo: MakeEcho) -> None:
    service = echo(LENIENT, strict=True)
    assert service.trip("<r><a>1</a><b>x</b><c>true</c><l>1</l></r>") == {"a": 1, "b": "x", "c": True, "l": [1]}


def test_strict_looks_at_facets_and_attributes(echo: MakeEcho) -> None:
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a"><xs:simpleType>'
        '<xs:restriction base="xs:string"><xs:maxLength value="2"/></xs:restriction></xs:simpleType></xs:element>'
        '</xs:sequence><xs:attribute name="x" use="required"/></xs:complexType></xs:element>',
        strict=True,
    )
    assert service.trip('<r x=""><a>ab</a></r>') == {"@x": "", "a": "ab"}
    for xml in ("<r><a>ab</a></r>", '<r x=""><a>abc</a></r>', '<r x="" y=""><a>a</a></r>'):
        with pytest.raises(BadReply, match="breaks its schema"):
            service.receive(xml, valid=False)


async def test_other_forms_of_the_answer(bind: Bind) -> None:
    body = envelope('<checkVatResponse xmlns="urn:revenue:vat:types"><countryCode>IE</countryCode></checkVatResponse>')
    for response, kind, told in (
        ("xml", "application/xml; charset=utf-8", b'?>\n<checkVatResponse xmlns="urn:revenue:vat:types"'),
        ("passthrough", "text/xml; charset=utf-8", b"<s:Envelope"),
    ):
        operations = await bind("vat.wsdl", response=response, options={"operation": "checkVat"})
        answer = codec_of(operations[0]).reply(Call(), HttpReply(200, XML, body))
        assert answer.headers == [("content-type", kind)]
        assert told in answer.content
        with pytest.raises(UpstreamFault):
            codec_of(operations[0]).reply(Call(), HttpReply(500, XML, envelope(fault11("s:Server"))))


def test_a_deep_reply_is_read_or_refused(echo: MakeEcho) -> None:
    service = echo(
        '<xs:complexType name="N"><xs:sequence><xs:element name="n" type="t:N" minOccurs="0"/></xs:sequence>'
        '<xs:attribute name="x"/></xs:complexType><xs:element name="r" type="t:N"/>'
    )
    xml = "<r>" + "<n>" * 200 + "</n>" * 200 + "</r>"
    try:
        value = service.receive(xml)
    except BadReply as error:
        assert "deeply" in error.detail  # noqa: PT017  # both outcomes are right
    else:
        for _ in range(200):
            value = value["n"]
        assert value == {}
    with pytest.raises(BadReply):
        codec_of(service.operation).reply(
            Call(), HttpReply(200, XML, envelope("<r>" + "<n>" * 5000 + "</n>" * 5000 + "</r>"))
        )
