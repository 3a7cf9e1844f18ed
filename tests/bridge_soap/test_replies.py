"""Replies and faults: what the client gets for what a service says, and for what is no SOAP at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.api import BadReply, Call, HttpReply, UpstreamError, UpstreamFault
from bridge_soap.message.large import LARGE
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


async def fault_of(
    bind: Bind, body: bytes, status: int = 500, *, warnings: list[str] | None = None, **options: Any
) -> UpstreamFault:
    codec, call = codec_of((await bind("vat.wsdl", options={"operation": "checkVat", **options}))[0]), Call()
    with pytest.raises(UpstreamFault) as caught:
        codec.reply(call, HttpReply(status, XML, body))
    if warnings is not None:
        warnings += call.warnings
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
        if response == "xml":  # how Faults pass through is in test_passthrough.py
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


VALUES = """<xs:element name="r"><xs:complexType><xs:choice>
<xs:element name="d" type="xs:date"/><xs:element name="t" type="xs:dateTime"/><xs:element name="p" type="xs:duration"/>
<xs:element name="b" type="xs:base64Binary"/><xs:element name="h" type="xs:hexBinary"/>
<xs:element name="i" type="xs:int"/><xs:element name="u" type="xs:unsignedByte"/>
<xs:element name="n" type="xs:NCName"/><xs:element name="q" type="xs:QName"/>
<xs:element name="g" type="xs:long"/><xs:element name="l"><xs:simpleType><xs:list itemType="xs:date"/></xs:simpleType>
</xs:element></xs:choice></xs:complexType></xs:element>"""
ONE_VALUE = """<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="v" type="xs:{}"/></xs:sequence>
</xs:complexType></xs:element>"""


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("d", "2026-02-30", "it is not a date"),
        ("d", "03.11.2026", "it is not a date"),
        ("d", "", "it is not a date"),
        ("t", "2026-11-03 20:15:00", "it is not a dateTime"),
        ("t", "2026-11-03T25:15:00Z", "it is not a dateTime"),
        ("p", "1 day", "it is not a duration"),
        ("b", "AAA", "it is not base64"),
        ("b", "a-_b", "it is not base64"),
        ("h", "abc", "it is not hexadecimal"),
        ("i", "2147483648", "it is not a whole number from"),
        ("i", "-2147483649", "it is not a whole number from"),
        ("u", "256", "it is not a whole number from 0 to 255"),
        ("u", "-1", "it is not a whole number from 0 to 255"),
        ("g", "9223372036854775808", "it is not a whole number from"),
        ("n", "a b", "it is not an XML name"),
        ("q", "nobody:x", "it is not a name"),
        ("l", "2026-11-03 soon", "it is not a date"),
    ],
)
def test_a_text_that_is_not_of_its_type_is_told(echo: MakeEcho, name: str, text: str, told: str) -> None:
    warnings: list[str] = []
    assert echo(VALUES).receive(f"<r><{name}>{text}</{name}></r>", valid=False, warnings=warnings) == {name: text}
    assert any(told in each for each in warnings), warnings


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (
            "date",
            ("2026-11-03", "2024-02-29", "2026-12-31Z", "-0044-03-15", "0001-01-01"),
            ("2026-02-29", "2026-13-01"),
        ),
        ("dateTime", ("2026-11-03T23:59:59.123+01:00", "2026-01-31T24:00:00Z"), ("2026-04-31T00:00:00Z", "now")),
        ("base64Binary", ("AAAA", "YQ==", "YWI=", "AAAA\nYQ=="), ("YR==", "A", "====")),
        ("hexBinary", ("0aFF",), ("0", "xx")),
        ("int", ("2147483647", "-2147483648", "1999999999", "007", "+5"), ("2147483648", "-2147483649", "99999999999")),
        ("unsignedShort", ("65535", "0", "59999"), ("65536", "-1", "99999")),
    ],
)
def test_known_replies_are_judged_like_others(
    echo: MakeEcho, type_: str, good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    service = echo(ONE_VALUE.format(type_))
    number = type_ in ("int", "unsignedShort")
    for _ in range(2):
        for text in good:
            value = int(text) if number else text.replace("\n", "")
            assert service.receive(f"<r><v>{text}</v></r>") == {"v": value}
        for text in bad:
            warnings: list[str] = []
            assert service.receive(f"<r><v>{text}</v></r>", valid=False, warnings=warnings) == {"v": text}
            assert len(warnings) == 1


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_second_element_in_the_body_is_told(echo: MakeEcho, size: int) -> None:
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" type="xs:string"/>'
        "</xs:sequence></xs:complexType></xs:element>"
    )
    codec = codec_of(service.operation)
    root = '<r xmlns="urn:t"><a>x</a></r>'
    for body in (f"{root}<more/>", f"<more/>{root}", f"<more/>{root}<more/>", f"{root}{root}", f"<r/>{root}"):
        call = Call()
        reply = codec.reply(call, HttpReply(200, XML, envelope(body + " " * size)))
        assert json.loads(reply.content) == {"a": "x"}
        name = "r" if "more" not in body else "more"
        told = f"{name}: it stands beside the body's element, and is left out"
        assert call.warnings == [told] * (2 if body.count("more") == 2 else 1)
    strict = echo('<xs:element name="r" type="xs:string"/>', strict=True)
    with pytest.raises(BadReply, match="stands beside"):
        codec_of(strict.operation).reply(Call(), HttpReply(200, XML, envelope('<r xmlns="urn:t"/><more/>')))


@pytest.mark.parametrize("size", [0, LARGE])
@pytest.mark.parametrize("place", ["before {}", "{} after", "\n{}\nafter\n", "envelope"])
def test_text_in_the_body_or_envelope_is_told(echo: MakeEcho, size: int, place: str) -> None:
    schema = (
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" type="xs:string"/>'
        "</xs:sequence></xs:complexType></xs:element>"
    )
    content = f'<r xmlns="urn:t">{" " * size}<a>x</a></r>'
    body, told = envelope(place.format(content)), "Body: it holds text where only elements belong; that is left out"
    if place == "envelope":
        body = envelope(content).replace(b"</s:Body>", b"</s:Body>after")
        told = "the message: its envelope holds text where only elements belong; that is left out"
    codec = codec_of(echo(schema).operation)
    for _ in range(2):  # the second time its template would be known
        call = Call()
        assert json.loads(codec.reply(call, HttpReply(200, XML, body)).content) == {"a": "x"}
        assert call.warnings == [told]
    with pytest.raises(BadReply, match="holds text"):
        codec_of(echo(schema, strict=True).operation).reply(Call(), HttpReply(200, XML, body))


@pytest.mark.parametrize(
    "body",
    [
        "<s:Fault><Code><Value>s:Receiver</Value></Code><Reason><Text>no</Text></Reason><detail><n>5</n></detail></s:Fault>",
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text>no</s:Text></s:Reason>"
        "<Detail><n>5</n></Detail></s:Fault>",
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason>no</s:Reason><detail><n>5</n></detail></s:Fault>",
        "<s:Fault><faultcode>s:Receiver</faultcode><faultstring>no</faultstring><s:Detail><n>5</n></s:Detail></s:Fault>",
    ],
)
async def test_parts_of_a_fault_without_their_namespace(bind: Bind, body: str) -> None:
    for strict in (False, True):
        warnings: list[str] = []
        fault = (await fault_of(bind, envelope(body, SOAP12), warnings=warnings, strict=strict)).members["fault"]
        assert fault == {"code": "Receiver", "reason": "no", "detail": {"#any": [{"n": "5"}]}}
        assert any("as SOAP has it" in each for each in warnings), warnings


async def test_a_detail_that_breaks_its_schema_is_told(bind: Bind) -> None:
    inner = "<reason>MS_UNAVAILABLE</reason><retryAfter>soon</retryAfter>"
    detail = f'<vatFault xmlns="urn:revenue:vat:types">{inner}</vatFault>'
    for strict in (False, True):
        warnings: list[str] = []
        fault = await fault_of(bind, envelope(fault11("s:Client", detail=detail)), warnings=warnings, strict=strict)
        assert fault.status == 400
        assert len(warnings) == 1
        assert warnings[0].startswith("Fault/detail/vatFault/retryAfter: ")


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, b""), (429, b"<html/>"), (503, envelope("<x/>")), (500, envelope(fault11("s:Server"))), (503, b"busy")],
)
async def test_when_to_call_again_reaches_the_client(bind: Bind, status: int, body: bytes) -> None:
    codec = codec_of((await bind("vat.wsdl", options={"operation": "checkVat"}))[0])
    with pytest.raises(UpstreamError) as caught:
        codec.reply(Call(), HttpReply(status, [*XML, ("retry-after", "30"), ("x-other", "1")], body))
    assert caught.value.headers == (("retry-after", "30"),)


@pytest.mark.parametrize(("text", "value"), [("True", True), ("FALSE", False), (" TRUE\n", True), ("yes", "yes")])
def test_booleans_in_other_letters_are_read(echo: MakeEcho, text: str, value: Any) -> None:
    service = echo(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="v" type="xs:boolean" maxOccurs="2"/>'
        '<xs:element name="w" type="xs:int" minOccurs="0"/></xs:sequence><xs:attribute name="x" type="xs:boolean"/>'
        "</xs:complexType></xs:element>"
    )
    sent: Any
    for xml, sent in (
        (f"<r><v>{text}</v></r>", {"v": [value]}),
        (f'<r x="{text}"><v>true</v></r>', {"@x": value, "v": [True]}),
        (f"<r><w>1</w><v>{text}</v></r>", {"w": 1, "v": [value]}),
    ):
        warnings: list[str] = []
        got = service.receive(xml, valid=False, warnings=warnings)
        assert got == sent
        assert any("neither true nor false" in each for each in warnings)


EMPTY = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:t="urn:e" targetNamespace="urn:e"
    xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/">
  <message name="m"/><portType name="p"><operation name="ping"><input message="t:m"/><output message="t:m"/></operation>
  </portType><binding name="b" type="t:p"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="ping"><soap:operation soapAction="ping"/><input><soap:body use="literal"/></input>
      <output><soap:body use="literal"/></output></operation></binding>
  <service name="s"><port name="p" binding="t:b"><soap:address location="http://e.example/"/></port></service>
</definitions>"""


@pytest.mark.parametrize("size", [0, LARGE])
async def test_elements_where_nothing_is_declared_are_told(bind: Bind, tmp_path: Path, size: int) -> None:
    (tmp_path / "empty.wsdl").write_text(EMPTY)
    codec = codec_of((await bind("empty.wsdl", folder=tmp_path, options={"operation": "ping"}))[0])
    for body in (f"<a/>{' ' * size}<b/>", f"<a><c/>{'<c/>' * (size // 4)}</a><b/>"):
        call = Call()
        assert codec.reply(call, HttpReply(200, XML, envelope(body))).content == b"{}"
        assert call.warnings == [f"{name}: the contract declares nothing here; it is left out" for name in "ab"]
    strict = await bind("empty.wsdl", folder=tmp_path, options={"operation": "ping", "strict": True})
    with pytest.raises(BadReply, match="declares nothing"):
        codec_of(strict[0]).reply(Call(), HttpReply(200, XML, envelope("<a/>" + " " * size)))
