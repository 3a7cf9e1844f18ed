"""JSON to XML, held against lxml (is it XML?) and xmltodict (is it the same?)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import xmltodict
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from bridge.api import InvalidBody, parse_json
from bridge_xml import encode as module
from bridge_xml.decode import MAX_DEPTH, decode
from bridge_xml.encode import encode

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'


def written(json: str, **options: str) -> str:
    document = encode(parse_json(json.encode()), **options).decode()
    etree.fromstring(document.encode())  # the judge of form
    assert document.startswith(PROLOG)
    return document.removeprefix(PROLOG)


@pytest.mark.parametrize(
    ("json", "xml"),
    [
        ('{"a":null}', "<a/>"),
        ('{"a":""}', "<a/>"),
        ('{"a":{}}', "<a/>"),
        ('{"a":"x"}', "<a>x</a>"),
        ('{"a":true}', "<a>true</a>"),
        ('{"a":0}', "<a>0</a>"),
        ('{"a":false}', "<a>false</a>"),
        ('{"a":1.10}', "<a>1.10</a>"),
        ('{"a":123456789012345678901234567890}', "<a>123456789012345678901234567890</a>"),
        ('{"a":{"@x":"1","#text":"t"}}', '<a x="1">t</a>'),
        ('{"a":{"@x":null,"@y":false,"@z":2.50}}', '<a x="" y="false" z="2.50"/>'),
        ('{"a":{"b":[1,2],"c":[]}}', "<a><b>1</b><b>2</b></a>"),
        ('{"a":{"b":[null,{"@x":1},"t"]}}', '<a><b/><b x="1"/><b>t</b></a>'),
        ('{"a":{"b":{"c":{"d":"x"}}}}', "<a><b><c><d>x</d></c></b></a>"),
        ('{"a":{"#text":"t","b":1}}', "<a><b>1</b>t</a>"),
        ('{"a":"<&>\\"\'\\r\\n\\t]]>"}', "<a>&lt;&amp;&gt;\"'&#13;\n\t]]&gt;</a>"),
        ('{"a":{"@x":"<&>\\"\'\\r\\n\\t"}}', '<a x="&lt;&amp;>&quot;\'&#13;&#10;&#9;"/>'),
        ('{"é":"日\\ud83d\\ude00"}', "<é>日\U0001f600</é>"),
        ('{"a":{"@xmlns":"urn:x"}}', '<a xmlns="urn:x"/>'),
        ('{"p:a":{"@xmlns:p":"urn:p","p:b":{"@p:c":1}}}', '<p:a xmlns:p="urn:p"><p:b p:c="1"/></p:a>'),
        ('{"p:a":{"@xmlns":{"":"urn:d","p":"urn:p"}}}', '<p:a xmlns="urn:d" xmlns:p="urn:p"/>'),
        ('{"a":{"@xml:lang":"de","#text":"x"}}', '<a xml:lang="de">x</a>'),
    ],
)
def test_conventions(json: str, xml: str) -> None:
    assert written(json) == xml


def test_root_and_namespace() -> None:
    assert written('{"a":1,"b":2}', root="r") == "<r><a>1</a><b>2</b></r>"
    assert written("{}", root="r") == "<r/>"
    assert written('{"#text":"x","@id":"1"}', root="r") == '<r id="1">x</r>'
    assert written('{"a":1}', root="r", namespace="urn:x&y") == '<r xmlns="urn:x&amp;y"><a>1</a></r>'
    assert written('{"a":1}', namespace="urn:x") == '<a xmlns="urn:x">1</a>'
    assert written('{"a":{"b":1}}', namespace="urn:x") == '<a xmlns="urn:x"><b>1</b></a>'
    assert written('{"a":{"@xmlns":"urn:own"}}', namespace="urn:x") == '<a xmlns="urn:own"/>'


@pytest.mark.parametrize(
    ("json", "pointer", "word"),
    [
        ("[]", "", "an array"),
        ('"x"', "", "a string"),
        ("1", "", "a number"),
        ("null", "", "null"),
        ("{}", "", "it has none"),
        ('{"a":1,"b":2}', "", "it has 2: 'a', 'b'"),
        ('{"a":[1]}', "/a", "one root element"),
        ('{"#text":"x"}', "/#text", "can't be a name"),
        ('{"a":{"1b":1}}', "/a/1b", "'1b' can't be a name"),
        ('{"a":{"":1}}', "/a/", "can't be a name"),
        ('{"a":{"b c":1}}', "/a/b c", "can't be a name"),
        ('{"a":{"b/c~d":1}}', "/a/b~1c~0d", "can't be a name"),
        ('{"a":{"b><evil/":1}}', "/a/b><evil~1", "can't be a name"),
        ('{"a":{"!--":1}}', "/a/!--", "can't be a name"),
        ('{"a":{"?php":1}}', "/a/?php", "can't be a name"),
        ('{"a":{"b\\u0301c:d:e":1}}', "/a/b\u0301c:d:e", "can't be a name"),
        ('{"a":{"#comment":"x"}}', "/a/#comment", "can't be a name"),
        ('{"a":{"@":"x"}}', "/a/@", "can't be a name"),
        ('{"a":{"@b=\\"x\\" c":"x"}}', '/a/@b="x" c', "can't be a name"),
        ('{"a":{"b":[0,"\\u0000"]}}', "/a/b/1", "U+0000"),
        ('{"a":{"@b":"\\u001b"}}', "/a/@b", "U+001B"),
        ('{"a":{"#text":"\\uffff"}}', "/a/#text", "U+FFFF"),
        ('{"a":{"@b":[1]}}', "/a/@b", "an array can't stand here"),
        ('{"a":{"@b":{}}}', "/a/@b", "an object can't stand here"),
        ('{"a":{"#text":{}}}', "/a/#text", "an object can't stand here"),
        ('{"a":{"b":[[1]]}}', "/a/b/0", "an array can't stand here"),
        ('{"p:a":1}', "/p:a", "the prefix 'p' is not declared"),
        ('{"a":{"@p:b":1}}', "/a/@p:b", "the prefix 'p' is not declared"),
        ('{"a":{"b":{"@xmlns:p":"u"},"p:c":1}}', "/a/p:c", "the prefix 'p' is not declared"),
        ('{"a":{"@xmlns:p":""}}', "", "namespaces make no XML document"),
        ('{"a":{"@xmlns:p":"u","@xmlns:q":"u","@p:x":1,"@q:x":1}}', "", "namespaces make no XML document"),
        ('{"a":{"@xmlns":{"p":"u"},"@xmlns:p":"v"}}', "", "namespaces make no XML document"),
        ('{"a":{"xmlns:b":1}}', "", "namespaces make no XML document"),
        ('{"a":{"@xmlns:xml":"urn:mine"}}', "", "namespaces make no XML document"),
    ],
)
def test_what_has_no_xml_form(json: str, pointer: str, word: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        encode(parse_json(json.encode()))
    ((at, reason),) = caught.value.errors
    assert at == pointer
    assert word in reason


def test_all_faults_are_named_at_once_but_not_without_end() -> None:
    with pytest.raises(InvalidBody) as caught:
        encode({"a": {"1": 1, "b": "\0", "@c": []}})
    assert [at for at, _ in caught.value.errors] == ["/a/@c", "/a/1", "/a/b"]
    with pytest.raises(InvalidBody) as caught:
        encode({"a": {str(n): 1 for n in range(1000)}})
    assert len(caught.value.errors) == 25


# --- round trips -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "entry", "é", "x.y-z_1"])
WRITABLE = st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
    lambda one: one >= " " or one in "\t\n\r"
)
TEXTS = st.text(WRITABLE, min_size=1).map(str.strip).filter(bool)  # white space around text goes, by convention
ATTRIBUTES = st.dictionaries(NAMES.map("@".__add__), st.text(WRITABLE), max_size=2)


def _objects(contents: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """what is read back when every name is in `force_list`: elements in arrays, text and attributes as strings."""
    elements = st.dictionaries(NAMES, st.lists(contents, min_size=1, max_size=3), max_size=3)
    text: st.SearchStrategy[dict[str, str]] = st.just({}) | TEXTS.map(lambda text: {"#text": text})
    return st.builds(lambda *parts: parts[0] | parts[1] | parts[2], ATTRIBUTES, elements, text).map(_plain)


def _plain(value: dict[str, Any]) -> Any:
    """An object with nothing in it is null, one with only text is that text: the conventions' own short forms."""
    if not value:
        return None
    return value["#text"] if list(value) == ["#text"] else value


