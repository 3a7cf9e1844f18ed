"""Connect's ``Error`` object, and the codes' names and HTTP statuses ("Error Codes", "Error and EndStreamResponse")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from bridge.api import GrpcReply
from bridge_grpc.codec.scalars import Wrong
from bridge_grpc.codec.write_scalars import base64
from bridge_grpc.dialect.fields import unpadded
from bridge_grpc.dialect.refusals import clean
from bridge_grpc.status import CODES

#: Number -> name and HTTP status. The names are gRPC's in small letters, but for one; the statuses are those of
#: ``google.rpc.Code``.
ERRORS = {number: (name.lower(), status) for number, (name, status) in CODES.items() if number}
ERRORS[1] = ("canceled", ERRORS[1][1])


def status_of(code: int) -> int:
    return ERRORS.get(code, ERRORS[2])[1]


def error_of(inbound: GrpcReply, write_any: Callable[[Any], Any]) -> dict[str, Any]:
    """The ``Error`` for a status that isn't OK. "There are no user-defined codes": an unknown one is ``unknown``."""
    error: dict[str, Any] = {"code": ERRORS.get(inbound.code, ERRORS[2])[0]}
    if inbound.detail:
        error["message"] = clean(inbound.detail)
    details = list(_details(inbound.status_details, write_any))
    if details:
        error["details"] = details
    return error


def _details(raw: bytes, write_any: Callable[[Any], Any]) -> Iterator[dict[str, Any]]:
    try:
        status = status_pb2.Status.FromString(raw)
    except DecodeError:
        return  # by gRPC's rules a client must do without details that it can't read
    for detail in status.details:
        told = {"type": detail.type_url.rpartition("/")[2], "value": unpadded(detail.value)}
        yield told | _debug(detail, write_any)


def _debug(detail: Any, write_any: Callable[[Any], Any]) -> dict[str, Any]:
    """The detail "in JSON … under the ``debug`` key", where its type is known."""
    try:
        written = dict(write_any(detail))
    except Wrong:
        return {}
    if written == {"@type": detail.type_url, "value": base64(detail.value)}:
        return {}  # nobody here knows the type
    if written.pop("@type", None) is None:
        return {}
    return {"debug": written}
