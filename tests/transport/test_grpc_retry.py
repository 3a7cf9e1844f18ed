"""Retries by gRFC A6, against real servers: what is sent again, when, and what never is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest

from bridge.api.call import GrpcReply, GrpcRequest, Retry
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.transport import Attempt, AttemptContext, InstanceVerdict, Outcome, Target
from bridge.cluster.attempts import MAX_TOKENS, Throttle
from bridge.cluster.cluster import Cluster
from bridge.errors import RequestError, Timeout, Unavailable
from bridge.transport.grpc.channel import GrpcChannel

UNAVAILABLE, EXHAUSTED = 14, 8
POLICY = Retry(4, 0.01, 0.05, 2.0, frozenset((UNAVAILABLE,)))


class Flaky:
    """Fails as often as `failures` says, each with its trailers; then answers. `seen` holds each attempt's metadata."""

    def __init__(self) -> None:
        self.failures: list[tuple[grpc.StatusCode, Sequence[tuple[str, str]]]] = []
        self.seen: list[dict[str, str]] = []
        self.times: list[float] = []
        self.headers: Sequence[tuple[str, str]] = ()

    async def answer(self, message: bytes, context: Any) -> bytes:
        self.seen.append(dict(context.invocation_metadata()))
        self.times.append(time.monotonic())
        if self.headers:
            await context.send_initial_metadata(self.headers)
        if message == b"wait":
            await asyncio.sleep(30)
        if self.failures:
            code, trailers = self.failures.pop(0)
            context.set_trailing_metadata(trailers)
            await context.abort(code, "not now")
        return message[::-1]

    def fail(self, times: int, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, pushback: str = "") -> None:
        trailers = [("grpc-retry-pushback-ms", pushback)] if pushback else []
        self.failures += [(code, trailers)] * times

    @property
    def attempts(self) -> list[str]:
        return [one.get("grpc-previous-rpc-attempts", "") for one in self.seen]


@pytest.fixture
def service() -> Flaky:
    return Flaky()


@pytest.fixture
async def running(service: Flaky, serve_grpc: Callable[..., Awaitable[Any]]) -> Any:
    return await serve_grpc({"Do": service.answer})


Send = Callable[..., Awaitable[GrpcReply]]


@pytest.fixture
def send(running: Any, grpc_upstream: Callable[..., Cluster]) -> Send:
    upstream = grpc_upstream(running.address)

    async def send(retry: Retry | None = POLICY, message: bytes = b"abc", *, within: float = 5.0, **given: Any) -> Any:
        deadline = asyncio.get_running_loop().time() + within
        return await upstream.send(GrpcRequest("/a.S/Do", message, retry=retry, **given), deadline=deadline)

    return send


async def test_a_listed_code_is_tried_again_and_says_so(send: Send, service: Flaky) -> None:
    service.fail(2)
    assert (await send()).message == b"cba"
    assert service.attempts == ["", "1", "2"]


async def test_attempts_have_an_end(send: Send, service: Flaky) -> None:
    service.fail(9)
    reply = await send()
    assert (reply.code, reply.detail) == (UNAVAILABLE, "not now")
    assert service.attempts == ["", "1", "2", "3"]


