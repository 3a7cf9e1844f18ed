"""Replies that are not well-formed, or empty: read with a warning, refused by strict routes."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from bridge.api import BadReply, Call, HttpReply, UpstreamFault
from bridge_soap.message.large import LARGE
from tests.soap_kit import SOAP11, Bind, Echo, MakeEcho, codec_of, envelope, make_echo

TYPE = (
    '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" type="xs:string"/>'
    '<xs:element name="l" type="xs:int" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>'
    "</xs:complexType></xs:element>"
)
DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>'
XML = "text/xml"
WIDE = {b"\xff\xfe": "utf-16", b"\0<": "utf-16-be", b"<\0": "utf-16-le"}


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Echo:
    return make_echo(tmp_path_factory.mktemp("lenient"), TYPE)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Echo:
    return make_echo(tmp_path_factory.mktemp("strict"), TYPE, strict=True)


def answer(a: str, rest: str = "") -> bytes:
    return envelope(f'<r xmlns="urn:t"><a>{a}</a>{rest}</r>')


def read(service: Echo, body: bytes, kind: str = XML, status: int = 200) -> tuple[Any, list[str]]:
    call = Call()
    reply = codec_of(service.operation).reply(call, HttpReply(status, [("content-type", kind)], body))
    return json.loads(reply.content) if reply.content else reply.status, call.warnings


CASES: dict[str, tuple[bytes, str, str, str]] = {
    "a reference to a control character": (answer("a&#x1E;b&#0;c&#13;"), XML, "a\ufffdb\ufffdc\r", "2 character ref"),
    "a raw control character": (answer("a\x1eb\x00"), XML, "a\ufffdb\ufffd", "2 characters in it are forbidden"),
    "a reference beyond Unicode": (answer("&#x110000;&#99999999;"), XML, "\ufffd\ufffd", "references"),
    "a surrogate": (answer("&#xD83D;"), XML, "\ufffd", "references"),
    "two surrogates": (answer("&#xD83D;&#xDE00;&#55357;&#56832;"), XML, "😀😀", "two surrogates"),
    "a reference in CDATA is text": (answer("&#1;<![CDATA[&#1;]]><!-- &#2; -->"), XML, "\ufffd&#1;", "1 character ref"),
    "HTML's names": (answer("a&nbsp;&eacute;&amp;&lt;"), XML, "a\u00a0é&<", "2 references in it are HTML's"),
    "a bare ampersand": (answer("R&D & ?a=1&b=2&;&#x;"), XML, "R&D & ?a=1&b=2&;&#x;", "5 times & stands"),
    "gzip that nobody declares": (gzip.compress(answer("é")), XML, "é", "gzip"),
    "blank lines first": (b"\r\n \n" + DECLARATION + answer("é"), XML, "é", "before its XML declaration"),
    "a byte order mark and blank lines": (b"\xef\xbb\xbf\n" + DECLARATION + answer("é"), XML, "é", "byte order mark"),
    "a byte order mark twice": (b"\xef\xbb\xbf" * 2 + DECLARATION + answer("é"), XML, "é", "byte order mark"),
    "a byte order mark behind blank lines": (b"\n\xef\xbb\xbf" + answer("é"), XML, "é", "byte order mark"),
    "a script's message first": (
        b"<br />\n<b>Notice</b>: Undefined index in <b>/srv/x.php</b>\n" + DECLARATION + answer("é"),
        XML,
        "é",
        "text stands before",
    ),
    "a script's message in bold first": (
        b"<b>Notice</b>: Undefined index\n" + DECLARATION + answer("é"),
        XML,
        "é",
        "text",
    ),
    "a script's table first": (
        b"<font size='1'><table><tr/></table></font>" + DECLARATION + answer("é"),
        XML,
        "é",
        "text",
    ),
    "a comment first": (
        b'<!-- <?xml version="1.0"?> -->\n' + DECLARATION + answer("é"),
        XML,
        "é",
        "text stands before",
    ),
    "control characters last": (answer("é") + b"\0\x1a", XML, "é", "behind it"),
    "UTF-8 declared as UTF-16": (b'<?xml version="1.0" encoding="utf-16"?>' + answer("é"), XML, "é", "utf-16"),
    "UTF-16 declared as UTF-8": ((DECLARATION + answer("é")).decode().encode("utf-16"), XML, "é", "utf-8"),
    "UTF-16 without a mark, declared as UTF-8": (
        (DECLARATION + answer("é")).decode().encode("utf-16-be"),
        XML,
        "é",
        "utf-8 and is in UTF-16",
    ),
    "UTF-16 without a mark, and with the charset UTF-8": (
        answer("é").decode().encode("utf-16-le"),
        "text/xml; charset=utf-8",
        "é",
        "utf-8 and is in UTF-16",
    ),
    "UTF-8 declared as ISO-8859-1": (
        b'<?xml version="1.0" encoding="ISO-8859-1"?>' + answer("é€"),
        XML,
        "é€",
        "iso-8859-1",
    ),
    "UTF-8 with another charset": (DECLARATION + answer("é€"), "text/xml; charset=ISO-8859-1", "é€", "iso-8859-1"),
    "UTF-8 with the charset UTF-16": (DECLARATION + answer("é"), "text/xml; charset=utf-16", "é", "utf-16"),
    "windows-1252 declared as UTF-8": (DECLARATION + answer("“é€”").decode().encode("cp1252"), XML, "“é€”", "utf-8"),
    "ISO-8859-15 with the charset UTF-8": (
        b'<?xml version="1.0" encoding="iso-8859-15"?>' + answer("€").decode().encode("iso-8859-15"),
        "text/xml; charset=utf-8",
        "€",
        "utf-8",
    ),
    "an encoding that nobody knows": (b'<?xml version="1.0" encoding="x-own"?>' + answer("é"), XML, "é", "x-own"),
    "a declaration with a fault": (b"<?xml version='1.0' encoding=UTF-8?>" + answer("é"), XML, "é", "not well-formed"),
    "no envelope namespace": (
        b'<Envelope><Body><r xmlns="urn:t"><a>x</a></r></Body></Envelope>',
        XML,
        "x",
        "no namespace, which is none of SOAP's",
    ),
    "an undeclared prefix of SOAP": (
        answer("x")
        .replace(b"s:", b"soapenv:")
        .replace(f' xmlns:soapenv:="{SOAP11}"'.encode(), b"")
        .replace(f' xmlns:s="{SOAP11}"'.encode(), b""),
        XML,
        "x",
        "prefixes soapenv",
    ),
    "an undeclared prefix of elements": (
        envelope("<o:r><o:a>x</o:a></o:r>"),
        XML,
        "x",
        "prefixes o",
    ),
    "a prefix declared beside": (
        envelope('<h:x xmlns:h="urn:t"/><h:r><h:a>x</h:a></h:r>'),
        XML,
        "x",
        "prefixes h",
    ),
    "an undeclared prefix and a control character": (
        envelope("<o:r><o:a>&#1;</o:a></o:r>"),
        XML,
        "\ufffd",
        "prefixes o",
    ),
}


@pytest.mark.parametrize(("body", "kind", "value", "told"), CASES.values(), ids=CASES)
def test_a_reply_that_is_not_well_formed_is_read_with_a_warning(
    lenient: Echo, strict: Echo, body: bytes, kind: str, value: str, told: str
) -> None:
    for _ in range(2):  # the second time its template would be known
        content, warnings = read(lenient, body, kind)
        assert content == {"a": value, "l": []}
        assert any(told in each for each in warnings), warnings
    with pytest.raises(BadReply):
        read(strict, body, kind)


@pytest.mark.parametrize("name", CASES)
def test_a_large_reply_is_read_as_a_small_one(lenient: Echo, name: str) -> None:
    body, kind, value, told = CASES[name]
    zipped = body.startswith(b"\x1f\x8b")
    body = gzip.decompress(body) if zipped else body
    wide = next((name for mark, name in WIDE.items() if body.startswith(mark)), "utf-8")
    body = body.decode(wide).encode() if wide != "utf-8" else body
    close = b"</o:a>" if b"</o:a>" in body else b"</h:a>" if b"</h:a>" in body else b"</a>"
    item = close.replace(b"/", b"").replace(b"a", b"l") + b"1" + close.replace(b"a", b"l")
    head, _, tail = body.rpartition(close)
    item += b" " * 200
    body = head + close + item * (LARGE // len(item) + 1) + tail
    body = body.decode().encode(wide) if wide != "utf-8" else body
    content, warnings = read(lenient, gzip.compress(body) if zipped else body, kind)
    assert content["a"] == value
    assert set(content["l"]) == {1}
    assert any(told in each for each in warnings), warnings


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY e "x">]>' + answer("&e;&#1;"),
        b'\n<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + answer("&e;\x01"),
        answer("<b>&#1;"),
        answer("&e;&#1;"),
        b"&#1;" * 1000,
        answer("& " * 100_001),
        answer("&#1;" * 1_000_000),
        b"<![CDATA[" * 10_000,
        b"<!--&#" * 10_000,
        b"<?xml " * 10_000,
        answer("é").decode().encode("cp1252"),
        b"\x1f\x8b" + b"x" * 100,
        gzip.compress(answer("x" * 17 * 1024 * 1024)),
    ],
)
def test_what_can_not_be_repaired_is_refused(lenient: Echo, body: bytes) -> None:
    with pytest.raises(BadReply):
        read(lenient, body)


def test_a_template_does_not_believe_a_wrong_encoding(lenient: Echo, strict: Echo) -> None:
    declaration = b'<?xml version="1.0" encoding="iso-8859-1"?>'
    for service in (lenient, strict):
        for text in ("plain", "plain", "more"):
            assert read(service, declaration + answer(text)) == ({"a": text, "l": []}, [])
    assert read(lenient, declaration + answer("é").decode().encode("latin-1")) == ({"a": "é", "l": []}, [])
    assert read(lenient, declaration + answer("é"))[1]


@pytest.mark.parametrize(("schema", "value"), [(TYPE, {"l": []}), ('<xs:element name="r" type="xs:int"/>', None)])
def test_an_empty_body_where_an_element_is_declared(echo: MakeEcho, schema: str, value: Any) -> None:
    service = echo(schema)
    for body in (envelope(""), envelope(" \n "), f'<s:Envelope xmlns:s="{SOAP11}"><s:Body/></s:Envelope>'.encode()):
        content, warnings = read(service, body)
        assert content == value
        assert warnings == ["Body: it is empty, although the contract declares an element for it"]
    large = envelope(" " * LARGE)
    assert read(service, large) == (value, warnings)


def test_strict_routes_refuse_an_empty_answer(strict: Echo) -> None:
    with pytest.raises(BadReply, match="empty"):
        read(strict, envelope(""))
    for status in (202, 204):
        with pytest.raises(BadReply, match="empty answer"):
            read(strict, b"", status=status)


@pytest.mark.parametrize("status", [202, 204])
def test_a_status_without_a_body_is_passed_on(lenient: Echo, status: int) -> None:
    value, warnings = read(lenient, b"", status=status)
    assert value == status
    assert "answered" in warnings[0]


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html>\n<html><head><title>db-7.internal</title><br></head></html>",
        b"<!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'><HTML><body>db-7.internal</body></HTML>",
        b"\n<html><body>db-7.internal<br></html>",
        b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body>db-7.internal</body></html>',
    ],
)
def test_an_html_page_is_called_one(lenient: Echo, strict: Echo, page: bytes) -> None:
    for service in (lenient, strict):
        with pytest.raises(BadReply, match="it is an HTML page") as caught:
            read(service, page)
        assert "DOCTYPE" not in caught.value.detail
        assert "db-7" not in caught.value.detail


async def test_a_fault_with_a_control_character_is_a_fault(bind: Bind) -> None:
    codec = codec_of((await bind("vat.wsdl", options={"operation": "checkVat"}))[0])
    body = envelope("<s:Fault><faultcode>s:Client</faultcode><faultstring>no&#x1E;</faultstring></s:Fault>")
    with pytest.raises(UpstreamFault) as caught:
        codec.reply(Call(), HttpReply(500, [("content-type", XML)], body))
    assert caught.value.members["fault"] == {"code": "Client", "reason": "no\ufffd"}


def test_no_repair_is_made_of_more_than_sixteen_megabytes(lenient: Echo) -> None:
    with pytest.raises(BadReply, match="not well-formed"):
        read(lenient, answer("\x01" + " " * 16 * 1024 * 1024))
