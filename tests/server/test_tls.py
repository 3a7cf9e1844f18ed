"""TLS on the listener: which versions, which certificate, and what can't be served with."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from websockets.asyncio.client import connect

from bridge.config.settings import load
from bridge.runtime import Runtime
from bridge.server import tls as listener
from bridge.server.tls import ListenerTls
from tests.conftest import serving
from tests.server.test_wire import OPEN

GET = b"GET /p/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
NAME = "gateway.example"


class Files:
    """A certificate and its key on disk, and a client's context that trusts it."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.authority = trustme.CA()
        self.renew()

    def renew(self, kind: trustme.KeyType = trustme.KeyType.ECDSA) -> int:
        """:returns: the new certificate's serial number."""
        made = self.authority.issue_cert(NAME, key_type=kind)
        self.certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        self.key.write_bytes(made.private_key_pem.bytes())
        return x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes()).serial_number

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    async def dial(
        self, port: int, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", port, ssl=context or self.client(), server_hostname=NAME, ssl_handshake_timeout=5
        )

    async def serial(self, port: int) -> int:
        """Of the certificate that a new connection is shown."""
        _, writer = await self.dial(port)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(shown).serial_number


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
async def secure(gateway: Any, files: Files) -> AsyncIterator[int]:
    """The port of a gateway that serves HTTPS."""
    await gateway.register(OPEN)
    async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
        yield port


async def eventually(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not await true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_request_is_answered(secure: int, files: Files, upstream: Any, version: ssl.TLSVersion) -> None:
    context = files.client()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    reader, writer = await files.dial(secure, context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    body = b"x" * 300_000
    writer.write(b"POST /p/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body + GET)
    answer = await reader.read()
    writer.close()
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert upstream.seen[0].body == body


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_old_versions_are_refused(secure: int, files: Files) -> None:
    context = files.client()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await files.dial(secure, context)


async def test_the_gateways_own_pages_and_refusals(secure: int, files: Files) -> None:
    for asked, status in (
        (b"GET /-/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"200"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /p/a HTTP/1.0\r\n\r\n", b"200"),
    ):
        reader, writer = await files.dial(secure)
        writer.write(asked)
        async with asyncio.timeout(5):
            assert (await reader.read()).split()[1] == status
        writer.close()


async def test_what_is_no_tls_gets_nothing(secure: int, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", secure)
    writer.write(GET)
    async with asyncio.timeout(5):
        assert b"HTTP/" not in await reader.read()
    writer.close()
    assert caplog.text == ""


async def test_a_handshake_has_its_time(
    gateway: Any, files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bridge.server.listener.HANDSHAKE_TIMEOUT", 0.2)
    async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


# --- reloading ---------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "RELOAD_INTERVAL", 0.02)


@pytest.mark.usefixtures("quick")
async def test_a_new_certificate_is_shown_to_new_connections(
    gateway: Any, files: Files, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await gateway.register(OPEN)
    caplog.set_level("INFO")
    async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
        first = await files.serial(port)
        reader, writer = await files.dial(port)
        for kind in (trustme.KeyType.RSA, trustme.KeyType.ECDSA):  # not one of each, from which the client may choose
            serial = files.renew(kind)
            assert serial != first

            async def shown(serial: int = serial) -> bool:
                return await files.serial(port) == serial

            await eventually(shown)
        writer.write(GET)  # the open connection goes on
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
    assert "was loaded again" in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda files: files.certificate.write_text("no PEM"), "can't be read"),
        (lambda files: files.key.unlink(), "can't be read: No such file or directory"),
        (lambda files: files.key.write_bytes(files.authority.issue_cert("a").private_key_pem.bytes()), "not the key"),
    ],
    ids=["no PEM", "gone", "another key"],
)
async def test_files_that_cant_be_used_leave_the_old_certificate(
    gateway: Any, files: Files, spoil: Callable[[Files], Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
        first = await files.serial(port)
        spoil(files)

        async def logged() -> bool:
            return said in caplog.text

        await eventually(logged)
        await asyncio.sleep(0.1)
        assert caplog.text.count("is kept") == 1  # once for each change
        assert await files.serial(port) == first
        serial = files.renew()

        async def shown() -> bool:
            return await files.serial(port) == serial

        await eventually(shown)


async def test_a_websocket(start: Any, files: Files) -> None:
    async with start(mesh={}) as gateway:
        async with serving(gateway.app, tls=ListenerTls(files.certificate, files.key)) as port:
            with pytest.raises(Exception, match="404"):
                await connect(f"wss://{NAME}/nowhere", ssl=files.client(), host="127.0.0.1", port=port).__aenter__()
    [line] = gateway.log()
    assert line["method"] == "WEBSOCKET"


async def test_the_files_are_nobodys_secrets(tmp_path: Path) -> None:
    runtime = Runtime(load({}, home=tmp_path, tls_cert=Path("secrets/a.crt"), tls_key=Path("secrets/a.key")))
    reserved = {path.name for path in runtime.binder.secrets.reserved}
    await runtime.aclose()
    assert {"a.crt", "a.key"} <= reserved
