"""HMS Bridge: as its users start it, with specs in a home of its own."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.side_by_side.peers.peer import Peer, Setup
from benchmarks.side_by_side.process import Process, start

SERVE = [sys.executable, "-c", "from bridge.cli.main import main; main()"]
CONTRACTS = Path(__file__).parent.parent / "contracts"
PLENTY = 1_000_000  # calls a second that no run comes near

#: By the file's name: the path, the upstream, the transformer and its options.
ROUTES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "grpc": ("/grpc", "orders-grpc:1", {"request": "grpc", "grpc": {"protos": ["orders.proto"]}}),
    "soap": ("/soap", "orders:1/Orders.asmx", {"request": "soap", "soap": {"wsdl": "orders.wsdl"}}),
    "xml": ("/xml/{race}", "orders:1/feed/{race}", {"request": "xml", "xml": {}}),
    "plain": ("/plain", "orders:1", {"request": "passthrough", "response": "passthrough"}),
    "blob": ("/blob", "orders:1", {"request": "passthrough", "response": "passthrough"}),
}


class Ours(Peer):
    name = "ours"
    title = "HMS Bridge"
    cases: ClassVar[frozenset[str]] = frozenset()  # all of them
    command: Sequence[str] = SERVE  #: what runs the house's own command line
    guarded = "JWT (its cache on), rate_limit, access log: all of the house"

    def install(self, cache: Path) -> str:
        return f"{version('hms-bridge')}, httptools {version('httptools')}, uvloop {version('uvloop')}"

    def start(self, setup: Setup) -> Process:
        write_home(setup)
        # Without guards the log goes the cheapest way there is, to where nobody reads it.
        log = str(setup.log) if setup.guards else "-"
        command = [*self.command, "serve", "--port", str(setup.port)]
        env = {"BRIDGE_HOME": str(setup.folder), "BRIDGE_LOG": log, "BRIDGE_LOG_SIZE": "4G"}
        if not setup.guards:
            command = ["/bin/sh", "-c", 'exec "$@" >/dev/null', "sh", *command]
        process = start(command, setup.core, setup.folder, env=env, port=setup.port)
        process.wait_for(r"HMS Bridge serves \d+ route")
        return process


def write_home(setup: Setup) -> None:
    """The specs, contracts and mesh below ``setup.folder``, and the issuer's key where guards are on."""
    home = setup.folder
    guards: dict[str, Any] = {"auth": {"type": "none"}}
    if setup.guards:
        guards = {
            "auth": {"type": "JWT", "audience": setup.guards.audience},
            "rate_limit": {"rps": PLENTY, "burst": PLENTY},
        }
        (home / ".bridge").mkdir(mode=0o700)
        shutil.copy(setup.guards.pem.with_name("local-issuer.pem"), home / ".bridge")
    for folder, name in (("protos", "orders.proto"), ("wsdl", "orders.wsdl")):
        (home / folder).mkdir()
        shutil.copy(CONTRACTS / name, home / folder)
    (home / "routes").mkdir()
    for name, (route, upstream, transform) in ROUTES.items():
        spec = {"route": route, "upstream": upstream, **guards, "transform": {"response": "json", **transform}}
        if name in ("xml", "blob"):
            spec["methods"] = ["GET"]
        (home / "routes" / f"{name}.yml").write_text(json.dumps(spec))
    mesh = {"orders": f"127.0.0.1:{setup.http}", "orders-grpc": f"127.0.0.1:{setup.grpc}"}
    (home / "mesh.yml").write_text(json.dumps(mesh))
