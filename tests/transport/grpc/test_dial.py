"""A connection outside of any route: several calls on it, closed in the end."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
import trustme

from bridge.api.tls import Tls
from bridge.errors import Unavailable
from bridge.transport.grpc.subchannel import dial


async def conversation(address: Any, tls: Tls | None = None) -> list[bytes | None]:
    deadline = asyncio.get_running_loop().time() + 10
    answers = []
    async with dial(address, "tally-svc", tls=tls, max_reply=1 << 20, seconds=5) as subchannel:
        for _ in range(2):
            call = subchannel.stream("/a.S/Echo", (), deadline)
            for message in (b"one", b"two"):
                await call.write(message)
                answers.append(await call.read())
            await call.end()
            answers.append(await call.read())
            assert (await call.status()).code == 0
    assert not subchannel.connected
    return answers


@pytest.mark.parametrize("secure", [False, True])
async def test_calls_of_messages(serve_grpc: Any, secure: bool) -> None:
    async def echo(messages: Any, context: Any) -> Any:
        async for message in messages:
            yield message

    authority = trustme.CA()
    certificate = authority.issue_cert("tally-svc")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair]) if secure else None
    server = await serve_grpc({"Echo": echo}, stream=True, credentials=credentials)
    tls = Tls(authority.cert_pem.bytes()) if secure else None
    assert await conversation(server.address, tls) == [b"one", b"two", None] * 2


async def test_nobody_there() -> None:
    with pytest.raises(Unavailable) as none:
        await conversation(("127.0.0.1", 1))
    assert none.value.cause
