"""Every problem of the gateway's as a gRPC status, and so in both RPC protocols."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

import bridge.app  # so that every error is known  # noqa: F401
from bridge.api import Call, ClientError, GrpcReply, Reply, RequestError, UpstreamFault
from bridge.api.problem import problem, slugs
from bridge.fronts.connect import ConnectGetCodec
from bridge.fronts.publish import FrontedCodec, Fronts
from bridge.fronts.rpc import as_status, code_of
from bridge_grpc.schema.pool import Schema
from bridge_grpc.status import fault
from tests.fronts.rpc_service import PROTO, post, service_of

EXPECTED = {
    "internal": "INTERNAL",
    "upstream-failed": "UNAVAILABLE",
    "invalid-body": "INVALID_ARGUMENT",
    "invalid-parameter": "INVALID_ARGUMENT",
    "unauthorized": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "not-found": "UNIMPLEMENTED",
    "method-not-allowed": "UNIMPLEMENTED",
    "conflict": "ABORTED",
    "precondition-failed": "FAILED_PRECONDITION",
    "too-large": "RESOURCE_EXHAUSTED",
    "unsupported-media-type": "UNIMPLEMENTED",
    "head-too-large": "RESOURCE_EXHAUSTED",
    "rate-limited": "RESOURCE_EXHAUSTED",
    "client-closed-request": "CANCELLED",
    "bad-reply": "INTERNAL",
    "upstream-fault": "UNKNOWN",
    "upstream-unavailable": "UNAVAILABLE",
    "issuer-unavailable": "UNAVAILABLE",
    "upstream-auth-failed": "UNAVAILABLE",
    "upstream-timeout": "DEADLINE_EXCEEDED",
    "upstream-unknown": "UNAVAILABLE",
    "shutting-down": "UNAVAILABLE",
    "overloaded": "UNAVAILABLE",
    "deadline-exceeded": "DEADLINE_EXCEEDED",
    "reply-too-large": "INTERNAL",
}


@pytest.mark.parametrize(("slug", "name"), EXPECTED.items())
def test_the_code_of_each_slug(slug: str, name: str) -> None:
    told = {"type": f"urn:bridge:problem:{slug}", "status": 418, "detail": ""}
    assert code_pb2.Code.Name(code_of(told)) == name


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (406, "INVALID_ARGUMENT"),
        (408, "DEADLINE_EXCEEDED"),
        (413, "RESOURCE_EXHAUSTED"),
        (429, "RESOURCE_EXHAUSTED"),
        (501, "UNIMPLEMENTED"),
        (504, "DEADLINE_EXCEEDED"),
        (418, "UNKNOWN"),
    ],
)
def test_a_slug_of_many_meanings_goes_by_its_status(status: int, name: str) -> None:
    refused = orjson.loads(problem(ClientError(status=status), "").content)
    assert code_pb2.Code.Name(code_of(refused)) == name


def test_no_slug_is_left_to_chance() -> None:
    """A new one is told by its status, unless that says nothing."""
    for slug, status, _ in slugs():
        assert slug in EXPECTED or code_of({"type": f"urn:bridge:problem:{slug}", "status": status}) != 2, slug


def test_a_services_own_status_is_kept() -> None:
    refused: UpstreamFault = fault(GrpcReply(77, detail="odd"), dict)
    assert code_of(orjson.loads(problem(refused, "").content)) == 77


@pytest.mark.parametrize(
    "odd", [{}, {"type": 1, "status": "x", "detail": None}, {"errors": "x", "grpc": 1}, {"errors": [1, {"reason": 2}]},
            {"detail": "\ud800", "trace_id": "\ud800", "errors": [{"pointer": "\ud800"}]}, {"grpc": {"code": True}}],
)  # fmt: skip
def test_whatever_a_problem_holds_it_is_told(odd: dict[str, object], make_schema: Callable[[str], Schema]) -> None:
    service = service_of(make_schema(PROTO), "Put")
    assert status_pb2.Status.FromString(as_status(service, odd, [("retry-after", "soon")]).status_details)
    for name in ("application/grpc-web", "application/proto", "application/connect+json"):
        call = post(name)
        form = Fronts().form_of(call)
        assert form is not None
        assert form.refusal(call, service, odd, Reply(400, [("content-type", "x")])).headers[0][1] != "x"


def test_an_integer_of_retry_after_is_told_typed(make_schema: Callable[[str], Schema]) -> None:
    service = service_of(make_schema(PROTO), "Put")
    status = status_pb2.Status.FromString(as_status(service, {}, [("retry-after", "120")]).status_details)
    info = error_details_pb2.RetryInfo()
    assert status.details[-1].Unpack(info)
    assert info.retry_delay.seconds == 120


# --- the codec that the gateway asks -----------------------------------------------------------------------------


class Plain:
    """Stands for the JSON codec."""

    def request(self, call: Call) -> str:
        return "plain"

    def reply(self, call: Call, inbound: GrpcReply) -> str:
        return "plain"


PLAIN = [
    Call("POST", "/x", headers=[("content-type", "application/json")]),
    Call("POST", "/x", headers=[("content-type", "application/json; charset=utf-8")]),
    Call("POST", "/x"),
    Call("POST", "/x", headers=[("content-type", "application/json"), ("connect-protocol-version", "2")]),
    Call("POST", "/x", headers=[("connect-protocol-version", "1")]),
    Call("POST", "/x", headers=[("content-type", "text/plain"), ("connect-protocol-version", "1")]),
]


@pytest.mark.parametrize("call", PLAIN)
def test_plain_json_stays_plain(call: Call, make_schema: Callable[[str], Schema]) -> None:
    service = service_of(make_schema(PROTO), "Get", show=lambda outbound: "shown")
    codec = FrontedCodec(Plain(), service, Fronts())
    refused = problem(RequestError(), "")
    assert codec.request(call) == codec.reply(call, GrpcReply(0)) == "plain"  # type: ignore[comparison-overlap]  # as above
    assert codec.refusal(call, {}, refused) is refused
    assert codec.show("x") == "shown"  # type: ignore[arg-type]  # as above


def test_get_without_the_marker_calls_nothing(make_schema: Callable[[str], Schema]) -> None:
    codec = ConnectGetCodec(service_of(make_schema(PROTO), "Get"))
    for query in ("", "encoding=json&message={}", "connect=v2&encoding=json&message={}"):
        with pytest.raises(ClientError, match="connect=v1"):
            codec.request(Call("GET", "/x", query=query))
    assert codec.request(Call("GET", "/x", query="connect=v1&encoding=json&message={}")).message == b""
