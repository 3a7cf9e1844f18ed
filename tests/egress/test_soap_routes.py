"""Egress and values of SOAP routes, through a serving gateway: addresses by template, credentials, rotated files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.offline import explanation
from tests.conftest import Running, Start, Upstream
from tests.soap_kit import SOAP11, WSDL_DIR

LEDGER = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
ANSWER = (
    f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><posted xmlns="urn:ledger"><entry>1</entry></posted></s:Body></s:Envelope>'
).encode()
BODY = {"account": "a", "cents": 5}


@pytest.fixture(autouse=True)
def each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at with each call, not once a second."""
    monkeypatch.setattr("bridge.api.values.CHECK_EVERY", 0.0)


@pytest.fixture
def service(upstream: Upstream) -> Upstream:
    upstream.headers, upstream.body = [("content-type", "text/xml")], ANSWER
    return upstream


def spec(text: str, soap: str = "") -> str:
    return f"auth: none\ntransform: {{request: soap, soap: {{wsdl: ledger.wsdl, operation: post{soap}}}}}\n{text}"


def replace(gateway: Running, name: str, text: str) -> None:
    (gateway.home / "new").write_text(text)
    (gateway.home / "new").rename(gateway.home / name)


async def test_the_address_by_template(start: Start, service: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_KEY", "k y")
    routes = {
        "a.yml": spec("route: /a/{x}/{y}\nupstream: 'svc:80/{y}/soap.php?module={x}&v=2'\n"),
        "b.yml": spec("route: /b/{rest*}\nupstream: 'svc:80/old/{rest*}'\nquery: {add: {also: '1'}}\n"),
        "c.yml": spec(
            "route: /c\nupstream: 'svc:80?only=query'\n"
            "upstream_auth: {type: api_key, query: key, value: {$env: BRIDGE_SECRET_KEY}}\n"
            "headers: {request: {set: {SOAPAction: urn:x, X-Y: z}}}\n"
        ),
    }
    mesh = {"svc": f"127.0.0.1:{service.port}"}
    async with start(mesh=mesh, routes=routes, files={"wsdl/ledger.wsdl": LEDGER}) as gateway:
        for path in ("/a/1&admin=1/p%20q", "/b/c/d%2Fe", "/c"):
            reply = await gateway.client.post(path, json=BODY)
            assert reply.status_code == 200, reply.text
        shown = await explanation(gateway.settings, "POST /c", b'{"account": "a", "cents": 5}', "")
    assert [seen.target for seen in service.seen[:2]] == [
        "/p%20q/soap.php?module=1%26admin%3D1&v=2",
        "/old/c/d%2Fe?also=1",
    ]
    own = service.seen[2]
    assert own.target.partition("?")[2] == "only=query&key=k%20y"
    assert (own.header("soapaction"), own.header("x-y")) == (["urn:x"], ["z"])
    assert "only=query&key=***" in shown.splitlines()[0]


async def test_rotated_files_reach_header_blocks_and_constants(start: Start, service: Upstream) -> None:
    headers = ", headers: {AuthHeader: {user: {$header: x-user, default: u}, key: {$file: secrets/key}}}"
    steady = ", headers: {AuthHeader: {user: u, key: {$file: secrets/key}}}"
    constant = ", request: {constants: {account: {$file: secrets/key}}}"
    routes = {
        f"{name}.yml": spec(f"route: /{name}\nupstream: svc:80\n", soap)
        for name, soap in (("variable", headers), ("steady", steady), ("constant", constant))
    }
    files = {"wsdl/ledger.wsdl": LEDGER, "secrets/key": "first<&>\n"}
    async with start(mesh={"svc": f"127.0.0.1:{service.port}"}, routes=routes, files=files) as gateway:
        endpoints = {
            each.spec.route: each
            for bound in gateway.app.state.registry.table.routes.values()
            for each in bound.endpoints
            if each.operation.method == "POST"
        }
        for text, escaped in (("first<&>", "first&lt;&amp;&gt;"), ("second", "second"), ("third", "third")):
            replace(gateway, "secrets/key", text)
            for route, endpoint in endpoints.items():
                body = {"cents": 5} if route == "/constant" else BODY
                reply = await gateway.client.post(route, json=body)
                assert reply.status_code == 200, reply.text
                assert f">{escaped}<".encode() in service.seen[-1].body
                assert text in endpoint.codec.secrets
        assert {
            each.spec.route: each
            for bound in gateway.app.state.registry.table.routes.values()
            for each in bound.endpoints
            if each.operation.method == "POST"
        } == endpoints  # nothing was bound anew


async def test_a_rotated_text_that_the_schema_refuses_is_not_sent(
    start: Start, service: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    headers = ", headers: {AuthHeader: {user: u, level: {$file: secrets/level}}}"
    files = {"wsdl/ledger.wsdl": LEDGER, "secrets/level": "7"}
    routes = {"a.yml": spec("route: /a\nupstream: svc:80\n", headers)}
    async with start(mesh={"svc": f"127.0.0.1:{service.port}"}, routes=routes, files=files) as gateway:
        for text in ("7", "hush-99", "3"):
            replace(gateway, "secrets/level", text)
            assert (await gateway.client.post("/a", json=BODY)).status_code == 200
    levels: list[Any] = [re.search(rb"level>(\d)<", seen.body) for seen in service.seen]
    assert [level[1] for level in levels] == [b"7", b"7", b"3"]
    assert "can't be used here" in caplog.text
    assert "hush" not in caplog.text


async def test_the_soap_header_and_basic_go_together(
    start: Start, service: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A SOAP service behind HTTP Basic, by a route of at most 16 lines."""
    monkeypatch.setenv("BRIDGE_SECRET_LEDGER_PASSWORD", "hush")
    text = (
        "route: /v1/ledger\n"
        "upstream: svc:80\n"
        "auth: none\n"
        "upstream_auth: {type: basic, username: u, password: {$env: BRIDGE_SECRET_LEDGER_PASSWORD}}\n"
        "transform:\n"
        "  request: soap\n"
        "  soap: {wsdl: ledger.wsdl, operation: post}\n"
    )
    mesh, files = {"svc": f"127.0.0.1:{service.port}"}, {"wsdl/ledger.wsdl": LEDGER}
    async with start(mesh=mesh, routes={"a.yml": text}, files=files) as gateway:
        assert (await gateway.client.post("/v1/ledger", json=BODY)).json() == {"entry": 1}
    assert service.seen[0].header("authorization") == ["Basic dTpodXNo"]
