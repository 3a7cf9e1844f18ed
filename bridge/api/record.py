"""The record of one request, from which its line in the access log and its metrics are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Record:
    """One request, filled in on its way. Times are seconds, sizes bytes; a status of 0: none was reached."""

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
    cache: str = ""
    cause: str = ""
    warnings: tuple[str, ...] = ()
