"""PHP's SoapServer, rpc/encoded: structs, arrays, nil, maps, and an object written once and referred to twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import Caller, Front
from tests.servers import Server

pytestmark = pytest.mark.live
WSDL = Path(__file__).parent / "php" / "registry.wsdl"

ADA = {
    "id": "9007199254740993",
    "name": "Ada <Ö>",
    "party": "river",
    "phone": None,
    "active": True,
    "address": {"street": None, "zip": "01234"},
    "precincts": ["a", "", "c"],
}
BOB = {**ADA, "id": "-1", "name": "Bob", "active": False, "phone": "", "address": None, "precincts": []}


@pytest.fixture
async def registry(php: Server, front: Front) -> AsyncIterator[Caller]:
    async with front(php, WSDL, faults={"noSuchVoter": 404}, strict=True) as call:
        yield call


def typed(name: str, value: Any) -> dict[str, Any]:
    return {"@xsi:type": name, "#text": value}


async def test_parts_in_and_out(registry: Caller) -> None:
    assert await registry("add", {"b": -5, "a": 2}) == {"return": -3}
    assert registry.server.journal() == ["add 2 -5"], "parts go by their names, not by their order"
    assert await registry("divide", {"a": 17, "b": 5}) == {"quotient": 3, "remainder": 2}
    assert await registry("remove", {"id": "7"}) == {"return": True}


@pytest.mark.parametrize("voter", [ADA, BOB], ids=["full", "empty and nil"])
async def test_a_struct_there_and_back(registry: Caller, voter: dict[str, Any]) -> None:
    assert await registry("enroll", {"voter": voter, "remark": None}) == {"return": voter}
    (line,) = registry.server.journal()
    arrived, end = json.JSONDecoder().raw_decode(line.removeprefix("enroll "))
    assert arrived == {**voter, "id": int(str(voter["id"]))}
    assert line[len("enroll ") + end :] == " null"
    assert await registry("find", {"names": [voter["name"], "nobody", voter["name"]]}) == {"return": [voter, voter]}


@pytest.mark.parametrize(
    ("words", "upper"),
    [(["a", None, "", "b<"], ["A", None, "", "B<"]), (["one"], ["ONE"]), ([], [])],
    ids=["nil among them", "one", "none"],
)
async def test_an_array_of_strings(registry: Caller, words: list[str | None], upper: list[str | None]) -> None:
    assert await registry("upper", {"words": words}) == {"return": upper}
    assert registry.server.journal() == [f"upper {json.dumps(words, separators=(',', ':'))}"]


async def test_an_array_of_structs_that_finds_nothing(registry: Caller) -> None:
    assert await registry("find", {"names": ["nobody"]}) == {"return": []}


async def test_an_array_of_arrays(registry: Caller) -> None:
    assert await registry("turn", {"rows": [[1, 2, 3], [4, 5, 6]]}) == {"return": [[1, 4], [2, 5], [3, 6]]}


async def test_simple_types(registry: Caller) -> None:
    sample = {
        "born": "1999-02-28Z",
        "seen": "2026-11-03T21:17:40.25-06:00",
        "image": "AAEC/w==",
        "digest": "00FF",
        "balance": "12345678901234567890.50",
        "ratio": -0.1,
        "counts": [1, -2147483648],
    }
    assert await registry("echo", {"sample": sample}) == {"return": sample}
    assert registry.server.journal() == ["echo 000102ff 00ff 1999-02-28Z 2026-11-03T21:17:40.25-06:00"]


async def test_a_map_of_apache_s(registry: Caller) -> None:
    votes = [
        {"key": typed("string", "Whitcomb"), "value": typed("int", 3)},
        {"key": typed("string", "Okafor"), "value": typed("int", 4)},
    ]
    added = [
        {"key": typed("string", "sum"), "value": typed("int", 7)},
        {"key": typed("string", "share"), "value": typed("float", 0.5)},
        {"key": typed("string", "certified"), "value": typed("boolean", True)},
        {"key": typed("string", "by"), "value": typed("string", "Ada")},
        {"key": typed("string", "at"), "value": None},
    ]
    assert await registry("tally", {"votes": {"item": votes}}) == {"return": {"item": votes + added}}
    assert registry.server.journal() == ['tally {"Whitcomb":3,"Okafor":4}']


async def test_what_is_referred_to_stands_in_both_places(registry: Caller) -> None:
    assert await registry("household", {"voter": ADA}) == {"return": [ADA, ADA, ADA]}


async def test_faults(registry: Caller) -> None:
    told = await registry.problem("divide", {"a": 1, "b": 0}, 502)
    assert told["fault"] == {"code": "Server", "reason": "Division by zero."}
    told = await registry.problem("remove", {"id": "-1"}, 404)
    detail = {"noSuchVoter": {"id": "-1", "hint": "above 0"}}
    assert told["fault"] == {"code": "Client", "reason": "Nobody has the number -1.", "detail": detail}


async def test_a_wrong_body_is_judged_whole_and_reaches_nobody(registry: Caller) -> None:
    wrong = {
        **ADA,
        "id": 1.5,
        "party": "lake",
        "active": "yes",
        "address": {"zip": 1},
        "precincts": ["a", 1, {}],
        "x": 1,
    }
    del wrong["name"]
    assert set(await registry.refused("enroll", {"voter": wrong, "remark": 5, "more": None})) == {
        "/more",
        "/remark",
        "/voter/id",
        "/voter/name",
        "/voter/party",
        "/voter/active",
        "/voter/address/street",
        "/voter/address/zip",
        "/voter/precincts/1",
        "/voter/precincts/2",
        "/voter/x",
    }
    assert set(await registry.refused("upper", {"words": {"item": ["a"]}})) == {"/words"}
    assert set(await registry.refused("turn", {"rows": [[1, "2"], 3]})) == {"/rows/0/1", "/rows/1"}
    assert set(await registry.refused("add", {})) == {"/a", "/b"}
