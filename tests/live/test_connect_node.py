"""Connect's own client for Node, in both protocols and both formats, over a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema
from tests.fronts.rpc_server import RpcServer, serving
from tests.fronts.rpc_service import PROTO
from tests.servers import PATIENCE

HERE = Path(__file__).parent
MODULES = ("@connectrpc/connect", "@connectrpc/connect-node", "@bufbuild/protobuf")

TOLD = {"county": "Alameda é", "ballots": "7"}
NO_COUNTY = {"code": "NotFound", "message": "no such county: 100% é", "details": ["google.rpc.ErrorInfo"]}
LIMITED = {
    "code": "ResourceExhausted",
    "message": "Try again.",
    "details": ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"],
}
EXPECTED = {
    "put": TOLD,
    "header": {"shard": "4"},
    "trailer": {"cost": "7"},
    "empty": {},
    "get": TOLD,
    "watch": [TOLD] * 3,
    "sum": {"ballots": "9"},
    "refused": NO_COUNTY,
    "refusedGet": NO_COUNTY,
    "refusedStream": NO_COUNTY,
    "limited": LIMITED,
    "limitedStream": LIMITED,
}


@cache
def node_path() -> str:
    """Where npm's packages are: NODE_PATH, else npm's own place for those of all users.

    It skips even under ``CI=true``: the client wants a newer Node than Debian has, so nothing of ours can install it.
    The Python client in `tests.fronts.test_rpc_clients` is always there.
    """
    try:
        root = subprocess.run(("npm", "root", "-g"), capture_output=True, text=True, check=True).stdout.strip()
        path = os.environ.get("NODE_PATH", root)
        probe = ("node", "-e", "".join(f"require('{name}');" for name in MODULES))
        subprocess.run(probe, capture_output=True, check=True, env={**os.environ, "NODE_PATH": path})
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"npm install -g {' '.join(MODULES)}, with Node 20 or later, gets Connect's client for Node")
    return path


@pytest.mark.live
@pytest.mark.parametrize("protocol", ["connect", "grpc-web"])
@pytest.mark.parametrize("encoding", ["proto", "json"])
async def test_every_kind_of_method(
    protocol: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_PATH", node_path())
    (tmp_path / "tally.proto").write_text(PROTO)
    files = compile_protos(["tally.proto"], tmp_path)
    (tmp_path / "tally.pb").write_bytes(files.SerializeToString())
    server = RpcServer(schema(files))
    async with serving(server) as port:
        command = (str(HERE / "node/client.js"), f"http://127.0.0.1:{port}", str(tmp_path / "tally.pb"))
        client = await asyncio.create_subprocess_exec("node", *command, protocol, encoding, stdout=-1, stderr=-1)
        out, errors = await asyncio.wait_for(client.communicate(), PATIENCE)
    assert not errors, errors.decode()
    assert json.loads(out) == EXPECTED
    kind = "application/grpc-web" if protocol == "grpc-web" else f"application/{encoding}"
    assert server.seen[0].startswith(kind)
