"""Replies by pattern: a codec that knows a service's template answers as one that parses each reply."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.api import ABSENT, BridgeError, Call, HttpReply
from bridge_soap.message.codec import SoapCodec
from bridge_soap.message.reply_templates import ReplyTemplates
from tests.soap_kit import SOAP11, codec_of, make_echo

pytestmark = pytest.mark.fast_path

SCHEMA = """
<xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="text" type="xs:string"/><xs:element name="maybe" type="xs:string" minOccurs="0"/>
  <xs:element name="nil" type="xs:string" nillable="true"/>
  <xs:element name="nilInt" type="xs:int" nillable="true" minOccurs="0"/>
  <xs:element name="token" type="xs:token"/><xs:element name="int" type="xs:int"/>
  <xs:element name="long" type="xs:long"/><xs:element name="natural" type="xs:unsignedLong" minOccurs="0"/>
  <xs:element name="price" type="xs:decimal"/><xs:element name="yes" type="xs:boolean"/>
  <xs:element name="at" type="xs:dateTime"/><xs:element name="bytes" type="xs:base64Binary" minOccurs="0"/>
  <xs:element name="real" type="xs:double"/><xs:element name="list" type="t:List" minOccurs="0"/>
  <xs:element name="with.dot" type="xs:string" default="d" minOccurs="0"/>
  <xs:element name="one" type="t:One" minOccurs="0"/><xs:element name="must" type="t:One"/>
  <xs:element name="nilOne" type="t:One" nillable="true"/>
  <xs:element name="words" type="xs:string" minOccurs="0" maxOccurs="unbounded"/>
  <xs:element name="few" type="xs:int" minOccurs="1" maxOccurs="3"/>
  <xs:element name="rows" minOccurs="0"><xs:complexType><xs:sequence>
    <xs:element name="row" type="t:Row" nillable="true" minOccurs="0" maxOccurs="unbounded"/>
  </xs:sequence></xs:complexType></xs:element>
  <xs:element name="deep" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
    <xs:element name="name" type="xs:string"/><xs:element name="row" type="t:Row" maxOccurs="unbounded"/>
  </xs:sequence></xs:complexType></xs:element>
</xs:sequence><xs:attribute name="mark" type="xs:int"/></xs:complexType></xs:element>
<xs:simpleType name="List"><xs:list itemType="xs:int"/></xs:simpleType>
<xs:complexType name="One"><xs:sequence><xs:element name="a" type="xs:string" minOccurs="0"/>
  <xs:element name="b" type="xs:int"/></xs:sequence></xs:complexType>
<xs:complexType name="Row"><xs:sequence><xs:element name="sku" type="xs:string" minOccurs="0"/>
  <xs:element name="n" type="xs:int"/><xs:element name="gift" type="xs:boolean" minOccurs="0"/></xs:sequence>
  <xs:attribute name="mark" type="xs:int"/></xs:complexType>
