"""Keys over time: fetched once, kept, rotated, and never lost because a fetch failed."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from typing import Any

import httpx
import pytest

from bridge.errors import IssuerUnavailable
from bridge.stages.auth import jwks, published
from bridge.stages.auth.jwks import CachedKeys, file_keys
from bridge.stages.auth.keys import BadKey, read_jwks
from bridge.stages.auth.published import _age, url_keys
from tests.loop_clock import standing_still


class Issuer:
    """A fetch that does what it is told; `gate` holds it back."""

    def __init__(self, *keys: Any) -> None:
        self.publish(*keys)
        self.fetches, self.age, self.error = 0, 300.0, ""
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def publish(self, *pairs: Any) -> None:
        self.keys = read_jwks(json.dumps({"keys": [pair.jwk for pair in pairs]}).encode())

    async def __call__(self) -> Any:
        self.fetches += 1
        self.asked.set()
        await self.gate.wait()
        if self.error:
            raise BadKey(self.error)
        return self.keys, self.age


@pytest.fixture
def pairs(make_pair: Any) -> Any:
    return make_pair("ES256", "one"), make_pair("ES256", "two")


@pytest.fixture
def issuer(pairs: Any) -> Any:
    return Issuer(pairs[0])


@pytest.fixture
async def source(issuer: Any, clock: Any) -> Any:
    source = CachedKeys("https://idp.test", issuer, clock=clock)
    yield source
    await source.aclose()


async def settle(source: Any) -> None:
    """Wait for the refresh that runs beside."""
    if source._flight is not None:
        await asyncio.wait([source._flight])


async def kids(source: Any, kid: Any = "one") -> Any:
    return [key.kid for key in await source.find(kid, "ES256")]


async def test_callers_at_once_share_one_fetch(issuer: Any, source: Any) -> None:
    issuer.gate.clear()
    callers = [asyncio.create_task(kids(source)) for _ in range(20)]
    await issuer.asked.wait()
    issuer.gate.set()
    assert await asyncio.gather(*callers) == [["one"]] * 20
    assert issuer.fetches == 1


async def test_a_caller_that_leaves_does_not_end_the_fetch_for_others(issuer: Any, source: Any) -> None:
    issuer.gate.clear()
    first, second = asyncio.create_task(kids(source)), asyncio.create_task(kids(source))
    await issuer.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.gate.set()
    assert await second == ["one"]
    assert issuer.fetches == 1


async def test_fresh_keys_are_not_fetched_again(issuer: Any, source: Any, clock: Any) -> None:
    await kids(source)
    clock.now += 299
    assert source.fresh()
    await kids(source)
    assert issuer.fetches == 1


async def test_a_little_too_old_keys_serve_while_new_ones_come(
    issuer: Any, source: Any, clock: Any, pairs: Any
) -> None:
    await kids(source)
    issuer.publish(pairs[1])
    issuer.gate.clear()
    clock.now += 301
    assert not source.fresh()
    assert await kids(source) == ["one"]  # nobody waits
    issuer.gate.set()
    await settle(source)
    assert (issuer.fetches, source.version) == (2, 1)
    assert await kids(source) == []


async def test_much_too_old_keys_are_waited_for(issuer: Any, source: Any, clock: Any, pairs: Any) -> None:
    await kids(source)
    issuer.publish(pairs[1])
    clock.now += 300 + jwks.GRACE
    assert await kids(source) == []


async def test_the_version_goes_up_only_when_keys_change(issuer: Any, source: Any, clock: Any) -> None:
    await kids(source)
    clock.now += 1000
    await kids(source)
    assert (issuer.fetches, source.version) == (2, 0)


async def test_an_unknown_kid_finds_rotated_keys_at_once(issuer: Any, source: Any, pairs: Any) -> None:
    await kids(source)
    issuer.publish(*pairs)
    assert await kids(source, "two") == ["two"]
    assert (issuer.fetches, source.version) == (2, 1)


async def test_made_up_kids_cause_one_fetch_in_ten_seconds(issuer: Any, source: Any, clock: Any) -> None:
    await kids(source)
    for at in range(50):
        assert await kids(source, f"made-up-{at}") == []
    assert issuer.fetches == 2
    clock.now += jwks.UNKNOWN_KID_INTERVAL
    await kids(source, "made-up")
    assert issuer.fetches == 3


async def test_a_made_up_kid_as_the_very_first_is_one_fetch(issuer: Any, source: Any) -> None:
    assert await kids(source, "made-up") == []
    assert issuer.fetches == 1


async def test_callers_with_a_new_kid_join_the_refresh_under_way(issuer: Any, source: Any, pairs: Any) -> None:
    await kids(source)
    issuer.publish(*pairs)
    issuer.gate.clear()
    issuer.asked.clear()
    callers = [asyncio.create_task(kids(source, "two")) for _ in range(5)]
    await issuer.asked.wait()
    issuer.gate.set()
    assert await asyncio.gather(*callers) == [["two"]] * 5
    assert issuer.fetches == 2


async def test_a_failed_refresh_keeps_the_old_keys(issuer: Any, source: Any, clock: Any) -> None:
    await kids(source)
    issuer.error = "down"
    clock.now += 10_000
    assert await kids(source) == ["one"]
    assert issuer.fetches == 2
    assert await kids(source) == ["one"]
    assert issuer.fetches == 2  # not before RETRY_STALE
    clock.now += jwks.RETRY_STALE
    issuer.error = ""
    assert await kids(source) == ["one"]  # beside: an issuer that was down makes nobody wait
    await settle(source)
    assert issuer.fetches == 3
    assert source.fresh()


async def test_an_unknown_kid_while_the_issuer_is_down_is_not_the_callers_fault(
    issuer: Any, source: Any, clock: Any
) -> None:
    await kids(source)
    issuer.error = "down"
    with pytest.raises(IssuerUnavailable) as caught:
        await kids(source, "two")
    assert caught.value.status == 503
    assert int(dict(caught.value.headers)["retry-after"]) >= 1


async def test_without_any_keys_503_and_then_another_try(issuer: Any, source: Any, clock: Any) -> None:
    issuer.error = "down"
    for _ in range(5):
        with pytest.raises(IssuerUnavailable) as caught:
            await kids(source)
        assert dict(caught.value.headers) == {"retry-after": "2"}
        assert "down" not in caught.value.detail
    assert issuer.fetches == 1
    clock.now += jwks.RETRY
    issuer.error = ""
    assert await kids(source) == ["one"]


async def test_closing_ends_a_fetch_under_way(issuer: Any, source: Any) -> None:
    issuer.gate.clear()
    caller = asyncio.create_task(kids(source))
    await issuer.asked.wait()
    await source.aclose()
    with pytest.raises(IssuerUnavailable):  # the fetch ends, and not the call that waits for it
        await caller


# --- without calls, and while the issuer is away, by the loop's clock ----------------------------------------------


class Schedule:
    """A fetch that notes when it is made, and how many are made at once."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.at: list[float] = []
        self.running = self.most = 0
        self.started = self.lasts = 0.0

    async def __call__(self) -> Any:
        loop = asyncio.get_running_loop()
        self.at.append(loop.time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.lasts)
            return await self.issuer()
        finally:
            self.running -= 1


