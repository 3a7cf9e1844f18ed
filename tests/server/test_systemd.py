"""Messages to systemd, and sockets from it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import pytest

from bridge.errors import SettingsError
from bridge.server.systemd import InheritedSockets, Notifier
from tests.cli.test_systemd import Manager


def test_messages_to_an_abstract_socket_and_to_nobody() -> None:
    name = f"@hms-bridge-{os.getpid()}"
    manager = Manager("\0" + name[1:])
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}
    notifier = Notifier.take(environ)
    assert (environ, notifier.interval) == ({}, None)  # the watchdog watches another process
    notifier.reloading()
    assert manager.next().keys() == {"RELOADING", "MONOTONIC_USEC"}
    manager.close()
    notifier.ready("nobody listens any more")
    notifier.close()
    for environ in ({}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": ""}):
        assert Notifier.take(environ).address is None


def passed(environ: Mapping[str, str]) -> InheritedSockets:
    return InheritedSockets.take({"LISTEN_PID": str(os.getpid()), **environ})


def test_sockets_that_cant_be_used_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    monkeypatch.setattr("bridge.server.systemd.FIRST_FD", datagrams.detach())
    with pytest.raises(SettingsError, match=r"is not a listening stream socket \(ListenStream=\)"):
        passed({"LISTEN_FDS": "1"})
    with open(os.devnull) as file:
        monkeypatch.setattr("bridge.server.systemd.FIRST_FD", os.dup(file.fileno()))
        with pytest.raises(SettingsError, match="is not a socket"):
            passed({"LISTEN_FDS": "1"})
    with socket.socket() as listener:
        monkeypatch.setattr("bridge.server.systemd._inherited", lambda fd: listener)
        with pytest.raises(SettingsError, match="two sockets for the routes"):
            passed({"LISTEN_FDS": "2"})


def test_sockets_of_another_process_are_left_alone() -> None:
    for environ in ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "many"}, {}):
        sockets = passed(environ)
        assert (sockets.routes, sockets.admin) == (None, None)
