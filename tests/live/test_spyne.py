"""spyne on WSGI, its own WSDL fetched by URL, at SOAP 1.1 and 1.2."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest

from tests.live.conftest import Caller, Front
from tests.servers import Server

pytestmark = [
    pytest.mark.live,
    # Nothing that could be installed is missing, so this is a skip under CI=true, too.
    pytest.mark.skipif(
        sys.version_info >= (3, 12),
        reason="spyne 2.14 can't be imported by Python 3.12 and later: it carries an old six",
    ),
]

COUNTY = {
    "fips": "06009",
    "population": "123456789012345678901234567890",
    "precincts": {
        "Precinct": [
            {"name": "Mörö <1>", "votes": 10412, "share": "51.25", "certified": True, "counted": "2026-11-03"},
            {"name": "", "votes": -1, "certified": False},
        ]
    },
}


@pytest.fixture
async def returns(spyne: Server, front: Front) -> AsyncIterator[Caller]:
    async with front(spyne, f"http://{spyne.address}/?wsdl", strict=True) as call:
        yield call


async def test_values_go_there_and_back(returns: Caller) -> None:
    assert await returns("store", {"county": COUNTY}) == {"storeResult": COUNTY}
    assert await returns("find", {"name": "ada", "limit": 3}) == {"findResult": "ada/3"}
    assert returns.server.journal() == ["store 06009", "find ada"]


async def test_faults_of_the_server(returns: Caller) -> None:
    told = await returns.problem("find", {"name": "nobody"}, 400)
    assert told["detail"] == "Nobody by that name."
    assert told["fault"]["detail"] == {"#any": [{"tried": "nobody"}]}
    told = await returns.problem("find", {"name": "crash"}, 502)
    assert "ZeroDivisionError" not in str(told)


async def test_a_wrong_body_reaches_nobody(returns: Caller) -> None:
    wrong = {**COUNTY, "fips": 5, "x": 1, "precincts": {"Precinct": [{"votes": "1"}]}}
    assert set(await returns.refused("store", {"county": wrong})) == {
        "/county/fips",
        "/county/x",
        "/county/precincts/Precinct/0/name",
        "/county/precincts/Precinct/0/votes",
    }
