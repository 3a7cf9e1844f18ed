from __future__ import annotations

import re

import pytest

from bridge.http.token import LOWER_TOKEN, TOKEN, is_token

#: RFC 9110, section 5.6.2.
TCHAR = "!#$%&'*+-.^_`|~" + "0123456789" + "abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_the_characters_of_a_token() -> None:
    for character in map(chr, range(0x180)):
        assert is_token(character) == (character in TCHAR)
        assert bool(re.fullmatch(LOWER_TOKEN, character)) == (character in TCHAR and not character.isupper())
    assert is_token(TCHAR)
    assert re.fullmatch(TOKEN.encode(), TCHAR.encode())


@pytest.mark.parametrize("text", ["", "a b", "a:", "a\n", "é", "a\x00"])
def test_what_is_no_token(text: str) -> None:
    assert not is_token(text)
