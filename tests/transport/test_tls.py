"""What a route says of TLS: files by the rule of secrets, judged at bind, and believed on the wire by both kinds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from bridge.api.call import GrpcRequest, HttpRequest
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.upstream import Upstream
from bridge.cluster.mesh import open_mesh
from bridge.cluster.pool import OfflineUpstreams, Upstreams
from bridge.config.settings import Settings
from bridge.errors import BindError, RequestError
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.published import url_keys

pytestmark = pytest.mark.usefixtures("operator")

FILES: dict[str, Any] = {"ca": "secrets/ca.pem", "certificate": "secrets/own.pem", "key": "secrets/own.key"}


class Authority:
    """Writes what a gateway needs below `home`/secrets, and makes what a server needs."""

    def __init__(self, home: Path) -> None:
        self.ca = trustme.CA()
        secrets = home / "secrets"
        secrets.mkdir()
        own = self.ca.issue_cert("gateway")
        self.ca.cert_pem.write_to_path(str(secrets / "ca.pem"))
        own.private_key_pem.write_to_path(str(secrets / "own.key"))
        (secrets / "own.pem").write_bytes(b"".join(blob.bytes() for blob in own.cert_chain_pems))
        (secrets / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        (secrets / "text.pem").write_text("no certificate")
        self.ca.issue_cert("other").private_key_pem.write_to_path(str(secrets / "other.key"))
        key = load_pem_private_key(own.private_key_pem.bytes(), None)
        encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
        (secrets / "encrypted.key").write_bytes(encrypted)

    def grpc_server(self, *names: str) -> grpc.ServerCredentials:
        issued = self.ca.issue_cert(*names)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        return grpc.ssl_server_credentials(
            [(issued.private_key_pem.bytes(), chain)], self.ca.cert_pem.bytes(), require_client_auth=True
        )

    def http_server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        self.ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def upstreams(tmp_path: Path) -> Any:
    """``upstreams(port)``: a pool whose mesh knows ``vat-svc`` at that port of this machine."""
    made: list[Any] = []

    def make(port: int) -> Upstreams:
        (tmp_path / "mesh.yml").write_text(f"vat-svc: ['127.0.0.1:{port}']\n")
        mesh = open_mesh("static:mesh.yml", tmp_path)
        pool = Upstreams(mesh, Settings(home=tmp_path))
        made.extend((pool, mesh))
        return pool

    yield make
    for one in made:
        await one.aclose()


def faults(home: Path, text: str, wire: str, **given: Any) -> dict[str, str]:
    """What both who serve and who only look say of it, by key."""
    (home / "mesh.yml").write_text("{}\n")
    connection = ConnectionSpec.model_validate(given)
    found = []
    for judge in (Upstreams(open_mesh("static:mesh.yml", home), Settings(home=home)), OfflineUpstreams(home)):
        with pytest.raises(BindError) as caught:
            judge.bind(Upstream.parse(text), wire, connection)
        found.append({fault.key.removeprefix("connection."): fault.reason for fault in caught.value.faults})
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"ca": "issuers.yml"}, "ca", "below secrets/"),
        ({"ca": "secrets/../ca.pem"}, "ca", "parent folders"),
        ({"ca": "/etc/ssl/certs/ca-certificates.crt"}, "ca", "below secrets/"),
        ({"ca": "secrets/none.pem"}, "ca", "there is no file"),
        ({"ca": "secrets/\0"}, "ca", "there is no file"),
        ({"ca": "secrets/text.pem"}, "ca", "holds no PEM"),
        ({**FILES, "certificate": "secrets/text.pem"}, "certificate", "holds no PEM"),
        ({**FILES, "key": "secrets/text.pem"}, "key", "holds no PEM"),
        ({**FILES, "certificate": "secrets/broken.pem"}, "certificate", "can't be read"),
        ({**FILES, "key": "secrets/other.key"}, "key", "not the key"),
        ({**FILES, "key": "secrets/encrypted.key"}, "key", "encrypted"),
    ],
)
@pytest.mark.parametrize(("text", "wire"), [("grpcs://vat-svc:1", "grpc"), ("https://vat-svc:1", "http")])
async def test_files_are_judged_at_bind(
    tmp_path: Path, authority: Authority, given: Any, key: str, words: str, text: str, wire: str
) -> None:
    assert words in faults(tmp_path, text, wire, **given)[key]


@pytest.mark.parametrize(
    "given",
    [
        {"certificate": "secrets/own.pem"},
        {"key": "secrets/own.key"},
        {"keepalive": "5s"},
        {"compression": "zstd"},
        {"health": "not a name"},
        {"max_message": "much"},
        {"max_metadata": "1G"},
        {"server_name": "a b"},
        {"cacert": "secrets/ca.pem"},
    ],
)
def test_what_is_misspelt_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ConnectionSpec.model_validate(given)


async def send(upstream: Any, *, http: bool) -> Any:
    request = HttpRequest("GET", "/") if http else GrpcRequest("/a.S/Do", b"abc")
    return await upstream.send(request, deadline=asyncio.get_running_loop().time() + 5)


async def test_mutual_tls_over_grpc(
    upstreams: Callable[[int], Upstreams], authority: Authority, serve_grpc: Callable[..., Awaitable[Any]]
) -> None:
    seen: list[Any] = []

    async def answer(message: bytes, context: Any) -> bytes:
        seen.append((context.auth_context()["x509_subject_alternative_name"], context.peer_identities()))
        return message

    server = await serve_grpc({"Do": answer}, credentials=authority.grpc_server("svc.example"))
    pool = upstreams(server.address[1])
    text = Upstream.parse("grpcs://vat-svc:1")
    whole = ConnectionSpec(**FILES, server_name="svc.example")
    assert (await send(pool.bind(text, "grpc", whole), http=False)).message == b"abc"
    assert b"gateway" in seen[0][0]
    for wrong in (
        ConnectionSpec(**FILES),  # the certificate bears another name
        ConnectionSpec(ca=FILES["ca"], server_name="svc.example"),  # the server wants to know who we are
        ConnectionSpec(certificate=FILES["certificate"], key=FILES["key"], server_name="svc.example"),  # not trusted
    ):
        with pytest.raises(RequestError) as caught:
            await send(pool.bind(text, "grpc", wrong), http=False)
        assert caught.value.status == 503


async def test_mutual_tls_over_http(
    upstreams: Callable[[int], Upstreams],
    authority: Authority,
    serve: Callable[..., Awaitable[Any]],
    reply: Callable[..., bytes],
) -> None:
    server = await serve(reply(b"hello"), ssl=authority.http_server("svc.example"))
    pool = upstreams(server.port)
    text = Upstream.parse("https://vat-svc:8443")
    whole = ConnectionSpec(**FILES, server_name="svc.example")
    assert (await send(pool.bind(text, "http", whole), http=True)).body == b"hello"
    assert server.seen[0].all(b"host") == [b"vat-svc:8443"]
    for wrong in (
        ConnectionSpec(**FILES),
        ConnectionSpec(ca=FILES["ca"], server_name="svc.example"),
        ConnectionSpec(certificate=FILES["certificate"], key=FILES["key"], server_name="svc.example"),
    ):
        with pytest.raises(RequestError) as caught:
            await send(pool.bind(text, "http", wrong), http=True)
        assert caught.value.status in (502, 503)
    assert len(server.seen) == 1


def old_authority(home: Path, name: str) -> ssl.SSLContext:
    """What serves `name` with a certificate as authorities of twenty years ago issued them: without the key identifiers
    and the key usage that RFC 5280 asks for. The authority's own is written to secrets/old.pem."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("An old authority", name)]
    now = datetime.now(UTC)
    pems = []
    for which, extension in enumerate(
        (x509.BasicConstraints(ca=True, path_length=None), x509.SubjectAlternativeName([x509.DNSName(name)]))
    ):
        builder = x509.CertificateBuilder(names[0], names[which], keys[which].public_key(), 5 + which)
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(extension, critical=False)
        pems.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM))
    (home / "secrets/old.pem").write_bytes(pems[0])
    private = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (home / "served.pem").write_bytes(pems[1] + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "served.pem")
    return context