@pytest.fixture
async def loop_clock() -> Any:
    with standing_still() as clock:
        yield clock


@pytest.fixture
def schedule(issuer: Any) -> Schedule:
    return Schedule(issuer)


@pytest.fixture
async def kept(schedule: Schedule, loop_clock: Any) -> Any:
    """A source that was started, and has its first keys."""
    source = CachedKeys("https://idp.test", schedule, max_stale=600.0, clock=loop_clock)
    source.start()
    await settle(source)
    schedule.at = [0.0 for _ in schedule.at]
    schedule.started = loop_clock.now
    yield source
    await source.aclose()


def times(schedule: Any) -> list[float]:
    return [round(at - schedule.started) for at in schedule.at[1:]]


async def test_keys_are_fetched_before_they_go_stale_and_without_a_call(schedule: Any, kept: Any) -> None:
    await asyncio.sleep(600)
    assert times(schedule) == [270, 540]
    assert kept.fresh()


@pytest.mark.parametrize(("age", "first"), [(30.0, 27), (300.0, 270), (3600.0, 3540)])
async def test_how_long_before(issuer: Any, schedule: Any, loop_clock: Any, age: float, first: int) -> None:
    issuer.age = age
    source = CachedKeys("https://idp.test", schedule, clock=loop_clock)
    source.start()
    await settle(source)
    schedule.started = loop_clock.now
    await asyncio.sleep(age)
    assert times(schedule)[0] == first
    await source.aclose()


