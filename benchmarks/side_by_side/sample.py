"""The values that are sent and answered, and their bytes on each side."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import orjson

PLACED = "2026-11-03T20:15:00Z"
TICKS = 1000
NAMESPACE = "http://tempuri.org/"


def soap_order(lines: int) -> dict[str, Any]:
    """`Order` of ``contracts/orders.wsdl``."""
    return {
        "Id": "4711",
        "Customer": "Ada & Sons",
        "Placed": PLACED,
        "Lines": {
            "OrderLine": [
                {
                    "Sku": f"SKU-{n}",
                    "Description": f"Ballot box, size {n}",
                    "Quantity": n + 1,
                    "Price": "19.95",
                    "Gift": n % 2 == 0,
                }
                for n in range(lines)
            ]
        },
    }


def soap_reply(lines: int) -> bytes:
    """The service's envelope around `soap_order`, as a service of .NET writes it."""
    order = soap_order(lines)
    rows = "".join(
        "<OrderLine>" + "".join(f"<{name}>{_text(value)}</{name}>" for name, value in line.items()) + "</OrderLine>"
        for line in order["Lines"]["OrderLine"]
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f'<soap:Body><PlaceOrderResponse xmlns="{NAMESPACE}"><PlaceOrderResult><Id>{order["Id"]}</Id>'
        f"<Customer>{escape(order['Customer'])}</Customer><Placed>{order['Placed']}</Placed><Lines>{rows}</Lines>"
        "</PlaceOrderResult></PlaceOrderResponse></soap:Body></soap:Envelope>"
    ).encode()


def _text(value: object) -> str:
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


def grpc_order(lines: int) -> dict[str, Any]:
    """`Order` of ``contracts/orders.proto``. No value is its type's default, which some write and some leave out."""
    return {
        "id": "4711",
        "customer": "Ada & Sons",
        "status": "PLACED",
        "lines": [
            {
                "sku": f"SKU-{n}",
                "description": f"Ballot box, size {n}",
                "quantity": n + 1,
                "price": 19.95,
                "gift": True,
            }
            for n in range(lines)
        ],
    }


def ticks() -> list[dict[str, Any]]:
    """The answer of `Feed`, message for message."""
    return [{"number": n + 1, "county": "Calaveras", "votes": str(10_000 + n)} for n in range(TICKS)]


def results_xml() -> bytes:
    """A feed's document of 20 candidates, attributes and text, about 2 kB."""
    rows = "".join(
        f'<candidate id="{n}" party="P{n % 3}"><name>Candidate {n}</name><votes>{10_000 + n}</votes></candidate>'
        for n in range(20)
    )
    head = '<?xml version="1.0" encoding="UTF-8"?><results race="president"><county>Calaveras</county>'
    return f"{head}{rows}</results>".encode()


def results() -> dict[str, Any]:
    """`results_xml` by the conventions of xmltodict."""
    return {
        "results": {
            "@race": "president",
            "county": "Calaveras",
            "candidate": [
                {"@id": str(n), "@party": f"P{n % 3}", "name": f"Candidate {n}", "votes": str(10_000 + n)}
                for n in range(20)
            ],
        }
    }


def plain() -> bytes:
    """A small JSON body."""
    return orjson.dumps(grpc_order(2))


def blob() -> bytes:
    """A megabyte of JSON, exactly."""
    rows = orjson.dumps([f"{n:08d} a precinct and its votes, as they were told" for n in range(17_000)])
    return rows[:-1] + b',"' + b"x" * (1_000_000 - len(rows) - 3) + b'"]'
