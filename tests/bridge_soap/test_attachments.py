"""Messages of several MIME parts: SOAP with Attachments both ways, MTOM in replies."""

from __future__ import annotations

import base64
import email
import email.policy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lxml import etree

from bridge.api import BadReply, Call, HttpCodec, HttpReply, InvalidBody, Operation, RequestError, XmlError
from bridge_soap.message.multipart import BodyPart, join, split
from tests.soap_kit import Bind, codec_of, envelope

PNG = b"\x89PNG\r\n\x1a\n\x00--\r\n\r\n" + bytes(range(256))


def b64(body: bytes) -> str:
    return base64.b64encode(body).decode()


@pytest.fixture
async def scans(bind: Bind) -> dict[str, Operation]:
    return {each.name: each for each in await bind("scans.wsdl") if each.method == "POST"}


def answer(codec: HttpCodec, root: bytes, *parts: BodyPart, warnings: list[str] | None = None) -> Any:
    kind, body = join(root, "text/xml; charset=utf-8", parts, "1f")
    call = Call()
    reply = codec.reply(call, HttpReply(200, [("content-type", kind)], body))
    if warnings is not None:
        warnings += call.warnings
    else:
        assert not call.warnings
    return json.loads(reply.content)


def test_attachments_go_beside_the_envelope(scans: dict[str, Operation]) -> None:
    """As Python's own parser of mail reads what is sent."""
    value = {
        "ballot": 7,
        "#attachments": {"front": b64(PNG), "back": {"@contentType": "image/gif", "#text": b64(b"\r\n--\r\n")}},
    }
    request = codec_of(scans["store"]).request(Call("POST", body=json.dumps(value).encode()))
    kind = dict(request.headers)["content-type"]
    assert kind.startswith('multipart/related; type="text/xml"; start="<envelope@bridge>"; boundary="')
    assert ("soapaction", '"urn:store"') in request.headers
    message = email.message_from_bytes(
        b"content-type: " + kind.encode() + b"\r\n\r\n" + request.body, policy=email.policy.HTTP
    )
    root, front, back = message.iter_parts()
    assert root.get_content_type() == "text/xml"
    assert etree.fromstring(root.get_content().encode())[0][0].findtext("{urn:scans}ballot") == "7"
    assert (front["content-type"], back["content-type"]) == ("image/png", "image/gif")
    assert front["content-id"].startswith("<front=")
    # That parser folds line ends, ours must not.
    _, (first, second) = split(request.body, kind)
    assert (first.body, second.body) == (PNG, b"\r\n--\r\n")


@pytest.mark.parametrize(
    ("attachments", "faults"),
    [
        ({}, {"/#attachments/front": "it is required", "/#attachments/back": "it is required"}),
        ([], {"/#attachments": "an object is wanted, not an array", "/#attachments/front": "it is required",
              "/#attachments/back": "it is required"}),
        ({"front": "?", "back": 5, "x": ""}, {
            "/#attachments/x": "the binding declares no such attachment",
            "/#attachments/front": "it is not base64",
            "/#attachments/back": "base64 is wanted as a string, not a number",
        }),
        ({"front": {"@contentType": "a/b\r\nx: y", "#text": ""}, "back": {"y/z": 1}}, {
            "/#attachments/front/@contentType": "a media type such as image/png is wanted",
            "/#attachments/back/y~1z": "an attachment has no such property",
            "/#attachments/back/#text": "it is required",
        }),
    ],
)  # fmt: skip
def test_every_fault_is_told(scans: dict[str, Operation], attachments: Any, faults: dict[str, str]) -> None:
    body = json.dumps({"ballot": "x", "#attachments": attachments}).encode()
    with pytest.raises(InvalidBody) as caught:
        codec_of(scans["store"]).request(Call("POST", body=body))
    told = dict(caught.value.errors)
    assert told.pop("/ballot").startswith("a whole number")
    assert told == faults


