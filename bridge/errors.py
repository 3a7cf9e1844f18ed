"""Every error the gateway raises on purpose, as one tree.

::

    BridgeError
    ├── SetupError            something an operator or publisher wrote is wrong; found before any request
    │   ├── SettingsError         an environment variable or --config key
    │   ├── SpecError             a route spec: file, line, key
    │   ├── BindError             a spec is well formed, but its WSDL, proto or options don't compile
    │   │   └── Unreachable           … or can't be reached now; it is tried again
    │   └── ConflictError         two routes or two plug-ins want the same name
    └── RequestError          one call went wrong; carries what problem+json needs
        ├── ClientError           4xx: the caller can mend it
        ├── StoreError            503, 507: what the gateway keeps can't be read or written
        ├── Overloaded            503: the gateway has too much to do
        ├── LimitsUnavailable     503: calls can't be counted
        ├── ShuttingDown          503: the gateway ends
        └── UpstreamError         5xx: the service behind the gateway failed

`problem.py` is the only module that turns any of them into bytes, and `cli.py` the only one that prints them.
Each class of `RequestError` carries its HTTP status, problem slug and title; an instance adds the sentence for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class BridgeError(Exception):
    """The root: everything the gateway raises on purpose."""


# --- before any request ------------------------------------------------------------------------------------------


#: Leads from the top of a document to one of its values: keys of mappings, and places in lists from 0.
KeyPath = tuple[str | int, ...]


def key_of(path: KeyPath) -> str:
    """`path` as text for people: ``auth.roles``, ``http_rules[0].get``, ``headers["My.Block"].id``. A single key is not
    quoted."""
    if len(path) == 1:
        return str(path[0])
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif "." in step:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
        else:
            text += f".{step}" if text else step
    return text


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where: ``file:line: key: reason``. Parts that are not known are left out.

    :ivar path: of the key in the document that `file` holds, or in the route spec.
    """

    reason: str
    path: KeyPath = ()
    file: str = ""
    line: int = 0

    @property
    def key(self) -> str:
        return key_of(self.path)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (place, self.key, self.reason) if part)


class SetupError(BridgeError):
    """Something written down is wrong. `faults` holds every fault, not only the first."""

    def __init__(self, faults: str | Fault | Sequence[Fault]) -> None:
        if isinstance(faults, str):
            faults = Fault(faults)
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class SettingsError(SetupError):
    """A setting has a value that can't be used."""


class SpecError(SetupError):
    """A route spec breaks its schema."""


class BindError(SetupError):
    """A spec is well formed, yet what it names can't be compiled or reached."""


class Unreachable(BindError):
    """What a spec names can't be reached now. Its route is kept and tried again; other routes serve meanwhile."""


class FetchError(BindError):
    """A document that a spec names by URL can't be fetched, or is not what was expected.

    :ivar answered: whether a server gave an HTTP answer; without one, further requests to it are pointless.
    :ivar status: the HTTP status, where the reader of the message may know it; else 0.
    """

    def __init__(self, faults: str | Fault | Sequence[Fault], *, answered: bool = False, status: int = 0) -> None:
        super().__init__(faults)
        self.answered = answered
        self.status = status


class ConflictError(SetupError):
    """Two routes claim one method, host and path, or two plug-ins one name."""


# --- what is wrong with one body ---------------------------------------------------------------------------------


class Enough(Exception):
    """A `FaultList` is full. Its creator catches this and reports the faults that it holds."""


