"""gRPC's own client for Go (`tests/live/go`) through the whole gateway, over TLS and without."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bridge.server.tls import ListenerTls
from tests.bridge_grpc.conftest import bind, grpc_plugin, make_schema
from tests.conftest import serving
from tests.fronts.conftest import flow, stage
from tests.fronts.test_grpc_clients import SPEC
from tests.server.test_tls import Files

__all__ = ["bind", "flow", "grpc_plugin", "make_schema", "stage"]

SOURCE = Path(__file__).parent / "go"
BUILD = 900.0  #: seconds; gRPC is compiled once, and Go keeps it
EXPECTED = {
    "once": 3,
    "follow": [1, 2, 3],
    "sum": 9,
    "echo": [1, 2, 3],
    "refused": ["ResourceExhausted", 1],
    "unknown": "Unimplemented",
    "anonymous": "Unauthenticated",
    "late": "DeadlineExceeded",
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, compiled.

    It skips even under ``CI=true``: the module wants a newer Go than Debian has, so nothing of ours can install it. The
    clients in `tests.fronts.test_grpc_clients` are always there.
    """
    target = tmp_path_factory.mktemp("go") / "client"
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    try:
        command = ("go", "mod", "download")
        fetched = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, timeout=BUILD, check=False)
    except FileNotFoundError:
        pytest.skip("Go 1.26 or later compiles gRPC's client for Go")
    if fetched.returncode:
        pytest.skip(f"Go 1.26 or later and google.golang.org/grpc are needed: {fetched.stderr.decode()[:300]}")
    subprocess.run(("go", "build", "-o", target, "."), cwd=SOURCE, env=environment, check=True, timeout=BUILD)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_gos_own_client(program: Path, stage: Any, tmp_path: Path, *, secure: bool) -> None:
    files = Files(tmp_path)
    files.authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    tls = ListenerTls(files.certificate, files.key) if secure else None
    async with stage(spec=SPEC) as made, serving(made.gateway.app, tls=tls) as port:
        process = await asyncio.create_subprocess_exec(
            program, f"127.0.0.1:{port}", made.gateway.token(), str(tmp_path / "authority.pem") if secure else "",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            told, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    assert json.loads(told) == EXPECTED
