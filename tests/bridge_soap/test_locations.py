"""Contracts that were moved after they were written: published trees, wrong locations, names in other letters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bridge.api import BindError, Context, ImportOutput, RouteSpec
from bridge_soap import Soap
from bridge_soap.importing import SoapImport
from tests.soap_kit import bind_wsdl

WSDL = """<?xml version="1.0"?>
<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:tns="urn:booking:service" xmlns:m="urn:booking:messages"
    targetNamespace="urn:booking:service">
  <wsdl:types><xsd:schema>
    <xsd:import namespace="urn:booking:messages" schemaLocation="{messages}"/>
  </xsd:schema></wsdl:types>
  <wsdl:message name="FindRq"><wsdl:part name="body" element="m:FindRq"/></wsdl:message>
  <wsdl:message name="PingRq"><wsdl:part name="body" element="m:PingRq"/></wsdl:message>
  <wsdl:portType name="Booking">
    <wsdl:operation name="Find"><wsdl:input message="tns:FindRq"/></wsdl:operation>
    <wsdl:operation name="Ping"><wsdl:input message="tns:PingRq"/></wsdl:operation>
  </wsdl:portType>
  <wsdl:binding name="BookingSoap" type="tns:Booking">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="Find"><soap:operation soapAction="Find"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input></wsdl:operation>
    <wsdl:operation name="Ping"><soap:operation soapAction="Ping"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input></wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="Booking"><wsdl:port name="Soap" binding="tns:BookingSoap">
    <soap:address location="http://booking.example/soap"/></wsdl:port></wsdl:service>
</wsdl:definitions>"""
MESSAGES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:c="urn:booking:common"
    targetNamespace="urn:booking:messages" elementFormDefault="qualified">
  <xs:import namespace="urn:booking:common" schemaLocation="{common}"/>
  <xs:element name="FindRq"><xs:complexType><xs:sequence><xs:element name="code" type="c:Code"/></xs:sequence>
  </xs:complexType></xs:element>
  <xs:element name="PingRq"><xs:complexType/></xs:element>
</xs:schema>"""
COMMON = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:booking:common">
  <xs:simpleType name="Code"><xs:restriction base="xs:string"><xs:maxLength value="6"/></xs:restriction></xs:simpleType>
