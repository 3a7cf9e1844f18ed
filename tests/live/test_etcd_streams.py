"""A real etcd's streams behind the gateway: leases are kept alive, watches tell what others put, snapshots are bytes.
Its own JSON gateway, on the same port, watches beside ours."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.live.etcd_kit import PROTOS, SPEC, b64
from tests.servers import Server

pytestmark = pytest.mark.live

NIGHT = {"key": b64("night/"), "range_end": b64("night0")}
WATCH = {"create_request": NIGHT}
KERN = b64("night/kern")


@pytest.fixture
async def gateway(start: Any, etcd: Server) -> AsyncIterator[Any]:
    async with start(mesh={"etcd-svc": etcd.address}, routes={"etcd.yml": SPEC}, files=PROTOS) as made:
        yield made


@pytest.fixture
async def own(etcd: Server) -> AsyncIterator[httpx.AsyncClient]:
    """Etcd itself, for another client than the gateway's."""
    async with httpx.AsyncClient(base_url=f"http://{etcd.address}", timeout=20) as client:
        yield client


async def put(own: httpx.AsyncClient, value: str, key: str = KERN) -> int:
    """The revision."""
    answer = await own.post("/v3/kv/put", json={"key": key, "value": b64(value)})
    return int(answer.json()["header"]["revision"])


