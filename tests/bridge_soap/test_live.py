"""Against a real server: spyne on WSGI, its own WSDL fetched by URL, plain HTTP between."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge import Call, HttpReply, InvalidBody, Operation, Reply, UpstreamFault
from tests.soap_kit import bind_wsdl, codec_of

pytestmark = pytest.mark.live
SERVER = Path(__file__).parent.parent / "spyne_returns.py"


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SERVER), request.param], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        assert port
        yield f"http://127.0.0.1:{port}"
        server.terminate()


async def operations_of(address: str, tmp_path: Path) -> dict[str, Operation]:
    return {each.name: each for each in await bind_wsdl(tmp_path, f"{address}/?wsdl")}


def call(address: str, operation: Operation, value: Any) -> Reply:
    codec = codec_of(operation)
    made = Call("POST", body=json.dumps(value).encode())
    request = codec.request(made)
    answer = httpx.post(address + request.path, content=request.body, headers=request.headers)
    headers = [(name.lower(), text) for name, text in answer.headers.items()]
    reply = codec.reply(made, HttpReply(answer.status_code, headers, answer.content))
    assert made.warnings == []
    return reply


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


async def test_values_go_there_and_back(address: str, tmp_path: Path) -> None:
    operations = await operations_of(address, tmp_path)
    answer = json.loads(call(address, operations["store"], {"county": COUNTY}).body)
    assert answer == {"storeResult": COUNTY}
    assert json.loads(call(address, operations["find"], {"name": "ada", "limit": 3}).body) == {"findResult": "ada/3"}


async def test_faults_of_the_server(address: str, tmp_path: Path) -> None:
    find = (await operations_of(address, tmp_path))["find"]
    with pytest.raises(UpstreamFault) as caught:
        call(address, find, {"name": "nobody"})
    assert caught.value.status == 400
    assert caught.value.detail == "Nobody by that name."
    assert caught.value.members["fault"]["detail"] == {"#any": [{"tried": "nobody"}]}
    with pytest.raises(UpstreamFault) as caught:
        call(address, find, {"name": "crash"})
    assert caught.value.status == 502


async def test_a_wrong_body_reaches_nobody(address: str, tmp_path: Path) -> None:
    store = (await operations_of(address, tmp_path))["store"]
    stored = (await operations_of(address, tmp_path))["stored"]
    before = call(address, stored, {}).body
    with pytest.raises(InvalidBody) as caught:
        call(address, store, {"county": {**COUNTY, "fips": 5, "x": 1, "precincts": {"Precinct": [{"votes": "1"}]}}})
    assert {pointer for pointer, _ in caught.value.errors} >= {
        "/county/fips",
        "/county/x",
        "/county/precincts/Precinct/0/name",
        "/county/precincts/Precinct/0/votes",
    }
    assert call(address, stored, {}).body == before
