"""The stage: three services and the gateway, with all their output in one folder that is deleted afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from processes import Child, Children, DemoError

ROOT = Path(__file__).resolve().parents[2]
_SERVICES = Path(__file__).resolve().parent / "services"

#: Name in the mesh with the port of its route, script, and description.
SERVICES = (
    ("county-returns:8001", "county_returns", "SOAP 1.1, lxml"),
    ("ballot-count:8002", "ballot_count", "gRPC, grpcio"),
    ("results-feed:8003", "results_feed", "XML over HTTP"),
)


class Stage:
    """`folder` becomes the gateway's home: the repository's routes and contracts, its own mesh file and key."""

    def __init__(self, folder: Path, children: Children, port: int) -> None:
        self._folder = folder
        self._children = children
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._mesh: dict[str, int] = {}
        # Settings of the user's own gateway must not reach this one.
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        self._env |= {"BRIDGE_HOME": str(folder), "BRIDGE_MESH": "static:mesh.yml", "PYTHONUNBUFFERED": "1"}
        for name in ("routes", "wsdl", "protos"):
            (folder / name).symlink_to(ROOT / name, target_is_directory=True)

    def _wire(self, script: str) -> Path:
        return self._folder / f"{script}.wire"

    def start_services(self) -> list[tuple[str, str, int]]:
        """Start all three; returns name, kind and port of each."""
        started: list[tuple[str, str, Child]] = []
        for name, script, kind in SERVICES:
            command = [
                sys.executable,
                str(_SERVICES / f"{script}.py"),
                "--port",
                "0",
                "--wire",
                str(self._wire(script)),
            ]
            started.append((name, kind, self._children.start(script, command, self._env, announces=True)))
        ready = [(name, kind, child.ready_port()) for name, kind, child in started]
        self._mesh = {name: port for name, _, port in ready}
        return ready

    def start_gateway(self) -> int:
        """Serve the routes; returns their number.

        :raises DemoError: it ended (a spec that can't be used is enough), or isn't ready in time.
        """
        lines = (f'"{name}": ["127.0.0.1:{port}"]\n' for name, port in self._mesh.items())
        (self._folder / "mesh.yml").write_text("".join(lines))
        command = [sys.executable, "-m", "bridge.cli.main", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        gateway = self._children.start("gateway", command, self._env, announces=False)
        with httpx.Client(base_url=self.url, timeout=2) as client:
            for _ in self._children.waiting():
                try:
                    if client.get("/-/health/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    continue
            else:
                raise DemoError(f"The gateway was not ready in time: {gateway.last_words()}")
        match = re.search(r"serves (\d+) route", gateway.log.read_text("utf-8"))
        return int(match[1]) if match else 0

    def tokens(self) -> dict[str, str]:
        """A citizen's and a clerk's JWT of the gateway's local issuer, as ``hms-bridge token`` makes them."""
        options_by_holder = {
            "citizen": ["--audience", "ELECTION_PUBLIC"],
            "clerk": ["--audience", "ELECTION_OFFICE", "--role", "county_clerk"],
        }
        running = {
            holder: subprocess.Popen(
                [sys.executable, "-m", "bridge.cli.main", "token", "--sub", holder, "--ttl", "12h", *options],
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for holder, options in options_by_holder.items()
        }
        tokens: dict[str, str] = {}
        for holder, process in running.items():
            out, errors = process.communicate()
            if process.returncode:
                raise DemoError(f"hms-bridge token failed: {errors.strip()}")
            tokens[holder] = out.strip()
        return tokens

    def logged(self, trace_id: str) -> dict[str, Any]:
        """The gateway's access log line of a call; it is written off the request's path, so it may be a moment late.

        :raises DemoError: it doesn't appear.
        """
        log = self._folder / ".bridge" / "access.log"
        for _ in self._children.waiting(5):
            for line in log.read_text("utf-8").splitlines() if log.exists() else ():
                if trace_id in line:
                    entry: dict[str, Any] = json.loads(line)
                    return entry
        raise DemoError(f"The gateway's access log has no line for {trace_id}.")

    def exchange(self, trace_id: str) -> dict[str, Any] | None:
        """The services' record of the call with this trace id; None if it did not reach them."""
        for _, script, _ in SERVICES:
            wire = self._wire(script)
            if wire.exists():
                for line in wire.read_text("utf-8").splitlines():
                    entry: dict[str, Any] = json.loads(line)
                    if entry["trace_id"] == trace_id:
                        return entry
        return None