def test_attachments_come_back(scans: dict[str, Operation]) -> None:
    root = envelope('<stored xmlns="urn:scans"><bytes>5</bytes></stored>')
    receipt = {"receipt": {"@contentType": "text/plain", "#text": b64(b"ok")}}
    named = BodyPart("receipt=1@x", "text/plain", b"ok")
    codec = codec_of(scans["store"])
    assert answer(codec, root, named) == {"bytes": 5, "#attachments": receipt}
    unnamed = BodyPart("whatever", "text/plain", b"ok")
    assert answer(codec, root, unnamed) == {"bytes": 5, "#attachments": receipt}
    warnings: list[str] = []
    assert answer(codec, root, BodyPart("?", "a/b", b""), named, warnings=warnings) == {
        "bytes": 5,
        "#attachments": receipt,
    }
    assert warnings == ["1 attachment left out, since the binding does not declare more"]
    body = envelope('<t:fetchResponse xmlns:t="urn:scans"><pages>1</pages></t:fetchResponse>')
    assert answer(codec_of(scans["fetch"]), body, BodyPart("scan=1@x", "image/tiff", PNG)) == {
        "pages": 1,
        "#attachments": {"scan": {"@contentType": "image/tiff", "#text": b64(PNG)}},
    }


def test_mtom(scans: dict[str, Operation]) -> None:
    """What ``xop:Include`` refers to stands in its place."""
    include = '<x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:thumb%40x"/>'
    root = envelope(f'<stored xmlns="urn:scans"><bytes>5</bytes><thumb>{include}</thumb></stored>')
    codec = codec_of(scans["store"])
    call = Call()
    kind, body = join(root, "text/xml", [BodyPart("thumb@x", "image/png", PNG)], "1f")
    reply = codec.reply(call, HttpReply(200, [("content-type", kind)], body))
    assert json.loads(reply.content) == {"bytes": 5, "thumb": b64(PNG)}
    assert call.warnings == ["the attachments receipt are missing"]
    with pytest.raises(BadReply, match="refers to an attachment that is not in it"):
        answer(codec, root, BodyPart("other@x", "image/png", PNG))


def test_an_attachment_that_is_used_again_and_again(scans: dict[str, Operation]) -> None:
    include = '<thumb><x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:a"/></thumb>'
    root = envelope(f'<stored xmlns="urn:scans"><bytes>5</bytes>{include * 100}</stored>')
    with pytest.raises(BadReply, match="the same attachments too often"):
        answer(codec_of(scans["store"]), root, BodyPart("a", "image/png", b"x" * 200_000))


@pytest.mark.parametrize("response", ["xml", "passthrough"])
async def test_answers_as_xml(bind: Bind, response: str) -> None:
    operations = await bind("scans.wsdl", response=response, options={"operation": "fetch"})
    kind, body = join(
        envelope('<t:fetchResponse xmlns:t="urn:scans"><pages>1</pages></t:fetchResponse>'), "text/xml", [], "1f"
    )
    reply = codec_of(operations[0]).reply(Call(), HttpReply(200, [("content-type", kind)], body))
    assert b"<pages>1</pages>" in reply.content
    assert (reply.body == body) is (response == "passthrough")


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("multipart/related", b"--a\r\n\r\n--a--", "without a boundary"),
        ("multipart/related; boundary=a", b"nothing", "without parts"),
        ("multipart/related; boundary=a", b"--a\r\n\r\n" * 1002, "more than 1000 parts"),
        ("multipart/related; boundary=a", b"--a\r\nContent-Transfer-Encoding: base64\r\n\r\n*\r\n--a--", "XML"),
    ],
)
def test_no_message_at_all(scans: dict[str, Operation], kind: str, body: bytes, told: str) -> None:
    with pytest.raises(BadReply, match=told):
        codec_of(scans["store"]).reply(Call(), HttpReply(200, [("content-type", kind)], body))


def test_what_others_send() -> None:
    """Bare line feeds, a preamble, folded fields, no start, transfer encodings."""
    body = (
        b"preamble\n--b d\nContent-Type: text/xml;\n charset=utf-8\n\n<a/>\n--b d\nContent-ID: <x>\n"
        b"Content-Transfer-Encoding: BASE64\n\nQUJD\n--b d\n"
        b"content-transfer-encoding: quoted-printable\n\na=3Db\n--b d--\n"
    )
    root, (first, second) = split(body, 'Multipart/Related; Boundary="b d"')
    assert (root.content_type, root.body) == ("text/xml; charset=utf-8", b"<a/>")
    assert (first.id, first.body, second.body) == ("x", b"ABC", b"a=b")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4), st.binary(max_size=40))
