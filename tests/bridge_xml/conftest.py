"""Codecs bound as the gateway binds them, from a spec as a publisher writes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from bridge.api import HttpCodec, Operation, RouteSpec, Transformer
from bridge_xml import Passthrough, Xml

BindAll = Callable[..., Awaitable[Sequence[Operation]]]
Bind = Callable[..., Awaitable[HttpCodec]]


async def _operations(
    transformer: Transformer[Any], response: str, options: dict[str, Any], **spec: Any
) -> Sequence[Operation]:
    whole = {"route": "/v1/things/{id}", "upstream": "things-svc:8080", "auth": {"type": "none"}}
    name = transformer.name
    transform = {"request": name, "response": response} | ({name: options} if options else {})
    route = RouteSpec.model_validate(whole | {"transform": transform} | spec)
    return await transformer.bind(route, transformer.options.model_validate(route.transform.options))


@pytest.fixture
def passthrough_operations() -> BindAll:
    async def bind(response: str = "json", **spec: Any) -> Sequence[Operation]:
        return await _operations(Passthrough(), response, {}, **spec)

    return bind


@pytest.fixture
def xml_operations() -> BindAll:
    async def bind(response: str = "json", options: dict[str, Any] | None = None, **spec: Any) -> Sequence[Operation]:
        return await _operations(Xml(), response, options or {}, **spec)

    return bind


@pytest.fixture
def passthrough(passthrough_operations: BindAll) -> Bind:
    async def bind(response: str = "json", **spec: Any) -> HttpCodec:
        return cast(HttpCodec, (await passthrough_operations(response, **spec))[0].codec)

    return bind


@pytest.fixture
def xml(xml_operations: BindAll) -> Bind:
    async def bind(response: str = "json", options: dict[str, Any] | None = None, **spec: Any) -> HttpCodec:
        return cast(HttpCodec, (await xml_operations(response, options, **spec))[0].codec)

    return bind
