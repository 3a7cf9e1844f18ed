"""Large messages that are translated in processes of their own, through a serving gateway: whatever the client, the
service and the log get is the same as from a thread."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from benchmarks.large_messages import PROTO, WSDL, rows
from bridge.api import HttpRequest
from bridge.payload import child, offload, zygote
from bridge.payload.offload import APART
from bridge_soap.message import reply_templates

pytestmark = pytest.mark.skipif(not zygote.AVAILABLE, reason="needs Linux")

SIZE = APART + APART // 4
ROUTES = {
    "soap.yml": "{route: /soap, upstream: 'svc:80', auth: none, transform: {request: soap, soap: {wsdl: large.wsdl,"
    " operation: Get}}}",
    "pass.yml": "{route: '/pass/{rest*}', upstream: 'svc:80', auth: none, transform: {request: passthrough}}",
    "xml.yml": "{route: /xml, upstream: 'svc:80', auth: none, transform: {request: xml}}",
    "grpc.yml": "{route: /grpc, upstream: 'rpc:1', auth: none, transform: {request: grpc,"
    " grpc: {protos: [large.proto]}}}",
}
JSON = {"content-type": "application/json"}
ENVELOPE = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>'


def json_rows(size: int, last: bytes = b'{"Id":1}') -> bytes:
    row = b'{"Id":7,"Name":"a row of many","Sum":"12.50"},'
    return b'{"Row":[%s%s]}' % (row * (size // len(row)), last)


def got(size: int, first: bytes = b"") -> bytes:
    return ENVELOPE % (b'<Got xmlns="urn:large">%s%s</Got>' % (first, rows(size)))


#: For each: method, path, the client's body, and status and body of the service.
CASES: dict[str, tuple[str, bytes, int, bytes]] = {
    "a SOAP reply": ("/soap", b"{}", 200, got(SIZE)),
    "a SOAP reply with faults": ("/soap", b"{}", 200, got(SIZE, b"<Row><Name>n</Name><Id>1</Id></Row>")),
    "a SOAP reply that breaks off": ("/soap", b"{}", 200, got(SIZE)[:-30]),
    "a SOAP fault": (
        "/soap",
        b"{}",
        500,
        ENVELOPE
        % b"<s:Fault><faultcode>s:Server</faultcode><faultstring>no</faultstring><detail><a>%s</a></detail></s:Fault>"
        % (b"x" * SIZE),
    ),
    "a SOAP request": ("/soap", json_rows(SIZE, b'{"Id":1,"Name":"last"}'), 200, got(100)),
    "a SOAP request that is wrong": ("/soap", json_rows(SIZE, b'{"Id":"x","Nome":1}'), 200, got(100)),
    "an XML reply": ("/xml", b"", 200, b"<Rows>%s</Rows>" % rows(SIZE)),
    "an XML reply that is none": ("/xml", b"", 200, b"<Rows>%s</Row>" % rows(SIZE)),
    "an XML reply as JSON": ("/pass/a", b"", 200, b"<Rows>%s</Rows>" % rows(SIZE)),
    "an XML request": ("/xml", b'{"Rows":%s}' % json_rows(SIZE), 200, b"<ok/>"),
    "a gRPC request and reply": ("/grpc/large.Items/Many", b'{"items":[%s{}]}' % (b'{"number":"1"},' * 90_000), 0, b""),
    "a gRPC request that is wrong": ("/grpc/large.Items/Many", b'{"items":[%s1]}' % (b"{}," * 500_000), 0, b""),
}


class Echo:
    """Has the one method of grpc.GenericRpcHandler."""

    def service(self, handler_call_details: Any) -> Any:
        async def answer(message: bytes, _: Any) -> bytes:
            return message

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def rpc() -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    echo: Any = Echo()
    server.add_generic_rpc_handlers((echo,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[child.Child]]:
    """The processes that have done their work."""
    made: list[child.Child] = []
    result = child.Child.result

    def counted(process: child.Child, abandoned: Callable[[], bool]) -> Any:
        value = result(process, abandoned)
        made.append(process)
        return value

    monkeypatch.setattr(child.Child, "result", counted)
    yield made
    offload._shared.end()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.fast_path
async def test_all_is_as_from_a_thread(
    start: Any, upstream: Any, rpc: int, monkeypatch: pytest.MonkeyPatch, begun: list[child.Child], name: str
) -> None:
    path, body, status, text = CASES[name]
    upstream.status, upstream.headers, upstream.body = status, [("content-type", "text/xml")], text
    monkeypatch.setattr(reply_templates, "_MAX_HERE", 2)
    seen: list[tuple[Any, ...]] = []
    made = {"svc": f"127.0.0.1:{upstream.port}", "rpc": f"127.0.0.1:{rpc}"}
    async with start(mesh=made, routes=ROUTES, files={"wsdl/large.wsdl": WSDL, "protos/large.proto": PROTO}) as gateway:
        for processes in (False, False, True, True):  # the first two teach how this service writes
            monkeypatch.setattr(offload._shared, "processes", processes)
            assert processes or not begun
            answer = await gateway.client.request("POST" if body else "GET", path, content=body, headers=JSON)
            fields = [field for field in answer.headers.items() if field[0] not in ("date", "x-trace-id")]
            content = answer.content.replace(answer.headers["x-trace-id"].encode(), b"")
            sent = upstream.seen.pop().body if upstream.seen else b""
            seen.append((answer.status_code, fields, content, sent))
    assert begun
    assert all(each == seen[0] for each in seen)
    log = [[line.get(key) for key in ("status", "warnings", "cause", "upstream_status")] for line in gateway.log()]
    assert log == [log[0]] * 4
    if name == "a SOAP reply with faults":
        assert log[0][1]


@pytest.mark.fast_path
async def test_a_reply_from_which_others_are_learned_is_read_here(
    start: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch, begun: list[child.Child]
) -> None:
    monkeypatch.setattr(offload._shared, "processes", True)
    upstream.headers, upstream.body = [("content-type", "text/xml")], got(SIZE)
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    counts = []
    async with start(mesh=mesh, routes={"soap.yml": ROUTES["soap.yml"]}, files={"wsdl/large.wsdl": WSDL}) as gateway:
        for _ in range(4):
            assert (await gateway.client.post("/soap", json={})).status_code == 200
            counts.append(len(begun))
    assert counts == [0, 0, 1, 2]  # its writing, then the reader of it; then there is nothing to learn


def large_requests() -> int:
    return sum(type(each) is HttpRequest and len(each.body) > 100_000 for each in gc.get_objects())


async def test_a_large_request_whose_reply_fails_is_not_kept(start: Any, upstream: Any) -> None:
    """What fails holds its frames, and they what was sent. Little else happens here that would make Python collect."""
    upstream.headers, upstream.body = [("content-type", "text/xml")], b"{}"
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"soap.yml": ROUTES["soap.yml"]}, files={"wsdl/large.wsdl": WSDL}) as gateway:
        gc.disable()
        try:
            body = json_rows(100_000, b'{"Id":1,"Name":"last"}')
            answer = await gateway.client.post("/soap", content=body, headers=JSON)
            assert answer.status_code == 502
            async with asyncio.timeout(60):
                while large_requests():  # until the call's task and the thread have ended
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
