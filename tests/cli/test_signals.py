"""``hms-bridge serve`` and signals: SIGHUP reads files again, Ctrl-C says what it waits for, a second ends calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.terminals import terminal

SPEC = "route: /v1/a\nupstream: svc:80\nauth: {type: JWT, audience: A}\ntransform: {request: passthrough}\n"
SECRET = "a secret of 32 bytes, or a few more"


def issuers(*names: str) -> str:
    return json.dumps([{"issuer": name, "secret_env": "ISSUER_SECRET"} for name in names])


def bearer(issuer: str) -> dict[str, str]:
    claims = {"iss": issuer, "aud": "A", "sub": "me", "exp": int(time.time()) + 600}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}


async def test_sighup_reads_files_again_and_opens_the_access_log_again(
    served: Any, upstream: Any, mesh: Any, home: Path
) -> None:
    mesh(upstream.port)
    (home / "routes/a.yml").write_text(SPEC)
    (home / "issuers.yml").write_text(issuers("https://one.example"))
    gateway = await asyncio.to_thread(served, ISSUER_SECRET=SECRET)
    log = home / ".bridge/access.log"
    one, two = bearer("https://one.example"), bearer("https://two.example")
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:

        async def statuses() -> list[int]:
            return [(await client.get("/v1/a", headers=headers)).status_code for headers in (one, two)]

        async def current() -> str:
            metrics = (await client.get("/-/metrics")).text
            return next(line for line in metrics.splitlines() if 'config_file_current{file="issuers.yml"}' in line)[-3:]

        async def until(expected: list[int]) -> None:
            async with asyncio.timeout(20):
                while await statuses() != expected:
                    await asyncio.sleep(0.05)

        async def lines(count: int) -> str:
            """The access log, once it has so many lines."""
            async with asyncio.timeout(20):
                while not log.exists() or log.read_text().count("\n") < count:
                    await asyncio.sleep(0.02)
            return log.read_text()

        assert await statuses() == [200, 401]
        assert await current() == "1.0"
        await lines(2)
        log.rename(home / "access.log.1")
        (home / "issuers.yml").write_text(issuers("https://two.example"))
        gateway.process.send_signal(signal.SIGHUP)
        assert "SIGHUP" in await gateway.line_with("SIGHUP")
        await until([401, 200])
        assert await statuses() == [401, 200]
        assert '"path":"/v1/a"' in await lines(1)
        assert '"path":"/v1/a"' in (home / "access.log.1").read_text()

        # What can't be used is reported, and what was there before goes on serving.
        (home / "issuers.yml").write_text("issuer: one\n")
        (home / "routes/b.yml").write_text(SPEC.replace("/a", "/b").replace("passthrough", "soup"))
        gateway.process.send_signal(signal.SIGHUP)
        assert "issuers.yml" in await gateway.line_with("issuers before it are kept")
        assert await statuses() == [401, 200]
        assert await current() == "0.0"
    code, _ = await asyncio.to_thread(gateway.stop)
    assert code == 0


@pytest.fixture
async def under_way(served: Any, upstream: Any, mesh: Any, home: Path) -> AsyncIterator[tuple[Any, list[Any]]]:
    """A gateway, and two calls that its service does not answer."""
    mesh(upstream.port)
    (home / "routes/a.yml").write_text(SPEC.replace("{type: JWT, audience: A}", "none"))
    arrived = asyncio.Semaphore(0)

    async def slow(request: Any) -> Any:
        arrived.release()
        await asyncio.sleep(60)

    upstream.answer = slow
    gateway = await asyncio.to_thread(served)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        calls = [asyncio.create_task(client.get(path)) for path in ("/v1/a", "/v1/a?b")]
        async with asyncio.timeout(30):
            for _ in calls:
                await arrived.acquire()
        yield gateway, calls
        for call in calls:
            call.cancel()


async def test_ctrl_c_says_what_it_waits_for(under_way: Any) -> None:
    gateway, _ = under_way
    gateway.process.send_signal(signal.SIGINT)
    assert "2 calls may finish, in 30 s at most" in await gateway.line_with("stopping")


async def test_a_second_ctrl_c_ends_the_calls_with_503_that_blames_no_service(under_way: Any, home: Path) -> None:
    gateway, calls = under_way
    port = httpx.URL(gateway.url).port
    gateway.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            while True:  # until it takes no more connections
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await asyncio.sleep(0.02)
    gateway.process.send_signal(signal.SIGINT)
    answers = await asyncio.gather(*calls)
    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:bridge:problem:shutting-down")
        assert answer.headers["retry-after"] == "1"
    assert await asyncio.to_thread(gateway.process.wait, 30) == 0
    assert "bridge.upstream" not in gateway.process.stderr.read(), "the service did not fail"
    lines = [json.loads(line) for line in (home / ".bridge/access.log").read_text().splitlines()]
    assert [line["status"] for line in lines] == [503, 503]
    assert {answer.json()["trace_id"] for answer in answers} == {line["trace_id"] for line in lines}


HUNG_UP = """
import os, signal
from bridge.server import listener

build = listener.build

def hung_up(settings):
    os.kill(os.getpid(), signal.SIGHUP)
    return build(settings)

listener.build = hung_up
from bridge.cli.main import main
main()
"""


PRESSED = """
import os, runpy, signal, sys
sys.argv = ["hms-bridge", "serve", "--port", "0"]

class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{signal})
        return None

sys.meta_path.insert(0, Pressed())
runpy.run_module("bridge", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["typer", "bridge.server.listener", "uvloop"])
def test_ctrl_c_while_the_gateway_starts_shows_no_traceback(
    environment: dict[str, str], home: Path, module: str
) -> None:
    code = PRESSED.format(module=module, signal="SIGINT")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0 or module == "uvloop"
    assert "Traceback" not in done.stderr, done.stderr
    assert "KeyboardInterrupt" not in done.stderr


async def test_sighup_while_modules_are_loaded_ends_nothing(served: Any) -> None:
    gateway = await asyncio.to_thread(served, code=PRESSED.format(module="typer", signal="SIGHUP"))
    assert (await asyncio.to_thread(gateway.stop))[0] == 0


async def test_sighup_while_the_gateway_starts_is_a_reload_after_the_start(served: Any) -> None:
    gateway = await asyncio.to_thread(served, code=HUNG_UP)
    assert "files are read again" in await gateway.line_with("SIGHUP")
    assert (await asyncio.to_thread(gateway.stop))[0] == 0


def test_a_gateway_ends_with_the_terminal_it_runs_on(environment: dict[str, str], home: Path) -> None:
    command = [sys.executable, "-m", "bridge.cli.main", "serve", "--port", "0"]
    with terminal(command, env=environment, cwd=home) as screen:
        screen.wait_for("access log", 30)
        os.kill(screen.process.pid, signal.SIGHUP)  # nobody has closed it: a reload
        screen.wait_for("SIGHUP: files are read again", 30)
        screen.close()
        assert screen.process.wait(30) == 0
