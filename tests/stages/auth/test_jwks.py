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