def test_any_bytes_survive(bodies: list[bytes], root: bytes) -> None:
    parts = [BodyPart(f"p{number}", "a/b", body) for number, body in enumerate(bodies)]
    kind, body = join(root, "text/xml", parts, "1f")
    found, rest = split(body, kind)
    assert found.body == root
    assert rest == parts


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"--a", b"\r\n", b"\n", b"--", b"Content-ID: <x>", b":", b"x", b"<a/>"]), max_size=30))
def test_any_body_is_parts_or_a_problem(pieces: list[bytes]) -> None:
    try:
        root, _ = split(b"".join(pieces), "multipart/related; boundary=a")
    except XmlError:
        return
    assert isinstance(root.body, bytes)


async def test_what_is_described_is_what_is_meant(scans: dict[str, Operation]) -> None:
    doc = scans["store"].describe()
    media = doc.operation["requestBody"]["content"]["application/json"]
    judge = Draft202012Validator({**media["schema"], "components": {"schemas": doc.schemas}})
    judge.validate(media["example"])
    assert codec_of(scans["store"]).request(Call("POST", body=json.dumps(media["example"]).encode())).body
    assert not judge.is_valid({"ballot": 1, "#attachments": {"front": "AAAA", "back": "AAAA", "x": "AAAA"}})
    answered = doc.operation["responses"]["200"]["content"]["application/json"]["schema"]
    value = {"bytes": 5, "#attachments": {"receipt": {"@contentType": "text/plain", "#text": "b2s="}}}
    Draft202012Validator({**answered, "components": {"schemas": doc.schemas}}).validate(value)


def test_a_fault_in_a_multipart_answer(scans: dict[str, Operation]) -> None:
    root = envelope("<s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring></s:Fault>")
    with pytest.raises(RequestError) as caught:
        answer(codec_of(scans["store"]), root)
    assert caught.value.status == 400


# --- beside a simple body ---

BARE = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:t="urn:b" targetNamespace="urn:b"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:mime="http://schemas.xmlsoap.org/wsdl/mime/">
  <types><xs:schema targetNamespace="urn:b"><xs:element name="id" type="xs:int"/></xs:schema></types>
  <message name="m"><part name="id" element="t:id"/><part name="file" type="xs:base64Binary"/></message>
  <portType name="p"><operation name="put"><input message="t:m"/><output message="t:m"/></operation></portType>
  <binding name="b" type="t:p"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="put"><soap:operation soapAction="put"/>
      <input><mime:multipartRelated><mime:part><soap:body parts="id" use="literal"/></mime:part>
        <mime:part><mime:content part="file" type="image/png"/></mime:part></mime:multipartRelated></input>
      <output><mime:multipartRelated><mime:part><soap:body parts="id" use="literal"/></mime:part>
        <mime:part><mime:content part="file" type="image/png"/></mime:part></mime:multipartRelated></output>
    </operation></binding>
  <service name="s"><port name="p" binding="t:b"><soap:address location="http://b.example/"/></port></service>
