"""Secrets from files that are replaced while routes serve: what is sent, and what happens while a file is away."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.api import BindError, Call, ControlCharacter, Derived, Forbidden, Identity, InvalidParameter, Secret, Value
from bridge.api.values import header_text, read_origin, secret_texts

pytestmark = pytest.mark.usefixtures("operator")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("bridge.api.values.monotonic", clock)
    return clock


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("one\n")
    return tmp_path / "secrets/key"


def secret_of(key: Path) -> Secret:
    return Secret(read_origin({"$file": "secrets/key"}, ("k",)), key.parent.parent)


def replace(key: Path, text: str) -> None:
    (key.parent / "new").write_text(text)
    (key.parent / "new").rename(key)


def write(key: Path, text: str) -> None:
    key.write_text(text)


@pytest.mark.parametrize("change", [replace, write])
def test_a_file_is_read_again_a_second_later_at_most(
    key: Path, clock: Clock, change: Callable[[Path, str], None]
) -> None:
    secret = secret_of(key)
    change(key, "another\r\n")
    clock.now += 0.9
    assert secret.text() == "one"
    clock.now += 0.2
    assert secret.text() == "another"
    assert secret.shown == {"one", "another"}  # a request with the old one may be under way


def test_it_is_looked_at_once_a_second_only(key: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    stat = Path.stat

    def counted(self: Path, **given: bool) -> os.stat_result:
        looks.append(1)
        return stat(self, **given)

    secret = secret_of(key)
    monkeypatch.setattr(Path, "stat", counted)
    for _ in range(100):
        assert secret.text() == "one"
    assert not looks
    clock.now += 1.0
    for _ in range(100):
        assert secret.text() == "one"
    assert len(looks) == 1


def test_kubernetes_switches_a_link_of_the_folder(tmp_path: Path, clock: Clock) -> None:
    """A mounted secret is a link through ``..data``, which is renamed over when it changes."""
    folder = tmp_path / "secrets"
    for version, text in (("..1", "one"), ("..2", "two")):
        (folder / version).mkdir(parents=True)
        (folder / version / "key").write_text(text)
        os.utime(folder / version / "key", ns=(10**18, 10**18))  # the same time and size
    (folder / "..data").symlink_to("..1")
    (folder / "key").symlink_to("..data/key")
    secret = secret_of(folder / "key")
    (folder / "..tmp").symlink_to("..2")
    (folder / "..tmp").rename(folder / "..data")
    clock.now += 1.0
    assert secret.text() == "two"


@pytest.mark.parametrize("harm", ["gone", "empty", "large", "binary", "folder"])
def test_while_a_file_cant_be_used_the_old_text_stays(
    key: Path, clock: Clock, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = secret_of(key)
    key.unlink()
    match harm:
        case "empty":
            key.touch()
        case "large":
            key.write_text("x" * 70_000)
        case "binary":
            key.write_bytes(b"\xff\xfe")
        case "folder":
            key.mkdir()
    for _ in range(3):
        clock.now += 1.0
        assert secret.text() == "one"
    [record] = caplog.records  # told once
    assert record.levelno == logging.WARNING
    assert "secrets/key" in record.getMessage()
    assert "what it held before is used" in record.getMessage()
    if harm == "folder":
        key.rmdir()
    replace(key, "two")
    clock.now += 1.0
    assert secret.text() == "two"


def test_a_file_that_comes_back_unchanged_is_used_on(key: Path, clock: Clock) -> None:
    secret = secret_of(key)
    key.rename(key.parent / "away")
    clock.now += 1.0
    assert secret.text() == "one"
    (key.parent / "away").rename(key)
    clock.now += 1.0
    assert secret.text() == "one"
    replace(key, "two")
    clock.now += 1.0
    assert secret.text() == "two"


def test_what_was_made_of_it_is_made_again(key: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def convert(text: str) -> int:
        calls.append(text)
        return int(text)

    key.write_text("1")
    number = Derived(secret_of(key), convert)
    assert [number(), number()] == [1, 1]
    replace(key, "hush")
    clock.now += 1.0
    assert [number(), number()] == [1, 1]
    assert "hush" not in caplog.text
    assert "can't be used here" in caplog.text
    replace(key, "3")
    clock.now += 1.0
    assert [number(), number()] == [3, 3]
    assert calls == ["1", "hush", "3"]
    assert list(number.values) == [3, 1]


def test_a_variable_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_A", "one")
    secret = Secret(read_origin({"$env": "BRIDGE_SECRET_A"}, ("k",)), tmp_path)
    monkeypatch.setenv("BRIDGE_SECRET_A", "two")
    clock.now += 10
    assert (secret.text(), secret.rotates) == ("one", False)


# --- values: one set of rules ----------------------------------------------------------------------------------------


def value(spec: object, home: Path = Path("/")) -> Value[str]:
    return Value(spec, ("k",), home, header_text)


def call(*headers: tuple[str, str], **claims: object) -> Call:
    return Call(headers=headers, identity=Identity(claims=claims))


@pytest.mark.parametrize(
    ("spec", "of", "texts"),
    [
        ("text", call(), ["text"]),
        (7, call(), ["7"]),
        (True, call(), ["true"]),
        ({"$header": "X-A"}, call(("x-a", "1"), ("x-b", "2"), ("x-a", "3, 4")), ["1", "3, 4"]),
        ({"$header": "X-A"}, call(("x-a", "caf\xc3\xa9")), ["café"]),
        ({"$claim": "a"}, call(a=["x", 2]), ["x", "2"]),
        ({"$claim": "a.b"}, call(a={"b": 1.5}), ["1.5"]),
        ({"$claim": "a", "default": "d"}, call(), ["d"]),
        ({"$claim": "a", "default": ["d", "e"]}, call(a=None), ["d", "e"]),
        ({"$claim": "a", "default": None}, call(a=[]), []),
    ],
)
def test_what_a_call_gives(spec: object, of: Call, texts: list[str]) -> None:
    assert list(value(spec)(of)) == texts


@pytest.mark.parametrize(
    ("spec", "of", "kind", "told"),
    [
        ({"$header": "X-A"}, call(), InvalidParameter, "this header is required"),
        ({"$claim": "a"}, call(), Forbidden, "has no claim a"),
        ({"$claim": "a"}, call(a=[]), Forbidden, "has no claim a"),
        ({"$claim": "a"}, call(a={"b": 1}), Forbidden, "a single value is wanted"),
        ({"$claim": "a"}, call(a="x\r\ny"), InvalidParameter, "control characters"),
        ({"$claim": "a"}, call(a="x\0"), InvalidParameter, "control characters"),
        ({"$claim": "a"}, call(a="\ud800"), Forbidden, "no Unicode"),
    ],
)
def test_what_is_refused(spec: object, of: Call, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        value(spec)(of)


@pytest.mark.parametrize("of", [call(a=["x"]), call(a=["x", "y"])])
def test_one_value_is_no_array(of: Call) -> None:
    with pytest.raises(Forbidden, match="a single value is wanted"):
        value({"$claim": "a"}).one(of)


def test_one_value_is_one_field() -> None:
    assert value({"$header": "x-a"}).one(call(("x-a", "1"))) == "1"
    assert value({"$header": "x-a", "default": None}).one(call()) is None
    with pytest.raises(InvalidParameter, match="a single value is wanted"):
        value({"$header": "x-a"}).one(call(("x-a", "1"), ("x-a", "2")))


def test_the_texts_of_secrets_follow_a_rotation(key: Path, clock: Clock) -> None:
    made = Value[str]({"$file": "secrets/key"}, ("k",), key.parent.parent, header_text)
    assert (made.constant, made.from_call) == (None, None)
    assert set(secret_texts([made, value("open")])) == {"one"}
    replace(key, "two")
    clock.now += 1.0
    assert list(made(call())) == ["two"]
    assert set(secret_texts([made])) == {"one", "two"}


def test_a_secret_that_no_field_takes_is_found_at_bind(key: Path) -> None:
    key.write_text("a\nb")
    with pytest.raises(BindError, match="the file secrets/key: it holds control characters"):
        Value({"$file": "secrets/key"}, ("k",), key.parent.parent, header_text)
    with pytest.raises(ControlCharacter):
        header_text("a\x7fb")
