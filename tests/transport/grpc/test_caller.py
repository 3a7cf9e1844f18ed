"""What a plug-in calls while it binds: instances in turn, within a time and a size, and every end a status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import pytest
import trustme

from bridge.api import BindError, OpenStream, Tls, Unreachable
from bridge.errors import Unavailable
from bridge.transport.grpc.caller import Caller

Address = tuple[str, int]
Serve = Callable[..., Awaitable[Address]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(b"a")`` -> the address of a service that answers each message with it and ``b"a"``."""
    servers: list[Any] = []

    async def start(name: bytes, credentials: Any = None, port: int = 0) -> Address:
        async def echo(requests: Any, context: Any) -> AsyncIterator[bytes]:
            async for message in requests:
                if message == b"refuse":
                    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
                if message == b"wait":
                    await asyncio.Event().wait()
                yield message + name

        server = grpc.aio.server()
        handlers = {"Echo": grpc.stream_stream_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", handlers),))
        at = f"127.0.0.1:{port}"
        port = server.add_secure_port(at, credentials) if credentials else server.add_insecure_port(at)
        await server.start()
        servers.append(server)
        return ("127.0.0.1", port)

    yield start
    await asyncio.gather(*(server.stop(None) for server in servers))


def at(*addresses: Address) -> Any:
    async def resolve(name: str, port: str) -> Sequence[Address]:
        assert (name, port) == ("echo-svc", "50051")
        return addresses

    async def call(talk: Any, timeout: float = 5, **options: Any) -> Any:  # noqa: ASYNC109  # as `GrpcCall`
        options = {"max_message": 1000, **options}
        return await Caller(resolve).call("echo-svc", "50051", talk, timeout=timeout, **options)

    return call


def say(*messages: bytes, path: str = "/t.Echo/Echo") -> Callable[[OpenStream], Awaitable[Any]]:
    """The answers to `messages`, and the code and text of the call's end."""

    async def talk(open_stream: OpenStream) -> Any:
        stream = await open_stream(path)
        for message in messages:
            await stream.write(message)
        await stream.end()
        answers = []
        while (answer := await stream.read()) is not None:
            answers.append(answer)
        status = await stream.status()
        return answers, status.code, status.detail

    return talk


async def test_messages_go_both_ways_and_the_end_is_a_status(serve: Serve) -> None:
    call = at(await serve(b"!"))
    assert await call(say(b"a", b"b")) == ([b"a!", b"b!"], 0, "")
    assert await call(say(b"a", b"refuse")) == ([b"a!"], 7, "not you")
    assert (await call(say(path="/t.Echo/Nothing")))[1] == 12
    answers, code, detail = await call(say(b"x" * 2000), max_message=1000)
    assert (answers, code) == ([], 2)
    assert "larger" in detail


async def test_an_instance_that_takes_no_connection_is_passed_over(serve: Serve, unused_tcp_port: int) -> None:
    assert (await at(("127.0.0.1", unused_tcp_port), await serve(b"2"))(say(b"a")))[0] == [b"a2"]


async def test_one_conversation_stays_with_one_instance_until_it_fails(serve: Serve) -> None:
    calls: list[list[bytes]] = []

    async def talk(open_stream: OpenStream) -> Any:
        answers = [(await say(b"a")(open_stream))[0] for _ in range(3)]
        calls.append([message for some in answers for message in some])
        if calls[-1][0] == b"a1":
            raise ValueError("not from this one")
        return calls[-1]

    call = at(await serve(b"1"), await serve(b"2"))
    assert await call(talk) == [b"a2"] * 3
    assert calls == [[b"a1"] * 3, [b"a2"] * 3]
    with pytest.raises(ValueError, match="not from this one"):
        await at(await serve(b"1"))(talk)


async def test_one_that_hangs_has_its_share_of_the_time(serve: Serve) -> None:
    one, two = await serve(b"1"), await serve(b"2")

    async def talk(open_stream: OpenStream) -> Any:
        answers, *_ = await say(b"a")(open_stream)
        return answers if answers == [b"a2"] else await say(b"wait")(open_stream)

    assert await at(one, two)(talk, timeout=1) == [b"a2"]
    with pytest.raises(Unreachable, match=r"echo-svc:50051 did not answer within 0\.3 s"):
        await at(one)(talk, timeout=0.3)


async def test_a_service_may_start_a_moment_late(serve: Serve, unused_tcp_port: int) -> None:
    waiting = asyncio.create_task(at(("127.0.0.1", unused_tcp_port))(say(b"a")))
    await asyncio.sleep(0.3)
    await serve(b"late", port=unused_tcp_port)
    assert (await waiting)[0] == [b"alate"]


async def test_nobody_is_there(unused_tcp_port: int) -> None:
    with pytest.raises(Unreachable, match="has no live address"):
        await at()(say(b"a"))
    with pytest.raises(Unreachable, match="did not answer") as caught:
        await at(("127.0.0.1", unused_tcp_port))(say(b"a"), timeout=0.3)
    assert str(unused_tcp_port) not in str(caught.value)

    async def unknown(name: str, port: str) -> Sequence[Address]:
        raise Unavailable("no such name", cause="10.0.0.1 is not there")

    with pytest.raises(Unreachable, match="x:1 can't be found: no such name") as caught:
        await Caller(unknown).call("x", "1", say(b"a"), timeout=1, max_message=1)
    assert "10.0.0.1" not in str(caught.value)


async def test_tls_checks_who_answers(serve: Serve) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("echo.internal")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    call = at(await serve(b"!", grpc.ssl_server_credentials([pair])))
    roots = authority.cert_pem.bytes()
    assert (await call(say(b"a"), tls=Tls(roots=roots, server_name="echo.internal")))[0] == [b"a!"]
    for wrong in (Tls(roots=roots), Tls(roots=trustme.CA().cert_pem.bytes(), server_name="echo.internal"), None):
        with pytest.raises(Unreachable):
            await call(say(b"a"), tls=wrong, timeout=0.5)
    with pytest.raises(BindError, match="no certificates that can be read"):
        await call(say(b"a"), tls=Tls(roots=b"-----BEGIN nothing"))


async def test_an_http_server_without_grpc_says_unimplemented() -> None:
    """As a server whose router knows no such path: doc/http-grpc-status-mapping.md makes 404 UNIMPLEMENTED."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        writer.write(http.data_to_send())
        while data := await reader.read(65536):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    http.send_headers(event.stream_id, [(":status", "404"), ("content-type", "text/plain")])
                    http.send_data(event.stream_id, b"not found", end_stream=True)
            writer.write(http.data_to_send())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        answers, code, _ = await at(server.sockets[0].getsockname())(say(b"a"))
    assert (answers, code) == ([], 12)
