"""Clients that speak SOAP themselves: zeep, PHP's SoapClient, SOAP::Lite and Axis call a passthrough route, and get
answers and Faults as if there was no gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import zeep
import zeep.exceptions
from lxml import etree
from zeep.helpers import serialize_object
from zeep.transports import Transport

from tests.conftest import Running, Start
from tests.live.conftest import Front, axis_java
from tests.servers import Server

pytestmark = pytest.mark.live

HERE = Path(__file__).parent
WSDL = HERE / "php" / "orders.wsdl"
SPEC = {
    "route": "/public/{rest*}",
    "upstream": "svc:80/{rest*}",
    "auth": "none",
    "transform": {"request": "passthrough", "response": "passthrough"},
}
Before = Callable[[Server], contextlib.AbstractAsyncContextManager[Running]]
VERSIONS = pytest.mark.parametrize("version", ["1.1", "1.2"])


@pytest.fixture
def before(start: Start) -> Before:
    """``async with before(server) as gateway``: the server's paths are below /public."""

    @contextlib.asynccontextmanager
    async def before(server: Server) -> AsyncIterator[Running]:
        async with start(mesh={"svc": server.address}, routes={"p.yml": json.dumps(SPEC)}) as gateway:
            yield gateway

    return before


async def output(*command: str) -> str:
    """What a client prints; it must end well."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def address(gateway: Running, path: str) -> str:
    return f"http://127.0.0.1:{gateway.port}/public/{path}"


@VERSIONS
async def test_zeep(php: Server, before: Before, version: str) -> None:
    def calls(location: str) -> None:
        client = zeep.Client(str(WSDL), transport=Transport(timeout=20, operation_timeout=20))
        service: Any = client.create_service(f"{{urn:board:orders}}Orders{version.replace('.', '')}", location)
        assert serialize_object(service.get(number=-9)) is None
        with pytest.raises(zeep.exceptions.Fault) as declared:
            service.cancel(number=9)
        assert declared.value.message == "There is no order 9."
        assert (declared.value.code or "").rpartition(":")[2] in ("Client", "Sender")
        detail = declared.value.detail
        assert detail is not None
        assert [child.text for child in detail[0]] == ["9", "8", "10"]
        assert etree.QName(detail[0]).localname == "noSuchOrder"
        with pytest.raises(zeep.exceptions.Fault, match="The warehouse is closed"):
            service.get(number=501)
        with pytest.raises(zeep.exceptions.TransportError) as broken:  # a page of a broken service is no message
            service.get(number=500)
        assert broken.value.status_code == 502
        assert b"urn:bridge:problem:upstream-failed" in (broken.value.content or b"")

    async with before(php) as gateway:
        await asyncio.to_thread(calls, address(gateway, "orders"))
    lines = [(line["status"], line["upstream_status"], line.get("cause", "")[:11]) for line in gateway.log()]
    assert [status for status, _, _ in lines] == [200, 500, 500, 502]
    assert [cause for _, _, cause in lines[1:3]] == ["SOAP fault "] * 2


@VERSIONS
@pytest.mark.parametrize("number", [9, 501])
async def test_every_byte_is_the_service_s(
    php: Server, before: Before, front: Front, version: str, number: int
) -> None:
    """What the gateway's own request gets, with a JSON body and with an envelope, is what the service says itself."""
    port = f"Orders{version.replace('.', '')}"
    operation = "cancel" if number == 9 else "get"
    client = zeep.Client(str(WSDL))
    message = client.create_message(client.bind("OrderService", port), operation, number=number)
    kind = {"1.1": "text/xml; charset=utf-8", "1.2": "application/soap+xml; charset=utf-8"}[version]
    sent: Any = {"content": etree.tostring(message), "headers": {"content-type": kind}}
    async with httpx.AsyncClient() as direct:
        theirs = await direct.post(f"http://{php.address}/orders", **sent)
    async with before(php) as gateway:
        ours = await gateway.client.post("/public/orders", **sent)
    async with front(php, WSDL, response="passthrough", port=port) as call:
        translated = await call.send(operation, {"number": number})
    assert theirs.status_code == 500
    assert b"Fault" in theirs.content
    for answer in (ours, translated):
        assert (answer.status_code, answer.content) == (500, theirs.content)
        assert answer.headers["content-type"] == theirs.headers["content-type"]


@VERSIONS
async def test_php(php: Server, before: Before, version: str) -> None:
    async with before(php) as gateway:
        client = ("php", "-d", "display_errors=stderr", str(HERE / "php/client.php"))
        got = json.loads(await output(*client, str(WSDL), address(gateway, "orders"), version))
    assert got["get"] == {}
    assert got["type"].startswith("text/xml" if version == "1.1" else "application/soap+xml")
    assert got["declared"] == {
        "code": "SOAP-ENV:Client" if version == "1.1" else "env:Sender",
        "text": "There is no order 9.",
        "detail": {"noSuchOrder": {"number": "9", "nearest": ["8", "10"]}},
    }
    assert " 500 " in got["status"]
    assert got["closed"]["text"] == "The warehouse is closed."
    assert got["broken"]["code"] == "HTTP"


async def test_soap_lite(soap_lite: Server, before: Before) -> None:
    async with before(soap_lite) as gateway:
        got = json.loads(await output("perl", str(HERE / "perl/client.pl"), address(gateway, "")))
    assert int(got["sum"]) == 42
    assert (got["code"], got["text"]) == ("soap:Client.NoSuchEntry", "There is no entry 7.")
    assert got["detail"]["noSuchEntry"]["id"] == "7"
    assert got["status"].startswith("500")
    assert got["crash"] == "soap:Server"


async def test_axis(axis: Server, before: Before) -> None:
    async with before(axis) as gateway:
        told = await output(*axis_java(axis.folder), "AxisClient", address(gateway, "axis/services/Assessor"))
    lines = [line for line in told.splitlines() if line.startswith(("add", "get", "fault", "detail"))]
    assert lines[:2] == ["add 42", "fault Server.userException: NoSuchParcel: There is no parcel Z."]
    assert "detail NoSuchParcel" in lines
