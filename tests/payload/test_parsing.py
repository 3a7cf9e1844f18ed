"""Foreign bytes: what is read, what is refused, and that refusing is quick."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from bridge.api import InvalidBody, Unsliced, XmlError, parse_json, parse_xml, xml_parser, xml_slices
from bridge.payload.parsing import MAX_JSON_DEPTH


def reason(body: bytes, *, exact: bool = True) -> str:
    with pytest.raises(InvalidBody) as caught:
        parse_json(body, exact=exact)
    assert caught.value.status == 400
    return caught.value.errors[0][1]


# --- JSON --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"12345678901234567890123456789012", 12345678901234567890123456789012),
        (b"1.10", Decimal("1.10")),
        (b"0.1234567890123456789012345", Decimal("0.1234567890123456789012345")),
        (b"1e400", Decimal("1E+400")),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"a\\u0000b"', "a\0b"),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),  # RFC 8259, 8.1
        (b'{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),  # RFC 8259, 4: documented as "the last counts"
    ],
)
def test_exact_json_keeps_every_digit_and_character(body: bytes, value: object) -> None:
    got = parse_json(body)
    assert got == value
    assert isinstance(got, type(value))
    if isinstance(value, Decimal):
        assert str(got) == body.decode()  # as it was written, too


def test_plain_json_has_floats() -> None:
    assert type(parse_json(b"1.5", exact=False)) is float


@pytest.mark.parametrize("body", [b'<a b="%b"/>', b"<a>%b</a>"], ids=["attribute", "text"])
def test_a_document_within_a_document_may_be_large(body: bytes) -> None:
    """Ten million characters are libxml2's limit for a text, not ours: how large a body may be is said elsewhere."""
    root = parse_xml(body % (b"x" * 11_000_000))
    text = root.get("b") or root.text
    assert text is not None
    assert len(text) == 11_000_000
    with pytest.raises(XmlError):
        parse_xml(b"<a>" * 3000 + b"x" * 11_000_000 + b"</a>" * 3000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1 2",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b"01",
        b"+1",
        b".5",
        b"// c\n1",
        b'"\xff"',
        b'"\xed\xa0\x80"',  # a surrogate in UTF-8
        b'"\\ud800"',
        b'"\\ud800x"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        b'"a\x00b"',
        b'"\n"',
        b"\xff\xfe",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-be"),
        '{"a":1}'.encode("utf-32"),
        b"\xef\xbb\xbf\xef\xbb\xbf1",
        b"1" * 5000,
        b"1e99999999999999999999",
        b"1e-99999999999999999999",
        b"<a/>",
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_what_is_not_json_is_refused(body: bytes, exact: bool) -> None:
    if not exact and body.startswith(b"1e-"):
        assert parse_json(body, exact=False) == 0  # IEEE 754 underflow, as RFC 8259, 6 allows
        return
    assert reason(body, exact=exact)


def test_depth_is_counted_not_guessed() -> None:
    deep = MAX_JSON_DEPTH
    assert parse_json(b"[" * deep + b"]" * deep)
    assert "nested deeper" in reason(b"[" * (deep + 1) + b"]" * (deep + 1))
    assert "nested deeper" in reason(b'{"a":' * 100_000)
    assert "nested deeper" in reason(b'{"a":[' * (deep // 2 + 1) + b"]}" * (deep // 2 + 1))
    assert len(parse_json(b"[" + b"[]," * 1000 + b"[]]")) == 1001


@pytest.mark.parametrize("text", [b"[" * 500, b'\\"' + b"[" * 500, b"\\\\", b"{" * 200 + b"\\u0022" + b"{" * 200])
def test_brackets_in_strings_are_not_depth(text: bytes) -> None:
    assert parse_json(b'{"a":"' + text + b'","b":"' + text + b'"}')
    assert "nested deeper" in reason(b'{"a":"' + text + b'","b":' + b"[" * 512 + b"]" * 512 + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 70 + b'"' + b'\\"' * 500_000,  # took minutes: the search for a string began anew at each quote
        b"[" * 70 + b'"' + b"\\" * 1_000_001,
        b"[" * 70 + b'"' * 1_000_001,
        b"[" * 1_000_000,
        b'[{"' * 300_000,
    ],
    ids=["quotes", "backslashes", "empty strings", "brackets", "objects"],
)
def test_refusing_a_megabyte_is_quick(body: bytes) -> None:
    start = time.process_time()
    assert reason(body)
    assert time.process_time() - start < 2


@given(st.recursive(st.text() | st.integers() | st.none(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_json_is_read_as_any_reader_would(value: object) -> None:
    import json

    assert parse_json(json.dumps(value).encode()) == value


# --- XML ---------------------------------------------------------------------------------------------------------

DOCTYPES = [
    "<!DOCTYPE a><a/>",
    "<!DOCTYPE b><a/>",
    '<!DOCTYPE a SYSTEM "x"><a/>',
    '<!DOCTYPE a PUBLIC "p" "x"><a/>',
    '<!-- c --><!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    '<!DOCTYPE a [<!ENTITY e "x">]><a b="&e;"/>',
    '<!DOCTYPE a [<!ATTLIST a b CDATA "default">]><a/>',
    '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
    '<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1:1/x">%e;]><a/>',
]


@pytest.mark.parametrize("document", DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp037"])
def test_a_doctype_is_refused_in_every_encoding(document: str, encoding: str) -> None:
    with pytest.raises(XmlError):
        parse_xml(document.encode(encoding))


@pytest.mark.parametrize("document", DOCTYPES)
def test_a_doctype_is_refused_by_name(document: str) -> None:
    for declared in ("UTF-8", "iso-8859-1", "UTF-7"):
        text = f'<?xml version="1.0" encoding="{declared}"?>'.encode() + document.encode(declared)
        with pytest.raises(XmlError, match="DOCTYPE"):
            parse_xml(text)


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE a SYSTEM "{file}"><a/>',
        '<!DOCTYPE a PUBLIC "p" "{file}"><a/>',
        '<!DOCTYPE a [<!ENTITY % e SYSTEM "{file}">%e;]><a/>',
        '<?xml version="1.0" standalone="no"?><!DOCTYPE a SYSTEM "file://{file}"><a>&leak;</a>',
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
def test_no_file_is_opened(document: str, fresh: bool, tmp_path: Path) -> None:
    """A pipe that nobody writes to: opening it for reading would hang, and a reader on it would be seen."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(XmlError, match="it carries a DOCTYPE, which is refused"):
        parse_xml(document.format(file=pipe).encode(), xml_parser() if fresh else None)


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><a b="&l9;">&l9;</a>'.encode()


@pytest.mark.parametrize(
    "body",
    [
        _laughs(),
        b'<!DOCTYPE a [<!ENTITY q "' + b"x" * 100_000 + b'">]><a b="' + b"&q;" * 100_000 + b'"/>',
        b"<a>" * 1_000_000,
        b"<a>" * 257 + b"</a>" * 257,
        b"<a>" + b"<b c='" * 300_000,
    ],
    ids=["billion laughs", "quadratic", "deep", "257 deep", "unclosed"],
)
def test_bombs_are_refused_quickly(body: bytes) -> None:
    start = time.process_time()
    with pytest.raises(XmlError):
        parse_xml(body)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"junk",
        b"<a>",
        b"<a/>junk",
        b"<a>\x00</a>",
        b"<a>&#0;</a>",
        b"<a>&#xD800;</a>",
        b"<a>\xff</a>",
        b"<a>&nope;</a>",
        b'<a b="1" b="2"/>',
        b"<p:a/>",
        b'<?xml version="1.0" encoding="nope"?><a/>',
        b'{"a": 1}',
    ],
)
def test_what_is_not_xml_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(XmlError) as caught:
        parse_xml(body)
    assert "\n" not in str(caught.value)


def test_what_is_xml_is_read() -> None:
    assert parse_xml("\ufeff<a>é</a>".encode()).text == "é"
    assert parse_xml("<a>é</a>".encode("utf-16")).text == "é"
    assert parse_xml('<?xml version="1.0" encoding="Shift_JIS"?><a>日本</a>'.encode("shift_jis")).text == "日本"
    root = parse_xml(b"<?pi x?><!--c--><a><!--x-->t<?pi?><![CDATA[<!DOCTYPE b>]]><b/></a><!--c-->")
    assert root.text == "t<!DOCTYPE b>"
    assert [child.tag for child in root] == ["b"]


def test_an_id_that_stands_twice_is_no_error() -> None:
    """Well-formed by XML 1.0; only a validating reader minds."""
    assert len(parse_xml(b'<r><a xml:id="x"/><b xml:id="x"/></r>')) == 2


# --- documents by slices ------------------------------------------------------------------------------------------

DOCUMENTS = [
    b"<a>text</a>",
    b"<?xml version='1.0'?>\n<a>\n<b/>x<!-- c --><c><d/></c></a>",
    b"\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?><a><![CDATA[<x>]]>&lt;&#65;</a>",
    b"<?xml version='1.0' encoding='iso-8859-1'?><a>\xe9</a>",
    b"<!-- c --><?p?><a xmlns='urn:x' xmlns:p='urn:p' p:b='1'><p:c/></a><?q?><!-- d -->",
    b"<a><b x='" + b"y" * 5000 + b"'/><!--" + b"z" * 5000 + b"--></a>",
]
BROKEN = [
    b"<a>" + b"x" * 100,
    b"<a><b></a>",
    b"<?xml version='1.0'?>\n<a>\n<b></a>",
    b"<?xml version='1.0'?><a b='1' b='2'/>",
    b"<a>&x;</a>",
    b"<a>&x;</a><b/>",
    b"<a><b>&x;</b><c/></a>",
    b"<!DOCTYPE a><a/>",
    b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
    b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
    b"<!DOCTYPE a [<!ENTITY % x SYSTEM 'file:///etc/passwd'>%x;]><a/>",
    b"<a>" * 300 + b"</a>" * 300,
    b"<a/><b/>",
    b"<a/>junk",
    b" <?xml version='1.0'?><a/>",
    b"<a>\xff</a>",
    b"<a x='<'/>",
    b"<a>]]></a>",
    b"<p:a/>",
    b"<a xmlns='foo bar'/>",
]


def _last(body: bytes, size: int) -> etree._Element:
    *_, root = xml_slices(body, size)
    return root


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
@pytest.mark.parametrize("body", DOCUMENTS)
def test_slices_make_the_same_tree(body: bytes, size: int) -> None:
    assert etree.tostring(_last(body, size), method="c14n") == etree.tostring(parse_xml(body), method="c14n")


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
@pytest.mark.parametrize("body", BROKEN)
def test_slices_are_refused_as_the_whole_is(body: bytes, size: int) -> None:
    """Places included: what is put before the root to get at it does not show."""
    with pytest.raises(XmlError) as whole:
        parse_xml(body)
    with pytest.raises(XmlError) as sliced:
        _last(body, size)
    assert str(sliced.value) == str(whole.value)


@pytest.mark.parametrize(
    "body",
    [
        "<a/>".encode("utf-16"),
        b"<a><?p?></a>",
        b"<?p?>" * 200 + b"<a/>",
        b"<a/>" + b"<?p?>" * 200,
        b" " * 70_000 + b"<a/>",
    ],
)
def test_what_has_no_slices(body: bytes) -> None:
    with pytest.raises(Unsliced):
        _last(body, 1024)
    assert parse_xml(body).tag == "a"


def test_what_was_read_can_be_taken_away() -> None:
    body = b"<a>" + b"<b><c>text</c>tail</b> " * 5000 + b"</a>"
    count = most = 0
    for root in xml_slices(body, 512):
        most = max(most, len(root))
        count += len(root) - 1
        del root[:-1]
    assert count + 1 == 5000
    assert most < 60


@given(
    st.lists(st.sampled_from(["<a>", "</a>", "<b/>", "x", "&amp;", "<!--c-->", "<![CDATA[d]]>", "&x;"])),
    st.integers(1, 30),
)
def test_any_document_by_slices(pieces: list[str], size: int) -> None:
    body = f"<r>{''.join(pieces)}</r>".encode()

    def told(parse: Callable[[], etree._Element]) -> bytes:
        try:
            return bytes(etree.tostring(parse(), method="c14n"))
        except XmlError:
            return b""

    assert told(lambda: _last(body, size)) == told(lambda: parse_xml(body))