async def test_other_codes_are_answers(send: Send, service: Flaky) -> None:
    service.fail(2, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert (await send()).code == EXHAUSTED
    assert len(service.seen) == 1


async def test_without_a_policy_nothing_is_sent_again(send: Send, service: Flaky) -> None:
    service.fail(1)
    assert (await send(None)).code == UNAVAILABLE
    assert len(service.seen) == 1


async def test_headers_commit(send: Send, service: Flaky) -> None:
    service.headers = (("x-begun", "1"),)
    service.fail(1)
    assert (await send()).code == UNAVAILABLE
    assert len(service.seen) == 1


async def test_the_service_says_when(send: Send, service: Flaky) -> None:
    service.fail(1, pushback="300")
    assert (await send()).code == 0
    assert service.times[1] - service.times[0] >= 0.3  # the policy alone would have come back after 12 ms


@pytest.mark.parametrize("pushback", ["-1", "soon", "1.5", "9999999999"])
async def test_the_service_says_never(send: Send, service: Flaky, pushback: str) -> None:
    service.fail(1, pushback=pushback)
    assert (await send()).code == UNAVAILABLE
    assert len(service.seen) == 1


async def test_no_attempt_begins_after_the_deadline(send: Send, service: Flaky) -> None:
    service.fail(1)
    started = time.monotonic()
    slow = Retry(5, 10.0, 10.0, 1.0, frozenset((UNAVAILABLE,)))
    assert (await send(slow, within=3)).code == UNAVAILABLE  # at once: there is nothing to wait for
    assert time.monotonic() - started < 2
    assert len(service.seen) == 1


async def test_all_attempts_share_the_deadline(send: Send, service: Flaky) -> None:
    service.fail(1)
    started = time.monotonic()
    with pytest.raises(Timeout):
        await send(message=b"wait", within=0.4)
    assert time.monotonic() - started < 2


async def test_a_method_has_its_own_bound(send: Send) -> None:
    started = time.monotonic()
    with pytest.raises(Timeout):
        await send(None, b"wait", timeout=0.2)
    assert time.monotonic() - started < 2
    with pytest.raises(Timeout):
        await send(None, b"wait", timeout=20.0, within=0.2)
    assert (await send(None, timeout=20.0)).code == 0


async def test_another_address_may_answer_the_second_attempt(
    service: Flaky, running: Any, grpc_upstream: Callable[..., Cluster]
) -> None:
    """A connection that is lost in the call is UNAVAILABLE, too."""

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(24)
        writer.write(bytes.fromhex("000000040000000000"))  # an empty SETTINGS frame: the connection stands
        await writer.drain()
        while b"/a.S/Do" not in (await reader.read(65536)):
            pass
        writer.transport.abort()
        server.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    upstream = grpc_upstream(server.sockets[0].getsockname()[:2], running.address)
    deadline = asyncio.get_running_loop().time() + 5
    with pytest.raises(Unavailable):
        await grpc_upstream(("127.0.0.1", 1)).send(GrpcRequest("/a.S/Do", b"abc", retry=POLICY), deadline=deadline)
    assert (await upstream.send(GrpcRequest("/a.S/Do", b"abc", retry=POLICY), deadline=deadline)).message == b"cba"
    assert service.attempts == ["1"]
    await server.wait_closed()


async def test_a_service_that_fails_a_lot_is_not_asked_more_often(send: Send, service: Flaky) -> None:
    for _ in range(5):
        service.fail(4)
        await send()
        service.failures.clear()
    # Of ten tokens five are lost by five failures, and from then on each call is sent once.
    assert len(service.seen) == 4 + 1 + 3
    service.seen.clear()
    for _ in range(60):  # 60 calls that go well give back six
        assert (await send()).code == 0
    service.fail(1)
    assert (await send()).code == 0
    assert service.attempts[-2:] == ["", "1"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which then take no time."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("bridge.cluster.attempts.asyncio.sleep", sleep)
    return found


class Failing(GrpcChannel):
    """Each attempt fails as UNAVAILABLE, with the `pushback` of its number."""

    def __init__(self, pushback: dict[int, float] | None = None) -> None:
        super().__init__(Target("a", "1", None, ConnectionSpec(), 1))
        self._pushback = pushback or {}

    async def attempt(self, message: Any, context: AttemptContext) -> Attempt:
        pushback = self._pushback.get(context.retries)
        return Attempt(GrpcReply(UNAVAILABLE), UNAVAILABLE, Outcome.RETRIABLE, InstanceVerdict.BAD, pushback)


async def fail(policy: Retry, pushback: dict[int, float] | None = None) -> int:
    """The code of a call that fails as often as it is made."""

    async def lookup() -> Any:
        return [("127.0.0.1", 1)]

    cluster = Cluster(Failing(pushback), lookup, lambda: None)
    deadline = asyncio.get_running_loop().time() + 1e6
    reply = await cluster.send(GrpcRequest("/a.S/Do", b"", retry=policy), deadline=deadline)
    return int(reply.code)


async def test_the_waits_grow_within_a_fifth(waits: list[float]) -> None:
    policy = Retry(5, 1.0, 3.0, 2.0, frozenset((UNAVAILABLE,)))
    for _ in range(300):
        assert await fail(policy) == UNAVAILABLE
    assert len(waits) == 4 * 300
    for at, middle in enumerate((1, 2, 3, 3)):
        these = waits[at::4]
        assert middle * 0.8 <= min(these) < middle * 0.9
        assert middle * 1.1 < max(these) <= middle * 1.2


async def test_pushback_starts_the_waits_anew(waits: list[float]) -> None:
    await fail(Retry(4, 1.0, 8.0, 4.0, frozenset((UNAVAILABLE,))), {1: 0.0})
    assert len(waits) == 3
    assert waits[1] == 0
    assert waits[2] <= 1.2


async def test_a_connection_lost_after_the_headers_is_not_tried_again(
    service: Flaky,
    running: Any,
    serve_grpc: Callable[..., Awaitable[Any]],
    grpc_upstream: Callable[..., Cluster],
) -> None:
    """The service has begun: what is sent again might be done twice. Another address would answer."""
    service.headers = (("x-begun", "1"),)
    other = await serve_grpc({"Do": service.answer})
    upstream = grpc_upstream(running.address, other.address)
    deadline = asyncio.get_running_loop().time() + 5
    call = asyncio.ensure_future(upstream.send(GrpcRequest("/a.S/Do", b"wait", retry=POLICY), deadline=deadline))
    async with asyncio.timeout(5):
        while not service.seen:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # until the headers have come
    await running.server.stop(0)
    with pytest.raises(RequestError) as caught:
        await call
    assert caught.value.status == 503
    assert len(service.seen) == 1


def opened(throttle: Throttle) -> bool:
    state: bool = throttle.open
    return state


def test_tokens_come_back_in_tenths_and_never_more_than_there_were() -> None:
    throttle = Throttle()
    for _ in range(100):
        throttle.succeeded()
    for _ in range(int(MAX_TOKENS / 2) - 1):
        throttle.failed()
    assert opened(throttle)
    throttle.failed()
    assert not opened(throttle)
    throttle.succeeded()
    assert opened(throttle)
