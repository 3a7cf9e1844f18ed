"""What the command line doesn't load, since every start would pay for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CLIENTS = {"aiohttp", "grpc", "httpx", "dns", "uvicorn", "watchfiles", "prometheus_client", "zeep"}
GATEWAY = {"bridge.gateway.answer", "starlette"}


@pytest.mark.parametrize(
    ("module", "unwanted"), [("bridge.cli.offline", CLIENTS), ("bridge.admin.credentials", CLIENTS | GATEWAY)]
)
def test_heavy_libraries_are_left_to_those_who_serve(module: str, unwanted: set[str]) -> None:
    code = f"import sys, bridge.cli.main, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not unwanted & set(loaded)
