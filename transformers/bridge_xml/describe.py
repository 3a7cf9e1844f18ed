"""The operations of a route that has no schema, and the honest little that OpenAPI can say of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from bridge.api import HttpCodec, Operation, OperationDoc, RouteSpec

_PARAMETER = re.compile(r"\{([^{}*]+)\*?\}")
_BODILESS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))

#: Makes the OpenAPI part of one method.
Describer = Callable[[str], OperationDoc]


def operations(route: RouteSpec, codec: HttpCodec, describe: Describer) -> Sequence[Operation]:
    """One operation for each method that the route lists, or one for all of them."""
    return [
        Operation(
            name="any" if method == "*" else method.lower(),
            method=method,
            path="",
            codec=codec,
            describe=lambda method=method: describe(method),  # type: ignore[misc]  # bound early, on purpose
            upstream_name=f"{method} {route.upstream.path or route.route}",
        )
        for method in route.methods or ("*",)
    ]


def describer(
    route: RouteSpec,
    *,
    takes: str,
    answers: str,
    body: dict[str, Any] | None = None,
    reply: dict[str, Any] | None = None,
) -> Describer:
    """Says what is known: path parameters are strings, and bodies are of a type but of no schema.

    :param takes: the request's content type; `body` its schema, ``{}`` being anything.
    :param answers: the reply's content type; `reply` its schema.
    """

    def describe(method: str) -> OperationDoc:
        operation: dict[str, Any] = {
            "summary": f"The service behind {route.route}",
            "description": "The service behind it publishes no schema, so the shape of the bodies is its own.",
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in _PARAMETER.findall(route.route)
            ],
            "responses": {
                "200": {"description": "The service's answer.", "content": {answers: {"schema": reply or {}}}},
            },
        }
        if method not in _BODILESS:
            operation["requestBody"] = {"required": False, "content": {takes: {"schema": body or {}}}}
        return OperationDoc(operation)

    return describe
