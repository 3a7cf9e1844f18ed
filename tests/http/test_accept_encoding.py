"""``Accept-Encoding``: what RFC 9110, sections 12.4.2 and 12.5.3, say of each field, and of any field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.http.accept_encoding import Choice, choose, qualities

OFFERS = ("zstd", "gzip")

CASES = {
    "": Choice("", False),
    "gzip": Choice("gzip", False),
    "x-gzip": Choice("gzip", False),
    "GZIP": Choice("gzip", False),
    "gzip, deflate, br, zstd": Choice("zstd", False),  # a browser's
    "gzip;q=1.0, zstd;q=0.5": Choice("gzip", False),
    "zstd;q=0.5 , gzip ; q=0.5": Choice("zstd", False),
    "br": Choice("", False),
    "*": Choice("gzip", False),
    "*;q=0.1": Choice("gzip", False),
    "gzip;q=0, *": Choice("", False),
    "*;q=0": Choice("", True),
    "gzip;q=0": Choice("", False),
    "identity;q=0": Choice("", True),
    "identity;q=0, gzip": Choice("gzip", True),
    "gzip, *;q=0": Choice("gzip", True),
    "gzip, identity;q=0.5, *;q=0": Choice("gzip", False),
    "br, identity;q=0": Choice("", True),
    "identity": Choice("", False),
    "identity, gzip;q=0.5": Choice("", False),
    "identity, gzip": Choice("gzip", False),
    "identity;q=0.5, gzip;q=0.5": Choice("gzip", False),
    "gzip;q=2": Choice("", False),
    "gzip;q=-1, zstd;q=x": Choice("", False),
    "gzip;level=9": Choice("", False),
    ",, gzip,": Choice("gzip", False),
    "gzip;Q=0.3": Choice("gzip", False),
    "gzip;q=0.0001": Choice("", False),
    "gzip;q=0.001": Choice("gzip", False),
    "gzip;q=1.": Choice("gzip", False),
}


@pytest.mark.parametrize(("value", "choice"), CASES.items(), ids=[value or "none" for value in CASES])
def test_what_a_client_gets(value: str, choice: Choice) -> None:
    assert choose(value, OFFERS) == choice


def test_what_is_not_offered_is_not_chosen() -> None:
    assert choose("zstd, gzip;q=0.1", ["gzip"]) == Choice("gzip", False)
    assert choose("zstd", ["gzip"]) == Choice("", False)
    assert choose("gzip", []) == Choice("", False)


def test_an_empty_field_asks_for_no_coding() -> None:
    assert qualities(" ") == {}


NAMES = st.sampled_from(["gzip", "x-gzip", "zstd", "br", "deflate", "identity", "*"])
WEIGHTS = st.one_of(st.none(), st.integers(0, 1000))
SPACE = st.sampled_from(["", " ", "\t", "  "])


def written(name: str, weight: int | None, space: str) -> str:
    """A member of the list as the grammar allows it; weights are in thousandths."""
    if weight is None:
        return f"{space}{name}{space}"
    return f"{name}{space};{space}q={weight / 1000:.3f}{space}"


def weight_of(coding: str, members: dict[str, int | None]) -> int | None:
    """Of the RFC's rules: the named coding's own weight, else that of ``*``; None if neither is there."""
    for name in (coding, "*"):
        if name in members:
            weight = members[name]
            return 1000 if weight is None else weight
    return None


@given(st.lists(st.tuples(NAMES, WEIGHTS, SPACE), max_size=8), st.permutations(OFFERS))
def test_any_field_that_the_grammar_allows(members: list[tuple[str, int | None, str]], offers: list[str]) -> None:
    value = ",".join(written(*member) for member in members)
    known = {"gzip" if name == "x-gzip" else name: weight for name, weight, _ in members}
    choice = choose(value, offers)
    identity = weight_of("identity", known)
    # "If the representation has no content coding, then it is acceptable by default unless specifically excluded".
    assert choice.refuses_identity == (identity == 0)
    if choice.coding:
        own = weight_of(choice.coding, known)
        # "acceptable … if it is one of the content codings listed …, unless it is accompanied by a qvalue of 0."
        assert own
        for other in offers:
            if other in known:  # the highest weight is preferred
                assert own >= (weight_of(other, known) or 0)
        if "identity" in known:
            assert own >= (identity or 0)
    else:
        for other in offers:
            if known.get(other, 0) != 0:  # it is named, and no weight of 0
                assert (identity or 0) > (weight_of(other, known) or 0)
                assert "identity" in known


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_field_at_all(value: str) -> None:
    choice = choose(value, OFFERS)
    assert choice.coding in ("", *OFFERS)
    if choice.coding:
        assert choice.coding in value.lower() or "*" in value
