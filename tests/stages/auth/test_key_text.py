"""The text of an API key, and what a rotation makes of one."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from typing import Any

import pytest

from bridge.api.call import CallerLimit
from bridge.stages.auth.key_text import id_in, is_whole
from bridge.stages.auth.stored_key import mint_key, rotate_key

#: As docs/guards.md gives it to those who scan sources for keys.
SCANNED = re.compile(r"hmsb_(?:[a-z][a-z0-9]{0,11}_)?[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


@pytest.mark.parametrize("label", ["", "live", "test2", "abcdefabcdef"])
def test_a_scanner_finds_a_key_and_tells_it_from_chance(label: str) -> None:
    for _ in range(50):
        text, key = mint_key("payroll", label=label)
        assert SCANNED.findall(f"KEY={text}\n") == [text]
        assert text.startswith(f"{key.prefix}_")
        assert key.prefix == (f"hmsb_{label}_{key.id}" if label else f"hmsb_{key.id}")
        body, checksum = text[:-6], text[-6:]
        assert int.from_bytes(base64.urlsafe_b64decode(checksum + "=="), "big") == binascii.crc32(body.encode())
        assert (id_in(text), is_whole(text)) == (key.id, True)


def test_one_wrong_character_breaks_the_checksum() -> None:
    """CRC-32 sees every error within 32 bits."""
    text, key = mint_key("payroll", label="live")
    secret = text.rindex(key.id) + 17
    for at in range(secret, len(text)):
        wrong = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        assert not is_whole(wrong), at


@pytest.mark.parametrize("label", ["a" * 13, "1a", "A", "a-b", "a_b", "0123456789abcdef", "ä"])
def test_a_label_that_no_key_has(label: str) -> None:
    text, _ = mint_key("payroll")
    assert id_in(text.replace("hmsb_", f"hmsb_{label}_", 1)) is None


def test_a_rotated_key(clock: Any) -> None:
    first, key = mint_key(
        "payroll", tenant="revenue", roles=["clerk"], scopes=["read"], ttl=3600, limit=CallerLimit(2.5, 10),
        label="live", by="alice", clock=clock,
    )  # fmt: skip
    text, old, new = rotate_key(key, 60, "bob", 1500.0)
    assert text != first
    assert text.startswith("hmsb_live_")
    assert old == replace(key, expires=1560.0, replaced_by=new.id)
    assert new == replace(key, id=new.id, hash=new.hash, created=1500.0, expires=5100.0, by="bob", lineage=key.id)
    _, _, third = rotate_key(new, 60, "bob", 1600.0)
    assert {key.line, new.line, third.line} == {key.id}
    assert (third.created, third.expires) == (1600.0, 5200.0)


def test_the_old_key_lives_no_longer_than_it_would_have(clock: Any) -> None:
    _, short = mint_key("payroll", ttl=600, clock=clock)
    assert rotate_key(short, 3600, "bob", 1500.0)[1].expires == 1600.0
    _, endless = mint_key("payroll", clock=clock)
    _, old, new = rotate_key(endless, 3600, "bob", 1500.0)
    assert (old.expires, new.expires) == (5100.0, None)
    assert rotate_key(endless, 0, "bob", 1500.0)[1].ended(1500.0) == 1500.0
