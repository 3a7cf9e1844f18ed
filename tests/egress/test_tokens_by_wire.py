"""Tokens towards services of each protocol: XML, SOAP, and gRPC in all its kinds of calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from bridge.cli.offline import explanation
from tests.conftest import Recorded, Start, Upstream
from tests.egress.oauth_server import OAuthServer
from tests.gateway.test_grpc_calls import PROTO
from tests.soap_kit import SOAP11, WSDL_DIR

LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
POSTED = (
    f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><posted xmlns="urn:ledger"><entry>7</entry></posted></s:Body></s:Envelope>'
)
WIRES: dict[str, tuple[dict[str, Any], str, Any]] = {
    "passthrough": ({"request": "passthrough"}, "<a>1</a>", {"a": "1"}),
    "xml": ({"request": "xml", "xml": {"root": "in"}}, "<a>1</a>", {"a": "1"}),
    "soap": ({"request": "soap", "soap": {"wsdl": "ledger.wsdl", "operation": "post"}}, POSTED, {"entry": 7}),
}


def spec(oauth: OAuthServer, transform: dict[str, Any], **more: Any) -> str:
    auth = {
        "type": "client_credentials",
        "token_url": oauth.url,
        "client_id": "bridge",
        "client_secret": {"$env": "BRIDGE_SECRET_CLIENT"},
    }
    return json.dumps({"route": "/a", "auth": "none", "upstream_auth": auth, "transform": transform, **more})


@pytest.mark.parametrize("wire", WIRES)
async def test_http(start: Start, upstream: Upstream, oauth: OAuthServer, wire: str) -> None:
    transform, body, expected = WIRES[wire]

    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        fields = [("content-type", "text/xml")]
        return (200, fields, body.encode()) if request.header("authorization") == ["Bearer t2"] else (401, [], b"")

    upstream.answer = answer
    text = spec(oauth, transform, upstream="svc:80/in", methods=["POST"])
    mesh, files = {"svc": f"127.0.0.1:{upstream.port}"}, {"wsdl/ledger.wsdl": LEDGER}
    async with start(mesh=mesh, routes={"a.yml": text}, files=files, fetch_networks="127.0.0.0/8") as gateway:
        reply = await gateway.client.post("/a", json={"account": "a", "cents": 1})
        assert (reply.status_code, reply.json()) == (200, expected)
        shown = await explanation(gateway.settings, "/a", b'{"account": "a", "cents": 1}', "")
    assert [request.header("authorization") for request in upstream.seen] == [["Bearer t1"], ["Bearer t2"]]
    assert upstream.seen[0].body == upstream.seen[1].body
    assert "authorization: ***" in shown.splitlines()


@pytest.mark.parametrize("kind", ["client_credentials", "signed_jwt"])
async def test_what_is_the_same_for_all_callers_is_cached(
    start: Start, upstream: Upstream, oauth: OAuthServer, kind: str
) -> None:
    text = spec(oauth, {"request": "passthrough"}, upstream="svc:80", cache={"ttl": "1h"})
    if kind == "signed_jwt":  # the service may answer by the caller's subject
        text = json.dumps({**json.loads(text), "upstream_auth": {"type": kind}})
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": text}, fetch_networks="127.0.0.0/8") as gateway:
        replies = [await gateway.client.get("/a") for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert len(upstream.seen) == (1 if kind == "client_credentials" else 2)


class Service:
    """Takes the token ``t2`` and later ones, and echoes."""

    def __init__(self) -> None:
        self.port = 0
        self.tokens: list[str] = []
        self.tells = False  # what it was sent, in the status with which it ends each call

    async def check(self, context: Any) -> None:
        [token] = [value for name, value in context.invocation_metadata() if name == "authorization"]
        self.tokens.append(token)
        if token == "Bearer t1":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who?")

    async def cast(self, message: bytes, context: Any) -> bytes:
        await self.check(context)
        if self.tells:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"I can't, {self.tokens[-1]}")
        return message

    async def watch(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        await self.check(context)
        yield message
        if self.tells:
            await context.abort(grpc.StatusCode.INTERNAL, f"I can't, {self.tokens[-1]}")
        yield message

    async def cast_all(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        await self.check(context)
        return [message async for message in messages][-1]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service, server = Service(), grpc.aio.server()
    handlers = {
        "Cast": grpc.unary_unary_rpc_method_handler(service.cast),
        "Watch": grpc.unary_stream_rpc_method_handler(service.watch),
        "CastAll": grpc.stream_unary_rpc_method_handler(service.cast_all),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tally.v1.Tally", handlers),))
    service.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield service
    await server.stop(None)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/votes", '{"county": "Kern"}', {"county": "Kern"}),
        ("/v1/watch", '{"county": "Kern"}', [{"county": "Kern"}] * 2),
        ("/v1/all", '[{"county": "Inyo"}, {"county": "Kern"}]', {"county": "Kern"}),
    ],
    ids=["unary", "server stream", "client stream"],
)
async def test_grpc(start: Start, service: Service, oauth: OAuthServer, path: str, body: str, expected: Any) -> None:
    text = spec(oauth, {"request": "grpc", "grpc": {"protos": ["tally.proto"]}}, route="/", upstream="grpc://tally:1")
    mesh, files = {"tally": f"127.0.0.1:{service.port}"}, {"protos/tally.proto": PROTO}
    async with start(mesh=mesh, routes={"a.yml": text}, files=files, fetch_networks="127.0.0.0/8") as gateway:

        async def call() -> Any:
            headers = {"content-type": "application/json", "accept": "application/json"}
            headers["authorization"] = "Bearer mine"
            return await gateway.client.post(path, content=body, headers=headers)

        reply = await call()
        if path != "/v1/votes":  # a stream is not sent again; the next one has a new token
            assert reply.status_code == 401
            reply = await call()
        assert (reply.status_code, reply.json()) == (200, expected)
    assert service.tokens == ["Bearer t1", "Bearer t2"]


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "text/event-stream"])
@pytest.mark.parametrize("path", ["/v1/votes", "/v1/watch"])
async def test_a_token_that_the_service_repeats_is_told_to_nobody(
    start: Start, service: Service, oauth: OAuthServer, caplog: pytest.LogCaptureFixture, path: str, accept: str
) -> None:
    service.tells, oauth.tokens = True, iter(["t0ken-of-the-ledger"])
    text = spec(oauth, {"request": "grpc", "grpc": {"protos": ["tally.proto"]}}, route="/", upstream="grpc://tally:1")
    mesh, files = {"tally": f"127.0.0.1:{service.port}"}, {"protos/tally.proto": PROTO}
    async with start(mesh=mesh, routes={"a.yml": text}, files=files, fetch_networks="127.0.0.0/8") as gateway:
        headers = {"content-type": "application/json", "accept": accept}
        reply = await gateway.client.post(path, content=b'{"county": "Kern"}', headers=headers)
        log = json.dumps(gateway.log())
    assert service.tokens == ["Bearer t0ken-of-the-ledger"]
    assert "I can't, ***" in reply.text
    assert "t0ken" not in reply.text + log + caplog.text
