"""The XML feed through httpx and xmltodict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import xmltodict


@pytest.fixture(scope="module")
def service(start: Callable[[str], Any]) -> Any:
    return start("results_feed")


@pytest.fixture
def get(service: Any) -> Callable[[str], httpx.Response]:
    def get(race: str) -> httpx.Response:
        url = f"http://127.0.0.1:{service.port}/feed/races/{race}"
        return httpx.get(url, headers={"X-Trace-ID": "a" * 32})

    return get


def test_a_race_with_three_candidates(get: Callable[[str], httpx.Response]) -> None:
    answer = get("governor")
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    race = xmltodict.parse(answer.content)["results"]["race"]
    assert race["precincts"] == {"@reporting": "8", "@total": "10"} | race["precincts"]
    assert [one["@leading"] for one in race["candidate"]].count("true") == 1
    votes = sum(int(one["votes"]["#text"]) for one in race["candidate"])
    assert votes == sum(int(one["@ballots"]) for one in race["county"])


def test_a_race_with_one_candidate_has_another_shape(get: Callable[[str], httpx.Response]) -> None:
    """Which is why the route's spec has force_list."""
    race = xmltodict.parse(get("register-of-deeds").content)["results"]["race"]
    assert race["candidate"]["name"] == "Rosalind Pelletier"


def test_a_missing_race_is_a_page(get: Callable[[str], httpx.Response]) -> None:
    answer = get("no-such")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html")


def test_what_went_over_the_wire_is_noted(get: Callable[[str], httpx.Response], service: Any) -> None:
    answer = get("governor")
    noted = service.exchanges()[-1]
    assert noted == {
        "trace_id": "a" * 32,
        "target": "GET /feed/races/governor",
        "request": "",
        "reply": answer.text,
        "status": "200 OK",
    }
