"""Axis 1.4, rpc/encoded, by the WSDL it writes of itself: replies whose every number and struct is a multiRef."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.live.conftest import Caller, Front
from tests.servers import Server

pytestmark = pytest.mark.live

ADA = {"name": "Zoë & <Söhne>", "share": 100}
LOT: dict[str, Any] = {
    "number": "A-1",
    "area": "9223372036854775807",
    "floors": 3,
    "exempt": True,
    "value": "12345678901234567890.50",
    "rate": -0.1,
    "assessed": "2026-11-04T03:17:40.250Z",
    "deed": "AAEC/w==",
    "notes": ["", None, "wet"],
    "owner": ADA,
    "formerOwners": [{"name": None, "share": 1}, None, ADA],
    "neighbour": None,
}
BARE: dict[str, Any] = {
    **dict.fromkeys(LOT),
    "number": "B-2",
    "area": "0",
    "exempt": False,
    "rate": 0.0,
    "notes": [],
    "formerOwners": [],
}


@pytest.fixture
async def assessor(axis: Server, front: Front) -> AsyncIterator[Caller]:
    wsdl = f"http://{axis.address}/axis/services/Assessor?wsdl"
    async with front(axis, wsdl, faults={"NoSuchParcel": 404}, strict=True) as call:
        yield call


async def test_simple_parts(assessor: Caller) -> None:
    assert await assessor("add", {"b": -40, "a": 2}) == {"addReturn": -38}
    assert await assessor("close", {"number": "nowhere"}) == {}
    assert assessor.server.journal() == ["add 2 -40", "close nowhere"]


@pytest.mark.parametrize("parcel", [LOT, BARE], ids=["full", "empty and nil"])
async def test_a_bean_there_and_back_and_there_again(assessor: Caller, parcel: dict[str, Any]) -> None:
    assert await assessor("record", {"parcel": parcel}) == {"recordReturn": parcel}
    got = await assessor("get", {"number": parcel["number"]})
    assert got == {"getReturn": parcel}
    assert await assessor("record", {"parcel": got["getReturn"]}) == {"recordReturn": parcel}
    line = (
        f"record A-1 {LOT['area']} 3 {LOT['value']} {ADA['name']}" if parcel is LOT else "record B-2 0 null null null"
    )
    assert assessor.server.journal() == [line, f"get {parcel['number']}", line]


async def test_beans_within_beans(assessor: Caller) -> None:
    parcel = {**BARE, "neighbour": {**LOT, "neighbour": BARE}}
    assert await assessor("record", {"parcel": parcel}) == {"recordReturn": parcel}


async def test_what_is_shared_stands_wherever_it_is_referred_to(assessor: Caller) -> None:
    await assessor("record", {"parcel": LOT})
    beside = {
        **BARE,
        "number": "A-1a",
        "owner": ADA,
        "formerOwners": [ADA, None, ADA],
        "notes": None,
        "neighbour": LOT,
    }
    assert await assessor("block", {"number": "A-1"}) == {"blockReturn": [LOT, beside, LOT]}


async def test_a_graph_that_bites_its_tail_is_no_json(assessor: Caller) -> None:
    told = await assessor.problem("ring", {}, 502)
    assert told["type"] == "urn:bridge:problem:bad-reply"


async def test_arrays(assessor: Caller) -> None:
    assert await assessor("reverse", {"words": ["a", "", None, "1"]}) == {"reverseReturn": ["1", None, "", "a"]}
    assert await assessor("reverse", {"words": []}) == {"reverseReturn": []}
    assert await assessor("turn", {"rows": [[1, 2, 3], [4, 5, 6]]}) == {"turnReturn": [[1, 4], [2, 5], [3, 6]]}
    assert assessor.server.journal() == ["reverse 4", "reverse 0", "turn"]


async def test_a_map_of_anything(assessor: Caller) -> None:
    await assessor("record", {"parcel": LOT})
    items = (await assessor("totals", {"number": "A-1"}))["totalsReturn"]["item"]
    # XML Schema has a type `string` and the encoding another, so the types' names may come with their namespaces.
    for item in items:
        for value in item.values():
            value["@xsi:type"] = value["@xsi:type"].rpartition("}")[2]
    assert items[0] == {"key": typed("string", "number"), "value": typed("string", "A-1")}
    assert items[1]["value"]["@xsi:type"] == "int"
    assert isinstance(items[1]["value"]["#text"], int)
    assert items[2] == {"key": typed("string", "owner"), "value": {"@xsi:type": "Owner", **ADA}}


def typed(name: str, value: Any) -> dict[str, Any]:
    return {"@xsi:type": name, "#text": value}


async def test_faults(assessor: Caller) -> None:
    told = await assessor.problem("get", {"number": "Z"}, 404)
    assert told["fault"]["reason"] == "NoSuchParcel: There is no parcel Z."
    detail = told["fault"]["detail"]["NoSuchParcel"]
    assert detail == {"number": "Z", "known": detail["known"]}
    assert isinstance(detail["known"], int)
    told = await assessor.problem("audit", {}, 502)
    reason = "java.lang.IllegalStateException: The index is broken."
    assert told["fault"] == {"code": "Server.userException", "reason": reason, "detail": {}}


async def test_a_wrong_body_is_judged_whole_and_reaches_nobody(assessor: Caller) -> None:
    wrong = {**LOT, "area": "1.5", "floors": "3", "deed": "?", "notes": "wet", "owner": {"share": 2**31}, "x": 1}
    del wrong["value"]
    assert set(await assessor.refused("record", {"parcel": wrong})) == {
        "/parcel/area",
        "/parcel/floors",
        "/parcel/deed",
        "/parcel/notes",
        "/parcel/owner/name",
        "/parcel/owner/share",
        "/parcel/value",
        "/parcel/x",
    }
    assert set(await assessor.refused("turn", {"rows": [[1, "2"], 3]})) == {"/rows/0/1", "/rows/1"}
