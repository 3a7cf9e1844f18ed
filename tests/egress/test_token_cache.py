"""When a token is fetched, renewed, kept and given up; on a clock of the test's own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from bridge.egress.token_cache import (
    AT_ONCE,
    DROP_INTERVAL,
    FIRST_WAIT,
    LONGEST_WAIT,
    REFUSED,
    CachedToken,
    TokenCounts,
    TokenEndpoint,
)
from bridge.egress.token_endpoint import MAX_LIFETIME, Token, TokenRequestError, read_answer
from bridge.errors import Forbidden, RequestError, UpstreamAuthFailed


class Fake:
    """A clock, and an endpoint that gives out ``1``, ``2``, … or raises `failure`."""

    def __init__(self, lifetime: float = 100.0) -> None:
        self.now, self.lifetime = 1000.0, lifetime
        self.asked = 0
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.outcomes: list[str] = []
        self.endpoint = TokenEndpoint("idp", self.outcomes.append, lambda: self.now)
        self.token = self.cached()

    def cached(self) -> CachedToken:
        return CachedToken(self.endpoint, self.fetch, lambda: self.now, self.refusal)

    def refusal(self, code: str) -> RequestError | None:
        return Forbidden("no", cause=code) if code == "access_denied" else None

    async def fetch(self) -> Token:
        self.asked += 1
        number = self.asked
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Token(str(number), self.lifetime)

    async def text(self, wait: float = 30.0) -> str:
        return await self.token.text(wait)

    async def settled(self) -> None:
        """Until what runs in the background has ended."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others)


async def test_no_call_waits_for_a_renewal() -> None:
    fake = Fake()
    assert await fake.text() == "1"
    fake.now += 79
    assert await fake.text() == "1"
    fake.gate = asyncio.Event()
    fake.now += 2
    assert [await fake.text() for _ in range(5)] == ["1"] * 5
    fake.gate.set()
    await fake.settled()
    assert await fake.text() == "2"
    assert fake.asked == 2


async def test_an_unused_token_is_not_renewed_and_an_old_one_not_sent() -> None:
    fake = Fake()
    await fake.text()
    fake.now += 96  # five of a hundred seconds are left
    assert fake.asked == 1
    assert await fake.text() == "2"


async def test_long_tokens_are_renewed_a_minute_before_their_end() -> None:
    fake = Fake(3600.0)
    await fake.text()
    fake.now += 3600 - 61
    await fake.text()
    await fake.settled()
    assert fake.asked == 1
    fake.now += 2
    assert await fake.text() == "1"
    await fake.settled()
    assert fake.asked == 2


async def test_an_old_token_is_used_while_its_renewal_fails() -> None:
    fake = Fake()
    await fake.text()
    fake.failure = TokenRequestError("broken")
    fake.now += 81
    for _ in range(10):
        assert await fake.text() == "1"
        await fake.settled()
    assert fake.asked == 2
    fake.now += 15
    with pytest.raises(UpstreamAuthFailed):
        await fake.text()


async def test_one_try_in_each_back_off() -> None:
    fake = Fake()
    fake.failure = TokenRequestError("broken")
    waits = []
    for _ in range(8):
        before = fake.asked
        results = await asyncio.gather(*(fake.text() for _ in range(100)), return_exceptions=True)
        assert all(isinstance(each, UpstreamAuthFailed) and each.status == 502 for each in results)
        assert len({id(each) for each in results}) == 100
        assert fake.asked == before + 1
        waits.append(fake.endpoint.backoff.retry_at - fake.now)
        fake.now += waits[-1] - 0.01
        with pytest.raises(UpstreamAuthFailed):
            await fake.text()
        assert fake.asked == before + 1
        fake.now += 0.02
    assert waits == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])
    assert (waits[0], waits[-1]) == pytest.approx((FIRST_WAIT, LONGEST_WAIT))
    fake.failure = None
    assert await fake.text() == "9"
    assert fake.outcomes == ["failed"] * 8 + ["ok"]


