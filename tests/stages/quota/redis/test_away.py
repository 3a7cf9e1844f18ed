"""Redis killed, hung, brought back, strange or closed to us: each choice does what docs/limits.md says, and no call
waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from bridge.api.call import Call, Identity
from bridge.errors import LimitsUnavailable
from bridge.stages.quota.redis.address import RedisAddress, redis_address
from bridge.stages.quota.redis.connection import RedisAway, RedisConnection, asked, connect
from bridge.stages.quota.redis.store import RedisLimits
from tests.conftest import Running, Start, Upstream
from tests.stages.quota.redis.conftest import RedisServer, take
from tests.stages.quota.redis.test_shared import bind

ANN = Identity(key="sub:i|ann")
ROUTE = json.dumps({
    "route": "/p", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"},
    "limits": [{"rps": 0.001, "burst": 8}, {"concurrency": 4}],
})  # fmt: skip


class Told(logging.Handler):
    """What the gateway's log says of Redis."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._changed.set()

    async def wait(self, words: str, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while sum(words in line for line in self.lines) < times:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    handler = Told()
    log = logging.getLogger("bridge.limits")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def served(start: Start, upstream: Upstream) -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    def served(redis: RedisServer, options: str) -> contextlib.AbstractAsyncContextManager[Running]:
        mesh = {"svc": f"127.0.0.1:{upstream.port}"}
        return start(mesh=mesh, routes={"p.yml": ROUTE}, limits=redis.url(options))

    return served


async def statuses(gateway: Running, calls: int) -> list[int]:
    return [(await gateway.client.get("/p")).status_code for _ in range(calls)]


@pytest.mark.parametrize(
    ("options", "meanwhile"),
    [
        ("on_failure=open", [200] * 12),
        ("on_failure=closed", [503] * 12),
        ("on_failure=local&share=0.5", [200] * 4 + [429] * 8),
        ("", [200] * 8 + [429] * 4),  # the only gateway has all of it
    ],
    ids=["open", "closed", "local, half", "local"],
)
async def test_redis_killed_and_brought_back(
    make_redis: Callable[..., RedisServer], served: Any, told: Told, options: str, meanwhile: list[int]
) -> None:
    redis = make_redis()
    async with served(redis, options) as gateway:
        assert await statuses(gateway, 9) == [200] * 8 + [429]
        redis.kill()
        await told.wait("is away")
        assert await statuses(gateway, 12) == meanwhile
        answer = await gateway.client.get("/p")
        metrics = (await gateway.client.get("/-/metrics")).text
        redis.start()
        await told.wait("is back after")
        # It has no data, so this is a new bucket, and Redis counts again.
        assert await statuses(gateway, 9) == [200] * 8 + [429]
        assert "bridge_limits_store_up 1.0" in (await gateway.client.get("/-/metrics")).text
    assert "bridge_limits_store_up 0.0" in metrics
    assert "bridge_limits_uncounted_total 13.0" in metrics
    if "closed" in options:
        assert answer.json()["type"] == "urn:bridge:problem:limits-unavailable"
        assert answer.headers["retry-after"] == "1"
        assert [line["status"] for line in gateway.log()].count(503) == 13
    assert ("ratelimit" in answer.headers) is (answer.status_code == 429)
    assert len(told.lines) == 2
    assert f"redis://127.0.0.1:{redis.port}/0 is away" in told.lines[0]
    assert (options.partition("&")[0] or "on_failure=local") in told.lines[0]


async def test_redis_that_hangs_makes_no_call_hang(
    make_redis: Callable[..., RedisServer], served: Any, told: Told
) -> None:
    redis = make_redis()
    async with served(redis, "on_failure=closed&timeout=100ms") as gateway:
        assert await statuses(gateway, 1) == [200]
        with redis.hung():
            assert set(await statuses(gateway, 5)) == {503}
            assert "no answer within 0.1 seconds" in told.lines[0]
        await told.wait("is back after")
        assert await statuses(gateway, 1) == [200]


async def test_a_gateway_starts_while_redis_is_away(
    make_redis: Callable[..., RedisServer], served: Any, told: Told
) -> None:
    redis = make_redis()
    redis.kill()
    async with served(redis, "on_failure=open") as gateway:
        assert await statuses(gateway, 9) == [200] * 9
        redis.start()
        await told.wait("is back after")
        assert await statuses(gateway, 9) == [200] * 8 + [429]


async def test_calls_under_way_are_known_again(make_redis: Callable[..., RedisServer], told: Told) -> None:
    redis = make_redis()
    stores = [RedisLimits(redis_address(redis.url(), Path())) for _ in range(2)]
    for store in stores:
        await store.start()
    one, other = (bind(store, {"concurrency": 3}) for store in stores)
    open_calls = [await take(one, ANN) for _ in range(2)]
    redis.kill()
    await told.wait("is away", 2)
    redis.start()
    await told.wait("is back after", 2)
    for store in stores:
        connection = store.shared.client._connection
        assert connection is not None
        await asked(connection, b"PING")
    assert [(await take(other, ANN)).allowed for _ in range(2)] == [True, False]
    for call in open_calls:
        assert call.release is not None
        call.release()
    assert (await take(one, ANN)).allowed
    for store in stores:
        await store.aclose()


async def test_a_call_that_ends_while_redis_is_away_no_longer_counts_after(
    shared_redis: RedisServer, told: Told
) -> None:
    store = RedisLimits(redis_address(shared_redis.url("prefix=ended"), Path()))
    await store.start()
    limiter = bind(store, {"concurrency": 1})
    call = await take(limiter, ANN)
    assert call.release is not None
    connection = store.shared.client._connection
    assert connection is not None
    connection.close(RedisAway("the test has cut it"))
    call.release()
    await told.wait("is back after")
    assert (await take(limiter, ANN)).allowed
    assert len(store.shared._open) == 1
    await store.aclose()


async def test_a_call_whose_answer_was_lost_does_not_count_after(shared_redis: RedisServer, told: Told) -> None:
    store = RedisLimits(redis_address(shared_redis.url("prefix=lost&on_failure=open"), Path()))
    await store.start()
    limiter = bind(store, {"concurrency": 1})
    connection = store.shared.client._connection
    assert connection is not None
    other = await connect(store.shared.address, lambda cause: None)
    connection._transport.pause_reading()  # Redis counts the call, and its answer never comes
    task = asyncio.ensure_future(limiter.take(ANN, Call(peer="192.0.2.7"), ""))
    while not await asked(other, b"KEYS", b"lost:*:o:*"):
        pass
    connection.close(RedisAway("the test has cut it"))
    other.close(RedisAway("the test is over"))
    assert (await task).release is None
    await told.wait("is back after")
    assert (await take(limiter, ANN)).allowed
    await store.aclose()


@pytest.mark.parametrize(
    "answer", [b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*2\r\n:1\r\n:2\r\n", b"*6\r\n" + b"+a\r\n" * 6]
)
async def test_an_answer_that_is_not_the_scripts_makes_no_call_hang(answer: bytes) -> None:
    causes: list[RedisAway] = []
    connection = RedisConnection(1.0, causes.append)
    connection.connection_made(asyncio.WriteTransport())
    replies: list[Any] = []
    for _ in range(2):
        connection.run(replies.append, [b"key"], [])
    connection._unwritten = []
    with contextlib.suppress(NotImplementedError):  # such a transport can't be ended
        connection.data_received(answer)
    assert "its answer to the script is not the script's" in str(replies[0])


async def test_a_connection_that_ends_with_its_last_answer_is_not_up(told: Told) -> None:
    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                writer.write(b"+OK\r\n" * (1 + (b":alive" in data)))
        writer.close()

    server = await asyncio.start_server(twice, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    store = RedisLimits(redis_address(url, Path()))
    await store.start()
    assert not store.shared.client.up
    await store.aclose()
    server.close()


@pytest.mark.parametrize("on_failure", ["open", "closed", "local"])
async def test_a_server_that_is_no_redis(told: Told, on_failure: str) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}?on_failure={on_failure}"
    store = RedisLimits(redis_address(url, Path()))
    await store.start()
    limiter = bind(store, {"rps": 0.001, "burst": 2})
    if on_failure == "closed":
        with pytest.raises(LimitsUnavailable):
            await take(limiter, ANN)
    else:
        assert [(await take(limiter, ANN)).allowed for _ in range(3)] == [True, True, on_failure == "open"]
    assert "is not Redis's protocol" in told.lines[0]
    await store.aclose()
    server.close()


async def test_the_connection_fails_whoever_waits_and_takes_no_more_than_it_can_hold(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.stages.quota.redis.connection.MAX_PENDING", 3)
    causes: list[RedisAway] = []
    connection = await connect(redis_address(shared_redis.url(), Path()), causes.append)
    replies: list[Any] = []
    for _ in range(5):
        connection.send(replies.append, b"PING")
    assert [str(reply) for reply in replies] == ["3 commands wait for an answer"] * 2
    connection.close(RedisAway("enough"))
    assert [str(reply) for reply in replies[2:]] == ["enough"] * 3
    connection.send(replies.append, b"PING")
    assert str(replies[-1]) == "enough"
    assert [str(cause) for cause in causes] == ["enough"]


def test_answers_cut_anywhere_and_answers_to_nothing() -> None:
    async def read() -> None:
        causes: list[RedisAway] = []
        connection = RedisConnection(1.0, causes.append)
        connection.connection_made(asyncio.WriteTransport())
        replies: list[Any] = []
        for _ in range(2):
            connection.send(replies.append, b"PING")
        for byte in b"*2\r\n:1\r\n$3\r\nabc\r\n+PONG\r\n":
            connection.data_received(bytes([byte]))
        assert replies == [[1, b"abc"], b"PONG"]
        with contextlib.suppress(NotImplementedError):
            connection.data_received(b"+PONG\r\n")
        assert not causes or "an answer to nothing" in str(causes[0])
        connection._unwritten = []

    asyncio.run(read())


# --- signing in --------------------------------------------------------------------------------------------------


async def sign_in(url: str, home: Path = Path()) -> str:
    """``""``, or why it does not work."""
    try:
        connection = await connect(redis_address(url, home), lambda cause: None)
        await asked(connection, b"PING")
    except RedisAway as cause:
        return str(cause)
    connection.close(RedisAway("the test is over"))
    return ""


async def test_passwords_users_and_databases(
    make_redis: Callable[..., RedisServer], tmp_path: Path, told: Told
) -> None:
    redis = make_redis(
        "--port", "PORT", "--requirepass", "open sesame", "--user", "ann", "on", ">pass:word", "~*", "+@all"
    )
    at = f"127.0.0.1:{redis.port}"
    (tmp_path / "word").write_text("open sesame\n")
    assert await sign_in(f"redis://:open%20sesame@{at}/3") == ""
    assert await sign_in(f"redis://ann:pass%3Aword@{at}") == ""
    assert await sign_in(f"redis://{at}?password_file=word", tmp_path) == ""
    assert "NOAUTH" in await sign_in(f"redis://{at}/3")
    assert "WRONGPASS" in await sign_in(f"redis://ann:wrong@{at}")
    assert "DB index" in await sign_in(f"redis://:open%20sesame@{at}/99")
    store = RedisLimits(redis_address(f"redis://ann:hunter2@{at}?on_failure=open", tmp_path))
    await store.start()
    await store.aclose()
    [line] = told.lines
    assert "WRONGPASS" in line
    assert "hunter2" not in line
    assert "ann" not in line
    (tmp_path / "word").write_text("changed")
    assert "WRONGPASS" in await sign_in(f"redis://{at}?password_file=word", tmp_path)  # it is read each time


async def test_a_replica_cannot_count(make_redis: Callable[..., RedisServer], told: Told) -> None:
    redis = make_redis("--port", "PORT", "--replicaof", "127.0.0.1", "1")
    store = RedisLimits(redis_address(redis.url("on_failure=open"), Path()))
    await store.start()
    assert not store.shared.client.up
    assert "READONLY" in told.lines[0]
    await store.aclose()


async def test_tls(make_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = [f"--tls-{name}-file" for name in ("cert", "key")]
    redis = make_redis(
        "--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "no",
        files[0], str(tmp_path / "cert.pem"), files[1], str(tmp_path / "key.pem"),
        "--tls-ca-cert-file", str(tmp_path / "ca.pem"),
    )  # fmt: skip
    assert await sign_in(f"rediss://127.0.0.1:{redis.port}?ca=ca.pem", tmp_path) == ""
    assert "CERTIFICATE_VERIFY_FAILED" in await sign_in(f"rediss://127.0.0.1:{redis.port}")
    assert await sign_in(f"redis://127.0.0.1:{redis.port}") != ""


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(RedisAddress("a", password="hunter2"))
