"""Settings of single methods: whose they are, which calls are sent again, and what is refused at bind."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bridge.api import WEBSOCKET, BindError, Call, Retry
from bridge_grpc import Grpc

PROTO = """
syntax = "proto3";
package c.v1;
import "google/api/annotations.proto";
message M { string id = 1; }
service S {
  rpc Find(M) returns (M) {
    option (google.api.http) = { get: "/find" additional_bindings { post: "/find" body: "*" } };
  }
  rpc Peek(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Watch(M) returns (stream M);
  rpc Send(stream M) returns (M);
}
"""


def settings(operations: Any, method: str, path: str, *headers: tuple[str, str]) -> tuple[float | None, Retry | None]:
    codec: Any = next(op.codec for op in operations if (op.method, op.path) == (method, path))
    query = "connect=v1&encoding=json&message=%7B%7D" if method == "GET" and path.startswith("/c.") else ""
    call = Call(method, path, query=query, headers=headers, body=b"{}" if method == "POST" else b"")
    request = codec.open(call).request if hasattr(codec, "open") else codec.request(call)
    return request.timeout, request.retry


async def test_each_setting_is_the_most_specific_one(bind: Any) -> None:
    calls = {
        "*": {"timeout": "5s", "retry": {"codes": ["UNAVAILABLE", "ABORTED"]}},
        "Find": {"timeout": "2s"},
        "c.v1.S.Find": {"retry": {"max_attempts": 4, "initial_backoff": "50ms", "max_backoff": 1, "multiplier": 1.5}},
    }
    operations = await bind(PROTO, calls=calls)
    every = Retry(3, 0.1, 2.0, 2.0, frozenset({14, 10}))
    assert settings(operations, "GET", "/find") == (2.0, Retry(4, 0.05, 1.0, 1.5, frozenset({14})))
    assert settings(operations, "POST", "/find") == (2.0, None)
    assert settings(operations, "POST", "/c.v1.S/Peek") == (5.0, every)
    assert settings(operations, "POST", "/c.v1.S/Watch") == (5.0, None)
    assert settings(operations, "POST", "/c.v1.S/Send") == (5.0, None)
    assert settings(operations, WEBSOCKET, "/c.v1.S/Send") == (5.0, None)
    assert settings(await bind(PROTO), "GET", "/find") == (None, None)


async def test_what_is_sent_again_without_a_word_on_codes(bind: Any) -> None:
    operations = await bind(PROTO, calls={"*": {"retry": {}}})
    plain = Retry(3, 0.1, 2.0, 2.0, frozenset({14}))
    assert settings(operations, "GET", "/find")[1] == plain
    assert settings(operations, "POST", "/find")[1] is None
    assert settings(operations, "POST", "/c.v1.S/Find")[1] is None
    assert settings(operations, "POST", "/c.v1.S/Peek")[1] == plain


async def test_dialects_have_them_too(bind: Any) -> None:
    operations = await bind(PROTO, calls={"Peek": {"timeout": "2s", "retry": {}}, "Watch": {"timeout": "3s"}})
    connect = [("content-type", "application/json"), ("connect-protocol-version", "1")]
    assert settings(operations, "POST", "/c.v1.S/Peek", *connect)[0] == 2.0
    timeout, retry = settings(operations, "GET", "/c.v1.S/Peek")
    assert timeout == 2.0
    assert retry is not None


@pytest.mark.parametrize(
    ("calls", "key", "reason"),
    [
        ({"Fnd": {}}, "Fnd", "did you mean 'Find'?"),
        ({"x": {}}, "x", "there are c.v1.S.Find, c.v1.S.Peek"),
        ({"Find": {"timeout": "31s"}}, "Find.timeout", "the route's own timeout of 30s is shorter"),
        ({"Watch": {"retry": {}}}, "Watch.retry", "never sent again"),
        ({"Find": {"retry": {"initial_backoff": "3s"}}}, "Find.retry.max_backoff", "shorter than initial_backoff"),
        ({"Find": {"retry": {"codes": ["NOPE"]}}}, "Find.retry.codes", "'NOPE' is no status"),
        ({"Find": {"retry": {"codes": ["OK"]}}}, "Find.retry.codes", "'OK' is no status"),
    ],
)
async def test_what_is_refused_at_bind(bind: Any, calls: Any, key: str, reason: str) -> None:
    with pytest.raises(BindError) as caught:
        await bind(PROTO, calls=calls)
    (fault,) = caught.value.faults
    assert fault.key == f"transform.grpc.calls.{key}"
    assert reason in fault.reason


async def test_a_method_s_full_name_is_one_key(bind: Any) -> None:
    with pytest.raises(BindError) as caught:
        await bind(PROTO, calls={"c.v1.S.Find": {"retry": {"codes": ["NOPE"]}}})
    (fault,) = caught.value.faults
    assert fault.path == ("transform", "grpc", "calls", "c.v1.S.Find", "retry", "codes")
    assert fault.key == 'transform.grpc.calls["c.v1.S.Find"].retry.codes'


async def test_a_route_of_one_method_has_that_one_s(bind: Any) -> None:
    (operation,) = await bind(PROTO, method="Peek", calls={"Peek": {"timeout": 1}})
    assert settings([operation], "POST", "")[0] == 1.0
    with pytest.raises(BindError, match="no such method"):
        await bind(PROTO, method="Peek", calls={"Find": {"timeout": 1}})


@pytest.mark.parametrize(
    "call",
    [
        {"timeout": 0},
        {"timeout": "soon"},
        {"retry": {"max_attempts": 1}},
        {"retry": {"max_attempts": 6}},
        {"retry": {"multiplier": 0}},
        {"retry": {"codes": []}},
        {"retires": {}},
    ],
)
def test_settings_that_are_none(call: Any) -> None:
    with pytest.raises(ValidationError):
        Grpc.options.model_validate({"protos": ["a.proto"], "calls": {"Find": call}})
