"""Which client asks is the operator's to say, and both answer alike through the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.cluster.http import HttpClient
from bridge.cluster.mesh import open_mesh
from bridge.cluster.pool import CLIENTS, Upstreams
from bridge.config.settings import load
from bridge.errors import SettingsError
from bridge.transport.aiohttp_client import AiohttpClient
from tests.conftest import Start, Upstream


@pytest.mark.parametrize(("said", "kind"), [({}, HttpClient), ({"BRIDGE_UPSTREAM_CLIENTS": "general"}, AiohttpClient)])
async def test_the_setting_decides(tmp_path: Path, said: dict[str, str], kind: type) -> None:
    settings = load(said, home=tmp_path)
    upstreams = Upstreams(open_mesh("static:mesh.yml", tmp_path), settings)
    assert isinstance(upstreams._http, kind)
    await upstreams.aclose()


def test_another_word_is_refused() -> None:
    with pytest.raises(SettingsError, match="BRIDGE_UPSTREAM_CLIENTS"):
        load({"BRIDGE_UPSTREAM_CLIENTS": "quick"})


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_call_through_the_gateway(start: Start, upstream: Upstream, name: Any) -> None:
    spec = "route: /svc/{rest*}\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
    upstream.headers.append(("x-kind", "a"))
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"svc.yml": spec}, upstream_clients=name) as gateway:
        for _ in range(3):
            answer = await gateway.client.post("/svc/a?b=c", content=b"abc", headers={"x-tenant": "t"})
            assert (answer.status_code, answer.content) == (200, upstream.body)
            assert answer.headers["x-kind"] == "a"
    assert [(seen.method, seen.body, seen.header("x-tenant")) for seen in upstream.seen] == [
        ("POST", b"abc", ["t"])
    ] * 3
