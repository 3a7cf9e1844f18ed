"""The operations of a route without a schema, and their OpenAPI parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bridge.api import WEBSOCKET, HttpCodec, Operation, OperationDoc, RouteSpec, ignored_query, parse_template

_BODILESS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))

_WEBSOCKET = "A WebSocket can be opened at the same path (by GET); its messages are those of the service."

#: From a method to its OpenAPI part.
Describer = Callable[[str], OperationDoc]


def operations(
    route: RouteSpec, codec: HttpCodec, describe: Describer, ignore_query: Sequence[str] = ()
) -> Sequence[Operation]:
    """One operation for each method that the route lists, or one for all of them.

    :param ignore_query: names of query parameters, as in the option of that name.
    """
    return [
        Operation(
            name="any" if method == "*" else method.lower(),
            method=method,
            path="",
            codec=codec,
            describe=lambda method=method: describe(method),  # type: ignore[misc]  # bound early, on purpose
            upstream_name=f"{method} {route.upstream.path or route.route}",
            ignored_query=ignored_query(ignore_query),
        )
        for method in route.methods or ("*",)
    ]


def with_websocket(route: RouteSpec, published: Sequence[Operation], codec: HttpCodec) -> Sequence[Operation]:
    """`published`, with the operation of the route's WebSockets; the description of GET, or of all methods, tells of
    it, since OpenAPI has no place for it."""
    plain = next(operation for operation in published if operation.method in ("GET", "*"))

    def describe() -> OperationDoc:
        doc = plain.describe()
        operation = doc.operation
        operation["description"] = f"{operation['description']} {_WEBSOCKET}"
        operation["x-websocket"] = True
        return doc

    sockets = replace(
        plain,
        name="websocket",
        method=WEBSOCKET,
        codec=codec,
        upstream_name=f"{WEBSOCKET} {route.upstream.path or route.route}",
    )
    others = [replace(each, describe=describe) if each is plain else each for each in published]
    return [*others, sockets]


_UNKNOWN = "The service behind it publishes no schema, so the shape of the bodies is its own."
_AS_THEY_COME = "Its answers come as they are, SOAP Faults with their own status, too; its other failures are problems."


def describer(
    route: RouteSpec,
    *,
    request_type: str,
    reply_type: str,
    body: dict[str, Any] | None = None,
    reply: dict[str, Any] | None = None,
) -> Describer:
    """Describes path parameters, all strings, and the media types of the bodies.

    :param request_type: the request's content type; `body` its schema, ``{}`` being anything.
    :param reply_type: the reply's content type; `reply` its schema.
    """

    def describe(method: str) -> OperationDoc:
        operation: dict[str, Any] = {
            "summary": f"The service behind {route.route}",
            "description": f"{_UNKNOWN} {_AS_THEY_COME}" if route.transform.response == "passthrough" else _UNKNOWN,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in parse_template(route.route).names
            ],
            "responses": {
                "200": {"description": "The service's answer.", "content": {reply_type: {"schema": reply or {}}}},
            },
        }
        if method not in _BODILESS:
            operation["requestBody"] = {"required": False, "content": {request_type: {"schema": body or {}}}}
        return OperationDoc(operation)

    return describe
