"""WSDLs as vendors publish them: files in pieces, many ports, what is broken, and what each is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest
from lxml import etree

from bridge.api import FAST_PATHS, BindError, Call, HttpReply, InvalidBody, RouteSpec
from bridge_soap import Soap
from tests.soap_kit import WSDL_DIR, Bind, bind_wsdl, codec_of, envelope, infoset


def route(wsdl: str) -> RouteSpec:
    return RouteSpec.model_validate(
        {"route": "/v1/x", "upstream": "x:80", "auth": "none", "transform": {"request": "soap", "soap": {"wsdl": wsdl}}}
    )


async def test_all_operations_of_a_dotnet_service(bind: Bind) -> None:
    operations = await bind("orders.wsdl")
    assert [(each.method, each.path, each.name) for each in operations] == [
        ("POST", "/PlaceOrder", "PlaceOrder"),
        ("POST", "/GetStatus", "GetStatus"),
        ("POST", "/Ping", "Ping"),
    ]
    request = codec_of(operations[2]).request(Call("POST", body=b"{}"))
    assert request.path == "/Orders.asmx"
    assert ("soapaction", '"http://tempuri.org/Ping"') in request.headers
    assert [value for name, value in request.headers if name == "user-agent"] == [f"hms-bridge/{version('hms-bridge')}"]
    assert request.body.endswith(b"<s:Body><n0:Ping></n0:Ping></s:Body></s:Envelope>")


async def test_one_operation_on_the_soap_12_port(bind: Bind) -> None:
    operations = await bind("orders.wsdl", options={"port": "OrdersSoap12", "operation": "GetStatus"})
    assert [(each.method, each.path) for each in operations] == [("POST", ""), ("GET", "")]
    request = codec_of(operations[1]).request(Call("GET", query="id=5&level=Full"))
    kind = 'application/soap+xml; charset=utf-8; action="http://tempuri.org/GetStatus"'
    assert ("content-type", kind) in request.headers
    assert all(name != "soapaction" for name, _ in request.headers)
    assert any(name == "user-agent" for name, _ in request.headers)
    assert b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"' in request.body
    assert b"<n0:id>5</n0:id><n0:level>Full</n0:level>" in request.body


async def test_a_contract_in_five_files(bind: Bind) -> None:
    operations = await bind("people/PeopleService.wsdl")
    find, notify = (codec_of(each) for each in operations)
    body = b'{"name": {"given": ["Ada"], "family": "L"}, "limit": 2}'
    request = find.request(Call("POST", body=body))
    assert request.path == "/people/PeopleService?v=2"
    # elementFormDefault is unqualified: only the wrapper has a prefix.
    assert b"find><name><given>Ada</given><family>L</family></name><limit>2</limit></" in request.body
    reply = (
        '<p:findResponse xmlns:p="http://people.example/" xmlns:c="http://people.example/common"><return id="7">'
        "<name><given>A</given><family>L</family></name><home><c:street>S</c:street>"
        "<c:owner><given>B</given><family>M</family></c:owner></home><c:tag>x</c:tag></return></p:findResponse>"
    )
    body = find.reply(Call(), HttpReply(200, [], envelope(reply))).content
    expected = (
        b'{"return":[{"@id":"7","name":{"given":["A"],"family":"L"},'
        b'"home":{"street":"S","owner":{"given":["B"],"family":"M"}},"tag":["x"]}]}'
    )
    assert json.loads(body) == json.loads(expected)
    if FAST_PATHS:  # the plain path puts arrays first
        assert body == expected
    # A part that its binding puts into a header is not part of the body.
    assert b"<s:Body><n1:notify><id>5</id></n1:notify></s:Body>".replace(b"n1", b"n") in notify.request(
        Call("POST", body=b'{"id": 5}')
    ).body.replace(b"n0:", b"n:").replace(b"n1:", b"n:").replace(b"n2:", b"n:")


async def test_what_can_not_be_published_is_told(bind: Bind) -> None:
    soap = Soap()
    operations = await bind("weather.wsdl", soap=soap)
    assert [each.name for each in operations] == ["forecast", "forecast.short", "reset", "old"]
    told = soap.notes(route("weather.wsdl"))
    assert [reason.partition(":")[0] for reason in told] == ["fails", "alert"]
    assert "weather.wsdl:14: the type {urn:weather}Nowhere is not defined" in told[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"operation": "fails"}, "weather.wsdl:14: the type {urn:weather}Nowhere is not defined"),
        ({"operation": "forcast"}, "weather.wsdl has no operation 'forcast'; it has alert, fails, forecast"),
        ({"service": "Other"}, "transform.soap.service: weather.wsdl has no service 'Other'; it has WeatherService"),
        ({"port": "Other"}, "transform.soap.port: weather.wsdl has no port 'Other'; it has Weather"),
    ],
)
async def test_wrong_names(bind: Bind, options: dict[str, str], told: str) -> None:
    with pytest.raises(BindError) as caught:
        await bind("weather.wsdl", options=options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_rpc_literal_and_overloading(bind: Bind) -> None:
    operations = {each.name: codec_of(each) for each in await bind("weather.wsdl")}
    request = operations["forecast"].request(Call("POST", body=b'{"station": "EIDW", "days": 3}'))
    assert b":forecast><station>EIDW</station><days>3</days></" in request.body
    assert b'"urn:weather:rpc"' in request.body
    short = operations["forecast.short"].request(Call("POST", body=b'{"station": "EIDW"}'))
    assert ("content-type", 'application/soap+xml; charset=utf-8; action="urn:forecast-short"') in short.headers
    reply = (
        '<w:forecastResponse xmlns:w="urn:weather:rpc"><reading><station>EIDW</station><celsius>7.5</celsius>'
        "</reading></w:forecastResponse>"
    )
    answer = operations["forecast"].reply(Call(), HttpReply(200, [], envelope(reply)))
    assert answer.body == b'{"reading":{"station":"EIDW","celsius":7.5}}'


async def test_one_way(bind: Bind) -> None:
    reset = codec_of((await bind("weather.wsdl", options={"operation": "reset"}))[0])
    assert b":reset></" in reset.request(Call("POST")).body
    for inbound in (HttpReply(202), HttpReply(200, [], b""), HttpReply(200, [], envelope(""))):
        answer = reset.reply(Call(), inbound)
        assert (answer.status, answer.body) == (202, b"")


async def test_a_page_that_answers_a_one_way_call_is_told(bind: Bind) -> None:
    reset, call = codec_of((await bind("weather.wsdl", options={"operation": "reset"}))[0]), Call()
    page = HttpReply(200, [("content-type", "text/html")], b"<html><body>Log in</body></html>")
    assert reset.reply(call, page).status == 202
    assert call.warnings == [
        "the answer to a one-way call is no SOAP message: it is an HTML page: its root is html, not a SOAP envelope"
    ]


GOOD = (WSDL_DIR / "vat.wsdl").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<definitions", "bad.wsdl:1: it is not well-formed XML"),
        ("<a/>", "bad.wsdl:1: it is not WSDL 1.1: its root is a"),
        ('<description xmlns="http://www.w3.org/ns/wsdl"/>', "WSDL 2.0 is not read"),
        ("<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>", "Entity 'e' not defined"),
        (f"<!DOCTYPE x [<!ENTITY e '{'x' * 100_000}'>]><x>{'&e;' * 100_000}</x>", "entity amplification"),
        ('<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"/>', "no port with SOAP operations"),
        (
            GOOD.replace('element="t:checkVat"', 'element="t:missing"'),
            "bad.wsdl:47: the element {urn:revenue:vat:types}missing",
        ),
        (GOOD.replace('element="t:checkVat"', 'element="u:checkVat"'), "the prefix of 'u:checkVat' is not declared"),
        (GOOD.replace('"xsd:date"', '"xsd:dat"'), "bad.wsdl:24: XML Schema has no type dat"),
        (GOOD.replace('value="[A-Z]{2}"', 'value="[A-Z"'), "bad.wsdl:13: the pattern '[A-Z' can't be read"),
        (
            GOOD.replace('maxOccurs="1" minOccurs="0" name="name"', 'maxOccurs="-1" name="name"'),
            "bad.wsdl:26: it cannot occur 1 to -1 times",
        ),
        (GOOD.replace('message="tns:checkVatRequest"', 'message="tns:none"'), "the message 'tns:none' is not defined"),
        (
            GOOD.replace('type="tns:checkVatPortType"', 'type="tns:x"').replace('name="checkVatPortType"', 'name="y"'),
            "the portType 'tns:x' is not defined",
        ),
        (
            GOOD.replace(
                '<xsd:element name="vatNumber" type="xsd:string"/>', '<xsd:element name="a&lt;b" type="xsd:string"/>', 1
            ),
            "is not a valid element name",
        ),
    ],
)
async def test_broken_contracts(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.wsdl").write_text(text, "utf-8")
    with pytest.raises(BindError) as caught:
        await bind_wsdl(tmp_path, "bad.wsdl")
    assert told in str(caught.value)
    assert str(caught.value).startswith(("bad.wsdl", "transform"))
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../secret.wsdl", "/etc/passwd", "sub/../../secret.wsdl", "file:///etc/passwd", "link.wsdl"]
)
async def test_nothing_outside_the_folder_is_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "wsdl"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.wsdl").write_text(GOOD, "utf-8")
    (folder / "link.wsdl").symlink_to(tmp_path / "secret.wsdl")
    with pytest.raises(BindError) as caught:
        await bind_wsdl(folder, name)
    assert "outside" in str(caught.value) or "can't be read" in str(caught.value)


async def test_an_import_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "wsdl"
    folder.mkdir()
    (tmp_path / "secret.xsd").write_text('<schema xmlns="http://www.w3.org/2001/XMLSchema"/>', "utf-8")
    text = GOOD.replace(
        "<xsd:schema ",
        '<xsd:schema><xsd:import namespace="urn:s" schemaLocation="../secret.xsd"/></xsd:schema><xsd:schema ',
        1,
    )
    text = text.replace('type="xsd:date"', 'type="s:Date" xmlns:s="urn:s"')
    (folder / "a.wsdl").write_text(text, "utf-8")
    with pytest.raises(BindError, match=r"the type \{urn:s\}Date is not defined.*outside wsdl/"):
        await bind_wsdl(folder, "a.wsdl")


async def test_a_schema_that_is_missing_fails_only_its_users(tmp_path: Path) -> None:
    text = GOOD.replace(
        "<xsd:schema ",
        '<xsd:schema><xsd:import namespace="urn:s" schemaLocation="gone.xsd"/></xsd:schema><xsd:schema ',
        1,
    )
    (tmp_path / "a.wsdl").write_text(text, "utf-8")
    assert len(await bind_wsdl(tmp_path, "a.wsdl")) == 1


class _Files(BaseHTTPRequestHandler):
    """Serves the people contract, redirects, and an endless file."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved.wsdl":
            self.send_response(302)
            self.send_header("location", "/people/PeopleService.wsdl")
            self.end_headers()
        elif self.path == "/elsewhere.wsdl":
            self.send_response(302)
            self.send_header("location", "http://localhost:1/x.wsdl")
            self.end_headers()
        elif self.path == "/endless.wsdl":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(20):
                    self.wfile.write(b" " * 1024**2)
            except OSError:
                pass
        elif (WSDL_DIR / self.path[1:]).is_file():
            self.send_response(200)
            self.end_headers()
            self.wfile.write((WSDL_DIR / self.path[1:]).read_bytes())
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:  # the base class's own names
        """Quiet."""


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_contract_behind_a_url(site: str, tmp_path: Path) -> None:
    operations = await bind_wsdl(tmp_path, f"{site}/moved.wsdl".replace("moved", "people/PeopleService"))
    assert [each.name for each in operations] == ["find", "notify"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.wsdl", "the server answered HTTP 404"),
        ("elsewhere.wsdl", "it redirects to another host, which is refused"),
        ("endless.wsdl", "it is larger than 16 MiB"),
    ],
)
async def test_a_url_that_gives_no_contract(site: str, tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(BindError, match=told):
        await bind_wsdl(tmp_path, f"{site}/{name}")


async def test_a_dead_server_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="it can't be fetched"):
        await bind_wsdl(tmp_path, "http://127.0.0.1:9/x.wsdl")


