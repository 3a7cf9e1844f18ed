"""`hms-bridge serve` with TLS, and what it can't be served with."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_tls import Files, eventually


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_serve_with_tls(served: Any, files: Files, home: Path) -> None:
    both = home / "both.pem"
    both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    gateway = await asyncio.to_thread(served, BRIDGE_TLS_CERT="both.pem")
    assert gateway.url.startswith("https://127.0.0.1:")
    port = int(gateway.url.rpartition(":")[2])
    reader, writer = await files.dial(port)
    writer.write(b"GET /-/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    serial = files.renew()
    fresh = home / "fresh.pem"
    fresh.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    os.replace(fresh, both)

    async def shown() -> bool:
        return await files.serial(port) == serial

    await eventually(shown)
    async with asyncio.timeout(20):  # a client that keeps its connection does not hold the gateway up
        code, _ = await asyncio.to_thread(gateway.stop, signal.SIGTERM)
    assert code == 0
    writer.close()


def test_what_cant_be_served_with_is_one_sentence(cli: Any, files: Files, home: Path) -> None:
    def sentence(*args: str, **environment: str) -> str:
        done = cli("serve", "--port", "0", *args, **environment)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        return re.sub(r"/\S+/", "", done.stderr.strip())

    certificate, key = str(files.certificate), str(files.key)
    assert sentence("--tls-cert", "no.crt") == "BRIDGE_TLS_CERT: no.crt can't be read: No such file or directory"
    assert sentence(BRIDGE_TLS_CERT=certificate, BRIDGE_TLS_KEY="no.key").startswith("BRIDGE_TLS_KEY: no.key can't be")
    assert sentence("--tls-key", key) == "BRIDGE_TLS_KEY: it needs BRIDGE_TLS_CERT beside it"
    assert sentence("--tls-cert", certificate) == "BRIDGE_TLS_CERT: tls.crt: it or its key can't be read"
    (home / "text").write_text("text")
    assert sentence("--tls-cert", "text", "--tls-key", key).startswith("BRIDGE_TLS_CERT: text: it or its key")
    (home / "other.key").write_bytes(files.authority.issue_cert("a").private_key_pem.bytes())
    assert (
        sentence("--tls-cert", certificate, "--tls-key", str(home / "other.key"))
        == "BRIDGE_TLS_KEY: other.key: it is not the key of the certificate"
    )
