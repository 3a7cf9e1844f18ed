"""gRPC through a serving gateway and a real grpcio server: who calls, which headers go up and down, forms, fields."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2

PROTO = """
syntax = "proto3";
package tally.v1;
import "google/api/annotations.proto";
import "google/protobuf/duration.proto";
service Tally {
  rpc Cast(Vote) returns (Vote) {
    option (google.api.http) = {
      post: "/v1/votes" body: "*"
      additional_bindings { get: "/v1/votes/{county}" } additional_bindings { get: "/v1/waits/{waited}" }
    };
  }
  rpc Watch(Vote) returns (stream Vote) { option (google.api.http) = { post: "/v1/watch" body: "*" }; }
  rpc CastAll(stream Vote) returns (Vote) { option (google.api.http) = { post: "/v1/all" body: "*" }; }
}
message Vote {
  string county = 1; string voter_id = 2; repeated string locales = 3; string region = 4;
  bytes ballot = 5; Mark mark = 6; google.protobuf.Duration waited = 7;
}
message Mark { string candidate = 1; int64 rank = 2; }
"""
OPTIONS: dict[str, Any] = {
    "protos": ["tally.proto"],
    "metadata": {"x-user": {"$claim": "sub"}, "x-lang": {"$header": "accept-language", "default": "en"}},
    "pass_headers": ["x-request-id", "x-agency-*"],
    "reply_headers": ["x-count", "x-cost-*"],
}
SPEC: dict[str, Any] = {
    "route": "/",
    "upstream": "grpc://tally:1",
    "auth": {"type": "JWT", "audience": "TALLY"},
    "cache": {"ttl": "60s"},
    "transform": {"request": "grpc", "response": "json", "grpc": OPTIONS},
}


@dataclass
class Tally:
    """Answers with the very bytes it was sent."""

    seen: list[tuple[bytes, list[tuple[str, str | bytes]]]] = field(default_factory=list)
    status: grpc.StatusCode = grpc.StatusCode.OK
    port: int = 0

    async def cast(self, message: bytes, context: Any) -> bytes:
        self.seen.append((message, [tuple(pair) for pair in context.invocation_metadata()]))
        await context.send_initial_metadata((("x-count", "3"), ("x-hidden", "no")))
        context.set_trailing_metadata((("x-cost-raw-bin", b"\xff\x01"), ("x-cost-ms", "12")))
        if self.status is not grpc.StatusCode.OK:
            await context.abort(self.status, "not today")
        return message

    async def watch(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        self.seen.append((message, [tuple(pair) for pair in context.invocation_metadata()]))
        await context.send_initial_metadata((("x-count", "2"),))
        yield message
        yield message

    async def cast_all(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        last = b""
        async for last in messages:
            self.seen.append((last, [tuple(pair) for pair in context.invocation_metadata()]))
        context.set_trailing_metadata((("x-cost-ms", "12"),))
        return last

    def metadata(self, at: int = -1) -> list[tuple[str, str | bytes]]:
        return [pair for pair in self.seen[at][1] if pair[0].startswith("x-") and pair[0] != "x-trace-id"]


@pytest.fixture
async def tally() -> AsyncIterator[Tally]:
    service, server = Tally(), grpc.aio.server()
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


@pytest.fixture
async def gateway(start: Any, tally: Tally) -> AsyncIterator[Any]:
    mesh = {"tally": f"127.0.0.1:{tally.port}"}
    async with start(mesh=mesh, files={"protos/tally.proto": PROTO}) as running:
        yield running


async def register(gateway: Any, **options: Any) -> None:
    grpc_options = {**OPTIONS, **options}
    spec = {**SPEC, "transform": {**SPEC["transform"], "grpc": grpc_options}}
    registered = await gateway.register(spec)
    assert registered.status_code == 201, registered.text


async def test_metadata_goes_up_and_comes_down(gateway: Any, tally: Tally) -> None:
    await register(gateway)
    headers = [
        *gateway.bearer(audience="TALLY", sub="ada").items(),
        ("x-request-id", "r-1"), ("x-agency-county", "Kern"), ("x-agency-county", "Inyo"),
        ("x-agency-raw-bin", "AQI,_w"), ("x-other", "no"),
    ]  # fmt: skip
    answer = await gateway.client.post("/v1/votes", json={"county": "Kern"}, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"county": "Kern"})
    assert sorted(map(str, tally.metadata())) == sorted(
        map(str, [
            ("x-user", "ada"), ("x-lang", "en"), ("x-request-id", "r-1"), ("x-agency-county", "Kern"),
            ("x-agency-county", "Inyo"), ("x-agency-raw-bin", b"\x01\x02"), ("x-agency-raw-bin", b"\xff"),
        ])
    )  # fmt: skip
    shown = {name: value for name, value in answer.headers.items() if name.startswith("x-")}
    assert shown.pop("x-trace-id")
    assert shown == {"x-count": "3", "x-cost-raw-bin": "/wE=", "x-cost-ms": "12"}

    tally.status = grpc.StatusCode.NOT_FOUND
    answer = await gateway.client.post("/v1/votes", json={}, headers=headers)
    assert (answer.status_code, answer.headers["x-count"], answer.headers["x-cost-ms"]) == (404, "3", "12")
    assert answer.json()["grpc"]["status"] == "NOT_FOUND"


@pytest.mark.parametrize("sign", [1, -1], ids=["longest", "most negative"])
@pytest.mark.parametrize("where", ["body", "query", "path"])
async def test_the_longest_duration_of_protobuf_goes_up_and_comes_down(
    gateway: Any, tally: Tally, where: str, sign: int
) -> None:
    await register(gateway)
    waited, longer = (f"{'-' * (sign < 0)}{seconds}s" for seconds in ("315576000000.999999999", "315576000001"))
    headers = gateway.bearer(audience="TALLY")

    async def call(value: str) -> Any:
        if where == "body":
            return await gateway.client.post("/v1/votes", json={"waited": value}, headers=headers)
        path = f"/v1/waits/{value}" if where == "path" else f"/v1/votes/Kern?waited={value}"
        return await gateway.client.get(path, headers=headers)

    answer = await call(waited)
    assert (answer.status_code, answer.json().get("waited")) == (200, waited), answer.text
    duration = duration_pb2.Duration(seconds=sign * 315_576_000_000, nanos=sign * 999_999_999).SerializeToString()
    assert duration in tally.seen[-1][0]
    refused = await call(longer)
    assert (refused.status_code, len(tally.seen)) == (400, 1), refused.text
    assert "is longer than 315576000000.999999999 seconds" in refused.text


async def test_what_metadata_can_t_hold_stays_here(gateway: Any, tally: Tally) -> None:
    await register(gateway)
    bearer = gateway.bearer(audience="TALLY")
    wrong = await gateway.client.post("/v1/votes", json={}, headers={**bearer, "x-agency-name": "José".encode()})
    assert (wrong.status_code, wrong.json()["errors"][0]["parameter"]) == (400, "x-agency-name")
    large = await gateway.client.post("/v1/votes", json={}, headers={**bearer, "x-agency-name": "y" * 8192})
    assert (large.status_code, large.json()["type"]) == (431, "urn:bridge:problem:head-too-large")
    assert tally.seen == []


async def test_no_cached_answer_goes_to_another(gateway: Any, tally: Tally) -> None:
    await register(gateway, pass_headers=["x-request-id"])
    for sub, request in (("ada", "1"), ("bob", "1"), ("ada", "2"), ("ada", "1")):
        headers = {**gateway.bearer(audience="TALLY", sub=sub), "x-request-id": request}
        answer = await gateway.client.get("/v1/votes/Kern", headers=headers)
        assert answer.headers["cache-control"] == "private"
        assert answer.headers["vary"] == "accept-language, x-request-id"
    assert len(tally.seen) == 4


async def test_fields_that_the_gateway_fills(gateway: Any, tally: Tally) -> None:
    fields = {"voter_id": {"$claim": "sub"}, "locales": {"$header": "accept-language"}, "region": "west"}
    await register(gateway, fields=fields)
    headers = {**gateway.bearer(audience="TALLY", sub="ada"), "accept-language": "de, fr"}
    answer = await gateway.client.post("/v1/votes", json={"county": "Kern", "voterId": "eve"}, headers=headers)
    assert answer.json() == {"county": "Kern", "voterId": "ada", "locales": ["de", "fr"], "region": "west"}
    wrong = await gateway.client.get("/v1/votes/Kern?region=east", headers=headers)
    assert (wrong.status_code, wrong.json()["errors"]) == (
        400, [{"parameter": "region", "reason": "it is filled by the gateway"}]
    )  # fmt: skip
    assert len(tally.seen) == 1
    document = (await gateway.client.get("/-/openapi.json")).json()
    body = document["paths"]["/v1/votes"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"voterId", "locales", "region"}.isdisjoint(body["properties"])


async def test_forms(gateway: Any, tally: Tally) -> None:
    await register(gateway)
    bearer = gateway.bearer(audience="TALLY")
    expected = {"county": "El Dorado", "mark": {"candidate": "A+B", "rank": "1"}}
    sent = {"county": "El Dorado", "mark.candidate": "A+B", "mark.rank": "1"}
    answer = await gateway.client.post("/v1/votes", data=sent, headers=bearer)
    assert (answer.status_code, answer.json()) == (200, expected)
    files = {"ballot": ("ballot.pdf", b"%PDF\x00\r\n", "application/pdf")}
    answer = await gateway.client.post("/v1/votes", data=sent, files=files, headers=bearer)
    assert (answer.status_code, answer.json()) == (200, {**expected, "ballot": "JVBERgANCg=="})
    wrong = await gateway.client.post("/v1/votes", data={"mark.rank": "first"}, headers=bearer)
    assert (wrong.status_code, wrong.json()["errors"][0]["parameter"]) == (400, "mark.rank")
    wrong = await gateway.client.post("/v1/votes", content=b"a", headers={**bearer, "content-type": "text/csv"})
    assert wrong.status_code == 415
    assert wrong.headers["accept"] == "application/json, application/x-www-form-urlencoded, multipart/form-data"


async def test_methods_of_other_names(gateway: Any, tally: Tally) -> None:
    rule = {"selector": "tally.v1.Tally.Cast", "custom": {"kind": "SEARCH", "path": "/v1/votes"}, "body": "*"}
    await register(gateway, http_rules=[rule])
    bearer = gateway.bearer(audience="TALLY")
    answer = await gateway.client.request("SEARCH", "/v1/votes", json={"county": "Kern"}, headers=bearer)
    assert (answer.status_code, answer.json()) == (200, {"county": "Kern"})
    other = await gateway.client.request("REPORT", "/v1/votes", headers=bearer)
    assert (other.status_code, other.headers["allow"]) == (405, "SEARCH")
    document = await gateway.client.get("/-/openapi.json")
    assert document.status_code == 200
    assert "/v1/votes" not in document.json()["paths"]
    unread = await gateway.client.request("LIST", "/v1/votes", headers=bearer)
    assert unread.status_code == 400


FORGED = b"\x0a\x04Kern\x12\x03eve\x1a\x02xx"  # county, voter_id and one of locales


async def test_streams_are_filled_too(gateway: Any, tally: Tally) -> None:
    await register(gateway, fields={"voter_id": {"$claim": "sub"}, "locales": ["de"]})
    bearer = gateway.bearer(audience="TALLY", sub="ada")
    expected = {"county": "Kern", "voterId": "ada", "locales": ["de"]}
    forged = {"county": "Kern", "voterId": "eve", "locales": ["xx"]}
    answer = await gateway.client.post("/v1/watch", json=forged, headers={**bearer, "accept": "application/json"})
    assert (answer.status_code, answer.json(), answer.headers["x-count"]) == (200, [expected, expected], "2")
    assert ("x-user", "ada") in tally.metadata()
    answer = await gateway.client.post("/v1/all", json=[forged, {"voterId": "eve"}, forged], headers=bearer)
    assert (answer.status_code, answer.json(), answer.headers["x-cost-ms"]) == (200, expected, "12")
    assert len(tally.seen) == 4
    assert not any(b"eve" in message or b"xx" in message for message, _ in tally.seen)


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("Cast", "application/proto", FORGED),
        ("Cast", "application/json", b'{"county": "Kern", "voterId": "eve", "locales": ["xx"]}'),
        ("Cast", "application/grpc-web+proto", b"\0" + len(FORGED).to_bytes(4, "big") + FORGED),
        ("CastAll", "application/grpc-web+proto", b"\0" + len(FORGED).to_bytes(4, "big") + FORGED),
    ],
)
async def test_no_dialect_gets_around_what_the_gateway_fills(
    gateway: Any, tally: Tally, path: str, kind: str, body: bytes
) -> None:
    await register(gateway, fields={"voter_id": {"$claim": "sub"}, "locales": ["de"]})
    headers = {**gateway.bearer(audience="TALLY", sub="ada"), "content-type": kind, "connect-protocol-version": "1"}
    answer = await gateway.client.post(f"/tally.v1.Tally/{path}", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert tally.seen[0][0] == FORGED.replace(b"eve", b"ada").replace(b"xx", b"de")
    assert ("x-user", "ada") in tally.metadata()


# --- egress ----------------------------------------------------------------------------------------------------------


async def test_edits_of_a_route_are_metadata(gateway: Any, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_KEY", "k-1")
    (gateway.home / "secrets.yml").write_text("- {secret: BRIDGE_SECRET_TALLY_KEY, upstreams: [tally]}\n")
    await gateway.app.state.reload()
    keys = {
        "upstream_auth": {"type": "api_key", "header": "X-Key", "value": {"$env": "BRIDGE_SECRET_TALLY_KEY"}},
        "headers": {
            "request": {
                "set": {"X-User": "set", "X-Raw-Bin": "AQI", "X-Sub": {"$claim": "sub"}},
                "add": {"x-request-id": "added"},
                "remove": ["x-agency-county"],
            },
            "response": {"set": {"X-Count": "many"}},
        },
        "forwarded": "x",
    }
    registered = await gateway.register({**SPEC, **keys})
    assert registered.status_code == 201, registered.text
    headers = {**gateway.bearer(audience="TALLY", sub="ada"), "x-request-id": "r", "x-agency-county": "Kern"}
    answer = await gateway.client.post("/v1/votes", json={"county": "Kern"}, headers=headers)
    assert (answer.status_code, answer.headers["x-count"]) == (200, "many")
    host = f"127.0.0.1:{gateway.port}"
    expected = [
        ("x-lang", "en"), ("x-request-id", "r"), ("x-user", "set"), ("x-raw-bin", b"\x01\x02"), ("x-sub", "ada"),
        ("x-request-id", "added"), ("x-key", "k-1"), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"),
        ("x-forwarded-host", host),
    ]  # fmt: skip
    assert sorted(map(str, tally.metadata())) == sorted(map(str, expected))
    for path, kind in (("/v1/watch", "application/json"), ("/v1/all", "application/x-ndjson")):
        answer = await gateway.client.post(
            path, content=b'{"county":"Kern"}', headers={**headers, "content-type": kind}
        )
        assert (answer.status_code, answer.headers["x-count"]) == (200, "many"), answer.text
        assert "private" in answer.headers["cache-control"]
        assert sorted(map(str, tally.metadata())) == sorted(map(str, expected))


@pytest.mark.parametrize(
    ("name", "told"),
    [("content-type", "belongs to gRPC itself"), ("x~y", "can't be a metadata name"), ("user-agent", "gRPC itself")],
)
async def test_edits_that_metadata_cant_hold_are_refused(gateway: Any, name: str, told: str) -> None:
    registered = await gateway.register({**SPEC, "headers": {"request": {"set": {name: "1"}}}})
    assert registered.status_code == 400
    assert told in registered.text


async def test_rotated_files_reach_metadata_and_fields(
    start: Any, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.api.values.CHECK_EVERY", 0.0)
    secret = {"$file": "secrets/key"}
    options = {"protos": ["tally.proto"], "metadata": {"x-key": secret, "x-last": "z"}, "fields": {"region": secret}}
    spec = {**SPEC, "auth": "none", "transform": {"request": "grpc", "grpc": options}}
    files = {"protos/tally.proto": PROTO, "secrets/key": "one"}
    mesh = {"tally": f"127.0.0.1:{tally.port}"}
    async with start(mesh=mesh, files=files, routes={"a.yml": json.dumps(spec)}) as gateway:
        [bound] = gateway.app.state.registry.table.routes.values()
        for text in ("one", "two", "thr\u00e9\u00e9", "four"):
            (gateway.home / "new").write_text(text)
            (gateway.home / "new").rename(gateway.home / "secrets/key")
            answer = await gateway.client.post("/v1/votes", json={"county": "Kern"})
            sent = text if text.isascii() else "two"  # metadata doesn't take the other
            assert answer.json()["region"] == text
            assert tally.metadata() == [("x-key", sent), ("x-last", "z")]
            assert sent in bound.endpoints[0].codec.secrets
