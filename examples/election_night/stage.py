"""The stage: three services and the gateway, with all their output in one folder that is deleted afterwards."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from processes import Child, Children, DemoError

from bridge.admin.credentials import mint_token
from bridge.config.settings import load

ROOT = Path(__file__).resolve().parents[2]
_SERVICES = Path(__file__).resolve().parent / "services"

#: Name in the mesh with the port of its route, script, and description.
SERVICES = (
    ("county-returns:8001", "county_returns", "SOAP 1.1, lxml"),
    ("ballot-count:8002", "ballot_count", "gRPC, grpcio"),
    ("results-feed:8003", "results_feed", "XML over HTTP"),
)

DRAIN = 10  #: seconds that calls under way may take after Ctrl-C

#: Audience and roles of each holder of a token.
HOLDERS = {
    "citizen": (["ELECTION_PUBLIC"], []),
    "clerk": (["ELECTION_OFFICE"], ["county_clerk"]),
    "publisher": ([], ["api_publisher"]),
}


class Stage:
    """`folder` becomes the gateway's home: the repository's routes and contracts, its own mesh file and key."""

    def __init__(self, folder: Path, children: Children, port: int) -> None:
        self.home = folder
        self.access_log = folder / ".bridge" / "access.log"
        self._children = children
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._mesh: dict[str, int] = {}
        self._gateway: Child | None = None
        # Settings of the user's own gateway must not reach this one.
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        self._env |= {"BRIDGE_HOME": str(folder), "BRIDGE_MESH": "static:mesh.yml", "PYTHONUNBUFFERED": "1"}
        self._env["BRIDGE_DRAIN"] = f"{DRAIN}s"
        for name in ("routes", "wsdl", "protos"):
            (folder / name).symlink_to(ROOT / name, target_is_directory=True)

    @property
    def token_command(self) -> str:
        """``hms-bridge token`` for this gateway, to be pasted into a shell in any folder."""
        command = Path(sys.executable).with_name("hms-bridge")
        words = [str(command)] if command.is_file() else [sys.executable, "-m", "bridge.cli.main"]
        return f"BRIDGE_HOME={shlex.quote(str(self.home))} {shlex.join([*words, 'token'])}"

    def _wire(self, script: str) -> Path:
        return self.home / f"{script}.wire"

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
        (self.home / "mesh.yml").write_text("".join(lines))
        command = [sys.executable, "-m", "bridge.cli.main", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        gateway = self._gateway = self._children.start("gateway", command, self._env, announces=False)
        with httpx.Client(base_url=self.url, timeout=2) as client:
            for _ in self._children.waiting():
                try:
                    if client.get("/-/health/ready").status_code == 200 and "(access log" in gateway.log.read_text():
                        break  # the banner is whole
                except httpx.TransportError:
                    continue
            else:
                raise DemoError(f"The gateway was not ready in time: {gateway.last_words()}")
        match = re.search(r"serves (\d+) route", "\n".join(gateway.news()))
        return int(match[1]) if match else 0

    def news(self) -> list[str]:
        """What the gateway has logged since its start or the last call: faults of specs, failures of services."""
        return self._gateway.news() if self._gateway else []

    def stop_gateway(self, report: Callable[[str], None]) -> None:
        """End the gateway while the services still answer it, so that calls under way may finish. Another Ctrl-C ends
        those calls.

        :param report: gets what it logs meanwhile.
        """
        gateway = self._gateway
        if gateway is None:
            return
        gateway.process.terminate()
        end = time.monotonic() + DRAIN + 2
        while gateway.process.poll() is None and time.monotonic() < end:
            try:
                for line in gateway.news():
                    report(line)
                time.sleep(0.05)
            except KeyboardInterrupt:
                gateway.process.terminate()
        for line in gateway.news():
            report(line)

    def tokens(self) -> dict[str, str]:
        """A JWT of the gateway's local issuer for each holder, as ``hms-bridge token`` makes them."""
        settings = load(self._env)
        return {
            holder: mint_token(settings, sub=holder, roles=roles, audience=audience, tenant="", scopes=[], ttl="12h")
            for holder, (audience, roles) in HOLDERS.items()
        }

    def logged(self, trace_id: str) -> dict[str, Any]:
        """The gateway's access log line of a call; it is written off the request's path, so it may be a moment late.

        :raises DemoError: it doesn't appear.
        """
        log = self.access_log
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
