"""Transformers come in through entry points alone; a bad plug-in is refused by name, and takes nothing with it."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from bridge.api.transformer import Context, Operation, OperationDoc, Options
from bridge.config.specfile import read_value
from bridge.errors import BindError, ConflictError, SpecError
from bridge.fronts.publish import Fronts
from bridge.plugins import GROUP, Transformers, discover

SPEC = {"route": "/a", "upstream": "svc:80", "auth": {"type": "none"}}


def transformers(**points: str) -> Transformers:
    context = Context(Path("wsdl"), Path("protos"))
    return Transformers(context, {name: EntryPoint(name, value, GROUP) for name, value in points.items()})


def spec(name: str, **more: Any) -> Any:
    return read_value({**SPEC, "transform": {"request": name, **more}})


class Good:
    name, wire, options = "good", "http", Options

    async def open(self, context: Context) -> None: ...

    async def bind(self, route: Any, options: Any) -> list[Operation]:
        codec: Any = object()
        return [Operation(verb, verb, "", codec, lambda: OperationDoc({})) for verb in ("GET", "POST")]

    async def aclose(self) -> None: ...


class OtherName(Good):
    name = "other"


class NoWire(Good):
    wire = "carrier-pigeon"


class NoOptions(Good):
    options = dict  # type: ignore[assignment]  # what a careless author writes


class NoBind:
    name, wire, options = "good", "http", Options


class BadOperation(Good):
    """Publishes what `published` says."""

    published = ("GET", "")

    async def bind(self, route: Any, options: Any) -> list[Operation]:
        codec: Any = object()
        method, path = self.published
        return [Operation("one", method, path, codec, lambda: OperationDoc({}))]


class Explodes(Good):
    def __init__(self) -> None:
        raise RuntimeError("no luck")


class FailsToOpen(Good):
    async def open(self, context: Context) -> None:
        raise KeyError("the key")


class WontOpen(Good):
    closed = False

    async def open(self, context: Context) -> None:
        raise BindError("the vault is shut")

    async def aclose(self) -> None:
        type(self).closed = True


@pytest.mark.parametrize("name", ["passthrough", "xml", "soap", "grpc"])
def test_the_built_ins_are_found_by_their_entry_points_alone(name: str) -> None:
    made = discover()[name].load()()
    assert made.name == name
    assert issubclass(made.options, Options)
    assert [point.value for point in entry_points(group=GROUP, name=name)] == [discover()[name].value]


def test_one_name_twice_is_refused_with_both_named() -> None:
    points = [EntryPoint("x", "one:A", GROUP), EntryPoint("x", "two:B", GROUP)]
    with pytest.raises(ConflictError, match=r"one:A.*two:B"):
        discover(points)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("OtherName", "calls itself 'other'"),
        ("NoWire", "has the wire 'carrier-pigeon'"),
        ("NoOptions", "not a bridge.api.Options model"),
        ("NoBind", "has no open, bind, aclose"),
        ("Explodes", "can't be loaded: no luck"),
        ("Nothing", "can't be loaded"),
    ],
)
async def test_a_plug_in_that_cant_work_is_refused_by_name(kind: str, words: str, caplog: Any) -> None:
    with pytest.raises(BindError, match=words):
        await transformers(good=f"{__name__}:{kind}").get("good")


@pytest.mark.parametrize("result", [None, "GET", ["GET"], {"a": 1}])
async def test_what_bind_must_return(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    async def bind(self: Good, route: Any, options: Any) -> Any:
        return result

    monkeypatch.setattr(Good, "bind", bind)
    with pytest.raises(BindError, match="'good' failed: bind returned no list of operations"):
        await transformers(good=f"{__name__}:Good").bind(spec("good"))


async def test_a_failed_open_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BindError, match="vault"):
        await transformers(good=f"{__name__}:WontOpen").get("good")
    with pytest.raises(BindError, match=r"'good' failed: KeyError\('the key'\) \(test_plugins\.py, line "):
        await transformers(good=f"{__name__}:FailsToOpen").get("good")


async def test_options_are_strict_and_methods_narrow() -> None:
    room = transformers(good=f"{__name__}:Good")
    fronts = Fronts([])
    operations = await room.bind(spec("good"))
    assert [op.method for op in fronts.publish(spec("good"), operations)] == ["GET", "POST"]
    narrow = {**SPEC, "transform": {"request": "good"}}
    post = read_value({**narrow, "methods": ["POST"]})
    assert [op.method for op in fronts.publish(post, await room.bind(post))] == ["POST"]
    delete = read_value({**narrow, "methods": ["DELETE"]})
    with pytest.raises(BindError, match="nothing to publish by DELETE"):
        fronts.publish(delete, await room.bind(delete))
    with pytest.raises(SpecError, match=r"transform\.good\.colour: unknown key"):
        await room.bind(spec("good", good={"colour": "red"}))
    with pytest.raises(BindError, match="no transformer is named 'gone'; there are good"):
        await room.bind(spec("gone"))


@pytest.mark.parametrize(
    "published",
    [
        ("GET", "/{x}:\r\nb"), ("GET", "/a b"), ("GET", "/{x}/{x}"), ("GET", "/{x*}/y"), ("GET", "x"), ("GET", "/%00"),
        ("GET", "/é"), ("GET", "/../x"), ("GET", "//x"), ("G T", "/x"), ("GET\r\n", "/x"), ("", "/x"),
    ],
)  # fmt: skip
async def test_an_operation_that_no_request_could_ask_for(
    published: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BadOperation, "published", published)
    with pytest.raises(BindError, match="good"):
        await transformers(good=f"{__name__}:BadOperation").bind(spec("good"))