</definitions>"""


@pytest.fixture
async def bare(bind: Bind, tmp_path: Path) -> Operation:
    (tmp_path / "bare.wsdl").write_text(BARE)
    return (await bind("bare.wsdl", folder=tmp_path, options={"operation": "put"}))[0]


def test_an_attachment_beside_a_simple_body_is_accepted_as_described(bare: Operation) -> None:
    document = bare.describe()
    media = document.operation["requestBody"]["content"]["application/json"]
    assert media["example"] == {"#text": 1, "#attachments": {"file": {"#text": "AAAA"}}}
    schema = Draft202012Validator(media["schema"] | {"components": {"schemas": document.schemas}})
    value = {"#text": 7, "#attachments": {"file": b64(PNG)}}
    for body in (value, media["example"]):
        assert schema.is_valid(body)
        sent = codec_of(bare).request(Call("POST", body=json.dumps(body).encode()))
        root, (part,) = split(sent.body, dict(sent.headers)["content-type"])
        assert f">{body['#text']}</" in root.body.decode()
        assert part.body == (PNG if body is value else bytes(3))
    answered = answer(codec_of(bare), envelope('<id xmlns="urn:b">7</id>'), BodyPart("file=1@x", "image/png", PNG))
    assert answered == {"#text": 7, "#attachments": {"file": {"@contentType": "image/png", "#text": b64(PNG)}}}
    response = document.operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert Draft202012Validator(response | {"components": {"schemas": document.schemas}}).is_valid(answered)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"#text": "x", "#attachments": {"file": ""}}, {"/#text"}),
        ({"#attachments": {"file": ""}}, {"/#text"}),
        ({"#text": 7, "x": 1, "#attachments": {}}, {"/x", "/#attachments/file"}),
        (7, {"/#attachments/file"}),
    ],
)
def test_faults_of_a_simple_body_with_attachments(bare: Operation, body: Any, pointers: set[str]) -> None:
    with pytest.raises(InvalidBody) as caught:
        codec_of(bare).request(Call("POST", body=json.dumps(body).encode()))
    assert {pointer for pointer, _ in caught.value.errors} == pointers


# --- line ends ---


LF_ONLY, NO_LINE, NO_END = "end with bare line feeds", "does not start a line", "has no last boundary"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body.replace(b"\r\n", b"\n"), [LF_ONLY]),
        (lambda body: body.replace(b"\r\n", b"\n").removeprefix(b"\n"), [LF_ONLY]),
        (lambda body: b"\n" + body, [LF_ONLY]),
        (lambda body: b"A message of several parts.\r\n" + body, []),
        (lambda body: b"A message of several parts." + body, [NO_LINE]),
        (lambda body: b"A message of several parts.\n" + body.replace(b"\r\n", b"\n"), [LF_ONLY]),
        (lambda body: body.replace(b"\r\n--part", b"\n--part"), [LF_ONLY]),
        (
            lambda body: body.replace(b"</s:Envelope>\r\n", b"</s:Envelope>").replace(b"\r\nok\r\n--", b"\r\nok--"),
            [NO_LINE],
        ),
        (lambda body: body.partition(b"\r\n--part-1f--")[0], [NO_END]),
        (lambda body: body.replace(b"--part-1f--", b"--part-1f"), [NO_END]),
        (lambda body: body.replace(b"--part-1f\r\n", b"--part-1f \t\r\n"), []),
        (lambda body: body.replace(b"--part-1f", b"--other"), ["another boundary than its content type names"]),
        (lambda body: body.replace(b"Content-ID: <envelope@bridge>", b"X: y"), []),
        (lambda body: body.replace(b"envelope@bridge", b"first@bridge"), ["none of its parts is the one that start"]),
    ],
    ids=[
        "LF",
        "LF, no preamble",
        "a line first",
        "preamble",
        "preamble without a line end",
        "LF, preamble",
        "mixed",
        "no line ends",
        "no end",
        "an end like others",
        "spaces",
        "another boundary",
        "no id",
        "another start",
    ],
)
async def test_parts_are_found_whatever_ends_their_lines(
    scans: dict[str, Operation], bind: Bind, change: Callable[[bytes], bytes], told: list[str]
) -> None:
    root = envelope('<stored xmlns="urn:scans"><bytes>5</bytes></stored>')
    kind, body = join(root, "text/xml; charset=utf-8", [BodyPart("receipt=1@x", "text/plain", b"ok")], "1f")
    call, inbound = Call(), HttpReply(200, [("content-type", kind)], change(body))
    reply = codec_of(scans["store"]).reply(call, inbound)
    receipt = {"@contentType": "text/plain", "#text": b64(b"ok")}
    assert json.loads(reply.content) == {"bytes": 5, "#attachments": {"receipt": receipt}}
    assert [word in warning for word, warning in zip(told, call.warnings, strict=True)] == [True] * len(told)
    strict = codec_of((await bind("scans.wsdl", options={"operation": "store", "strict": True}))[0])
    if told:
        with pytest.raises(BadReply, match=told[0]):
            strict.reply(Call(), inbound)
    else:
        assert strict.reply(Call(), inbound).content == reply.content


def test_a_part_keeps_its_own_line_ends() -> None:
    kind = 'multipart/related; boundary="b"'
    for end in (b"\r\n", b"\n"):
        for content in (b"", b"a\n", b"a\r", b"\r\n--c\r\n--bb\r\n"):
            body = end.join((b"--b", b"", b"root", b"--b", b"", content, b"--b--", b"--b", b"", b"epilogue"))
            root, parts = split(body, kind)
            assert (root.body, [part.body for part in parts]) == (b"root", [content])
