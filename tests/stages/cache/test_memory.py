"""The micro cache: what is stored, for whom, for how long, and how many ask upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.api.call import Call, Identity, Reply, Trailers
from bridge.stages.cache.memory import MemoryCache, cache_key


class Upstream:
    """Counts its calls; answers with their number."""

    def __init__(self, *headers: Any, status: Any = 200) -> None:
        self.headers, self.status, self.calls = list(headers), status, 0
        self.error: Exception | None = None
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Any:
        self.calls += 1
        number = self.calls
        self.asked.set()
        await self.gate.wait()
        if self.error:
            raise self.error
        return Reply(self.status, [("content-type", "text/plain"), *self.headers], str(number).encode())


@pytest.fixture
def cache(clock: Any) -> Any:
    return MemoryCache(5.0, clock=clock)


def said(reply: Any, name: Any) -> Any:
    return [value for field, value in reply.headers if field == name]


async def ask(cache: Any, upstream: Any, call: Any = None, operation: Any = "get") -> Any:
    call = call or Call("GET", "/a")
    return await cache.get_or_call(cache_key(operation, call), upstream, call)


async def test_miss_then_hit_then_too_old(cache: Any, clock: Any) -> None:
    upstream = Upstream()
    reply, hit = await ask(cache, upstream)
    assert (hit, reply.body, said(reply, "x-cache"), said(reply, "age")) == (False, b"1", ["MISS"], [])
    clock.now += 4.9
    reply, hit = await ask(cache, upstream)
    assert (hit, reply.body, said(reply, "x-cache"), said(reply, "age")) == (True, b"1", ["HIT"], ["4"])
    clock.now += 0.1
    assert (await ask(cache, upstream))[0].body == b"2"


async def test_what_one_caller_does_to_its_reply_is_not_seen_by_the_next(cache: Any) -> None:
    upstream = Upstream()
    for _ in range(3):
        reply, _ = await ask(cache, upstream)
        assert len(said(reply, "x-trace-id")) == 0
        assert len(said(reply, "x-cache")) == 1
        reply.headers.append(("x-trace-id", "1"))


async def test_trailers_are_stored_with_a_reply(cache: Any) -> None:
    trailers = Trailers((("x-sum", "7"),))

    async def summed() -> Reply:
        return Reply(200, [], b"a", trailers)

    assert [(hit, reply.trailers) for reply, hit in [await ask(cache, summed) for _ in range(2)]] == [
        (False, trailers),
        (True, trailers),
    ]


async def test_an_age_from_upstream_counts_on(cache: Any, clock: Any) -> None:
    upstream = Upstream(("Age", "10"))
    await ask(cache, upstream)
    clock.now += 2
    reply, _ = await ask(cache, upstream)
    assert [value for name, value in reply.headers if name.lower() == "age"] == ["12"]


@pytest.mark.parametrize(
    "call", [Call("POST", "/a"), Call("DELETE", "/a"), Call("PUT", "/a"), Call("GET", "/a", body=b"x")]
)
def test_questions_that_are_never_stored(call: Any) -> None:
    assert cache_key("get", call) is None


def test_questions_that_differ() -> None:
    calls = [
        Call("GET", "/a"),
        Call("HEAD", "/a"),
        Call("GET", "/b"),
        Call("GET", "/a", target="/a?"),
        Call("GET", "/a", query="x=1"),
        Call("GET", "/a", query="x=2"),
        Call("GET", "/a", headers=[("accept", "text/xml")]),
        Call("GET", "/a", headers=[("authorization", "Bearer a")]),
        Call("GET", "/a", headers=[("authorization", "Bearer b")]),
        Call("GET", "/a", headers=[("cookie", "a")]),
        Call("GET", "/a", headers=[("authorization", "a")]),
        Call("GET", "/a", headers=[("x-api-key", "a")]),
        Call("GET", "/a", headers=[("x-api-key", "b")]),
    ]
    keys = {cache_key("get", call) for call in calls} | {cache_key("other", calls[0])}
    assert len(keys) == len(calls) + 1
    assert not any("Bearer" in str(key) for key in keys)


def test_who_asks_is_not_part_of_the_question() -> None:
    assert cache_key("get", Call("GET", "/a", identity=Identity(key="a"))) == cache_key("get", Call("GET", "/a"))


@pytest.mark.parametrize(
    "headers",
    [
        [("cache-control", "no-store")],
        [("Cache-Control", "Private")],
        [("cache-control", "public"), ("cache-control", "no-cache")],
        [("cache-control", 'max-age=60,private="x"')],
        [("cache-control", "max-age=0")],
        [("set-cookie", "a=b")],
        [("Set-Cookie", "a=b")],
        [("vary", "*")],
        [("vary", "accept, *")],
    ],
)
async def test_replies_that_are_not_stored(cache: Any, headers: Any) -> None:
    upstream = Upstream(*headers)
    for number in (b"1", b"2", b"3"):
        reply, hit = await ask(cache, upstream)
        assert (reply.body, hit) == (number, False)


@pytest.mark.parametrize("status", [201, 204, 206, 301, 304, 404, 500, 503])
async def test_only_200_is_stored(cache: Any, status: Any) -> None:
    upstream = Upstream(status=status)
    await ask(cache, upstream)
    upstream.status = 200
    assert not (await ask(cache, upstream))[1]
    assert (await ask(cache, upstream))[1]


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("max-age=2", 2),
        ("max-age=60", 5),
        ("s-maxage=1, max-age=60", 1),
        ("max-age=1, s-maxage=3", 3),
        ("x-max-age=1", 5),
    ],
)
async def test_a_reply_may_ask_for_less_time(cache: Any, clock: Any, control: Any, seconds: Any) -> None:
    upstream = Upstream(("cache-control", control))
    await ask(cache, upstream)
    clock.now += seconds - 0.01
    assert (await ask(cache, upstream))[1]
    clock.now += 0.01
    assert not (await ask(cache, upstream))[1]


# --- Vary ------------------------------------------------------------------------------------------------------


def by(key: Any, **headers: Any) -> Any:
    return Call("GET", "/a", identity=Identity(key=key), headers=[(n.replace("_", "-"), v) for n, v in headers.items()])


async def test_one_answer_for_all_unless_the_reply_varies_by_who_asks(cache: Any) -> None:
    upstream = Upstream()
    assert not (await ask(cache, upstream, by("ann")))[1]
    assert (await ask(cache, upstream, by("bob")))[1]


@pytest.mark.parametrize("vary", ["authorization", "Accept, Authorization", "X-API-Key", "Cookie", "X-Tenant"])
async def test_varying_by_who_asks(cache: Any, vary: Any) -> None:
    """The field itself may have been consumed by auth, so whatever isn't plainly impersonal counts as personal."""
    upstream = Upstream(("Vary", vary))
    first = (await ask(cache, upstream, by("ann")))[0].body
    assert not (await ask(cache, upstream, by("bob")))[1]
    reply, hit = await ask(cache, upstream, by("ann"))
    assert (hit, reply.body) == (True, first)
    assert (await ask(cache, upstream, by("bob")))[1]


