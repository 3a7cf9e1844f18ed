"""What every operation answers when something goes wrong, and the fields that stand on every response.

The problems are those of `bridge.errors`, so their slugs and titles are written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.errors import (
    BadReply,
    ClientError,
    Forbidden,
    InvalidBody,
    InvalidParameter,
    RateLimited,
    RequestError,
    Timeout,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedCoding,
    UnsupportedMediaType,
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamFault,
)

PROBLEM = "Problem"
_TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"

#: RFC 9457, section 3, with the members that the gateway adds.
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "An error as problem details (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "trace_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "What kind: `urn:bridge:problem:SLUG`."},
        "title": {"type": "string", "description": "What kind, in words; the same for every problem of its type."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
        "code": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The same as `status`."},
        "detail": {"type": "string", "description": "What happened this time, for people."},
        "trace_id": {
            "type": "string",
            "pattern": "^[0-9a-f]{32}$",
            "description": "The call's id, as in `X-Trace-ID` and in the gateway's log.",
        },
        "errors": {
            "type": "array",
            "description": "Each thing that is wrong with the request.",
            "items": {
                "type": "object",
                "required": ["reason"],
                "properties": {
                    "pointer": {"type": "string", "description": "Where in the body (JSON pointer, RFC 6901)."},
                    "parameter": {"type": "string", "description": "Which parameter."},
                    "reason": {"type": "string"},
                },
            },
        },
        "fault": {
            "type": "object",
            "description": "The SOAP Fault of the service behind the route.",
            "properties": {"code": {"type": "string"}, "reason": {"type": "string"}, "detail": {}},
        },
        "grpc": {
            "type": "object",
            "description": "The gRPC status of the service behind the route, with its typed details.",
            "properties": {
                "code": {"description": "The canonical status code."},
                "details": {"type": "array", "items": {}},
            },
        },
    },
}

# Names of components -> description, and the problems that come with it. 404 and 405 are missing on purpose: the
# gateway makes them only where nothing is published, and an upstream's own 404 is its transformer's to describe.
_KINDS: dict[str, tuple[str, tuple[type[RequestError], ...]]] = {
    "BadRequest": ("The request breaks the operation's schema.", (InvalidBody, InvalidParameter, ClientError)),
    "Unauthorized": ("The credentials are missing, expired or not meant for this route.", (Unauthorized,)),
    "Forbidden": ("The caller is known, but may not do this.", (Forbidden,)),
    "TooLarge": ("The request is larger than the gateway reads.", (TooLarge,)),
    "UnsupportedMediaType": (
        "The operation does not read that content type or content-coding; `Accept-Encoding` names codings it reads.",
        (UnsupportedMediaType, UnsupportedCoding),
    ),
    "RateLimited": ("Too many calls; `Retry-After` says when to try again.", (RateLimited,)),
    "BadGateway": (
        "The service behind the route failed or refused.",
        (UpstreamFault, BadReply, UpstreamError, UpstreamAuthFailed),
    ),
    "Unavailable": ("The service behind the route can't be reached.", (Unavailable,)),
    "Timeout": ("The service behind the route took too long.", (Timeout,)),
    "Problem": ("Any other error.", ()),
}
_LIMITED = ("RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

#: By status. OpenAPI 3.1 calls what is not listed ``default``.
_ALWAYS = {
    "400": "BadRequest",
    "502": "BadGateway",
    "503": "Unavailable",
    "504": "Timeout",
    "default": "Problem",
}

HEADERS: dict[str, dict[str, Any]] = {
    "Deprecation": {
        "description": "When the operation was or will be deprecated (RFC 9745): `@` and Unix seconds.",
        "schema": {"type": "string", "pattern": "^@[0-9]+$"},
        "example": "@1688169599",
    },
    "Link": {
        "description": "Pages for people about the deprecation and the sunset (RFC 8288), by `rel`.",
        "schema": {"type": "string"},
        "example": '<https://example.org/changes>; rel="deprecation"',
    },
    "RateLimit": {
        "description": "What is left now, in the IETF's structured form (draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"default";r=49;t=1',
    },
    "RateLimit-Policy": {
        "description": "The limit itself: `q` calls in a window of `w` seconds.",
        "schema": {"type": "string"},
        "example": '"default";q=50;w=1',
    },
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "Sunset": {
        "description": "When the operation is expected to be gone (RFC 8594), as an HTTP date.",
        "schema": {"type": "string"},
        "example": "Thu, 31 Dec 2026 23:59:59 GMT",
    },
    "X-RateLimit-Limit": {"description": "Calls allowed in a window.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "Calls left in this window.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Seconds until calls are there again.", "schema": {"type": "integer"}},
    "X-Trace-ID": {
        "description": "The call's id; the gateway's log and the upstream know it by the same.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "example": _TRACE_ID,
    },
}


@dataclass(frozen=True, slots=True)
class OperationTraits:
    """What of an operation decides which problems and fields its responses can have.

    :ivar secured: it asks for credentials. :ivar judged: valid credentials are not enough.
    :ivar limited: it has a limit of calls.
    :ivar body: it takes a body. :ivar typed: not of every content type.
    :ivar lifecycle: the fields that tell of its end, as they are written.
    """

    secured: bool = False
    judged: bool = False
    limited: bool = False
    body: bool = False
    typed: bool = False
    lifecycle: tuple[str, ...] = ()


def problem_names(operation: OperationTraits) -> dict[str, str]:
    """Status -> component name, of the problems that the gateway can answer with."""
    names = dict(_ALWAYS)
    if operation.secured:
        names["401"] = "Unauthorized"
    if operation.judged:
        names["403"] = "Forbidden"
    if operation.body:
        names["413"] = "TooLarge"
    if operation.body and operation.typed:
        names["415"] = "UnsupportedMediaType"
    if operation.limited:
        names["429"] = "RateLimited"
    return names


def header_refs(operation: OperationTraits) -> dict[str, Any]:
    """The fields that the gateway puts on every response."""
    names = ("X-Trace-ID", *(_LIMITED if operation.limited else ()), *operation.lifecycle)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def problem_responses(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The Response Objects for ``components.responses``."""
    return {name: _response(name) for name in sorted(names)}


