"""Unix sockets that the gateway listens on."""

from __future__ import annotations

import socket
from pathlib import Path

from bridge.config.address import ListenAddress
from bridge.errors import SettingsError
from bridge.server.sockets import close_listener, listen_at


def test_only_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    def opened(name: str) -> str:
        try:
            listener = listen_at(ListenAddress(path=Path(name)), tmp_path / name, "BRIDGE_ADMIN_BIND")
        except SettingsError as error:
            return str(error).removeprefix(f"BRIDGE_ADMIN_BIND: unix:{name} can't be listened on: ")
        close_listener(listener, tmp_path / name)
        return "opened"

    (tmp_path / "file").write_text("kept")
    with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as left_over:
        live.bind(str(tmp_path / "live"))
        live.listen()
        left_over.bind(str(tmp_path / "left"))
        assert [opened(name) for name in ("live", "file", "left", "new")] == ["it is in use"] * 2 + ["opened"] * 2
    assert opened("none/a") == "No such file or directory"
    assert opened("a" * 200) == "AF_UNIX path too long"
    assert (tmp_path / "file").read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "live"}
