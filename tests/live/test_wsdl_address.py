"""``?wsdl`` through ``response: passthrough``, read by zeep: its calls go through the gateway, as its WSDL says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import zeep
from zeep.transports import Transport

from tests.conftest import Running, Start, listening
from tests.servers import Server

pytestmark = pytest.mark.live
RAW = {"request": "passthrough", "response": "passthrough"}


async def client_of(url: str, session: requests.Session | None = None) -> Any:
    return await asyncio.to_thread(zeep.Client, url, transport=Transport(session=session))


def address_of(client: Any) -> str:
    address: str = client.service._binding_options["address"]
    return address


@pytest.fixture
async def shop(php: Server, start: Start) -> AsyncIterator[Running]:
    """PHP's WSDL names a host that nobody has."""
    spec = {"route": "/v1/shop/{service}", "upstream": "shop-svc:80/{service}", "auth": "none", "transform": RAW}
    kept = {**spec, "route": "/v1/kept/{service}", "auth": {"type": "JWT"}, "cookies": "session"}
    routes = {"shop.yml": json.dumps(spec), "kept.yml": json.dumps(kept)}
    async with start(mesh={"shop-svc": php.address}, routes=routes) as gateway:
        php.journal()
        yield gateway


async def test_php(shop: Running, php: Server) -> None:
    base = f"http://127.0.0.1:{shop.port}/v1/shop/cart"
    with requests.Session() as session:  # the client's own cookies
        client = await client_of(f"{base}?wsdl", session)
        assert address_of(client) == base
        assert await asyncio.to_thread(client.service.add, item="pen") == 1
        assert await asyncio.to_thread(client.service.add, item="ink") == 2
    assert php.journal() == ["add pen", "add pen,ink"]


async def test_php_with_the_gateways_cookies(shop: Running, php: Server) -> None:
    base = f"http://127.0.0.1:{shop.port}/v1/kept/cart"
    for sub, counts in (("ada", [1, 2]), ("bob", [1]), ("ada", [3])):
        with requests.Session() as session:
            session.headers.update(shop.bearer(sub=sub))
            client = await client_of(f"{base}?wsdl", session)
            assert address_of(client) == base
            assert [await asyncio.to_thread(client.service.add, item="x") for _ in counts] == counts
            assert not session.cookies


async def test_php_changes_nothing_else(shop: Running, php: Server) -> None:
    direct = await asyncio.to_thread(requests.get, f"http://{php.address}/orders?wsdl", timeout=20)
    through = await shop.client.get("/v1/shop/orders?WSDL")
    public = f'location="http://127.0.0.1:{shop.port}/v1/shop/orders"'.encode()
    assert direct.content.count(b'location="http://orders.example/orders"') == 2
    assert through.content == direct.content.replace(b'location="http://orders.example/orders"', public)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="spyne 2.14 can't be imported by Python 3.12 and later")
async def test_spyne(spyne: Server, start: Start) -> None:
    """It makes the address of the Host that it is asked by: the name in the mesh."""
    spec = {"route": "/v1/returns/soap", "upstream": "returns-svc:80/", "auth": "none", "transform": RAW}
    async with start(mesh={"returns-svc": spyne.address}, routes={"a.yml": json.dumps(spec)}) as gateway:
        base = f"http://127.0.0.1:{gateway.port}/v1/returns/soap"
        client = await client_of(f"{base}?wsdl")
        assert address_of(client) == base
        assert await asyncio.to_thread(client.service.find, "ada", 3) == "ada/3"


MAIN = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:b="urn:bindings" targetNamespace="urn:main">
  <import namespace="urn:bindings" location="http://{host}/ledger/Ledger.svc?wsdl=wsdl0"/>
  <service name="Ledger"><port name="Ledger" binding="b:Ledger">
    <soap:address location="http://{host}/ledger/Ledger.svc"/>
  </port></service>
</definitions>"""
BINDINGS = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:x="http://www.w3.org/2001/XMLSchema"
    xmlns:b="urn:bindings" xmlns:t="urn:types" targetNamespace="urn:bindings">
  <types><x:schema>
    <x:import namespace="urn:types" schemaLocation="http://{host}/ledger/Ledger.svc?xsd=xsd0"/>
  </x:schema></types>
  <message name="In"><part name="in" element="t:post"/></message>
  <message name="Out"><part name="out" element="t:posted"/></message>
  <portType name="Ledger"><operation name="post"><input message="b:In"/><output message="b:Out"/></operation></portType>
  <binding name="Ledger" type="b:Ledger"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="post"><soap:operation soapAction="post"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation>
  </binding>
</definitions>"""
TYPES = """<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:types">
  <x:include schemaLocation="../ledger/types/common.xsd"/><x:include schemaLocation="/ledger/types/common.xsd"/>
  <x:include schemaLocation="http://ledger-svc/ledger/types/common.xsd?xsd"/>
</x:schema>"""
COMMON = """<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:types">
  <x:element name="post" type="x:int"/><x:element name="posted" type="x:int"/>
</x:schema>"""
POSTED = """<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
  <posted xmlns="urn:types">{value}</posted></s:Body></s:Envelope>"""


@pytest.mark.parametrize("host", ["srv01.city.local", "ledger-svc", "127.0.0.1:9999"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_documents_in_parts(start: Start, host: str, encoding: str) -> None:
    """As WCF publishes them: its address, and those of other documents of the service."""
    documents = {"wsdl": MAIN, "wsdl=wsdl0": BINDINGS, "xsd=xsd0": TYPES, "xsd": COMMON, "": COMMON}
    seen: list[str] = []

    async def service(scope: Any, receive: Any, send: Any) -> None:
        query = scope["query_string"].decode()
        seen.append(f"{scope['method']} {scope['path']}?{query}")
        body = (await receive())["body"]
        text = documents[query].replace("{host}", host)
        if scope["method"] == "POST":
            text = POSTED.replace("{value}", str(body.count(b">5<")))
        head = [(b"content-type", b"text/xml")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        data = text if scope["method"] == "POST" else f'<?xml version="1.0" encoding="{encoding}"?>{text}'
        await send({"type": "http.response.body", "body": data.encode(encoding if data is not text else "utf-8")})

    spec = {"route": "/v1/books/{rest*}", "upstream": "ledger-svc:80/ledger/{rest*}", "auth": "none", "transform": RAW}
    async with listening(service) as port:
        async with start(mesh={"ledger-svc": f"127.0.0.1:{port}"}, routes={"a.yml": json.dumps(spec)}) as gateway:
            base = f"http://127.0.0.1:{gateway.port}/v1/books/Ledger.svc"
            client = await client_of(f"{base}?wsdl")
            assert address_of(client) == base
            assert await asyncio.to_thread(client.service.post, 5) == 1
    paths = {urlsplit(each.partition(" ")[2]).path for each in seen}
    assert paths == {"/ledger/Ledger.svc", "/ledger/types/common.xsd"}
    assert seen[0] == "GET /ledger/Ledger.svc?wsdl"
    assert seen[-1] == "POST /ledger/Ledger.svc?"
