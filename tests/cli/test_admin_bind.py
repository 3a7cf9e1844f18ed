"""`hms-bridge serve` with the pages below ``/-/`` on a listener of their own."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.config.settings import load
from tests.server.test_tls import Files


def get(base: str, path: str, socket_path: Path | None = None) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path) if socket_path else None)) as client:
        return client.get(base + path).status_code


def test_pages_on_a_unix_socket(served: Any, home: Path) -> None:
    path = home / "admin.sock"
    with socket.socket(socket.AF_UNIX) as left_over:  # by a gateway that was killed
        left_over.bind(str(path))
    gateway = served(BRIDGE_ADMIN_BIND="unix:admin.sock")
    assert gateway.next_line() == f"  admin    unix:{path}\n"
    assert path.stat().st_mode & 0o777 == 0o660
    assert [get("http://a", page, path) for page in ("/-/metrics", "/-/routes", "/v1/a")] == [200, 401, 404]
    assert get(gateway.url, "/-/metrics") == 404
    assert gateway.stop()[0] == 0
    assert not path.exists()


async def test_pages_on_a_port_of_their_own_with_tls_where_the_gateway_has_it(served: Any, tmp_path: Path) -> None:
    files = Files(tmp_path)
    gateway = await asyncio.to_thread(
        served,
        BRIDGE_ADMIN_BIND="127.0.0.1:0",
        BRIDGE_TLS_CERT=str(files.certificate),
        BRIDGE_TLS_KEY=str(files.key),
    )
    [pages] = re.findall(r"docs +(https://127\.0\.0\.1:[0-9]+)/-/docs$", gateway.next_line().strip())
    for base, statuses in ((gateway.url, (b"404", b"200")), (pages, (b"200", b"200"))):
        for path, status in zip((b"/-/metrics", b"/-/health/live"), statuses, strict=True):
            reader, writer = await files.dial(int(base.rpartition(":")[2]))
            writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n"))[9:12] == status, (base, path)
            writer.close()


def test_an_address_that_cant_be_opened_is_one_sentence(cli: Any, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = cli("serve", "--port", "0", BRIDGE_ADMIN_BIND=address)
    assert (done.returncode, done.stderr) == (1, f"BRIDGE_ADMIN_BIND: {address} can't be listened on: it is in use\n")


@pytest.mark.parametrize(
    ("host", "environ", "warned"),
    [
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
        ("0.0.0.0", {}, True),
        ("gateway.example", {}, True),
        ("0.0.0.0", {"BRIDGE_ADMIN_PUBLIC": "health,metrics"}, False),
        ("0.0.0.0", {"BRIDGE_ADMIN_BIND": "127.0.0.1:9090"}, False),
    ],
)
def test_pages_that_other_machines_can_read_are_a_warning(host: str, environ: dict[str, str], warned: bool) -> None:
    from bridge.cli.main import open_pages

    warning = open_pages(load(environ), host)
    assert bool(warning) == warned
    assert not warned or warning.startswith(f"whoever reaches {host} can read the metrics")
