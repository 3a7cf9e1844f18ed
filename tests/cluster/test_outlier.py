"""Who is ejected, for how long, and how it comes back. Time is the test's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bridge.cluster.balance import Mesh
from bridge.cluster.outlier import (
    CONSECUTIVE,
    EJECTION,
    FAIR,
    JITTER,
    MAX_EJECTION,
    PROBE_TIMEOUT,
    REMEMBERED,
    SHORTEST,
    SLOW_START,
    UNREACHABLE,
    OutlierDetector,
    fair,
)
from bridge.cluster.sources.source import LookupResult

Address = tuple[str, int]
A, B, C, D, E = ((f"10.0.0.{number}", 80) for number in range(1, 6))
LONGEST = 1 + JITTER


class Register:
    """A source that gives these addresses."""

    def __init__(self, *addresses: Address) -> None:
        self.addresses = addresses

    async def lookup(self, name: str, port: str) -> LookupResult:
        return LookupResult(self.addresses, 1.0)

    async def aclose(self) -> None: ...


class Cluster:
    """One name. `bad` instances fail each call; calls come one after the other."""

    def __init__(self, clock: Any, *addresses: Address) -> None:
        self.register = Register(*addresses)
        self.mesh = Mesh(self.register, clock)
        self.outliers = self.mesh.outliers("svc", "80")
        self.bad: set[Address] = set()

    async def call(self) -> Address:
        """Where one call went."""
        address = (await self.mesh.addresses("svc", "80"))[0]
        epoch = self.outliers.epoch
        if address in self.bad:
            self.outliers.failed(address, epoch, "status 503")
        else:
            self.outliers.succeeded(address, epoch)
        return address

    async def calls(self, count: int) -> Counter[Address]:
        return Counter([await self.call() for _ in range(count)])


@pytest.fixture
def cluster(clock: Any) -> Callable[..., Cluster]:
    return lambda *addresses: Cluster(clock, *addresses)


async def test_failures_in_a_row_eject(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    made.bad = {B}
    counts = await made.calls(400)
    assert counts[B] == CONSECUTIVE
    assert abs(counts[A] - counts[C]) <= CONSECUTIVE
    assert list(made.mesh.ejections()) == [("svc:80", 1, 1)]


async def test_one_success_clears_the_count(cluster: Any) -> None:
    made = cluster(A, B, C)
    await made.call()
    outliers: OutlierDetector = made.outliers
    for _ in range(10):
        for _ in range(CONSECUTIVE - 1):
            outliers.failed(B, outliers.epoch, "reset")
        outliers.succeeded(B, outliers.epoch)
    assert outliers.ejections == 0
    assert not outliers.suspects  # so that calls need not report that they went well
    assert not outliers._instances


async def test_an_ejection_lasts_longer_each_time(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    made.bad = {B}
    await made.calls(100)
    for number in range(1, 15):
        seconds = min(EJECTION * number, MAX_EJECTION)
        clock.now += seconds * 0.999
        assert (await made.calls(20))[B] == 0
        clock.now += seconds * (0.001 + JITTER)
        assert (await made.calls(20))[B] == 1  # the probe


async def test_time_in_service_makes_it_short_again(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    made.bad = {B}
    await made.calls(100)
    for number in range(1, 4):
        clock.now += EJECTION * number * LONGEST
        await made.calls(20)
    made.bad = set()
    clock.now += EJECTION * 4 * LONGEST
    await made.calls(20)
    assert made.outliers.ejected == 0
    clock.now += EJECTION * 2  # two of four are forgotten
    made.bad = {B}
    await made.calls(100)
    clock.now += EJECTION * 3 * 0.999
    assert (await made.calls(20))[B] == 0
    clock.now += EJECTION * 3 * LONGEST
    assert (await made.calls(20))[B] == 1


@pytest.mark.parametrize(("count", "ejected"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
async def test_half_of_the_instances_stay(cluster: Any, count: int, ejected: int) -> None:
    addresses = [A, B, C, D, E][:count]
    made = cluster(*addresses)
    made.bad = set(addresses)
    await made.calls(200)
    assert made.outliers.ejected == ejected
    assert len(await made.calls(200)) == count - ejected


async def test_two_of_three_fail(cluster: Any, caplog: Any) -> None:
    made = cluster(A, B, C)
    made.bad = {A, B}
    counts = await made.calls(400)
    assert made.outliers.ejected == 1
    assert min(counts[A], counts[B]) == CONSECUTIVE
    assert counts[C] > 150
    assert "stays in service" in caplog.text


async def test_who_takes_no_connection_is_out_beside_the_half(cluster: Any) -> None:
    """It gets no call anyway; but that it is out leaves less for the others to be ejected from."""
    made = cluster(A, B, C)
    await made.call()
    for address in (A, B):
        made.outliers.unreachable(address, made.outliers.epoch, "refused")
    assert await made.calls(20) == {C: 20}
    made.bad = {C}
    assert await made.calls(20) == {C: 20}


async def test_one_call_at_a_time_is_a_probe(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    made.bad = {B}
    await made.calls(100)
    clock.now += EJECTION * LONGEST
    firsts = [(await made.mesh.addresses("svc", "80"))[0] for _ in range(50)]  # calls that have not ended yet
    assert Counter(firsts)[B] == 1
    clock.now += PROBE_TIMEOUT  # that one was cancelled, say
    firsts = [(await made.mesh.addresses("svc", "80"))[0] for _ in range(50)]
    assert Counter(firsts)[B] == 1


async def test_back_with_a_small_share_that_grows(cluster: Any, clock: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "bridge.mesh")
    made = cluster(A, B, C)
    made.bad = {B}
    await made.calls(100)
    made.bad = set()
    clock.now += EJECTION * LONGEST
    assert (await made.calls(1))[B] == 1
    shares = []
    for _ in range(5):
        shares.append((await made.calls(300))[B])
        clock.now += SLOW_START / 4
    assert shares[0] < 20
    assert shares == sorted(set(shares))
    assert shares[-1] == 100
    assert [record.message for record in caplog.records if "10.0.0.2" in record.message] == [
        record.message for record in caplog.records
    ]
    assert len(caplog.records) == 2  # once when it is ejected, once when it is back


async def test_ejections_are_logged_once_however_often_probes_fail(cluster: Any, clock: Any, caplog: Any) -> None:
    made = cluster(A, B, C)
    made.bad = {B}
    for _ in range(10):
        await made.calls(50)
        clock.now += MAX_EJECTION * LONGEST
    [line] = [record.message for record in caplog.records]
    assert line.startswith("svc:80: 10.0.0.2:80 is ejected for 3")
    assert line.endswith(f"{CONSECUTIVE} failed calls in a row, the last: status 503")


async def test_calls_that_fail_together_eject_once(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    await made.call()
    began = made.outliers.epoch
    for _ in range(100):
        made.outliers.failed(B, began, "reset")
    assert made.outliers.ejections == 1
    clock.now += EJECTION * LONGEST
    assert await made.call() == B  # it was the first ejection, and a short one


async def test_results_of_calls_from_before_say_nothing(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    outliers = made.outliers
    await made.call()
    began = outliers.epoch
    made.bad = {B}
    await made.calls(100)
    outliers.succeeded(B, began)  # slow, and too late
    assert (await made.calls(50))[B] == 0
    clock.now += EJECTION * LONGEST
    address, probing = (await made.mesh.addresses("svc", "80"))[0], outliers.epoch
    assert address == B
    outliers.failed(B, began, "timeout")
    outliers.succeeded(B, began)
    assert outliers.ejected == 1
    assert outliers.ejections == 1
    outliers.succeeded(B, probing)
    assert outliers.ejected == 0
    for _ in range(100):
        outliers.failed(B, probing - 1, "timeout")
    assert outliers.ejected == 0


async def test_a_call_that_no_other_took_brings_it_back(cluster: Any) -> None:
    """The ejected stand behind the others: where those take no connection, a call goes there."""
    made = cluster(A, B)
    made.bad = {B}
    await made.calls(100)
    assert (await made.mesh.addresses("svc", "80"))[1] == B
    made.outliers.succeeded(B, made.outliers.epoch)
    assert made.outliers.ejected == 0


async def test_ever_new_addresses_are_not_remembered(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    for number in range(2 * REMEMBERED):
        made.register.addresses = tuple((f"10.1.{number // 200}.{number % 200}", port) for port in (1, 2, 3, 4))
        clock.now += 1.1
        await made.call()
        for address in made.register.addresses:
            for _ in range(CONSECUTIVE):
                made.outliers.failed(address, made.outliers.epoch, "reset")
            made.outliers.failed(("10.9.9.9", number), made.outliers.epoch, "reset")
        assert len(made.outliers._instances) <= REMEMBERED + 4
        assert len(made.outliers.suspects) <= REMEMBERED + 4
    clock.now += MAX_EJECTION * LONGEST
    made.register.addresses = (A, B, C)
    await made.calls(3)
    assert not made.outliers._instances
    assert not made.outliers.suspects


async def test_a_register_that_gives_some_of_them_each_time(cluster: Any, clock: Any) -> None:
    """An instance that is not among the answers for a moment has not recovered by that."""
    made = cluster(A, B, C)
    made.bad = {B}
    await made.calls(100)
    made.register.addresses = (A, C, D)
    clock.now += 1.1
    await made.calls(10)
    made.register.addresses = (A, B, C)
    clock.now += 1.1
    assert (await made.calls(100))[B] == 0


async def test_names_are_judged_apart(clock: Any) -> None:
    mesh = Mesh(Register(A, B, C), clock)
    assert mesh.outliers("svc", "80") is mesh.outliers("svc", "80")
    await mesh.addresses("svc", "80")
    await mesh.addresses("other", "80")
    for _ in range(CONSECUTIVE):
        mesh.outliers("svc", "80").failed(A, 0, "reset")
    assert sorted(mesh.ejections()) == [("other:80", 0, 0), ("svc:80", 1, 1)]


def test_clients_choose_their_timeouts_and_not_who_is_ejected() -> None:
    assert not fair(0.001, 0.001)
    assert not fair(FAIR * 0.99, FAIR)
    assert fair(FAIR, FAIR)
    assert fair(SHORTEST, None)
    assert not fair(SHORTEST * 0.9, None)  # nor does a route's own that is hardly any


async def test_unreachable_is_not_held_against_it_for_long(cluster: Any, clock: Any) -> None:
    made = cluster(A, B, C)
    await made.call()
    for _ in range(20):
        made.outliers.unreachable(B, made.outliers.epoch, "refused")
        assert (await made.calls(20))[B] == 0
        clock.now += UNREACHABLE * LONGEST
        assert (await made.mesh.addresses("svc", "80"))[0] == B
