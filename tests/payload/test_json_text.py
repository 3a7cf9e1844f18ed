"""Large JSON texts: judged without being read, and read slice by slice as any reader would."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import InvalidBody, TooLarge, parse_json
from bridge.payload import json_text as text
from bridge.payload.json_text import check_json, read_in_slices

MB = 1024 * 1024

VALUES = st.recursive(
    st.text(alphabet='ab"\\,[]{}é:', max_size=6) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='ab",[]{}\\', max_size=2), inner),
    max_leaves=40,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "SLICE", 8)


def plain(body: bytes) -> Any:
    return msgspec.json.decode(body)


def outcome(read: Any) -> Any:
    try:
        return read()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "no JSON"


@given(value=VALUES, indent=st.sampled_from([None, 0, 1]), size=st.integers(1, 40))
def test_slices_come_to_the_same_value(value: Any, indent: int | None, size: int) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "SLICE", size)
        for decode in (plain, orjson.loads):
            assert read_in_slices(body, decode) == decode(body)


@given(body=st.text(alphabet='a"\\,[]{}: 1\n', max_size=60).map(str.encode), size=st.integers(1, 20))
def test_slices_refuse_what_a_reader_refuses(body: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "SLICE", size)
        assert outcome(lambda: read_in_slices(body, plain)) == outcome(lambda: plain(body))


@given(value=VALUES, data=st.data())
def test_a_text_that_was_broken_somewhere(value: Any, data: st.DataObject) -> None:
    body = bytearray(json.dumps(value, indent=1).encode())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from([b"", b",", b"]", b"}", b"[", b'"', b"\xff"])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "SLICE", 7)
        assert outcome(lambda: read_in_slices(bytes(body), plain)) == outcome(lambda: plain(bytes(body)))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[1,2,3,4,5,6,7,8,9],"b":{"a":[1,2,3,4,5,6,7,8]},"a":{"c":[1,2,3,4,5,6,7,8,9,10],"c":[[1,2,3,4,5]]}}',
        b'{"a":1,"b":2,"c":3,"d":4,"e":5,"a":{"x":1,"y":2,"z":3,"x":[1,2,3,4,5,6,7]},"b":[[],[],[],[],[]]}',
        b" " * 100 + b"[1,2,3,4,5,6,7,8,9,10,11,12,13]" + b"\n" * 100,
        b'["a string that is far longer, and has, commas, in it", "\\\\", "\\"", ",", "[", 5, 6, 7]',
        b"[[[[1],[2]],[[3],[4]]],[[[5],[6]],[[7],[8]]]]",
    ],
)
def test_names_that_stand_twice_and_other_corners(body: bytes) -> None:
    assert read_in_slices(body, plain) == json.loads(body)


@pytest.mark.parametrize("body", [b"[%s1,]", b"[%s1,,1]", b'{"a":[%s1,}', b"[%s1", b"[%s1]]", b"[%s1]1", b"[%s\xff]"])
def test_what_is_wrong_is_told_at_its_place(body: bytes) -> None:
    whole = body % (b"1," * 200_000)
    with pytest.raises(InvalidBody) as caught:
        parse_json(whole)
    told = caught.value.errors[0][1]
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as wanted:
        plain(whole)
    if isinstance(wanted.value, UnicodeDecodeError):
        assert "UTF-8" in told
    else:
        assert told == f"it is not JSON: {wanted.value}"


@pytest.mark.parametrize(
    "body",
    [
        b"[%s{}]" % (b"{}," * (2 * MB)),
        b"[%s1]" % (b"1," * (3 * MB)),
        b"[%s1]" % (b'"",' * (2 * MB)),
        b'{%s"":1}' % (b'"":1,' * MB),
        b"[%s1]" % (b'"[",' * (2 * MB)),
        b"[%s1]" % (b"[[[[1]]]]," * (MB // 2)),
        b"[%s1]" % (b"1.5," * MB),
        b"[%s1]" % (b"1e5," * MB),
    ],
    ids=["objects", "numbers", "strings", "members", "brackets in strings", "nested", "fractions", "exponents"],
)
def test_more_values_than_memory_is_given_for_are_refused_unread(body: bytes) -> None:
    with pytest.raises(TooLarge) as caught:
        parse_json(body)
    assert caught.value.status == 413
    # Not read, in CPU seconds: to read the least of them takes ten times as long.
    started = time.process_time()
    with pytest.raises(TooLarge):
        check_json(body, exact=True)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "body",
    [
        b'["%s"]' % (b"a,b.e[{" * (MB // 2)),
        b'["%s"]' % (b'\\",' * MB),
        b'["%s"]' % (b"\\\\" * MB),
        b"[%s{}]" % (b'{"id":12345,"name":"somebody","sum":"12.50"},' * 50_000),
        b"[%s1]" % (b"12345," * 500_000),
    ],
    ids=["commas in a string", "quotes in a string", "backslashes", "rows", "numbers"],
)
def test_what_is_large_and_not_rich_is_read(body: bytes) -> None:
    assert parse_json(body) == json.loads(body)


def test_depth_is_found_in_large_texts_too() -> None:
    deep = b"[%s1]" % (b"1," * 200_000)
    with pytest.raises(InvalidBody, match="nested deeper"):
        parse_json(b"[" * 512 + deep + b"]" * 512)
    assert parse_json(b"[" * 511 + deep + b"]" * 511)


@given(body=st.text(alphabet='\\":,x', max_size=60).map(str.encode), size=st.integers(1, 20))
def test_counting_in_steps(body: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "SLICE", size)
        for part in (b'"', b'\\"', b":", b","):
            assert text._count(body, part) == body.count(part)
