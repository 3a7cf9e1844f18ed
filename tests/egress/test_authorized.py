"""Calls whose service wants credentials that are fetched: sent with them, and once more after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bridge.api.call import Call, GrpcReply, GrpcRequest, HttpReply, HttpRequest
from bridge.cli.offline import explanation
from bridge.egress.authorized import AuthorizedOperation
from bridge.errors import DeadlineExceeded, Unavailable
from tests.conftest import Recorded, Start, Upstream

ROUTE = "{route: /a, upstream: 'svc:80', auth: none, transform: {request: passthrough}}"


class Tokens:
    """Credentials that count: each refusal leads to the next one."""

    names = ("authorization",)

    def __init__(self) -> None:
        self.number = 1
        self.refusals = 0
        self.failure: Exception | None = None

    async def fields(self, call: Call) -> Sequence[tuple[str, str]]:
        if self.failure is not None:
            raise self.failure
        return [("authorization", f"Bearer t{self.number}")]

    def rejected(self, call: Call) -> None:
        self.refusals += 1
        self.number += 1


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    """The credentials of every route of a gateway that is made from now on."""
    tokens = Tokens()
    monkeypatch.setattr("bridge.egress.credentials.CredentialsBinder.bind", lambda self, spec: tokens)
    return tokens


async def test_calls_carry_them_in_place_of_the_clients_own(tokens: Tokens, start: Start, upstream: Upstream) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": ROUTE}) as gateway:
        reply = await gateway.client.get("/a", headers={"authorization": "Bearer mine"})
    assert reply.status_code == 200
    assert upstream.seen[0].header("authorization") == ["Bearer t1"]
    assert not tokens.refusals


async def test_a_refused_one_is_replaced_and_the_call_sent_once_more(
    tokens: Tokens, start: Start, upstream: Upstream
) -> None:
    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        return (200, [], b"fine") if request.header("authorization") == ["Bearer t2"] else (401, [], b"who?")

    upstream.answer = answer
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": ROUTE}) as gateway:
        reply = await gateway.client.post("/a", content=b"hello")
        assert (reply.status_code, reply.content) == (200, b"fine")
        assert [request.body for request in upstream.seen] == [b"hello", b"hello"]
        tokens.number = 7
        assert (await gateway.client.get("/a")).status_code == 401
    assert [request.header("authorization") for request in upstream.seen[2:]] == [["Bearer t7"], ["Bearer t8"]]
    assert tokens.number == 9


async def test_without_them_nothing_is_sent(tokens: Tokens, start: Start, upstream: Upstream) -> None:
    tokens.failure = Unavailable("Its tokens can't be had.")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": ROUTE}) as gateway:
        assert (await gateway.client.get("/a")).status_code == 503
    assert not upstream.seen


async def test_explain_shows_that_there_are_some(tokens: Tokens, start: Start) -> None:
    async with start(mesh={"svc": "127.0.0.1:1"}, routes={"a.yml": ROUTE}) as gateway:
        text = await explanation(gateway.settings, "/a", b"", "", [("authorization", "Bearer mine")])
    assert text.splitlines()[1:] == ["authorization: ***"]


class SharedTokens(Tokens):
    """The same for all callers."""

    caching = ()


@pytest.mark.parametrize(("kind", "control", "second"), [(Tokens, "private", "MISS"), (SharedTokens, None, "HIT")])
async def test_replies_that_may_depend_on_the_caller_are_not_cached(
    start: Start,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Tokens],
    control: str | None,
    second: str,
) -> None:
    monkeypatch.setattr("bridge.egress.credentials.CredentialsBinder.bind", lambda self, spec: kind())
    spec = ROUTE.replace("auth: none", "auth: none, cache: {ttl: 1h}")
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes={"a.yml": spec}) as gateway:
        replies = [await gateway.client.get("/a") for _ in range(2)]
    assert [reply.headers["x-cache"] for reply in replies] == ["MISS", second]
    assert replies[0].headers.get("cache-control") == control


# --- alone -----------------------------------------------------------------------------------------------------------


class Operation:
    """A `BoundOperation` with answers of the test's own."""

    codec = request = open = spec = None
    timeout = 30.0
    egress = None

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[Any, Any]] = []

    async def send(self, outbound: Any, *, trace: Any, **given: Any) -> Any:
        self.sent.append((outbound, trace))
        return self.answers.pop(0)

    stream = send


