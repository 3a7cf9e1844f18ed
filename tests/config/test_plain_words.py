"""What is wrong with a value is told in the words of those who write it, never in pydantic's."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_core._pydantic_core import list_all_errors

from bridge.api.grants import Binding
from bridge.api.validation import NOUNS, SENTENCES, faults_of, reason_of
from bridge.config.settings import Settings, load
from bridge.config.specfile import read_text, read_value
from bridge.errors import Fault, SettingsError, SetupError, SpecError
from bridge.stages.auth.issuers import Issuer

FOREIGN = re.compile(
    r"\b(input|should|dictionary|tuple|valid|instance|string|boolean|integer|extract|permitted)\b", re.I
)

GOOD: dict[str, Any] = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": {"type": "JWT", "audience": "A"},
    "transform": {"request": "passthrough"},
}


@pytest.mark.parametrize("listed", list_all_errors(), ids=lambda one: str(one["type"]))
def test_every_error_that_pydantic_knows_has_words_of_ours(listed: Any) -> None:
    kind, context = listed["type"], dict(listed["example_context"] or {})
    context |= {key: "'a' or 'b'" for key in ("expected", "expected_tags") if key in context}
    context = {key: "it is odd" if key == "error" else value for key, value in context.items()}
    entry = {"type": kind, "loc": ("a",), "msg": listed["message_template_python"], "input": 5, "ctx": context}
    reason = reason_of(entry)
    assert reason
    assert not FOREIGN.search(reason), reason
    assert "{" not in reason


def test_errors_of_a_later_pydantic_are_not_repeated() -> None:
    for text in ("Input should be a valid walrus", "Value is not a valid walrus", "Walrus should be finite"):
        assert reason_of({"type": "walrus", "loc": (), "msg": text, "input": 1}) == "it can't be used here"


def test_the_words_of_a_plug_in_stay() -> None:
    error = PydanticCustomError("loud", "shouting is off at night")
    assert reason_of({"type": error.type, "loc": (), "msg": error.message(), "input": 1}) == "shouting is off at night"
    assert not NOUNS.keys() & SENTENCES.keys()


WRONG: tuple[Any, ...] = (None, 5, 1.5, True, "x", "", [], [None], [[]], {}, {"x": 1}, {"type": "x"}, [{"x": 1}])


def wrong(model: type[BaseModel], good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A wrong value at every key, and below it where it is a mapping."""
    for name, value in itertools.product(model.model_fields, WRONG):
        yield {**good, name: value}
        if isinstance(good.get(name), dict):
            yield from ({**good, name: {**good[name], key: value}} for key in good[name])


def foreign(faults: Iterable[Fault]) -> list[str]:
    return [fault.reason for fault in faults if FOREIGN.search(fault.reason)]


def refusal(work: Callable[[], object], faults: Callable[[Any], Iterable[Fault]]) -> tuple[int, list[str]]:
    """How many things `work` refuses, and the reasons in foreign words."""
    try:
        work()
    except (ValidationError, SetupError) as error:
        told = list(faults(error))
        return len(told), foreign(told)
    return 0, []


def refused_words(model: type[BaseModel]) -> Iterator[tuple[Any, list[str]]]:
    """The values that `model` refuses in foreign words."""
    for value in wrong(model, {}):
        try:
            model.model_validate(value)
        except ValidationError as error:
            if words := foreign(faults_of(error, model, value)):
                yield value, words


def test_wrong_values_of_a_spec() -> None:
    from bridge.api.spec.connection import ConnectionSpec
    from bridge.api.spec.limits import RateLimit, Stream
    from bridge.api.spec.retry import RetrySpec
    from bridge.api.spec.route import RouteSpec

    parts: list[tuple[str, type[BaseModel]]] = [
        ("connection", ConnectionSpec), ("retry", RetrySpec), ("rate_limit", RateLimit), ("stream", Stream),
    ]  # fmt: skip
    specs = list(wrong(RouteSpec, GOOD))
    specs += [{**GOOD, key: part} for key, model in parts for part in wrong(model, {})]
    outcomes = [refusal(lambda spec=spec: read_value(spec), lambda error: error.faults) for spec in specs]  # type: ignore[misc]  # a default binds it
    assert [words for _, words in outcomes if words] == []
    assert sum(count > 0 for count, _ in outcomes) > 300


@pytest.mark.parametrize("point", entry_points(group="bridge.transformers"), ids=lambda point: str(point.name))
def test_wrong_values_of_options(point: Any) -> None:
    transformer = point.load()()
    models = [transformer.options, getattr(transformer, "import_options", None)]
    assert [words for model in filter(None, models) for words in refused_words(model)] == []


