"""Documents that are not well-formed: read with a warning, refused by strict routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import pytest

from bridge.api import BadReply, Call, HttpCodec, HttpReply

Codec = Callable[..., Awaitable[HttpCodec]]
XML = "application/xml"
CASES = {
    "forbidden characters": (b"<a>x&#x1E;\x00</a>", XML, "x\ufffd\ufffd"),
    "blank lines first": ('\n\n<?xml version="1.0"?><a>é</a>'.encode(), XML, "é"),
    "a byte order mark and a blank line": ('\ufeff\n<?xml version="1.0"?><a>é</a>'.encode(), XML, "é"),
    "UTF-8 declared as UTF-16": ('<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode(), XML, "é"),
    "UTF-8 declared as ISO-8859-1": ('<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'.encode(), XML, "é"),
    "UTF-8 with another charset": ("<a>é</a>".encode(), "text/xml; charset=iso-8859-1", "é"),
    "UTF-8 with the charset UTF-16": ("<a>é</a>".encode(), "text/xml; charset=utf-16", "é"),
    "windows-1252 declared as UTF-8": ("<a>é</a>".encode("cp1252"), "text/xml; charset=utf-8", "é"),
}


@pytest.mark.parametrize(("body", "kind", "value"), CASES.values(), ids=CASES)
async def test_a_document_that_is_not_well_formed_is_read(
    xml: Codec, passthrough: Codec, body: bytes, kind: str, value: str
) -> None:
    inbound = HttpReply(200, [("content-type", kind)], body)
    for codec in (await xml(), await passthrough()):
        call = Call("GET", "/v1/things/1", raw_params={"id": "1"})
        assert orjson.loads(codec.reply(call, inbound).content) == {"a": value}
        assert call.warnings[0].startswith("the document: ")
    call = Call("GET", "/v1/things/1", raw_params={"id": "1"})
    reply = (await xml("xml")).reply(call, inbound)
    assert reply.headers == [("content-type", "application/xml; charset=utf-8")]
    assert orjson.loads((await xml()).reply(Call(), HttpReply(200, reply.headers, reply.content)).content) == {
        "a": value
    }
    for response in ("json", "xml"):
        with pytest.raises(BadReply):
            (await xml(response, {"strict": True})).reply(Call(), inbound)


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream"])
async def test_xml_of_a_type_that_says_nothing(xml: Codec, kind: str) -> None:
    inbound = HttpReply(200, [("content-type", kind)], b"\n<a>5</a>")
    assert orjson.loads((await xml()).reply(Call(), inbound).content) == {"a": "5"}
    with pytest.raises(BadReply):
        (await xml()).reply(Call(), HttpReply(200, [("content-type", kind)], b"<html><p>x</p></html>"))


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html><p>secret</html>", b"<html><br></html>"])
async def test_an_html_page_is_called_one(xml: Codec, passthrough: Codec, body: bytes) -> None:
    for codec in (await xml(), await passthrough()):
        with pytest.raises(BadReply, match="it is an HTML page") as caught:
            codec.reply(Call(), HttpReply(200, [("content-type", XML)], body))
        assert "DOCTYPE" not in caught.value.detail


async def test_a_declaration_in_cdata_is_not_taken_for_the_documents_own(xml: Codec) -> None:
    body = b'<p>R&D<![CDATA[<?xml version="1.0"?><a/>]]></p>'
    reply = (await xml()).reply(Call(), HttpReply(200, [("content-type", XML)], body))
    assert orjson.loads(reply.content) == {"p": 'R&D<?xml version="1.0"?><a/>'}
