"""``statuses`` by the reply's type, and ``locations``: where a call has created something."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from openapi_spec_validator import OpenAPIV31SpecValidator

from bridge.admin.openapi import PublishedOperation, build_document
from bridge.api import BindError, Call, GrpcReply, Operation, RouteSpec
from tests.conftest import Start

PROTO = """
syntax = "proto3";
package t;
import "google/api/annotations.proto";
import "google/protobuf/empty.proto";
enum State { STATE_UNSPECIFIED = 0; OPEN = 1; }
message Owner { string id = 1; }
message Tally {
  string name = 1; int64 number = 2; bool certified = 3; State state = 4; Owner owner = 5; optional int32 round = 6;
  repeated string tags = 7; bytes digest = 8; double share = 9; Owner ownerTwo = 10;
}
message Key { string id = 1; }
service S {
  rpc Create(Tally) returns (Tally) { option (google.api.http) = {post: "/tallies" body: "*"}; }
  rpc Get(Key) returns (Tally) { option (google.api.http) = {get: "/tallies/{id}"}; }
  rpc Delete(Key) returns (google.protobuf.Empty) { option (google.api.http) = {delete: "/tallies/{id}"}; }
  rpc Ping(Key) returns (google.protobuf.Empty);
  rpc Watch(Key) returns (stream google.protobuf.Empty);
  rpc Follow(Key) returns (stream Tally);
}
"""


async def operation_of(bind: Any, name: str, **options: Any) -> Operation:
    operation: Operation = next(op for op in await bind(PROTO, **options) if op.name == name)
    return operation


def tally(operation: Operation, **fields: Any) -> bytes:
    """A reply of `operation`, serialised."""
    kind = GetMessageClass(operation.service.binding.message)  # type: ignore[union-attr]  # Create's is a Tally, too
    message = kind(**fields)
    return bytes(message.SerializeToString())


def answered(operation: Operation, wire: bytes) -> tuple[int, str | None]:
    reply = operation.codec.reply(Call("POST"), GrpcReply(0, wire))  # type: ignore[union-attr,arg-type]
    return reply.status, dict(reply.headers).get("location")


@pytest.mark.parametrize(
    ("template", "fields", "location"),
    [
        ("/v1/tallies/{name}", {"name": "a"}, "/v1/tallies/a"),
        ("/v1/tallies/{name}", {"name": "a/b c?é#%"}, "/v1/tallies/a%2Fb%20c%3F%C3%A9%23%25"),
        ("/v1/{name*}", {"name": "tallies/a b/1"}, "/v1/tallies/a%20b/1"),
        (
            "/v1/{number}/{certified}/{state}",
            {"number": 2**60, "certified": True, "state": 1},
            f"/v1/{2**60}/true/OPEN",
        ),
        ("/v1/{state}", {"state": 7}, "/v1/7"),
        ("/v1/{owner.id}:get?x={number}#y", {"owner": {"id": "o"}}, "/v1/o:get?x=0#y"),
        ("/v1/{ownerTwo.id}", {"ownerTwo": {"id": "o"}}, "/v1/o"),
        ("/v1/{round}", {"round": 0}, "/v1/0"),
        ("https://api.example/v1/{name}", {"name": "a\r\nx: y"}, "https://api.example/v1/a%0D%0Ax%3A%20y"),
        ("/v1/tallies", {}, "/v1/tallies"),
        # without a value, or with one that would lead elsewhere
        ("/v1/tallies/{name}", {}, None),
        ("/v1/{owner.id}", {}, None),
        ("/v1/{round}", {}, None),
        ("/v1/{name}/x", {"name": ".."}, None),
        ("/v1/{name*}", {"name": "a/../../../x"}, None),
        ("/v1/{name}", {"name": "x" * 9000}, None),
    ],
)
async def test_where_it_is(bind: Any, template: str, fields: dict[str, Any], location: str | None) -> None:
    create = await operation_of(bind, "Create", locations={"Create": template})
    assert answered(create, tally(create, **fields)) == (201, location)


async def test_a_location_brings_201_and_another_status_must_fit(bind: Any) -> None:
    create = await operation_of(bind, "Create", locations={"t.S.Create": "/a"}, statuses={"*": 200, "t.Tally": 203})
    assert answered(create, b"") == (201, "/a")
    create = await operation_of(bind, "Create", locations={"Create": "/a"}, statuses={"Create": 202})
    assert answered(create, b"") == (202, "/a")
    get = await operation_of(bind, "Get", locations={"Create": "/a"})
    assert answered(get, b"") == (200, None)
    with pytest.raises(BindError, match="a location goes with 201 or 202, and statuses says 204"):
        await bind(PROTO, locations={"Create": "/a"}, statuses={"Create": 204})


async def test_replies_of_one_type_have_one_status(bind: Any) -> None:
    options = {"google.protobuf.Empty": 204, "*": 203, "Ping": 200}
    operations = {op.name: op for op in await bind(PROTO, statuses=options)}
    assert answered(operations["Delete"], b"") == (204, None)
    assert operations["Delete"].codec.reply(Call("DELETE"), GrpcReply(0, b"")).content == b""
    assert answered(operations["Get"], b"") == (203, None)
    assert answered(operations["Ping"], b"") == (200, None), "the method's own name goes first"
    assert list(operations["Delete"].describe().operation["responses"]) == ["204"]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("tallies/{name}", "'tallies/{name}' is no path or URL"),
        ("//elsewhere.example/{name}", "is no path or URL"),
        ("https://{name}/x", "is no path or URL"),
        ("javascript:{name}", "is no path or URL"),
        ("/a b", "is no path or URL"),
        ("/a/{name", "is no path or URL"),
        ("/a/{id}", "its parameter {id} is not a field of t.Tally"),
        ("/a/{}", "its parameter {} is not a field of t.Tally"),
        ("/a/{name=x/*}", "its parameter {name=x/*} is not a field of t.Tally"),
        ("/a/{owner}", "its parameter {owner} must be a single text, whole number, enum or boolean"),
        ("/a/{tags}", "its parameter {tags} must be a single text"),
        ("/a/{digest}", "its parameter {digest} must be a single text"),
        ("/a/{share}", "its parameter {share} must be a single text"),
    ],
)
async def test_templates_that_can_not_be_filled(bind: Any, template: str, reason: str) -> None:
    with pytest.raises(BindError) as caught:
        await bind(PROTO, locations={"Create": template})
    [fault] = caught.value.faults
    assert reason in fault.reason
    assert fault.path == ("transform", "grpc", "locations", "Create")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"locations": {"Creat": "/a"}}, "the route publishes no such method; did you mean 'Create'?"),
        ({"locations": {"*": "/a"}}, "the route publishes no such method"),
        ({"locations": {"Follow": "/a"}}, "it streams, and what streams has no Location"),
        ({"locations": {"Create": "/a"}, "reply_headers": ["Location"]}, "name one of them"),
        ({"statuses": {"t.Key": 204}}, "the route publishes no such method"),
    ],
)
async def test_names_that_are_wrong(bind: Any, options: Any, reason: str) -> None:
    with pytest.raises(BindError) as caught:
        await bind(PROTO, **options)
    assert reason in str(caught.value)


async def test_the_document_tells_of_it(bind: Any) -> None:
    spec = RouteSpec.model_validate(
        {"route": "/", "upstream": "svc:1", "auth": "none", "transform": {"request": "grpc"}}
    )
    options: dict[str, Any] = {
        "locations": {"Create": "/tallies/{name}"}, "statuses": {"google.protobuf.Empty": 204},
    }  # fmt: skip
    built = build_document(
        [PublishedOperation("1", spec, op) for op in await bind(PROTO, **options)], title="T", version="1"
    )
    OpenAPIV31SpecValidator(built).validate()
    created = built["paths"]["/tallies"]["post"]["responses"]["201"]
    assert created["headers"]["Location"]["schema"] == {"type": "string", "format": "uri-reference"}
    deleted = built["paths"]["/tallies/{id}"]["delete"]["responses"]
    assert "content" not in deleted["204"]
    assert "200" not in deleted


SPEC = """
route: /v1
upstream: grpc://svc:9
auth: none
transform:
  request: grpc
  grpc:
    protos: [t.proto]
    statuses: {google.protobuf.Empty: 204}
    locations: {Create: "/v1/tallies/{name}"}
