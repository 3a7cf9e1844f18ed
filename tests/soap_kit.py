"""SOAP operations made from a few lines of XML Schema, with lxml's validator as the judge of what they send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from bridge.api import Call, Context, HttpCodec, HttpReply, InvalidBody, Operation, RouteSpec
from bridge.api.grants import Grant, granted
from bridge.transport.fetch import Fetcher
from bridge_soap import Soap
from bridge_soap.options import SoapOptions

WSDL_DIR = Path(__file__).parent / "bridge_soap" / "wsdl"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"

WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:w" xmlns:w="urn:w">
  <types>{schemas}</types>
  <message name="m"><part name="body" element="t:{root}"/></message>
  <portType name="p"><operation name="echo"><input message="w:m"/><output message="w:m"/></operation></portType>
  <binding name="b" type="w:p">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="echo"><soap:operation soapAction="urn:echo"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation>
  </binding>
  <service name="s"><port name="p" binding="w:b"><soap:address location="http://echo.example/echo"/></port></service>
</definitions>"""

_SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t"
    elementFormDefault="qualified">{content}</xs:schema>"""


def envelope(payload: str, namespace: str = SOAP11) -> bytes:
    return f'<s:Envelope xmlns:s="{namespace}"><s:Body>{payload}</s:Body></s:Envelope>'.encode()


def codec_of(operation: Operation) -> HttpCodec:
    assert hasattr(operation.codec, "request")
    return operation.codec  # type: ignore[return-value]  # soap's are all of this kind


def infoset(node: etree._Element) -> Any:
    """What must survive: names, attributes, text and children; prefixes in xsi:type resolved."""
    attributes = {}
    for key, value in node.items():
        name = str(key)
        if name == f"{XSI}type":
            prefix, _, local = str(value).rpartition(":")
            attributes[name] = f"{{{node.nsmap.get(prefix or None, '')}}}{local}"
        else:
            attributes[name] = str(value)
    return (
        node.tag,
        attributes,
        node.text or "",
        [(infoset(child), child.tail or "") for child in node],
    )


@dataclass
class Echo:
    """One operation whose request and reply are the same element."""

    operation: Operation
    schema: etree.XMLSchema
    last: bytes = b""

    def send(self, value: Any, *, raw: bytes | None = None) -> etree._Element:
        """The body's element for a JSON value; the schema must find it valid."""
        body = json.dumps(value).encode() if raw is None else raw
        call = Call("POST", "/", body=body, headers=[("content-type", "application/json")])
        request = codec_of(self.operation).request(call)
        root = etree.fromstring(request.body)
        held = root.find(f"{{{SOAP11}}}Body")
        assert held is not None
        assert len(held) == 1
        # A copy, so that the judge sees the element as the server would; it keeps the namespaces in scope.
        alone = etree.fromstring(etree.tostring(held[0], encoding="utf-8"))
        self.schema.assertValid(alone)
        return alone

    def faults(self, value: Any, *, raw: bytes | None = None) -> dict[str, str]:
        """The faults found in a JSON value, by pointer."""
        with pytest.raises(InvalidBody) as caught:
            self.send(value, raw=raw)
        return dict(caught.value.errors)

    def receive(self, xml: str, *, valid: bool = True, warnings: list[str] | None = None) -> Any:
        """The JSON of a reply that holds `xml`; the schema's own judgement of it is checked first."""
        xml = xml.replace("<r", '<r xmlns="urn:t"', 1)
        assert self.schema.validate(etree.fromstring(xml)) is valid, self.schema.error_log
        call, again = Call(), Call()
        inbound = HttpReply(200, [("content-type", "text/xml")], envelope(xml))
        reply = codec_of(self.operation).reply(call, inbound)
        # The second time its template is known.
        assert codec_of(self.operation).reply(again, inbound) == reply
        assert again.warnings == call.warnings
        if warnings is not None:
            warnings += call.warnings
        else:
            assert not call.warnings
        self.last = reply.content
        return json.loads(reply.content)

    def trip(self, xml: str) -> Any:
        """XML to JSON and back must be the same infoset; the JSON."""
        original = etree.fromstring(xml.replace("<r", '<r xmlns="urn:t"', 1))
        value = self.receive(xml)
        # The very bytes go back, so that no JSON library of the test's own rounds a number.
        assert infoset(self.send(None, raw=self.last)) == infoset(original)
        return value


MakeEcho = Callable[..., Echo]
Bind = Callable[..., Awaitable[Sequence[Operation]]]


async def bind_wsdl(folder: Path, wsdl: str, *, soap: Soap | None = None, **given: Any) -> Sequence[Operation]:
    """The operations of a route; `given` are the spec's keys, `options` the transformer's."""
    options = {"wsdl": wsdl, **given.pop("options", {})}
    response = given.pop("response", "json")
    spec = {
        "route": "/v1/x",
        "upstream": "x:80",
        "auth": "none",
        "transform": {"request": "soap", "response": response, "soap": options},
        **given,
    }
    soap = soap or Soap()
    await soap.open(Context(folder, folder, loopback_fetch))
    with granted(Grant(operator=True)):
        return await soap.bind(RouteSpec.model_validate(spec), SoapOptions.model_validate(options))


async def loopback_fetch(url: str, headers: Mapping[str, str]) -> bytes:
    """The gateway's fetch with BRIDGE_FETCH_NETWORKS=127.0.0.0/8."""
    fetcher = Fetcher([ip_network("127.0.0.0/8")])
    try:
        return await fetcher.fetch(url, headers)
    finally:
        await fetcher.aclose()


def make_echo(folder: Path, content: str, *, root: str = "r", others: Sequence[str] = (), **options: Any) -> Echo:
    """An `Echo` from the content of a schema for ``urn:t``, or from a whole schema; `others` are further ones."""
    schemas = [content] if content.lstrip().startswith("<xs:schema") else [_SCHEMA.format(content=content)]
    schemas += others
    (folder / "echo.wsdl").write_text(WSDL.format(schemas="".join(schemas), root=root), "utf-8")
    operations = asyncio.run(bind_wsdl(folder, "echo.wsdl", options={"operation": "echo", **options}))
    for number, schema in enumerate(schemas):  # imports between them name s0.xsd, s1.xsd, …
        (folder / f"s{number}.xsd").write_text(schema, "utf-8")
    judge = etree.XMLSchema(etree.parse(str(folder / "s0.xsd")))
    return Echo(next(each for each in operations if each.method == "POST"), judge)