async def test_an_issuer_that_is_away_is_asked_more_and_more_rarely(issuer: Any, schedule: Any, kept: Any) -> None:
    issuer.error = "down"
    await asyncio.sleep(400)
    assert times(schedule) == [270, 280, 300, 330, 360, 390]
    assert await kids(kept) == ["one"]
    issuer.error = ""
    await asyncio.sleep(300)
    assert times(schedule)[6:] == [420, 690]
    assert kept.fresh()


async def test_old_keys_are_used_for_max_stale_and_no_longer(
    issuer: Any, schedule: Any, kept: Any, loop_clock: Any
) -> None:
    assert kept.remaining == 900
    issuer.error = "down"
    await asyncio.sleep(899)
    assert await kids(kept) == ["one"]
    assert round(kept.remaining) == 1
    version = kept.version
    loop_clock.now += 1
    with pytest.raises(IssuerUnavailable):
        await kids(kept)
    assert kept.remaining == 0
    assert kept.version > version  # tokens that were verified end with the keys
    issuer.error = ""
    await asyncio.sleep(30)
    assert await kids(kept) == ["one"]


async def test_tokens_that_were_verified_end_with_max_stale(
    issuer: Any, kept: Any, loop_clock: Any, pairs: Any, claims_of: Any, trust_in: Any, bearer: Any, route: Any
) -> None:
    authenticator = route(trust_in(keys=kept, algorithms={"ES256"}))
    call = bearer(pairs[0].sign(claims_of()))
    await authenticator(call)
    issuer.error = "down"
    await asyncio.sleep(890)
    await authenticator(call)
    loop_clock.now += 10
    with pytest.raises(IssuerUnavailable):
        await authenticator(call)


async def test_an_issuer_that_hangs_holds_a_call_for_two_seconds(
    issuer: Any, schedule: Any, loop_clock: Any, pairs: Any, claims_of: Any, trust_in: Any, bearer: Any, route: Any
) -> None:
    schedule.lasts = 1e6
    source = CachedKeys("https://idp.test", schedule, clock=loop_clock)
    authenticator = route(trust_in(keys=source, algorithms={"ES256"}))
    for _ in range(3):
        came = loop_clock.now
        with pytest.raises(IssuerUnavailable):
            await authenticator(bearer(pairs[0].sign(claims_of())))
        assert loop_clock.now - came <= jwks.CALL_WAIT + 0.01
    assert len(schedule.at) == 1
    await source.aclose()


async def test_an_issuer_that_hangs_later_holds_no_call_with_a_known_key(
    issuer: Any, schedule: Any, kept: Any, loop_clock: Any
) -> None:
    schedule.lasts = 1e6
    loop_clock.now += 301
    assert await kids(kept) == ["one"]
    loop_clock.now += 100  # past grace: the machine slept, say
    came = loop_clock.now
    assert await kids(kept) == ["one"]
    assert loop_clock.now - came <= jwks.CALL_WAIT
    assert (len(schedule.at), schedule.most) == (2, 1)


