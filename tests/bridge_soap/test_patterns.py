"""Patterns that Python's ``re`` may take for ever with are matched without backtracking, and match the same."""

from __future__ import annotations

import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_soap.datatypes.regex import PatternError, read, sample, source
from bridge_soap.datatypes.simulate import MAX_WAYS, SHORT, matcher, simulation, ways

PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", "ab", "", "a*", "[ab]+", "a{2,3}", ".?"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,20}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        )
        | st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})")
    ),
    max_leaves=8,
)


@settings(max_examples=600, deadline=None)
@given(PATTERNS, st.text("ab1", max_size=8))
def test_both_ways_agree(pattern: str, text: str) -> None:
    expected = re.compile(source(read(pattern)), re.DOTALL).fullmatch(text) is not None
    assert simulation(read(pattern))(text) is expected
    assert bool(matcher(read(pattern))(text)) is expected


def is_risky(pattern: str) -> bool:
    return ways(read(pattern), math.inf) > MAX_WAYS


def nested(depth: int, count: str = "*") -> str:
    """Groups in groups, each of which moves on by one character after all within it was tried to the end."""
    return f"(a|{nested(depth - 1, count)}c){count}" if depth else f"(aa|a){count}"


@pytest.mark.parametrize(
    "pattern",
    [
        "(a|a)*b",
        "(a*)*b",
        "((()?)*aa)*b",
        r"([a-z]+\.?)*[0-9]",
        r"((\s*[A-Za-z]+)+\s*)+!",
        "(a?){500}b",
        "(a?){9000}b",
        "([ab]{1,9}a?)+c",
        "a*a*a*a*a*b",
        r"\s*[\w ]*\s*[\w ]*!",
        "((a|aa){0,8}){0,8}b",
        "(((a|aa){0,8}){0,8}){0,8}b",
        nested(3),
        nested(1, "{0,50}"),
        "(a|[ab]*c)*b",
        "(a|a)" * 40 + "b",
    ],
)
def test_what_would_never_end(pattern: str) -> None:
    assert is_risky(pattern)
    match = matcher(read(pattern))
    started = time.process_time()
    assert not match("a" * 5000 + "?")
    assert not match("a" * (SHORT - 1) + "?")
    assert match(sample(pattern))
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "pattern",
    [
        "[A-Z]{2}[0-9]{8,12}",
        r"\d+(\.\d+)?",
        "a*b*c*",
        "(AB|CD)?",
        r"[a-z\-]+@[a-z]+",
        r"[a-z]+(\.[a-z]+)*@[a-z]+",
        "[^ ]+( [^ ]+)*",
        "[a-z]{1,5}[a-z0-9]{0,9}",
        "|".join(f"{number:03}" for number in range(999)),
    ],
)
def test_common_patterns_are_left_to_python(pattern: str) -> None:
    assert not is_risky(pattern)
    started = time.process_time()
    assert not matcher(read(pattern))("a0" * 50_000 + " ")
    assert time.process_time() - started < 5


def test_short_texts_are_left_to_python() -> None:
    """That a text holds more than spaces is asked often; backtracking is only slow for long texts."""
    tree = read(r".*\S.*")
    assert is_risky(r".*\S.*")
    assert ways(tree, SHORT) <= MAX_WAYS
    match = matcher(tree)
    for length in (SHORT - 1, SHORT, 20_000):
        assert match(" " * length + "a")
        assert not match(" " * length + "\n")


def test_counts_of_counts_are_limited() -> None:
    with pytest.raises(PatternError, match="beyond 10,000"):
        matcher(read("((((a|aa){0,99}){0,99}){0,99}){0,99}b"))


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        # elementpath leaves these to Python, where they mean something else
        (r"\w+", ["aé", "+", "€", "e\u0301", "\U0001f600"], ["_", "-", "a b"]),
        (r"\s+", [" \t\r\n"], ["\xa0", "\x85", "\u2028", "\x0b"]),
        # elementpath takes the negation of the union for the union of the negations
        (r"[\P{L}\P{N}]+", ["a1_"], []),
        # elementpath has no names beyond the first plane
        (r"\i\c*", ["\U00010400b", "_1"], ["1b"]),
        # RE2 knows ASCII only in \d, and no count above 1000, whether written or multiplied
        (r"\d+", ["12", "\u0663"], ["²"]),
        (r".{1,4000}", ["a" * 4000], ["a" * 4001, ""]),
        (r"([A-Za-z]{1,50} ?){1,100}", ["ab " * 100, "a" * 5000], ["ab  c", "a" * 5001]),
        (r"(\p{L}{1,50} ?){1,20}", ["é " * 20], ["é " * 21]),
        # surrogates cannot be encoded for RE2
        (r"[^a]", ["\ud800"], ["a"]),
    ],
)
def test_what_libraries_miss(pattern: str, matches: list[str], others: list[str]) -> None:
    match = matcher(read(pattern))
    assert all(map(match, matches))
    assert not any(map(match, others))


@pytest.mark.parametrize(
    ("pattern", "portable"),
    [
        (r"\d+", "[0-9]+"),
        (r"[\da-f]{2}", "[0-9a-f]{2}"),
        (".{1,4}|a?", ".{1,4}|a?"),
        ("([^,]*,)*", r"(?:[^\x2c]*\x2c)*"),
        (r"\S+", r"[^\x09-\x0a\x0d\x20]+"),
        (r"[\s\S]{2,}", r"[\s\S]{2,}"),
        (r"\w", None),
        (r"\D", None),
    ],
)
def test_patterns_for_openapi(pattern: str, portable: str | None) -> None:
    """Python's escapes of characters beyond the first plane mean something else in ECMA 262."""
    if portable is None:
        with pytest.raises(PatternError):
            source(read(pattern), portable=True)
    else:
        assert source(read(pattern), portable=True) == portable


def test_samples_are_bounded() -> None:
    assert len(sample("((a{100000}){10000}){10}")) <= 10_000
