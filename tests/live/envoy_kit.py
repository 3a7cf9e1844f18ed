"""A live Envoy and a gateway of ours in front of one echoing service: each request goes to both over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Schema, schema

PROTO = (Path(__file__).parent / "envoy.proto").read_text("utf-8")
_FILTERS = "type.googleapis.com/envoy.extensions.filters"
BINARY = str(Path(sys.executable).parent / "envoy")
PATIENCE = 30.0  # seconds


class Echo:
    """``same.Same``: each method answers with the message that it got; `Thing.fail` is the status it fails with."""

    def __init__(self, made: Schema) -> None:
        self.thing = GetMessageClass(made.pool.FindMessageTypeByName("same.Thing"))
        self.body = GetMessageClass(made.pool.FindMessageTypeByName("google.api.HttpBody"))
        self.server = grpc.aio.server()
        handlers = {}
        for method in made.services["same.Same"]:
            take = self.body if method.input.name == "HttpBody" else self.thing
            if method.client_streaming:
                handlers[method.name] = grpc.stream_unary_rpc_method_handler(self._up, take.FromString, _bytes)
            elif method.server_streaming:
                handlers[method.name] = grpc.unary_stream_rpc_method_handler(self._down, take.FromString, _bytes)
            else:
                raw = method.output.name == "HttpBody"
                answer = self._raw if raw else self._same
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(answer, take.FromString, _bytes)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("same.Same", handlers),))
        self.port: int = self.server.add_insecure_port("127.0.0.1:0")

    async def _same(self, asked: Any, context: Any) -> Any:
        if getattr(asked, "fail", 0):
            await _fail(asked, context)
        if isinstance(asked, self.body):
            octets: Any = asked
            return self.thing(name=octets.content_type, data=octets.data)
        return asked

    async def _raw(self, asked: Any, context: Any) -> Any:
        return self.body(content_type=asked.text or "text/plain", data=asked.name.encode())

    async def _down(self, asked: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(asked.i32):
            yield self.thing(name=asked.name, i32=number)
        if asked.fail:
            await _fail(asked, context)

    async def _up(self, parts: AsyncIterator[Any], context: Any) -> Any:
        made: Any = self.thing()
        async for part in parts:
            made.texts.append(part.name)
            made.i32 += part.i32
        return made


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


async def _fail(asked: Any, context: Any) -> None:
    details = []
    if asked.text == "typed":
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.ErrorInfo(reason="NO", domain="same"))
        details.append(packed)
    if asked.text == "unknown":
        details.append(any_pb2.Any(type_url="example.org/of.nobody.Knows", value=b"\x01"))
    status = status_pb2.Status(code=asked.fail, message="it is so", details=details)
    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
    await context.abort(next(code for code in grpc.StatusCode if code.value[0] == asked.fail), "it is so")


def config(descriptors: Path, service: int) -> dict[str, Any]:
    """Envoy's, with the switches that come nearest to the comment of ``google/api/http.proto``."""
    transcoder = {
        "@type": f"{_FILTERS}.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(descriptors),
        "services": ["same.Same"],
        "auto_mapping": True,
        "convert_grpc_status": True,
        "query_param_unescape_plus": True,
        "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
        "request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True},
    }
    router = {"@type": f"{_FILTERS}.http.router.v3.Router"}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "same",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "same"}}]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    }
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "admin": {"address": _address(0)},
        "static_resources": {
            "listeners": [
                {
                    "name": "same",
                    "address": _address(0),
                    "filter_chains": [
                        {
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "same",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
                    },
                    "load_assignment": {
                        "cluster_name": "same",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(service)}}]}],
                    },
                }
            ],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@dataclass(frozen=True)
class Answer:
    """`body`: JSON where it is some, else text."""

    status: int
    media_type: str
    body: Any


async def ask(port: int, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
    """One request as it is written here, and its answer."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            fields = {"host": "a", "connection": "close", **headers}
            if body or method in ("POST", "PUT", "PATCH"):
                fields["content-length"] = str(len(body))
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
            raw = await reader.read()
        finally:
            writer.close()
    head_text, _, payload = raw.partition(b"\r\n\r\n")
    first, *lines = head_text.decode("latin-1").split("\r\n")
    given = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "chunked" in given.get("transfer-encoding", ""):
        payload = _unchunked(payload)
    media_type = given.get("content-type", "").partition(";")[0]
    try:
        read: Any = json.loads(payload)
    except ValueError:
        read = payload.decode("utf-8", "replace")
    return Answer(int(first.split()[1]), media_type, read)


def _unchunked(payload: bytes) -> bytes:
    body = b""
    while payload:
        size, _, payload = payload.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        body, payload = body + payload[:length], payload[length + 2 :]
        if not length:
            break
    return body


def compiled(folder: Path) -> Schema:
    """The schema, and its descriptor set in `folder` for Envoy."""
    (folder / "envoy.proto").write_text(PROTO)
    files = compile_protos(["envoy.proto"], folder)
    (folder / "same.pb").write_bytes(files.SerializeToString())
    return schema(files)


@contextlib.contextmanager
def envoy(folder: Path, service: int) -> Iterator[int]:
    """Envoy in front of the service's port; yields its own, which it has chosen itself."""
    (folder / "envoy.json").write_text(json.dumps(config(folder / "same.pb", service)))
    admin = folder / "admin"
    command = [BINARY, "-c", str(folder / "envoy.json"), "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--admin-address-path", str(admin), "-l", "warning"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield _listener(process, admin, folder / "envoy.log")
    finally:
        process.terminate()
        process.wait()


def _listener(process: subprocess.Popen[bytes], admin: Path, log: Path) -> int:
    """The port that Envoy listens on, once it does."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Envoy ended: {log.read_text('utf-8', 'replace')[-2000:]}")
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            port = int(admin.read_text().rpartition(":")[2])
            told = asyncio.run(ask(port, "GET", "/listeners?format=json", {}, b"")).body
            return int(told["listener_statuses"][0]["local_address"]["socket_address"]["port_value"])
        time.sleep(0.05)
    raise RuntimeError("Envoy does not listen")
