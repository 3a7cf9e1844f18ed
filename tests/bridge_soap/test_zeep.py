"""zeep as a second opinion: the same envelope from the same values, and our envelopes read by it."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import zeep
from lxml import etree
from zeep.helpers import serialize_object

from bridge.api import Call
from tests.soap_kit import SOAP11, WSDL_DIR, Bind, codec_of, infoset

ORDER = {
    "Id": 4711,
    "Customer": "Ada & Sons <ltd>",
    "Placed": dt.datetime(2026, 11, 3, 20, 15, tzinfo=dt.UTC),
    "Lines": {
        "OrderLine": [
            {"Sku": "A-1", "Description": "Box", "Quantity": 2, "Price": Decimal("19.90"), "Gift": True},
            {"Sku": None, "Quantity": -1, "Price": Decimal(5), "Gift": False},
        ]
    },
}


@pytest.fixture(scope="module")
def client() -> Any:
    return zeep.Client(str(WSDL_DIR / "orders.wsdl"))


def body_of(envelope: etree._Element) -> Any:
    found = envelope.find(f"{{{SOAP11}}}Body")
    assert found is not None
    return infoset(etree.fromstring(etree.tostring(found[0])))


async def test_the_same_envelope(bind: Bind, client: Any) -> None:
    theirs = client.create_message(client.service, "PlaceOrder", order=ORDER)
    ours = {
        "order": {
            "Id": 4711,
            "Customer": "Ada & Sons <ltd>",
            "Placed": "2026-11-03T20:15:00Z",
            "Lines": {
                "OrderLine": [
                    {"Sku": "A-1", "Description": "Box", "Quantity": 2, "Price": "19.90", "Gift": True},
                    {"Quantity": -1, "Price": 5, "Gift": False},
                ]
            },
        }
    }
    operation = (await bind("orders.wsdl"))[0]
    request = codec_of(operation).request(Call("POST", body=json.dumps(ours).encode()))
    sent = etree.fromstring(request.body)
    text = etree.tostring(theirs).decode().replace(">true<", ">true<")
    assert body_of(sent) == body_of(etree.fromstring(text))


async def test_zeep_reads_what_we_send(bind: Bind, client: Any) -> None:
    operation = (await bind("orders.wsdl"))[0]
    body = json.dumps({"order": {"Id": "1", "Placed": "2026-11-03T20:15:00Z", "Lines": {"OrderLine": [None]}}}).encode()
    sent = codec_of(operation).request(Call("POST", body=body)).body
    reply = sent.replace(b"n0:PlaceOrder>", b"n0:PlaceOrderResponse>").replace(b"n0:order>", b"n0:PlaceOrderResult>")
    http = SimpleNamespace(status_code=200, content=reply, headers={"Content-Type": "text/xml"}, encoding="utf-8")
    binding = client.service._binding
    found: Any = serialize_object(binding.process_reply(client, binding.get("PlaceOrder"), http))
    assert found["Id"] == 1
    assert found["Placed"] == dt.datetime(2026, 11, 3, 20, 15, tzinfo=dt.UTC)
