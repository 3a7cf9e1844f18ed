"""JSON pointers (RFC 6901), and a fault's path as people read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Fault, KeyPath, key_of
from bridge.payload.pointer import parse_pointer, pointer_of

#: RFC 6901, section 5.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (), "/foo": ("foo",), "/foo/0": ("foo", "0"), "/": ("",), "/a~1b": ("a/b",), "/c%d": ("c%d",), "/e^f": ("e^f",),
    "/g|h": ("g|h",), "/i\\j": ("i\\j",), '/k"l': ('k"l',), "/ ": (" ",), "/m~0n": ("m~n",),
}  # fmt: skip


@pytest.mark.parametrize(("pointer", "path"), EXAMPLES.items())
def test_the_examples_of_the_rfc(pointer: str, path: tuple[str, ...]) -> None:
    assert parse_pointer(pointer) == path
    assert pointer_of(path) == pointer


@given(st.lists(st.text()).map(tuple))
def test_a_pointer_reads_back(path: tuple[str, ...]) -> None:
    assert parse_pointer(pointer_of(path)) == path


def test_a_pointer_starts_with_a_slash() -> None:
    with pytest.raises(ValueError, match="is not a JSON pointer"):
        parse_pointer("a/b")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), ""),
        (("auth", "roles"), "auth.roles"),
        (("http_rules", 0, "get"), "http_rules[0].get"),
        (("methods", "0"), "methods.0"),
        (("headers", "My.Block", "id"), 'headers["My.Block"].id'),
        (("headers", 'a."b'), 'headers["a.\\"b"]'),
        (("a.b", "c"), '["a.b"].c'),
        (("10.0.0.1",), "10.0.0.1"),
    ],
)
def test_a_path_as_people_read_it(path: KeyPath, key: str) -> None:
    assert key_of(path) == key
    assert str(Fault("why", path, "f.yml", 3)) == (f"f.yml:3: {key}: why" if key else "f.yml:3: why")
