"""docs/xml.md: the pairs of XML and JSON that it shows are translated both ways; the table of answers is tried."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from bridge.api import Call, HttpCodec, HttpReply, parse_xml
from bridge.testing import bound
from bridge_xml import Xml
from tests.docs.tables import code, table

PAGE = "docs/xml.md"


async def codec(**options: Any) -> HttpCodec:
    spec = {"route": "/x", "methods": ["PUT"], "transform": {"request": "xml", "xml": options}}
    [operation] = await bound(Xml(), spec)
    return cast(HttpCodec, operation.codec)


def received(codec: HttpCodec, xml: str) -> Any:
    reply = codec.reply(Call("PUT", "/x"), HttpReply(200, [("content-type", "application/xml")], xml.encode()))
    return json.loads(reply.content)


def infoset(xml: bytes) -> Any:
    def plain(element: Any) -> Any:
        return (element.tag, element.nsmap, dict(element.attrib), element.text or "", [plain(each) for each in element])

    return plain(parse_xml(xml))


CONVENTIONS = table(PAGE, "The conventions")


def test_the_conventions_are_a_table_of_pairs() -> None:
    assert len(CONVENTIONS) > 5
    for xml, pairs in CONVENTIONS:
        assert code(xml)
        assert len(code(pairs)) in (1, 3)


@pytest.mark.parametrize(("xml", "pairs"), CONVENTIONS, ids=lambda cell: cell[:40])
async def test_each_convention_in_both_directions(xml: str, pairs: str) -> None:
    value, *forced = code(pairs)
    for document in code(xml):
        assert received(await codec(), document) == json.loads(value)
        if forced:  # with `force_list: [b]` `{…}`
            names = forced[0].removeprefix("force_list: [").removesuffix("]").split(", ")
            assert received(await codec(force_list=names), document) == json.loads(forced[1])
    sent = (await codec()).request(Call("PUT", "/x", body=value.encode()))
    # "children come before `#text`": mixed content does not come back in its order.
    expected = "<a><b/>onetwo</a>" if "onetwo" in value else code(xml)[0]
    assert tails(sent.body) == tails(expected.encode())
    assert infoset(sent.body) == infoset(expected.encode())


def tails(xml: bytes) -> list[str]:
    return [each.tail or "" for each in parse_xml(xml).iter()]


# --- what becomes of an answer ---------------------------------------------------------------------------------------

ANSWERS = table(PAGE, "passthrough: calls go up as they came")

FAULT = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode>'
    b"<faultstring>no</faultstring></s:Fault></s:Body></s:Envelope>"
)

#: A row's first cell: the service's answers that it speaks of.
INBOUND = {
    "below 400, in XML": [(200, "application/xml", b"<a>1</a>"), (201, "application/rss+xml", b"<a>1</a>")],
    "below 400, in JSON or any other type": [
        (200, "application/json", b'{"a": 1 }'),
        (203, "text/html", b"<p>x</p>"),
        (200, "image/svg+xml", b"<svg/>"),
        (200, "application/xhtml+xml", b"<html/>"),
    ],
    "400 to 499, in JSON": [(404, "application/json", b'{"a": 1 }'), (400, "application/problem+json", b'{"b":2}')],
    "400 to 499, in XML": [(404, "text/xml", b"<a>1</a>"), (422, "application/xml", b"<a>1</a>")],
    "400 to 499, in any other type, or without a body": [(404, "text/html", b"<p>x</p>"), (409, "", b"")],
    "500 and above, a SOAP Fault": [(500, "text/xml", FAULT), (503, "application/soap+xml", FAULT)],
    "500 and above, anything else": [
        (500, "application/json", b'{"a":1}'),
        (503, "text/xml", b"<a/>"),
        (599, "text/html", b"x"),
    ],
}


async def test_each_row_on_answers(start: Any, upstream: Any) -> None:
    assert [row[0] for row in ANSWERS] == list(INBOUND)
    spec = "route: /{0}\nupstream: svc:80\nauth: none\ntransform: {{request: passthrough, response: {0}}}\n"
    routes = {f"{name}.yml": spec.format(name) for name in ("json", "passthrough")}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        for row, json_cell, passthrough_cell in ANSWERS:
            for status, media_type, body in INBOUND[row]:
                upstream.status, upstream.body = status, body
                upstream.headers = [("content-type", media_type)] if media_type else []
                for path, cell in (("/json", json_cell), ("/passthrough", passthrough_cell)):
                    answer = await gateway.client.get(path)
                    judge(cell, answer, status, media_type, body)


def judge(cell: str, answer: Any, status: int, media_type: str, body: bytes) -> None:
    """Whether the client got what the table says."""
    told = f"{cell}: {status} {media_type}: {answer.status_code} {answer.headers.get('content-type')} {answer.text}"
    got = (answer.status_code, answer.headers.get("content-type", ""), answer.content)
    if cell.startswith("problem+json"):
        expected = 502 if cell.endswith("with status 502") else status
        assert got[:2] == (expected, "application/problem+json"), told
        assert answer.json()["upstream_status"] == status, told
        assert body not in answer.content or not body, told
    elif cell.startswith("becomes JSON"):
        assert got[:2] == (status, "application/json"), told
        assert answer.json() == {"a": "1"}, told
    else:
        assert cell.startswith(("as it came", "passes")), cell
        assert got == (status, media_type, body), told