async def test_varying_by_language_is_shared_among_callers(cache: Any) -> None:
    upstream = Upstream(("vary", "accept-language"))
    await ask(cache, upstream, by("ann", accept_language="de"))
    assert (await ask(cache, upstream, by("bob", accept_language="de")))[1]
    assert not (await ask(cache, upstream, by("bob", accept_language="fr")))[1]


async def test_without_a_call_a_varying_reply_is_not_stored(cache: Any) -> None:
    upstream = Upstream(("vary", "authorization"))
    for _ in range(2):
        assert not (await cache.get_or_call("key", upstream))[1]


# --- many at once ----------------------------------------------------------------------------------------------


async def crowd(cache: Any, upstream: Any, callers: Any) -> Any:
    upstream.gate.clear()
    tasks = [asyncio.create_task(ask(cache, upstream, call)) for call in callers]
    await upstream.asked.wait()
    await asyncio.sleep(0)
    return tasks


async def test_one_asks_and_the_others_wait(cache: Any) -> None:
    upstream = Upstream()
    tasks = await crowd(cache, upstream, [None] * 20)
    assert upstream.calls == 1
    upstream.gate.set()
    replies = await asyncio.gather(*tasks)
    assert upstream.calls == 1
    assert {reply.body for reply, _ in replies} == {b"1"}
    assert sorted(hit for _, hit in replies) == [False] + [True] * 19