class FaultList(list[tuple[str, str]]):
    """Collects ``(pointer or name, reason)`` up to a limit: a body may hold a million faults, and describing them takes
    far longer than detecting them.

    :param limit: the limit. One fault more is taken, which shows that there are more, and `Enough` is raised.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def append(self, fault: tuple[str, str]) -> None:
        super().append(fault)
        if len(self) > self._limit:
            raise Enough

    def extend(self, faults: Iterable[tuple[str, str]]) -> None:
        for fault in faults:
            self.append(fault)

    def __iadd__(self, faults: Iterable[tuple[str, str]]) -> FaultList:  # type: ignore[override,misc]  # as list has it
        self.extend(faults)
        return self


# --- one request -------------------------------------------------------------------------------------------------


class RequestError(BridgeError):
    """One call failed. `status`, `slug` and `title` belong to the class; `detail` is a friendly sentence.

    `members` are added to the problem object (RFC 9457, section 3.2): ``errors``, ``fault``, ``grpc``.
    `headers` go on the response. `cause` is for the log only and never leaves the gateway.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "The gateway failed"

    def __init__(
        self,
        detail: str = "",
        *,
        members: Mapping[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        cause: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.members: Mapping[str, Any] = members or {}
        self.headers = tuple(headers)
        self.cause = cause
        if status is not None:
            self.status = status  # type: ignore[misc]  # one class may serve several statuses, as faults do


class ClientError(RequestError):
    status = 400
    slug = "bad-request"
    title = "The request can't be understood"


class InvalidBody(ClientError):
    """The body breaks its schema. `errors` lists each fault as ``{"pointer": RFC 6901, "reason": …}``."""

    slug = "invalid-body"
    title = "The body is not what this operation takes"

    def __init__(self, errors: Sequence[tuple[str, str]], detail: str = "") -> None:
        self.errors = tuple(errors)
        if not detail:
            count = len(self.errors)
            detail = (
                f"{self.errors[0][1]} (at {self.errors[0][0] or 'the top'})."
                if count == 1
                else f"{count} things in the body need mending; each is listed in errors."
            )
        super().__init__(detail, members={"errors": [{"pointer": at, "reason": why} for at, why in self.errors]})


class InvalidParameter(ClientError):
    """A path, query or header parameter is missing, unknown or of the wrong type."""

    slug = "invalid-parameter"
    title = "A parameter is not what this operation takes"

    def __init__(self, errors: Sequence[tuple[str, str]], detail: str = "") -> None:
        self.errors = tuple(errors)
        detail = detail or "; ".join(f"{name}: {why}" for name, why in self.errors) + "."
        super().__init__(detail, members={"errors": [{"parameter": name, "reason": why} for name, why in self.errors]})


class Unauthorized(ClientError):
    status = 401
    slug = "unauthorized"
    title = "Who is calling is not known"


class Forbidden(ClientError):
    """:ivar caller: subject and tenant of whoever is refused, for the log; empty where nobody is known."""

    caller: tuple[str, str] = ("", "")
    status = 403
    slug = "forbidden"
    title = "The caller may not do this"


class NotOwned(Forbidden):
    """A tenant's route would stand where another tenant or the operator publishes. `key` is the spec's."""

    def __init__(self, key: str, reason: str) -> None:
        self.key, self.reason = key, reason
        super().__init__(
            f"{reason[:1].upper()}{reason[1:]}.", members={"errors": [{"pointer": f"/{key}", "reason": reason}]}
        )


class NotFound(ClientError):
    status = 404
    slug = "not-found"
    title = "Nothing is published here"


class MethodNotAllowed(ClientError):
    status = 405
    slug = "method-not-allowed"
    title = "This path does not take that method"


class NotAcceptable(ClientError):
    status = 406
    slug = "not-acceptable"
    title = "This operation can't answer in what the request accepts"


class RequestTimeout(ClientError):
    """The client did not send all of its request in time."""

    status = 408
    slug = "request-timeout"
    title = "The request did not arrive in time"


class Conflict(ClientError):
    status = 409
    slug = "conflict"
    title = "That is taken"


class PreconditionFailed(ClientError):
    status = 412
    slug = "precondition-failed"
    title = "It has changed since you read it"


class TooLarge(ClientError):
    status = 413
    slug = "too-large"
    title = "The request is too large"


class UnsupportedMediaType(ClientError):
    status = 415
    slug = "unsupported-media-type"
    title = "This operation does not read that content type"


class UnsupportedCoding(ClientError):
    """The body has a content-coding that is not undone; ``Accept-Encoding`` on the response names those that are."""

    status = 415
    slug = "unsupported-coding"
    title = "This operation does not read that content-coding"


class InvalidSpec(ClientError):
    """A publisher's spec was checked and refused; `errors` holds key, line and reason of each fault."""

    slug = "invalid-spec"
    title = "The route spec can't be used"


class HeadTooLarge(ClientError):
    status = 431
    slug = "head-too-large"
    title = "The request's header is too large"


class UpgradeRequired(ClientError):
    """The request needs another protocol, or another version of it; the answer's fields name those there are."""

    status = 426
    slug = "upgrade-required"
    title = "The request needs another version of its protocol"


class RateLimited(ClientError):
    status = 429
    slug = "rate-limited"
    title = "Too many requests"


class Unsupported(ClientError):
    """The request uses a part of its protocol that the gateway does not implement (RFC 9110, section 15.6.2)."""

    status = 501
    slug = "not-implemented"
    title = "The gateway does not support this"


class ClientDisconnected(ClientError):
    """The client closed the connection before its request was complete. The answer is only logged."""

    status = 499
    slug = "client-closed-request"
    title = "The client closed the connection"


class StoreError(RequestError):
    """The store of routes and keys can't be used: locked, gone or damaged. Nothing was changed, and what is live stays
    live. `detail` names no file; `cause` is the same as a sentence for the operator, with the file."""

    status = 503
    slug = "store-unavailable"
    title = "The gateway's store can't be used just now"

    def __init__(self, detail: str, cause: str, *, retry_after: int) -> None:
        super().__init__(detail, cause=cause, headers=[("retry-after", str(retry_after))])


class InsufficientStorage(StoreError):
    """RFC 4918, section 11.5: a full disk, a quota, a limit on file sizes, a read-only file system."""

    status = 507
    slug = "insufficient-storage"
    title = "The gateway's store can't be written"


class Overloaded(RequestError):
    """The gateway itself has too much to do; nothing is wrong with the call or the service."""

    status = 503
    slug = "overloaded"
    title = "The gateway has too much to do just now"


class LimitsUnavailable(RequestError):
    """Calls can't be counted, since the server that counts them is away, and the operator wants none uncounted."""

    status = 503
    slug = "limits-unavailable"
    title = "Calls can't be counted just now"

    def __init__(self) -> None:
        super().__init__(
            "The gateway can't count calls just now, so it takes none. Try again in a moment.",
            headers=[("retry-after", "1")],
            cause="the server of BRIDGE_LIMITS is away",
        )


class ShuttingDown(RequestError):
    """The gateway ends before the call does; another instance of it may take the call."""

    status = 503
    slug = "shutting-down"
    title = "The gateway is shutting down"

    def __init__(self) -> None:
        super().__init__("The gateway is shutting down.", headers=[("retry-after", "1")])


class UpstreamError(RequestError):
    status = 502
    slug = "upstream-failed"
    title = "The service behind this route failed"


class BadReply(UpstreamError):
    """The upstream answered, but not in its own protocol or schema."""

    slug = "bad-reply"
    title = "The service behind this route gave an answer that can't be read"


class ReplyTooLarge(BadReply):
    """The reply is longer than the gateway takes (``BRIDGE_MAX_REPLY``)."""

    slug = "reply-too-large"
    title = "The answer of the service behind this route is larger than the gateway takes"


class UpstreamFault(UpstreamError):
    """The upstream reported a failure in its protocol's own words: a SOAP Fault, a gRPC status."""

    slug = "upstream-fault"
    title = "The service behind this route refused the call"


class Unavailable(UpstreamError):
    status = 503
    slug = "upstream-unavailable"
    title = "The service behind this route can't be reached"


class UnknownUpstream(Unavailable):
    """The mesh has no address for the route's upstream; nothing was sent."""

    slug = "upstream-unknown"
    title = "The service behind this route can't be reached: it has no address"


class IssuerUnavailable(UpstreamError):
    """A token can't be verified: its issuer's keys are unavailable. The caller is not at fault, so it is not 401."""

    status = 503
    slug = "issuer-unavailable"
    title = "The caller's token can't be checked just now"


class UpstreamAuthFailed(UpstreamError):
    """There are no credentials for the service, because of a token endpoint or a key of the gateway; nothing was sent
    to the service. 503 if the endpoint can't be reached."""

    slug = "upstream-auth-failed"
    title = "The gateway can't sign in to the service behind this route"


class Timeout(UpstreamError):
    status = 504
    slug = "upstream-timeout"
    title = "The service behind this route took too long"


class DeadlineExceeded(Timeout):
    """The time for the call was over within the gateway; no service was waited for at that moment."""

    slug = "deadline-exceeded"
    title = "The time for this call is over"


def is_gateways(error: Exception) -> bool:
    """Whether a call failed within the gateway, or at an issuer, so that its service is not to blame."""
    return isinstance(
        error, Overloaded | LimitsUnavailable | ShuttingDown | StoreError | IssuerUnavailable | UpstreamAuthFailed
    ) or not isinstance(error, RequestError)