"""


async def test_over_the_wire(start: Start) -> None:
    async def echo(message: bytes, context: Any) -> bytes:
        return message

    async def nothing(message: bytes, context: Any) -> bytes:
        return b""

    server = grpc.aio.server()
    methods = {"Create": echo, "Delete": nothing}
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        mesh, files = {"svc": f"127.0.0.1:{port}"}, {"protos/t.proto": PROTO}
        async with start(mesh=mesh, routes={"t.yml": SPEC}, files=files) as gateway:
            created = await gateway.client.post("/v1/tallies", json={"name": "a b"})
            assert (created.status_code, created.headers["location"]) == (201, "/v1/tallies/a%20b")
            assert created.json() == {"name": "a b"}
            own_path = await gateway.client.post("/v1/t.S/Create", json={"name": "c"})
            assert (own_path.status_code, own_path.headers["location"]) == (201, "/v1/tallies/c")
            deleted = await gateway.client.delete("/v1/tallies/1")
            assert (deleted.status_code, deleted.content) == (204, b"")
            assert "content-length" not in deleted.headers
            connect = {"connect-protocol-version": "1"}
            connected = await gateway.client.post("/v1/t.S/Create", json={"name": "c"}, headers=connect)
            assert (connected.status_code, connected.headers.get("location")) == (200, None)
    finally:
        await server.stop(None)
