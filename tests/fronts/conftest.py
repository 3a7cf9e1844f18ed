"""A gateway in front of `grpc_flow.Flow`, over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bridge_grpc.conftest import bind, grpc_plugin, make_schema
from tests.grpc_flow import PROTO, Flow

__all__ = ["bind", "grpc_plugin", "make_schema"]

SPEC = """
route: /flow
upstream: flow-svc:50051
auth: {type: none}
%s
transform:
  request: grpc
  grpc: {protos: [flow.proto]%s}
"""


@dataclass
class Stage:
    """The service and the gateway before it."""

    flow: Flow
    gateway: Any

    @property
    def client(self) -> Any:
        return self.gateway.client

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.gateway.port}"


@pytest.fixture
async def flow(tmp_path: Path) -> AsyncIterator[Flow]:
    service = Flow(tmp_path)
    await service.server.start()
    yield service
    service.hold.set()
    await service.server.stop(None)


@pytest.fixture
def stage(start: Any, flow: Flow) -> Callable[..., contextlib.AbstractAsyncContextManager[Stage]]:
    """``async with stage("stream: {idle: 1s}", ", events: {…}") as made``: keys of the spec, options of grpc."""

    @contextlib.asynccontextmanager
    async def staged(keys: str = "", options: str = "", spec: str = SPEC, **settings: Any) -> AsyncIterator[Stage]:
        mesh = {"flow-svc": f"127.0.0.1:{flow.port}"}
        routes = {"flow.yml": spec % (keys, options)}
        async with start(mesh=mesh, routes=routes, files={"protos/flow.proto": PROTO}, **settings) as gateway:
            yield Stage(flow, gateway)

    return staged