async def test_invented_kids_cause_few_fetches_and_refuse_no_new_key(
    issuer: Any, schedule: Any, kept: Any, loop_clock: Any, pairs: Any
) -> None:
    """Whoever sends invented tokens all the time makes those of a new key wait, and none of them is refused."""

    async def invented(number: int) -> Any:
        try:
            return await kids(kept, f"made-up-{number}")
        except IssuerUnavailable:
            return "503"

    async def flood() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(invented(number))
                await asyncio.sleep(0.3)

    flooding = asyncio.create_task(flood())
    await asyncio.sleep(4)
    issuer.publish(*pairs)
    came = loop_clock.now
    assert await kids(kept, "two") == ["two"]
    assert loop_clock.now - came <= jwks.CALL_WAIT
    await flooding
    took = loop_clock.now - schedule.started
    assert len(times(schedule)) <= jwks.UNKNOWN_KID_BURST + took / jwks.UNKNOWN_KID_INTERVAL + 1
    assert schedule.most == 1


async def test_a_few_invented_kids_delay_nobody(issuer: Any, kept: Any, loop_clock: Any, pairs: Any) -> None:
    for number in range(jwks.UNKNOWN_KID_BURST - 1):
        assert await kids(kept, f"made-up-{number}") == []
        loop_clock.now += 0.001
    issuer.publish(*pairs)
    came = loop_clock.now
    assert await kids(kept, "two") == ["two"]
    assert loop_clock.now == came


async def test_a_key_that_is_published_during_a_fetch_is_found(
    issuer: Any, schedule: Any, kept: Any, pairs: Any
) -> None:
    """The fetch under way began before, and may not have it."""
    keys, fetched = issuer.keys, asyncio.Event()

    async def slow() -> Any:
        if not fetched.is_set():
            fetched.set()
            await asyncio.sleep(0.5)
            return keys, 300.0
        return issuer.keys, 300.0

    kept._fetch = slow
    early = asyncio.create_task(kids(kept, "made-up"))
    await fetched.wait()
    issuer.publish(*pairs)
    await asyncio.sleep(0.1)
    assert await kids(kept, "two") == ["two"]
    assert await early == []


