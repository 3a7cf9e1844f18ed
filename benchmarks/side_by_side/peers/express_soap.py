"""Express with node-soap: the packages of ``express-soap/package.json``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

from benchmarks.side_by_side.peers.ours import CONTRACTS
from benchmarks.side_by_side.peers.peer import HERE, Absent, Peer, Setup, run
from benchmarks.side_by_side.process import Process, start

SOURCE = HERE / "express-soap"


class ExpressSoap(Peer):
    name = "express-soap"
    title = "Express + soap"
    cases: ClassVar[frozenset[str]] = frozenset(("soap-5", "soap-100", "xml"))
    warmup = 5.0
    warm_requests = 2_000
    guarded = "jsonwebtoken (each call verified), express-rate-limit, morgan as JSON to a file"

    def install(self, cache: Path) -> str:
        for tool in ("node", "npm"):
            if shutil.which(tool) is None:
                raise Absent(f"{tool} is not here: apt-get install nodejs npm")
        folder = cache / self.name
        wanted = SOURCE / "package.json"
        stamp = folder / "installed.txt"
        if not stamp.exists() or stamp.read_text() != wanted.read_text():
            shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
            run(["npm", "install", "--no-audit", "--no-fund"], folder)
            stamp.write_text(wanted.read_text())
        shutil.copy(SOURCE / "server.js", folder)
        pinned = json.loads(wanted.read_text())["dependencies"]
        node = run(["node", "--version"], folder).strip().lstrip("v")
        return f"express {pinned['express']}, soap {pinned['soap']}, Node {node}"

    def start(self, setup: Setup) -> Process:
        env = {
            "NODE_ENV": "production",
            "PORT": str(setup.port),
            "SERVICE": f"127.0.0.1:{setup.http}",
            "WSDL": str(CONTRACTS / "orders.wsdl"),
        }
        if guards := setup.guards:
            env |= {"KEY": str(guards.pem), "ISSUER": guards.issuer, "AUDIENCE": guards.audience, "LOG": str(setup.log)}
        command = ["node", str(setup.cache / self.name / "server.js")]
        process = start(command, setup.core, setup.folder, port=setup.port, env=env)
        process.wait_for_port()
        return process
