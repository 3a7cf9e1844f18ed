"""What both transformers do with an HTTP call and its answer: path, headers, and an upstream's error statuses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

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
    header,
    parse_json,
)

_PARAMETER = re.compile(r"\{([^{}*]+)\*?\}")

#: A part of a document can't be translated (RFC 9110, section 14.2), so none is asked for.
_PARTIAL = frozenset(("range", "if-range"))

#: They speak of the bytes as the upstream sent them (RFC 9110, sections 8 and 14; RFC 9530), not of a translation.
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

_LINKS = frozenset(("location", "content-location"))

#: What a refusal's headers tell the caller to do (RFC 9110, sections 10.2.1, 10.2.3 and 11.6.1).
_OF_A_REFUSAL = frozenset(("allow", "retry-after", "www-authenticate"))


def target(route: RouteSpec) -> Callable[[Call], str]:
    """How a call's path and query become the upstream's, worked out once.

    Without a path in `route.upstream` it is the request's own, else that path with the parameters filled in as they
    were sent, still percent-encoded.

    :raises bridge.api.BindError: it names a parameter that the route's own path doesn't have.
    """
    template = route.upstream.path
    if not template:
        return lambda call: f"{call.path}?{call.query}" if call.query else call.path
    known = {found[1] for found in _PARAMETER.finditer(route.route)}
    # Texts stand at even places, names at odd ones.
    pieces = _PARAMETER.split(template)
    for name in pieces[1::2]:
        if name not in known:
            raise BindError(Fault(f"the path {route.route} has no parameter {name!r}", key="upstream"))
    if len(pieces) == 1:
        return lambda call: f"{template}?{call.query}" if call.query else template

    def fill(call: Call) -> str:
        given = call.raw_params
        path = "".join(given[piece] if odd & 1 else piece for odd, piece in enumerate(pieces))
        return f"{path}?{call.query}" if call.query else path

    return fill


def whole(headers: Headers) -> list[tuple[str, str]]:
    """A request's `headers` without those that ask for a part of the answer."""
    return [field for field in headers if field[0] not in _PARTIAL]


def hide_address(inbound: HttpReply, upstream: str) -> None:
    """Where a reply points the caller to the upstream itself (by its mesh name or by an address), only the path stays.

    A caller can't go there, and shouldn't learn of it. Links to other hosts stay.
    """
    if inbound.status >= 400 or not any(name in _LINKS for name, _ in inbound.headers):
        return
    inbound.headers = [
        (name, _path_only(value, upstream) if name in _LINKS else value) for name, value in inbound.headers
    ]


def _path_only(link: str, upstream: str) -> str:
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
    except ValueError:
        return "/"
    if not host or (host != upstream.lower() and not _is_address(host)):
        return link
    return parts._replace(scheme="", netloc="", path=parts.path or "/").geturl()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def rewritten(inbound: HttpReply, body: bytes, content_type: tuple[str, str] = JSON_TYPE) -> Reply:
    """The reply with another body; headers that spoke of the old bytes go."""
    kept = [field for field in inbound.headers if field[0] not in _OF_THE_BYTES]
    return Reply(inbound.status, [*kept, content_type], body)


def as_it_came(inbound: HttpReply) -> Reply:
    return Reply(inbound.status, list(inbound.headers), inbound.body)


def without_body(inbound: HttpReply) -> Reply:
    """Status and headers alone, for HEAD and for answers that have no body."""
    kept = [field for field in inbound.headers if field[0] not in ("content-length", "content-type")]
    return Reply(inbound.status, kept)


def refuse_failure(inbound: HttpReply) -> None:
    """The upstream's own failures never get through: their pages and traces are nobody's business.

    :raises bridge.api.UpstreamError: its status is 500 or more, or none that a final answer can have.
    """
    if inbound.status >= 500:
        raise UpstreamError(
            f"The service behind this route failed with status {inbound.status}.",
            members={"upstream_status": inbound.status},
            headers=[field for field in inbound.headers if field[0] == "retry-after"],
            cause=f"status {inbound.status}: {excerpt(inbound.body)}",
        )
    if inbound.status < 200:
        raise BadReply(cause=f"status {inbound.status} as a final answer")


def refusal(inbound: HttpReply) -> UpstreamFault:
    """A refusal (400 to 499) whose body says nothing that the caller may see: the status, in our own words."""
    return UpstreamFault(
        f"The service behind this route refused the call with status {inbound.status}.",
        status=inbound.status,
        members={"upstream_status": inbound.status},
        headers=[field for field in inbound.headers if field[0] in _OF_A_REFUSAL],
        cause=f"status {inbound.status}: {excerpt(inbound.body)}",
    )


def json_refusal(inbound: HttpReply) -> Reply:
    """A refusal that says it is JSON, as it came, if it is.

    :raises bridge.api.UpstreamFault: it isn't, so it may be anything.
    """
    try:
        parse_json(inbound.body)
    except (InvalidBody, TooLarge):
        raise refusal(inbound) from None
    return as_it_came(inbound)


def excerpt(body: bytes) -> str:
    """The start of `body` in one line, for the log."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def content_type(inbound: HttpReply) -> str:
    return header(inbound.headers, "content-type")
