"""``hms-bridge token`` and ``key new`` in a folder that is not the running gateway's home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="running gateways are found in /proc")


def test_a_token_says_on_standard_error_that_a_new_key_was_made_and_where(cli: Any, home: Path) -> None:
    first = cli("token")
    assert first.returncode == 0
    assert first.stderr == (
        f"A new key pair was made: {home}/.bridge/local-issuer.pem. "
        f"Only a gateway with BRIDGE_HOME={home} takes its tokens.\n"
    )
    assert first.stdout.startswith("eyJ")
    assert first.stdout.count("\n") == 1
    again = cli("token")
    assert (again.returncode, again.stderr) == (0, "")


def test_a_lifetime_that_is_none_makes_no_key(cli: Any, home: Path) -> None:
    assert cli("token", "--ttl", "never").returncode == 1
    assert not (home / ".bridge").exists()


def test_a_token_for_another_gateway_than_the_running_one_is_not_made(
    served: Any, environment: dict[str, str], home: Path, tmp_path_factory: Any
) -> None:
    gateway = served()
    elsewhere: Path = tmp_path_factory.mktemp("elsewhere")

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in environment.items() if not name.startswith("BRIDGE_")} | more
        command = [sys.executable, "-m", "bridge.cli.main", *words]
        return subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=60, check=False)

    for words in (("token", "--role", "api_publisher"), ("key", "new", "--sub", "me")):
        refused = run(*words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.count("\n") == 1
        assert f"another home than {elsewhere}: " in refused.stderr
        assert os.listdir(elsewhere) == []
    assert f"{home} (process {gateway.process.pid})" in refused.stderr

    right = run("token", "--role", "api_publisher", BRIDGE_HOME=str(home))
    assert (right.returncode, right.stderr) == (0, "")
    headers = {"authorization": f"Bearer {right.stdout.strip()}"}
    assert httpx.get(f"{gateway.url}/-/routes", headers=headers).status_code == 200

    # Who names the home means it. Later, a token for it comes with a note.
    assert "A new key pair was made" in run("token", BRIDGE_HOME=".").stderr
    later = run("token")
    assert later.returncode == 0
    assert later.stdout.startswith("eyJ")
    assert "another home than" in later.stderr
    assert later.stderr.count("\n") == 1
    assert "another home than" in run("token", BRIDGE_LOCAL_ISSUER="on").stderr
    # The gateway tells its holder why it refuses it.
    strange = httpx.get(f"{gateway.url}/-/routes", headers={"authorization": f"Bearer {later.stdout.strip()}"})
    assert strange.status_code == 401
    assert "Make it with BRIDGE_HOME set to the home of this one." in strange.json()["detail"]
