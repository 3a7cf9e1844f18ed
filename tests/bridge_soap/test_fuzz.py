"""Mutated envelopes: always JSON or a problem, never anything else, and never much memory for few bytes."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.api import Call, HttpReply, RequestError
from tests.soap_kit import SOAP11, WSDL_DIR, bind_wsdl, codec_of, envelope

ORDER = """<PlaceOrderResponse xmlns="http://tempuri.org/" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
<PlaceOrderResult><Id>1</Id><Customer i:nil="true"/><Placed>2026-11-03T20:15:00</Placed><Lines>
<OrderLine><Sku>a</Sku><Quantity>1</Quantity><Price>1.0</Price><Gift>true</Gift></OrderLine>
<OrderLine i:type="OrderLine" x="1"/></Lines></PlaceOrderResult></PlaceOrderResponse>"""
FAULT = """<s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring><detail><a/></detail></s:Fault>"""
SEEDS = [envelope(ORDER), envelope(FAULT), envelope(ORDER).decode().encode("utf-16")]
PIECES = [
    *(
        b"<",
        b">",
        b"/>",
        b"</",
        b"&",
        b"&#0;",
        b"&#x10FFFF;",
        b"\x00",
        b"\xff",
        b"<!--",
        b"-->",
        b"<?x?>",
        b"<![CDATA[",
    ),
    *(b'i:nil="1"', b'i:type="q:x"', b"]]>", b"<Id>", b"</Id>", b"99999999999999999999", b"xmlns=''"),
    b'<!DOCTYPE a [<!ENTITY b "c">]>',
]


@pytest.fixture(scope="module", params=[False, True], ids=["lenient", "strict"])
def codec(request: pytest.FixtureRequest) -> object:
    options = {"operation": "PlaceOrder", "strict": request.param}
    return codec_of(asyncio.run(bind_wsdl(WSDL_DIR, "orders.wsdl", options=options))[0])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    body = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(body))), draw(st.integers(0, 30))
        what = draw(st.sampled_from([b"", *PIECES]) | st.binary(max_size=4))
        kind = draw(st.sampled_from(["insert", "cut", "copy"]))
        if kind == "insert":
            body = body[:at] + what + body[at:]
        elif kind == "cut":
            body = body[:at] + what + body[at + size :]
        else:
            body = body[: at + size] + body[at:]
    return body


@settings(max_examples=300, deadline=None)
@given(body=mutated(), status=st.sampled_from([200, 202, 302, 400, 500]))
@example(body=f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><s:Fault/></s:Body></s:Envelope>'.encode(), status=200)
@example(body=f'<s:Envelope xmlns:s="{SOAP11}"><s:Body>text</s:Body></s:Envelope>'.encode(), status=200)
def test_replies_end_as_json_or_a_problem(codec: object, body: bytes, status: int) -> None:
    call, told = Call(), None
    try:
        reply = codec.reply(call, HttpReply(status, [("content-type", "text/xml")], body))  # type: ignore[attr-defined]
    except RequestError as error:
        told = error
    else:
        json.loads(reply.body)
        assert len(reply.body) < 4 * len(body) + 200
    if told is not None:
        assert told.status in (400, 502)
        json.dumps(told.members)
        assert "Traceback" not in told.detail
    assert len(call.warnings) <= 20


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "order",
                        "Id",
                        "Lines",
                        "OrderLine",
                        "Sku",
                        "@xsi:type",
                        "@element",
                        "#nil",
                        "#text",
                        "#items",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_bodies_end_as_an_envelope_or_a_problem(codec: object, value: object) -> None:
    call, told = Call("POST", body=json.dumps(value).encode()), None
    try:
        request = codec.request(call)  # type: ignore[attr-defined]
    except RequestError as error:
        told = error
    else:
        assert request.body.startswith(b"<?xml")
    if told is not None:
        assert told.status == 400
        assert all(pointer == "" or pointer[0] == "/" for pointer, _ in getattr(told, "errors", ()))