BODIES = st.builds(lambda name, content: {name: content}, NAMES, st.recursive(st.none() | TEXTS, _objects))


@given(BODIES)
def test_json_comes_back(body: dict[str, Any]) -> None:
    """JSON -> XML -> JSON, with every name in force_list: nothing is lost, whoever reads it."""
    document = encode(parse_json(orjson.dumps(body)))
    every = frozenset(["a", "b", "entry", "é", "x.y-z_1"])
    ((root, (content,)),) = decode(document, force_list=every).items()
    assert {root: content} == body
    ((root, (content,)),) = xmltodict.parse(document, force_list=tuple(every)).items()
    assert {root: content} == body


@given(BODIES)
def test_it_says_what_xmltodict_says(body: dict[str, Any]) -> None:
    theirs = etree.fromstring(xmltodict.unparse(body, encoding="UTF-8").replace("\r", "&#13;").encode())
    ours = etree.fromstring(encode(body))
    assert etree.tostring(ours, method="c14n2") == etree.tostring(theirs, method="c14n2")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_anything_is_xml_or_refused(value: Any) -> None:
    """Whatever comes, the answer is a document that a parser takes, or a 400: never injected markup."""
    try:
        document = encode({"a": value})
    except InvalidBody:
        return
    etree.fromstring(document)


@pytest.mark.parametrize("levels", [120, 121, 255, 511])
def test_what_goes_up_is_nested_as_deep_as_what_comes_down_at_most(levels: int) -> None:
    """Each of the elements is in an array but the first, which is two levels of JSON."""
    body: Any = "x"
    for _ in range(levels - 1):
        body = {"a": [body]}
    body = {"a": body}
    if levels <= MAX_DEPTH:
        assert decode(encode(body), force_list={"a"}) == {"a": [body["a"]]}
    else:
        with pytest.raises(InvalidBody) as caught:
            encode(body)
        assert caught.value.errors[0][1] == "elements are nested deeper than 120 levels"


def test_a_document_that_is_joined_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"r": {"a": [{"b": number, "@c": "é"} for number in range(100)], "d": {"#text": "&"}}}
    whole = encode(value)
    for pieces in (1, 7, 10_000):
        monkeypatch.setattr(module, "_PIECES", pieces)
        assert encode(value) == whole
