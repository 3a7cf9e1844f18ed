"""The plain reader against the whole parser: what it takes, it takes as that one would; the rest it leaves alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bridge.config import plainyaml
from bridge.config.specfile import MAX_NODES, Unread, line_of, plain, read_text
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


def whole(text: str) -> Any:
    """What the whole parser makes of it; None where it refuses."""
    try:
        return [plain(doc) for doc in YAML(typ="rt", pure=True).load_all(StringIO(text)) if doc is not None]
    except (YAMLError, ValueError):
        return None


def typed(value: Any) -> Any:
    """`value` with its types told, since 1, 1.0 and True are equal."""
    if isinstance(value, dict):
        return [(key, typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, value


def agrees(text: str) -> bool:
    """Whether it was read as plain; then it is what the whole parser reads."""
    read = plainyaml.read(text, MAX_NODES)
    if read is None:
        return False
    assert typed(read) == typed(whole(text)), text
    return True


def test_a_spec_as_people_write_it_is_plain() -> None:
    assert agrees(SPEC)
    assert agrees(f"---\n{SPEC}---\n# nothing\n---\n{SPEC}")
    assert agrees(json.dumps({"route": "/a", "methods": ["GET"], "rate_limit": {"rps": 50, "burst": 1.5}}, indent=2))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_the_routes_of_the_demo(path: Path) -> None:
    assert agrees(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "value",
    [
        "no", "yes", "on", "off", "y", "N", "true", "True", "TRUE", "tRUE", "false", "null", "Null", "~", "nullx",
        "0",
        "10", "5s", "1.5s", "500ms", "64M", "1.50", "0.1", "123456789012345.123456789012345", "/a/{b}", "a#b", "a #b",
        "a:b", "a:b:c", "'a'", "'a: b'", '"a # b"', "''", '""', "'a' # b", "[]", "{}", "[a, b]", "[ a , 'b' ]",
        "[a, [b, {c: 1}]]", "{a: {b: [1, true]}}", "{a: b} # c", "{ 'a': 1, \"b\": 2 }", "[ [a] , {b: c} ]", "a b  c",
        "_", "http://h:80/x", "[http://h:80/x]", "{a: http://h/x}", "Ä",
        "…", "a — “b” € 漢字", "ärger", "a\u00a0b", "'\u00a0'", "[a:b]",
        "a'b",
        "[9, 1.5, 5s]", "a - b", "a, b", "a]", "a ? b", "a & b", "a! %b",
    ],
)  # fmt: skip
def test_values_that_look_like_others(value: str) -> None:
    agrees(f"k: {value}\n")
    agrees(f"k:\n- {value}\n- {value}\n")


@pytest.mark.parametrize(
    "text",
    [
        "a: &x b\n", "a: *x\n", "a: !!str b\n", "a: |\n  b\n", "a: >-\n  b\n", "? a\n: b\n",
        "%YAML 1.1\n---\na: no\n",
        "a: b\n...\n", "<<: {a: b}\n", "a: 017\n", "a: 0o17\n", "a: 0x1F\n", "a: 1_000\n", "a: 1e5\n", "a: +1\n",
        "a: .5\n",
        "a: 5.\n", "a: 1.5e3\n", "a: .inf\n", "a: 2001-01-01\n", "a: 1:30\n", "a: 1\na: 2\n", "a: {b: 1, b: 2}\n",
        "a: {b: 1, 'b': 2}\n", "a: b\n  c\n", "a: 'b\n  c'\n", 'a: "\\n"\n', "a: 'it''s'\n", "a: [b,\n  c]\n",
        "a: {b:1}\n",
        "a: {b: }\n", "a: [b, ]\n", "a: [b: c]\n", "a: b: c\n", "a: b:\n", "a: [b\n", "a: b]\n- c\n", "- a\n",
        "a\n", "",
        "# a\n", "true: a\n", "null: a\n", "1: a\n", "a:\tb\n", "a: b\r\n", "\ufeffa: b\n", "a: \u2028b\n",
        "a: b\x85c\n",
        "a:\n- b\n c: d\n", "a:\n    b: 1\n  c: 2\n", "a:\n  - b\n - c\n", " a: b\nc: d\n", "a: 'b'c\n",
        "a: {b: c}d\n",
        "a:\n- b: c\n", "a:\n- - b\n", "--- a: b\n", "a: b\n--- c\n", "a: `b\n", "a: @b\n", "a: -\n", "a:\n-\n",
        "a: - b\n",
        '{"a": 1, "a": 2}', '{"a": 1e5}', '{"a": -1}', '{"a"\n: 1}', '{"a": "\\/"}', '{"a": NaN}', '{"a": 1} x',
        '[{"a": 1}]',
        f"a: [{'9' * 30}]\n", f"{'k' * 1100}: 1\n", f'{{"{"k" * 1100}": 1}}', f"a: {'[' * 40}{']' * 40}\n",
        "a: 1\n" + "".join(f"{'  ' * n}b:\n" for n in range(40)), f"a: [{'1,' * 6000}1]\n",
    ],
)  # fmt: skip
def test_what_is_not_surely_plain_is_left_to_the_whole_parser(text: str) -> None:
    assert plainyaml.read(text, MAX_NODES) in (None, [])


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
) | st.sampled_from(["---", "", "# c", "...", "-", "a: |", "a: &x b", "  continued"])


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.sampled_from([None, 2]), st.booleans())
@settings(max_examples=400)
def test_json(value: dict[str, Any], indent: int | None, escaped: bool) -> None:
    agrees(json.dumps(value, indent=indent, ensure_ascii=escaped))
    agrees(json.dumps(value, separators=(",", ":")))


@given(st.integers(0, len(SPEC)), st.text("ab:#-'\"{}[], \n1", max_size=3), st.integers(0, 3))
@settings(max_examples=600)
def test_a_spec_with_a_slip_of_the_hand(at: int, slip: str, lost: int) -> None:
    text = SPEC[:at] + slip + SPEC[at + lost :]
    agrees(text)


@given(st.integers(0, len(SPEC)), st.text("ab:#-'\"{}[], \n1", max_size=3), st.integers(0, 3))
@settings(max_examples=300)
def test_specs_and_faults_are_the_same_either_way(at: int, slip: str, lost: int) -> None:
    text = SPEC[:at] + slip + SPEC[at + lost :]

    def told() -> Any:
        try:
            return [spec for spec, _ in read_text(text, "a.yml")]
        except SpecError as error:
            return [str(fault) for fault in error.faults]

    fast = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plainyaml, "read", lambda text, most: None)
        assert fast == told()


def test_a_document_that_was_read_plainly_knows_its_lines_all_the_same() -> None:
    text = f"{SPEC}---\n# of another\n---\n{SPEC}"
    documents = [document for _, document in read_text(text, "a.yml")]
    assert all(isinstance(document, Unread) for document in documents)
    assert [line_of(document, ("auth", "audience")) for document in documents] == [7, 24]


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


def test_a_plain_spec_costs_a_fiftieth_of_the_whole_parser() -> None:
    read_text(SPEC)  # whatever is made once
    assert 50 * calls(lambda: plainyaml.read(SPEC, MAX_NODES)) < calls(lambda: whole(SPEC))
