"""XML to JSON, held against xmltodict."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

import orjson
import pytest
import xmltodict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.api import XmlError
from bridge_xml import decode as decoding
from bridge_xml.decode import MAX_DEPTH, check, decode, to_json

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


# --- large documents, by slices -----------------------------------------------------------------------------------


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every document is a large one; slices have few bytes, and texts of few pieces are long ones."""
    for name, value in (("LARGE", 0), ("SLICE", 16), ("_MANY", 3), ("_SHORT", 8)):
        monkeypatch.setattr(decoding, name, value)


ROWS = "<b x='1'><c>1</c><d/></b>\n " * 40
LARGE_DOCUMENTS = [
    *DOCUMENTS,
    f"<a>{ROWS}</a>",
    f"<a>{ROWS}<e/>{ROWS}</a>",
    f"<a><b>{ROWS}</b><b>{ROWS}</b><e>{ROWS}</e></a>",
    f"<a>text {ROWS} more {ROWS}</a>",
    "<a>" + "<b>1</b><c>2</c>" * 60 + "</a>",
    "<a>" + "".join(f"<b{n % 7}><c{n}/></b{n % 7}>" for n in range(90)) + "</a>",
    "<a>" + " \n" * 200 + "t" * 300 + " \n" * 200 + "</a>",
    "<a>" + " \n" * 200 + "</a>",
    '<a>é\u20ac\U0001f600&amp;&#10;"\\' * 1 + "x" * 900 + "</a>",
    "<a b='" + "x" * 900 + "'>" + "<!--" + "y" * 900 + "-->" + "</a>",
    "<a>" + "<b>" * 100 + "x" + "</b>" * 100 + "<b/></a>",
]


@pytest.mark.usefixtures("sliced")
@pytest.mark.parametrize("document", LARGE_DOCUMENTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_a_large_document_reads_as_a_small_one(document: str, encoding: str) -> None:
    body = document.encode(encoding, "xmlcharrefreplace")
    for forced in (frozenset[str](), frozenset({"b", "c", "e"})):
        expected = orjson.dumps(decode(body, charset=encoding, force_list=forced))
        assert to_json(body, charset=encoding, force_list=forced) == expected
    check(body, charset=encoding)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("sliced")
@given(
    st.lists(st.sampled_from(["<a>", "</a>", "<b x='1'>", "</b>", "<a/>", " ", "x", "&lt;", "<!--c-->"]), max_size=60),
    st.sets(st.sampled_from("ab")),
)
def test_any_large_document_reads_as_a_small_one(pieces: list[str], forced: set[str]) -> None:
    body = f"<r>{''.join(pieces)}</r>".encode()

    def told(read: Callable[[], bytes]) -> bytes | str:
        try:
            return read()
        except XmlError as error:
            return str(error)

    expected = told(lambda: orjson.dumps(decode(body, force_list=forced)))
    assert told(lambda: to_json(body, force_list=forced)) == expected


@pytest.mark.usefixtures("sliced")
@pytest.mark.parametrize(
    "body", [b"<a><b>" * 40, b"<!DOCTYPE a><a/>", b"<a>" * 200, b"", b"<a/>" + b"x" * 99, b"\xff" * 99]
)
def test_what_a_large_document_is_refused_for(body: bytes) -> None:
    with pytest.raises(XmlError) as small:
        decode(body)
    with pytest.raises(XmlError) as large:
        to_json(body)
    assert str(large.value) == str(small.value)


@pytest.mark.usefixtures("sliced")
@pytest.mark.parametrize(
    "body",
    [
        "<a>" + "".join(f"<b{n}/>" for n in range(500)) + "</a>",
        "<a>" + "".join(f"<b c{n}=''/>" for n in range(500)) + "</a>",
        "<a>" + "".join(f"<b><c{n}/></b>" for n in range(500)) + "</a>",
    ],
)
def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """They are kept as long as the document is read."""
    assert to_json(body.encode())
    monkeypatch.setattr(decoding, "MAX_NAMES", 100)
    with pytest.raises(XmlError, match="more than 100 different names"):
        to_json(body.encode())


@pytest.mark.usefixtures("sliced")
def test_marks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expat begins one anew with each slice, or takes all of it in one step."""
    body = b"<a b='" + b"x" * 5000 + b"'/>"
    assert to_json(body)
    monkeypatch.setattr(decoding, "_MAX_MARK", 1024)
    for read in (to_json, check):
        with pytest.raises(XmlError, match="a tag or a comment of more than 512 bytes"):
            read(body)


def test_a_long_mark_takes_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps for each byte, however long it is."""
    monkeypatch.setattr(decoding, "SLICE", 64)
    monkeypatch.setattr(decoding, "LARGE", 0)
    lengths = []

    class Counting(bytes):
        def __getitem__(self, key: Any) -> Any:
            lengths.append(key.stop - key.start)
            return super().__getitem__(key)

    decoding.run_parser(expat.ParserCreate("utf-8"), Counting(b"<a b='" + b"x" * 100_000 + b"'/>"))
    assert len(lengths) < 30