async def told(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def watching(own: httpx.AsyncClient) -> int:
    """How many streams of watches etcd serves, by its own word."""
    found = re.search(r"^etcd_debugging_mvcc_watch_stream_total (\d+)", (await own.get("/metrics")).text, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def nobody_watches(own: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while await watching(own):
            await asyncio.sleep(0.01)


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Id and data of each server-sent event."""
    last = ""
    async for line in answer.aiter_lines():
        if line.startswith("id: "):
            last = line[4:]
        elif line.startswith("data: "):
            yield last, json.loads(line[6:])


# --- leases ----------------------------------------------------------------------------------------------------------


async def test_a_lease_is_kept_alive_over_a_websocket_over_lines_and_as_an_array(gateway: Any) -> None:
    granted = (await gateway.client.post("/v3/lease/grant", json={"TTL": "60"})).json()
    keep, nobody = {"ID": granted["ID"]}, {"ID": "5"}
    async with connect(f"ws://127.0.0.1:{gateway.port}/v3/lease/keepalive") as socket, asyncio.timeout(15):
        for _ in range(3):
            await socket.send(json.dumps(keep))
            alive = await told(socket)
            assert (alive["ID"], alive["TTL"]) == (granted["ID"], "60")
        await socket.send(json.dumps(nobody))
        assert "TTL" not in await told(socket)  # etcd's word for a lease that is gone
        await socket.send("")
        await asyncio.wait_for(socket.wait_closed(), 10)
        assert socket.close_code == 1000
    for body in ("\n".join(map(json.dumps, [keep, nobody, keep])), json.dumps([keep, nobody, keep])):
        answer = await gateway.client.post("/v3/lease/keepalive", content=body, headers={"accept": "application/json"})
        assert [alive.get("TTL") for alive in answer.json()] == ["60", None, "60"]
    assert (await gateway.client.post("/v3/lease/revoke", json=keep)).status_code == 200


# --- watches ---------------------------------------------------------------------------------------------------------


async def test_a_watch_over_a_websocket_tells_what_others_do(gateway: Any, own: httpx.AsyncClient) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/v3/watch") as socket, asyncio.timeout(15):
        await socket.send(json.dumps(WATCH))
        assert (await told(socket))["created"] is True
        for value in ("1", "2"):
            await put(own, value)
            event = (await told(socket))["events"][0]
            assert (event["kv"]["key"], event["kv"]["value"]) == (KERN, b64(value))
        await own.post("/v3/kv/deleterange", json={"key": KERN})
        assert (await told(socket))["events"][0]["type"] == "DELETE"
        await socket.send(json.dumps({"create_request": {"key": b64("noon"), "watch_id": "7"}}))  # two in one stream
        assert (await told(socket))["watch_id"] == "7"
        await put(own, "3", b64("noon"))
        assert (await told(socket))["watch_id"] == "7"
        await socket.send(json.dumps({"cancel_request": {"watch_id": "7"}}))
        assert (await told(socket))["canceled"] is True
        await put(own, "4")
        assert (await told(socket))["events"][0]["kv"]["value"] == b64("4")
        assert await watching(own) == 1
    await nobody_watches(own)


async def test_a_watch_by_a_single_request_is_told_as_etcds_own_gateway_tells_it(
    gateway: Any, own: httpx.AsyncClient
) -> None:
    """As etcd's own page has it, ``curl -N … -d '{"create_request": …}'``: the body has ended, the answer goes on."""
    said: dict[str, Any] = {
        "content": json.dumps(WATCH),
        "headers": {"content-type": "application/x-www-form-urlencoded"},
    }
    async with asyncio.timeout(15), contextlib.AsyncExitStack() as stack:
        ours = await stack.enter_async_context(gateway.client.stream("POST", "/v3/watch", **said))
        theirs = await stack.enter_async_context(own.stream("POST", "/v3/watch", **said))
        assert (ours.status_code, ours.headers["content-type"]) == (200, "application/x-ndjson")
        lines = (line async for line in ours.aiter_lines() if line)  # heartbeats are empty lines
        their_lines = theirs.aiter_lines()
        for value in (None, "1", "", "2"):
            if value is not None:
                await put(own, value)
            assert json.loads(await anext(lines)) == json.loads(await anext(their_lines))["result"]
    await nobody_watches(own)


async def test_a_watch_goes_on_in_both_directions_over_one_request(gateway: Any, own: httpx.AsyncClient) -> None:
    """A client that reads and writes at once asks for another watch while the first one's answers come."""
    async with asyncio.timeout(15):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = b"POST /v3/watch HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head)
        read = b""
        for key, sent in ((KERN, WATCH), (b64("noon"), {"create_request": {"key": b64("noon")}})):
            text = json.dumps(sent).encode()
            writer.write(b"%x\r\n%s\r\n" % (len(text), text))
            read = b""
            while b'"created":true' not in read:
                read += await reader.read(65536)
            await put(own, "both", key)
            while b64("both").encode() not in read:
                read += await reader.read(65536)
        writer.close()
        await nobody_watches(own)


async def test_a_browsers_event_source_loses_nothing(gateway: Any, own: httpx.AsyncClient) -> None:
    """The events' ids are revisions, which etcd is asked from: what was put while nobody listened comes, too. The last
    event comes again, since ``start_revision`` is the first revision that is told."""
    url, headers = f"/keys/{KERN}/events", {"accept": "text/event-stream"}
    async with asyncio.timeout(15):
        async with gateway.client.stream("GET", url, headers=headers) as answer:
            assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
            first = events(answer)
            last, created = await anext(first)
            assert (last, created["created"]) == ("", True)  # it tells no event, so there is nothing to go on from
            await put(own, "1")
            revision = await put(own, "2")
            while last != str(revision):
                last, message = await anext(first)
                assert last == message["events"][-1]["kv"]["mod_revision"]
        await nobody_watches(own)
        for value in ("3", "4"):
            await put(own, value)
        async with gateway.client.stream("GET", url, headers={**headers, "last-event-id": last}) as answer:
            again = events(answer)
            assert (await anext(again))[1]["created"] is True
            values: list[str] = []
            while len(values) < 3:
                values += [event["kv"]["value"] for event in (await anext(again))[1]["events"]]
        assert values == [b64("2"), b64("3"), b64("4")]
    wrong = await gateway.client.get(url, headers={**headers, "last-event-id": "x"})
    assert (wrong.status_code, wrong.json()["errors"][0]["parameter"]) == (400, "Last-Event-ID")


async def test_many_events_come_whole_and_in_order(gateway: Any, own: httpx.AsyncClient) -> None:
    """1280 of them, in transactions of 128, of a kilobyte each: more than waits anywhere on the way."""
    pieces = [{"request_put": {"key": b64(f"night/{n}"), "value": b64("x" * 1000)}} for n in range(128)]
    async with connect(f"ws://127.0.0.1:{gateway.port}/v3/watch", max_size=None) as socket, asyncio.timeout(15):
        await socket.send(json.dumps(WATCH))
        await told(socket)
        revisions = []
        for _ in range(10):
            answer = await own.post("/v3/kv/txn", json={"success": pieces})
            revisions.append(answer.json()["header"]["revision"])
        found: list[tuple[str, str]] = []
        while len(found) < 1280:
            found += [(event["kv"]["mod_revision"], event["kv"]["key"]) for event in (await told(socket))["events"]]
    assert found == [(revision, b64(f"night/{n}")) for revision in revisions for n in range(128)]


async def test_a_watch_of_what_was_compacted_says_so(gateway: Any, own: httpx.AsyncClient) -> None:
    old, now = await put(own, "1"), await put(own, "2")
    await own.post("/v3/kv/compaction", json={"revision": str(now)})
    async with connect(f"ws://127.0.0.1:{gateway.port}/v3/watch") as socket, asyncio.timeout(15):
        await socket.send(json.dumps({"create_request": {**NIGHT, "start_revision": str(old)}}))
        messages = [await told(socket), await told(socket)]
    assert messages[0]["created"] is True
    assert messages[1]["canceled"] is True
    assert int(messages[1]["compact_revision"]) == now


@pytest.mark.parametrize(
    ("message", "pointer"),
    [
        ({"create_request": {"key": "!"}}, "/0/create_request/key"),
        ({"create_request": {}, "cancel_request": {}}, "/0/cancel_request"),
        ({"create": {}}, "/0/create"),
    ],
)
async def test_a_watch_that_can_not_be_read_is_never_asked_for(
    gateway: Any, own: httpx.AsyncClient, message: dict[str, Any], pointer: str
) -> None:
    answer = await gateway.client.post("/v3/watch", json=message)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    await nobody_watches(own)


# --- a stream of bytes -----------------------------------------------------------------------------------------------


async def test_a_snapshot_is_a_stream_of_bytes_that_its_own_checksum_holds(
    gateway: Any, own: httpx.AsyncClient
) -> None:
    await put(own, "x" * 200_000)  # so that it has several parts
    answer = await gateway.client.post("/v3/maintenance/snapshot", json={})
    parts = [json.loads(line) for line in answer.text.split("\n") if line]
    blob = b"".join(base64.b64decode(part.get("blob", "")) for part in parts)
    assert answer.headers["content-type"] == "application/x-ndjson"
    left = [int(part.get("remaining_bytes", 0)) for part in parts]
    assert len(parts) > 3
    assert left == sorted(left, reverse=True)
    assert hashlib.sha256(blob[:-32]).digest() == blob[-32:]  # which etcd adds as the last part