async def test_only_so_many_calls_wait(issuer: Any, source: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(jwks, "MAX_WAITING", 3)
    await kids(source)
    issuer.gate.clear()
    issuer.asked.clear()
    waiting = [asyncio.create_task(kids(source, f"made-up-{number}")) for number in range(3)]
    await issuer.asked.wait()
    with pytest.raises(IssuerUnavailable):
        await kids(source, "made-up")
    issuer.gate.set()
    assert await asyncio.gather(*waiting) == [[], [], []]


async def test_a_defect_of_the_gateway_ends_no_refreshes(issuer: Any, schedule: Any, kept: Any, caplog: Any) -> None:
    fetch, kept._fetch = kept._fetch, lambda: 1 / 0
    await asyncio.sleep(271)
    assert "ZeroDivisionError" in caplog.text
    kept._fetch = fetch
    await asyncio.sleep(30)
    assert len(times(schedule)) == 1
    assert kept.fresh()


async def test_closing_ends_what_would_come(issuer: Any, schedule: Any, kept: Any) -> None:
    await kept.aclose()
    await asyncio.sleep(1000)
    assert times(schedule) == []


# --- over a socket ---------------------------------------------------------------------------------------------


@pytest.fixture
async def fetched(jwks_server: Any, clock: Any) -> Any:
    async with httpx.AsyncClient(timeout=5) as client:
        source = url_keys("https://idp.test", jwks_server.url, lambda: client, clock=clock)
        yield source
        await source.aclose()


async def test_keys_come_over_http_and_cache_control_is_heeded(
    fetched: Any, jwks_server: Any, clock: Any, pairs: Any
) -> None:
    jwks_server.keys = [pairs[0].jwk]
    jwks_server.headers = {"cache-control": "public, max-age=120"}
    assert await kids(fetched) == ["one"]
    clock.now += 119
    assert fetched.fresh()
    clock.now += 1
    assert not fetched.fresh()
    assert "accept-encoding: identity" in jwks_server.requests[0].lower()
    assert "user-agent: hms-bridge/" in jwks_server.requests[0].lower()


@pytest.mark.parametrize(
    ("field", "age"),
    [
        ("", 300),
        ("public", 300),
        ("max-age=600", 600),
        ("public,max-age = 600", 600),
        ('MAX-AGE="90"', 90),
        ("max-age=0", 30),
        ("max-age=86400", 3600),
        ("max-age=99999999999999", 3600),
        ("max-age=-5", 300),
        ("no-store", 30),
        ("no-cache, max-age=900", 30),
        ("x-max-age=7", 300),
    ],
)
def test_how_long_keys_are_fresh(field: Any, age: Any) -> None:
    assert _age(field) == age


async def test_a_redirect_is_not_followed(fetched: Any, jwks_server: Any) -> None:
    jwks_server.status, jwks_server.headers = 302, {"location": jwks_server.url}
    with pytest.raises(IssuerUnavailable):
        await kids(fetched)
    assert len(jwks_server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [b"<html>maintenance</html>", b"x" * (jwks.MAX_JWKS + 1), gzip.compress(b"{}")],
    ids=["html", "huge", "gzip"],
)
async def test_an_answer_that_is_no_key_set_is_a_failure(fetched: Any, jwks_server: Any, body: Any) -> None:
    jwks_server.body = body
    with pytest.raises(IssuerUnavailable):
        await kids(fetched)


async def test_an_answer_may_be_only_so_large(fetched: Any, jwks_server: Any, pairs: Any, clock: Any) -> None:
    good = json.dumps({"keys": [pairs[0].jwk]}).encode()
    jwks_server.body = good + b" " * jwks.MAX_JWKS
    with pytest.raises(IssuerUnavailable):
        await kids(fetched)
    clock.now += jwks.RETRY
    jwks_server.body = good.ljust(jwks.MAX_JWKS)
    assert await kids(fetched) == ["one"]


async def test_an_answer_that_never_ends_is_given_up(fetched: Any, jwks_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(published, "FETCH_TIMEOUT", 0.05)
    jwks_server.hold.clear()
    with pytest.raises(IssuerUnavailable):
        await kids(fetched)


async def test_nobody_listens(clock: Any, unused_port: Any) -> None:
    async with httpx.AsyncClient() as client:
        source = url_keys("https://idp.test", f"http://127.0.0.1:{unused_port}/", lambda: client, clock=clock)
        with pytest.raises(IssuerUnavailable):
            await kids(source)


# --- from a file -----------------------------------------------------------------------------------------------


@pytest.fixture
def keys_file(tmp_path: Any, pairs: Any) -> Any:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [pairs[0].jwk]}))
    return path


async def test_a_changed_file_is_read_again(keys_file: Any, pairs: Any, clock: Any) -> None:
    source = file_keys("https://idp.test", keys_file, clock=clock)
    assert await kids(source) == ["one"]
    new = keys_file.with_name("new")
    new.write_text(json.dumps({"keys": [pairs[1].jwk]}))
    os.replace(new, keys_file)
    clock.now += 1
    assert await kids(source) == []
    assert await kids(source, "two") == ["two"]
    assert source.version == 1


async def test_a_file_half_written_or_gone_keeps_the_keys(keys_file: Any, pairs: Any, clock: Any) -> None:
    source = file_keys("https://idp.test", keys_file, clock=clock)
    keys_file.write_text('{"keys": [')
    clock.now += 1
    assert await kids(source) == ["one"]
    keys_file.unlink()
    clock.now += 60
    assert await kids(source) == ["one"]
    await settle(source)
    keys_file.write_text(json.dumps({"keys": [pairs[1].jwk]}))
    clock.now += 60
    await kids(source)
    await settle(source)
    assert await kids(source, "two") == ["two"]


def test_a_file_that_can_not_be_read_at_start_is_refused(tmp_path: Any) -> None:
    with pytest.raises(BadKey, match="No such file"):
        file_keys("https://idp.test", tmp_path / "none.json")
    with pytest.raises(BadKey, match="it is no file"):
        file_keys("https://idp.test", tmp_path)
    (tmp_path / "huge").write_bytes(b" " * (jwks.MAX_JWKS + 1))
    with pytest.raises(BadKey, match="more than 512 kB"):
        file_keys("https://idp.test", tmp_path / "huge")
