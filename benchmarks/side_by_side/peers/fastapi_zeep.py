"""FastAPI with zeep on uvicorn, in an environment of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from benchmarks.side_by_side.peers.ours import CONTRACTS
from benchmarks.side_by_side.peers.peer import HERE, Peer, Setup, run
from benchmarks.side_by_side.process import Process, start

SOURCE = HERE / "fastapi-zeep"


class FastApiZeep(Peer):
    name = "fastapi-zeep"
    title = "FastAPI + zeep"
    cases: ClassVar[frozenset[str]] = frozenset(("soap-5", "soap-100", "xml"))
    warmup = 3.0
    guarded = "PyJWT (each call verified), slowapi, uvicorn's access log to a file"

    def install(self, cache: Path) -> str:
        folder = cache / self.name
        wanted = SOURCE / "requirements.txt"
        stamp = folder / "installed.txt"
        if not stamp.exists() or stamp.read_text() != wanted.read_text():
            run([sys.executable, "-m", "venv", str(folder)], cache)
            run([str(folder / "bin" / "pip"), "install", "--quiet", "-r", str(wanted)], cache)
            stamp.write_text(wanted.read_text())
        pinned = dict(line.split("==") for line in wanted.read_text().split())
        return ", ".join(f"{name} {pinned[name]}" for name in ("fastapi", "zeep", "uvicorn"))

    def start(self, setup: Setup) -> Process:
        command = [
            str(setup.cache / self.name / "bin" / "python"),
            "-m",
            "uvicorn",
            "app:app",
            "--app-dir",
            str(SOURCE),
        ]
        command += ["--port", str(setup.port), "--loop", "uvloop", "--http", "httptools"]
        env = {"SERVICE": f"127.0.0.1:{setup.http}", "WSDL": str(CONTRACTS / "orders.wsdl"), "PYTHONPATH": ""}
        if guards := setup.guards:
            env |= {"KEY": str(guards.pem), "ISSUER": guards.issuer, "AUDIENCE": guards.audience}
        else:
            command.append("--no-access-log")
        # uvicorn logs to its standard output, which is a file here.
        process = start(command, setup.core, setup.folder, port=setup.port, env=env)
        process.wait_for_port()
        return process