async def test_routes_share_what_is_compiled(bind: Bind) -> None:
    soap = Soap()
    first = await bind("orders.wsdl", soap=soap)
    second = await bind("orders.wsdl", soap=soap)
    assert len(soap._contracts) == 1
    del first, second
    await soap.aclose()


async def test_closing_before_opening_is_harmless() -> None:
    await Soap().aclose()


@pytest.mark.parametrize(
    ("route_path", "methods", "told"),
    [
        ("/v1/x/{other}", None, "route: checkVat has no simple input 'other' for this parameter"),
    ],
)
async def test_a_route_that_does_not_fit(bind: Bind, route_path: str, methods: Any, told: str) -> None:
    with pytest.raises(BindError, match=told):
        await bind("vat.wsdl", route=route_path, methods=methods, options={"operation": "checkVat"})


async def test_get_needs_a_flat_input(bind: Bind) -> None:
    with pytest.raises(BindError, match="PlaceOrder can't be published as GET"):
        await bind("orders.wsdl", methods=["GET"], options={"operation": "PlaceOrder"})


_TYPED_PART = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
  <types><xs:schema targetNamespace="urn:t" elementFormDefault="qualified">
    <xs:element name="one" type="xs:int"/><xs:element name="other" type="xs:string"/>
    <xs:complexType name="Pair"><xs:sequence><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:int"/>
    </xs:sequence></xs:complexType></xs:schema></types>
  <message name="pair"><part name="body" type="t:Pair"/></message>
  <message name="text"><part name="text" type="xs:string"/></message>
  <message name="none"/>
  <message name="several"><part name="p" element="t:one"/><part name="q" element="t:other"/></message>
  <portType name="p">
    <operation name="pair"><input message="t:pair"/><output message="t:pair"/></operation>
    <operation name="text"><input message="t:text"/><output message="t:text"/></operation>
    <operation name="none"><input message="t:none"/><output message="t:none"/></operation>
    <operation name="several"><input message="t:several"/><output message="t:several"/></operation>
  </portType>
  <binding name="b" type="t:p"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="pair"><input><soap:body use="literal"/></input>
      <output><soap:body use="literal"/></output></operation>
    <operation name="text"><input><soap:body use="literal"/></input>
      <output><soap:body use="literal"/></output></operation>
    <operation name="several"><input><soap:body use="literal"/></input>
      <output><soap:body use="literal"/></output></operation>
    <operation name="none"><input><soap:body use="literal"/></input>
      <output><soap:body use="literal"/></output></operation>
  </binding>
  <service name="s"><port name="p" binding="t:b"><soap:address location="http://x/"/></port></service>
