"""The record of one request, the source of its line in the access log and of its metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Record:
    """One request, filled in while it is handled. Times are seconds, sizes bytes; status 0: there was no status.

    :ivar limit: the policy that refused the call; ``""``: none did.
    :ivar close_code: of a relayed WebSocket (RFC 6455, section 7.4); 0: it was none.
    :ivar problem: the end of the ``type`` of the problem that the gateway answered with; ``""``: it was none.
    :ivar client_failed: the call failed by what the client sent or did not send. In protocols that put a status of
        their own into the response, that of HTTP does not say so.
    :ivar gateway_failed: the gateway could not handle the call or ended before it: no failure of its service.
    """

    at: float
    trace_id: str
    method: str
    path: str
    query: str = ""
    host: str = ""
    peer: str = ""
    route: str = ""
    operation: str = ""
    tenant: str = ""
    subject: str = ""
    upstream: str = ""
    status: int = 0
    upstream_status: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    total: float = 0.0
    waited: float = 0.0
    translated: float = 0.0
    messages_up: int = 0
    messages_down: int = 0
    close_code: int = 0
    limit: str = ""
    cache: str = ""
    cause: str = ""
    problem: str = ""
    client_failed: bool = False
    gateway_failed: bool = False
    warnings: tuple[str, ...] = ()
