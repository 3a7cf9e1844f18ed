"""What a client sends, cut into messages, however its bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import InvalidBody
from bridge.fronts.accept import preferred
from bridge.fronts.json_texts import Pieces, Texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\{}[],: \né') | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a"\\{}[],'), inner, max_size=3),
    max_leaves=8,
)
SPACE = st.sampled_from(["", " ", "\n", "\r\n\t", "   "])


def read(pieces: list[bytes]) -> Iterator[bytes]:
    texts = Texts()
    for piece in pieces:
        yield from texts.feed(piece)
    yield from texts.finish()


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(body), *(place % (len(body) + 1) for place in cuts)})
    return [body[start:end] for start, end in pairwise(places)]


@given(st.lists(JSON, max_size=5), st.lists(st.integers(0, 10_000), max_size=6), SPACE, st.sampled_from([None, 1]))
def test_an_array_gives_its_items(items: list[Any], cuts: list[int], space: str, indent: int | None) -> None:
    body = f"{space}{json.dumps(items, indent=indent, ensure_ascii=False)}{space}".encode()
    assert [json.loads(text) for text in read(cut(body, cuts))] == items


@given(
    st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5),
    st.lists(st.integers(0, 10_000), max_size=6),
    SPACE,
    st.sampled_from([None, 1]),
)
def test_texts_one_after_another(items: list[Any], cuts: list[int], space: str, indent: int | None) -> None:
    body = space.join(json.dumps(item, indent=indent) for item in items).encode()
    assert [json.loads(text) for text in read(cut(body, cuts))] == items


@given(st.lists(JSON.filter(lambda value: not isinstance(value, list)), max_size=5), st.lists(st.integers(0, 99)))
def test_lines_of_any_value(items: list[Any], cuts: list[int]) -> None:
    body = "".join(json.dumps(item) + "\n" for item in items).encode()
    assert [json.loads(text) for text in read(cut(body, cuts))] == items


GARBAGE = st.binary(max_size=60) | st.text(alphabet='[]{},:"\\ 1\n', max_size=30).map(str.encode)


@given(GARBAGE, st.lists(st.integers(0, 99)))
def test_garbage_is_cut_the_same_however_it_comes(body: bytes, cuts: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> tuple[list[bytes], object]:
        texts = []
        try:
            for text in read(pieces):
                texts.append(text)
        except InvalidBody as error:
            return texts, error.errors
        return texts, None

    assert outcome(cut(body, cuts)) == outcome([body] if body else [])


def test_a_byte_order_mark_is_skipped() -> None:
    assert list(read([b"\xef", b"\xbb\xbf[1", b"]"])) == [b"1"]


def test_what_is_pending_is_what_is_not_complete() -> None:
    texts = Texts()
    assert list(texts.feed(b'{"a": 1}{"b": "' + b"x" * 1000)) == [b'{"a": 1}']
    assert texts.pending == len(b'{"b": "') + 1000
    assert list(texts.feed(b'"}')) == [b'{"b": "' + b"x" * 1000 + b'"}']
    assert texts.pending == 0


def test_pieces_are_messages_as_they_come() -> None:
    pieces = Pieces()
    assert [*pieces.feed(b"a"), *pieces.feed(b""), *pieces.feed(b"bc"), *pieces.finish()] == [b"a", b"bc"]


OFFERS = {"application/x-ndjson": "lines", "application/json": "array", "text/event-stream": "events"}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "lines"),
        ("*/*", "lines"),
        ("text/*", "events"),
        ("application/json", "array"),
        ("application/json;q=0.1, */*;q=0.9", "lines"),
        ("*/*;q=0", None),
        ("image/png", None),
        ("application/json; charset=utf-8", "array"),
        ("application/json;q=nonsense", None),
        ("text/event-stream;q=1.0,application/json", "array"),
    ],
)
def test_accept(accept: str, form: str | None) -> None:
    assert preferred(accept, OFFERS) == form
