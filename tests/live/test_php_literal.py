"""PHP's SoapServer, document/literal, at its SOAP 1.1 and its SOAP 1.2 port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import Caller, Front
from tests.servers import Server

pytestmark = pytest.mark.live
WSDL = Path(__file__).parent / "php" / "orders.wsdl"

LINE = {"sku": "AB-123", "quantity": 3, "price": {"@currency": "USD", "#text": "2.50"}, "mark": [], "part": []}
ORDER = {
    "@channel": "desk",
    "@urgent": True,
    "number": "9007199254740993",
    "placed": "2026-11-03T21:17:40.250-06:00",
    "note": None,
    "buyer": {
        "@xsi:type": "Company",
        "name": "Mörö & Söhne <Ltd>",
        "phone": None,
        "registered": "1999-12-31",
        "contact": {"name": "", "phone": "+1 555 0100"},
    },
    "line": [
        LINE,
        {**LINE, "quantity": -2147483648, "mark": ["a", "", " b "], "part": [{**LINE, "part": [LINE, LINE]}]},
    ],
    "invoice": {"days": 255, "rate": 0.1},
    "scan": "AAEC/w==",
    "digest": "00FF",
}
SMALL = {
    "@channel": "post",
    "number": "-1",
    "placed": "2026-11-03T00:00:00Z",
    "buyer": {"name": "Ada", "phone": "1"},
    "line": [LINE],
    "card": "4111",
}


@pytest.fixture(params=["1.1", "1.2"])
async def orders(request: pytest.FixtureRequest, php: Server, front: Front) -> AsyncIterator[Caller]:
    """The service at one of its ports. The gateway is strict: PHP keeps to the schema, to the last of its parts."""
    port = f"Orders{request.param.replace('.', '')}"
    desk = {"desk": {"clerk": "Zoë <1>", "floor": -2}}
    async with front(php, WSDL, port=port, headers=desk, faults={"noSuchOrder": 404}, strict=True) as call:
        yield call


@pytest.mark.parametrize("order", [ORDER, SMALL], ids=["all parts", "least parts"])
async def test_an_order_there_and_back_and_there_again(orders: Caller, order: dict[str, Any]) -> None:
    total = "-5368709112.50" if order is ORDER else "7.50"
    stored = await orders("place", {"order": order})
    assert stored == {"lines": len(order["line"]), "total": {"@currency": "USD", "#text": total}}
    assert orders.server.journal() == ["header desk Zoë <1>/-2", "place"]
    got = await orders("get", {"number": order["number"]})
    assert got == {"order": order}
    assert await orders("same", got) == {"same": True}
    assert await orders("same", {"order": {**order, "placed": "2026-11-03T21:17:41Z"}}) == {"same": False}
    assert await orders("cancel", {"number": order["number"]}) == {}
    assert await orders("get", {"number": order["number"]}) == {}


async def test_one_way(orders: Caller) -> None:
    answer = await orders.send("remind", {"number": 7})
    assert (answer.status_code, answer.content) == (202, b"")
    assert orders.server.journal()[-1] == "remind 7"


async def test_a_declared_fault_has_a_typed_detail_and_a_status_of_its_own(orders: Caller) -> None:
    told = await orders.problem("cancel", {"number": 9}, 404)
    assert told["type"] == "urn:bridge:problem:upstream-fault"
    assert told["detail"] == "There is no order 9."
    code = told["fault"].pop("code")
    assert code in ("Client", "Sender")
    detail = {"noSuchOrder": {"number": "9", "nearest": ["8", "10"]}}
    assert told["fault"] == {"reason": "There is no order 9.", "detail": detail}


async def test_a_client_s_fault_is_400_where_the_route_says_nothing(php: Server, front: Front) -> None:
    async with front(php, WSDL) as call:
        told = await call.problem("cancel", {"number": 9}, 400)
        assert told["fault"]["detail"] == {"noSuchOrder": {"number": "9", "nearest": ["8", "10"]}}


async def test_faults_of_the_server(orders: Caller) -> None:
    told = await orders.problem("get", {"number": 501}, 502)
    assert told["type"] == "urn:bridge:problem:upstream-fault"
    assert told["fault"]["reason"] == "The warehouse is closed."
    assert told["fault"]["code"] in ("Server", "Receiver")
    told = await orders.problem("get", {"number": 500}, 502)
    assert told["type"] == "urn:bridge:problem:upstream-failed"
    assert ".lock" not in str(told)


async def test_a_wrong_body_is_judged_whole_and_reaches_nobody(orders: Caller) -> None:
    wrong = {
        **ORDER,
        "@channel": "phone",
        "@colour": 1,
        "number": "1.5",
        "placed": "yesterday",
        "buyer": {"@xsi:type": "Company", "name": "A", "phone": 1},
        "line": [LINE, {**LINE, "sku": "ab", "quantity": 2**31, "price": "x"}, {"part": [{"mark": [True]}]}],
        "card": "4111",
        "scan": "?",
        "digest": "0",
    }
    assert set(await orders.refused("place", {"order": wrong, "more": 1})) == {
        "/more",
        "/order",
        "/order/@channel",
        "/order/@colour",
        "/order/number",
        "/order/placed",
        "/order/buyer/phone",
        "/order/buyer/registered",
        "/order/line/1/sku",
        "/order/line/1/quantity",
        "/order/line/1/price",
        "/order/line/1/price/@currency",
        "/order/line/2/sku",
        "/order/line/2/quantity",
        "/order/line/2/price",
        "/order/line/2/part/0/sku",
        "/order/line/2/part/0/quantity",
        "/order/line/2/part/0/price",
        "/order/line/2/part/0/mark/0",
        "/order/scan",
        "/order/digest",
    }
    assert await orders.refused("remind", {}) == {"/number": "it is required"}
    assert set(await orders.refused("place", {"order": {**SMALL, "line": [], "card": None}})) == {
        "/order/line",
        "/order/card",
    }