</definitions>"""


async def test_document_messages_whose_part_names_a_type(bind: Bind, tmp_path: Path) -> None:
    """A complex type describes the body's own content (WSDL 1.1, section 3.5); a simple one stands in an element of
    the part's name, since a SOAP body holds no text."""
    (tmp_path / "typed.wsdl").write_text(_TYPED_PART)
    codecs = {each.name: codec_of(each) for each in await bind("typed.wsdl", folder=tmp_path) if each.method == "POST"}
    for name, value, xml in (
        ("pair", b'{"a":1,"b":2}', '<a xmlns="urn:t">1</a><b xmlns="urn:t">2</b>'),
        ("text", b'"x"', "<text>x</text>"),
        ("none", b"{}", ""),
        ("several", b'{"one":1,"other":"x"}', '<one xmlns="urn:t">1</one><other xmlns="urn:t">x</other>'),
    ):
        reply = codecs[name].reply(Call(), HttpReply(200, [], envelope(xml)))
        assert reply.body == value
        body = etree.fromstring(codecs[name].request(Call("POST", body=value)).body)[0]
        assert [infoset(child) for child in body] == [infoset(child) for child in etree.fromstring(f"<x>{xml}</x>")]
    with pytest.raises(InvalidBody):
        codecs["none"].request(Call("POST", body=b'{"a": 1}'))


