"""Header blocks between client and service: ``#headers`` both ways, and fields of the HTTP response."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lxml import etree
from openapi_spec_validator import validate

from bridge.api import BadReply, BindError, Call, HttpReply, InvalidBody, Operation, Reply
from bridge.http import forwarding as gateway_headers
from bridge_soap import Soap
from bridge_soap.message import fields
from tests.bridge_soap.test_wsdl import route
from tests.soap_kit import SOAP11, WSDL_DIR, Bind, bind_wsdl, codec_of

H = "{urn:ledger:headers}"
INFO = '<h:TransactionInfo xmlns:h="urn:ledger:headers"{}><h:id>7</h:id><h:step>1</h:step></h:TransactionInfo>'
SESSION = (
    '<h:Session xmlns:h="urn:ledger:headers" kind="k{}"><h:sessionId>s-1</h:sessionId><h:seconds>1.50</h:seconds>'
    "<h:more><h:tag>a</h:tag><h:flag>1</h:flag></h:more></h:Session>"
)
POSTED = '<posted xmlns="urn:ledger"><entry>1</entry></posted>'


async def post(bind: Bind, **options: Any) -> Operation:
    response = options.pop("response", "json")
    return (await bind("ledger.wsdl", response=response, options={"operation": "post", **options}))[0]


def send(operation: Operation, value: Any) -> bytes:
    body: bytes = codec_of(operation).request(Call("POST", body=json.dumps(value).encode())).body
    return body


def reply(operation: Operation, header: str, body: str = POSTED, call: Call | None = None) -> Reply:
    text = f'<s:Envelope xmlns:s="{SOAP11}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
    return codec_of(operation).reply(call or Call(), HttpReply(200, [("content-type", "text/xml")], text.encode()))


async def test_blocks_from_the_client(bind: Bind) -> None:
    operation = await post(
        bind, pass_headers=["TransactionInfo", "{urn:ledger:headers}Ticket"], headers={"AuthHeader": {"user": "u"}}
    )
    value = {"account": "a", "cents": 1, "#headers": {"TransactionInfo": {"id": "7", "step": [1, 2]}, "Ticket": "<t>"}}
    root = etree.fromstring(send(operation, value))
    header = root.find(f"{{{SOAP11}}}Header")
    assert header is not None
    assert [child.tag for child in header] == [f"{H}AuthHeader", f"{H}TransactionInfo", f"{H}Ticket"]
    assert [child.text for child in header[1]] == ["7", "1", "2"]
    assert header[2].text == "<t>"
    assert b"#headers" not in send(operation, {"account": "a", "cents": 1, "#headers": {}})


@pytest.mark.parametrize(
    ("headers", "faults"),
    [
        (5, {"/#headers": "an object is wanted, not a number"}),
        ({"Ticket": "t"}, {"/#headers/Ticket": "this route passes no such header block; TransactionInfo"}),
        ({"AuthHeader": {}}, {"/#headers/AuthHeader": "it is set by the route"}),
        (
            {"TransactionInfo": {"id": "x", "step": ["y"]}},
            {
                "/#headers/TransactionInfo/id": "'x' is not a whole number from -9223372036854775808 to "
                "9223372036854775807",
                "/#headers/TransactionInfo/step/0": "a whole number from -2147483648 to 2147483647 is wanted, not a "
                "string",
            },
        ),
        ({"TransactionInfo": {"id": 1, "@soap:actor": "x"}}, {}),
    ],
)
async def test_wrong_blocks_are_told_with_the_bodys_faults(bind: Bind, headers: Any, faults: dict[str, str]) -> None:
    options = {"pass_headers": ["TransactionInfo", "AuthHeader"], "headers": {"AuthHeader": {"user": "u"}}}
    if "AuthHeader" not in str(headers):
        options["pass_headers"] = ["TransactionInfo"]
    elif faults:
        with pytest.raises(BindError, match="headers sets this block already, and no reply has it"):
            await post(bind, **options)
        return
    operation = await post(bind, **options)
    with pytest.raises(InvalidBody) as caught:
        send(operation, {"account": 5, "cents": 1, "#headers": headers})
    told = dict(caught.value.errors)
    assert told.pop("/account") == "a string is wanted, not a number"
    assert all(at.startswith("/#headers") for at in told)
    if faults:
        assert told == faults
    assert told


async def test_a_block_that_the_route_sets_and_the_reply_returns(bind: Bind) -> None:
    operation = await post(bind, pass_headers=["TransactionInfo"], headers={"TransactionInfo": {"id": "1"}})
    with pytest.raises(InvalidBody, match="it is set by the route"):
        send(operation, {"account": "a", "cents": 1, "#headers": {"TransactionInfo": {"id": "2"}}})
    assert json.loads(reply(operation, INFO.format("")).content)["#headers"]["TransactionInfo"]["id"] == "7"


async def test_without_the_option_nothing_passes(bind: Bind) -> None:
    operation = await post(bind)
    with pytest.raises(InvalidBody) as caught:
        send(operation, {"account": "a", "cents": 1, "#headers": {}})
    assert dict(caught.value.errors) == {"/#headers": "the schema has no such property here"}
    assert json.loads(reply(operation, INFO.format("")).content) == {"entry": 1}


async def test_blocks_of_the_reply(bind: Bind) -> None:
    operation = await post(bind, pass_headers=["TransactionInfo", "Session"], strict=True)
    info = INFO.format(f' xmlns:s="{SOAP11}" s:mustUnderstand="1" s:actor="urn:x" s:encodingStyle=""')
    call = Call()
    answer = reply(operation, info + '<x xmlns="urn:x"/>', call=call)
    assert json.loads(answer.content) == {"entry": 1, "#headers": {"TransactionInfo": {"id": "7", "step": [1]}}}
    assert call.warnings == []
    assert json.loads(reply(operation, "").content) == {"entry": 1}
    with pytest.raises(BadReply, match="breaks its schema"):
        reply(operation, INFO.replace("7", "seven").format(""))


@pytest.mark.parametrize("options", [{}, {"pass_headers": ["Session"]}])
async def test_unknown_blocks_that_must_be_understood(bind: Bind, options: dict[str, Any]) -> None:
    call = Call()
    block = f'<n:Nonce xmlns:n="urn:n" xmlns:s="{SOAP11}" s:mustUnderstand="1"/>'
    assert json.loads(reply(await post(bind, **options), block * 30, call=call).content) == {"entry": 1}
    assert len(call.warnings) == 20
    assert call.warnings[0] == "the reply's header block Nonce says mustUnderstand; it is ignored"


async def test_a_body_that_is_no_object(bind: Bind) -> None:
    ping = (await bind("ledger.wsdl", options={"operation": "ping", "pass_headers": ["Session", "AuthHeader"]}))[0]
    call = Call()
    assert json.loads(reply(ping, SESSION.format(""), '<pong xmlns="urn:ledger">p</pong>', call).content) == "p"
    assert call.warnings == ["Session of the reply's #headers are left out: its body is no JSON object"]
    assert b":user>u</" in send(ping, {"#text": "p", "#headers": {"AuthHeader": {"user": "u"}}})


async def test_all_operations_of_a_contract(bind: Bind) -> None:
    soap = Soap()
    operations = await bind("ledger.wsdl", soap=soap, options={"pass_headers": ["TransactionInfo"]})
    value = {"account": "a", "cents": 1, "#headers": {"TransactionInfo": {"id": 1}}}
    assert b"TransactionInfo" in send(operations[0], value)
    with pytest.raises(InvalidBody):
        send(operations[1], {"#text": "p", "#headers": {"TransactionInfo": {"id": 1}}})
    assert soap.notes(route("ledger.wsdl")) == (
        "the header blocks AuthHeader, Ticket, old of post, which its binding declares and neither headers nor "
        "pass_headers names",
        "the header block AuthHeader of ping, which its binding declares and neither headers nor pass_headers names",
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pass_headers": ["Sesion"]}, "transform.soap.pass_headers.0: post declares no such header block; it may be "),
        ({"pass_headers": ["old"]}, "pass_headers.0: the header part old names a type where an element is needed"),
        ({"reply_headers": {"X-A": "AuthHeader/user"}}, "reply_headers.X-A: post declares no such header block; it"),
        ({"reply_headers": {"X-A": ""}}, "reply_headers.X-A: post declares no such header block"),
        ({"reply_headers": {"X-A": "Session/id"}}, "X-A: Session has no property 'id'; it has @kind, sessionId, sec"),
        ({"reply_headers": {"X-A": "Session/more"}}, "X-A: Session/more is an object, and a header has one value"),
        ({"reply_headers": {"X-A": "Session/more/tag"}}, "X-A: Session/more/tag is an array, and a header has one"),
        ({"reply_headers": {"X-A": "Session"}}, "X-A: Session is an object"),
        ({"reply_headers": {"X A": "Session/@kind"}}, "reply_headers.X A: that can't be the name of a header"),
        ({"reply_headers": {"Content-Length": "Session/@kind"}}, "Content-Length: that header is the gateway's to set"),
        ({"reply_headers": {"Transfer-Encoding": "Session/@kind"}}, "that header is the gateway's to set"),
        ({"reply_headers": {"Proxy-X": "Session/@kind"}}, "that header is the gateway's to set"),
        ({"reply_headers": {"X-Trace-ID": "Session/@kind"}}, "that header is the gateway's to set"),
    ],
)
async def test_wrong_names_fail_at_bind(bind: Bind, options: dict[str, Any], told: str) -> None:
    with pytest.raises(BindError) as caught:
        await post(bind, **options)
    assert told in str(caught.value)


async def test_a_wrong_name_is_told_once_for_all_operations(bind: Bind) -> None:
    with pytest.raises(BindError) as caught:
        await bind("ledger.wsdl", options={"headers": {"My.Block/x": {"a": "1"}, "Other": {"a": "1"}}})
    assert [fault.path for fault in caught.value.faults] == [("transform", "soap", "headers", "My.Block/x")]


async def test_names_that_no_operation_declares(bind: Bind) -> None:
    with pytest.raises(BindError, match="no operation declares such a header block"):
        await bind("ledger.wsdl", options={"pass_headers": ["Nope"]})


def test_what_the_gateway_would_drop_is_refused() -> None:
    for name in gateway_headers.HOP_BY_HOP | gateway_headers.FRAMING | gateway_headers._REPLY_ENDS:
        assert not fields.may_set(name)


@pytest.mark.parametrize("response", ["json", "xml", "passthrough"])
async def test_fields_of_the_response(bind: Bind, response: str) -> None:
    paths = {
        "X-Session-Id": "Session/sessionId",
        "X-Kind": "Session/@kind",
        "X-Seconds": "Session/seconds",
        "X-Flag": "Session/more/flag",
        "X-Step": "TransactionInfo/id",
    }
    for numbers in ("exact", "native"):
        operation = await post(bind, reply_headers=paths, response=response, numbers=numbers)
        answer = reply(operation, SESSION.format(""))
        found = dict(answer.headers)
        assert found.pop("content-type")
        assert found == {"x-session-id": "s-1", "x-kind": "k", "x-seconds": "1.50", "x-flag": "true"}
        assert b"#headers" not in answer.content


@pytest.mark.parametrize("evil", ["&#13;&#10;Set-Cookie: a=b", "&#10;x", "\u2028", "\u0100", "x" * 9000, "&#9;a"])
async def test_no_value_becomes_another_field(bind: Bind, evil: str) -> None:
    operation = await post(bind, reply_headers={"X-Kind": "Session/sessionId"})
    call = Call()
    answer = reply(operation, SESSION.format("").replace("s-1", f"s{evil}x"), call=call)
    assert [name for name, _ in answer.headers] == ["content-type"]
    assert call.warnings == ["the header x-kind is left out: HTTP can't carry what the reply says"]


async def test_the_document_tells_of_blocks(bind: Bind) -> None:
    operation = await post(
        bind, pass_headers=["TransactionInfo", "Session"], reply_headers={"X-Session-Id": "Session/sessionId"}
    )
    doc = operation.describe()
    components = {"schemas": doc.schemas}
    validate(
        {
            "openapi": "3.1.0",
            "info": {"title": "t", "version": "1"},
            "paths": {"/x": {"post": doc.operation}},
            "components": components,
        }
    )
    body = doc.operation["requestBody"]["content"]["application/json"]
    judge = Draft202012Validator({**body["schema"], "components": components})
    judge.validate(body["example"])
    assert set(body["example"]["#headers"]) == {"TransactionInfo"}
    assert b"TransactionInfo" in send(operation, body["example"])
    answer = doc.operation["responses"]["200"]
    assert answer["headers"] == {"x-session-id": {"schema": {"type": "string"}}}
    judge = Draft202012Validator({**answer["content"]["application/json"]["schema"], "components": components})
    judge.validate(json.loads(reply(operation, INFO.format("") + SESSION.format("")).content))
    assert not judge.is_valid({"entry": 1, "#headers": {"Ticket": "t"}})


async def test_people_declare_a_block_in_the_inputs_message() -> None:
    soap = Soap()
    await bind_wsdl(WSDL_DIR, "people/PeopleService.wsdl", soap=soap)
    assert soap.notes(route("people/PeopleService.wsdl")) == (
        "the header block session of notify, which its binding declares and neither headers nor pass_headers names",
    )
