"""Sequences of elements against content models, ambiguous ones included."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_soap.components import Element
from bridge_soap.documents import Library
from bridge_soap.xsd.builtin import STRING
from bridge_soap.xsd.index import Index
from bridge_soap.xsd.model import Part
from bridge_soap.xsd.order import Order
from bridge_soap.xsd.schemas import Schemas


def schemas() -> Schemas:
    return Schemas(Index(Library(Path())))


def element(name: str, low: int = 1, high: int | None = 1) -> Part:
    return Part("element", low, high, element=Element(name, lambda: STRING), key=name)


def ends(part: Part, tags: str, starts: frozenset[int]) -> frozenset[int]:
    """Where `part` may end in `tags`, if it begins at one of `starts`. As a regular expression of `re` such a model may
    take hours."""

    def once(starts: frozenset[int]) -> frozenset[int]:
        if part.element is not None:
            return frozenset(at + 1 for at in starts if tags[at : at + 1] == part.element.name)
        if part.kind == "choice":
            return frozenset().union(*(ends(each, tags, starts) for each in part.parts))
        for each in part.parts:
            starts = ends(each, tags, starts)
        return starts

    for _ in range(part.low):
        starts = once(starts)
    found = starts
    for _ in range(len(tags) + 1 if part.high is None else part.high - part.low):
        starts = once(starts)
        found |= starts
    return found


COUNTS = st.sampled_from([(1, 1), (0, 1), (0, None), (1, None), (2, 2), (1, 3), (0, 5), (2, None)])
KINDS: list[Literal["sequence", "choice"]] = ["sequence", "choice"]
MODELS = st.recursive(
    st.builds(lambda name, counts: element(name, counts[0], counts[1]), st.sampled_from("ab"), COUNTS),
    lambda inner: st.builds(
        lambda kind, counts, parts: Part(kind, counts[0], counts[1], tuple(parts)),
        st.sampled_from(KINDS),
        COUNTS,
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(MODELS, st.text("ab", max_size=8))
def test_models_take_the_sequences_that_they_describe(model: Part, tags: str) -> None:
    expected = len(tags) in ends(model, tags, frozenset([0]))
    assert (Order(schemas(), model).check(tags) is None) is expected


def nested(depth: int) -> Part:
    """Groups in groups, each of which moves on by one element after all within it was tried to the end."""
    other = (nested(depth - 1), element("c")) if depth else (element("a"), element("a"))
    return Part("choice", 0, None, (element("a"), Part("sequence", 1, 1, other)))


def test_ambiguous_models_are_linear() -> None:
    order = Order(schemas(), nested(3))
    started = time.process_time()
    assert order.check(["a"] * 5000) is None
    assert order.check(["a"] * 5000 + ["z"]) == (5000, "z can't stand here; a, c can")
    assert time.process_time() - started < 5
