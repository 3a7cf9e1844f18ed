"""Which dialect a call speaks, by its method, content type and header fields."""

from __future__ import annotations

from bridge.api import JSON_TYPE, Call
from bridge_grpc.dialect import grpc_web
from bridge_grpc.dialect.connect import ConnectGet, ConnectUnary, query_of
from bridge_grpc.dialect.connect_stream import VERSION, ConnectStream
from bridge_grpc.dialect.interface import Dialect

_BY_TYPE: dict[str, Dialect] = {
    **grpc_web.FORMS,
    "application/proto": ConnectUnary(),
    "application/connect+proto": ConnectStream(),
    "application/connect+json": ConnectStream(json=True),
}
_JSON = ConnectUnary(json=True)
_GET = ConnectGet()


def dialect_of(call: Call) -> Dialect | None:
    """None: it is plain JSON, or nothing of ours.

    Connect's JSON is known from plain JSON by ``Connect-Protocol-Version: 1``, its GET from any other by
    ``connect=v1`` in the query; servers may insist on both.
    """
    if call.method == "POST":
        headers = call.headers
        if JSON_TYPE in headers:  # as nearly every call has it
            return _JSON if VERSION in headers else None
        kind = call.header("content-type").partition(";")[0].strip().lower()
        if kind == "application/json":
            return _JSON if VERSION in headers else None
        return _BY_TYPE.get(kind)
    if call.method == "GET" and "connect=" in call.query and query_of(call).get("connect") == b"v1":
        return _GET
    return None
