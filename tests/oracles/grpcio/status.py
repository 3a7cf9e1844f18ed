"""How a gRPC call ended: by the service's own word, or on the way to it.

grpc.aio reports both alike, so they are told apart by the connection's state and by the few sentences that gRPC's
core makes up itself; the addresses in those go into `cause`, never into `detail`.
"""

from __future__ import annotations

import re
from typing import Any

import grpc
import grpc.aio

from bridge.api.call import GrpcReply
from bridge.api.transport import Attempt, InstanceVerdict, Outcome
from bridge.errors import BadReply, RequestError, Timeout, TooLarge, Unavailable, UpstreamError
from bridge.transport.grpc.answer import DEADLINE_EXCEEDED, UNAVAILABLE, Metadata, pushback

# What gRPC's core says for itself; a service has no reason to use these words.
_TOO_LARGE = re.compile(r"CLIENT: (Received|Decompressed)\b.* larger than max")
_SENT_TOO_LARGE = re.compile(r"CLIENT: Sent message larger than max")
_METADATA = re.compile(r"received metadata size exceeds")
_NOT_GRPC = re.compile(r"Received http2 header with status: \d+|Failed parsing HTTP/2|content-type")
_ON_THE_WAY = re.compile(
    r"failed to connect to all addresses|\bipv[46]:|Socket closed|Connection reset|Broken pipe|Endpoint closing"
    r"|Cancelling all calls|GOAWAY|keepalive watchdog|Stream removed|Transport closed|too_many_pings"
)


def attempt_of(error: grpc.aio.AioRpcError, *, connected: bool, late: bool) -> Attempt:
    """As `refused` tells it, without raising."""
    result: GrpcReply | RequestError
    try:
        result = refused(error, connected=connected, late=late)
    except RequestError as raised:
        result = raised
    begun = bool(error.initial_metadata()) or isinstance(result, BadReply | TooLarge)
    code: int = error.code().value[0]
    verdict = InstanceVerdict.NONE
    if code == UNAVAILABLE:
        verdict = InstanceVerdict.BAD
    elif code == DEADLINE_EXCEEDED or (isinstance(result, UpstreamError) and not isinstance(result, BadReply)):
        verdict = InstanceVerdict.LATE
    elif isinstance(result, GrpcReply):
        verdict = InstanceVerdict.ALIVE
    outcome = Outcome.FINAL if begun else Outcome.RETRIABLE
    return Attempt(result, code, outcome, verdict, pushback(pairs(error.trailing_metadata())))


def refused(error: grpc.aio.AioRpcError, *, connected: bool, late: bool) -> GrpcReply:
    """The service's own status, or what went wrong on the way.

    :param connected: whether the connection stood when the call ended.
    :param late: whether our deadline had passed then.
    :raises bridge.errors.Unavailable: the connection was lost.
    :raises bridge.errors.Timeout: the deadline passed.
    :raises bridge.errors.BadReply: the answer is not gRPC, or larger than allowed.
    :raises bridge.errors.TooLarge: our message is larger than the route allows.
    :raises bridge.errors.UpstreamError: the connection failed otherwise.
    """
    code, detail = error.code(), error.details() or ""
    cause = f"{code.name}: {detail}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and late:
        raise Timeout(cause=cause)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE.search(detail):
        raise BadReply("The service's answer is larger than the gateway takes.", cause=cause)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _SENT_TOO_LARGE.search(detail):
        raise TooLarge("The message is larger than the route allows.", cause=cause)
    if _METADATA.search(detail):
        raise BadReply("The service's answer bears more metadata than the gateway takes.", cause=cause)
    if _NOT_GRPC.match(detail):
        raise BadReply("The service behind this route does not answer in gRPC.", cause=cause)
    if code is grpc.StatusCode.UNAVAILABLE and (not connected or _ON_THE_WAY.search(detail)):
        raise Unavailable(cause=cause, headers=[("retry-after", "1")])
    if _ON_THE_WAY.search(detail):
        raise UpstreamError("The connection to the service behind this route failed.", cause=cause)
    trailers = pairs(error.trailing_metadata())
    details = next((value for key, value in trailers if key == "grpc-status-details-bin"), b"")
    return GrpcReply(
        code.value[0],
        detail=detail,
        status_details=details if isinstance(details, bytes) else b"",
        metadata=pairs(error.initial_metadata()),
        trailers=trailers,
    )


def pairs(metadata: Any) -> Metadata:
    """gRPC's metadata as pairs; none where there is none."""
    return tuple(metadata) if metadata else ()
