"""Published operations as the table would hand them over, with codecs that are never called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from bridge.admin.openapi import PublishedOperation, build_document
from bridge.api import Call, HttpReply, HttpRequest, Operation, OperationDoc, Reply, RouteSpec


class NoCodec:
    def request(self, call: Call) -> HttpRequest:
        raise AssertionError("a document is made without any call")

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        raise AssertionError("a document is made without any call")


Publish = Callable[..., PublishedOperation]


@pytest.fixture
def publish() -> Publish:
    def make(
        route: str = "/v1/vat/{countryCode}",
        path: str = "",
        method: str = "GET",
        *,
        name: str = "checkVat",
        route_id: str = "1",
        doc: OperationDoc | Callable[[], OperationDoc] | None = None,
        security: Any = (),
        schemes: Any = None,
        **more: Any,
    ) -> PublishedOperation:
        fields = {"upstream": "vat-svc:8080", "auth": "none", "transform": {"request": "soap"}} | more
        found = doc or OperationDoc({"responses": {"200": {"description": "It is valid."}}})
        describe = found if callable(found) else lambda: found
        return PublishedOperation(
            route_id,
            RouteSpec.model_validate({"route": route} | fields),
            Operation(name, method, path, NoCodec(), describe, upstream_name="urn:checkVat"),
            security,
            schemes or {},
        )

    return make


@pytest.fixture
def document() -> Callable[..., dict[str, Any]]:
    """Build, and judge by the independent validator, every document of these tests."""

    def make(*operations: PublishedOperation, **more: Any) -> dict[str, Any]:
        whole: dict[str, Any] = {"title": "Bridge", "version": "1"} | more
        built = build_document(operations, **whole)
        OpenAPIV31SpecValidator(built).validate()
        return built

    return make
