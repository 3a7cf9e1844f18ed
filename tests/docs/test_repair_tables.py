"""Replies that are not well-formed or break their schema: each row of docs/xml.md and docs/soap.md is tried."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from bridge.api import BadReply, Call, HttpCodec, HttpReply
from bridge.testing import bound
from bridge_xml import Xml
from tests.docs.tables import table
from tests.soap_kit import Echo, codec_of, envelope, make_echo

XML_ROWS = table("docs/xml.md", "What is repaired")
SOAP_ROWS = table("docs/soap.md", "Replies")

DECLARED = '<?xml version="1.0" encoding="{}"?>'

#: A row's first cell: documents that it speaks of, with their content type and the text that is read. ``{doc:x}``
#: stands for a document with the text x.
Example = tuple[bytes | str, str, str]
REPAIRS: dict[str, list[Example]] = {
    "characters that XML 1.0 forbids, as they are or as references (`&#x1E;`, `&#0;`)": [
        ("[&#x1E;|&#0;]", "", "\ufffd|\ufffd"),
        ("[\x1e|\x00]", "", "\ufffd|\ufffd"),
        ("[&#xD83D;&#xDE00;]", "", "😀"),
    ],
    "HTML's names of characters (`&nbsp;`), and `&` that begins no reference": [
        ("[a&nbsp;b &eacute; R&D & x]", "", "a\u00a0b é R&D & x"),
    ],
    "gzip without a `Content-Encoding`": [("gzip[é]", "", "é")],
    "blank lines, a byte order mark or a script's message before the XML declaration; control characters behind the "
    "document": [
        (f"\r\n\n{DECLARED.format('utf-8')}[é]", "", "é"),
        (f"\n\ufeff{DECLARED.format('utf-8')}[é]", "", "é"),
        (f"<b>Notice</b>: Undefined index\n{DECLARED.format('utf-8')}[é]", "", "é"),
        ("[é]\0\x1a", "", "é"),
    ],
    "an encoding that is named and not used, by the declaration or by the content type's `charset`": [
        (f"{DECLARED.format('utf-16')}[é]", "", "é"),
        ("[é]", "utf-16", "é"),
        (f"{DECLARED.format('iso-8859-1')}[é€]", "", "é€"),
        (f"{DECLARED.format('utf-8')}[é“]".encode("cp1252"), "", "é“"),
    ],
    "a declaration that is not well-formed": [("<?xml version='1.0' encoding=UTF-8?>[é]", "", "é")],
}


def test_both_pages_have_the_same_first_rows() -> None:
    assert [row[0] for row in XML_ROWS] == list(REPAIRS)
    common = [[cell.replace("an XML declaration that", "a declaration that") for cell in row] for row in SOAP_ROWS]
    assert common[: len(XML_ROWS)] == XML_ROWS


@pytest.fixture(scope="module")
def soap(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Echo]:
    """By `strict`."""
    content = '<xs:sequence><xs:element name="a" type="xs:string"/>'
    content += '<xs:element name="l" type="xs:int" minOccurs="0" maxOccurs="9"/></xs:sequence>'
    schema = f'<xs:element name="r"><xs:complexType>{content}</xs:complexType></xs:element>'
    folder = tmp_path_factory.mktemp("soap")
    return {strict: make_echo(folder, schema, strict=strict) for strict in (False, True)}


def inbound(example: Example, document: Any) -> HttpReply:
    body, charset, _ = example
    if isinstance(body, bytes):
        before, _, rest = body.partition(b"[")
        text, _, after = rest.rpartition(b"]")
        whole = document(text.decode("latin-1")).encode("latin-1")
        body = before + whole + after
    else:
        before_, _, rest_ = body.partition("[")
        text_, _, after_ = rest_.rpartition("]")
        zipped = before_ == "gzip"
        body = (("" if zipped else before_) + document(text_) + after_).encode()
        body = gzip.compress(body) if zipped else body
    return HttpReply(200, [("content-type", "text/xml" + (f"; charset={charset}" if charset else ""))], body)


EXAMPLES = [
    pytest.param(each, id=f"{row[:30]} {number}") for row in REPAIRS for number, each in enumerate(REPAIRS[row])
]


@pytest.mark.parametrize("example", EXAMPLES)
async def test_repairs_of_xml(example: Example) -> None:
    reply = inbound(example, lambda text: f"<a>{text}</a>")
    for strict in (False, True):
        spec = {"route": "/x", "methods": ["GET"], "transform": {"request": "xml", "xml": {"strict": strict}}}
        [operation] = await bound(Xml(), spec)
        codec, call = cast(HttpCodec, operation.codec), Call("GET", "/x")
        if strict:
            with pytest.raises(BadReply):
                codec.reply(call, reply)
        else:
            assert json.loads(codec.reply(call, reply).content) == {"a": example[2]}
            assert call.warnings


@pytest.mark.parametrize("example", EXAMPLES)
def test_repairs_of_soap(soap: dict[bool, Echo], example: Example) -> None:
    reply = inbound(example, lambda text: envelope(f'<r xmlns="urn:t"><a>{text}</a></r>').decode())
    told: list[str] = []
    assert received(soap[False], reply, told) == {"a": example[2], "l": []}
    assert told
    with pytest.raises(BadReply):
        received(soap[True], reply)


def received(service: Echo, reply: HttpReply, told: list[str] | None = None) -> Any:
    """The JSON, or the status where there is no body."""
    call = Call()
    answer = codec_of(service.operation).reply(call, reply)
    if told is not None:
        told += call.warnings
    return json.loads(answer.content) if answer.content else answer.status


#: The rows that only docs/soap.md has: replies, and what is read of them.
BODY = '<r xmlns="urn:t"><a>x</a></r>'
READ = {"a": "x", "l": []}
ENVELOPES: dict[str, list[tuple[int, str, Any]]] = {
    "a namespace prefix that is not declared": [
        (200, envelope('<h:x xmlns:h="urn:t"/><h:r><h:a>x</h:a></h:r>').decode(), READ),
        (200, envelope("<o:r><o:a>x</o:a></o:r>").decode(), READ),
        (200, envelope(BODY.replace("<a>", '<a xsi:type="xsd:string">')).decode(), READ),
    ],
    "an envelope in no namespace, or in another one": [
        (200, f"<Envelope><Body>{BODY}</Body></Envelope>", READ),
        (200, envelope(BODY, "urn:other").decode(), READ),
    ],
    "an empty `Body` where an element is declared": [(200, envelope("").decode(), {"l": []})],
    "HTTP 202 or 204 without a body where a reply is declared": [(202, "", 202), (204, "", 204)],
}


def test_repairs_of_envelopes(soap: dict[bool, Echo]) -> None:
    assert [row[0] for row in SOAP_ROWS[len(XML_ROWS) :]] == list(ENVELOPES)
    for examples in ENVELOPES.values():
        for status, body, expected in examples:
            reply = HttpReply(status, [("content-type", "text/xml")], body.encode())
            told: list[str] = []
            assert received(soap[False], reply, told) == expected
            assert told, body
            with pytest.raises(BadReply):
                received(soap[True], reply)


#: What the paragraph below the table lists: replies that break their schema.
BREACHES: Sequence[tuple[str, str, Any]] = [
    ("another order", "<l>1</l><a>x</a>", {"l": [1], "a": "x"}),
    ("another namespace", '<a xmlns="urn:else">x</a>', READ),
    ("missing", "", {"l": []}),
    ("unknown", "<a>x</a><z>1</z>", None),
    ("too many", "<a>x</a>" + "<l>1</l>" * 10, {"a": "x", "l": [1] * 10}),
    ("an integer out of range", "<a>x</a><l>99999999999</l>", {"a": "x", "l": ["99999999999"]}),
    ("nil", '<a xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>', {"a": None, "l": []}),
]


@pytest.mark.parametrize(("name", "content", "expected"), BREACHES, ids=lambda each: str(each)[:20])
def test_replies_that_break_their_schema(soap: dict[bool, Echo], name: str, content: str, expected: Any) -> None:
    reply = HttpReply(200, [("content-type", "text/xml")], envelope(f'<r xmlns="urn:t">{content}</r>'))
    told: list[str] = []
    value = received(soap[False], reply, told)
    assert expected is None or value == expected
    assert told, name
    with pytest.raises(BadReply):
        received(soap[True], reply)
