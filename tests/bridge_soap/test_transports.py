"""Contracts with ports of several transports: the one over HTTP is published, whatever stands first."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.api import BindError, Call
from bridge_soap import Soap
from tests.bridge_soap.test_locations import route
from tests.soap_kit import bind_wsdl, codec_of

HTTP = "http://schemas.xmlsoap.org/soap/http"
JMS = "http://www.w3.org/2010/soapjms/"
WSDL = """<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:orders" targetNamespace="urn:orders">
  <wsdl:types>
    <xs:schema targetNamespace="urn:orders"><xs:element name="Order" type="xs:string"/></xs:schema>
  </wsdl:types>
  <wsdl:message name="Order"><wsdl:part name="body" element="t:Order"/></wsdl:message>
  <wsdl:portType name="Orders">
    <wsdl:operation name="Place"><wsdl:input message="t:Order"/></wsdl:operation>
    <wsdl:operation name="Cancel"><wsdl:input message="t:Order"/></wsdl:operation>
    <wsdl:operation name="Track"><wsdl:input message="t:Order"/></wsdl:operation>
  </wsdl:portType>
  {bindings}
  <wsdl:service name="Orders">{ports}</wsdl:service>
</wsdl:definitions>"""


def contract(*ports: tuple[str, str, str, str]) -> str:
    """A contract with ports of a name, a transport, an address and operations."""
    bindings = "".join(
        f'<wsdl:binding name="{name}Binding" type="t:Orders"><soap:binding transport="{transport}"/>'
        + "".join(
            f'<wsdl:operation name="{each}"><wsdl:input><soap:body use="literal"/></wsdl:input></wsdl:operation>'
            for each in operations.split()
        )
        + "</wsdl:binding>"
        for name, transport, _, operations in ports
    )
    places = "".join(
        f'<wsdl:port name="{name}" binding="t:{name}Binding"><soap:address location="{address}"/></wsdl:port>'
        for name, _, address, _ in ports
        if address
    )
    return WSDL.format(bindings=bindings, ports=places)


ALL = "Place Cancel Track"
QUEUE = ("Queue", JMS, "jms:jndi:queue/orders", ALL)
WEB = ("Web", HTTP, "http://orders.example/soap", ALL)


async def published(folder: Path, text: str, **options: str) -> tuple[list[str], list[str]]:
    """The paths upstream and names of the operations, and what is left out."""
    (folder / "a.wsdl").write_text(text)
    soap = Soap()
    operations = [
        each for each in await bind_wsdl(folder, "a.wsdl", soap=soap, options=options) if each.method == "POST"
    ]
    paths = [codec_of(each).request(Call("POST", body=b'"x"')).path for each in operations]
    return [f"{path} {each.upstream_name}" for path, each in zip(paths, operations, strict=True)], list(
        soap.notes(route("a.wsdl", **options))
    )


@pytest.mark.parametrize(
    ("transport", "address", "reason"),
    [
        (JMS, "jms:jndi:queue/orders", f"its transport is {JMS}"),
        (
            "http://schemas.xmlsoap.org/soap/jms",
            "http://queues.example/",
            "its transport is http://schemas.xmlsoap.org",
        ),
        ("http://schemas.xmlsoap.org/soap/smtp", "mailto:orders@example.org", "its transport is"),
        ("http://schemas.microsoft.com/soap/tcp", "net.tcp://orders.example:808/x", "its transport is"),
        (HTTP, "net.pipe://localhost/orders", "its address begins with net.pipe:"),
        ("", "jms:topic:orders", "its address begins with jms:"),
    ],
)
async def test_a_port_that_is_not_http_is_never_chosen(
    tmp_path: Path, transport: str, address: str, reason: str
) -> None:
    names, left_out = await published(tmp_path, contract(("Other", transport, address, ALL), WEB))
    assert names == ["/soap Place", "/soap Cancel", "/soap Track"]
    assert len(left_out) == 1
    assert f"the port Other is not served: {reason}" in left_out[0]
    assert "only HTTP is served" in left_out[0]


@pytest.mark.parametrize(
    ("transport", "address"),
    [
        ("http://schemas.xmlsoap.org/soap/http/", "http://orders.example/soap"),
        ("http://www.w3.org/2003/05/soap/bindings/HTTP/", "https://orders.example/soap"),
        ("", "http://orders.example/soap"),
        ("http://schemas.xmlsoap.org/soap/", "http://orders.example/soap"),
    ],
)
async def test_http_in_other_words(tmp_path: Path, transport: str, address: str) -> None:
    names, left_out = await published(tmp_path, contract(("Web", transport, address, ALL)))
    assert (names[0], left_out) == ("/soap Place", [])


async def test_an_address_that_is_no_url_is_no_other_transport(tmp_path: Path) -> None:
    for address in ("localhost:8080/soap", "REPLACE_WITH_ACTUAL_URL", "${host}/soap"):
        assert len((await published(tmp_path, contract(("Web", HTTP, address, ALL))))[0]) == 3


async def test_a_contract_without_http_says_why(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"the port Queue is not served: its transport is .*soapjms/, and only HTTP"):
        await published(tmp_path, contract(QUEUE))


async def test_a_port_of_another_transport_that_is_named_says_why(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"transform\.soap\.port: the port Queue is not served: its transport"):
        await published(tmp_path, contract(QUEUE, WEB), port="Queue")


async def test_a_binding_over_http_without_a_port_is_better_than_none(tmp_path: Path) -> None:
    names, _ = await published(tmp_path, contract(QUEUE, ("Web", HTTP, "", ALL)))
    assert names == ["/ Place", "/ Cancel", "/ Track"]


async def test_operations_that_only_a_later_binding_has_are_told(tmp_path: Path) -> None:
    later = ("Web2", HTTP, "http://orders.example/v2", "Place Track")
    text = contract(("Web", HTTP, "http://orders.example/soap", "Place Cancel"), later)
    names, left_out = await published(tmp_path, text)
    assert names == ["/soap Place", "/soap Cancel"]
    assert left_out == ["Track: only the port Web2 has it, which port may name"]
    assert (await published(tmp_path, text, operation="Track"))[0] == ["/v2 Track"]
    assert (await published(tmp_path, text, port="Web2"))[0] == ["/v2 Place", "/v2 Track"]


async def test_operations_that_no_port_has_are_told(tmp_path: Path) -> None:
    text = contract(("Web", HTTP, "http://orders.example/soap", "Place"), ("Spare", HTTP, "", "Cancel"), QUEUE)
    _, left_out = await published(tmp_path, text)
    assert [each.partition(": ")[2] for each in left_out if "Queue" not in each] == [
        "Cancel: no port of SOAP over HTTP has this operation of Orders",
        "Track: no port of SOAP over HTTP has this operation of Orders",
    ]
