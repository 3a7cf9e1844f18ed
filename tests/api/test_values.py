"""Origins of values: what is refused at bind, what of the gateway's own no spec can name, what a call brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.api import ABSENT, BindError, Call, claim_of, claim_text, header_texts, is_origin, read_origin, read_secret


@pytest.mark.parametrize(("value", "is_one"), [({"$env": "A"}, True), ({"a": 1}, False), ("$env", False), ([], False)])
def test_what_is_an_origin(value: Any, is_one: bool) -> None:
    assert is_origin(value) is is_one


def test_defaults_may_be_null_and_absent() -> None:
    assert read_origin({"$claim": "sub"}, ("k",)).default is ABSENT
    assert read_origin({"$claim": "sub", "default": None}, ("k",)).default is None
    assert read_origin({"$header": "X-A", "default": [1]}, ("k",)).default == [1]


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        ({"$headr": "x"}, "k.$headr", "did you mean $header?"),
        ({"$header": "x", "$claim": "y"}, "k", "both $header and $claim"),
        ({"$env": "X", "default": "y"}, "k.default", "can't stand beside $env"),
        ({"$claim": ""}, "k.$claim", "a name is wanted"),
        ({"$header": "a b"}, "k.$header", "can't be the name of a header"),
        ({"$claim": "a", "default": {"$env": "B"}}, "k.default", "a plain value"),
    ],
)
def test_misspelt_origins(value: dict[str, Any], key: str, reason: str) -> None:
    with pytest.raises(BindError) as caught:
        read_origin(value, ("k",))
    assert caught.value.faults[0].key == key
    assert reason in caught.value.faults[0].reason


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: None) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("abc\n")
    (tmp_path / "issuers.yml").write_text("[]")
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_KEY", "t")
    for name in ("BRIDGE_STORE", "TALLY_KEY", "bridge_secret_x", "XBRIDGE_SECRET_X"):
        monkeypatch.setenv(name, "s")
    assert read_secret(read_origin({"$env": "BRIDGE_SECRET_TALLY_KEY"}, ("k",)), tmp_path) == "t"
    assert read_secret(read_origin({"$file": "secrets/key"}, ("k",)), tmp_path) == "abc"
    for name in (
        "BRIDGE_STORE",
        "TALLY_KEY",
        "bridge_secret_x",
        "XBRIDGE_SECRET_X",
        "PATH",
        " BRIDGE_SECRET_TALLY_KEY",
    ):
        with pytest.raises(BindError, match="begin with BRIDGE_SECRET_ only"):
            read_secret(read_origin({"$env": name}, ("k",)), tmp_path)
    for value in ({"$env": "BRIDGE_SECRET_NOT_SET"}, {"$file": "issuers.yml"}, {"$file": "secrets/none"},
                  {"$file": "secrets/../issuers.yml"}):  # fmt: skip
        with pytest.raises(BindError):
            read_secret(read_origin(value, ("k",)), tmp_path)


def test_what_a_call_brings() -> None:
    call = Call(headers=[("x-a", "1"), ("x-b", "2"), ("x-a", "caf\xc3\xa9")])
    assert header_texts(call, "x-a") == ["1", "café"]
    claims = {"a.b": 1, "realm": {"roles": ["x"], "none": None}}
    assert claim_of(claims, "a.b") == 1
    assert claim_of(claims, "realm.roles") == ["x"]
    assert claim_of(claims, "realm.none") is ABSENT
    assert claim_of(claims, "nope.x") is ABSENT
    assert [claim_text(value) for value in (True, 1.5, "x")] == ["true", "1.5", "x"]
    with pytest.raises(ValueError, match="single value"):
        claim_text(["x"])
