"""A real etcd behind the gateway: keys, transactions, leases and watches. Its own JSON gateway, on the same port, is
the judge of what is unary."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.servers import Server, missing, running

pytestmark = pytest.mark.live

PROTOS = Path(__file__).parent / "etcd"
SPEC = """
route: /
upstream: etcd-svc:2379
auth: {type: none}
stream: {heartbeat: 200ms}
transform:
  request: grpc
  grpc:
    protos: [etcd/rpc.proto]
    print: {proto_names: true}
    events: {Watch: {retry: 1s}}
"""


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if shutil.which("etcd") is None:
        missing("etcd")
    folder = tmp_path_factory.mktemp("etcd")
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(2):
            bound = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(bound.getsockname()[1])
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    command = [
        "etcd", "--name", "one", "--data-dir", str(folder / "data"), "--listen-client-urls", client,
        "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"one={peer}", "--logger", "zap",
    ]  # fmt: skip
    with running("etcd", command, folder, ready=r"serving client traffic insecurely.*127\.0\.0\.1:(\d+)") as server:
        yield server


@pytest.fixture
async def gateway(start: Any, etcd: Server) -> AsyncIterator[Any]:
    files = {f"protos/etcd/{path.name}": path.read_text("utf-8") for path in PROTOS.glob("*.proto")}
    async with start(mesh={"etcd-svc": etcd.address}, routes={"etcd.yml": SPEC}, files=files) as made:
        yield made


def plain(answer: Any) -> Any:
    """An answer without what differs from call to call."""
    if isinstance(answer, dict):
        changing = ("revision", "raft_term", "create_revision", "mod_revision", "version", "dbSize", "dbSizeInUse",
                    "raftIndex", "raftTerm", "raftAppliedIndex")  # fmt: skip
        return {key: plain(value) for key, value in answer.items() if key not in changing}
    return [plain(item) for item in answer] if isinstance(answer, list) else answer


KEYS = b64("county/"), b64("county0")
UNARY = [
    ("/v3/kv/put", {"key": b64("county/kern"), "value": b64("10412")}),
    ("/v3/kv/put", {"key": b64("county/marin"), "value": b64("731"), "prev_kv": True}),
    ("/v3/kv/range", {"key": KEYS[0], "range_end": KEYS[1]}),
    (
        "/v3/kv/range",
        {"key": KEYS[0], "range_end": KEYS[1], "sort_order": "DESCEND", "sort_target": "KEY", "limit": "1"},
    ),
    ("/v3/kv/range", {"key": KEYS[0], "range_end": KEYS[1], "count_only": True}),
    ("/v3/kv/range", {"key": b64("nowhere")}),
    (
        "/v3/kv/txn",
        {
            "compare": [{"key": b64("county/kern"), "target": "VALUE", "value": b64("10412"), "result": "EQUAL"}],
            "success": [{"request_range": {"key": b64("county/kern")}}],
            "failure": [{"request_put": {"key": b64("x"), "value": b64("y")}}],
        },
    ),
    ("/v3/kv/deleterange", {"key": b64("county/marin"), "prev_kv": True}),
    ("/v3/cluster/member/list", {}),
    ("/v3/maintenance/status", {}),
]


async def test_unary_calls_are_answered_as_etcds_own_gateway_does(gateway: Any, etcd: Server) -> None:
    async with httpx.AsyncClient(base_url=f"http://{etcd.address}", timeout=20) as own:
        for path, body in UNARY:
            await own.post("/v3/kv/put", json=UNARY[0][1])
            await own.post("/v3/kv/put", json=UNARY[1][1])
            theirs = await own.post(path, json=body)
            await own.post("/v3/kv/put", json=UNARY[1][1])
            ours = await gateway.client.post(path, json=body)
            assert (ours.status_code, theirs.status_code) == (200, 200), (path, ours.text)
            assert plain(ours.json()) == plain(theirs.json()), path


async def test_bytes_numbers_and_names(gateway: Any) -> None:
    put = await gateway.client.post("/v3/kv/put", json={"key": "_-8=", "value": "AAEC"})  # the URL-safe alphabet, too
    assert int(put.json()["header"]["revision"]) > 0
    found = (await gateway.client.post("/v3/kv/range", json={"key": "/+8="})).json()
    assert found["kvs"][0]["value"] == "AAEC"
    assert found["count"] == "1"
    wrong = await gateway.client.post("/v3/kv/range", json={"key": "/+8=", "sort_order": "SIDEWAYS", "limt": 1})
    assert wrong.status_code == 400
    assert {fault["pointer"] for fault in wrong.json()["errors"]} == {"/sort_order", "/limt"}


async def test_etcds_refusals_keep_their_meaning(gateway: Any) -> None:
    await gateway.client.post("/v3/kv/put", json=UNARY[0][1])
    future = await gateway.client.post("/v3/kv/range", json={"key": b64("a"), "revision": "999999999"})
    lease = await gateway.client.post("/v3/kv/put", json={"key": b64("a"), "lease": "12345"})
    empty = await gateway.client.post("/v3/kv/put", json={})
    assert (future.status_code, future.json()["grpc"]["status"]) == (400, "OUT_OF_RANGE")
    assert (lease.status_code, lease.json()["grpc"]["status"]) == (404, "NOT_FOUND")
    assert (empty.status_code, empty.json()["grpc"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_lease_is_kept_alive_over_a_websocket_and_over_lines(gateway: Any) -> None:
    granted = (await gateway.client.post("/v3/lease/grant", json={"TTL": "60"})).json()
    keep = {"ID": granted["ID"]}
    async with connect(f"ws://127.0.0.1:{gateway.port}/v3/lease/keepalive") as socket:
        for _ in range(3):
            await socket.send(json.dumps(keep))
            told = json.loads(await socket.recv())
            assert (told["ID"], told["TTL"]) == (granted["ID"], "60")
    lines = f"{json.dumps(keep)}\n".encode() * 3
    answer = await gateway.client.post("/v3/lease/keepalive", content=lines)
    assert [json.loads(line)["TTL"] for line in answer.text.split("\n") if line] == ["60"] * 3
    revoked = await gateway.client.post("/v3/lease/revoke", json=keep)
    assert revoked.status_code == 200


WATCH = {"create_request": {"key": b64("night/"), "range_end": b64("night0")}}


async def put(gateway: Any, name: str, value: str) -> None:
    answer = await gateway.client.post("/v3/kv/put", json={"key": b64(f"night/{name}"), "value": b64(value)})
    assert answer.status_code == 200


async def test_a_watch_over_a_websocket_tells_what_others_put(gateway: Any) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/v3/watch") as socket, asyncio.timeout(15):
        await socket.send(json.dumps(WATCH))
        assert json.loads(await socket.recv())["created"] is True
        for value in ("1", "2"):
            await put(gateway, "kern", value)
            event = json.loads(await socket.recv())["events"][0]
            assert (event["kv"]["key"], event["kv"]["value"]) == (b64("night/kern"), b64(value))
        await gateway.client.post("/v3/kv/deleterange", json={"key": b64("night/kern")})
        assert json.loads(await socket.recv())["events"][0]["type"] == "DELETE"
        await socket.send(json.dumps({"cancel_request": {"watch_id": "0"}}))
        assert json.loads(await socket.recv())["canceled"] is True


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_a_watch_over_a_request_goes_on_while_the_request_does(gateway: Any, accept: str) -> None:
    """A watch lasts as long as its client's side is open: the body is not ended."""
    async with asyncio.timeout(15):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"POST /v3/watch HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = json.dumps(WATCH).encode()
        writer.write(head.encode() + b"%x\r\n%s\r\n" % (len(body), body))
        read = b""
        while b'"created":true' not in read:
            read += await reader.read(65536)
        await put(gateway, "marin", accept)
        while b64(accept).encode() not in read:
            read += await reader.read(65536)
        writer.write(b"0\r\n\r\n")
        writer.close()