@pytest.mark.parametrize("given", [{"ca": "secrets/old.pem"}, {}], ids=["the route's ca", "the system's"])
async def test_an_old_authority_is_trusted_by_every_python(
    upstreams: Callable[[int], Upstreams],
    authority: Authority,
    serve: Callable[..., Awaitable[Any]],
    reply: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: Any,
) -> None:
    """From 3.13 on, Python's default context refuses such certificates, as no gRPC client, curl or Envoy does."""
    server = await serve(reply(b"hello"), ssl=old_authority(tmp_path, "vat-svc"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "secrets/old.pem"))
    upstream = upstreams(server.port).bind(Upstream.parse("https://vat-svc:8443"), "http", ConnectionSpec(**given))
    assert (await send(upstream, http=True)).body == b"hello"


async def test_an_issuers_keys_are_fetched_with_the_same_trust(
    serve: Callable[..., Awaitable[Any]],
    reply: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "secrets").mkdir()
    server = await serve(reply(b'{"keys": []}'), ssl=old_authority(tmp_path, "localhost"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "secrets/old.pem"))
    made = ssl.create_default_context

    def strict(*given: Any, **more: Any) -> ssl.SSLContext:
        """As from Python 3.13 on."""
        context = made(*given, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    trust = Trust.load(Settings(home=tmp_path))
    await url_keys("a", f"https://localhost:{server.port}/", trust._http).renew()
    await trust.aclose()
    assert len(server.seen) == 1


async def test_routes_that_say_the_same_share(
    upstreams: Callable[[int], Upstreams], authority: Authority, tmp_path: Path
) -> None:
    pool = upstreams(1)

    def bind(**given: Any) -> Any:
        return pool.bind(Upstream.parse("grpcs://vat-svc:1"), "grpc", ConnectionSpec(**given))

    first = bind(**FILES)
    assert bind(**FILES) is first
    assert bind(ca=FILES["ca"]) is not first
    assert bind(health=True) is not bind()
    renewed = authority.ca.issue_cert("gateway")
    renewed.private_key_pem.write_to_path(str(tmp_path / FILES["key"]))
    (tmp_path / FILES["certificate"]).write_bytes(b"".join(blob.bytes() for blob in renewed.cert_chain_pems))
    assert bind(**FILES) is not first
