"""Which upstream a route gets: shared where it is the same one, refused where its scheme can't carry the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bridge.api.call import HttpRequest
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.upstream import Upstream
from bridge.cluster.cluster import Cluster
from bridge.cluster.mesh import open_mesh
from bridge.cluster.pool import OfflineUpstreams, Upstreams
from bridge.config.settings import Settings
from bridge.errors import BindError, Unavailable

PLAIN = ConnectionSpec()


@pytest.fixture
async def upstreams(tmp_path: Any) -> Any:
    mesh = open_mesh("static:mesh.yml", tmp_path)
    upstreams = Upstreams(mesh, Settings(home=tmp_path, max_reply=1000))
    yield upstreams
    await upstreams.aclose()
    await mesh.aclose()


@pytest.mark.parametrize(
    ("text", "wire", "kind"),
    [
        ("vat-svc:8080", "http", Cluster),
        ("http://vat-svc:8080", "http", Cluster),
        ("https://vat-svc:8443", "http", Cluster),
        ("tally-svc:9090", "grpc", Cluster),
        ("grpc://tally-svc:9090", "grpc", Cluster),
        ("grpcs://tally-svc:9090", "grpc", Cluster),
    ],
)
async def test_the_wire_chooses(upstreams: Any, text: Any, wire: Any, kind: Any) -> None:
    assert isinstance(upstreams.bind(Upstream.parse(text), wire, PLAIN), kind)


@pytest.mark.parametrize(
    ("text", "wire", "words"),
    [
        ("grpc://vat-svc:8080", "http", "write http:// or https://, not grpc://"),
        ("https://tally-svc:9090", "grpc", "write grpc:// or grpcs://, not https://"),
        ("vat-svc:8080", "smoke", "'smoke'"),
    ],
)
async def test_a_scheme_that_does_not_fit_is_told_at_bind(upstreams: Any, text: Any, wire: Any, words: Any) -> None:
    for judge in (upstreams, OfflineUpstreams(Path())):
        with pytest.raises(BindError) as bad:
            judge.bind(Upstream.parse(text), wire, PLAIN)
        assert words in bad.value.faults[0].reason
        assert bad.value.faults[0].key == "upstream"


async def test_what_is_bound_to_be_looked_at_is_never_called() -> None:
    bound = OfflineUpstreams(Path()).bind(Upstream.parse("vat-svc:8080"), "http", PLAIN)
    with pytest.raises(Unavailable):
        await bound.send(HttpRequest("GET", "/"), deadline=0.0)
    await bound.aclose()


async def test_the_same_name_and_port_share(upstreams: Any) -> Any:
    def bind(text: Any, wire: Any = "http", **connection: Any) -> Any:
        return upstreams.bind(Upstream.parse(text), wire, ConnectionSpec(**connection))

    assert bind("vat-svc:8080/a") is bind("http://vat-svc:8080/b")
    assert bind("vat-svc:8080") is not bind("https://vat-svc:8080")
    assert bind("vat-svc:8080") is not bind("vat-svc:8081")
    assert bind("tally-svc:8080", "grpc") is bind("grpc://tally-svc:8080", "grpc")
    assert bind("tally-svc:8080", "grpc") is not bind("tally-svc:8080", "grpc", health=True)
    assert bind("tally-svc:8080", "grpc", health=True) is bind("tally-svc:8080", "grpc", health=True)


@pytest.mark.parametrize(
    ("text", "wire", "connection", "key"),
    [
        ("vat-svc:80", "http", {"keepalive": 50.0}, "connection.keepalive"),
        ("vat-svc:80", "http", {"ca": "secrets/ca.pem"}, "connection"),
        ("tally-svc:80", "grpc", {"server_name": "a.example"}, "connection"),
        ("https://vat-svc:80", "http", {"ca": "secrets/none.pem"}, "connection.ca"),
        ("https://vat-svc:80", "http", {"ca": "/etc/passwd"}, "connection.ca"),
        ("https://vat-svc:80", "http", {"ca": "secrets/text.pem"}, "connection.ca"),
        ("grpcs://tally-svc:80", "grpc", {"ca": "secrets/broken.pem"}, "connection.ca"),
    ],
)
async def test_a_connection_that_does_not_fit_is_told_at_bind(
    upstreams: Any, tmp_path: Path, text: str, wire: str, connection: Any, key: str
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/text.pem").write_text("hello")
    (tmp_path / "secrets/broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for judge in (upstreams, OfflineUpstreams(tmp_path)):
        with pytest.raises(BindError) as bad:
            judge.bind(Upstream.parse(text), wire, ConnectionSpec(**connection))
        assert bad.value.faults[0].key == key


async def test_a_bound_upstream_finds_its_service_and_learns_of_dead_ones(
    upstreams: Any, tmp_path: Any, serve: Any, reply: Any
) -> None:
    server = await serve(reply(b"x" * 1000))
    with_dead = f"vat-svc: ['127.0.0.1:1', '127.0.0.1:{server.port}']\n"
    (tmp_path / "mesh.yml").write_text(with_dead)
    mesh = open_mesh("static:mesh.yml", tmp_path)
    own = Upstreams(mesh, Settings(home=tmp_path, max_reply=1000))
    upstream = own.bind(Upstream.parse("vat-svc:8080"), "http", PLAIN)
    assert isinstance(upstream, Cluster)
    for _ in range(4):
        deadline = asyncio.get_running_loop().time() + 5
        assert len((await upstream.send(HttpRequest("GET", "/"), deadline=deadline)).body) == 1000
    assert (await mesh.addresses("vat-svc", "8080"))[1] == ("127.0.0.1", 1)
    await own.aclose()
    await mesh.aclose()


async def test_a_name_nobody_answers_to_is_503(upstreams: Any) -> None:
    upstream = upstreams.bind(Upstream.parse("nobody:8080"), "http", PLAIN)
    assert isinstance(upstream, Cluster)
    with pytest.raises(Unavailable, match="No service answers") as none:
        await upstream.send(HttpRequest("GET", "/"), deadline=asyncio.get_running_loop().time() + 5)
    assert dict(none.value.headers) == {"retry-after": "1"}