def _response(name: str) -> dict[str, Any]:
    description, kinds = _KINDS[name]
    headers = header_refs(OperationTraits(limited=name == "RateLimited"))
    if name in ("RateLimited", "Unavailable"):
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}
    if kinds:
        media["examples"] = {kind.slug: {"value": _example(kind)} for kind in kinds}
    return {"description": description, "headers": headers, "content": {"application/problem+json": media}}


_DETAILS: Mapping[type[RequestError], str] = {
    InvalidBody: "it must be a whole number (at /items/0/quantity).",
    InvalidParameter: "page: no parameter of this operation has this name.",
    ClientError: "The request needs exactly one valid Host header.",
    Unauthorized: "This route needs a bearer token.",
    Forbidden: "The token's roles do not allow this.",
    TooLarge: "A request body may have at most 8388608 bytes.",
    UnsupportedMediaType: "This operation reads application/json, not text/plain.",
    UnsupportedCoding: "The body is encoded as 'br'; this operation reads gzip, deflate, and bodies without a coding.",
    RateLimited: "You have made more calls than this route allows. Try again in a moment.",
    UpstreamFault: "The number is not known.",
    BadReply: "The answer does not follow the service's own contract.",
    UpstreamError: "The service answered with an error.",
    UpstreamAuthFailed: "The gateway got no token for the service behind this route.",
    Unavailable: "No instance of the service answers. Try again in a moment.",
    Timeout: "The service did not answer in time.",
}


def _example(kind: type[RequestError]) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": f"urn:bridge:problem:{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "code": kind.status,
        "detail": _DETAILS[kind],
        "trace_id": _TRACE_ID,
    }
    if kind is InvalidBody:
        example["errors"] = [{"pointer": "/items/0/quantity", "reason": "it must be a whole number"}]
    if kind is InvalidParameter:
        example["errors"] = [{"parameter": "page", "reason": "no parameter of this operation has this name"}]
    return example
