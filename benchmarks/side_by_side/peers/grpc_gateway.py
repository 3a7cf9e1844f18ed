"""grpc-gateway v2: generated and built from Go modules, whose versions stand in ``grpc-gateway/go.mod``."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import google.api

from benchmarks.side_by_side.peers.peer import HERE, Absent, Peer, Setup, run
from benchmarks.side_by_side.process import Process, start

SOURCE = HERE / "grpc-gateway"
CONTRACT = HERE.parent / "contracts" / "orders.proto"
COMMON = Path(next(iter(google.api.__path__))).parent.parent
GENERATORS = (
    "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
    "google.golang.org/protobuf/cmd/protoc-gen-go",
)


class GrpcGateway(Peer):
    name = "grpc-gateway"
    title = "grpc-gateway"
    cases: ClassVar[frozenset[str]] = frozenset(("grpc-small", "grpc-10k", "grpc-stream"))
    guarded = "golang-jwt (each call verified), x/time/rate, slog as JSON to a buffered file"

    def install(self, cache: Path) -> str:
        folder = build(cache)
        told = run([_go(), "list", "-m", "github.com/grpc-ecosystem/grpc-gateway/v2"], folder)
        return f"{told.split()[-1].lstrip('v')}, {_version()}"

    def start(self, setup: Setup) -> Process:
        command = [str(setup.cache / "grpc-gateway" / "bin" / "gateway"), "-listen", f"127.0.0.1:{setup.port}"]
        command += ["-upstream", f"127.0.0.1:{setup.grpc}"]
        if guards := setup.guards:
            command += ["-key", str(guards.pem), "-issuer", guards.issuer, "-audience", guards.audience]
            command += ["-log", str(setup.log)]
        process = start(command, setup.core, setup.folder, port=setup.port, env={"GOMAXPROCS": "1"})
        process.wait_for_port()
        return process


def build(cache: Path) -> Path:
    """The folder in `cache` with ``bin/gateway`` and ``bin/orders``, the service; made anew when a source is newer.

    :raises Absent: Go, or one of its modules, is not to be had.
    """
    folder = cache / "grpc-gateway"
    sources = [*(path for path in SOURCE.rglob("*") if path.is_file()), CONTRACT]
    made = folder / "bin" / "orders"
    if made.exists() and made.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return folder
    go, tools = _go(), folder / "bin"
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    shutil.copy(CONTRACT, folder)
    tools.mkdir(exist_ok=True)
    run([go, "build", "-o", f"{tools}/", *GENERATORS], folder)
    plugins = [
        argument
        for name in ("go", "go-grpc", "grpc-gateway")
        for argument in (f"--{name}_out=.", f"--{name}_opt=module=hms/bench")
    ]
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"-I{COMMON}", *plugins, "orders.proto"]
    run(protoc, folder, {**os.environ, "PATH": path})
    run([go, "build", "-o", f"{tools}/", "./gateway", "./orders"], folder)
    return folder


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise Absent("Go is not here: apt-get install golang")
    return found


def _version() -> str:
    found = re.search(r"go(\d[\d.]*)", run([_go(), "version"], HERE))
    return f"Go {found[1]}" if found else "Go"
