"""Binding a large WSDL: 1.5 MB, 200 operations, each with types of its own and some that all share.

Prints the time from file to published operations, the memory that an operation takes before its first call and after,
and the time of a second route on the same WSDL. Run it with ``python benchmarks/soap_bind.py``.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

from bridge.api import Call, Context, Operation, RouteSpec
from bridge_soap import Soap
from bridge_soap.options import SoapOptions

OPERATIONS = 200
SIZE = 1_500_000
SECONDS = 1.0  #: what the project promises

_HEAD = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:large" targetNamespace="urn:large">
<types><xs:schema targetNamespace="urn:large" elementFormDefault="qualified">
"""
_WORDS = (
    "Account", "Balance", "Branch", "Charge", "Client", "Country", "Currency", "Delivery", "Invoice", "Ledger", "Order",
    "Payment",
)  # fmt: skip
_TYPES = (
    "xs:string", "xs:int", "xs:decimal", "xs:date", "xs:dateTime", "xs:boolean", "t:Code", "xs:long", "t:Money",
)  # fmt: skip


def wsdl(operations: int = OPERATIONS, size: int = SIZE) -> str:
    """A WSDL of about `size` bytes."""
    out = [_HEAD]
    out.append(
        '<xs:simpleType name="Code"><xs:restriction base="xs:string"><xs:pattern value="[A-Z]{2,8}"/>'
        '<xs:maxLength value="8"/></xs:restriction></xs:simpleType>'
        '<xs:complexType name="Money"><xs:simpleContent><xs:extension base="xs:decimal">'
        '<xs:attribute name="currency" type="t:Code" use="required"/></xs:extension></xs:simpleContent>'
        "</xs:complexType>"
        '<xs:complexType name="Base"><xs:sequence><xs:element name="Id" type="xs:long"/></xs:sequence></xs:complexType>'
    )
    fields = max((size - 1200 * operations) // (operations * 3 * 170), 4)
    for number in range(operations):
        for kind in range(3):
            out.append(
                f'<xs:complexType name="T{number}_{kind}"><xs:annotation><xs:documentation>Type {kind} of operation '
                f"{number}.</xs:documentation></xs:annotation><xs:complexContent>"
                '<xs:extension base="t:Base"><xs:sequence>'
            )
            for field in range(fields):
                word, type_ = _WORDS[(field + kind) % 12], _TYPES[(field * 7 + kind) % 9]
                many = ' minOccurs="0" maxOccurs="unbounded"' if field % 6 == 5 else ' minOccurs="0"'
                out.append(
                    f'<xs:element name="{word}{field}" type="{type_}"{many}><xs:annotation><xs:documentation>'
                    f"The {word.lower()} of number {field}.</xs:documentation></xs:annotation></xs:element>\n"
                )
            if kind:
                out.append(f'<xs:element name="Inner" type="t:T{number}_{kind - 1}" minOccurs="0" maxOccurs="9"/>')
            out.append("</xs:sequence></xs:extension></xs:complexContent></xs:complexType>\n")
        for name, held in (("Do", 2), ("Did", 1)):
            out.append(
                f'<xs:element name="{name}{number}"><xs:complexType><xs:sequence><xs:element name="value" '
                f'type="t:T{number}_{held}"/></xs:sequence></xs:complexType></xs:element>\n'
            )
    out.append("</xs:schema></types>\n")
    numbers = range(operations)
    for n in numbers:
        out.append(
            f'<message name="In{n}"><part name="p" element="t:Do{n}"/></message>'
            f'<message name="Out{n}"><part name="p" element="t:Did{n}"/></message>\n'
        )
    out.append('<portType name="P">')
    out += [
        f'<operation name="Do{n}"><input message="t:In{n}"/><output message="t:Out{n}"/></operation>\n' for n in numbers
    ]
    out.append(
        '</portType><binding name="B" type="t:P"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>'
    )
    body = '<soap:body use="literal"/>'
    out += [
        f'<operation name="Do{n}"><soap:operation soapAction="urn:Do{n}"/><input>{body}</input>'
        f"<output>{body}</output></operation>\n"
        for n in numbers
    ]
    out.append(
        '</binding><service name="S"><port name="P" binding="t:B"><soap:address location="http://x.example/"/>'
        "</port></service></definitions>"
    )
    return "".join(out)


async def bind(soap: Soap, route: str) -> list[Operation]:
    spec = {"route": route, "upstream": "x:80", "auth": "none", "transform": {"request": "soap"}}
    return list(await soap.bind(RouteSpec.model_validate(spec), SoapOptions(wsdl="large.wsdl")))


async def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = wsdl()
        (folder / "large.wsdl").write_text(text)
        soap = Soap()
        await soap.open(Context(folder, folder))
        started = time.perf_counter()
        operations = await bind(soap, "/a")
        first = time.perf_counter() - started
        started = time.perf_counter()
        again = await bind(soap, "/b")
        second = time.perf_counter() - started
        print(f"{len(text) / 1e6:.2f} MB, {len(operations)} operations: bound in {first:.2f} s; again {second:.3f} s")
        call = Call("POST", body=b'{"value": {"Id": "5"}}')
        started = time.perf_counter()
        codec: Any = operations[150].codec
        codec.request(call)
        print(f"the first call of an operation {1000 * (time.perf_counter() - started):.1f} ms", end="; ")
        started = time.perf_counter()
        codec.request(call)
        print(f"the second {1000 * (time.perf_counter() - started):.3f} ms")
        await soap.aclose()
        del operations, again, soap, codec
        gc.collect()
        soap = Soap()
        await soap.open(Context(folder, folder))
        tracemalloc.start()
        operations = await bind(soap, "/a")
        gc.collect()
        bound = tracemalloc.get_traced_memory()[0]
        for each in operations:
            codec = each.codec
            codec.request(call)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        count = len(operations)
        print(
            f"memory an operation: {bound / count / 1024:.0f} KiB when bound, {used / count / 1024:.0f} KiB when used"
        )
    return 1 if "--check" in sys.argv and first > SECONDS else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
