"""Caching, single flight, old answers in need, and whose turn it is. Time is the test's."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from bridge.cluster.balance import STALE, Mesh, turns, unavailable
from bridge.cluster.outlier import JITTER, SLOW_START, UNREACHABLE
from bridge.cluster.sources.source import LookupResult
from bridge.errors import Unavailable

A, B, C = ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)


class Register:
    """A source whose answers are put in, and which counts the questions."""

    def __init__(self, *addresses: Any, ttl: Any = 10.0, ranks: Any = ()) -> None:
        self.found = LookupResult(addresses, ttl, ranks)
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.questions = 0
        self.closed = False

    async def lookup(self, name: Any, port: Any) -> Any:
        self.questions += 1
        await self.gate.wait()
        if self.down:
            raise unavailable("the register is down at 10.9.9.9")
        return self.found

    async def aclose(self) -> None:
        self.closed = True


async def firsts(mesh: Any, count: Any) -> Any:
    return [(await mesh.addresses("svc", "80"))[0] for _ in range(count)]


async def test_an_answer_is_kept_for_its_ttl(clock: Any) -> None:
    register = Register(A, ttl=10)
    mesh = Mesh(register, clock)
    assert await mesh.addresses("svc", "80") == (A,)
    clock.now += 9.9
    await mesh.addresses("svc", "80")
    assert register.questions == 1
    clock.now += 0.2
    register.found = LookupResult((B,), 10)
    assert await mesh.addresses("svc", "80") == (B,)
    assert register.questions == 2


async def test_names_and_ports_are_kept_apart(clock: Any) -> None:
    register = Register(A)
    mesh = Mesh(register, clock)
    for name, port in [("svc", "80"), ("svc", "81"), ("other", "80"), ("svc", "80")]:
        await mesh.addresses(name, port)
    assert register.questions == 3


async def test_many_who_wait_ask_once(clock: Any) -> None:
    register = Register(A)
    register.gate.clear()
    mesh = Mesh(register, clock)
    calls = [asyncio.create_task(mesh.addresses("svc", "80")) for _ in range(50)]
    await asyncio.sleep(0)
    calls[0].cancel()  # one who gives up must not spoil it for the others
    await asyncio.sleep(0)
    register.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [(A,)] * 49
    assert register.questions == 1


async def test_a_name_that_nobody_answers_to(clock: Any) -> None:
    register = Register(ttl=2)
    mesh = Mesh(register, clock)
    for _ in range(3):
        with pytest.raises(Unavailable) as none:
            await mesh.addresses("svc", "80")
        assert none.value.status == 503
        assert none.value.detail == "No service answers to this route's upstream name."
        assert dict(none.value.headers) == {"retry-after": "1"}
    assert register.questions == 1  # the absence is kept, too
    clock.now += 2
    register.found = LookupResult((A,), 10)
    assert await mesh.addresses("svc", "80") == (A,)


async def test_old_answers_serve_while_the_register_is_down_but_not_for_ever(clock: Any) -> None:
    register = Register(A, ttl=10)
    mesh = Mesh(register, clock)
    await mesh.addresses("svc", "80")
    register.down = True
    clock.now += 11
    assert await mesh.addresses("svc", "80") == (A,)
    asked = register.questions
    await mesh.addresses("svc", "80")
    assert register.questions == asked  # not at each call
    clock.now += STALE
    with pytest.raises(Unavailable) as down:
        await mesh.addresses("svc", "80")
    assert "10.9.9.9" in down.value.cause
    assert "10.9.9.9" not in down.value.detail
    register.down = False
    clock.now += 1
    assert await mesh.addresses("svc", "80") == (A,)


async def test_a_register_that_is_down_from_the_start(clock: Any) -> None:
    register = Register(A)
    register.down = True
    with pytest.raises(Unavailable):
        await Mesh(register, clock).addresses("svc", "80")


async def test_gone_is_gone(clock: Any) -> None:
    """An empty answer is an answer: unlike an error, it ends the old one."""
    register = Register(A, ttl=10)
    mesh = Mesh(register, clock)
    await mesh.addresses("svc", "80")
    register.found = LookupResult((), 1, cause="scaled to nothing")
    clock.now += 10
    with pytest.raises(Unavailable):
        await mesh.addresses("svc", "80")


async def test_a_slow_register_holds_nobody_up_who_has_an_old_answer(clock: Any) -> None:
    register = Register(A, ttl=10)
    mesh = Mesh(register, clock)
    await mesh.addresses("svc", "80")
    clock.now += 10
    register.gate.clear()
    async with asyncio.timeout(5):
        assert await mesh.addresses("svc", "80") == (A,)
    register.found = LookupResult((B,), 10)
    register.gate.set()
    assert await mesh.addresses("svc", "80") == (B,)
    assert register.questions == 2


async def test_addresses_take_turns(clock: Any) -> None:
    mesh = Mesh(Register(A, B, C), clock)
    assert Counter(await firsts(mesh, 30)) == {A: 10, B: 10, C: 10}
    assert set(await mesh.addresses("svc", "80")) == {A, B, C}
    order = await firsts(mesh, 4)
    assert order[0] == order[3]


def unreachable(mesh: Mesh, address: Any) -> None:
    outliers = mesh.outliers("svc", "80")
    outliers.unreachable(address, outliers.epoch, "refused")


def answered(mesh: Mesh, address: Any) -> None:
    outliers = mesh.outliers("svc", "80")
    outliers.succeeded(address, outliers.epoch)


async def test_an_address_that_takes_no_connection_goes_to_the_end_for_a_while(clock: Any) -> None:
    mesh = Mesh(Register(A, B, C, ttl=1000), clock)
    await mesh.addresses("svc", "80")
    unreachable(mesh, B)
    for _ in range(6):
        assert (await mesh.addresses("svc", "80"))[2] == B
    assert Counter(await firsts(mesh, 10)) == {A: 5, C: 5}
    clock.now += UNREACHABLE * (1 + JITTER)
    assert await firsts(mesh, 1) == [B]  # one call finds out
    assert Counter(await firsts(mesh, 10)) == {A: 5, C: 5}
    answered(mesh, B)
    clock.now += SLOW_START
    assert Counter(await firsts(mesh, 30)) == {A: 10, B: 10, C: 10}


async def test_ejected_addresses_stay_behind_across_a_new_answer(clock: Any) -> None:
    register = Register(A, B, ttl=2)
    mesh = Mesh(register, clock)
    await mesh.addresses("svc", "80")
    unreachable(mesh, A)
    clock.now += 3
    assert await firsts(mesh, 2) == [B, B]
    assert register.questions == 2


async def test_where_none_takes_a_connection_all_are_used(clock: Any) -> None:
    mesh = Mesh(Register(A, B), clock)
    await mesh.addresses("svc", "80")
    unreachable(mesh, B)
    unreachable(mesh, A)
    assert Counter(await firsts(mesh, 10)) == {A: 5, B: 5}
    answered(mesh, A)  # it takes one again, and needs no probe
    assert await firsts(mesh, 3) == [A, A, A]


async def test_reports_about_what_is_not_there_are_nothing(clock: Any) -> None:
    mesh = Mesh(Register(A, C), clock)
    unreachable(mesh, A)
    await mesh.addresses("svc", "80")
    unreachable(mesh, B)
    assert set(await firsts(mesh, 2)) == {A, C}
    assert mesh.outliers("svc", "80").ejections == 0


async def test_lower_priority_comes_first_and_the_rest_stands_by(clock: Any) -> None:
    mesh = Mesh(Register(A, B, C, ranks=((20, 1), (10, 1), (10, 1)), ttl=1000), clock)
    assert Counter(await firsts(mesh, 10)) == {B: 5, C: 5}
    assert (await mesh.addresses("svc", "80"))[2] == A
    unreachable(mesh, B)
    clock.now += 1
    unreachable(mesh, C)
    assert await mesh.addresses("svc", "80") == (A, B, C)


async def test_a_priority_that_is_not_used_is_not_probed(clock: Any) -> None:
    """Where B serves, A gets no calls. That it took no connection once is forgotten without one."""
    mesh = Mesh(Register(A, B, ranks=((20, 1), (10, 1)), ttl=1000), clock)
    await mesh.addresses("svc", "80")
    unreachable(mesh, A)
    clock.now += UNREACHABLE * (1 + JITTER)
    assert await firsts(mesh, 5) == [B] * 5
    assert list(mesh.ejections()) == [("svc:80", 1, 0)]


async def test_weights_are_shares(clock: Any) -> None:
    mesh = Mesh(Register(A, B, C, ranks=((0, 60), (0, 30), (0, 10))), clock)
    assert Counter(await firsts(mesh, 100)) == {A: 60, B: 30, C: 10}


def test_pending_are_spread_and_bounded() -> None:
    assert list(turns([5, 1, 1])) != sorted(turns([5, 1, 1]))
    assert list(turns([3, 3])) == [0, 1]
    assert list(turns([0, 0])) == [0, 1]
    assert list(turns([])) == []
    assert list(turns([2, 1])).count(0) / len(turns([2, 1])) == pytest.approx(2 / 3, abs=0.01)
    slight = turns([65535, 0])
    assert 0 < list(slight).count(1) <= len(slight) / 50
    assert len(turns([1, 65535] * 40)) < 300


async def test_closing_ends_what_is_under_way(clock: Any) -> None:
    register = Register(A)
    register.gate.clear()
    mesh = Mesh(register, clock)
    call = asyncio.create_task(mesh.addresses("svc", "80"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await mesh.aclose()
    with pytest.raises(Unavailable):
        await call
    assert register.closed
