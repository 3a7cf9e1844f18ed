"""A live server that changes what it says of itself, under a gateway that serves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.reflection import ReflectionServicer
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from bridge.api import BindError, Unreachable
from bridge.cli.offline import imported, judge
from bridge.config.settings import load
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema

FIRST = """
syntax = "proto3";
package live;
import "google/api/annotations.proto";
service Live { rpc Get(Ask) returns (Answer) { option (google.api.http) = { get: "/live/{id}" }; } }
message Ask { string id = 1; }
message Answer { string id = 1; }
"""
SECOND = FIRST.replace("string id = 1; }\n", "string id = 1; int32 votes = 2; }\n")
COLLIDING = FIRST.replace(
    "service Live { ",
    'service Live { rpc Other(Ask) returns (Answer) { option (google.api.http) = { get: "/live/{id}" }; } ',
)
SPEC = """
route: /
upstream: live-svc:1
auth: {type: none}
transform: {request: grpc, grpc: {reflection: true, refresh: 1s}}
"""
#: Refuses a schema with two rules for the same requests.
STRICT = SPEC.replace("refresh: 1s", "refresh: 1s, strict: true")


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


class Live:
    """`says` changes what it serves and says of itself; `asked` counts how often it was asked."""

    def __init__(self, folder: Path, version: str) -> None:
        self._folder = folder
        self.version = version
        self.asked = 0
        self.calls = 0
        self.reflects = True
        self.server = grpc.aio.server()
        handler: Any = self  # it has the one method of grpc.GenericRpcHandler
        self.server.add_generic_rpc_handlers((handler,))
        self.says(FIRST)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def says(self, proto: str) -> None:
        folder = self._folder / str(abs(hash(proto)))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "live.proto").write_text(proto)
        made = schema(compile_protos(["live.proto"], folder))
        self._ask, self._answer = (
            GetMessageClass(made.pool.FindMessageTypeByName(f"live.{name}")) for name in ("Ask", "Answer")
        )
        self._servicer = ReflectionServicer(["live.Live"], pool=made.pool)
        self._schema = made

    def service(self, call: Any) -> Any:
        """`grpc.GenericRpcHandler`'s own."""
        if call.method == f"/{self.version}.ServerReflection/ServerReflectionInfo":
            return grpc.stream_stream_rpc_method_handler(self._reflect, ServerReflectionRequest.FromString, _bytes)
        if call.method == "/live.Live/Get":
            return grpc.unary_unary_rpc_method_handler(self._get)
        return None

    async def _reflect(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        servicer = self._servicer
        async for request in requests:
            self.asked += bool(request.list_services)
            if not self.reflects:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            for answer in servicer.ServerReflectionInfo(iter([request]), context):
                yield answer

    async def _get(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        asked: Any = self._ask.FromString(request)
        made: Any = self._answer(id=asked.id)
        if "votes" in self._answer.DESCRIPTOR.fields_by_name:
            made.votes = 7
        return bytes(made.SerializeToString())


@pytest.fixture(params=["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def live(tmp_path: Path, request: Any) -> AsyncIterator[Live]:
    made = Live(tmp_path / "live", request.param)
    await made.server.start()
    yield made
    await made.server.stop(None)


def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry looks often; how often the server is asked is the transformer's affair."""
    monkeypatch.setattr("bridge.catalog.followers.POLL", 0.02)


async def test_a_new_schema_is_picked_up_without_a_dropped_call(
    start: Any, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager(monkeypatch)
    async with start(mesh={"live-svc": f"127.0.0.1:{live.port}"}, routes={"live.yml": SPEC}) as gateway:
        assert (await gateway.client.get("/live/a")).json() == {"id": "a"}
        statuses: set[int] = set()
        stop = asyncio.Event()

        async def hammer() -> None:
            while not stop.is_set():
                statuses.add((await gateway.client.get("/live/b")).status_code)

        tasks = [asyncio.create_task(hammer()) for _ in range(3)]
        live.says(SECOND)
        async with asyncio.timeout(15):
            while (await gateway.client.get("/live/a")).json() != {"id": "a", "votes": 7}:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*tasks)
        assert statuses == {200}
        document = (await gateway.client.get("/-/openapi.json")).json()
        assert "votes" in json.dumps(document)


async def test_what_can_not_be_bound_leaves_the_old_one_and_is_told_once(
    start: Any, live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    eager(monkeypatch)
    caplog.set_level(logging.INFO, "bridge")
    async with start(mesh={"live-svc": f"127.0.0.1:{live.port}"}, routes={"live.yml": STRICT}) as gateway:
        live.says(COLLIDING)
        async with asyncio.timeout(15):
            while "is claimed twice" not in caplog.text:
                await asyncio.sleep(0.01)
        asked = live.asked
        async with asyncio.timeout(15):
            while live.asked < asked + 2:
                await asyncio.sleep(0.01)
        assert caplog.text.count("is claimed twice") == 1
        assert (await gateway.client.get("/live/a")).json() == {"id": "a"}
        live.says(SECOND)
        async with asyncio.timeout(15):
            while (await gateway.client.get("/live/a")).json() != {"id": "a", "votes": 7}:
                await asyncio.sleep(0.01)


async def test_routes_of_one_server_ask_it_once(start: Any, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    eager(monkeypatch)
    routes = {f"{n}.yml": SPEC.replace("route: /", f"route: /r{n}") for n in range(10)}
    monkeypatch.setattr("bridge_grpc.schema.reflected.FRESH", 60)
    async with start(mesh={"live-svc": f"127.0.0.1:{live.port}"}, routes=routes) as gateway:
        bound = live.asked
        assert bound == 1
        async with asyncio.timeout(15):
            while live.asked < bound + 2:
                await asyncio.sleep(0.01)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(15):
            while live.asked < bound + 4:
                await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - began > 1  # two rounds of ten routes are two questions
        live.says(SECOND)
        asked = live.asked
        async with asyncio.timeout(15):
            for n in range(10):
                while (await gateway.client.get(f"/r{n}/live/a")).json() != {"id": "a", "votes": 7}:
                    await asyncio.sleep(0.01)
        assert live.asked <= asked + 2  # binding ten routes anew asked no more


async def test_a_server_that_is_away_has_not_changed(start: Any, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    eager(monkeypatch)
    async with start(mesh={"live-svc": f"127.0.0.1:{live.port}"}, routes={"live.yml": SPEC}) as gateway:
        assert (await gateway.client.get("/live/a")).status_code == 200
        live.reflects = False
        asked = live.asked
        async with asyncio.timeout(15):
            while live.asked < asked + 2:
                await asyncio.sleep(0.01)
        assert (await gateway.client.get("/live/a")).status_code == 200


async def test_a_server_that_is_away_at_the_start_keeps_no_other_route_from_serving(
    start: Any, upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    eager(monkeypatch)
    monkeypatch.setattr("bridge_grpc.schema.reflection.TIMEOUT", 0.3)
    other = "route: /other\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
    mesh = {"live-svc": f"127.0.0.1:{unused_tcp_port}", "svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"live.yml": SPEC, "other.yml": other}) as gateway:
        assert (await gateway.client.get("/other")).status_code == 200
        assert (await gateway.client.get("/live/a")).status_code == 404
        ready = (await gateway.client.get("/-/health/ready")).json()
        assert (ready["routes"], ready["broken"]) == (1, 1)
        made = Live(tmp_path / "live", "grpc.reflection.v1")
        made.server.add_insecure_port(f"127.0.0.1:{unused_tcp_port}")
        await made.server.start()
        async with asyncio.timeout(15):
            while (await gateway.client.get("/live/a")).status_code != 200:
                await asyncio.sleep(0.02)
        assert "broken" not in (await gateway.client.get("/-/health/ready")).json()
        await made.server.stop(None)


async def test_a_server_that_is_replaced_by_a_new_one(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """As in a rolling restart: the new process starts elsewhere, the mesh sends to it, and the old one goes."""
    eager(monkeypatch)
    old, new = Live(tmp_path / "old", "grpc.reflection.v1"), Live(tmp_path / "new", "grpc.reflection.v1")
    new.says(SECOND)
    new.server.add_insecure_port(f"127.0.0.1:{unused_tcp_port}")
    await old.server.start()
    async with start(mesh={"live-svc": f"127.0.0.1:{old.port}"}, routes={"live.yml": SPEC}) as gateway:
        answers: list[tuple[int, str]] = []
        stop = asyncio.Event()

        async def hammer() -> None:
            while not stop.is_set():
                reply = await gateway.client.get("/live/a")
                answers.append((reply.status_code, reply.text))

        tasks = [asyncio.create_task(hammer()) for _ in range(3)]
        async with asyncio.timeout(15):
            while len(answers) < 20:
                await asyncio.sleep(0.01)
            await new.server.start()
            (gateway.home / "mesh.yml").write_text(f"live-svc: 127.0.0.1:{unused_tcp_port}\n")
            while new.calls < 20:
                await asyncio.sleep(0.01)
            await old.server.stop(5)
            while "votes" not in answers[-1][1]:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*tasks)
        assert {status for status, _ in answers} == {200}
    await new.server.stop(None)


async def test_a_route_that_collided_comes_when_the_other_rule_goes(
    start: Any, live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What can't be bound is tried again when the server is asked again, not each time that the registry looks."""
    eager(monkeypatch)
    async with start(mesh={"live-svc": f"127.0.0.1:{live.port}"}, routes={"live.yml": STRICT}) as gateway:
        followers, binds = gateway.app.state.registry.followers, 0
        check = followers._check

        async def counted(source: Any) -> Any:
            nonlocal binds
            binds += 1
            return await check(source)

        monkeypatch.setattr(followers, "_check", counted)
        live.says(COLLIDING)
        async with asyncio.timeout(15):
            while not binds:
                await asyncio.sleep(0.01)
        asked = live.asked
        async with asyncio.timeout(15):
            while live.asked < asked + 4:
                await asyncio.sleep(0.01)
        assert 2 <= binds <= 5


async def test_refresh_off(start: Any, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    eager(monkeypatch)
    spec = SPEC.replace("refresh: 1s", "refresh: off")
    async with start(mesh={"live-svc": f"127.0.0.1:{live.port}"}, routes={"live.yml": spec}) as gateway:
        asked = live.asked
        assert [route.followed for route in gateway.app.state.registry.table.routes.values()] == [None]
        assert live.asked == asked


async def test_a_server_that_asks_who_calls(start: Any, tmp_path: Path) -> None:
    """Mutual TLS: the schema is asked for as calls are made, with the certificate of the route's connection."""
    authority = trustme.CA()
    server, client = authority.issue_cert("live.internal"), authority.issue_cert("gateway.internal")
    keys = [(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())]
    credentials = grpc.ssl_server_credentials(keys, authority.cert_pem.bytes(), require_client_auth=True)
    made = Live(tmp_path / "live", "grpc.reflection.v1")
    port = made.server.add_secure_port("127.0.0.1:0", credentials)
    await made.server.start()
    connection = (
        "connection: {ca: secrets/ca.pem, certificate: secrets/own.pem, key: secrets/own.key, "
        "server_name: live.internal, health: true, keepalive: 400s, compression: gzip}\n"
    )
    files = {
        "secrets/ca.pem": authority.cert_pem.bytes().decode(),
        "secrets/own.pem": client.cert_chain_pems[0].bytes().decode(),
        "secrets/own.key": client.private_key_pem.bytes().decode(),
    }
    spec = SPEC.replace("upstream: live", "upstream: grpcs://live") + connection
    async with start(mesh={"live-svc": f"127.0.0.1:{port}"}, routes={"live.yml": spec}, files=files) as gateway:
        assert (await gateway.client.get("/live/a")).json() == {"id": "a"}
    await made.server.stop(None)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_live_server_over_tls_is_imported(tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spec that is printed passes as it is where the authority's file lies among the secrets, else it says so."""
    authority = trustme.CA()
    server = authority.issue_cert("live.internal")
    pair = (server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())
    made = Live(tmp_path / "live", "grpc.reflection.v1")
    port = made.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await made.server.start()
    home = tmp_path / "home"
    for folder in ("routes", "protos", "secrets", "elsewhere"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    ca = home / ("secrets" if kept else "elsewhere") / "ca.pem"
    ca.write_bytes(authority.cert_pem.bytes())
    (home / "mesh.yml").write_text(f"grpc-svc: 127.0.0.1:{port}\n")
    settings = load({}, home=home)
    source = [f"127.0.0.1:{port}"]
    options = {"source": source, "tls": True, "ca": str(ca), "server_name": "live.internal"}
    text, notes = await imported(settings, "grpc", options)
    assert f"upstream: grpcs://grpc-svc:{port}" in text
    assert "connection: {ca: secrets/ca.pem, server_name: live.internal}" in text
    assert ("# Before it serves: copy" in text) is not kept
    (home / "routes/live.yml").write_text(text)
    faults, notes, count, _ = await judge(settings, [])
    assert (count, notes) == ((1, []) if kept else (0, []))
    assert bool(faults) is not kept
    with pytest.raises(BindError, match="go with --tls"):
        await imported(settings, "grpc", {"source": source, "ca": str(ca)})
    with pytest.raises(BindError, match="can't be read"):
        await imported(settings, "grpc", {"source": source, "tls": True, "ca": "nothing.pem"})
    monkeypatch.setattr("bridge_grpc.schema.reflection.TIMEOUT", 0.5)
    with pytest.raises(Unreachable):  # the certificate bears another name
        await imported(settings, "grpc", {"source": source, "tls": True, "ca": str(ca)})
    await made.server.stop(None)
