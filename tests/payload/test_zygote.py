"""The process that is kept to make others: how often it is made, what it knows, when it ends, and what it holds."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import Overloaded
from bridge.payload import child, zygote
from bridge.payload.offload import APART, Offload
from bridge.payload.shared_file import Inherited, Outdated, SharedFile
from bridge.payload.zygote import Zygote
from tests.payload.processes import LARGE, LET, Busy, Known, Noted, apart, descriptors, ended, exists, gone

pytestmark = pytest.mark.skipif(not zygote.AVAILABLE, reason="needs Linux")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Zygote]:
    """All that are made."""
    zygotes: list[Zygote] = []
    make = Zygote.make

    def noted() -> Zygote:
        zygotes.append(make())
        return zygotes[-1]

    monkeypatch.setattr(Zygote, "make", noted)
    return zygotes


async def test_one_makes_all_processes(offloading: Offload, made: list[Zygote]) -> None:
    parent = Known(os.getppid)
    assert [await apart(offloading, parent) for _ in range(3)] == [made[0].pid] * 3
    assert len(made) == 1
    offloading.end()
    assert not exists(made[0].pid)


async def test_it_is_made_again_for_what_is_newer(offloading: Offload, made: list[Zygote]) -> None:
    first, busy = Known(lambda: "first"), Busy()
    assert await apart(offloading, first) == "first"
    under_way = asyncio.create_task(apart(offloading, busy))
    await busy.begun()
    second, text = Known(lambda: "second"), ["third"]
    third = Known(lambda: text[0])
    assert await offloading.run(APART * 4, second, effects=Noted()) == "second"
    assert len(made) == 2
    assert await offloading.run(APART * 4, third, effects=Noted()) == "third"
    assert await offloading.run(APART * 4, first, effects=Noted()) == "first"
    assert len(made) == 2
    text[0] = "changed"
    third.renew()
    assert await offloading.run(APART * 4, third, effects=Noted()) == "changed"
    assert len(made) == 3
    busy.shared[LET] = 1
    assert await under_way  # its zygote waits for it
    for old in made[:2]:
        await gone(old.pid)


class Learned(Noted):
    """Effects of work that needs what this process has learned."""

    def __init__(self, lesson: Inherited) -> None:
        super().__init__()
        self.lesson: Any = lesson

    def current(self) -> bool:
        return bool(self.lesson())


async def test_what_is_not_current_is_made_again_once(offloading: Offload, made: list[Zygote]) -> None:
    lessons: list[str] = []
    lesson, work = Known(lambda: lessons), Known(os.getpid)
    assert await apart(offloading, work) != os.getpid()
    lessons.append("how a service writes")
    for _ in range(2):
        assert await apart(offloading, work, effects=Learned(lesson)) != os.getpid()
    assert len(made) == 2
    lessons.clear()
    assert await apart(offloading, work, effects=Learned(Known(lambda: False))) == os.getpid()


async def test_one_that_has_ended_is_replaced(offloading: Offload, made: list[Zygote]) -> None:
    work = Known(os.getpid)
    await apart(offloading, work)
    os.kill(made[0].pid, signal.SIGKILL)
    await gone(made[0].pid)  # reaped by the loop
    assert await apart(offloading, work) != os.getpid()
    assert len(made) == 2


async def test_its_work_ends_with_it(offloading: Offload, made: list[Zygote], monkeypatch: pytest.MonkeyPatch) -> None:
    busy, told = Busy(), threading.Event()
    await_end = child.Child._await_end

    def noted(process: child.Child, abandoned: Callable[[], bool]) -> int:
        told.set()
        return await_end(process, abandoned)

    monkeypatch.setattr(child.Child, "_await_end", noted)
    call = asyncio.create_task(apart(offloading, busy))
    pid = await busy.begun()
    assert await asyncio.to_thread(told.wait, 30)  # the gateway knows of it
    os.kill(made[0].pid, signal.SIGKILL)
    with pytest.raises(Overloaded) as caught:
        await call
    assert caught.value.cause == f"{LARGE} bytes: the zygote has ended"
    await ended(pid)  # by now its parent is whoever takes orphans
    assert await apart(offloading, Known(lambda: "next")) == "next"


async def test_it_ends_when_nothing_is_to_do(
    offloading: Offload, made: list[Zygote], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, work = zygote.IDLE, Known(os.getpid)
    monkeypatch.setattr(zygote, "IDLE", 0.05)
    await apart(offloading, work)
    monkeypatch.setattr(zygote, "IDLE", usual)
    await gone(made[0].pid)
    assert await apart(offloading, work) != os.getpid()


async def test_a_busy_one_is_not_idle(offloading: Offload, made: list[Zygote], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "IDLE", 0.4)

    def work() -> int:
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            pass
        return os.getppid()

    assert await apart(offloading, work) in [each.pid for each in made]


async def test_it_holds_nothing_of_the_gateway(offloading: Offload, made: list[Zygote]) -> None:
    ours, peer = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)):
        await apart(offloading, os.getpid)
        until = time.monotonic() + 30
        while [name.partition(":")[0] for name in descriptors(made[0].pid)] != ["socket"]:
            assert time.monotonic() < until  # the process's own, which the gateway was told of, are closed soon
            await asyncio.sleep(0.005)
    ours.close()
    peer.settimeout(30)
    assert await asyncio.to_thread(peer.recv, 1) == b""
    peer.close()


async def test_one_with_a_lock_that_nobody_releases_is_replaced(
    offloading: Offload, made: list[Zygote], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LOOK", 0.02)
    lock = threading.Lock()

    def work() -> int:
        with lock:
            return os.getpid()

    known = Known(work)
    with lock:
        assert await apart(offloading, Known(lambda: "made")) == "made"
    assert await apart(offloading, known) == os.getpid()
    assert await apart(offloading, known) != os.getpid()
    assert len(made) == 2


async def test_work_that_can_not_be_sent_is_done_in_the_thread(offloading: Offload) -> None:
    lock = threading.Lock()
    work: Callable[[], Any] = partial(id, lock)
    assert await offloading.run(LARGE, work, effects=Noted()) == id(lock)


async def test_one_that_does_not_answer_is_replaced(
    offloading: Offload, made: list[Zygote], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, work = child.BIRTH, Known(os.getpid)
    await apart(offloading, work)
    os.kill(made[0].pid, signal.SIGSTOP)
    monkeypatch.setattr(child, "BIRTH", 0.05)
    monkeypatch.setattr(child, "LOOK", 0.02)
    assert await apart(offloading, work) == os.getpid()
    os.kill(made[0].pid, signal.SIGCONT)
    await gone(made[0].pid)
    monkeypatch.setattr(child, "BIRTH", usual)
    assert await apart(offloading, work) != os.getpid()


async def test_a_process_that_can_not_be_made_leaves_its_work_to_the_thread(
    offloading: Offload, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, fork = os.getpid(), os.fork

    def refuse() -> int:
        if os.getpid() != gateway:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", refuse)
    assert await apart(offloading, os.getpid) == gateway


KILLED = """
import asyncio, os, sys
from bridge.payload.offload import Offload
from tests.payload.processes import Busy, apart

async def main():
    busy, offloading = Busy(), Offload(processes=True)
    call = asyncio.create_task(apart(offloading, busy))
    print(os.getpid(), offloading.made._zygote.pid if await busy.begun() else 0, busy.shared[0], flush=True)
    await call

asyncio.run(main())
"""


def test_nothing_is_left_of_a_gateway_that_is_killed() -> None:
    """Its processes keep its standard output until they have ended."""
    ran = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert ran.stdout is not None
    gateway, kept, worker = map(int, ran.stdout.readline().split())
    assert len({gateway, kept, worker}) == 3
    os.kill(gateway, signal.SIGKILL)
    ran.communicate(timeout=20)
    assert not any(Path(f"/proc/{pid}/fd/1").exists() for pid in (kept, worker))


def test_a_number_that_is_not_known_is_newer() -> None:
    gone_by = Known(lambda: None)
    with SharedFile.make() as file:
        assert file.write([b"x" * 100_000, gone_by]) == gone_by.number
        read = file.read()
        assert read[1] is gone_by
        del read
        gone_by.renew()
        with pytest.raises(Outdated):
            file.read()
