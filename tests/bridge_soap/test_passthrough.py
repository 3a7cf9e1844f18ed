"""``response: passthrough``: JSON in, and the service's message as it came, Faults with their statuses, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.api import (
    BadReply,
    BindError,
    Call,
    HttpCodec,
    HttpReply,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamFault,
)
from bridge_soap.message.multipart import BodyPart, join
from tests.soap_kit import WSDL, Bind, codec_of, envelope

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
XML = ("content-type", "text/xml; charset=utf-8")
TYPE12 = ("content-type", 'application/soap+xml; charset=utf-8; action="urn:x"')
ORDERS = Path(__file__).parent.parent / "live" / "php"
FAULT = envelope(
    "<s:Fault><faultcode>s:Client</faultcode><faultstring>No.</faultstring><detail><stackTrace>at x</stackTrace>"
    "</detail></s:Fault>"
)
LATIN1 = FAULT.decode().replace("No.", "Nö.").encode("iso-8859-1")
FAULT12 = envelope(
    "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text xml:lang='en'>Away.</s:Text></s:Reason>"
    "</s:Fault>",
    SOAP12,
)
ANSWER = envelope('<checkVatResponse xmlns="urn:revenue:vat:types"><countryCode>IE</countryCode></checkVatResponse>')


@pytest.fixture
async def codec(bind: Bind) -> HttpCodec:
    return codec_of((await bind("vat.wsdl", response="passthrough", options={"operation": "checkVat"}))[0])


@pytest.mark.parametrize(
    ("body", "kind", "status", "cause"),
    [
        (FAULT, XML, 500, "SOAP fault Client: No."),
        (FAULT, XML, 400, "SOAP fault Client: No."),
        (FAULT, XML, 503, "SOAP fault Client: No."),
        (FAULT, ("content-type", "text/html"), 500, "SOAP fault Client: No."),
        (FAULT12, TYPE12, 500, "SOAP fault Receiver: Away."),
        (LATIN1, ("content-type", "text/xml; charset=iso-8859-1"), 500, "SOAP fault Client: Nö."),
    ],
)
async def test_a_fault_as_it_came(
    codec: HttpCodec, body: bytes, kind: tuple[str, str], status: int, cause: str
) -> None:
    call = Call("POST")
    inbound = HttpReply(status, [kind, ("retry-after", "7"), ("set-cookie", "a=b"), ("x-other", "1")], body)
    reply = codec.reply(call, inbound)
    assert (reply.status, reply.headers, reply.body) == (status, [kind, ("retry-after", "7")], body)
    assert call.fault is not None
    assert call.fault.cause == cause
    assert call.fault.status == (400 if "Client" in cause else 502)
    assert call.warnings == []


async def test_a_fault_with_status_200_is_told_in_the_log(codec: HttpCodec) -> None:
    call = Call("POST")
    assert codec.reply(call, HttpReply(200, [XML], FAULT)).status == 200
    assert call.warnings == ["the service sent a Fault with status 200: SOAP fault Client: No."]


@pytest.mark.parametrize("status", [200, 202, 203])
async def test_an_answer_keeps_its_status(codec: HttpCodec, status: int) -> None:
    call = Call("POST")
    reply = codec.reply(call, HttpReply(status, [TYPE12, ("x-other", "1")], ANSWER))
    assert (reply.status, reply.headers, reply.body) == (status, [TYPE12], ANSWER)
    assert call.fault is None


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"<html><body>Traceback</body></html>", UpstreamError),
        (503, b"", UpstreamError),
        (404, b"not here", UpstreamError),
        (500, ANSWER, UpstreamError),
        (302, FAULT, UpstreamFault),
        (200, b"<html/>", BadReply),
        (200, b"", BadReply),
    ],
)
async def test_what_is_no_answer_stays_a_problem(
    codec: HttpCodec, status: int, body: bytes, error: type[UpstreamError]
) -> None:
    with pytest.raises(error) as caught:
        codec.reply(Call("POST"), HttpReply(status, [XML, ("retry-after", "7")], body))
    assert type(caught.value) is error
    assert "Traceback" not in str(caught.value)


async def test_one_way_operations_answer_what_the_service_answers(bind: Bind) -> None:
    operations = await bind("orders.wsdl", folder=ORDERS, response="passthrough", options={"operation": "remind"})
    codec = codec_of(operations[0])
    for status in (200, 202, 204):
        reply = codec.reply(Call("POST"), HttpReply(status, [XML]))
        assert (reply.status, reply.headers, reply.body) == (status, [], b"")
    message = envelope("")
    assert codec.reply(Call("POST"), HttpReply(200, [XML], message)).body == message
    assert codec.reply(Call("POST"), HttpReply(500, [XML], FAULT)).status == 500
    told = Call("POST")
    assert codec.reply(told, HttpReply(200, [XML], b"<html/>")).body == b""
    assert len(told.warnings) == 1


@pytest.mark.parametrize("response", ["json", "xml", "passthrough"])
async def test_an_empty_answer_where_none_is_declared(bind: Bind, tmp_path: Path, response: str) -> None:
    wsdl = (
        WSDL.format(schemas="", root="r")
        .replace('<part name="body" element="t:r"/></message>', '</message><message name="n"/>')
        .replace('<input message="w:m"/><output message="w:m"/>', '<input message="w:n"/><output message="w:n"/>')
    )
    (tmp_path / "empty.wsdl").write_text(wsdl)
    operations = await bind("empty.wsdl", folder=tmp_path, response=response, options={"operation": "echo"})
    reply = codec_of(operations[0]).reply(Call("POST"), HttpReply(200, [XML]))
    assert (reply.status, reply.body) == (200, b"{}" if response == "json" else b"")
    assert reply.headers == ([("content-type", "application/json")] if response == "json" else [])


async def test_parts_beside_the_envelope(bind: Bind) -> None:
    codec = codec_of((await bind("scans.wsdl", response="passthrough", options={"operation": "fetch"}))[0])
    include = '<x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:%s"/>'
    for root in (
        FAULT,
        envelope(f'<t:fetchResponse xmlns:t="urn:scans"><pages>{include % "gone"}</pages></t:fetchResponse>'),
    ):
        kind, body = join(root, "text/xml", [BodyPart("a@x", "image/png", b"\x89PNG")], "1f")
        status = 500 if root is FAULT else 200
        reply = codec.reply(Call("POST"), HttpReply(status, [("content-type", kind)], body))
        assert (reply.status, reply.headers, reply.body) == (status, [("content-type", kind)], body)


async def test_references_are_not_followed(bind: Bind) -> None:
    """A graph that is no tree is 502 as JSON; nothing needs to be a tree here."""
    options = {"operation": "names", "port": "Old"}
    ring = envelope('<x><return href="#1"/></x><m id="1"><i href="#1"/></m>')
    with pytest.raises(BadReply):
        codec_of((await bind("encoded.wsdl", options=options))[0]).reply(Call("POST"), HttpReply(200, [XML], ring))
    codec = codec_of((await bind("encoded.wsdl", response="passthrough", options=options))[0])
    assert codec.reply(Call("POST"), HttpReply(200, [XML], ring)).body == ring


async def test_strict_routes_judge_the_message_and_still_tell_of_a_fault(bind: Bind) -> None:
    options = {"operation": "checkVat", "strict": True}
    codec = codec_of((await bind("vat.wsdl", response="passthrough", options=options))[0])
    odd = FAULT.replace(b"faultcode", b"s:faultcode")
    assert codec.reply(Call("POST"), HttpReply(500, [XML], odd)).body == odd
    broken = FAULT.replace(b"No.", b"&nbsp;")
    with pytest.raises(UpstreamError):
        codec.reply(Call("POST"), HttpReply(500, [XML], broken))


async def test_a_message_that_was_repaired_to_be_read_goes_as_it_came(codec: HttpCodec) -> None:
    call, broken = Call("POST"), FAULT.replace(b"No.", b"&nbsp;")
    assert codec.reply(call, HttpReply(500, [XML], broken)).body == broken
    assert len(call.warnings) == 1


async def test_statuses_can_not_be_mapped(bind: Bind) -> None:
    with pytest.raises(BindError) as caught:
        await bind("vat.wsdl", response="passthrough", options={"operation": "checkVat", "faults": {"x": 404}})
    (fault,) = caught.value.faults
    assert fault.path == ("transform", "soap", "faults")
    assert "passthrough gives them as they came" in fault.reason


@pytest.mark.parametrize("response", ["json", "passthrough"])
@pytest.mark.parametrize("kind", ["text/xml; charset=utf-8", "application/soap+xml", "multipart/related; boundary=x"])
async def test_an_envelope_is_refused_with_the_way_it_takes(bind: Bind, response: str, kind: str) -> None:
    codec = codec_of((await bind("vat.wsdl", response=response, options={"operation": "checkVat"}))[0])
    with pytest.raises(UnsupportedMediaType, match=r"\{request: passthrough, response: passthrough\}") as caught:
        codec.request(Call("POST", body=ANSWER, headers=[("content-type", kind), ("soapaction", '""')]))
    assert caught.value.headers == (("accept", "application/json"),)


@pytest.mark.parametrize(
    ("port", "kind", "faults"),
    [("Orders11", "text/xml", {"500"}), ("Orders12", "application/soap+xml", {"400", "500"})],
)
async def test_the_document(bind: Bind, port: str, kind: str, faults: set[str]) -> None:
    options = {"operation": "cancel", "port": port}
    operations = await bind("orders.wsdl", folder=ORDERS, response="passthrough", options=options)
    responses = operations[0].describe().operation["responses"]
    assert set(responses) == {"200", *faults}
    assert list(responses["200"]["content"]) == [kind]
    for status in faults:
        assert list(responses[status]["content"]) == [kind, "application/problem+json"]
        assert "noSuchOrder" in responses[status]["description"]
    told = json.dumps(
        (await bind("scans.wsdl", response="passthrough", options={"operation": "fetch"}))[0].describe().operation
    )
    assert "multipart/related" in told
