from __future__ import annotations

import pytest

from bridge.http.field_value import UNREADABLE, UNSENDABLE, as_utf8


def test_controls_but_the_tab_are_never_sent() -> None:
    for number in range(0x180):
        assert bool(UNSENDABLE.search(chr(number))) == ((number < 32 and number != 9) or number == 127)


def test_what_a_service_must_not_send() -> None:
    assert [number for number in range(256) if UNREADABLE.search(bytes((number,)))] == [0, 10, 13]


@pytest.mark.parametrize(("value", "text"), [("plain", "plain"), ("Ã¼", "ü"), ("ü", "ü"), ("€", "€")])
def test_octets_as_utf8(value: str, text: str) -> None:
    assert as_utf8(value) == text