_PIECES = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:a="urn:a" xmlns:w="urn:w" targetNamespace="urn:w">
  <types>{schemas}</types>
  <message name="m"><part name="p" element="a:q"/></message>
  <portType name="p"><operation name="op"><input message="w:m"/></operation></portType>
  <binding name="b" type="w:p"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="op"><soap:operation {action}/><input><soap:body use="literal"/></input></operation></binding>
  <service name="s"><port name="p" binding="w:b"><soap:address location="http://x/"/></port></service>
</definitions>"""
_USER = """<xs:schema targetNamespace="urn:a" xmlns:b="urn:b">{imports}
  <xs:element name="q"><xs:complexType><xs:sequence><xs:element name="t" type="b:T"/></xs:sequence></xs:complexType>
  </xs:element></xs:schema>"""
_TYPE = """<xs:schema targetNamespace="urn:b"><xs:simpleType name="T"><xs:restriction base="xs:int"/></xs:simpleType>
</xs:schema>"""


@pytest.mark.parametrize(
    ("imports", "inside"),
    [
        ('<xs:import namespace="urn:b"/>', True),  # without a location: it is another schema of the WSDL
        ("", True),  # no declaration at all
        ('<xs:import namespace="urn:b" schemaLocation="nowhere.xsd"/>', True),  # a wrong location
        ('<xs:import namespace="urn:b" schemaLocation="b.xsd"/>', False),
        ('<xs:import schemaLocation="b.xsd"/>', False),  # the namespace is what the file says
        ('<xs:import namespace="urn:other" schemaLocation="b.xsd"/>', False),
    ],
)
async def test_imports_as_vendors_write_them(bind: Bind, tmp_path: Path, imports: str, inside: bool) -> None:
    (tmp_path / "b.xsd").write_text(
        _TYPE.replace("<xs:schema", '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"')
    )
    schemas = _USER.format(imports=imports) + (_TYPE if inside else "")
    (tmp_path / "a.wsdl").write_text(_PIECES.format(schemas=schemas, action='soapAction="a"'))
    (operation, *_) = await bind("a.wsdl", folder=tmp_path)
    assert b"<t>5</t>" in codec_of(operation).request(Call("POST", body=b'{"t": 5}')).body


@pytest.mark.parametrize(
    ("written", "header"),
    [
        ('soapAction="urn:a"', '"urn:a"'),
        ('soapAction=""', '""'),
        ("", '""'),
        ("soapAction='&quot;urn:a&quot;'", '"urn:a"'),
        ('soapAction=" urn:a&#10; b "', '"urn:a b"'),
    ],
)
async def test_soap_actions(bind: Bind, tmp_path: Path, written: str, header: str) -> None:
    (tmp_path / "a.wsdl").write_text(_PIECES.format(schemas=_USER.format(imports="") + _TYPE, action=written))
    (operation, *_) = await bind("a.wsdl", folder=tmp_path)
    assert dict(codec_of(operation).request(Call("POST", body=b'{"t": 5}')).headers)["soapaction"] == header
