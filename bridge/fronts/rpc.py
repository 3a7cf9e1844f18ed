"""What Connect and gRPC-Web share: status codes for the gateway's own problems, and the text of header fields."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridge.api.call import GrpcReply, Headers, Reply
from bridge.api.service import Service

#: Code -> slugs of problems. ``bad-request`` comes with several statuses, so it goes by its status.
_SLUGS = {
    1: "client-closed-request", 2: "upstream-fault", 3: "invalid-body invalid-parameter",
    4: "upstream-timeout deadline-exceeded",
    7: "forbidden", 8: "too-large head-too-large rate-limited", 9: "precondition-failed", 10: "conflict",
    12: "not-found method-not-allowed unsupported-media-type unsupported-coding",
    13: "internal bad-reply reply-too-large",
    14: "upstream-failed upstream-unavailable upstream-unknown upstream-auth-failed issuer-unavailable overloaded"
    " shutting-down",
    16: "unauthorized",
}  # fmt: skip
BY_SLUG = {slug: code for code, slugs in _SLUGS.items() for slug in slugs.split()}
#: HTTP status -> code of other problems. 401, 403, 404, 429, 502, 503: "HTTP to gRPC Status Code Mapping"; the gateway
#: knows the cause where that has to say UNKNOWN or INTERNAL.
BY_STATUS = {
    400: 3, 401: 16, 403: 7, 404: 12, 405: 12, 406: 3, 408: 4, 409: 10, 412: 9, 413: 8, 415: 12, 426: 12, 429: 8,
    431: 8, 499: 1, 500: 13, 501: 12, 502: 14, 503: 14, 504: 4, 505: 12, 507: 8,
}  # fmt: skip
_UNKNOWN = 2
_URN = "urn:bridge:problem:"
_NAME = re.compile(r"[0-9a-z_.-]+")  # gRPC over HTTP/2: Header-Name
_VALUE = re.compile(r"[\x20-\x7e]*")  # ASCII-Value


def code_of(problem: Mapping[str, Any]) -> int:
    """The status code of a problem+json object; that of a service's own status is kept."""
    grpc = problem.get("grpc")
    if isinstance(grpc, Mapping) and isinstance(grpc.get("code"), int) and grpc["code"]:
        return int(grpc["code"])
    slug = str(problem.get("type", "")).removeprefix(_URN)
    return BY_SLUG.get(slug) or BY_STATUS.get(problem.get("status", 0), _UNKNOWN)


def as_status(service: Service, problem: Mapping[str, Any], headers: Headers = ()) -> GrpcReply:
    """A problem of the gateway's as the status that a service would have answered with."""
    return service.status(code_of(problem), problem, headers)


def kept(reply: Reply) -> list[tuple[str, str]]:
    """The fields of a refusal that clients of every protocol get: all but those of its body."""
    return [(name, value) for name, value in reply.headers if name != "content-type"]


def unpadded(data: bytes) -> str:
    """Base64 as both protocols send it."""
    return binascii.b2a_base64(data, newline=False).decode("ascii").rstrip("=")


def lawful(fields: Iterable[tuple[str, str]], reserved: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Those of `fields` that are Custom-Metadata: valid, and with no name that begins with one of `reserved`."""
    for name, value in fields:
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value) and not name.startswith(reserved):
            yield name, value
