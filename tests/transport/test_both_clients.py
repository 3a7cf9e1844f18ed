"""The gateway's own client and a general one answer alike through the gateway."""

from __future__ import annotations

import pytest

from tests.conftest import Start, Upstream
from tests.oracles.clusters import transports


@pytest.mark.parametrize("clients", ["lean", "general"])
async def test_a_call_through_the_gateway(
    start: Start, upstream: Upstream, clients: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = "route: /svc/{rest*}\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
    upstream.headers.append(("x-kind", "a"))
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    sender = transports(clients)
    monkeypatch.setattr("bridge.cluster.pool.Transports", lambda: sender)
    async with start(mesh=mesh, routes={"svc.yml": spec}) as gateway:
        for _ in range(3):
            answer = await gateway.client.post("/svc/a?b=c", content=b"abc", headers={"x-tenant": "t"})
            assert (answer.status_code, answer.content) == (200, upstream.body)
            assert answer.headers["x-kind"] == "a"
    assert [(seen.method, seen.body, seen.header("x-tenant")) for seen in upstream.seen] == [
        ("POST", b"abc", ["t"])
    ] * 3
