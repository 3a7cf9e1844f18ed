"""XML to JSON, held against xmltodict."""

from __future__ import annotations

import time
from typing import Any

import pytest
import xmltodict
from hypothesis import given
from hypothesis import strategies as st

from bridge import XmlError
from bridge_xml.decode import MAX_DEPTH, check, decode

DOCUMENTS = [
    "<a/>",
    "<a></a>",
    "<a> \n\t </a>",
    "<a>text</a>",
    "<a>  text \n</a>",
    "<a>\u00a0x\u00a0</a>",
    '<a x="1"/>',
    '<a x="">y</a>',
    '<a x=" 1 ">t</a>',
    "<a><b/></a>",
    "<a><b>1</b><b>2</b><c/></a>",
    "<a><b>1</b><c/><b>2</b><b/></a>",
    "<a><b><c/></b><b x='1'/></a>",
    "<a>one<b>two</b>three<b/>four</a>",
    "<a>  <b/>  </a>",
    "<a><!-- c -->t<!-- d -->u<?pi x?>v</a>",
    "<!-- c --><?pi?><a/><!-- d -->",
    "<a><![CDATA[ <x> & ]]></a>",
    "<a>x<![CDATA[<!DOCTYPE b>]]>y</a>",
    "<a>&lt;&amp;&gt;&quot;&apos;&#65;&#x1F600;</a>",
    '<a x="&lt;&#10;&quot;"/>',
    '<p:a xmlns:p="urn:p" xmlns:q="urn:p" xmlns="urn:d" p:x="1" q:y="2" z="3"><p:b/><b/><p:b/></p:a>',
    '<a xmlns="urn:1"><b xmlns="urn:2"><c xmlns=""/></b></a>',
    "<undeclared:a undeclared:b='1'/>",
    "<a.b-c_d><é/></a.b-c_d>",
    "<a>\r\nx\r\ny</a>",
    "<a>" + "x" * 100_000 + "<b/>" + "é" * 100_000 + "</a>",
    "<a>" + "x<b/>" * 5_000 + "</a>",
    '<?xml version="1.0"?>\n<a><item xml:lang="de">Hallo</item></a>',
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_it_reads_as_xmltodict_does(document: str) -> None:
    body = document.encode()
    check(body)
    assert decode(body) == xmltodict.parse(body)
    for forced in (("b",), ("a",), ("a", "b", "c"), ("p:b", "item")):
        got = decode(body, force_list=frozenset(forced))
        assert got == xmltodict.parse(body, force_list=forced)
        # Equal values may still differ in the order of their members, which a person reads.
        assert repr(got) == repr(xmltodict.parse(body, force_list=forced))


NAMES = st.sampled_from(["a", "b", "c", "item", "p:x"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    name = draw(NAMES)
    attributes = draw(st.dictionaries(NAMES, TEXTS, max_size=2))
    text = "".join(f' {key}="{_escaped(value)}"' for key, value in attributes.items())
    content = [_escaped(draw(TEXTS))]
    for _ in range(draw(st.integers(0, 3 if depth else 0))):
        content += [draw(elements(depth=depth - 1)), _escaped(draw(TEXTS))]
    return f"<{name}{text}>{''.join(content)}</{name}>"


@given(elements(), st.sets(NAMES))
def test_any_document_reads_as_xmltodict_does(document: str, forced: set[str]) -> None:
    body = document.encode()
    assert decode(body, force_list=frozenset(forced)) == xmltodict.parse(body, force_list=tuple(forced))


# --- encodings (RFC 7303, section 3) -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("<a>é€</a>".encode(), ""),
        ("<a>é€</a>".encode(), "UTF-8"),
        ("<a>é€</a>".encode(), "us-ascii"),
        ("\ufeff<a>é€</a>".encode(), ""),
        ("\ufeff<a>é€</a>".encode(), "iso-8859-1"),  # the mark goes before the parameter
        ("<a>é€</a>".encode("utf-16"), ""),
        ("<a>é€</a>".encode("utf-16"), "utf-16"),
        ("\ufeff<a>é€</a>".encode("utf-16-be"), "utf-16"),
        ("<a>é€</a>".encode("windows-1252"), "Windows-1252"),
        ('<?xml version="1.0" encoding="windows-1252"?><a>é€</a>'.encode("windows-1252"), ""),
        ("<?xml version='1.0' encoding='iso-8859-15'?><a>é€</a>".encode("iso-8859-15"), ""),
        ('<?xml version="1.0" encoding="UTF-8"?><a>é€</a>'.encode("iso-8859-15"), "iso-8859-15"),  # the parameter wins
    ],
)
def test_the_encoding_is_found(body: bytes, charset: str) -> None:
    assert decode(body, charset=charset) == {"a": "é€"}
    check(body, charset=charset)


def test_encodings_that_expat_lacks() -> None:
    for name in ("Shift_JIS", "GB18030", "EUC-KR", "Big5"):
        word = {"EUC-KR": "한국", "Big5": "臺灣"}.get(name, "日本")
        body = f'<?xml version="1.0" encoding="{name}"?><a>{word}</a>'.encode(name)
        assert decode(body) == {"a": word}


@pytest.mark.parametrize(
    ("body", "charset", "reason"),
    [
        (b"<a/>", "no-such", "not known"),
        (b"<a/>", "base64", "not known"),
        (b'<?xml version="1.0" encoding="nope"?><a/>', "", "not known"),
        (b"<a>\x81</a>", "windows-1252", "not in windows-1252"),
        (b"<a>\xff</a>", "", "not well-formed"),
        (b"<a>\xed\xa0\x80</a>", "utf-8", "not well-formed"),
    ],
)
def test_a_wrong_encoding_is_refused(body: bytes, charset: str, reason: str) -> None:
    with pytest.raises(XmlError, match=reason):
        decode(body, charset=charset)
    with pytest.raises(XmlError, match=reason):
        check(body, charset=charset)


# --- what is refused ---------------------------------------------------------------------------------------------

DOCTYPES = [
    "<!DOCTYPE a><a/>",
    '<!DOCTYPE a SYSTEM "x"><a/>',
    '<!-- c --><!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    '<!DOCTYPE a [<!ENTITY % e SYSTEM "file:///etc/passwd">%e;]><a/>',
]


@pytest.mark.parametrize("document", DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252", "utf-7", "cp037", "shift_jis"])
def test_a_doctype_is_refused_in_every_encoding(document: str, encoding: str) -> None:
    body = document.encode(encoding)
    for read in (decode, check):
        with pytest.raises(XmlError, match="DOCTYPE"):
            read(body, charset=encoding if encoding != "utf-8-sig" else "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"junk",
        b"{}",
        b"<a>",
        b"<a/>x",
        b"<a/><b/>",
        b"<a>&nope;</a>",
        b"<a>&#0;</a>",
        b"<a>\x00</a>",
        b'<a b="1" b="2"/>',
        b"<a b=1/>",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
    ],
)
def test_what_is_not_xml_is_refused(body: bytes) -> None:
    for read in (decode, check):
        with pytest.raises(XmlError, match=r"not well-formed XML: .*, line"):
            read(body)


def test_depth_is_bounded() -> None:
    value: Any = decode(b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH, force_list=frozenset("a"))
    import orjson

    assert orjson.dumps(value)  # the deepest document, two levels of JSON for each of its own, can be written
    with pytest.raises(XmlError, match="nested deeper"):
        decode(b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" * 2_000_000,
        b"<a>" + b"x<b/>" * 200_000 + b"</a",
        b"<a>" + b"&amp;\r\n" * 300_000,
        b"<a " + b" ".join(b'a%d=""' % n for n in range(100_000)) + b"/",
    ],
    ids=["deep", "mixed", "pieces", "attributes"],
)
def test_hostile_documents_cost_little(body: bytes) -> None:
    start = time.process_time()
    with pytest.raises(XmlError):
        decode(body)
    assert time.process_time() - start < 4
