"""Client certificates as an operator has them: the command, its own event loop, and curl."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.authorities import DAY, Authority, now
from tests.cli.conftest import Served
from tests.conftest import Upstream
from tests.secure_gateway import NAME, SERVER, SERVER_CA

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

SPEC = "route: /{0}\nupstream: svc:80\nauth: {1}\ntransform: {{request: passthrough}}\n"


async def test_curl_with_certificates(
    home: Path, served: Callable[..., Served], mesh: Callable[[int], None], upstream: Upstream
) -> None:
    court = Authority("Court CA")
    papers = {
        "mine": court.issue("CN=mine"),
        "revoked": court.issue("CN=revoked"),
        "expired": court.issue("CN=expired", not_after=now() - DAY / 2),
        "forged": Authority("Court CA").issue("CN=forged"),
    }
    files = {
        "tls.crt": SERVER.pem,
        "tls.key": SERVER.key_pem,
        "server-ca.pem": SERVER_CA.pem,
        "client-cas.yml": json.dumps([{"name": "court", "ca": "court.pem", "crl": "court.crl"}]),
        "court.pem": court.pem,
        "court.crl": court.crl(),
        "routes/open.yml": SPEC.format("open", "none"),
        "routes/mtls.yml": SPEC.format("mtls", "{type: mtls}"),
    }
    for name, issued in papers.items():
        files |= {f"{name}.pem": issued.pem, f"{name}.key": issued.key_pem}
    for name, text in files.items():
        (home / name).write_text(text)
    mesh(upstream.port)
    gateway = await asyncio.to_thread(lambda: served(BRIDGE_TLS_CERT="tls.crt", BRIDGE_TLS_KEY="tls.key"))
    port = gateway.url.rpartition(":")[2].rstrip("/")

    async def curl(who: str | None, path: str, *more: str) -> str:
        """The status, by HTTP/1.1 or 2; 000 if the handshake failed."""
        certificate = [] if who is None else ["--cert", f"{home}/{who}.pem", "--key", f"{home}/{who}.key"]
        options = ["--cacert", f"{home}/server-ca.pem", "--resolve", f"{NAME}:{port}:127.0.0.1", *certificate, *more]
        process = await asyncio.create_subprocess_exec(
            "curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", *options, f"https://{NAME}:{port}{path}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        return out.decode()

    for version, shown in (("--http1.1", "1.1"), ("--http2", "2")):
        assert await curl("mine", "/mtls", version) == f"200 {shown}"
        assert await curl(None, "/mtls", version) == f"401 {shown}"
        assert await curl(None, "/open", version) == f"200 {shown}"
    assert await curl("mine", "/mtls", "--tls-max", "1.2", "--http1.1") == "200 1.1"
    assert (await curl("forged", "/open")).startswith("000")
    assert "refused in the handshake: CN=forged: " in await gateway.line_with("handshake")
    assert (await curl("expired", "/open")).startswith("000")
    assert "refused in the handshake: CN=expired: certificate has expired" in await gateway.line_with("handshake")
    assert await curl("revoked", "/mtls", "--http1.1") == "200 1.1"
    (home / "court.crl").write_text(court.crl(papers["revoked"]))
    await gateway.line_with("the client authorities were loaded again from")
    assert await curl("revoked", "/mtls", "--http1.1") == "403 1.1"
    assert await curl("mine", "/mtls", "--http1.1") == "200 1.1"


def test_a_wrong_file_is_one_sentence(home: Path, cli: Callable[..., object]) -> None:
    (home / "client-cas.yml").write_text("- name: court\n  ca: gone.pem\n")
    done = cli("routes")
    assert getattr(done, "returncode", 0) == 1
    assert "client-cas.yml:2: ca: gone.pem: No such file or directory" in getattr(done, "stderr", "")
