"""Clients' certificates over real TLS: who reaches which route, what is logged, and what changes meanwhile."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from websockets.asyncio.client import connect

from bridge.server import client_tls
from bridge.stages.auth import client_cas
from tests.authorities import DAY, Authority, Issued, now
from tests.conftest import Start, Upstream
from tests.secure_gateway import NAME, Secure, client_context, secured
from tests.stages.auth.test_client_cas import usages

COURT, REVENUE = Authority("Court CA"), Authority("Revenue CA")

ROUTES = {
    "open.yml": "route: /open/{rest*}\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n",
    "mtls.yml": (
        "route: /mtls/{rest*}\nupstream: svc:80\nauth: {type: mtls, ca: court}\n"
        "transform: {request: passthrough, passthrough: {websocket: true}}\n"
        "headers: {request: {set: {X-Clerk: {$claim: certificate.subject},"
        " X-Print: {$claim: certificate.fingerprint}}}}\n"
    ),
}
ENTRIES = [{"name": "court", "ca": "court.pem", "crl": "court.crl", "tenant": "court"}]


@pytest.fixture
async def secure(start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Secure]:
    monkeypatch.setattr(client_cas, "LOOK_INTERVAL", 0.02)
    monkeypatch.setattr(client_tls, "_refusals", client_tls._Refusals())
    files = {"client-cas.yml": json.dumps(ENTRIES), "court.pem": COURT.pem, "court.crl": COURT.crl()}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=ROUTES, files=files) as gateway:
        async with secured(gateway) as serving:
            yield serving


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("http2", [False, True])
async def test_a_certificate_opens_the_route_and_none_the_others(
    secure: Secure, upstream: Upstream, http2: bool, version: ssl.TLSVersion
) -> None:
    office = Authority("Office CA", above=COURT)
    (secure.home / "court.crl").write_text(COURT.crl() + office.crl())
    await secure.gateway.app.state.client_cas.reload()
    for issued in (COURT.issue("CN=clerk,O=Court"), office.issue("CN=clerk,O=Court")):
        async with secure.calling(issued, http2=http2, version=version) as get:
            for _ in range(3):
                reply = await get()
                assert (reply.status_code, reply.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
                assert upstream.seen[-1].header("x-clerk") == ["CN=clerk,O=Court"]
                assert len(upstream.seen[-1].header("x-print")[0]) == 64
            assert (await get("/open/a")).status_code == 200
    async with secure.calling(http2=http2, version=version) as get:
        assert (await get("/open/a")).status_code == 200
        refused = await get()
        assert (refused.status_code, refused.json()["type"]) == (401, "urn:bridge:problem:unauthorized")
        assert "takes a client certificate, and the call has none" in refused.json()["detail"]


async def test_a_websocket_has_its_connections_certificate(secure: Secure) -> None:
    for issued, status in ((None, "401"), (COURT.issue(), "200")):
        with pytest.raises(Exception, match=status):  # the service here speaks no WebSocket
            await connect(
                f"wss://{NAME}/mtls/a", ssl=client_context(issued), host="127.0.0.1", port=secure.port, proxy=None
            ).__aenter__()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (lambda: COURT.issue("CN=old", not_after=now() - DAY / 2), "CN=old: certificate has expired"),
        (lambda: COURT.issue("CN=new", not_before=now() + DAY / 2), "CN=new: certificate is not yet valid"),
        (lambda: COURT.issue("CN=web", extensions=usages(ExtendedKeyUsageOID.SERVER_AUTH)), "CN=web: "),
        (lambda: Authority("Court CA").issue("CN=forged"), "CN=forged: "),
        (lambda: REVENUE.issue("CN=other"), "CN=other: unable to get local issuer certificate"),
    ],
)
async def test_the_handshake_refuses_and_the_log_says_whom_and_why(
    secure: Secure, issue: Callable[[], Issued], reason: str, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        async with secure.calling(issue(), version=version) as get:
            await get("/open/a")
    assert f"a client certificate was refused in the handshake: {reason}" in caplog.text


async def test_refused_handshakes_fill_no_log(secure: Secure, caplog: pytest.LogCaptureFixture) -> None:
    bad = REVENUE.issue("CN=other")
    for _ in range(client_tls.LOG_LINES + 5):
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            async with secure.calling(bad) as get:
                await get("/open/a")
    assert caplog.text.count("was refused in the handshake") == client_tls.LOG_LINES
    client_tls._refusals._since -= client_tls.LOG_INTERVAL + 1
    client_tls._refusals.tell("why", None)
    assert "5 more client certificates were refused" in caplog.text


# --- changes while connections are open -------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
async def test_a_revoked_certificate_is_refused_on_an_open_connection(
    secure: Secure, http2: bool, caplog: pytest.LogCaptureFixture
) -> None:
    mine, other = COURT.issue("CN=mine"), COURT.issue("CN=other")
    async with secure.calling(mine, http2=http2) as get, secure.calling(other, http2=http2) as others:
        assert (await get()).status_code == (await others()).status_code == 200
        (secure.home / "court.crl").write_text(COURT.crl(mine))

        async def refused() -> bool:
            assert (await others()).status_code == 200
            return (await get()).status_code == 403

        await eventually(refused)
        assert "The client certificate was revoked." in (await get()).json()["detail"]
        assert (await get("/open/a")).status_code == 200
    async with secure.calling(mine) as get:  # the handshake knows no CRL, the call does
        assert (await get()).status_code == 403


async def test_the_access_log_has_the_subject_and_the_reason(secure: Secure) -> None:
    mine = COURT.issue("CN=mine,O=Court")
    (secure.home / "court.crl").write_text(COURT.crl(mine))
    await secure.gateway.app.state.client_cas.reload()
    async with secure.calling(mine) as get:
        assert (await get()).status_code == 403
    async with asyncio.timeout(10):
        while not (lines := secure.gateway.log()):
            await asyncio.sleep(0.02)
    assert lines[-1]["cause"] == "client certificate of CN=mine,O=Court: it was revoked"


async def test_a_wrong_file_leaves_what_it_held_before(secure: Secure, caplog: pytest.LogCaptureFixture) -> None:
    files = secure.gateway.app
    async with secure.calling(COURT.issue()) as get:
        for file, said in (("court.pem", "court.pem: it holds no certificates"), ("court.crl", "it holds no CRL")):
            good = (secure.home / file).read_text()
            (secure.home / file).write_text("nonsense")

            async def told(said: str = said) -> bool:
                return said in caplog.text

            await eventually(told)
            assert "what it held before is kept" in caplog.text
            assert (await get()).status_code == 200
            metrics = (await secure.gateway.client.get("/-/metrics")).text
            assert 'bridge_config_file_current{file="client-cas.yml"} 0' in metrics
            (secure.home / file).write_text(good)

            async def mended() -> bool:
                text = (await secure.gateway.client.get("/-/metrics")).text
                return 'bridge_config_file_current{file="client-cas.yml"} 1' in text

            await eventually(mended)
    assert files.state.client_cas.names == {"court"}


async def test_a_file_that_names_new_ones_which_come_later(secure: Secure, caplog: pytest.LogCaptureFixture) -> None:
    more = [*ENTRIES, {"name": "revenue", "ca": "revenue.pem"}]
    secure.write("client-cas.yml", more)

    async def told() -> bool:
        return "revenue.pem: No such file" in caplog.text

    await eventually(told)
    (secure.home / "revenue.pem").write_text(REVENUE.pem)

    async def known() -> bool:
        return bool(secure.gateway.app.state.client_cas.names == {"court", "revenue"})

    await eventually(known)


async def test_a_file_that_is_taken_away_takes_its_authorities(secure: Secure) -> None:
    cas = secure.gateway.app.state.client_cas
    (secure.home / "client-cas.yml").unlink()

    async def gone() -> bool:
        return not cas.names

    await eventually(gone)
    async with secure.calling(COURT.issue()) as get:
        assert (await get()).status_code == 401


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_nobody_is_asked_before_there_is_an_authority_nor_after_the_last(
    secure: Secure, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    cas = secure.gateway.app.state.client_cas
    for entries, status in (([], 401), (ENTRIES, 200), ([], 401)):
        secure.write("client-cas.yml", entries)
        await cas.reload()
        async with secure.calling(COURT.issue(), version=version) as get:
            assert (await get()).status_code == status
    assert "refused" not in caplog.text


async def test_a_resumed_session_is_judged_like_a_new_one(secure: Secure) -> None:
    mine = COURT.issue("CN=mine")
    context = client_context(mine, ssl.TLSVersion.TLSv1_2)

    async def ask(session: Any) -> tuple[bytes, Any, bool]:
        sock = await asyncio.to_thread(_dial, context, secure.port, session)
        await asyncio.to_thread(sock.sendall, b"GET /mtls/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await asyncio.to_thread(_read, sock)
        kept, reused = sock.session, sock.session_reused
        sock.close()
        return answer.split()[1], kept, bool(reused)

    status, session, _ = await ask(None)
    assert status == b"200"
    status, session, reused = await ask(session)
    assert (status, reused) == (b"200", True)  # by its id, which OpenSSL keeps
    (secure.home / "court.crl").write_text(COURT.crl(mine))
    await secure.gateway.app.state.client_cas.reload()
    assert (await ask(session))[0] == b"403"


def _dial(context: ssl.SSLContext, port: int, session: Any) -> ssl.SSLSocket:
    import socket

    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(plain, server_hostname=NAME, session=session)


def _read(sock: ssl.SSLSocket) -> bytes:
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


async def test_a_certificate_is_judged_once_for_all_calls_of_a_connection(
    secure: Secure, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = Mock(wraps=client_cas._anchored)
    monkeypatch.setattr(client_cas, "_anchored", judged)
    async with secure.calling(COURT.issue(), http2=True) as get:
        for _ in range(20):
            assert (await get()).status_code == 200
    assert judged.call_count == 1


async def test_rotation_under_load(secure: Secure) -> None:
    """The authority is replaced (both, then the new one alone), clients are renewed, a serial number is revoked. Nobody
    with a good certificate is refused, and nobody with a revoked one admitted once it is known."""
    young = Authority("Court CA")  # the same name, another key
    papers = {"a": COURT.issue("CN=a"), "b": COURT.issue("CN=b")}
    thief = COURT.issue("CN=thief")
    statuses: list[int] = []
    stop = asyncio.Event()

    async def work(who: str) -> None:
        while not stop.is_set():  # each connection lasts for a few calls, so that there are handshakes all the time
            async with secure.calling(papers[who], http2=who == "b") as get:
                for _ in range(5):
                    statuses.append((await get()).status_code)

    async def changed(name: str, text: str) -> None:
        before = secure.gateway.app.state.client_cas.bundle
        (secure.home / name).write_text(text)

        async def taken() -> bool:
            return secure.gateway.app.state.client_cas.bundle is not before

        await eventually(taken)

    async with asyncio.TaskGroup() as group, secure.calling(thief) as steal:
        workers = [group.create_task(work(who)) for who in "abab"]
        await changed("court.pem", COURT.pem + young.pem)
        assert (await steal()).status_code == 200
        await changed("court.crl", COURT.crl(thief) + young.crl())
        assert (await steal()).status_code == 403
        for who in papers:
            papers[who] = young.issue(f"CN={who}")
        # Who has the old one still may finish: connections last five calls.
        done = len(statuses) + 60

        async def renewed() -> bool:
            return len(statuses) >= done or any(worker.done() for worker in workers)

        await eventually(renewed)
        (secure.home / "court.crl").write_text(young.crl())
        await changed("court.pem", young.pem)
        done = len(statuses) + 40
        await eventually(renewed)
        assert (await steal()).status_code == 403  # of the old authority
        stop.set()
    assert set(statuses) == {200}
    assert len(statuses) > 100