</xs:schema>"""
OTHER = COMMON.replace("urn:booking:common", "urn:other")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def tree(messages: str, common: str) -> dict[str, str]:
    """A contract as it is published: the WSDL deep below, the schemas beside its folder and above."""
    return {
        "services/booking/v2/Booking.wsdl": WSDL.format(messages=messages),
        "schemas/booking/messages.xsd": MESSAGES.format(common=common),
        "common.xsd": COMMON,
    }


TREE = tree("../../../schemas/booking/messages.xsd", "../../common.xsd")


def route(wsdl: str, **options: object) -> RouteSpec:
    soap = {"wsdl": wsdl, **options}
    return RouteSpec.model_validate(
        {"route": "/v1/x", "upstream": "x:80", "auth": "none", "transform": {"request": "soap", "soap": soap}}
    )


async def names_and_advice(folder: Path, wsdl: str, **options: object) -> tuple[list[str], tuple[str, ...]]:
    soap = Soap()
    operations = await bind_wsdl(folder, wsdl, soap=soap, options=options)
    return [each.name for each in operations], soap.advice(route(wsdl, **options))


# --- import soap of a published tree ---------------------------------------------------------------------------------


async def test_import_of_a_wsdl_deep_in_its_tree_publishes_every_operation(tmp_path: Path) -> None:
    published, home = write(tmp_path / "published", TREE), tmp_path / "home/wsdl"
    home.mkdir(parents=True)
    wsdl = str(published / "services/booking/v2/Booking.wsdl")
    text, notes = await Soap().import_spec(SoapImport(wsdl=wsdl), Context(home, home))
    assert notes == []
    assert "#   POST /v1/booking/Find\n#   POST /v1/booking/Ping\n" in text
    assert YAML(typ="safe").load(text)["transform"]["soap"] == {"wsdl": "services/booking/v2/Booking.wsdl"}
    assert f"to wsdl/, where the gateway looks for it, in the same folders as in {published}" in text


async def test_a_published_tree_is_saved_and_serves(tmp_path: Path) -> None:
    files = tree("../../../schemas/booking/messages.xsd", "http://inner/x/common.xsd")
    published, home = write(tmp_path / "published", files), tmp_path / "home/wsdl"
    home.mkdir(parents=True)
    output = ImportOutput(saves=True)
    options = SoapImport(wsdl=str(published / "services/booking/v2/Booking.wsdl"))
    text, notes = await Soap().import_spec(options, Context(home, home, output=output))
    assert "Copy" not in text
    assert [note.rpartition("; ")[2] for note in notes] == ["common.xsd is read in its place"]
    write(home.parent, {name: content.decode() for name, content in output.files.items()})
    wsdl = YAML(typ="safe").load(text)["transform"]["soap"]["wsdl"]
    assert await names_and_advice(home, wsdl) == (["Find", "Ping"], ())  # locations are right in the copy


@pytest.mark.parametrize("location", ["", ' schemaLocation="http://inner:8080/svc?xsd=1"'])
async def test_a_saved_contract_names_what_no_location_led_to(tmp_path: Path, location: str) -> None:
    wsdl = WSDL.format(messages="").replace(' schemaLocation=""', location)
    published = write(
        tmp_path / "published", {"a.wsdl": wsdl, "m.xsd": MESSAGES.format(common="c.xsd"), "c.xsd": COMMON}
    )
    home = tmp_path / "home/wsdl"
    home.mkdir(parents=True)
    output = ImportOutput(saves=True)
    await Soap().import_spec(SoapImport(wsdl=str(published / "a.wsdl")), Context(home, home, output=output))
    write(home.parent, {name: content.decode() for name, content in output.files.items()})
    assert await names_and_advice(home, "a.wsdl", strict=True) == (["Find", "Ping"], ())


async def test_absolute_names_do_not_widen_the_folder(tmp_path: Path) -> None:
    """Only relative names lead out of a WSDL's folder: what its author wrote is not the operator's word."""
    secret = write(tmp_path / "elsewhere", {"messages.xsd": MESSAGES.format(common="common.xsd")}) / "messages.xsd"
    folder = write(tmp_path / "published", {"Booking.wsdl": WSDL.format(messages=secret)})
    with pytest.raises(BindError, match="FindRq is not defined"):
        await Soap().import_spec(SoapImport(wsdl=str(folder / "Booking.wsdl")), Context(tmp_path / "w", tmp_path))


# --- wrong locations in files ----------------------------------------------------------------------------------------

FLAT = {"messages.xsd": MESSAGES.format(common="common.xsd"), "common.xsd": COMMON}


@pytest.mark.parametrize(
    "messages",
    [
        "../xsd/messages.xsd",
        "C:\\projects\\booking\\messages.xsd",
        "file:///C:/projects/booking/messages.xsd",
        "/opt/booking/messages.xsd",
        "../../../../messages.xsd",
        "http://inner-host:8080/booking/messages.xsd",
        "MESSAGES.XSD",
    ],
)
async def test_a_schema_with_a_wrong_location_is_found_by_its_name(tmp_path: Path, messages: str) -> None:
    write(tmp_path, {"a.wsdl": WSDL.format(messages=messages), **FLAT})
    names, advice = await names_and_advice(tmp_path, "a.wsdl")
    assert names == ["Find", "Ping"]
    assert advice == (f"a.wsdl refers to {messages}; messages.xsd is read in its place",)
    with pytest.raises(BindError, match="is not defined"):
        await names_and_advice(tmp_path, "a.wsdl", strict=True)


async def test_it_is_looked_for_in_the_folders_above(tmp_path: Path) -> None:
    wsdl = WSDL.format(messages="http://inner-host/schemas/booking/messages.xsd")
    write(tmp_path, {**tree("", "gone/common.xsd"), "services/booking/v2/Booking.wsdl": wsdl})
    # The one beside it has that name, too, but is of another namespace.
    write(tmp_path, {"services/booking/v2/messages.xsd": OTHER})
    names, advice = await names_and_advice(tmp_path, "services/booking/v2/Booking.wsdl")
    assert names == ["Find", "Ping"]
    assert [each.rpartition("; ")[2] for each in advice] == [
        "schemas/booking/messages.xsd is read in its place",
        "common.xsd is read in its place",
    ]


async def test_it_is_looked_for_beside_the_wsdl_too(tmp_path: Path) -> None:
    write(tmp_path, tree("../../../schemas/booking/messages.xsd", "gone/common.xsd"))
    (tmp_path / "common.xsd").rename(tmp_path / "services/booking/v2/common.xsd")
    names, advice = await names_and_advice(tmp_path, "services/booking/v2/Booking.wsdl")
    assert names == ["Find", "Ping"]
    assert advice[0].endswith("; services/booking/v2/common.xsd is read in its place")


async def test_a_namespace_without_a_location_is_looked_for_beside(tmp_path: Path) -> None:
    messages = MESSAGES.format(common="").replace(' schemaLocation=""', "")
    write(
        tmp_path, {"a.wsdl": WSDL.format(messages="m.xsd"), "m.xsd": messages, "base-types.xsd": COMMON, "o.xsd": OTHER}
    )
    names, advice = await names_and_advice(tmp_path, "a.wsdl")
    assert names == ["Find", "Ping"]
    assert advice == ("m.xsd refers to urn:booking:common; base-types.xsd is read in its place",)
    assert (await names_and_advice(tmp_path, "a.wsdl", strict=True))[0] == ["Ping"]


@pytest.mark.parametrize("location", ["../secret.xsd", "gone/secret.xsd", "link.xsd"])
async def test_it_is_never_looked_for_outside_the_folder(tmp_path: Path, location: str) -> None:
    folder = write(tmp_path / "wsdl", {"deep/er/a.wsdl": WSDL.format(messages=location)})
    write(tmp_path, {"secret.xsd": MESSAGES.format(common="")})
    (folder / "link.xsd").symlink_to(tmp_path / "secret.xsd")
    with pytest.raises(BindError, match="is not defined in any schema that was loaded"):
        await bind_wsdl(folder, "deep/er/a.wsdl")


@pytest.mark.parametrize(
    ("location", "name"),
    [
        (".\\Xsd\\My Messages.xsd", "Xsd/My Messages.xsd"),
        ("xsd%5CMy%20Messages.xsd", "xsd/My Messages.xsd"),
        ("XSD/my messages.XSD", "Xsd/My Messages.xsd"),
        ("r\u00e9sum\u00e9.xsd", "re\u0301sume\u0301.xsd"),  # composed, and as macOS writes it
    ],
)
async def test_names_that_windows_takes_for_the_same(tmp_path: Path, location: str, name: str) -> None:
    messages = MESSAGES.format(common=f"{'../' * name.count('/')}common.xsd")
    write(tmp_path, {"a.wsdl": WSDL.format(messages=location), name: messages, "common.xsd": COMMON})
    assert (await names_and_advice(tmp_path, "a.wsdl"))[0] == ["Find", "Ping"]


# --- by URL ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Iterator[Callable[[dict[str, str]], tuple[str, list[str]]]]:
    """Serves texts by their paths with queries; the URL, and the paths that were asked for."""
    running = []

    def start(files: dict[str, str]) -> tuple[str, list[str]]:
        seen: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.path)
                text = files.get(self.path)
                # Like many servers, it answers a page with 200 for what is not there.
                body = (text or "<html><body>Not here</body></html>").encode()
                self.send_response(200 if text or "soft" in files else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((httpd, thread))
        return f"http://127.0.0.1:{httpd.server_port}", seen

    yield start
    for httpd, thread in running:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


Site = Callable[[dict[str, str]], tuple[str, list[str]]]


@pytest.mark.parametrize(
    "inner",
    ["http://app-server-03.internal:9080", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "http://localhost"],
)
async def test_imports_that_name_an_inner_host_are_read_from_the_own_one(
    site: Site, tmp_path: Path, inner: str
) -> None:
    files = {
        "/svc/Booking?xsd=2": COMMON,
        "soft": "",
    }
    url, seen = site(files)
    inner = inner.replace("{port}", url.rpartition(":")[2])
    files["/svc/Booking?wsdl"] = WSDL.format(messages=f"{inner}/svc/Booking?xsd=1")
    files["/svc/Booking?xsd=1"] = MESSAGES.format(common=f"{inner}/svc/Booking?xsd=2")
    names, advice = await names_and_advice(tmp_path, f"{url}/svc/Booking?wsdl")
    assert names == ["Find", "Ping"]
    assert (
        advice[0]
        == f"{url}/svc/Booking?wsdl refers to {inner}/svc/Booking?xsd=1; {url}/svc/Booking?xsd=1 is read in its place"
    )
    assert seen == ["/svc/Booking?wsdl", "/svc/Booking?xsd=1", "/svc/Booking?xsd=2"]


async def test_a_wrong_location_is_looked_for_on_the_own_origin_only(site: Site, tmp_path: Path) -> None:
    other, asked = site({"/x/messages.xsd": MESSAGES.format(common="common.xsd")})
    files = {"/a/b/common.xsd": COMMON, "/a/messages.xsd": MESSAGES.format(common="b/common.xsd")}
    url, _ = site(files)
    files["/a/b/c.wsdl"] = WSDL.format(messages=f"{other}/x/messages.xsd")
    names, advice = await names_and_advice(tmp_path, f"{url}/a/b/c.wsdl")
    assert names == ["Find", "Ping"]
    assert advice[0].endswith(f"; {url}/a/messages.xsd is read in its place")
    assert asked == []
    with pytest.raises(BindError, match="lies on another host"):
        await names_and_advice(tmp_path, f"{url}/a/b/c.wsdl", strict=True)
    assert asked == []


async def test_pages_in_place_of_schemas_are_not_taken(site: Site, tmp_path: Path) -> None:
    files = {"soft": ""}
    url, seen = site(files)
    files["/a/b/c/d/e/f/g/h/x.wsdl"] = WSDL.format(messages="http://inner/x/messages.xsd")
    with pytest.raises(BindError, match="lies on another host"):
        await bind_wsdl(tmp_path, f"{url}/a/b/c/d/e/f/g/h/x.wsdl")
    assert len(seen) <= 7  # the tries are limited