def test_wrong_values_of_operators_files(tmp_path: Path) -> None:
    assert [*refused_words(Issuer), *refused_words(Binding)] == []
    config = tmp_path / "config.yml"
    for value in wrong(Settings, {}):
        config.write_text(json.dumps(value))
        assert refusal(lambda: load({}, config), lambda error: error.faults)[1] == []


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"methods": "GET"}, ["methods: it must be a list, not 'GET'; write [GET]"]),
        ({"methods": ["get"]}, ["methods[0]: 'get' is not one of GET, …; did you mean 'GET'?"]),
        ({"auth": "JWT"}, ["auth: it must be a mapping; write {type: JWT}"]),
        ({"auth": {"type": "jwt"}}, ["auth: 'jwt' is not one of none, …; did you mean 'JWT'?"]),
        ({"auth": {}}, ["auth: it needs the key 'type'"]),
        ({"auth": {"type": "JWT", "audiance": "A"}}, ["auth.audiance: unknown key; did you mean 'audience'?"]),
        ({"auth": {"type": "JWT", "audience": 5}}, ["auth.audience: it must be a text or a list, …; put it in quotes"]),
        ({"auth": {"type": "JWT", "audience": [5]}}, ["auth.audience[0]: it must be a text, not 5; put it in quotes"]),
        ({"auth": {"any": [{"type": "api_key", "heder": "X"}]}}, ["auth.any[0].heder: …; did you mean 'header'?"]),
        ({"rate_limit": 50}, ["rate_limit: it must be a mapping of keys to values, not 50"]),
        ({"rate_limit": {"rps": 1, "brst": 5}}, ["rate_limit.brst: unknown key; did you mean 'burst'?"]),
        ({"rate_limit": {"rps": 1, "burst": 1.5}}, ["rate_limit.burst: it must be a whole number, not 1.5"]),
        (
            {"methods": ["GET"], "auth": {"type": "JWT", "methods": {"POST": {"roles": ["a"]}}}},
            ["auth: its methods name POST, which …"],
        ),
        ({"auth": {"type": "JWT", "methods": {"GET": {}}}}, ["auth.methods.GET: it asks for nothing; …"]),
        ({"rate_limit": {"rps": 1, "per": "clinet"}}, ["rate_limit.per: 'clinet' is not one of …; …'client'?"]),
        ({"upstream": "htp://svc:80"}, ["upstream: 'htp' is not one of grpc, …; did you mean 'http'?"]),
        ({"transform": {"request": "soap", "response": "jsn"}}, ["transform.response: 'jsn' …; did you mean 'json'?"]),
        ({"transform": {"request": "soap", "saop": {}}}, ["transform: unknown key 'saop': … under 'soap'…"]),
        ({"tenant": 2024}, ["tenant: it must be a text, not 2024; put it in quotes"]),
        ({"tenant": ""}, ["tenant: it must be of the form ^[A-Za-z0-9._-]{1,64}$"]),
    ],
)  # fmt: skip
def test_mistakes_of_the_first_day(change: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(json.dumps({**GOOD, **change}))
    told = [f"{fault.key}: {fault.reason}" for fault in caught.value.faults]
    assert len(told) == len(faults)
    for fault, pattern in zip(told, faults, strict=True):
        assert re.fullmatch(".+".join(map(re.escape, pattern.split("…"))), fault), fault


async def test_a_transformer_that_is_misspelt_is_told_before_its_options(gateway: Any) -> None:
    spec = {**GOOD, "transform": {"request": "soup", "soap": {"wsdl": "a.wsdl"}}}
    [error] = (await gateway.register(spec)).json()["errors"]
    assert error["pointer"] == "/transform/request"
    assert error["reason"].startswith("no transformer is named 'soup'; there are ")
    assert error["reason"].endswith("; did you mean 'soap'?")
    [error] = (await gateway.register({**GOOD, "transform": {"request": "SOAP"}})).json()["errors"]
    assert error["reason"].endswith("; did you mean 'soap'?")


def test_settings_that_are_misspelt() -> None:
    with pytest.raises(SettingsError, match="BRIDGE_MESSH: no setting has this name; did you mean 'BRIDGE_MESH'"):
        load({"BRIDGE_MESSH": "x"})
    with pytest.raises(SettingsError, match="BRIDGE_LOCAL_ISSUER: 'of' is not one of on, off; did you mean 'off'"):
        load({"BRIDGE_LOCAL_ISSUER": "of"})
    with pytest.raises(SettingsError, match="BRIDGE_LOG_KEEP: it must be a whole number, not 'many'"):
        load({"BRIDGE_LOG_KEEP": "many"})


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"]
    tricks: tuple[str, ...] = ()


class House(BaseModel):
    pets: dict[str, Annotated[Cat | Dog, Field(discriminator="kind")]] = {}
    sizes: list[int] = Field(default=[], min_length=1, max_length=2)


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({"pets": {"a.b": {"kind": "cat", "live": 1}}}, ["pets[\"a.b\"].live: unknown key; did you mean 'lives'?"]),
        ({"pets": {"tom": {"kind": "dog", "live": 1}}}, ["pets.tom.live: unknown key"]),
        ({"sizes": []}, ["sizes: it must not be empty"]),
        ({"sizes": [1, 2, 3]}, ["sizes: it must have 2 items or fewer"]),
        ({"sizes": [1, "x"]}, ["sizes[1]: it must be a whole number, not 'x'"]),
    ],
)
def test_keys_below_mappings_and_lists(value: Any, faults: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        House.model_validate(value)
    assert [f"{fault.key}: {fault.reason}" for fault in faults_of(caught.value, House, value)] == faults
