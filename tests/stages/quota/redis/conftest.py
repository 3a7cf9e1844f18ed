"""A Redis of the test's own, which can be killed and brought back."""

from __future__ import annotations

import contextlib
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from bridge.api.call import Call, Identity
from bridge.api.limiter import Limiter, Verdict
from bridge.stages.quota.redis.address import redis_address
from bridge.stages.quota.redis.store import RedisLimits
from tests.servers import PATIENCE, missing, need


class RedisServer:
    """A server on one port, from its start to the next one without any data.

    :param options: more of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder, options
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> None:
        for _ in range(5):
            port = self.port or _free_port()
            if self._starts(port):
                self.port = port
                return
        missing("redis-server that starts")

    def _starts(self, port: int) -> bool:
        options = self._options or ("--port", str(port))
        command = ["redis-server", *(option.replace("PORT", str(port)) for option in options), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        ready: queue.Queue[bool] = queue.Queue()

        def listen() -> None:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    if "eady to accept connections" in line:
                        ready.put(True)
            ready.put(False)

        self._listener = threading.Thread(target=listen, daemon=True)
        self._listener.start()
        if ready.get(timeout=PATIENCE):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._listener.join()
            self._process = None

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """It takes connections and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def url(self, options: str = "") -> str:
        return f"redis://127.0.0.1:{self.port}/0" + (f"?{options}" if options else "")


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@pytest.fixture
def make_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Servers with options of their own."""
    need("redis-server", "redis-server", "--version")
    servers: list[RedisServer] = []

    def make(*options: str) -> RedisServer:
        servers.append(RedisServer(tmp_path, *options))
        servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need("redis-server", "redis-server", "--version")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


Gateways = Callable[..., contextlib.AbstractAsyncContextManager[list[RedisLimits]]]


@pytest.fixture
def gateways(shared_redis: RedisServer, request: pytest.FixtureRequest) -> Gateways:
    """``async with gateways(2) as (one, other)``: what counts in so many gateways, with keys of the test's own."""

    @contextlib.asynccontextmanager
    async def gateways(number: int = 1) -> AsyncIterator[list[RedisLimits]]:
        prefix = f"t{abs(hash(request.node.nodeid))}"
        stores = [RedisLimits(redis_address(shared_redis.url(f"prefix={prefix}"), Path())) for _ in range(number)]
        for store in stores:
            await store.start()
            assert store.shared.client.up
        try:
            yield stores
        finally:
            for store in stores:
                await store.aclose()

    return gateways


async def take(limiter: Limiter, identity: Identity, call: Call | None = None) -> Verdict:
    """One call, as the stage counts it."""
    call = call or Call(peer="192.0.2.7")
    verdict = limiter.take_now(identity, call, "")
    return verdict if verdict is not None else await limiter.take(identity, call, "")
