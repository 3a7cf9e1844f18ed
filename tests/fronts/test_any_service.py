"""Every front in front of a service that has nothing to do with protobuf; and a front of another distribution."""

# ruff: noqa: E501  # a row of a table stays on one line

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import orjson
import pytest

from bridge.api import (
    BindError,
    Call,
    Front,
    GrpcReply,
    GrpcRequest,
    Headers,
    InvalidBody,
    Operation,
    OperationDoc,
    Reply,
    RouteSpec,
    Service,
    StatusDetail,
    StreamCodec,
    StreamFormat,
    UpstreamFault,
)  # fmt: skip
from bridge.fronts.publish import Fronts, load
from tests.fronts.rpc_service import framed, post

SPEC = RouteSpec.model_validate(
    {"route": "/", "upstream": "svc:1", "auth": {"type": "none"}, "transform": {"request": "echo"}}
)


class Text:
    """`bridge.api.Service`: messages are `<` and a JSON text."""

    path, safe, own_path, takes_body = "/echo.Echo/Say", True, True, True
    raw_request = raw_reply = resumable = False
    reconnect_after = 3000
    caching: Sequence[tuple[str, str]] = ()
    secrets: Sequence[str] = ()

    def __init__(self, *, client_streaming: bool = False, server_streaming: bool = False) -> None:
        self.client_streaming, self.server_streaming = client_streaming, server_streaming

    def request(self, call: Call) -> GrpcRequest:
        return self.outgoing(call, self.message(call))

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        return Reply(200, [("content-type", "application/json")], self.write_json(inbound.message))

    def show(self, outbound: GrpcRequest) -> str:
        return outbound.message.decode()

    def outgoing(self, call: Call, message: bytes = b"") -> GrpcRequest:
        return GrpcRequest(self.path, message)

    def message(self, call: Call, *, resume: tuple[str, str] | None = None) -> bytes:
        return self.read_json(call.body)

    def reader(self, call: Call, *, frames: bool = False) -> Any:
        return self._read

    def _read(self, text: bytes, *, first: bool) -> bytes:
        return self.read_json(text)

    def read_json(self, text: bytes) -> bytes:
        if not text.startswith(b"{"):
            raise InvalidBody([("", "it is no object")])
        return b"<" + text

    def completing(self, call: Call) -> Callable[[bytes], bytes]:
        return bytes

    def write_json(self, message: bytes) -> bytes:
        return message[1:]

    def octets(self, message: bytes) -> tuple[str, bytes]:
        raise AssertionError("its replies are JSON")

    def event_id(self, message: bytes) -> str | None:
        return None

    def returned(self, metadata: Any, trailers: Any) -> list[tuple[str, str]]:
        return []

    def fault(self, inbound: GrpcReply, fields: Sequence[tuple[str, str]] = ()) -> UpstreamFault:
        return UpstreamFault(inbound.detail)

    def details(self, inbound: GrpcReply) -> Sequence[StatusDetail]:
        return [StatusDetail("echo.Why", b"\x01", None)] if inbound.status_details else []

    def status(self, code: int, problem: Mapping[str, Any], headers: Headers = ()) -> GrpcReply:
        return GrpcReply(code, detail=str(problem["detail"]), status_details=b"x")


def operations(service: Text, fronts: Fronts) -> dict[str, Any]:
    """The codecs by method."""
    codec = None if service.client_streaming or service.server_streaming else service
    checked: Service = service
    operation = Operation("Say", "POST", service.path, codec, lambda: OperationDoc({}), service.path, checked)
    return {each.method: each.codec for each in fronts.publish(SPEC, [operation])}


def test_unary_calls() -> None:
    codecs = operations(Text(), Fronts())
    assert set(codecs) == {"POST", "GET"}
    codec = codecs["POST"]
    for kind, body, answered in (
        ("application/json", b'{"a":1}', b'{"b":2}'),
        ("application/proto", b'<{"a":1}', b'<{"b":2}'),
        (
            "application/grpc-web+json",
            framed(b'{"a":1}'),
            framed(b'{"b":2}') + framed(b"grpc-status: 0\r\n", flags=128),
        ),
        ("application/grpc-web", framed(b'<{"a":1}'), framed(b'<{"b":2}') + framed(b"grpc-status: 0\r\n", flags=128)),
    ):
        call = post(kind, body)
        assert codec.request(call).message == b'<{"a":1}'
        assert codec.reply(call, GrpcReply(0, b'<{"b":2}')).body == answered
    call = Call("GET", "/x", query="connect=v1&encoding=json&message=%7B%22a%22%3A1%7D")
    assert codecs["GET"].request(call).message == b'<{"a":1}'
    refused = codec.refusal(post("application/proto"), {"detail": "no", "status": 403}, Reply(403))
    assert orjson.loads(refused.body) == {
        "code": "permission_denied", "message": "no", "details": [{"type": "echo.Why", "value": "AQ"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ("application/x-ndjson", b'{"b":2}\n{"b":3}\n'),
        ("text/event-stream", b'retry: 3000\n\nid: 1\ndata: {"b":2}\n\nid: 2\ndata: {"b":3}\n\nevent: end\ndata: {}\n\n'),
        ("application/json", b'[{"b":2},{"b":3}]'),
        ("application/connect+json", framed(b'{"b":2}', b'{"b":3}') + framed(b"{}", flags=2)),
    ],
)  # fmt: skip
def test_streams(accept: str, body: bytes) -> None:
    codec = operations(Text(client_streaming=True, server_streaming=True), Fronts())["POST"]
    connect = accept.startswith("application/connect")
    stream = codec.open(post(accept if connect else "application/json", b"", ("accept", accept)))
    sent = framed(b'{"a":1}', b'{"a":2}') if connect else b'[{"a":1},{"a":2}]'
    assert [*stream.feed(sent), *stream.finish()] == [b'<{"a":1}', b'<{"a":2}']
    head = stream.head(())
    told = [head.body, *map(stream.message, (b'<{"b":2}', b'<{"b":3}')), stream.end(GrpcReply(0))]
    assert b"".join(told) == body


def test_web_sockets() -> None:
    codec = operations(Text(server_streaming=True), Fronts())["WEBSOCKET"]
    stream = codec.open(Call("WEBSOCKET", "/x"))
    assert codec.streams_up
    assert stream.head_first
    assert list(stream.feed(b'{"a":1}')) == [b'<{"a":1}']
    assert not stream.sends  # one message is all that a server stream takes
    assert stream.message(b'<{"b":2}') == b'{"b":2}'


class Shouted(StreamFormat):
    def message(self, text: bytes, id: str = "") -> bytes:
        return text.upper()


class Shouting(Front):
    name = "shouting"
    formats: ClassVar[Mapping[str, Any]] = {"text/x-shout": lambda service: Shouted("text/x-shout")}


def test_a_front_of_another_distribution() -> None:
    point = EntryPoint("shouting", f"{__name__}:Shouting", "bridge.fronts")
    codec: StreamCodec = operations(Text(server_streaming=True), Fronts(load([point])))["POST"]
    stream = codec.open(post("application/json", b'{"a":1}', ("accept", "text/x-shout")))
    assert stream.head(()).headers[0] == ("content-type", "text/x-shout")
    assert stream.message(b'<{"b":"x"}') == b'{"B":"X"}'


def test_a_front_that_can_not_be_loaded_is_named() -> None:
    with pytest.raises(BindError, match=r"the front 'lost' \(nowhere:Front\) can't be loaded"):
        load([EntryPoint("lost", "nowhere:Front", "bridge.fronts")])
