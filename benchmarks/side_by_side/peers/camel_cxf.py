"""Apache Camel with CXF, the open ESB in Java: built by Maven from ``camel-cxf/pom.xml``."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import ClassVar

from benchmarks.side_by_side.peers.ours import CONTRACTS
from benchmarks.side_by_side.peers.peer import HERE, Absent, Peer, Setup, run
from benchmarks.side_by_side.process import Process, start

SOURCE = HERE / "camel-cxf"
#: A container's usual bounds; without them the JVM would take a quarter of the machine. One core has the serial
#: collector by default, which is named here so that it stays so.
JVM = ("-Xmx512m", "-XX:+UseSerialGC")


class CamelCxf(Peer):
    name = "camel-cxf"
    title = "Camel + CXF"
    cases: ClassVar[frozenset[str]] = frozenset(("soap-5", "soap-100"))
    warmup = 10.0
    warm_requests = 25_000  # tried: until then its cost falls from 8,000 µs to a quarter, compiling on the same core
    guarded = "java-jwt (each call verified), Bucket4j, Logback to a file, asynchronous"

    def install(self, cache: Path) -> str:
        for tool in ("java", "mvn"):
            if shutil.which(tool) is None:
                raise Absent(f"{tool} is not here: apt-get install default-jdk maven")
        folder = cache / self.name
        sources = [*(path for path in SOURCE.rglob("*") if path.is_file()), CONTRACTS / "orders.wsdl"]
        made = folder / "target" / "bench-camel-cxf-1.jar"
        if not made.exists() or made.stat().st_mtime < max(path.stat().st_mtime for path in sources):
            shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
            shutil.copy(CONTRACTS / "orders.wsdl", folder)
            run(["mvn", "-q", "-B", "package", "dependency:copy-dependencies"], folder)
        pom = (SOURCE / "pom.xml").read_text()
        versions = [_first(rf"<{name}.version>([\d.]+)<", pom) for name in ("camel", "cxf")]
        java = _first(r'version "([^"]+)"', run(["java", "-version"], folder))
        return f"Camel {versions[0]}, CXF {versions[1]}, Java {java}"

    def start(self, setup: Setup) -> Process:
        target = setup.cache / self.name / "target"
        classes = f"{target / 'bench-camel-cxf-1.jar'}:{target / 'dependency'}/*"
        env = {
            "PORT": str(setup.port),
            "SERVICE": f"127.0.0.1:{setup.http}",
            "WSDL": (CONTRACTS / "orders.wsdl").as_uri(),
        }
        if guards := setup.guards:
            env |= {"KEY": str(guards.pem), "ISSUER": guards.issuer, "AUDIENCE": guards.audience, "LOG": str(setup.log)}
        command = ["java", *JVM, "-cp", classes, "hms.bench.Gateway"]
        process = start(command, setup.core, setup.folder, port=setup.port, env=env)
        process.wait_for_path("/soap/PlaceOrder")  # it listens before its routes are there
        return process


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else "unknown"
