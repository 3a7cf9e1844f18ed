"""A service's error status as the gateway's own error, for codecs that do not read error replies themselves."""

from __future__ import annotations

from bridge.api.call import HttpReply
from bridge.errors import UpstreamError, UpstreamFault

#: Header fields of an error that clients act on (RFC 9110, sections 10.2.1, 10.2.3 and 11.6.1).
_OF_A_REFUSAL = frozenset(("allow", "retry-after", "www-authenticate"))


def upstream_error(inbound: HttpReply) -> UpstreamError:
    """The error for a reply with a status of 400 or more. Its body is only logged: callers never see a service's error
    pages and stack traces. 400 to 499 keep their status; others are 502."""
    body = " ".join(inbound.body[:200].decode("utf-8", "replace").split())
    members, cause = {"upstream_status": inbound.status}, f"status {inbound.status}: {body}"
    if inbound.status < 500:
        return UpstreamFault(
            f"The service behind this route refused the call with status {inbound.status}.",
            status=inbound.status,
            members=members,
            headers=[field for field in inbound.headers if field[0] in _OF_A_REFUSAL],
            cause=cause,
        )
    return UpstreamError(
        f"The service behind this route failed with status {inbound.status}.",
        members=members,
        headers=[field for field in inbound.headers if field[0] == "retry-after"],
        cause=cause,
    )