async def test_a_back_off_is_of_the_endpoint_not_of_a_token() -> None:
    fake = Fake()
    fake.failure = TokenRequestError("nobody there", reached=False)
    with pytest.raises(UpstreamAuthFailed) as caught:
        await fake.text()
    assert caught.value.status == 503
    assert dict(caught.value.headers)["retry-after"] == "1"
    others = [fake.cached() for _ in range(50)]
    results = await asyncio.gather(*(each.text(1) for each in others), return_exceptions=True)
    assert all(isinstance(each, UpstreamAuthFailed) for each in results)
    fake.now += 1.01
    results = await asyncio.gather(*(each.text(1) for each in others), return_exceptions=True)
    assert all(isinstance(each, UpstreamAuthFailed) for each in results)
    assert fake.asked == 2


async def test_requests_under_way_are_bounded_and_count_as_one_failure() -> None:
    fake = Fake()
    fake.gate = asyncio.Event()
    fake.failure = TokenRequestError("broken")
    calls = [asyncio.ensure_future(fake.cached().text(30)) for _ in range(200)]
    while fake.asked < AT_ONCE:
        await asyncio.sleep(0)
    fake.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, UpstreamAuthFailed) for each in results)
    assert fake.asked == AT_ONCE
    assert fake.endpoint.backoff.retry_at == pytest.approx(fake.now + FIRST_WAIT)


async def test_a_refusal_is_one_callers() -> None:
    fake = Fake()
    fake.failure = TokenRequestError("no", code="access_denied")
    for _ in range(5):
        with pytest.raises(Forbidden):
            await fake.text()
    assert fake.asked == 1
    fake.failure = None
    assert await fake.cached().text(1) == "2"
    fake.now += REFUSED
    assert await fake.text() == "3"
    assert fake.outcomes == ["refused", "ok", "ok"]


async def test_a_refused_renewal_is_not_tried_again_at_once() -> None:
    fake = Fake()
    await fake.text()
    fake.failure = TokenRequestError("no", code="access_denied")
    fake.now += 85
    for _ in range(10):
        assert await fake.text() == "1"
        await fake.settled()
    assert fake.asked == 2
    fake.now += REFUSED
    assert await fake.text() == "1"
    await fake.settled()
    assert fake.asked == 3


async def test_a_call_that_gives_up_leaves_the_request_to_others() -> None:
    fake = Fake()
    fake.gate = asyncio.Event()
    first = asyncio.ensure_future(fake.text())
    second = asyncio.ensure_future(fake.text())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(UpstreamAuthFailed, match="got no token"):
        await fake.text(0)
    fake.gate.set()
    assert await second == "1"
    assert fake.asked == 1


async def test_a_dropped_token_is_not_dropped_again_at_once() -> None:
    fake = Fake()
    await fake.text()
    for _ in range(10):  # as many calls were under way with it
        fake.token.drop()
        assert await fake.text() == "2"
    fake.now += DROP_INTERVAL
    fake.token.drop()
    assert await fake.text() == "3"


async def test_what_ends_with_the_gateway_is_told() -> None:
    fake = Fake()
    fake.gate = asyncio.Event()
    call = asyncio.ensure_future(fake.text())
    await asyncio.sleep(0)
    fake.token.cancel()
    with pytest.raises(UpstreamAuthFailed) as caught:
        await call
    assert "ending" in caught.value.cause


async def test_a_defect_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake()
    fake.failure = ZeroDivisionError("hunter2")
    with pytest.raises(UpstreamAuthFailed) as caught:
        await fake.text()
    assert "ZeroDivisionError" in caught.value.cause
    assert "hunter2" not in caught.value.cause
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("3600", 3600),
        ('"3600"', 3600),
        ("12.5", 12.5),
        ("1e300", MAX_LIFETIME),
        ("9" * 400, MAX_LIFETIME),
        ("null", 300),
    ],
)
def test_how_long_a_token_lasts(stated: str, seconds: float) -> None:
    body = b'{"access_token": "t", "token_type": "BEARER", "expires_in": %s}' % stated.encode()
    assert read_answer(200, body) == Token("t", seconds)


def test_counts() -> None:
    counts = TokenCounts()
    for kind in ("a", "b", "a"):
        counts.add(kind, "ok")
    rows: Sequence[tuple[str, str, int]] = counts()
    assert sorted(rows) == [("a", "ok", 2), ("b", "ok", 1)]
    assert list(itertools.chain(*TokenCounts()())) == []
