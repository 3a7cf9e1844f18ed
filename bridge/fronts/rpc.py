"""What Connect and gRPC-Web share: status codes for the gateway's own problems, and the text of header fields."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridge.api.call import GrpcReply, Headers, Reply
from bridge.api.service import Service

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
#: The rest. 401, 403, 404, 429, 502, 503: "HTTP to gRPC Status Code Mapping"; the gateway knows the cause where that
#: has to say UNKNOWN or INTERNAL.
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
