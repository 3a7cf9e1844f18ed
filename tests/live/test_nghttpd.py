"""Plain HTTP/2 with trailers from nghttpd, another's implementation of all the frames."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.http2.hpack import indexed, named
from bridge.transport.http2.transport import Http2Transport
from tests.servers import need, running
from tests.transport.http2.kit import Caught

pytestmark = pytest.mark.live

SIZE = 3_000_000


@pytest.fixture(params=[(), ("--padding=100",), ("--max-concurrent-streams=3", "--header-table-size=0")])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    need("nghttpd", "nghttpd", "--version")
    served = tmp_path / "served"
    served.mkdir()
    (served / "large").write_bytes(bytes(SIZE))
    (served / "small").write_bytes(b"hello")
    for left in reversed(range(3)):  # it can't choose a port itself
        with socket.create_server(("127.0.0.1", 0)) as bound:
            chosen = bound.getsockname()[1]
        home = tmp_path / str(left)
        home.mkdir()
        command = ("stdbuf", "-oL", "nghttpd", "--no-tls", "-v", "-d", str(served), "--trailer=grpc-status: 0")
        with contextlib.ExitStack() as stack:
            address = ("-a", "127.0.0.1", *request.param, str(chosen))
            try:
                ready = r"listen 127\.0\.0\.1:(\d+)"
                found = stack.enter_context(running("nghttpd", (*command, *address), home, ready=ready))
            except pytest.fail.Exception:
                if not left:
                    raise
                continue
            yield found.port
            return


class Reading(Caught):
    """Gives back what it reads, and tells when it is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = asyncio.Event()

    def data(self, payload: bytes, *, ended: bool) -> None:
        super().data(payload, ended=ended)
        self.credit(len(payload))

    def headers(self, fields: object, *, ended: bool) -> None:
        super().headers(fields, ended=ended)  # type: ignore[arg-type]
        if ended:
            self.whole.set()


@pytest.mark.parametrize(("path", "size"), [(b"/large", SIZE), (b"/small", 6 - 1)])
async def test_bodies_and_trailers(port: int, path: bytes, size: int) -> None:
    link = Http2Transport(window=65_536, max_list=16_384, keepalive=60, ping_timeout=10)
    await asyncio.get_running_loop().create_connection(lambda: link, "127.0.0.1", port)
    await link.ready
    assert link.usable
    streams = [Reading() for _ in range(20)]
    for stream in streams:
        link.http.open(stream, indexed(2) + indexed(6) + named(4, path) + named(1, b"tally"), end=True)
    async with asyncio.timeout(30):
        for stream in streams:
            await stream.whole.wait()
            assert len(stream.body) == size
            assert stream.last_word[2] == (("grpc-status", "0"),)
    link.leave()
    async with asyncio.timeout(10):
        await link.gone
