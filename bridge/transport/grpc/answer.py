"""The header sections of a gRPC reply (PROTOCOL-HTTP2, "Responses"), and the meaning of broken connections and streams.

Sections with the same bytes are parsed once (`bridge.transport.http2.fields`).
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode
from collections.abc import Sequence
from urllib.parse import unquote

from bridge.api.call import GrpcReply
from bridge.api.transport import Attempt, InstanceVerdict, Outcome
from bridge.errors import BadReply, RequestError, Timeout, Unavailable, UpstreamError
from bridge.http2 import frames
from bridge.transport.deadline import TICK
from bridge.transport.http2.fields import Fields

Metadata = Sequence[tuple[str, str | bytes]]

UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 2, 4, 7, 8, 12
CANCELLED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 1, 13, 14, 16

#: Seconds before our deadline from which a service's status says that it has noticed it: clocks and timers differ.
SLACK = {DEADLINE_EXCEEDED: 0.05, CANCELLED: 0.005}

#: The protocol's own fields, which are not metadata.
_PROTOCOL = frozenset(
    ("content-type", "grpc-status", "grpc-message", "grpc-encoding", "grpc-accept-encoding", "te", "trailer")
)

#: doc/http-grpc-status-mapping.md: the code for an HTTP status without ``grpc-status``.
_HTTP = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}

#: PROTOCOL-HTTP2, "Errors": the code for a reset; INTERNAL for all others.
_RESET = {
    frames.REFUSED_STREAM: UNAVAILABLE,
    frames.CANCEL: CANCELLED,
    frames.ENHANCE_YOUR_CALM: RESOURCE_EXHAUSTED,
    frames.INADEQUATE_SECURITY: PERMISSION_DENIED,
}

_CODE = re.compile(r"[0-9]{1,10}", re.ASCII)
_MAX_CODE = 2**31 - 1  # google.rpc.Status, code: an int32

_RETRY_AFTER = (("retry-after", "1"),)
CLOSING = "the gateway is shutting down"  #: the cause when the gateway closes a connection
_NOT_GRPC = "The service behind this route does not answer in gRPC."


class Answer:
    """One parsed header section.

    :ivar code: of ``grpc-status``; None without one.
    :ivar metadata: the fields that are not the protocol's own; ``-bin`` values as bytes.
    :ivar coding: of the messages that follow.
    :ivar fault: why the section is not a valid beginning of a gRPC reply; ``""`` if it is.
    """

    __slots__ = ("code", "coding", "details", "fault", "message", "metadata", "status")

    def __init__(self, fields: Fields) -> None:
        self.status = fields.status
        self.code: int | None = None
        self.coding = "identity"
        self.message = ""
        self.details = b""
        self.fault = fields.fault
        content = ""
        metadata: list[tuple[str, str | bytes]] = []
        for name, value in fields.pairs:
            if name == "grpc-status":
                # "Status → 1*DIGIT": codes that are not defined stay what they are.
                self.code = int(value) if _CODE.fullmatch(value) and int(value) <= _MAX_CODE else UNKNOWN
            elif name == "grpc-message":
                self.message = unquote(value, errors="replace")
            elif name == "grpc-encoding":
                self.coding = value
            elif name == "content-type":
                content = value
            elif name in _PROTOCOL:
                continue
            elif name.endswith("-bin"):
                self._binary(name, value, metadata)
            else:
                metadata.append((name, value))
        self.metadata: Metadata = tuple(metadata)
        if not self.fault and self.status is not None and (self.code is None or self.status < 200):
            # "application/grpc" [("+proto" / "+json" / {custom})]; application/grpc-web is something else
            if self.status != 200:
                self.fault = f"HTTP status {self.status}"
            elif content[:16] != "application/grpc" or content[16:17] not in ("", "+", ";"):
                self.fault = f"content-type {content[:80]!r}"

    def _binary(self, name: str, value: str, metadata: list[tuple[str, str | bytes]]) -> None:
        for part in value.split(","):  # several values of one name may be joined
            text = part.strip()
            try:
                raw = b64decode(text + "=" * (-len(text) % 4), validate=True)
            except (binascii.Error, ValueError):
                self.fault = self.fault or f"{name} is no base64"
                return
            metadata.append((name, raw))
            if name == "grpc-status-details-bin":
                self.details = raw


def read(fields: Fields) -> Answer:
    """`fields`, parsed once for all replies with the same bytes."""
    answer: Answer | None = fields.memo
    if answer is None:
        answer = fields.memo = Answer(fields)
    return answer


def broken_section(fields: Fields, answer: Answer) -> Attempt:
    """The outcome of a call whose reply has an invalid section."""
    cause = answer.fault or "an answer without a status"
    if fields.large:
        error: RequestError = BadReply("The service's answer bears more metadata than the gateway takes.")
        return Attempt(error, RESOURCE_EXHAUSTED)
    code = _HTTP.get(answer.status or 200, UNKNOWN) if answer.status != 200 else UNKNOWN
    if code == UNAVAILABLE:  # a proxy reports that the service is not available
        own = [(name, value) for name, value in answer.metadata if name == "retry-after" and isinstance(value, str)]
        error = Unavailable(cause=cause, headers=own[:1] or list(_RETRY_AFTER))
        return Attempt(error, code, Outcome.RETRIABLE, InstanceVerdict.BAD)
    return Attempt(BadReply(_NOT_GRPC, cause=cause), code)


def reset(code: int, cause: str, *, committed: bool, local: bool) -> Attempt:
    """The outcome of a call whose stream was reset.

    :param committed: the reply had begun.
    :param local: reset by us, because of a protocol error.
    """
    if local:
        return Attempt(BadReply(_NOT_GRPC, cause=cause), INTERNAL)
    status = _RESET.get(code, INTERNAL)
    error: RequestError
    if code in (frames.REFUSED_STREAM, frames.ENHANCE_YOUR_CALM):
        error = Unavailable(cause=cause, headers=list(_RETRY_AFTER))
    else:
        error = UpstreamError("The service behind this route broke off the call.", cause=cause)
    if code == frames.REFUSED_STREAM and not committed:  # RFC 9113, section 8.7
        return Attempt(error, status, Outcome.NOT_PROCESSED)
    return Attempt(
        error, status, _after(committed), InstanceVerdict.BAD if status == UNAVAILABLE else InstanceVerdict.LATE
    )


def lost(cause: str, *, committed: bool, untouched: bool) -> Attempt:
    """The outcome of a call whose connection was lost."""
    detail = "The gateway is shutting down." if cause == CLOSING else ""
    error = Unavailable(detail, cause=cause, headers=list(_RETRY_AFTER))
    if untouched and not committed:
        return Attempt(error, UNAVAILABLE, Outcome.NOT_PROCESSED)
    return Attempt(error, UNAVAILABLE, _after(committed), InstanceVerdict.BAD)


def by_deadline(attempt: Attempt, remaining: float) -> Attempt:
    """`attempt`, a failure; a timeout instead if the deadline ended the call.

    The service has the deadline, too (``grpc-timeout``), and may notice it before our timer does. Whatever fails at the
    deadline or later fails because of it. A moment before, only a service that cancels the call, or reports the
    deadline, may mean it: its timer may be that much early.

    :param remaining: seconds until our deadline, by a clock that may be `TICK` late.
    """
    if not attempt.code or remaining > SLACK.get(attempt.code, TICK):
        return attempt
    result = attempt.result
    cause = (result.cause or str(result)) if isinstance(result, RequestError) else f"status {attempt.code}"
    timeout = Timeout(cause=f"the deadline passed, the service noticed it first: {cause}")
    return Attempt(timeout, DEADLINE_EXCEEDED, attempt.outcome, InstanceVerdict.LATE)


def final_attempt(answer: Answer, metadata: Metadata | None, message: bytes = b"", *, goaway: str = "") -> Attempt:
    """The outcome of a call whose trailers have arrived.

    :param metadata: of the initial section; None without one.
    :param goaway: why the service closes the connection, if it does. A server that shuts down answers UNAVAILABLE for
        calls in progress: that counts as a lost connection, unless the service has added a message.
    """
    code, committed = answer.code, metadata is not None
    assert code is not None
    if not code:
        reply = GrpcReply(0, message, metadata=metadata or (), trailers=answer.metadata)
        return Attempt(reply, 0, _FINAL, _FINE)
    if goaway and code == UNAVAILABLE and not answer.metadata:
        return lost(f"{goaway} ({answer.message})", committed=committed, untouched=False)
    reply = GrpcReply(
        code,
        detail=answer.message,
        status_details=answer.details,
        metadata=metadata or (),
        trailers=answer.metadata,
    )
    return Attempt(
        reply, code, _after(committed), _VERDICTS.get(code, InstanceVerdict.ALIVE), pushback(answer.metadata)
    )


_FINAL, _FINE = Outcome.FINAL, InstanceVerdict.FINE
_VERDICTS = {UNAVAILABLE: InstanceVerdict.BAD, DEADLINE_EXCEEDED: InstanceVerdict.LATE}
_PUSHBACK = "grpc-retry-pushback-ms"
_MILLISECONDS = re.compile(r"[0-9]{1,9}")


def _after(committed: bool) -> Outcome:
    """gRFC A6, "When Retries are Valid": a service that has begun to reply is committed."""
    return Outcome.FINAL if committed else Outcome.RETRIABLE


def pushback(trailers: Metadata) -> float | None:
    """Seconds that the service asks to wait (gRFC A6, "Pushback"); infinite if it wants no retry or the value is
    invalid; None without the field."""
    value = next((value for name, value in trailers if name == _PUSHBACK), None)
    if value is None:
        return None
    return int(value) / 1000 if isinstance(value, str) and _MILLISECONDS.fullmatch(value) else math.inf
