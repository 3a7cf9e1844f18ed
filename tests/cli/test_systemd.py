"""`hms-bridge serve` under systemd: readiness, signs of life, passed sockets; and its log as JSON."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

#: Opens sockets as systemd does before it starts a service, then runs the command.
ACTIVATED = """
import os, socket
routes, admin = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
admin.bind("admin.sock")
admin.listen()
for place, fd in enumerate([os.dup(routes.fileno()), os.dup(admin.fileno())], 3):
    os.dup2(fd, place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="routes:admin")
from bridge.cli.main import main
main()
"""


class Manager:
    """systemd's end of the notification socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(30)

    def next(self) -> dict[str, str]:
        """The next message."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until(self, key: str) -> dict[str, str]:
        while key not in (message := self.next()):
            pass
        return message

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def test_a_service_of_the_type_notify_with_sockets_of_systemd(served: Any, manager: Manager, home: Path) -> None:
    """All of it in one process: READY, WATCHDOG, RELOADING, STOPPING, both sockets, and a log of JSON lines only."""
    gateway = served(
        code=ACTIVATED,
        NOTIFY_SOCKET=str(home / "notify"),
        WATCHDOG_USEC="200000",
        BRIDGE_LOG_FORMAT="json",
    )
    ready = manager.until("READY")
    url = ready["STATUS"].split()[-1]
    assert ready == {"READY": "1", "STATUS": f"0 routes on {url}", "MAINPID": str(gateway.process.pid)}
    assert [manager.until("WATCHDOG"), manager.until("WATCHDOG")] == [{"WATCHDOG": "1"}] * 2
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(home / "admin.sock"))) as client:
        assert client.get("http://a/-/metrics").status_code == 200
    assert httpx.get(f"{url}/-/metrics", trust_env=False).status_code == 404
    gateway.process.send_signal(signal.SIGHUP)
    assert manager.until("RELOADING").keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert manager.until("READY")["READY"] == "1"
    code, rest = gateway.stop(signal.SIGTERM)
    assert code == 0
    assert manager.until("STOPPING")["STOPPING"] == "1"
    assert (home / "admin.sock").exists()  # it is systemd's
    events = [json.loads(line) for line in [gateway.banner, *rest.splitlines()]]
    assert [event["message"] for event in events[:2]] == [
        f"HMS Bridge serves 0 routes on {url}",
        "the admin API and the pages of the gateway are on unix:admin.sock",
    ]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, events))


def test_a_start_that_fails_is_an_event_of_the_log(cli: Any) -> None:
    done = cli("serve", "--port", "0", BRIDGE_LOG_FORMAT="json", BRIDGE_STORE="mysql://x")
    [line] = done.stderr.splitlines()
    assert done.returncode == 1
    assert json.loads(line)["level"] == "critical"
    assert "BRIDGE_STORE" in json.loads(line)["message"]
