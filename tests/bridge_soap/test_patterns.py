"""Patterns that Python's ``re`` may take for ever with are matched without backtracking, and match the same."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_soap.datatypes.regex import read, sample, to_python
from bridge_soap.datatypes.simulate import is_risky, matcher

PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", "ab", ""]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,20}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        )
        | st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})")
    ),
    max_leaves=6,
)


@settings(max_examples=600, deadline=None)
@given(PATTERNS, st.text("ab1", max_size=8))
def test_both_ways_agree(pattern: str, text: str) -> None:
    expected = re.compile(to_python(pattern), re.DOTALL).fullmatch(text) is not None
    assert matcher(read(pattern))(text) is expected


@pytest.mark.parametrize(
    "pattern", [r"([a-z]+\.?)*[0-9]", "(a|a)*b", "(a*)*b", r"((\s*[A-Za-z]+)+\s*)+!", "(a?){500}b", "([ab]{1,9}a?)+c"]
)
def test_what_would_never_end(pattern: str) -> None:
    tree = read(pattern)
    assert is_risky(tree)
    started = time.process_time()
    assert not matcher(tree)("a" * 5000)
    assert matcher(tree)(sample(pattern))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", ["[A-Z]{2}[0-9]{8,12}", r"\d+(\.\d+)?", "a*b*c*", "(AB|CD)?", r"[a-z\-]+@[a-z]+"])
def test_common_patterns_are_left_to_python(pattern: str) -> None:
    assert not is_risky(read(pattern))


def test_samples_are_bounded() -> None:
    assert len(sample("((a{100000}){10000}){10}")) <= 10_000
