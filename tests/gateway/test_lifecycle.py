"""Callers are told of a route's deprecation and sunset on every response."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.conftest import Start, Upstream

SPEC: dict[str, Any] = {
    "route": "/v1/tallies",
    "methods": ["GET", "POST"],
    "upstream": "svc:80",
    "auth": "none",
    "deprecated": {"since": "2023-06-30T23:59:59Z", "link": "https://api.example/v2"},
    "sunset": {"date": "2031-12-31T23:59:59Z", "link": "https://api.example/end"},
    "transform": {"request": "passthrough"},
}
FIELDS = {
    "deprecation": "@1688169599",
    "sunset": "Wed, 31 Dec 2031 23:59:59 GMT",
    "link": '<https://api.example/v2>; rel="deprecation", <https://api.example/end>; rel="sunset"',
}


def told(answer: Any) -> dict[str, str]:
    return {name: answer.headers[name] for name in FIELDS if name in answer.headers}


async def test_every_response_tells_of_the_route_s_end(gateway: Any, upstream: Upstream) -> None:
    assert (await gateway.register(SPEC)).status_code == 201
    get = gateway.client.get
    well = await get("/v1/tallies")
    assert (well.status_code, told(well)) == (200, FIELDS)
    upstream.status = 404
    refused = await get("/v1/tallies")
    assert (refused.status_code, told(refused)) == (404, FIELDS)
    upstream.status = 500
    failed = await get("/v1/tallies")
    assert (failed.status_code, told(failed)) == (502, FIELDS)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /v1/tallies HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\ndeprecation: @1688169599\r\n" in head.lower(), "before the body is read"
    writer.close()
    assert told(await gateway.client.put("/v1/tallies")) == {}, "no route is published there"


async def test_a_refused_caller_is_told_too(gateway: Any) -> None:
    spec = SPEC | {"auth": {"type": "JWT"}, "rate_limit": {"rps": 1}}
    await gateway.register(spec)
    unknown = await gateway.client.get("/v1/tallies")
    assert (unknown.status_code, told(unknown)) == (401, FIELDS)
    answers = [await gateway.client.get("/v1/tallies", headers=gateway.bearer()) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(told(answer) == FIELDS for answer in answers)


async def test_the_route_s_word_replaces_the_service_s(gateway: Any, upstream: Upstream) -> None:
    upstream.headers += [("Deprecation", "@1"), ("Sunset", "never"), ("Link", "</2>; rel=next")]
    await gateway.register(SPEC)
    answer = await gateway.client.get("/v1/tallies")
    assert answer.headers.get_list("deprecation") == ["@1688169599"]
    assert answer.headers.get_list("sunset") == ["Wed, 31 Dec 2031 23:59:59 GMT"]
    assert answer.headers.get_list("link")[0] == "</2>; rel=next"


@pytest.mark.parametrize(
    ("keys", "fields"),
    [
        ({"deprecated": True}, {}),
        ({"deprecated": False}, {}),
        ({"deprecated": "2031-01-01"}, {"deprecation": "@1924992000"}),
        ({"sunset": "2020-01-01"}, {"sunset": "Wed, 01 Jan 2020 00:00:00 GMT"}),
        ({"deprecated": {"link": "https://a.example/"}}, {"link": '<https://a.example/>; rel="deprecation"'}),
    ],
)
async def test_a_route_says_what_its_spec_says(gateway: Any, keys: Any, fields: dict[str, str]) -> None:
    spec = {key: value for key, value in SPEC.items() if key not in ("deprecated", "sunset")} | keys
    assert (await gateway.register(spec)).status_code == 201
    answer = await gateway.client.get("/v1/tallies")
    assert (answer.status_code, told(answer)) == (200, fields), "it serves after its sunset, too"


async def test_a_publisher_reads_it_and_is_warned(gateway: Any) -> None:
    spec = SPEC | {"sunset": "2020-01-01", "deprecated": True, "tags": ["Tallies"], "description": "Counts."}
    registered = (await gateway.register(spec)).json()
    [no_date, over] = registered["warnings"]
    assert no_date.startswith("deprecated: it has no date")
    assert over.startswith("sunset: it was on 2020-01-01, ")
    publisher = gateway.bearer(roles=("api_publisher",))
    [listed] = (await gateway.client.get("/-/routes", headers=publisher)).json()["routes"]
    said = {key: listed[key] for key in ("description", "tags", "deprecated", "sunset")}
    assert said == {"description": "Counts.", "tags": ["Tallies"], "deprecated": True, "sunset": "2020-01-01"}
    yaml = await gateway.client.get(f"/-/routes/{listed['route_id']}", headers=publisher | {"accept": "text/yaml"})
    assert "sunset: '2020-01-01'" in yaml.text or "sunset: 2020-01-01" in yaml.text
    again = await gateway.client.put(
        f"/-/routes/{listed['route_id']}", content=yaml.text, headers=publisher | {"content-type": "application/yaml"}
    )
    assert again.status_code == 200


PROTO = """syntax = "proto3"; package tally.v1;
message Request {} message Line { int32 votes = 1; }
service Tally { rpc Watch(Request) returns (stream Line); }
"""


async def test_streams_tell_of_it_before_their_first_message(start: Start) -> None:
    spec = (
        "route: /v1\nupstream: grpc://svc:9\nauth: none\ndeprecated: 2023-06-30T23:59:59Z\n"
        "transform: {request: grpc, grpc: {protos: [tally.proto]}}\n"
    )
    mesh = {"svc": "127.0.0.1:1"}
    async with start(mesh=mesh, routes={"a.yml": spec}, files={"protos/tally.proto": PROTO}) as gateway:
        path = "/v1/tally.v1.Tally/Watch"
        answer = await gateway.client.post(path, json={})
        assert (answer.status_code, answer.headers["deprecation"]) == (503, "@1688169599")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with asyncio.timeout(20):
                    await session.ws_connect(f"http://127.0.0.1:{gateway.port}{path}?nothing=1")
        assert refused.value.headers is not None
        assert refused.value.headers["deprecation"] == "@1688169599"
