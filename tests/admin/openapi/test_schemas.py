"""Component schemas of many operations: shared where they are the same to the last leaf, else renamed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.admin.openapi.refs import PREFIX, BadReference, renamed, schema_name, targets
from bridge.admin.openapi.schemas import Names, SchemaPool


def ref(name: str) -> dict[str, str]:
    return {"$ref": PREFIX + name}


def test_the_same_schemas_are_shared() -> None:
    pool = SchemaPool({})
    schemas: dict[str, Any] = {"A": {"properties": {"b": ref("B")}}, "B": {"type": "string"}}
    assert pool.add(schemas) == pool.add(dict(reversed(schemas.items()))) == {"A": "A", "B": "B"}
    assert pool.components == schemas


def test_the_same_text_over_a_different_leaf_is_another_schema() -> None:
    pool = SchemaPool({})
    pool.add({"A": {"items": ref("B")}, "B": {"items": ref("C")}, "C": {"type": "string"}})
    names = pool.add({"A": {"items": ref("B")}, "B": {"items": ref("C")}, "C": {"type": "integer"}})
    assert names == {"A": "A_2", "B": "B_2", "C": "C_2"}
    assert pool.components["A_2"] == {"items": ref("B_2")}
    assert pool.components["B_2"] == {"items": ref("C_2")}


def test_only_what_reaches_the_difference_is_renamed() -> None:
    pool = SchemaPool({})
    pool.add({"A": {"items": ref("B")}, "B": {"type": "string"}, "C": {"const": 1}})
    assert pool.add({"A": {"items": ref("C")}, "B": {"type": "string"}, "C": {"const": 1}}) == {
        "A": "A_2",
        "B": "B",
        "C": "C",
    }


def test_recursion_is_no_obstacle() -> None:
    def family(leaf: str) -> dict[str, Any]:
        return {
            "Person": {"properties": {"children": {"items": ref("Child")}}},
            "Child": {"allOf": [ref("Person"), {"properties": {"toy": ref("Toy")}}]},
            "Toy": {"type": leaf},
        }

    pool = SchemaPool({})
    pool.add(family("string"))
    assert pool.add(family("string"))["Person"] == "Person"
    assert pool.add(family("integer")) == {"Person": "Person_2", "Child": "Child_2", "Toy": "Toy_2"}
    assert pool.components["Child_2"]["allOf"][0] == ref("Person_2")


def test_a_chain_longer_than_the_stack() -> None:
    count = 5000
    schemas = {f"T{at}": {"items": ref(f"T{at + 1}")} for at in range(count)} | {f"T{count}": {}}
    assert SchemaPool({}).add(schemas)["T0"] == "T0"


def test_shared_schemas_may_be_referred_to_and_never_replaced() -> None:
    problem: dict[str, Any] = {"type": "object"}
    pool = SchemaPool({"Problem": problem})
    pool.add({"Fault": {"allOf": [ref("Problem")]}})
    assert pool.components["Fault"] == {"allOf": [ref("Problem")]}
    names = pool.add({"Problem": {"type": "string"}, "Fault": {"allOf": [ref("Problem")]}})
    assert names == {"Problem": "Problem_2", "Fault": "Fault_2"}
    assert pool.components["Problem"] is problem
    assert pool.components["Fault_2"] == {"allOf": [ref("Problem_2")]}


def test_nothing_is_taken_when_something_is_wrong() -> None:
    pool = SchemaPool({})
    with pytest.raises(BadReference, match="'Gone'"):
        pool.add({"A": {"type": "string"}, "B": {"items": ref("Gone")}})
    with pytest.raises(BadReference, match="'Gone'"):
        pool.add({"A": {"type": "string"}}, {"schema": ref("Gone")})
    assert pool.components == {}
    pool.add({"B": {"items": ref("Gone")}, "Gone": {}})
    with pytest.raises(BadReference):
        pool.add({"B": {"items": ref("Gone")}})


def test_names_that_components_can_not_have() -> None:
    pool = SchemaPool({})
    schemas: dict[str, Any] = {"{urn:x}a/b~c": {"type": "string"}, "Ä": {}, "L": {"items": ref("%7Burn:x%7Da~1b~0c")}}
    names = pool.add(schemas)
    assert names["{urn:x}a/b~c"] == "urn_x_a_b_c"
    assert names["Ä"] == "schema"
    assert pool.components["L"] == {"items": ref("urn_x_a_b_c")}
    free = Names(["a_b", "a_b_2"])
    assert [free.fresh("a b"), free.fresh("a b"), free.fresh("a_b_3")] == ["a_b_3", "a_b_4", "a_b_3_2"]


def test_integers_beyond_64_bits() -> None:
    pool = SchemaPool({})
    assert pool.add({"A": {"maximum": 10**30}, "B": {"enum": [1]}})["A"] == "A"
    assert pool.components["A"] == {"maximum": 1e30}
    pool.add({"C": {"enum": [10**30, 2**64 - 1, -(2**63), True], "example": {1: 10**30}}})
    orjson.dumps(pool.components)
    assert pool.components["C"]["enum"][1:] == [2**64 - 1, -(2**63), True]


def test_data_is_not_mistaken_for_references() -> None:
    data = ref("Nowhere")
    schema = {
        "example": data,
        "examples": [data],
        "default": data,
        "const": data,
        "enum": [data],
        "x-note": data,
        "properties": {"default": ref("A"), "example": {"items": ref("A")}, "$ref": {"type": "string"}},
        "responses": {"default": {"schema": ref("A")}},
    }
    assert targets(schema, ["A"]) == {"A"}
    out = renamed(schema, {"A": "A_2"})
    assert out["properties"] == {
        "default": ref("A_2"),
        "example": {"items": ref("A_2")},
        "$ref": {"type": "string"},
    }
    assert out["responses"]["default"] == {"schema": ref("A_2")}
    assert {key: out[key] for key in ("example", "default", "const", "x-note")} == dict.fromkeys(
        ("example", "default", "const", "x-note"), data
    )


def test_discriminators_follow() -> None:
    schema = {
        "oneOf": [ref("Cat"), ref("Dog"), ref("Bird"), ref("Fish")],
        "discriminator": {"propertyName": "kind", "mapping": {"c": PREFIX + "Cat", "d": "Dog"}},
    }
    names = {"Cat": "Cat_2", "Dog": "Dog_2", "Bird": "Bird_2", "Fish": "Fish"}
    assert targets(schema, names) == set(names)
    out = renamed(schema, names)
    # Bird was chosen by its name, which is another's now; Fish still is.
    assert out["discriminator"] == {
        "propertyName": "kind",
        "mapping": {"c": PREFIX + "Cat_2", "d": PREFIX + "Dog_2", "Bird": PREFIX + "Bird_2"},
    }
    assert renamed({"discriminator": {"propertyName": "kind"}}, {}) == {"discriminator": {"propertyName": "kind"}}


def test_pointers_into_a_schema_are_kept() -> None:
    assert schema_name(PREFIX + "A/properties/x") == ("A", "/properties/x")
    assert renamed(ref("A/properties/x"), {"A": "B"}) == ref("B/properties/x")
    for elsewhere in ("#/components/responses/A", "other.json", "#anchor", "http://10.0.0.7/x.json"):
        with pytest.raises(BadReference):
            schema_name(elsewhere)


LETTERS = "ABCD"
SCHEMA = st.fixed_dictionaries(
    {"title": st.sampled_from("xy")}, optional={"items": st.sampled_from(LETTERS), "not": st.sampled_from(LETTERS)}
).map(lambda found: {key: value if key == "title" else ref(value) for key, value in found.items()})
SCHEMAS = st.fixed_dictionaries(dict.fromkeys(LETTERS, SCHEMA))


def unrolled(schemas: dict[str, Any], name: str, depth: int) -> Any:
    """A schema with its references followed, `depth` deep: what it means, whatever its parts are called."""
    if depth == 0:
        return "…"
    return {
        key: value if key == "title" else unrolled(schemas, value["$ref"].removeprefix(PREFIX), depth - 1)
        for key, value in schemas[name].items()
    }


@given(st.lists(SCHEMAS, min_size=1, max_size=4))
def test_every_schema_keeps_its_meaning_and_none_is_kept_twice(documents: list[dict[str, Any]]) -> None:
    pool = SchemaPool({})
    for schemas in documents:
        names = pool.add(schemas)
        for name, final in names.items():
            assert unrolled(pool.components, final, 6) == unrolled(schemas, name, 6)
    before = len(pool.components)
    for schemas in documents:
        pool.add(schemas)
    assert len(pool.components) == before
