"""Work on large messages in processes of their own: what comes back, what becomes of a process that fails, and what it
must not keep."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api import InvalidBody, Reply, RequestError, UpstreamError
from bridge.errors import Overloaded, Timeout
from bridge.payload import child, offload, zygote
from bridge.payload.offload import APART, HUGE, Offload
from tests.payload.processes import LARGE, LET, Busy, Known, Noted, Shared, apart, descriptors, exists, gone

pytestmark = pytest.mark.skipif(not zygote.AVAILABLE, reason="needs Linux")


async def test_the_work_is_done_in_another_process_which_is_gone_then(offloading: Offload) -> None:
    pid = await apart(offloading, os.getpid)
    assert pid != os.getpid()
    assert not exists(pid)  # no zombie is left either
    assert offloading.waiting == 0


@pytest.mark.parametrize("size", [APART, LARGE], ids=["small", "shared"])
async def test_what_is_small_or_changes_more_than_its_call_is_done_here(offloading: Offload, size: int) -> None:
    assert await offloading.run(size, os.getpid, effects=Noted() if size == APART else None) == os.getpid()
    assert await Offload().run(LARGE, os.getpid, effects=Noted()) == os.getpid()  # unless it was allowed


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=20, deadline=None)
@given(value=VALUES, sizes=st.lists(st.sampled_from([0, 1, 65535, 65536, 65537, 3_000_001]), max_size=3))
def test_values_come_back_as_they_are(value: Any, sizes: list[int]) -> None:
    """Those that go there come, too."""
    large = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    result = (value, large, Reply(200, [("a", "b")], large[0] if large else b""))

    async def there_and_back() -> Any:
        offloading = Offload(processes=True)
        try:
            return await offloading.run(LARGE, partial(other, os.getpid(), result), effects=Noted())
        finally:
            offloading.end()

    assert asyncio.run(there_and_back()) == result


def other(pid: int, value: Any) -> Any:
    assert pid != os.getpid()
    return value


class OwnError(UpstreamError):
    """As plug-ins have them: not made from its arguments."""

    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(f"{reason} {number}", headers=[("retry-after", "3")], cause="why", status=503)
        self.number = number


@pytest.mark.parametrize(
    "error",
    [
        InvalidBody([("/a", "it is too long"), ("/b", "it is missing")]),
        OwnError(7, reason="no"),
        UpstreamError(members={"fault": {"code": "x"}}),
        Overloaded(headers=[("retry-after", "1")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_come_back_with_all_that_they_say(offloading: Offload, error: RequestError) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await apart(offloading, work)
    assert caught.value is not error
    assert caught.value.__dict__ == error.__dict__
    assert (str(caught.value), caught.value.args) == (str(error), error.args)
    assert (caught.value.status, caught.value.title) == (error.status, error.title)


async def test_the_log_says_where_a_mistake_is(offloading: Offload) -> None:
    def mistaken() -> None:
        empty: dict[str, int] = {}
        assert empty["x"]

    with pytest.raises(KeyError, match="x") as caught:
        await apart(offloading, mistaken)
    assert "in mistaken" in "".join(caught.value.__notes__)


async def test_changes_come_back_with_results_and_with_errors(offloading: Offload) -> None:
    effects = Noted()
    result = await offloading.run(LARGE, partial(noting, effects, fails=False), effects=effects)
    assert result is effects.notes  # one object is one object
    effects = Noted()
    with pytest.raises(ValueError, match="no") as caught:
        await offloading.run(LARGE, partial(noting, effects, fails=True), effects=effects)
    assert effects.notes == ["seen", caught.value]


def noting(effects: Noted, *, fails: bool) -> Any:
    fault = ValueError("no")
    effects.notes += ["seen", fault]
    if fails:
        raise fault
    return effects.notes


async def test_a_process_that_is_ended_refuses_its_message(offloading: Offload) -> None:
    busy = Busy()
    call = asyncio.create_task(apart(offloading, busy))
    pid = await busy.begun()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Overloaded) as caught:
        await call
    assert (caught.value.status, caught.value.headers) == (503, (("retry-after", "1"),))
    assert caught.value.cause == f"{LARGE} bytes: the process that did the work was ended by signal 9"
    assert not exists(pid)
    assert await apart(offloading, lambda: "next") == "next"
    assert offloading.waiting == 0


async def test_the_deadline_ends_the_process(offloading: Offload) -> None:
    busy = Busy()
    call = asyncio.create_task(apart(offloading, busy, deadline=asyncio.get_running_loop().time() + 0.05))
    pid = await busy.begun()
    with pytest.raises(Timeout) as caught:
        await call
    assert caught.value.status == 504
    await gone(pid)
    assert await apart(offloading, lambda: "next") == "next"
    assert offloading.waiting == 0


async def test_a_call_that_is_given_up_ends_its_process(offloading: Offload) -> None:
    busy = Busy()
    call = asyncio.create_task(apart(offloading, busy))
    pid = await busy.begun()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await gone(pid)


async def test_what_waits_for_a_lock_that_nobody_releases_is_done_in_the_thread(
    offloading: Offload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LOOK", 0.02)
    lock, parent = threading.Lock(), os.getpid()
    pids = Shared()

    def work() -> str:
        if os.getpid() != parent:
            pids[0] = os.getpid()
            lock.acquire()  # another thread held it when this process began
        return threading.current_thread().name

    with lock:
        assert (await apart(offloading, work)).startswith("messages-large")
    assert pids[0]
    assert not exists(pids[0])


async def test_what_can_not_be_pickled_is_done_in_the_thread(offloading: Offload) -> None:
    here = await apart(offloading, lambda: (os.getpid(), threading.Lock()))
    assert here[0] == os.getpid()


async def test_where_no_process_can_be_made_the_thread_does_it(
    offloading: Offload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    assert await apart(offloading, os.getpid) == os.getpid()


@pytest.mark.parametrize("zygote_dies", [True, False], ids=["the zygote", "its process"])
async def test_a_process_that_ends_before_it_begins_leaves_its_work_to_the_thread(
    offloading: Offload, monkeypatch: pytest.MonkeyPatch, zygote_dies: bool
) -> None:
    """As a library may do after a fork, if it has threads."""
    fork: Callable[[], int] = os.fork
    gateway = os.getpid()

    def dies() -> int:
        zygotes = os.getpid() == gateway
        pid = fork()
        if pid == 0 and zygotes is zygote_dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return pid

    monkeypatch.setattr(os, "fork", dies)
    assert await apart(offloading, os.getpid) == os.getpid()


async def test_no_process_is_made_while_a_thread_works(offloading: Offload, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, let = threading.Event(), threading.Event()

    def gate() -> None:
        begun.set()
        assert let.wait(30)

    holding = asyncio.create_task(offloading.run(1, gate))
    assert await asyncio.to_thread(begun.wait, 30)
    monkeypatch.setattr(offload, "ALONE", 0.01)
    assert await offloading.run(HUGE + 1, os.getpid, effects=Noted()) == os.getpid()
    monkeypatch.setattr(offload, "ALONE", 30)
    waiting = asyncio.create_task(offloading.run(HUGE + 1, os.getpid, effects=Noted()))
    let.set()
    await holding
    assert await waiting != os.getpid()


async def test_two_processes_work_at_once(offloading: Offload) -> None:
    large, huge = Busy(), Busy()
    calls = [
        asyncio.create_task(offloading.run(size, busy, effects=Noted()))
        for size, busy in ((LARGE, large), (HUGE + 1, huge))
    ]
    pids = [await large.begun(), await huge.begun()]
    for busy in (large, huge):
        busy.shared[LET] = 1
    assert await asyncio.gather(*calls) == pids


async def test_a_connection_that_is_closed_meanwhile_is_closed_for_its_peer(offloading: Offload) -> None:
    ours, peer = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    busy = Busy()
    call = asyncio.create_task(apart(offloading, busy))
    pid = await busy.begun()
    ours.close()
    peer.settimeout(30)
    assert await asyncio.to_thread(peer.recv, 1) == b""
    address = listener.getsockname()
    listener.close()
    with socket.create_server(address):  # the port is free
        pass
    assert [name.partition(" ")[0] for name in descriptors(pid)] == ["/memfd:message"]
    busy.shared[LET] = 1
    await call
    peer.close()


async def test_the_gateway_goes_first(offloading: Offload) -> None:
    busy = Busy()
    call = asyncio.create_task(apart(offloading, busy))
    pid = await busy.begun()
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert await asyncio.to_thread(Path(f"/proc/{pid}/oom_score_adj").read_text) == "1000\n"
    busy.shared[LET] = 1
    await call


async def test_nothing_is_left_open(offloading: Offload) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def die() -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    parent, works = os.getpid(), [Known(work) for work in (lambda: None, threading.Lock, die, lambda: 1 / 0)]
    await apart(offloading, lambda: None)
    before = count()
    for work in works:
        with contextlib.suppress(Overloaded, ZeroDivisionError):
            await apart(offloading, work)
    assert count() == before


async def test_a_handled_signal_stays_the_gateways(offloading: Offload) -> None:
    """A signal to all processes of a service, as Ctrl-C sends it, is answered once."""
    seen: list[int] = []
    usual = signal.signal(signal.SIGUSR2, lambda *_: seen.append(os.getpid()))
    try:
        busy = Busy()
        call = asyncio.create_task(apart(offloading, busy))
        os.kill(await busy.begun(), signal.SIGUSR2)
        busy.shared[LET] = 1
        await call
        assert not seen
        os.kill(os.getpid(), signal.SIGUSR2)  # which is not blocked here
        await asyncio.sleep(0)
        assert seen == [os.getpid()]
    finally:
        signal.signal(signal.SIGUSR2, usual)


def test_a_lost_result_is_no_result_where_nobody_learns_how_a_process_ended() -> None:
    """Whoever starts the gateway may ignore SIGCHLD."""
    script = """
import asyncio, os, signal
from functools import partial
from bridge.errors import Overloaded
from bridge.payload.offload import APART, Offload
class Nothing:
    def current(self): return True
    def collect(self): pass
    def apply(self, changes): pass
async def main():
    offload = Offload(processes=True)
    print(await offload.run(APART + 1, partial(str, "done"), effects=Nothing()))
    try:
        await offload.run(APART + 1, partial(signal.raise_signal, signal.SIGKILL), effects=Nothing())
    except Overloaded as error:
        print(error.cause.partition(": ")[2])
    offload.end()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["done", "the process that did the work was ended by signal 9"]


async def test_memory_returns(offloading: Offload) -> None:
    """What is freed nowhere is gone with the process: the result alone is here."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    def work() -> int:
        return len([str(number) for number in range(1_000_000)])  # about 60 MB

    await apart(offloading, work)
    before = resident()
    assert await apart(offloading, work) == 1_000_000
    assert resident() - before < 16 * 1024 * 1024
