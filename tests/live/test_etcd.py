"""A real etcd behind the gateway: keys, transactions, leases, roles. Its own JSON gateway, on the same port, is the
judge: each story is told to both, and every difference is listed, with what decides it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.live.etcd_cases import JSON, RANGE, STORIES, differences
from tests.live.etcd_kit import PROTOS, SPEC, b64, revision, told
from tests.servers import Server

pytestmark = pytest.mark.live


@pytest.fixture
async def gateway(start: Any, etcd: Server) -> AsyncIterator[Any]:
    async with start(mesh={"etcd-svc": etcd.address}, routes={"etcd.yml": SPEC}, files=PROTOS) as made:
        yield made


async def test_everything_but_what_is_listed_is_answered_as_etcds_own_gateway_does(gateway: Any, etcd: Server) -> None:
    found: dict[tuple[str, str], tuple[int, int]] = {}
    async with httpx.AsyncClient(base_url=f"http://{etcd.address}", timeout=20) as own:
        version = (await own.get("/version")).json()["etcdserver"]
        for name, story in STORIES.items():
            answers = []
            for client in (own, gateway.client):
                start = await revision(own)
                answers.append([await told(client, path, body, start, JSON) for path, body in story])
            for request, theirs, ours in zip(story, *answers, strict=True):
                if theirs[0] != ours[0]:
                    found[request] = (theirs[0], ours[0])
                # What the gateway refuses itself, it refuses in its own words; etcd's refusals are etcd's whatever the
                # status that they are told with.
                if ours[1] is not None and theirs[0] in (ours[0], 412):
                    assert ours[1] == theirs[1], (name, request)
    assert found == differences(version)


async def test_media_types(gateway: Any, etcd: Server) -> None:
    """RFC 9110, section 15.5.16; etcd's own gateway reads as JSON whatever comes."""
    body = f'{{"key":"{b64("a")}"}}'
    async with httpx.AsyncClient(base_url=f"http://{etcd.address}", timeout=20) as own:
        for content_type, status in (("application/x-www-form-urlencoded", 200), ("text/plain", 415), ("", 200)):
            assert (await told(own, RANGE, body, 0, content_type))[0] == 200
            assert (await told(gateway.client, RANGE, body, 0, content_type))[0] == status, content_type


async def test_bytes_and_names_in_both_spellings(gateway: Any) -> None:
    put = await gateway.client.post("/v3/kv/put", json={"key": "_-8=", "value": "AAEC"})  # the URL-safe alphabet, too
    assert int(put.json()["header"]["revision"]) > 0
    found = (await gateway.client.post("/v3/kv/range", json={"key": "/+8="})).json()
    assert found["kvs"][0]["value"] == "AAEC"
    assert found["count"] == "1"
    wrong = await gateway.client.post("/v3/kv/range", json={"key": "/+8=", "sort_order": "SIDEWAYS", "limt": 1})
    assert wrong.status_code == 400
    assert {fault["pointer"] for fault in wrong.json()["errors"]} == {"/sort_order", "/limt"}


async def test_a_member_of_a_oneof_that_is_null_is_not_given(gateway: Any) -> None:
    """Not told to etcd's own gateway, which takes one member or the other by chance."""
    put, nothing = {"key": b64("one")}, None
    for members in ({"request_range": nothing, "request_put": put}, {"request_put": put, "request_range": nothing}):
        answer = await gateway.client.post("/v3/kv/txn", json={"success": [members]})
        assert [list(response) for response in answer.json()["responses"]] == [["response_put"]]


async def test_etcds_refusals_keep_their_meaning(gateway: Any) -> None:
    post = gateway.client.post
    put = await post("/v3/kv/put", json={"key": b64("old"), "value": b64("1")})
    await post("/v3/kv/put", json={"key": b64("old"), "value": b64("2")})
    now = (await post("/v3/kv/range", json={"key": b64("old")})).json()["header"]["revision"]
    await post("/v3/kv/compaction", json={"revision": now})
    compacted = await post("/v3/kv/range", json={"key": b64("old"), "revision": put.json()["header"]["revision"]})
    future = await post("/v3/kv/range", json={"key": b64("a"), "revision": "999999999"})
    lease = await post("/v3/kv/put", json={"key": b64("a"), "lease": "12345"})
    revoked = await post("/v3/lease/revoke", json={"ID": "12345"})
    empty = await post("/v3/kv/put", json={})
    assert [(answer.status_code, answer.json()["grpc"]["status"], answer.json()["detail"]) for answer in (
        compacted, future, lease, revoked, empty,
    )] == [
        (400, "OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"),
        (400, "OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"),
        (404, "NOT_FOUND", "etcdserver: requested lease not found"),
        (404, "NOT_FOUND", "etcdserver: requested lease not found"),
        (400, "INVALID_ARGUMENT", "etcdserver: key is not provided"),
    ]  # fmt: skip
    assert compacted.headers["content-type"] == "application/problem+json"
