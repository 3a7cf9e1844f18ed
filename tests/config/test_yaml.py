"""The YAML reader: the core schema of YAML 1.2, its bounds, its lines; and against a parser that is not libyaml."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from bridge.config.specfile import read_text
from bridge.config.yaml import MAX_SIZE, Lines, dump, parse
from bridge.errors import SpecError

ROOT = Path(__file__).parents[2]
SPECS = [path for suffix in ("yml", "yaml", "json") for path in sorted((ROOT / "routes").rglob(f"*.{suffix}"))]

SPEC = """\
# An example
route: /v1/a/{id}   # its path
upstream: http://svc.internal:80/b
methods:
- GET
- POST
auth: {type: JWT, audience: [A, "B C"], roles: []}
rate_limit:
  rps: 50
  burst: 100
cache: {ttl: 1.5s}
timeout: 2.5
transform:
  request: passthrough
"""


def read(text: str) -> list[Any] | None:
    """The documents of `text`; None where it is refused."""
    try:
        return [value for value, _ in parse(text, "a.yml")]
    except SpecError:
        return None


def fault(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        list(parse(text, "a.yml"))
    [only] = caught.value.faults
    return str(only)


# --- what scalars mean -------------------------------------------------------------------------------------------

#: YAML 1.2.2, section 10.3.2, the table and what it leaves to text.
SCALARS: list[tuple[str, Any]] = [
    *((text, None) for text in ("", "~", "null", "Null", "NULL")),
    *((text, True) for text in ("true", "True", "TRUE")),
    *((text, False) for text in ("false", "False", "FALSE")),
    *(("0", 0), ("-0", 0), ("12", 12), ("-12", -12), ("+12", 12), ("017", 17), ("0o17", 15), ("0x1F", 31)),
    *(("1.5", 1.5), ("-1.5", -1.5), ("+.5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("1.5E-3", 0.0015), ("08", 8)),
    *((text, math.inf) for text in (".inf", ".Inf", ".INF", "+.inf")),
    ("-.INF", -math.inf),
]  # fmt: skip
TEXTS = [
    "no", "yes", "on", "off", "y", "N", "tRUE", "nullx", "1_000", "0b1", "1:30", "2001-01-01",
    "-0o7", "+0x1", "0o8", "0xg",
    "1e", "1.5.6", ".", "-", "+", ".infx", "inf", "nan", "1 2", "5s", "=", "<<", "/a/{b}", "a#b", "a:b", "http://h:80/x",
    "\u0661", "1\u0662", "Ä", "…",
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_the_core_schema(text: str, value: Any) -> None:
    for document in (f"k: {text}\n", f"{{k: {text} }}", f"k:\n- {text}\n"):
        [values] = read(document) or [None]
        got = values["k"][0] if isinstance(values["k"], list) else values["k"]
        assert (type(got), got) == (type(value), value)
    assert read(f"k: '{text}'\nl: \"{text}\"\nm: |-\n  {text}\n") == [{"k": text, "l": text, "m": text}]


def test_not_a_number() -> None:
    assert all(math.isnan(value) for value in (read("[.nan, .NaN, .NAN]") or [[]])[0])


@pytest.mark.parametrize("text", TEXTS)
def test_what_the_core_schema_leaves_as_text(text: str) -> None:
    expected = None if text == "-" else text
    assert read(f"k:\n- {text}\n") == [{"k": [expected if text != "-" else [None]]}]


def test_keys_are_text_as_written() -> None:
    assert read("1: a\n017: b\ntrue: c\nnull: d\n1.0: e\n'2': f\n<<: {g: h}\n") == [
        {"1": "a", "017": "b", "true": "c", "null": "d", "1.0": "e", "2": "f", "<<": {"g": "h"}}
    ]
    assert fault("a: 1\nb: {c: 1,\n 'c': 2}\n") == "a.yml:3: c: it is not YAML: the key stands twice in one mapping"


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: &x c\n", "a.yml:2: YAML anchors and aliases are not supported"),
        ("a: *x\n", "a.yml:1: YAML anchors and aliases are not supported"),
        ("&x a: 1\n", "a.yml:1: YAML anchors and aliases are not supported"),
        ("&x {a: 1}\n", "a.yml:1: YAML anchors and aliases are not supported"),
        ("a: !!str 1\n", "a.yml:1: YAML tags are not supported"),
        ("a: ! 1\n", "a.yml:1: YAML tags are not supported"),
        ("a: !x [1]\n", "a.yml:1: YAML tags are not supported"),
        ("%TAG ! tag:x,1:\n---\na: 1\n", "a.yml:1: YAML tags are not supported"),
        ("%YAML 1.1\n---\na: no\n", "a.yml:1: YAML 1.1 is not supported, only YAML 1.2"),
        ("a: 1\n? [b]\n: 1\n", "a.yml:2: a key is a list or a mapping; only text is supported"),
        ("a: x\x85y", "a.yml:1: it is not YAML: U+0085 must be written as an escape"),
        ("a:\n- x\u2028y", "a.yml:2: it is not YAML: U+2028 must be written as an escape"),
        ("a: \x00", "a.yml:1: it is not YAML: U+0000 must be written as an escape"),
        ("a: \ud800", "a.yml:1: it is not YAML: U+D800 must be written as an escape"),
        ('a: "\\ud800"', "a.yml:1: it is not YAML: found invalid Unicode character escape code"),
        (f"a: {'9' * 401}", "a.yml:1: it has more than 400 digits"),
        ("a:" + " " * MAX_SIZE, "a.yml: it has more than 256 kB"),
        ("[" + "1," * 10_000 + "1]", "a.yml:1: it has more than 10000 keys and values"),
        ("\n".join(f"k{n}: 1" for n in range(5001)), "a.yml:5000: it has more than 10000 keys and values"),
        ("a: [b,\n\n\n", "a.yml:1: it is not YAML: did not find expected node content"),
        ("a: [b\nc: d\n",
         "a.yml:2: it is not YAML: did not find expected ',' or ']', while parsing a flow sequence that starts"
         " in line 1"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named_with_its_line(text: str, told: str) -> None:
    assert fault(text) == told


def test_bounds_are_reached_but_not_passed() -> None:
    assert read("[" * 32 + "]" * 32) is not None
    assert read("[" * 33 + "]" * 33) is None
    assert read("[" + "1," * 9998 + "1]") is not None


def test_a_byte_order_mark_and_a_version_are_taken() -> None:
    assert read("\ufeff%YAML 1.2\n---\na: no\n...\n") == [{"a": "no"}]


@pytest.mark.parametrize(
    "part",
    ["[", "{", "- ", "? ", "{a: ", ":", "a: ", "a ", "a\n", "|\n a\n", "#\n", " ", "\n", "---\n", "--- a\n", "- 1\n",
     "[],", "''",
     "%TAG !a! b\n", "%A\n", "&a ", "*a ", "!a ", '"\\x41', "9", "x:", "\t", "-\n", "?\n", "'\n", '"a":'],
)  # fmt: skip
def test_no_text_of_full_size_takes_long(part: str) -> None:
    for text in (part * (MAX_SIZE // len(part)), "a: [" + part * (MAX_SIZE // len(part) - 2)):
        began = time.process_time()
        read(text)
        assert time.process_time() - began < 0.2  # 0.02 when this was written


# --- against another parser --------------------------------------------------------------------------------------


def expected(node: Node, yaml: YAML) -> Any:
    """What ruamel reads, with keys as text, and without what it has beyond the core schema."""
    if isinstance(node, MappingNode):
        return {key.value: expected(value, yaml) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [expected(item, yaml) for item in node.value]
    kind = str(node.tag).rpartition(":")[2]
    extended = "_" in node.value or node.value.lstrip("+-").startswith("0b") or node.value[1:].startswith(("0o", "0x"))
    if kind not in ("null", "bool", "int", "float") or extended:
        return node.value
    return yaml.constructor.construct_object(node, deep=True)


def other(text: str) -> list[Node] | None:
    """The nodes that ruamel makes of it; None where it refuses, or finds what is not supported here."""
    yaml = YAML(typ="safe", pure=True)
    try:
        return list(yaml.compose_all(StringIO(text)))
    except (YAMLError, ValueError):
        return None


def typed(value: Any) -> Any:
    """`value` with its types told, since 1, 1.0 and True are equal."""
    if isinstance(value, dict):
        return [(key, typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, repr(value)


#: A block scalar that is a whole document need not be indented. For libyaml it must be, so a # begins a comment there.
#: No file of ours is a text.
UNINDENTED = re.compile(r"^(?:---[ \t]+)?[|>][^\n]*\n+#", re.MULTILINE)


def agrees(text: str) -> bool:
    """Whether both take it; then they read the same."""
    values = read(text)
    nodes = None if values is None or UNINDENTED.search(text) else other(text)
    if nodes is None:
        return False
    yaml = YAML(typ="safe", pure=True)
    assert typed(values) == typed([expected(node, yaml) for node in nodes]), text
    return True


def test_a_spec_as_people_write_it() -> None:
    assert agrees(SPEC)
    assert agrees(f"---\n{SPEC}---\n# nothing\n---\n{SPEC}")
    assert agrees(json.dumps({"route": "/a", "methods": ["GET"], "rate_limit": {"rps": 50, "burst": 1.5}}, indent=2))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_the_routes_of_the_demo(path: Path) -> None:
    assert agrees(path.read_text("utf-8"))


WORDS = st.sampled_from(
    ["a", "b", "route", "true", "no", "null", "1", "5s", "1.5", "017", "'x y'", '"z"', "/p/{q}", "a:b", "a#b", "é", "~"]
)
FLOW = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(WORDS, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=5,
)
LINES = st.builds(
    lambda indent, dash, key, value, comment: f"{' ' * indent}{dash}{key}{value}{comment}",
    st.sampled_from([0, 0, 0, 1, 2, 2, 4]),
    st.sampled_from(["", "", "", "- "]),
    WORDS.map(lambda word: f"{word}: ") | st.just("") | st.sampled_from(["k:", "a:", "b: "]),
    FLOW | st.just(""),
    st.sampled_from(["", "", " # c", "#", " "]),
) | st.sampled_from(
    ["---", "", "# c", "...", "-", "a: |", "a: >-", "a: &x b", "  continued", "? a", ": b", "%YAML 1.2"]
)


@given(st.lists(LINES, max_size=8))
@settings(max_examples=600)
def test_lines_that_are_nearly_specs(lines: list[str]) -> None:
    agrees("\n".join(lines))


@given(st.text("ab:#-'\"{}[], \n1.\\&*!|>?%@`~/\u00e9\u2013\u2028\u3042\t", max_size=24))
@example("a:\n- b\n-  c\n")
@settings(max_examples=1500)
def test_any_text_of_the_characters_that_mean_something(text: str) -> None:
    agrees(text)
    agrees(f"a: {text}")


@given(st.integers(0, len(SPEC)), st.text("ab:#-'\"{}[], \n1", max_size=3), st.integers(0, 3))
@settings(max_examples=600)
def test_a_spec_with_a_slip_of_the_hand(at: int, slip: str, lost: int) -> None:
    agrees(SPEC[:at] + slip + SPEC[at + lost :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.sampled_from([None, 2, "\t"]))
@settings(max_examples=400)
def test_json(value: dict[str, Any], indent: int | str | None) -> None:
    for text in (
        json.dumps(value, indent=indent, ensure_ascii=False),
        json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    ):
        got = read(text)
        # What Python leaves bare and the reader wants escaped.
        bare = re.search("[\x7f-\x9f\u2028\u2029\ufffe\uffff]", text)
        assert got == [value] or (got is None and bare), text


# --- lines -------------------------------------------------------------------------------------------------------


def lines_of(node: Node) -> Any:
    """The lines of keys and items as ruamel has them, in the shape of `Lines.below`."""
    if isinstance(node, MappingNode):
        return {key.value: (key.start_mark.line + 1, lines_of(value)) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return {str(at): (item.start_mark.line + 1, lines_of(item)) for at, item in enumerate(node.value)}
    return {}


def flat(lines: Lines) -> Any:
    return {key: (inner.line, flat(inner)) for key, inner in lines.below.items()}


@given(st.lists(LINES, max_size=8))
@settings(max_examples=300)
@example(SPEC.splitlines())
def test_lines_of_keys_and_items(lines: list[str]) -> None:
    text = "\n".join(line for line in lines if line)
    nodes = None if read(text) is None else other(text)
    if nodes is None:
        return
    # An empty item has no place of its own: the two name the line of its dash or the next one's.
    if "-\n" not in f"{text}\n" and ":\n" not in f"{text}\n".replace(" ", ""):
        assert [flat(document.lines()) for _, document in parse(text)] == [lines_of(node) for node in nodes]


def test_a_document_knows_its_lines() -> None:
    text = f"{SPEC}---\n# of another\n---\n{SPEC}"
    documents = [document for _, document in read_text(text, "a.yml")]
    assert [document.lines().at(("auth", "audience", 1)).line for document in documents] == [7, 24]
    assert [document.lines().at(("methods", 1, "none")).line for document in documents] == [6, 23]


# --- cost --------------------------------------------------------------------------------------------------------


def calls(work: Callable[[], object]) -> int:
    """Python functions that `work` calls, and functions of C that they call."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_spec_costs_a_fiftieth_of_a_parser_in_python() -> None:
    read_text(SPEC)  # whatever is made once
    whole = calls(lambda: list(YAML(typ="rt", pure=True).load_all(StringIO(SPEC))))
    assert 50 * calls(lambda: read(SPEC)) < whole


def test_what_is_written_is_read_as_the_same() -> None:
    texts = ["1e3", "0o7", ".5", "yes", "1:30", "null", "~", "", "a\u2028b", "a\x85b", "\ufeffa", " a ", "a: b", "# a"]
    texts += ["-", "1_0", "a\nb\n", "a\tb", "é\U0001f600", "2020-01-01", "=", "<<", "'\"", "x" * 300 + " y"]
    values = [{"a": text, "b": [text, {text or "k": 1}]} for text in texts]
    for value in (*values, {"a": [1, 1.5, 1e300, 1e-7, -2, True, None, [], {}]}):
        assert [document for document, _ in parse(dump(value))] == [value]
