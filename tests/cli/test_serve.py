"""`hms-bridge serve` from outside: killed, restarted, stopped, refused."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

SPEC = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "methods": ["GET"],
    "auth": {"type": "JWT", "audience": "A"},
    "rate_limit": {"rps": 50},
    "transform": {"request": "passthrough", "response": "json"},
}


async def test_a_registered_route_survives_kill_9(served: Any, cli: Any, upstream: Any, mesh: Any, home: Path) -> None:
    mesh(upstream.port)
    publisher = cli("token", "--role", "api_publisher").stdout.strip()
    citizen = cli("token", "--audience", "A", "--sub", "citizen").stdout.strip()
    first = await asyncio.to_thread(served)
    async with httpx.AsyncClient() as client:
        made = await client.post(first.url + "/register", json=SPEC, headers={"authorization": f"Bearer {publisher}"})
        assert made.status_code == 201
        await asyncio.to_thread(first.stop, signal.SIGKILL)
        second = await asyncio.to_thread(served)
        answer = await client.get(second.url + "/v1/a", headers={"authorization": f"Bearer {citizen}"})
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
    code, rest = await asyncio.to_thread(second.stop)
    banner = f"  docs     {second.url}/-/docs\n  console  {second.url}/-/console\n"
    banner += f"  log      {home}/.bridge/access.log (access log, one line a request)\n"
    assert (code, rest) == (0, banner)
    lines = (home / ".bridge/access.log").read_text().splitlines()
    assert [json.loads(line)["subject"] for line in lines[-1:]] == ["citizen"]


async def test_calls_under_way_are_let_finish(served: Any, upstream: Any, mesh: Any, home: Path) -> None:
    mesh(upstream.port)
    (home / "routes/a.yml").write_text(json.dumps({**SPEC, "auth": "none"}))
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Any) -> Any:
        arrived.set()
        await release.wait()
        return 200, [("content-type", "application/json")], b'"late"'

    upstream.answer = slow
    gateway = await asyncio.to_thread(served)
    async with httpx.AsyncClient(timeout=30) as client:
        call = asyncio.create_task(client.get(gateway.url + "/v1/a"))
        await arrived.wait()
        gateway.process.send_signal(signal.SIGTERM)
        release.set()
        assert (await call).json() == "late"
    assert await asyncio.to_thread(gateway.process.wait, 30) == 0


def test_what_cant_be_served_is_one_sentence(cli: Any, home: Path) -> None:
    def sentence(*args: str, **environment: str) -> str:
        done = cli("serve", *args, **environment)
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return str(done.stderr)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert sentence("--port", port) == f"port {port} on 127.0.0.1 is in use; choose another with --port\n"
    for wrong in ("99999", "abc", "-1", "80 80"):
        assert sentence(f"--port={wrong}") == f"--port: {wrong!r} is not a whole number from 0 to 65535\n"
    assert sentence("--workers", "many") == "--workers: 'many' is not a whole number from 1 to 1024\n"
    assert "can't share limits kept in memory" in sentence("--workers", "2")
    assert "BRIDGE_MESH" in sentence("--port", "0", BRIDGE_MESH="carrier-pigeon:")
    assert "BRIDGE_STORE" in sentence("--port", "0", BRIDGE_STORE="mysql://x")
    assert "BRIDGE_LIMITS" in sentence("--port", "0", BRIDGE_LIMITS="redis://x?on_failure=shut")
    assert "BRIDGE_COLOUR: no setting has this name" in sentence("--port", "0", BRIDGE_COLOUR="red")
    assert "can't be written" in sentence("--port", "0", BRIDGE_LOG="/dev/null/x")
    (home / "routes/a.yml").write_text(
        "route: /a\nweekday: red\n" + "upstream: s:1\nauth: none\ntransform: {request: xml}"
    )
    assert sentence("--port", "0") == "routes/a.yml:2: weekday: unknown key\n"
    (home / "routes/a.yml").unlink()
    (home / ".bridge/local-issuer.pem").write_text("no key")
    (home / ".bridge/local-issuer.pem").chmod(0o600)
    assert "local-issuer.pem" in sentence("--port", "0")
    (home / ".bridge/local-issuer.pem").unlink()
    (home / "broken.db").write_text("this is no database, " * 100)
    assert "broken.db" in sentence("--port", "0", BRIDGE_STORE="sqlite:///broken.db")


PLUGIN = """
from bridge.api import Call, HttpReply, HttpRequest, Operation, OperationDoc, Options, Reply


class ShoutOptions(Options):
    mark: str = "!"


class Codec:
    def __init__(self, mark):
        self.mark = mark

    def request(self, call: Call) -> HttpRequest:
        return HttpRequest("GET", "/" + call.params["word"].upper())

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        return Reply(200, [("content-type", "text/plain")], inbound.body + self.mark.encode())


class Shout:
    name, wire, options = "shout", "http", ShoutOptions

    async def open(self, context): ...

    async def bind(self, route, options):
        doc = OperationDoc({"responses": {"200": {"description": "Louder."}}})
        return [Operation("shout", "GET", "", Codec(options.mark), lambda: doc)]

    async def aclose(self): ...
"""
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "shout-transformer"
version = "1.0"
[project.entry-points."bridge.transformers"]
shout = "shout_transformer:Shout"
"""


@pytest.fixture
def plugged(tmp_path: Path) -> str:
    """The Python of a virtual environment that sees this one and has the plug-in's distribution beside it."""
    project = tmp_path / "shout-transformer"
    (project / "shout_transformer").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "shout_transformer/__init__.py").write_text(PLUGIN)
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-build-isolation"]
    packages = next(place.glob("lib/python*/site-packages"))
    # What is installed here, editable installs too, is seen from there.
    (packages / "outer.pth").write_text("\n".join(path for path in sys.path if path) + "\n")
    subprocess.run([*pip, "--disable-pip-version-check", str(project)], check=True, capture_output=True)
    return str(python)


async def test_a_plug_in_of_another_distribution_serves(
    served: Any, plugged: str, upstream: Any, mesh: Any, home: Path
) -> None:
    mesh(upstream.port)
    upstream.body = b"hello"
    spec = {**SPEC, "route": "/say/{word}", "auth": "none", "transform": {"request": "shout", "shout": {"mark": "?"}}}
    (home / "routes/shout.json").write_text(json.dumps(spec))
    gateway = await asyncio.to_thread(served, plugged)
    async with httpx.AsyncClient() as client:
        answer = await client.get(gateway.url + "/say/hi")
    assert (answer.status_code, answer.text) == (200, "hello?")
    assert upstream.seen[0].target == "/HI"
    assert len(PLUGIN.strip().splitlines()) <= 32


async def test_a_second_signal_waits_for_nobody(served: Any, upstream: Any, mesh: Any, home: Path) -> None:
    mesh(upstream.port)
    (home / "routes/a.yml").write_text(json.dumps({**SPEC, "auth": "none"}))
    arrived = asyncio.Event()

    async def silent(request: Any) -> Any:
        arrived.set()
        await asyncio.sleep(30)

    upstream.answer = silent
    gateway = await asyncio.to_thread(served)
    async with httpx.AsyncClient(timeout=30) as client:
        call = asyncio.create_task(client.get(gateway.url + "/v1/a"))
        await arrived.wait()
        gateway.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
        assert gateway.process.poll() is None
        gateway.process.send_signal(signal.SIGINT)
        assert (await asyncio.wait_for(call, 10)).status_code == 503
    assert await asyncio.to_thread(gateway.process.wait, 10) == 0
