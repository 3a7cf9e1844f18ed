"""gRPC statuses as problem+json (``google/rpc/code.proto`` documents the HTTP statuses), and problems as statuses with
details of ``google/rpc/error_details.proto``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from bridge.api import GrpcReply, Headers, StatusDetail, UpstreamFault, header
from bridge_grpc.codec.scalars import FieldValueError
from bridge_grpc.codec.write_scalars import base64

#: Number -> name and HTTP status. "HTTP Mapping" in the comment of each value of ``google.rpc.Code``.
CODES: dict[int, tuple[str, int]] = {
    0: ("OK", 200),
    1: ("CANCELLED", 499),
    2: ("UNKNOWN", 500),
    3: ("INVALID_ARGUMENT", 400),
    4: ("DEADLINE_EXCEEDED", 504),
    5: ("NOT_FOUND", 404),
    6: ("ALREADY_EXISTS", 409),
    7: ("PERMISSION_DENIED", 403),
    8: ("RESOURCE_EXHAUSTED", 429),
    9: ("FAILED_PRECONDITION", 400),
    10: ("ABORTED", 409),
    11: ("OUT_OF_RANGE", 400),
    12: ("UNIMPLEMENTED", 501),
    13: ("INTERNAL", 500),
    14: ("UNAVAILABLE", 503),
    15: ("DATA_LOSS", 500),
    16: ("UNAUTHENTICATED", 401),
}

_DOMAIN = "bridge"  # of the ErrorInfo: reasons are unique within it
_URN = "urn:bridge:problem:"
_RETRY_INFO = error_details_pb2.RetryInfo.DESCRIPTOR.full_name


def fault(reply: GrpcReply, write_any: Callable[[Any], Any], fields: Sequence[tuple[str, str]] = ()) -> UpstreamFault:
    """The problem for a status that isn't OK. An undefined code is treated as UNKNOWN but keeps its number.

    :param write_any: an ``Any``'s JSON in the route's schema.
    :param fields: header fields for the response; the status's own ``retry-after`` replaces theirs.
    """
    name, status = CODES.get(reply.code, CODES[2])
    label = name if reply.code in CODES else str(reply.code)
    details, retry_after = _details(reply, write_any)
    sentence = reply.detail.strip() or f"The service answered {name}."
    headers = [("retry-after", str(retry_after))] if retry_after is not None and status in (429, 503) else []
    headers += [each for each in fields if not headers or each[0] != "retry-after"]
    member = {"code": reply.code, "status": name, "message": reply.detail, "details": details}
    return UpstreamFault(sentence, members={"grpc": member}, status=status, headers=headers, cause=f"grpc {label}")


def _details(reply: GrpcReply, write_any: Callable[[Any], Any]) -> tuple[list[Any], int | None]:
    """The typed details of a status, and the seconds that a RetryInfo asks to wait."""
    values, retry_after = [], None
    for detail in _packed(reply):
        try:
            values.append(write_any(detail))
            if detail.type_url.rpartition("/")[2] == _RETRY_INFO:
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                retry_after = max(0, delay.seconds + math.ceil(delay.nanos / 1e9))
        except (FieldValueError, DecodeError):
            values.append({"@type": detail.type_url, "value": base64(detail.value)})
    return values, retry_after


def details_of(reply: GrpcReply, write_any: Callable[[Any], Any]) -> list[StatusDetail]:
    """`bridge.api.Service.details`."""
    return [
        StatusDetail(detail.type_url.rpartition("/")[2], detail.value, _json(detail, write_any))
        for detail in _packed(reply)
    ]


def _packed(reply: GrpcReply) -> Sequence[Any]:
    """The details of ``grpc-status-details-bin``. By gRPC's rules a client ignores those that it can't read."""
    try:
        return status_pb2.Status.FromString(reply.status_details).details if reply.status_details else ()
    except DecodeError:
        return ()


def _json(detail: Any, write_any: Callable[[Any], Any]) -> dict[str, Any] | None:
    try:
        value = dict(write_any(detail))
    except FieldValueError:
        return None
    if value == {"@type": detail.type_url, "value": base64(detail.value)}:
        return None  # the type is unknown
    return value if value.pop("@type", None) is not None else None


def status_of(code: int, problem: Mapping[str, Any], headers: Headers = ()) -> GrpcReply:
    """`bridge.api.Service.status`."""
    detail = str(problem.get("detail", ""))
    status = status_pb2.Status(code=code, message=_utf8(detail))
    for message in _problem_details(problem, headers):
        status.details.add().Pack(message)
    return GrpcReply(code, detail=detail, status_details=status.SerializeToString())


def _problem_details(problem: Mapping[str, Any], headers: Headers) -> Iterator[Message]:
    """ErrorInfo, BadRequest and RetryInfo of a problem."""
    trace_id = _utf8(problem.get("trace_id", ""))
    reason = _utf8(problem.get("type", "")).removeprefix(_URN).upper().replace("-", "_")
    metadata = {"trace_id": trace_id} if trace_id else {}
    yield error_details_pb2.ErrorInfo(reason=reason, domain=_DOMAIN, metadata=metadata)
    errors = problem.get("errors")
    violations = [
        error_details_pb2.BadRequest.FieldViolation(
            field=_utf8(error.get("pointer", error.get("parameter", ""))), description=_utf8(error.get("reason", ""))
        )
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, Mapping)
    ]
    if violations:
        yield error_details_pb2.BadRequest(field_violations=violations)
    seconds = header(headers, "retry-after")
    if seconds.isdecimal() and len(seconds) < 10:
        yield error_details_pb2.RetryInfo(retry_delay={"seconds": int(seconds)})


def _utf8(value: object) -> str:
    """The text of `value`, without surrogates, which UTF-8 can't encode."""
    return str(value).encode("utf-8", "replace").decode("utf-8")