async def test_a_failure_is_the_first_callers_own(cache: Any) -> None:
    upstream = Upstream()
    tasks = await crowd(cache, upstream, [None] * 5)
    upstream.error = ConnectionError("gone")
    upstream.gate.set()
    with pytest.raises(ConnectionError):
        await tasks[0]
    results = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert all(isinstance(result, ConnectionError) for result in results)
    assert upstream.calls == 5  # each asked for itself
    upstream.error = None
    assert (await ask(cache, upstream))[1] is False
    assert (await ask(cache, upstream))[1] is True


async def test_a_first_caller_that_leaves_takes_nobody_along(cache: Any) -> None:
    upstream = Upstream()
    tasks = await crowd(cache, upstream, [None] * 3)
    tasks[0].cancel()
    upstream.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert [reply.body for reply, _ in await asyncio.gather(*tasks[1:])] == [b"2", b"3"]


async def test_a_waiting_caller_that_leaves_takes_nobody_along(cache: Any) -> None:
    upstream = Upstream()
    tasks = await crowd(cache, upstream, [None] * 3)
    tasks[1].cancel()
    upstream.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert [reply.body for reply, _ in await asyncio.gather(tasks[0], tasks[2])] == [b"1", b"1"]


async def test_what_may_not_be_shared_is_not_shared_with_those_who_waited(cache: Any) -> None:
    upstream = Upstream(("cache-control", "private"))
    tasks = await crowd(cache, upstream, [by("ann"), by("bob"), by("eve")])
    upstream.gate.set()
    assert {reply.body for reply, _ in await asyncio.gather(*tasks)} == {b"1", b"2", b"3"}
    # From now on it is known, and nobody waits for anybody.
    upstream.asked.clear()
    upstream.gate.clear()
    tasks = [asyncio.create_task(ask(cache, upstream, by(name))) for name in ("ann", "bob", "eve")]
    for _ in range(3):
        await asyncio.sleep(0)
    assert upstream.calls == 6
    upstream.gate.set()
    await asyncio.gather(*tasks)


async def test_those_who_waited_get_no_reply_that_varies_by_who_asks(cache: Any) -> None:
    upstream = Upstream(("vary", "authorization"))
    tasks = await crowd(cache, upstream, [by("ann"), by("bob"), by("ann")])
    upstream.gate.set()
    replies = [reply.body for reply, _ in await asyncio.gather(*tasks)]
    assert replies[0] == replies[2] != replies[1]


# --- bounds ----------------------------------------------------------------------------------------------------


async def test_entries_are_bounded_and_the_least_used_goes(clock: Any) -> None:
    cache, upstream = MemoryCache(5.0, max_entries=3, clock=clock), Upstream()
    for path in ("/1", "/2", "/3", "/1", "/4"):
        await ask(cache, upstream, Call("GET", path))
    assert (await ask(cache, upstream, Call("GET", "/1")))[1]
    assert not (await ask(cache, upstream, Call("GET", "/2")))[1]


async def test_bytes_are_bounded_and_given_back(clock: Any) -> Any:
    cache = MemoryCache(5.0, max_bytes=100_000, clock=clock)

    async def large() -> Any:
        return Reply(200, [], b"x" * 10_000)

    for at in range(100):
        await ask(cache, large, Call("GET", f"/{at}"))
        assert cache.size <= 100_000
    assert cache.size > 80_000
    clock.now += 10
    for at in range(100):
        await ask(cache, Upstream(status=500), Call("GET", f"/{at}"))
    assert cache.size == 0


async def test_a_reply_too_large_to_keep_is_passed_on(clock: Any) -> Any:
    cache, calls = MemoryCache(5.0, max_bytes=1000, clock=clock), []

    async def huge() -> Any:
        calls.append(1)
        return Reply(200, [], b"x" * 900)

    for _ in range(2):
        reply, hit = await ask(cache, huge)
        assert (len(reply.body), hit) == (900, False)
    assert len(calls) == 2


async def test_a_reply_in_pieces_is_passed_on_and_not_stored(cache: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    async def fetch() -> Reply:
        return Reply(200, [], pieces())

    for _ in range(2):
        reply, hit = await cache.get_or_call("key", fetch, Call("GET", "/a"))
        assert [piece async for piece in reply.body] == [b"a"]
        assert (hit, said(reply, "x-cache")) == (False, ["MISS"])
