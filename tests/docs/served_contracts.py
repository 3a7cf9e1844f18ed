"""Contracts for the specs of docs/soap.md and docs/grpc.md whose services are examples, and services that keep them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema
from tests.docs.pages import ROOT
from tests.soap_kit import WSDL, WSDL_DIR

ETCD = ROOT / "tests" / "live" / "etcd"


def _wsdl(name: str, schema: str) -> str:
    """One operation of that name, from ``Name`` to ``NameResponse``."""
    whole = (
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t" '
        f'elementFormDefault="qualified">{schema}</xs:schema>'
    )
    text = WSDL.format(schemas=whole, root=name).replace('"echo"', f'"{name}"').replace("/echo", f"/{name}")
    message = f'<message name="m"><part name="body" element="t:{name}"/></message>'
    answer = f'<message name="n"><part name="body" element="t:{name}Response"/></message>'
    assert message in text
    return text.replace(message, message + answer).replace('<output message="w:m"/>', '<output message="w:n"/>')


ORDERS = _wsdl(
    "PlaceOrder",
    """<xs:element name="PlaceOrder"><xs:complexType><xs:sequence>
      <xs:element name="Header"><xs:complexType><xs:sequence>
        <xs:element name="Version" type="xs:string"/><xs:element name="ApiKey" type="xs:string"/>
      </xs:sequence></xs:complexType></xs:element>
      <xs:element name="Order"><xs:complexType><xs:sequence>
        <xs:element name="Currency" type="xs:string"/>
        <xs:element name="Line" maxOccurs="unbounded"><xs:complexType><xs:sequence>
          <xs:element name="Sku" type="xs:string"/></xs:sequence><xs:attribute name="pos" type="xs:int"/>
        </xs:complexType></xs:element>
        <xs:element name="Weight" minOccurs="0"><xs:complexType><xs:simpleContent><xs:extension base="xs:decimal">
          <xs:attribute name="unit" type="xs:string"/></xs:extension></xs:simpleContent></xs:complexType></xs:element>
      </xs:sequence></xs:complexType></xs:element>
    </xs:sequence></xs:complexType></xs:element>
    <xs:element name="PlaceOrderResponse"><xs:complexType><xs:sequence>
      <xs:element name="Result"><xs:complexType><xs:sequence><xs:element name="OrderNo" type="xs:long"/>
      </xs:sequence></xs:complexType></xs:element>
    </xs:sequence></xs:complexType></xs:element>""",
)

GOODS = _wsdl(
    "Check",
    """<xs:element name="Check"><xs:complexType><xs:sequence>
      <xs:element name="order"><xs:complexType><xs:sequence>
        <xs:element name="line" maxOccurs="unbounded"><xs:complexType><xs:sequence>
          <xs:element name="sku" type="xs:string"/>
          <xs:element name="qty"><xs:simpleType><xs:restriction base="xs:int"><xs:maxExclusive value="100"/>
          </xs:restriction></xs:simpleType></xs:element>
        </xs:sequence></xs:complexType></xs:element>
      </xs:sequence></xs:complexType></xs:element>
    </xs:sequence></xs:complexType></xs:element>
    <xs:element name="CheckResponse"><xs:complexType/></xs:element>""",
)

#: The tests' ledger with one element more, which the page sets, and only the header blocks that the page has.
LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
LEDGER = LEDGER.replace(
    '<xs:element name="level"', '<xs:element name="branch" type="xs:string"/><xs:element name="level"'
)
LEDGER = re.sub(r'<soap:header [^>]*part="(?:ticket|old)"[^>]*/>|<part name="(?:ticket|old)"[^>]*/>', "", LEDGER)


def write_contracts(folder: Path) -> None:
    """Those above below ``wsdl/`` and ``protos/`` of `folder`, beside the repository's own."""
    for path in (*(ROOT / "wsdl").glob("*.wsdl"), WSDL_DIR / "vat.wsdl", WSDL_DIR / "scans.wsdl"):
        _write(folder / "wsdl" / path.name, path.read_text("utf-8"))
    for name, text in {"ledger": LEDGER, "orders": ORDERS, "goods": GOODS}.items():
        _write(folder / "wsdl" / f"{name}.wsdl", text)
    for path in ETCD.glob("*.proto"):
        _write(folder / "protos" / ("" if path.stem == "rpc" else "etcd") / path.name, path.read_text("utf-8"))
    ballots = "election/v1/ballots.proto"
    _write(folder / "protos" / ballots, (ROOT / "protos" / ballots).read_text("utf-8"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Watched:
    """An etcd that knows `Watch` only: two events from the revision that is asked for.

    :ivar asked: the revisions.
    """

    def __init__(self, protos: Path) -> None:
        pool = schema(compile_protos(["rpc.proto"], protos)).pool
        find = pool.FindMessageTypeByName
        self._request = GetMessageClass(find("etcdserverpb.WatchRequest"))
        self._response = GetMessageClass(find("etcdserverpb.WatchResponse"))
        self.asked: list[int] = []

    def watch(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        request: Any = self._request.FromString(next(requests))
        start = request.create_request.start_revision
        self.asked.append(start)
        for revision in (start or 7, (start or 7) + 1):
            response: Any = self._response()
            response.events.add().kv.mod_revision = revision
            yield response.SerializeToString()


@contextmanager
def etcd(protos: Path) -> Iterator[tuple[Watched, int]]:
    """The service, and its port."""
    service, server = Watched(protos), grpc.server(ThreadPoolExecutor(4))
    handler = grpc.stream_stream_rpc_method_handler(service.watch)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("etcdserverpb.Watch", {"Watch": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield service, port
    finally:
        server.stop(None).wait()
