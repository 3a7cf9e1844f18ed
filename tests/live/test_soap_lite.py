"""SOAP::Lite, rpc/encoded: results under names of Perl's own, types guessed from values, members in any order, and
multi-reference values beside the response. The WSDL's types hold all the same: JSON keeps its shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import Caller, Front
from tests.servers import Server

pytestmark = pytest.mark.live
WSDL = Path(__file__).parent / "perl" / "ledger.wsdl"

RENT: dict[str, Any] = {
    "id": 41,
    "memo": "Rent & <heating>",
    "amount": "1250.50",
    "paid": True,
    "payee": {"name": "Harbour Ltd", "account": None},
    "labels": ["office", "", "7", None],
}
GIFT: dict[str, Any] = {**RENT, "id": -42, "amount": "-3", "paid": False, "payee": None, "labels": []}


@pytest.fixture
async def ledger(soap_lite: Server, front: Front) -> AsyncIterator[Caller]:
    async with front(soap_lite, WSDL) as call:
        yield call


async def test_simple_parts(ledger: Caller) -> None:
    assert await ledger("add", {"b": 40, "a": 2}) == {"total": 42}
    assert ledger.server.journal() == ['add "2" "40"']
    assert await ledger("range", {"values": [3, -1, 2]}) == {"least": -1, "most": 3}
    assert await ledger("close_year", {}) == {}


async def test_a_result_by_another_name_is_still_the_result(ledger: Caller) -> None:
    # SOAP 1.1, section 7.1: the name of the return value's accessor is not significant.
    assert await ledger("title", {"name": "ab", "times": 2}) == {"result": "ab ab"}
    assert await ledger("title", {"name": "7", "times": 1}) == {"result": "7"}, "a string, whatever Perl takes it for"


@pytest.mark.parametrize("entry", [RENT, GIFT], ids=["full", "empty and nil"])
async def test_a_struct_there_and_back(ledger: Caller, entry: dict[str, Any]) -> None:
    assert await ledger("post", {"entry": entry}) == {"entry": entry}
    (line,) = ledger.server.journal()
    assert f'"amount":"{entry["amount"]}","id":"{entry["id"]}"' in line
    got = await ledger("get", {"id": entry["id"]})
    assert got == {"entry": entry}
    assert await ledger("post", got) == got


async def test_an_array_of_structs(ledger: Caller) -> None:
    entries = [RENT, GIFT, RENT]
    assert await ledger("post_all", {"entries": entries}) == {"entries": entries}
    assert await ledger("post_all", {"entries": []}) == {"entries": []}
    assert await ledger("post_all", {"entries": [GIFT]}) == {"entries": [GIFT]}
    assert ledger.server.journal() == ["post_all 3", "post_all 0", "post_all 1"]


async def test_a_value_that_two_share_stands_in_both(ledger: Caller) -> None:
    # Perl sends the shared payee once, as an independent element behind the response.
    assert await ledger("pair", {"entry": RENT}) == {"entries": [RENT, {**RENT, "id": 42}]}


async def test_an_array_of_strings(ledger: Caller) -> None:
    assert await ledger("reverse", {"words": ["a", "1", None, "", "<"]}) == {"words": ["<", "", None, "1", "a"]}
    assert await ledger("reverse", {"words": []}) == {"words": []}
    assert ledger.server.journal() == ['reverse ["a","1",null,"","<"]', "reverse []"]


async def test_text_that_comes_as_base64_says_so(ledger: Caller) -> None:
    # Perl's way with anything that isn't ASCII. Read as the string that the WSDL declares it would be another text.
    assert await ledger("reverse", {"words": ["ö"]}) == {"words": [{"@xsi:type": "base64Binary", "#text": "w7Y="}]}
    assert ledger.server.journal() == ['reverse ["ö"]']


async def test_faults(ledger: Caller) -> None:
    told = await ledger.problem("get", {"id": 9999}, 400)
    detail = {"noSuchEntry": {"id": 9999, "last": told["fault"]["detail"]["noSuchEntry"]["last"]}}
    assert told["fault"] == {"code": "Client.NoSuchEntry", "reason": "There is no entry 9999.", "detail": detail}
    assert isinstance(detail["noSuchEntry"]["last"], int)
    told = await ledger.problem("audit", {}, 502)
    assert told["fault"] == {"code": "Server", "reason": "Illegal division by zero"}, "not where in which file"


async def test_a_wrong_body_is_judged_whole_and_reaches_nobody(ledger: Caller) -> None:
    wrong = {**RENT, "id": "41", "amount": "a lot", "payee": {"account": 7}, "labels": "office", "total": 1}
    del wrong["memo"]
    assert set(await ledger.refused("post", {"entry": wrong})) == {
        "/entry/id",
        "/entry/memo",
        "/entry/amount",
        "/entry/payee/name",
        "/entry/payee/account",
        "/entry/labels",
        "/entry/total",
    }
    assert set(await ledger.refused("post_all", {"entries": [RENT, {**RENT, "paid": 1}, 5]})) == {
        "/entries/1/paid",
        "/entries/2",
    }