async def test_a_snapshot_is_a_stream_of_bytes(gateway: Any) -> None:
    await put(gateway, "size", "x" * 1000)
    answer = await gateway.client.post("/v3/maintenance/snapshot", json={})
    parts = [json.loads(line) for line in answer.text.split("\n") if line]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert sum(len(base64.b64decode(part.get("blob", ""))) for part in parts) > 10_000
    assert int(parts[0].get("remaining_bytes", "0")) >= 0


async def test_a_watch_of_what_was_compacted_says_so(gateway: Any) -> None:
    for value in ("1", "2", "3"):
        await put(gateway, "old", value)
    header = (await gateway.client.post("/v3/kv/range", json={"key": b64("night/old")})).json()["header"]
    await gateway.client.post("/v3/kv/compaction", json={"revision": header["revision"]})
    old = await gateway.client.post("/v3/kv/range", json={"key": b64("night/old"), "revision": "2"})
    assert (old.status_code, old.json()["grpc"]["code"]) == (400, 11)
    async with connect(f"ws://127.0.0.1:{gateway.port}/v3/watch") as socket, asyncio.timeout(15):
        await socket.send(json.dumps({"create_request": {**WATCH["create_request"], "start_revision": "2"}}))
        told = [json.loads(await socket.recv()) for _ in range(2)]
        assert told[1]["canceled"] is True
        assert int(told[1]["compact_revision"]) >= int(header["revision"])
