"""The gateway's own problems as gRPC statuses, by slug, else by HTTP status; both protocols tell them from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from bridge.api import GrpcReply, Headers, Reply, header

#: Slugs that say more than their HTTP status does. ``bad-request`` comes with several, so it isn't here.
BY_SLUG = {
    "invalid-body": 3,
    "invalid-parameter": 3,
    "unauthorized": 16,
    "forbidden": 7,
    "not-found": 12,
    "method-not-allowed": 12,
    "conflict": 10,
    "precondition-failed": 9,
    "too-large": 8,
    "unsupported-media-type": 12,
    "head-too-large": 8,
    "rate-limited": 8,
    "client-closed-request": 1,
    "internal": 13,
    "bad-reply": 13,
    "upstream-failed": 14,
    "upstream-fault": 2,
    "upstream-unavailable": 14,
    "issuer-unavailable": 14,
    "upstream-timeout": 4,
}
#: The rest. 401, 403, 404, 429, 502, 503: "HTTP to gRPC Status Code Mapping"; where that says UNKNOWN or INTERNAL for
#: want of knowing what the other side meant, the gateway does know.
BY_STATUS = {
    400: 3,
    401: 16,
    403: 7,
    404: 12,
    405: 12,
    406: 3,
    408: 4,
    409: 10,
    412: 9,
    413: 8,
    415: 12,
    429: 8,
    431: 8,
    499: 1,
    500: 13,
    501: 12,
    502: 14,
    503: 14,
    504: 4,
    505: 12,
    507: 8,
}
_UNKNOWN = 2
_URN = "urn:bridge:problem:"
_DOMAIN = "bridge"  # of the ErrorInfo: reasons are unique within it


def slug_of(problem: Mapping[str, Any]) -> str:
    return str(problem.get("type", "")).removeprefix(_URN)


def code_of(problem: Mapping[str, Any]) -> int:
    """The gRPC code of a problem+json object; a service's own status is kept."""
    told = problem.get("grpc")
    if isinstance(told, Mapping) and isinstance(told.get("code"), int) and told["code"]:
        return int(told["code"])
    return BY_SLUG.get(slug_of(problem)) or BY_STATUS.get(problem.get("status", 0), _UNKNOWN)


def as_status(problem: Mapping[str, Any], headers: Headers = ()) -> GrpcReply:
    """The status that a service would have answered, with ``google.rpc`` details.

    :param headers: the problem's response fields, for its ``Retry-After``.
    """
    code, detail = code_of(problem), str(problem.get("detail", ""))
    status = status_pb2.Status(code=code, message=clean(detail))
    for message in _details(problem, headers):
        status.details.add().Pack(message)
    return GrpcReply(code, detail=detail, status_details=status.SerializeToString())


def kept(reply: Reply) -> list[tuple[str, str]]:
    """The fields of a refusal that any protocol's clients get: all but those of its body."""
    return [(name, value) for name, value in reply.headers if name != "content-type"]


def clean(text: str) -> str:
    """`text` as UTF-8 can say it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _details(problem: Mapping[str, Any], headers: Headers) -> Iterator[Message]:
    """``google/rpc/error_details.proto``: why, what to mend, and when to come again."""
    trace_id = clean(str(problem.get("trace_id", "")))
    reason = clean(slug_of(problem)).upper().replace("-", "_")
    yield error_details_pb2.ErrorInfo(
        reason=reason, domain=_DOMAIN, metadata={"trace_id": trace_id} if trace_id else {}
    )
    violations = [
        error_details_pb2.BadRequest.FieldViolation(
            field=clean(str(error.get("pointer", error.get("parameter", "")))),
            description=clean(str(error.get("reason", ""))),
        )
        for error in _listed(problem.get("errors"))
    ]
    if violations:
        yield error_details_pb2.BadRequest(field_violations=violations)
    seconds = header(headers, "retry-after")
    if seconds.isdecimal() and len(seconds) < 10:
        yield error_details_pb2.RetryInfo(retry_delay={"seconds": int(seconds)})


def _listed(errors: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(errors, list):
        yield from (error for error in errors if isinstance(error, Mapping))
