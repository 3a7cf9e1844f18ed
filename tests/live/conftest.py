"""A gateway in front of a server of another stack, and a caller who knows only JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Running, Start
from tests.servers import Server, missing, need, running

HERE = Path(__file__).parent


@dataclass
class Caller:
    """Calls the operations of one service through the gateway."""

    gateway: Running
    server: Server

    async def send(self, operation: str, body: Any) -> httpx.Response:
        return await self.gateway.client.post(f"/v1/live/{operation}", json=body)

    async def __call__(self, operation: str, body: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = await self.send(operation, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def problem(self, operation: str, body: Any, status: int) -> dict[str, Any]:
        """The problem that the answer must be."""
        answer = await self.send(operation, body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        told: dict[str, Any] = answer.json()
        assert told["status"] == told["code"] == status
        return told

    async def refused(self, operation: str, body: Any) -> dict[str, str]:
        """The faults of a body that the gateway must refuse by itself, by pointer; nothing may reach the server."""
        self.server.journal()
        told = await self.problem(operation, body, 400)
        assert told["type"] == "urn:bridge:problem:invalid-body"
        assert self.server.journal() == []
        return {fault["pointer"]: fault["reason"] for fault in told["errors"]}


Front = Callable[..., contextlib.AbstractAsyncContextManager[Caller]]


@pytest.fixture
def front(start: Start) -> Front:
    """``async with front(server, wsdl, response="json", **options of the soap transformer) as call``; `wsdl` is a file
    or a URL."""

    @contextlib.asynccontextmanager
    async def fronting(
        server: Server, wsdl: Path | str, response: str = "json", **options: Any
    ) -> AsyncIterator[Caller]:
        name = wsdl.name if isinstance(wsdl, Path) else wsdl
        spec = {
            "route": "/v1/live",
            "upstream": "service:80",
            "auth": "none",
            "transform": {"request": "soap", "response": response, "soap": {"wsdl": name, **options}},
        }
        files = {f"wsdl/{name}": await asyncio.to_thread(wsdl.read_text, "utf-8")} if isinstance(wsdl, Path) else {}
        mesh = {"service": server.address}
        routes = {"live.yml": json.dumps(spec)}
        async with start(mesh=mesh, routes=routes, files=files, fetch_networks="127.0.0.1") as gateway:
            server.journal()
            yield Caller(gateway, server)

    return fronting


@pytest.fixture(scope="session")
def php(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("PHP with its SOAP extension", "php", "-r", "exit((int) !extension_loaded('soap'));")
    command = (
        "php",
        "-q",
        "-d",
        "display_errors=0",
        "-d",
        "error_log=/dev/stderr",
        "-S",
        "127.0.0.1:0",
        str(HERE / "php/server.php"),
    )
    ready = r"\(http://127\.0\.0\.1:(\d+)\) started"
    with running("PHP", command, tmp_path_factory.mktemp("php"), ready=ready) as server:
        yield server


@pytest.fixture(scope="session")
def soap_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("Perl's SOAP::Lite", "perl", "-MSOAP::Transport::HTTP", "-MHTTP::Daemon", "-e", "1")
    command = ("perl", str(HERE / "perl/ledger.pl"))
    with running("SOAP::Lite", command, tmp_path_factory.mktemp("perl"), ready=r"^ready http://[^/]+:(\d+)/") as server:
        yield server


#: What Axis needs, as Debian names the files; the last is Eclipse's compiler, since a bare JRE has none. From Debian
#: 13 on a part of it has a file of its own.
JARS = ("axis", "axis-jaxrpc", "axis-saaj", "commons-discovery", "commons-logging", "wsdl4j", "eclipse-jdt-core")


def axis_java(folder: Path) -> tuple[str, ...]:
    """Java with Axis and the compiled classes in `folder`; the last word is the class path."""
    jars = [*(f"/usr/share/java/{name}.jar" for name in JARS), "/usr/share/java/eclipse-jdt-core-compiler-batch.jar"]
    return ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", ":".join([*jars, str(folder)]))


@pytest.fixture(scope="session")
def axis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("Java", "java", "-version")
    jars = [Path("/usr/share/java") / f"{name}.jar" for name in JARS]
    if absent := [jar.name for jar in jars if not jar.exists()]:
        missing(f"Axis 1.4 ({', '.join(absent)})")
    folder = tmp_path_factory.mktemp("axis")
    java = axis_java(folder)
    path = java[-1]
    # Axis reads the parameters' names from the class file, and knows the form that these had up to Java 8.
    compiler = ("org.eclipse.jdt.internal.compiler.batch.Main", "-8", "-g", "-nowarn", "-proc:none", "-cp", path)
    sources = map(str, sorted((HERE / "axis").glob("*.java")))
    made = subprocess.run([*java, *compiler, "-d", str(folder), *sources], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.fail(made.stdout + made.stderr, pytrace=False)
    command = (*java, f"-Daxis.ServerConfigFile={HERE / 'axis' / 'server-config.wsdd'}", "Standalone")
    with running("Axis", command, folder, ready=r"^ready (\d+)") as server:
        yield server


@pytest.fixture(scope="session", params=["1.1", "1.2"])
def spyne(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = (sys.executable, "-W", "ignore", str(HERE / "spyne_returns.py"), request.param)
    with running("spyne", command, tmp_path_factory.mktemp("spyne"), ready=r"^(\d+)$") as server:
        yield server


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("etcd", "etcd", "--version")
    # Its JSON gateway calls it at the port that it was told, so it can't be left to choose one; and between our choice
    # and its own start the port may be gone. Nobody else has to find the peers' port.
    ready, peers = r"serving client traffic insecurely.*127\.0\.0\.1:(\d+)", "http://127.0.0.1:0"
    for left in reversed(range(3)):
        folder = tmp_path_factory.mktemp("etcd")
        with socket.create_server(("127.0.0.1", 0)) as bound:
            clients = f"http://127.0.0.1:{bound.getsockname()[1]}"
        command = (
            "etcd", "--name", "one", "--data-dir", str(folder / "data"), "--logger", "zap",
            "--listen-client-urls", clients, "--advertise-client-urls", clients,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"one={peers}",
        )  # fmt: skip
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(running("etcd", command, folder, ready=ready))
            except pytest.fail.Exception as error:
                if not left or "address already in use" not in str(error):
                    raise
                continue
            yield server
            return


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the servers said."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Server):
                report.sections.append((f"last words of {value.name}", "\n".join(value.words[-40:])))
    return report