def authorized(operation: Operation, tokens: Tokens) -> AuthorizedOperation:
    return AuthorizedOperation(operation, tokens, Call())  # type: ignore[arg-type]  # what it takes of one


def soon() -> float:
    return asyncio.get_running_loop().time() + 30


async def test_grpc_is_sent_again_after_unauthenticated() -> None:
    tokens, operation = Tokens(), Operation(GrpcReply(16), GrpcReply(0, b"yes"))
    request = GrpcRequest("/a.S/Do", b"", [("authorization", "Bearer mine"), ("x", "1")])
    reply = await authorized(operation, tokens).send(request, deadline=soon(), trace=[("x-trace-id", "1")])
    assert reply.message == b"yes"
    assert [sent.metadata for sent, _ in operation.sent] == [[("x", "1")]] * 2
    assert [trace[1:] for _, trace in operation.sent] == [
        [("authorization", "Bearer t1")],
        [("authorization", "Bearer t2")],
    ]


async def test_a_body_that_was_read_is_not_sent_again() -> None:
    async def pieces() -> Any:
        yield b"a"

    tokens, operation = Tokens(), Operation(HttpReply(401))
    body: Any = pieces()
    request = HttpRequest("POST", "/", body=body)
    reply = await authorized(operation, tokens).send(request, deadline=soon(), trace=[])
    assert (reply.status, tokens.refusals, len(operation.sent)) == (401, 1, 1)


async def test_a_refused_reply_in_pieces_is_closed() -> None:
    closed = []

    async def pieces() -> Any:
        try:
            yield b"a"
            yield b"b"
        finally:
            closed.append(True)

    body: Any = pieces()
    await anext(body)
    operation = Operation(HttpReply(401, body=body), HttpReply(200))
    reply = await authorized(operation, Tokens()).send(HttpRequest("GET", "/"), deadline=soon(), trace=[])
    assert (reply.status, closed) == (200, [True])


async def test_a_refused_reply_in_pieces_is_closed_if_there_are_no_others() -> None:
    tokens = Tokens()

    async def pieces() -> Any:
        try:
            yield b"a"
        finally:
            tokens.number = 0

    body: Any = pieces()
    await anext(body)
    operation = Operation(HttpReply(401, body=body))
    tokens.rejected = lambda call: setattr(tokens, "failure", Unavailable("gone"))  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await authorized(operation, tokens).send(HttpRequest("GET", "/"), deadline=soon(), trace=[])
    assert tokens.number == 0


async def test_to_wait_for_them_takes_no_longer_than_the_call() -> None:
    class Silent(Tokens):
        async def fields(self, call: Call) -> Sequence[tuple[str, str]]:
            await asyncio.Event().wait()
            raise AssertionError

    operation = Operation()
    past = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await authorized(operation, Silent()).send(HttpRequest("GET", "/"), deadline=past, trace=[])
    with pytest.raises(DeadlineExceeded):
        await authorized(operation, Silent()).stream(GrpcRequest("/a", b""), deadline=None, connect_by=past, trace=[])
    assert not operation.sent


async def test_a_stream_that_is_refused_has_new_ones_next_time() -> None:
    tokens, operation = Tokens(), Operation("stream")
    call = authorized(operation, tokens)
    assert await call.stream(GrpcRequest("/a", b""), deadline=None, connect_by=soon(), trace=[]) == "stream"
    assert operation.sent[0][1] == [("authorization", "Bearer t1")]
    call.ended(0)
    call.ended(None)
    assert tokens.number == 1
    call.ended(16)
    assert tokens.number == 2
