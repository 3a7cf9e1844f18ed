"""A live Envoy in front of a service, and requests over raw sockets, written as they stand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Schema, schema

PROTO = (Path(__file__).parent / "envoy.proto").read_text("utf-8")
_FILTERS = "type.googleapis.com/envoy.extensions.filters"
BINARY = str(Path(sys.executable).parent / "envoy")
PATIENCE = 30.0  # seconds


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
    """`body`: JSON where it is some, else text. `fields`: the header fields, names in lower case."""

    status: int
    media_type: str
    body: Any
    fields: dict[str, str]


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
        read: Any = json.loads(payload, parse_int=_number)
    except ValueError:
        read = payload.decode("utf-8", "replace")
    return Answer(int(first.split()[1]), media_type, read, given)


def _number(digits: str) -> int | float:
    """``-0`` is a negative zero, which no int is."""
    return -0.0 if digits == "-0" else int(digits)


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
def envoy(folder: Path, service: int, *, transcodes: bool = True) -> Iterator[int]:
    """Envoy in front of the service's port; yields its own, which it has chosen itself.

    :param transcodes: from JSON; else it passes gRPC on as it comes.
    """
    made = config(folder / "same.pb", service)
    if not transcodes:
        (chain,) = made["static_resources"]["listeners"][0]["filter_chains"]
        del chain["filters"][0]["typed_config"]["http_filters"][0]
    (folder / "envoy.json").write_text(json.dumps(made))
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
