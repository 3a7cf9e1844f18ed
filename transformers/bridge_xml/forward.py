"""What both transformers do with an HTTP call and its reply: path, headers, and an upstream's error statuses."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from bridge.api import (
    JSON_TYPE,
    BadReply,
    BindError,
    Call,
    Fault,
    Headers,
    HttpReply,
    InvalidBody,
    Reply,
    RouteSpec,
    TooLarge,
    UpstreamError,
    UpstreamFault,
    fill_template,
    header,
    parse_json,
    parse_template,
    soap_fault,
    split_template,
    upstream_error,
)

#: Not forwarded: a partial document can't be translated (RFC 9110, section 14.2).
_PARTIAL = frozenset(("range", "if-range"))

#: Fields about the upstream's bytes (RFC 9110, sections 8 and 14; RFC 9530), which a translation changes.
_OF_THE_BYTES = frozenset(
    (
        "content-type",
        "content-length",
        "content-encoding",
        "content-md5",
        "content-digest",
        "repr-digest",
        "digest",
        "etag",
        "accept-ranges",
        "content-range",
    )
)


def target(route: RouteSpec) -> Callable[[Call], str]:
    """A function from a call to the upstream's path and query, compiled once.

    Without a path in `route.upstream` it is the request's own, else that path with the parameters as they were sent,
    still percent-encoded.

    :raises bridge.api.BindError: it names a parameter that the route's own path doesn't have.
    """
    template = route.upstream.path
    if not template:
        return attrgetter("target")
    names = parse_template(route.route).names
    pieces = split_template(template)
    for name in pieces[1::2]:
        if name not in names:
            raise BindError(Fault(f"the path {route.route} has no parameter {name!r}", ("upstream",)))
    if len(pieces) == 1:
        return lambda call: template + call.target[len(call.path) :]

    return lambda call: fill_template(pieces, call.raw_params) + call.target[len(call.path) :]


def without_range(headers: Headers) -> list[tuple[str, str]]:
    """A request's `headers` without those that ask for a partial reply."""
    return [field for field in headers if field[0] not in _PARTIAL]


def with_body(inbound: HttpReply, body: bytes, content_type: tuple[str, str] = JSON_TYPE) -> Reply:
    """The reply with another body, without header fields about the old one."""
    fields = [field for field in inbound.headers if field[0] not in _OF_THE_BYTES]
    return Reply(inbound.status, [*fields, content_type], body)


def forward_reply(inbound: HttpReply) -> Reply:
    return Reply(inbound.status, list(inbound.headers), inbound.body)


def without_body(inbound: HttpReply) -> Reply:
    """Status and headers alone, for HEAD and for replies without a body."""
    fields = [field for field in inbound.headers if field[0] not in ("content-length", "content-type")]
    return Reply(inbound.status, fields)


def refuse_failure(inbound: HttpReply) -> None:
    """Callers never see the upstream's error pages and stack traces.

    :raises bridge.api.UpstreamError: its status is 500 or more, or is not one of a final reply.
    """
    if inbound.status >= 500:
        raise upstream_error(inbound)
    if inbound.status < 200:
        raise BadReply(cause=f"status {inbound.status} as a final answer")


def is_answer(call: Call, inbound: HttpReply) -> bool:
    """Whether a reply with a status of 400 or more is a SOAP Fault. That is an answer, not a failure: SOAP 1.1, section
    6.2, requires 500 for it. `call` gets it for the log."""
    coding = header(inbound.headers, "content-encoding")
    fault = soap_fault(inbound.body, content_type(inbound), coding) if inbound.body else None
    if fault is None:
        return False
    cause = f"SOAP fault {fault.code or 'without a code'}: {fault.reason}"
    call.fault = UpstreamFault(fault.reason, status=400 if fault.is_clients else 502, cause=cause)
    return True


def refusal(inbound: HttpReply) -> UpstreamError:
    """The problem for a status of 400 to 499 whose body is not forwarded."""
    return upstream_error(inbound)


def json_refusal(inbound: HttpReply) -> Reply:
    """A reply of 400 to 499 that is declared as JSON, unchanged.

    :raises bridge.api.UpstreamFault: it isn't JSON.
    """
    try:
        parse_json(inbound.body)
    except (InvalidBody, TooLarge):
        raise refusal(inbound) from None
    return forward_reply(inbound)


def excerpt(body: bytes) -> str:
    """The start of `body` in one line, for the log."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def content_type(inbound: HttpReply) -> str:
    return header(inbound.headers, "content-type")