"""

#: Children of ``r`` in the schema's order.
FULL = (
    "<text>Ada &amp; Sons</text><maybe>é &lt;b&gt;</maybe><nil>n</nil><nilInt>4</nilInt><token>a b</token>"
    "<int>-7</int><long>0</long><natural>18</natural><price>19.95</price><yes>true</yes><at>2026-11-03T20:15:00Z</at>"
    "<bytes>AAEC</bytes><real>1.50</real><list>1 2</list><with.dot>.</with.dot><one><a>x</a><b>1</b></one>"
    "<must><b>2</b></must><nilOne><b>3</b></nilOne><words>v</words><words></words><few>1</few><few>2</few>"
    "<rows><row><sku>s</sku><n>1</n><gift>false</gift></row><row><n>2</n></row></rows>"
    "<deep><name>d</name><row><n>3</n></row><row><sku></sku><n>4</n></row></deep>"
    "<deep><name>e</name><row><n>5</n></row></deep>"
)
LEAST = (
    '<text/><nil xsi:nil="true"/><token>a</token><int>1</int><long>-2</long><price>1</price><yes>false</yes>'
    '<at>2026-11-03T20:15:00Z</at><real>NaN</real><must><b>2</b></must><nilOne xsi:nil="true"/><few>1</few>'
)
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'

#: How stacks write an envelope; ``{}`` is the content of ``r``.
STACKS = {
    "bare": f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><r xmlns="urn:t" {XSI}>{{}}</r></s:Body></s:Envelope>',
    "asmx": f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{SOAP11}" {XSI} xmlns:xsd='
    '"http://www.w3.org/2001/XMLSchema"><soap:Body><r xmlns="urn:t">{}</r></soap:Body></soap:Envelope>',
    "php": f'<?xml version="1.0" encoding="UTF-8"?>\n<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP11}" {XSI} '
    "xmlns:n='urn:t'><SOAP-ENV:Body><n:r>{}</n:r></SOAP-ENV:Body></SOAP-ENV:Envelope>\n",
    "java": f"<?xml version='1.0' encoding='UTF-8'?><S:Envelope xmlns:S=\"{SOAP11}\"><S:Body>"
    f'<ns2:r xmlns:ns2="urn:t" {XSI} xmlns="urn:other">{{}}</ns2:r></S:Body></S:Envelope>',
}


def written(stack: str, content: str, *, pretty: bool = False) -> bytes:
    """An envelope with `content`, as `stack` would write it; `pretty` has a line for each tag."""
    prefix = {"php": "n:", "java": "ns2:"}.get(stack, "")
    content = content.replace("</", "\0").replace("<", f"<{prefix}").replace("\0", f"</{prefix}")
    if pretty:
        content = "\n  " + content.replace("><", ">\r\n\t<").replace(f">\r\n\t</{prefix}words>", f"></{prefix}words>")
        content = content.replace(f"sku>\r\n\t</{prefix}sku", f"sku></{prefix}sku") + "\n"
    return STACKS[stack].format(content).encode()


def outcome(codec: SoapCodec, body: bytes, kind: str) -> Any:
    """All that a caller is told, whichever way it went."""
    call = Call()
    try:
        reply = codec.reply(call, HttpReply(200, [("content-type", kind)], body))
    except BridgeError as error:
        return type(error), str(error)
    return reply.status, reply.headers, reply.body, call.warnings


class Pair:
    """A codec that learns, and one of the same operation that parses each time."""

    def __init__(self, schema: str = SCHEMA, **options: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            learning = codec_of(make_echo(Path(folder), schema, **options).operation)
        assert isinstance(learning, SoapCodec)
        self.learning, self.pretty = learning, False
        self.parsing = SoapCodec(replace(learning._plan, templates=None), takes_body=True)

    @property
    def templates(self) -> ReplyTemplates:
        found = self.learning._plan.templates
        assert found is not None
        return found

    def same(self, body: bytes, kind: str = "text/xml; charset=utf-8") -> Any:
        """Both must say the same; what they say."""
        wanted = outcome(self.parsing, body, kind)
        for template in self.templates._templates:
            template.left = template.missed = 0  # so that the pattern is asked again after a miss
        assert outcome(self.learning, body, kind) == wanted
        return wanted

    def by_pattern(self, body: bytes, kind: str = "text/xml; charset=utf-8") -> bool:
        return self.templates.read(body, kind) is not ABSENT


@pytest.fixture(scope="module", params=[("exact", False), ("native", False), ("exact", True)])
def pair(request: pytest.FixtureRequest) -> Pair:
    numbers, pretty = request.param
    made = Pair(numbers=numbers)
    made.pretty = pretty
    for stack in STACKS:
        made.same(written(stack, FULL, pretty=pretty))
        assert made.by_pattern(written(stack, LEAST, pretty=pretty))
    return made


@pytest.mark.parametrize("pretty", [False, True])
@pytest.mark.parametrize("stack", STACKS)
def test_each_stacks_writing_is_learned_from_one_reply(stack: str, pretty: bool) -> None:
    pair = Pair()
    full, least = (written(stack, each, pretty=pretty) for each in (FULL, LEAST))
    assert not pair.by_pattern(full)
    pair.same(full)
    for body in (full, least):
        assert pair.by_pattern(body)
        assert pair.same(body)[0] == 200


WRAPPED = """<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="result" type="t:Result" minOccurs="0"
  nillable="true"/></xs:sequence></xs:complexType></xs:element><xs:complexType name="Result"><xs:sequence>
  <xs:element name="a" type="xs:string" nillable="true"/><xs:element name="n" type="xs:int" maxOccurs="unbounded"/>
  </xs:sequence></xs:complexType>"""


@pytest.mark.parametrize("pretty", [False, True])
def test_namespaces_declared_on_the_result(pretty: bool) -> None:
    pair = Pair(WRAPPED)
    gap = "\n  " if pretty else ""
    declared = f'<result xmlns:x="urn:t" {XSI.replace("xsi=", "i=")}>'
    content = gap.join(["", declared, "<x:a>v</x:a>", "<x:n>1</x:n>", "<x:n>2</x:n>", "</result>", ""])
    body = STACKS["asmx"].format(content).encode()
    pair.same(body)
    nil = body.replace(b"<x:a>v</x:a>", b'<x:a i:nil="true"/>').replace(b"<x:n>2</x:n>", b"")
    for each in (body, nil):
        assert pair.by_pattern(each)
        pair.same(each)
    for odd in (
        body.replace(b"x:n", b"n"),
        body.replace(b"x:n", b"y:n"),
        body.replace(b"</result>", b"</result><result/>"),
        body.replace(b"</result>", b"</r>"),
        body.replace(b' xmlns:x="urn:t"', b' xmlns:x="urn:u"'),
        body.replace(b"<result ", b'<result i:nil="true" '),
        body.replace(b"<result ", b'<result i:type="x:Result" '),
        body.replace(b"result", b"stray"),
        STACKS["asmx"].format("").encode(),
        STACKS["asmx"].format("<result/>").encode(),
    ):
        pair.same(odd)
        pair.same(body)


#: What may be put in anywhere, and what becomes of it is the parser's to say.
PIECES = [
    "<", ">", "&", "]]>", "&#65;", "&#13;", "&lt;", "&amp;amp;", "&x;", "<![CDATA[x]]>", "<!-- x -->", "<?x y?>", " ",
    "\n", "\r", "\t", "\x00", "\x0b", "\x7f", "\x85", "\xa0", "\u2028", "\ufeff", "\ufffe", "\uffff", "🗳", "<x/>",
    "<x>1</x>", "x", "1", "-", ".", "+", "1e5", "<n>1</n>", "<words>w</words>", "<words/>", "<few>9</few>", "</r>",
    "<r>", ' xsi:nil="true"', ' xsi:nil="0"', ' mark="1"', ' x="y"', ' xmlns="urn:z"', ' xmlns:q="urn:q"',
    ' xsi:type="t:One"', "http://www.w3.org/1999/XMLSchema", "99999999999999999999", "0", "true", "TRUE", "é",
    "<row/>", "<row />", "<rows/>", "<!DOCTYPE r>", "encoding", "\ud800",
]  # fmt: skip


#: Where something changes (counted among the marks or the letters, round and round), how much goes, and what comes.
CHANGES = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 5000),
        st.sampled_from([0, 0, 0, 1, 2, 7]) | st.integers(0, 40),
        st.sampled_from(PIECES),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(STACKS)), st.sampled_from([FULL, LEAST]), CHANGES, st.booleans())
def test_a_changed_reply_is_read_as_the_parser_reads_it(
    pair: Pair, stack: str, content: str, changes: list[tuple[bool, int, int, str]], is_utf8_said: bool
) -> None:
    body = written(stack, content, pretty=pair.pretty).decode()
    marks = [at for at, letter in enumerate(body) if letter in "<>/ "]
    for at_mark, place, length, piece in changes:
        at = marks[place % len(marks)] if at_mark else place % (len(body) + 1)
        body = body[:at] + piece + body[at + length :]
    pair.same(body.encode("utf-8", "surrogatepass"), "text/xml; charset=utf-8" if is_utf8_said else "text/xml")


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_in_each_place(piece: str) -> None:
    pair = Pair()
    pair.same(written("asmx", FULL))
    body = written("asmx", FULL).decode()
    for at in range(body.index("<text>"), len(body) + 1):
        pair.same((body[:at] + piece + body[at:]).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("said", ["true", "1", "0", "false", " true", "TRUE", ""])
def test_nil_is_what_the_parser_takes_for_it(said: str) -> None:
    pair = Pair()
    pair.same(written("asmx", FULL))
    pair.same(written("asmx", LEAST.replace('nil="true"', f'nil="{said}"')))
    pair.same(written("asmx", FULL.replace("<n>2</n></row>", f'<n>2</n></row><row xsi:nil="{said}" />')))


@pytest.mark.parametrize("count", range(6))
def test_counts_are_kept(count: int) -> None:
    pair = Pair()
    pair.same(written("asmx", FULL))
    _, _, _, warnings = pair.same(written("asmx", LEAST.replace("<few>1</few>", "<few>1</few>" * count)))
    assert bool(warnings) is (not 1 <= count <= 3)


def test_charsets_and_what_is_no_plain_reply_are_left_to_the_parser() -> None:
    pair = Pair()
    body = written("asmx", FULL)
    pair.same(body)
    for kind in ("text/xml; charset=iso-8859-1", "text/xml; charset=utf-16", "multipart/related; boundary=x", ""):
        assert not pair.by_pattern(body, kind)
        pair.same(body, kind)
    for odd in (b"\xef\xbb\xbf" + body, body.replace(b"Ada", b"\xff"), body.decode().encode("utf-16"), b" " + body):
        assert not pair.by_pattern(odd)
        pair.same(odd)


def test_a_start_with_attributes_or_a_header_is_not_learned() -> None:
    pair = Pair()
    body = written("asmx", FULL)
    for odd in (
        body.replace(b'<r xmlns="urn:t"', b'<r xmlns="urn:t" mark="1"'),
        body.replace(b"<soap:Body>", b"<soap:Header/><soap:Body>"),
        body.replace(b'version="1.0"', b'version="1.1"'),
    ):
        pair.same(odd)
        assert not pair.by_pattern(odd)


def test_a_service_that_seldom_keeps_to_its_layout_is_seldom_read_twice() -> None:
    pair = Pair()
    pair.same(written("asmx", FULL))
    odd = HttpReply(200, [("content-type", "text/xml; charset=utf-8")], written("asmx", FULL + "<!-- -->"))
    for _ in range(5000):
        pair.learning.reply(Call(), odd)
    (template,) = pair.templates._templates
    assert 64 <= template.missed <= 150


def test_another_way_of_writing_is_learned_when_the_first_does_not_fit() -> None:
    pair = Pair()
    pair.same(written("asmx", FULL))
    pretty = written("asmx", FULL, pretty=True)
    for _ in range(20):
        pair.learning.reply(Call(), HttpReply(200, [("content-type", "text/xml; charset=utf-8")], pretty))
    assert pair.by_pattern(pretty)
    assert len(pair.templates._templates) == 1


def test_learning_ends() -> None:
    pair = Pair()
    for number in range(40):
        pair.same(written("bare", FULL).replace(b"s:", b"s%d:" % number).replace(b":s=", b":s%d=" % number))
    assert len(pair.templates._templates) <= 8


@pytest.mark.parametrize("times", ["", ' maxOccurs="unbounded"', ' nillable="true"'])
@pytest.mark.parametrize(("depth", "known"), [(7, True), (29, None), (60, False)])
def test_types_within_types(depth: int, known: bool | None, times: str) -> None:
    types = "".join(
        f'<xs:complexType name="T{n}"><xs:sequence><xs:element name="s" type="xs:string"/><xs:element name="e" '
        f'type="t:T{n + 1}" minOccurs="0"{times}/></xs:sequence></xs:complexType>'
        for n in range(depth)
    )
    last = f'<xs:complexType name="T{depth}"><xs:sequence><xs:element name="n" type="xs:int" maxOccurs="unbounded"/>'
    pair = Pair(f'<xs:element name="r" type="t:T0"/>{types}{last}</xs:sequence></xs:complexType>')
    body = STACKS["asmx"].format("<s/><e>" * depth + "<n>1</n><n>2</n>" + "</e>" * depth).encode()
    pair.same(body)
    if known is not None:
        assert pair.by_pattern(body) is known
    pair.same(body)
    pair.same(body.replace(b"<n>2</n>", b""))
    pair.same(STACKS["asmx"].format("<s>&amp;</s>").encode())


@pytest.mark.parametrize(
    "content",
    [
        '<xs:element name="r" type="t:T"/><xs:complexType name="T"><xs:sequence><xs:element name="r" type="t:T"'
        ' minOccurs="0"/></xs:sequence></xs:complexType>',
        '<xs:element name="r"><xs:complexType><xs:choice><xs:element name="a"/></xs:choice>'
        "</xs:complexType></xs:element>",
        '<xs:element name="r" type="xs:string"/>',
        '<xs:element name="r"><xs:complexType mixed="true"><xs:sequence/></xs:complexType></xs:element>',
    ],
)
def test_types_without_a_pattern_are_parsed(tmp_path: Path, content: str) -> None:
    codec = codec_of(make_echo(tmp_path, content).operation)
    assert isinstance(codec, SoapCodec)
    body = STACKS["bare"].format("").encode()
    first = outcome(codec, body, "text/xml")
    assert outcome(codec, body, "text/xml") == first
    assert codec._plan.templates is not None
    assert codec._plan.templates.read(body, "text/xml") is ABSENT
