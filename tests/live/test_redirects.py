"""Redirects of real services come back below the route: those of folders by nginx and by Python's server, and whatever
an application of Node says. A client that follows them gets what it asked for, and never sees the inside."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Running, Start
from tests.servers import Server, need, running
from tests.soap_kit import WSDL_DIR

HERE = Path(__file__).parent / "http"
READY = r"^ready (\d+)"
LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("nginx", "nginx", "-v")
    command = (sys.executable, str(HERE / "nginx.py"))
    with running("nginx", command, tmp_path_factory.mktemp("nginx"), ready=READY) as server:
        yield server


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = (sys.executable, str(HERE / "folders.py"))
    with running("folders", command, tmp_path_factory.mktemp("folders"), ready=READY) as server:
        yield server


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("Node", "node", "--version")
    with running("Node", ("node", str(HERE / "redirects.js")), tmp_path_factory.mktemp("node"), ready=READY) as server:
        yield server


TRANSFORMS: dict[str, Any] = {
    "bytes": {"request": "passthrough", "response": "passthrough"},
    "json": {"request": "passthrough"},
    "xml": {"request": "xml"},
}
#: Public paths and upstreams; a route stands below the name of its transform.
ROUTES = [
    ("/v1/permits/{rest*}", "svc:80/old/{rest*}"),
    ("/v2/permits/{id}", "svc:8080/old/{id}"),
    ("/v2/permits/{id}/", "svc:80/old/{id}/"),
    ("/v3/{area}/permits/{id}", "svc:80/old/{id}?area={area}"),
    ("/v4/{rest*}", "svc:80/relative/old/{rest*}"),
    ("/v5/{rest*}", "svc:80/portless/old/{rest*}"),
]


@pytest.fixture(params=["mesh", "public"])
async def front(request: pytest.FixtureRequest, start: Start) -> Any:
    """``async with front(server) as gateway``: all routes. Services are told their mesh name, or the public one."""

    def fronting(server: Server) -> Any:
        specs = [
            {"route": f"/{kind}{route}", "upstream": upstream, "auth": "none", "transform": transform}
            | {"forwarded": {"host": request.param}}
            for kind, transform in TRANSFORMS.items()
            for route, upstream in ROUTES
        ]
        routes = {f"{number}.yml": json.dumps(spec) for number, spec in enumerate(specs)}
        return start(mesh={"svc": server.address}, routes=routes)

    return fronting


async def redirected(gateway: Running, path: str, **query: str) -> tuple[str, httpx.Response]:
    """Where a redirect leads, and what a client finds there that follows it."""
    headers = {"host": "gw.example:81"}
    first = await gateway.client.get(path, params=query or None, headers=headers)
    assert first.is_redirect, first.text
    location = first.headers["location"]
    there = httpx.URL(f"http://gw.example:81{path}").join(location)
    if there.host != "gw.example":
        return location, first
    return location, await gateway.client.get(there.raw_path.decode(), headers=headers)


@pytest.mark.parametrize("kind", ["bytes", "json"])
@pytest.mark.parametrize(
    ("server", "path"),
    [
        *(("nginx", path) for path in ("/v1/permits", "/v2/permits", "/v3/south/permits", "/v4", "/v5")),
        *(("folders", path) for path in ("/v1/permits", "/v2/permits", "/v3/south/permits")),
    ],
)
async def test_folders(request: pytest.FixtureRequest, front: Any, server: str, path: str, kind: str) -> None:
    """nginx names itself and its port, or not; Python's server gives a path."""
    async with front(request.getfixturevalue(server)) as gateway:
        location, reply = await redirected(gateway, f"/{kind}{path}/there")
    assert location.partition("?")[0] == f"/{kind}{path}/there/"
    if path != "/v3/south/permits":  # whose route has no slash at its end
        assert (reply.status_code, reply.text) == (200, "<p>there</p>")


#: What the application says, and where that is for the client; None: there.
PLACES: list[tuple[str, str | None]] = [
    ("/old/there/", "/v1/permits/there/"),
    ("http://$HOST/old/there/", "/v1/permits/there/"),
    ("https://$HOST/old/there/?a=/old/b#c", "/v1/permits/there/?a=/old/b#c"),
    ("http://svc/old/there/", "/v1/permits/there/"),
    ("http://SVC:8443/old/there/", "/v1/permits/there/"),
    ("http://127.0.0.1:$PORT/old/there/", "/v1/permits/there/"),
    ("http://localhost/old/there/", "/v1/permits/there/"),
    ("http://10.0.0.7/old/there/", "/v1/permits/there/"),
    ("//$HOST/old/there/", "/v1/permits/there/"),
    ("//svc:80/old", "/v1/permits"),
    ("there/", "/v1/permits/a/there/"),
    ("./there/?", "/v1/permits/a/there/?"),
    ("../there/", "/v1/permits/there/"),
    ("?page=2", "/v1/permits/a/b?page=2"),
    ("/old/%C3%BC%2F/x", "/v1/permits/%C3%BC%2F/x"),
    ("/old//there", "/v1/permits//there"),
    ("/else", None),
    ("/older/there", None),
    ("https://other.example/old/there/", None),
    ("//other.example/old/there/", None),
]


@pytest.mark.parametrize("kind", TRANSFORMS)
async def test_what_an_application_says(node: Server, front: Any, kind: str) -> None:
    async with front(node) as gateway:
        for status in ("301", "302", "303", "307", "308"):
            for place, public in PLACES if status == "302" else PLACES[:1]:
                location, reply = await redirected(gateway, f"/{kind}/v1/permits/a/b", to=place, status=status)
                assert location == (place if public is None else f"/{kind}{public}"), place
                if public is not None and reply.status_code == 200:
                    assert "/old/" in reply.text
        location, reply = await redirected(gateway, f"/{kind}/v3/south/permits/7", to="/old/8?x=1")
        assert location == f"/{kind}/v3/south/permits/8?x=1"
        assert "/old/8?area=south" in reply.text
        location, _ = await redirected(gateway, f"/{kind}/v2/permits/7/", to="/old/8/")
        assert location == f"/{kind}/v2/permits/8/"


async def test_a_soap_route_tells_of_no_redirect(node: Server, start: Start) -> None:
    """A SOAP call is not sent anywhere else, and its caller has no use for the place."""
    spec = {
        "route": "/v1/ledger",
        "upstream": "svc:80/soap?to=http://10.1.2.3/new",
        "auth": "none",
        "transform": {"request": "soap", "soap": {"wsdl": "ledger.wsdl", "operation": "post"}},
    }
    routes, files = {"a.yml": json.dumps(spec)}, {"wsdl/ledger.wsdl": LEDGER}
    async with start(mesh={"svc": node.address}, routes=routes, files=files) as gateway:
        reply = await gateway.client.post("/v1/ledger", json={"account": "a", "cents": 5})
    assert (reply.status_code, reply.json()["detail"]) == (502, "The service answered HTTP 302 without a body.")
    assert "location" not in reply.headers
    assert "10.1.2.3" not in reply.text
