"""SOAP messages that pass as they come: what the stages, the log and the outlier detection of a gateway make of them.

Clients of other stacks are in tests/live/test_soap_clients.py."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from bridge.api.body import WHOLE
from bridge.cluster.outlier import CONSECUTIVE
from tests.conftest import Running, Start, Upstream, listening
from tests.docs.pages import ROOT, blocks_of
from tests.soap_kit import WSDL_DIR, envelope

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
XML = ("content-type", "text/xml; charset=utf-8")
FAULT = envelope(
    "<s:Fault><faultcode>s:{}</faultcode><faultstring>No.</faultstring><detail>{}</detail></s:Fault>"
).decode()
SERVER, CLIENT = FAULT.format("Server", "").encode(), FAULT.format("Client", "<a>1</a>").encode()
SENDER = envelope(
    "<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang='en'>No.</s:Text></s:Reason>"
    "</s:Fault>",
    SOAP12,
)
PAGE = b"<html><body>Traceback: /srv/app/secret.py</body></html>"
CALL = envelope('<checkVat xmlns="urn:revenue:vat:types"><countryCode>IE</countryCode></checkVat>')
JSON = b'{"countryCode": "IE", "vatNumber": "6388047V"}'
RAW = {
    "route": "/raw",
    "upstream": "svc:80/vat",
    "auth": "none",
    "transform": {"request": "passthrough", "response": "passthrough"},
}
SOAP = {
    "route": "/soap",
    "methods": ["POST"],
    "upstream": "svc:80/vat",
    "auth": "none",
    "transform": {"request": "soap", "response": "passthrough", "soap": {"wsdl": "vat.wsdl", "operation": "checkVat"}},
}

Behind = AbstractAsyncContextManager[Running]


@pytest.fixture
def behind(start: Start, upstream: Upstream) -> Any:
    """``async with behind(**more keys of both specs) as gateway``: routes of both kinds before `upstream`."""

    @asynccontextmanager
    async def behind(settings: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[Running]:
        specs = {"raw.yml": json.dumps({**RAW, **more}), "soap.yml": json.dumps({**SOAP, **more})}
        files = {"wsdl/vat.wsdl": (WSDL_DIR / "vat.wsdl").read_text()}
        mesh = {"svc": f"127.0.0.1:{upstream.port}"}
        async with start(mesh=mesh, routes=specs, files=files, **(settings or {})) as gateway:
            yield gateway

    return behind


def request(path: str) -> dict[str, Any]:
    if path == "/soap":
        return {"content": JSON, "headers": {"content-type": "application/json"}}
    return {"content": CALL, "headers": {"content-type": "text/xml", "soapaction": '"urn:vat#checkVat"'}}


BOTH = pytest.mark.parametrize("path", ["/raw", "/soap"])


@BOTH
async def test_a_fault_and_its_line_in_the_log(
    behind: Any, upstream: Upstream, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "bridge.upstream")
    upstream.headers = [XML, ("retry-after", "3"), ("set-cookie", "session=1; Path=/vat")]
    async with behind() as gateway:
        for status, upstream.body in ((500, CLIENT), (500, SERVER), (503, SERVER), (400, SENDER)):
            upstream.status = status
            answer = await gateway.client.post(path, **request(path))
            assert (answer.status_code, answer.content) == (status, upstream.body)
            assert answer.headers["content-type"] == XML[1]
            assert answer.headers["retry-after"] == "3"
            # Only the client of a passthrough route speaks to the service, and can have a session with it.
            assert answer.headers.get("set-cookie") == ("session=1; Path=/raw" if path == "/raw" else None)
    lines = [(line["status"], line["upstream_status"], line["cause"]) for line in gateway.log()]
    assert lines == [
        (500, 500, "SOAP fault Client: No."),
        (500, 500, "SOAP fault Server: No."),
        (503, 503, "SOAP fault Server: No."),
        (400, 400, "SOAP fault Sender: No."),
    ]
    # A client's mistake is no failure of the service, whatever status SOAP 1.1 gives it.
    told = [record.getMessage() for record in caplog.records if record.name == "bridge.upstream"]
    assert [("500" in text or "503" in text, "fault Server" in text) for text in told] == [(True, True)] * 2


@BOTH
async def test_what_is_no_soap_message_stays_a_problem(behind: Any, upstream: Upstream, path: str) -> None:
    upstream.headers = [("content-type", "text/html"), ("retry-after", "3")]
    async with behind() as gateway:
        for upstream.status, upstream.body in ((500, PAGE), (502, b""), (503, PAGE), (504, PAGE), (500, CALL)):
            answer = await gateway.client.post(path, **request(path))
            assert answer.status_code == 502
            assert answer.json()["type"] == "urn:bridge:problem:upstream-failed"
            assert answer.headers["retry-after"] == "3"
            assert b"secret" not in answer.content


@BOTH
async def test_an_answer_as_it_came(behind: Any, upstream: Upstream, path: str) -> None:
    body = envelope('<checkVatResponse xmlns="urn:revenue:vat:types"/>', SOAP12)
    kind = 'application/soap+xml; charset=utf-8; action="urn:x"'
    upstream.headers, upstream.body = [("content-type", kind)], body
    async with behind() as gateway:
        for upstream.status in (200, 202):
            answer = await gateway.client.post(path, **request(path))
            assert (answer.status_code, answer.headers["content-type"], answer.content) == (upstream.status, kind, body)
    assert [(line["status"], line.get("cause")) for line in gateway.log()] == [(200, None), (202, None)]


async def test_the_openapi_document(behind: Any) -> None:
    async with behind() as gateway:
        paths = (await gateway.client.get("/-/openapi.json")).json()["paths"]
    responses = paths["/soap"]["post"]["responses"]
    assert list(responses["200"]["content"]) == ["text/xml"]
    fault = responses["500"]
    assert fault["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert fault["content"]["text/xml"] == {"schema": {"type": "string"}}
    assert "x-trace-id" in {name.lower() for name in fault["headers"]}
    assert "$ref" in responses["502"]
    assert "SOAP Faults" in paths["/raw"]["post"]["description"]


async def test_the_route_of_the_page(start: Start, upstream: Upstream) -> None:
    """docs/soap.md: a program that makes envelopes itself."""
    [block] = [block for block in blocks_of(ROOT / "docs" / "soap.md") if "route: /ws/returns" in block.text]
    upstream.status, upstream.headers, upstream.body = 500, [XML, ("x-inner", "1")], SERVER
    mesh = {"county-returns": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"ws.yml": block.text}) as gateway:
        options = request("/raw")
        options["headers"] |= gateway.bearer(audience="ELECTION_PARTNERS")
        answer = await gateway.client.post("/ws/returns", **options)
    assert (answer.status_code, answer.headers["x-inner"], answer.content) == (500, "1", SERVER)
    assert (upstream.seen[0].target, upstream.seen[0].header("authorization")) == ("/returns", [])


async def test_an_envelope_goes_up_with_its_action(behind: Any, upstream: Upstream) -> None:
    upstream.headers, upstream.body = [XML], CALL
    async with behind() as gateway:
        await gateway.client.post("/raw", **request("/raw"))
        refused = await gateway.client.post("/soap", **request("/raw"))
        assert refused.status_code == 415
        assert "{request: passthrough, response: passthrough}" in refused.json()["detail"]
    [seen] = upstream.seen
    assert (seen.target, seen.body, seen.header("soapaction")) == ("/vat", CALL, ['"urn:vat#checkVat"'])
    assert seen.header("content-type") == ["text/xml"]


@pytest.mark.parametrize("size", [WHOLE // 2, 3 * WHOLE, 3 << 20])
async def test_a_fault_with_a_large_detail(behind: Any, upstream: Upstream, size: int) -> None:
    upstream.status, upstream.headers = 500, [XML]
    upstream.body = FAULT.format("Server", "<line>0123456789</line>" * (size // 23)).encode()
    async with behind() as gateway:
        for path in ("/raw", "/soap"):
            answer = await gateway.client.post(path, **request(path))
            assert (answer.status_code, answer.content) == (500, upstream.body)


async def test_a_fault_in_a_content_coding(behind: Any, upstream: Upstream) -> None:
    upstream.status, upstream.headers = 500, [XML, ("content-encoding", "gzip")]
    upstream.body = gzip.compress(SERVER)
    async with behind() as gateway:
        for path in ("/raw", "/soap"):
            answer = await gateway.client.post(path, **request(path))
            assert (answer.status_code, answer.content) == (500, SERVER)
            assert answer.headers.get("content-encoding") == ("gzip" if path == "/raw" else None)


@BOTH
async def test_the_stages_of_a_route(behind: Any, upstream: Upstream, path: str) -> None:
    """Faults have what every response has; an HTML page in their place, too."""
    upstream.status, upstream.headers = 500, [XML, ("x-inner", "svc-7")]
    keys = {
        "cors": {"origins": ["https://app.example.org"]},
        "security_headers": True,
        "compress": {"min_size": 100},
        "headers": {"response": {"set": {"X-Public": "1"}, "remove": ["X-Inner"]}},
        "rate_limit": {"rps": 50},
    }
    async with behind(**keys) as gateway:
        for upstream.body in (FAULT.format("Server", "<a>1</a>" * 100).encode(), PAGE):
            options = request(path)
            options["headers"] |= {"origin": "https://app.example.org", "accept-encoding": "gzip"}
            answer = await gateway.client.post(path, **options)
            fields = answer.headers
            assert fields["access-control-allow-origin"] == "https://app.example.org"
            assert fields["x-content-type-options"] == "nosniff"
            assert (fields["x-public"], fields.get("x-inner")) == ("1", None)
            assert "ratelimit" in fields
            assert "x-trace-id" in fields
            if upstream.body is PAGE:
                assert answer.status_code == 502
            else:
                assert (answer.status_code, fields["content-encoding"], answer.content) == (500, "gzip", upstream.body)


async def test_faults_are_not_stored(start: Start, upstream: Upstream) -> None:
    spec = {**SOAP, "methods": ["GET"], "cache": {"ttl": "60s"}}
    files = {"wsdl/vat.wsdl": (WSDL_DIR / "vat.wsdl").read_text()}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    upstream.headers = [XML]
    async with start(mesh=mesh, routes={"soap.yml": json.dumps(spec)}, files=files) as gateway:
        upstream.status, upstream.body = 500, SERVER
        target = "/soap?countryCode=IE&vatNumber=1"
        assert (await gateway.client.get(target)).status_code == 500
        upstream.status, upstream.body = 200, CALL.replace(b"checkVat", b"checkVatResponse")
        for _ in range(2):
            assert (await gateway.client.get(target)).content == upstream.body
    assert len(upstream.seen) == 2


@pytest.mark.parametrize(("status", "ejected"), [(500, False), (400, False), (503, True)])
async def test_a_fault_says_no_more_of_the_instance_than_its_status(
    start: Start, upstream: Upstream, status: int, ejected: bool
) -> None:
    """With 500 the service has answered; 502 to 504 are failures of the instance, with a Fault or without."""
    upstream.status, upstream.headers, upstream.body = status, [XML], SERVER
    other = Upstream(status=status, headers=[XML], body=SERVER)
    async with listening(other) as other.port:
        mesh: Any = {"svc": [f"127.0.0.1:{each.port}" for each in (upstream, other)]}
        async with start(mesh=mesh, routes={"raw.yml": json.dumps(RAW)}) as gateway:
            for _ in range(2 * CONSECUTIVE):
                assert (await gateway.client.post("/raw", **request("/raw"))).status_code == status
            text = (await gateway.client.get("/-/metrics")).text
    assert ('bridge_upstream_ejections_total{upstream="svc:80"} 0.0' not in text) is ejected
    assert min(len(upstream.seen), len(other.seen)) > 0
