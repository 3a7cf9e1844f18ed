"""Bearer tokens about which their issuer is asked (RFC 7662): its answers, how long they count, and its failures."""

from __future__ import annotations

import asyncio
import gzip
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bridge.api.call import Identity
from bridge.errors import IssuerUnavailable, Unauthorized
from bridge.stages.auth import introspection, introspection_endpoint
from bridge.stages.auth.introspection import Introspector
from bridge.stages.auth.introspection_endpoint import AT_ONCE, IntrospectionEndpoint
from bridge.stages.auth.introspection_entry import Introspection, IntrospectionClient
from bridge.stages.auth.jwks import FixedKeys
from bridge.stages.auth.jwt import TrustedIssuer
from bridge.stages.auth.keys import KeySet
from bridge.transport import url_client
from bridge.transport.url_client import UrlClient
from tests.stages.auth.introspection_server import (
    ISSUER,
    Asked,
    Endpoint,
    TokenClients,
    endpoint,
    oauthlib_endpoint,
    reply,
)

SECRET = "s3cret/of+the:gateway"
ACTIVE = {"active": True, "sub": "ann"}


class Times:
    """Both clocks of an introspector; they pass together, and only when told to."""

    def __init__(self) -> None:
        self.monotonic, self.unix = 1000.0, float(int(time.time()))

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.unix += seconds


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
async def make(times: Times, tmp_path: Path) -> AsyncIterator[Callable[..., Introspector]]:
    made: list[Introspector] = []

    def making(server: Endpoint | str, *, claims: dict[str, Any] | None = None, **entry: Any) -> Introspector:
        url = server if isinstance(server, str) else server.url
        given = {"client_id": "bridge", "client_secret": {"$env": "IDP_CLIENT"}, "url": url} | entry
        read = Introspection.model_validate({name: value for name, value in given.items() if value is not None})
        client = IntrospectionClient(read, ISSUER, tmp_path, {"IDP_CLIENT": SECRET})

        async def where() -> str:
            return url

        connections = UrlClient(client.tls, per_address=AT_ONCE, clock=lambda: times.monotonic)
        asked = IntrospectionEndpoint(ISSUER, where, client.authentication, connections, clock=lambda: times.monotonic)
        issuer = TrustedIssuer(ISSUER, frozenset(), FixedKeys(KeySet()), **(claims or {}))
        made.append(Introspector(issuer, read, asked, clock=lambda: times.monotonic, now=lambda: times.unix))
        return made[-1]

    yield making
    for each in made:
        await each.aclose()


def says(answer: Any) -> Callable[[Asked], Any]:
    async def respond(asked: Asked) -> bytes:
        return answer if isinstance(answer, bytes) else reply(answer)

    return respond


async def identify(introspector: Introspector, token: str = "t") -> Identity:
    return (await introspector.ask(token)).identity


async def away(introspector: Introspector, token: str = "t") -> IssuerUnavailable:
    with pytest.raises(IssuerUnavailable) as caught:
        await introspector.ask(token)
    assert int(dict(caught.value.headers)["retry-after"]) >= 1
    assert SECRET not in str(caught.value.cause)
    return caught.value


# --- what is asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_a_secret_by_each_way_is_what_oauthlib_takes(make: Any, method: str) -> None:
    clients = TokenClients(bridge=SECRET)
    clients.methods = {method}
    clients.tokens["opaque"] = {"sub": "ann", "scope": "read write"}
    async with endpoint(oauthlib_endpoint(clients)) as server:
        introspector = make(server, client_auth=method)
        identity = await identify(introspector, "opaque")
        assert (identity.subject, *sorted(identity.scopes)) == ("ann", "read", "write")
        with pytest.raises(Unauthorized, match="not active"):
            await introspector.ask("another")
    asked = server.asked[0]
    assert asked.head.startswith("POST /introspect HTTP/1.1\r\n")
    assert asked.form["token_type_hint"] == "access_token"
    assert asked.fields["host"] == f"127.0.0.1:{server.port}"
    assert ("authorization" in asked.fields) == (method == "basic")


async def test_the_gateway_may_sign_for_itself(make: Any, make_pair: Any, tmp_path: Path) -> None:
    pair = make_pair("ES256")
    pem = pair.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "client.pem").write_bytes(pem)
    clients = TokenClients()
    clients.methods, clients.keys["bridge"] = {"private_key_jwt"}, pair.private.public_key()
    clients.tokens["opaque"] = {"sub": "ann"}
    async with endpoint(oauthlib_endpoint(clients)) as server:
        key = {"$file": "client.pem"}
        introspector = make(server, client_auth="private_key_jwt", client_key=key, client_secret=None)
        assert (await identify(introspector, "opaque")).subject == "ann"


async def test_the_gateway_may_have_a_certificate_which_may_be_renewed(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: Times
) -> None:
    monkeypatch.setattr("bridge.api.values.CHECK_EVERY", 0.0)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    def issue(name: str) -> None:
        certificate = authority.issue_cert("bridge.test", common_name=name)
        certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
        (tmp_path / "cert.pem").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))

    issue("one")
    async with endpoint(says(ACTIVE), tls) as server:
        files = {"client_cert": {"$file": "cert.pem"}, "client_key": {"$file": "key.pem"}}
        introspector = make(server, client_auth="mtls", client_secret=None, **files)
        await introspector.ask("a")
        issue("two")
        await introspector.ask("b")
        (tmp_path / "key.pem").write_text("renewed in part\n")
        await introspector.ask("c")
    names = [dict(pair[0] for pair in asked.certificate["subject"])["commonName"] for asked in server.asked]
    assert names == ["one", "two", "two"]
    assert [asked.form["client_id"] for asked in server.asked] == ["bridge"] * 3
    assert not any("authorization" in asked.fields for asked in server.asked)


async def test_a_secret_in_a_file_may_be_replaced(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.api.values.CHECK_EVERY", 0.0)
    (tmp_path / "idp").write_text("before\n")
    clients = TokenClients(bridge="before")
    clients.tokens = {"a": {}, "b": {}}
    async with endpoint(oauthlib_endpoint(clients)) as server:
        introspector = make(server, client_secret={"$file": "idp"})
        await introspector.ask("a")
        (tmp_path / "idp").write_text("afterwards\n")
        clients.clients["bridge"] = "afterwards"
        await introspector.ask("b")


async def test_one_connection_serves_calls_after_each_other(make: Any) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server)
        for number in range(10):
            await introspector.ask(f"t{number}")
        assert server.connections == 1


async def test_a_kept_connection_that_was_closed_costs_no_call_its_answer(make: Any) -> None:
    async def respond(asked: Asked) -> bytes:
        return b"" if len(server.asked) == 2 else reply(ACTIVE)  # the second request finds it closed

    async with endpoint(respond) as server:
        introspector = make(server)
        await introspector.ask("a")
        await introspector.ask("b")
    assert server.tokens == ["a", "b", "b"]


async def test_names_are_looked_up_and_each_address_is_tried(
    make: Any, monkeypatch: pytest.MonkeyPatch, unused_port: int, times: Times
) -> None:
    looked_up: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: Any) -> Any:
        looked_up.append(host)
        return [(0, 0, 0, "", ("127.0.0.9", port)), (0, 0, 0, "", ("127.0.0.1", port))]

    async with endpoint(says(ACTIVE)) as server:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo, raising=False)
        introspector = make(f"http://idp.localhost:{server.port}/introspect")
        await introspector.ask("a")
        await introspector.ask("b")
        assert looked_up.count("idp.localhost") == 1
        assert server.asked[0].fields["host"] == f"idp.localhost:{server.port}"
        times.pass_(url_client.ADDRESSES_HOLD)
        await introspector.ask("c")
        assert looked_up.count("idp.localhost") == 2


# --- what the answers mean ------------------------------------------------------------------------------------


async def test_claims_are_read_as_those_of_a_jwt(make: Any, times: Times) -> None:
    answer = {
        "active": True,
        "iss": ISSUER,
        "sub": "ann",
        "aud": ["AREA", "OTHER"],
        "scope": "read write",
        "client_id": "app",
        "exp": times.unix + 60,
        "token_type": "Bearer",
        "realm_access": {"roles": ["clerk", "internal"]},
        "org": "revenue",
    }
    async with endpoint(says(answer)) as server:
        introspector = make(server, claims={"roles_claim": "realm_access.roles", "tenant_claim": "org"})
        verified = await introspector.ask("t")
    assert verified.audiences == {"AREA", "OTHER"}
    identity = verified.identity
    assert (identity.subject, identity.tenant) == ("ann", "revenue")
    assert (identity.roles, identity.scopes) == ({"clerk", "internal"}, {"read", "write"})
    assert identity.key == f"sub:{ISSUER}|ann"
    assert identity.internal
    assert identity.claims["client_id"] == "app"
    assert identity.token == ""


@pytest.mark.parametrize(
    ("claims", "subject"),
    [
        ({"sub": "s", "username": "u", "client_id": "c"}, "s"),
        ({"username": "u", "client_id": "c"}, "u"),
        ({"client_id": "c"}, "c"),
        ({}, ""),
    ],
)
async def test_the_caller_is_who_authorized_the_token(make: Any, claims: Any, subject: str) -> None:
    async with endpoint(says({"active": True, **claims})) as server:
        assert (await identify(make(server))).subject == subject


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"active": False}, "not active"),
        ({"active": False, "sub": "ann", "scope": "all"}, "not active"),
        ({"iss": "https://other.test"}, "another issuer"),
        ({"iss": 7}, "another issuer"),
        ({"exp": 1}, "expired"),
        ({"exp": "soon"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"nbf": 4e9}, "not valid yet"),
        ({"iat": 4e9}, "issued in the future"),
        ({"tenant": ["revenue"]}, "not a tenant's name"),
        ({"sub": ["ann"]}, "malformed"),
        ({"aud": 7}, "malformed"),
        ({"token_type": "refresh_token"}, "no access token"),
        ({"token_type": "N_A"}, "no access token"),
        ({"token_type": ["Bearer"]}, "no access token"),
        ({"token_type": "DPoP"}, "bound to a key that its issuer does not tell"),
        ({"token_use": "refresh_token"}, "no access token"),
        ({"typ": "Refresh"}, "no access token"),
        ({"typ": "Offline"}, "no access token"),
        ({"typ": "ID"}, "no access token"),
        ({"token_type": "Bearer", "typ": "ID"}, "no access token"),
        ({"nonce": "n"}, "ID token"),
        ({"events": {}}, "no access token"),
    ],
)
async def test_tokens_that_are_refused(make: Any, answer: Any, words: str) -> None:
    async with endpoint(says(ACTIVE | answer)) as server:
        introspector = make(server)
        for _ in range(2):
            with pytest.raises(Unauthorized, match=words) as caught:
                await introspector.ask("t")
            challenge = dict(caught.value.headers)["www-authenticate"]
            assert challenge.startswith('Bearer realm="hms-bridge", error="invalid_token"')
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer", [{"iss": None}, {"typ": "Bearer"}, {"token_type": "DPoP", "cnf": {}, "nonce": "n"}, {"exp": None}]
)
async def test_what_servers_say_of_access_tokens(make: Any, answer: Any) -> None:
    async with endpoint(says(ACTIVE | answer)) as server:
        assert (await identify(make(server))).subject == "ann"


async def test_a_token_that_is_too_long_is_not_sent(make: Any) -> None:
    async with endpoint(says(ACTIVE)) as server:
        with pytest.raises(Unauthorized, match="longer than 16384 bytes"):
            await make(server).ask("t" * 16385)
        assert not server.asked


# --- for how long they count ----------------------------------------------------------------------------------


async def test_a_revoked_token_is_refused_after_the_time_of_the_cache(make: Any, times: Times) -> None:
    clients = TokenClients(bridge=SECRET)
    clients.tokens["t"] = {"sub": "ann"}
    async with endpoint(oauthlib_endpoint(clients)) as server:
        introspector = make(server, cache="10s")
        await introspector.ask("t")
        del clients.tokens["t"]
        times.pass_(9.999)
        assert introspector.known("t") is not None
        assert (await identify(introspector)).subject == "ann"
        times.pass_(0.001)
        assert introspector.known("t") is None
        with pytest.raises(Unauthorized, match="not active"):
            await introspector.ask("t")
        assert len(server.asked) == 2


async def test_an_answer_counts_from_when_it_was_asked_for(make: Any, times: Times) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server, cache="10s")
        server.gate.clear()
        call = asyncio.create_task(introspector.ask("t"))
        await server.arrived.wait()
        times.pass_(6.0)
        server.gate.set()
        await call
        times.pass_(3.999)
        assert introspector.known("t") is not None
        times.pass_(0.001)
        assert introspector.known("t") is None


@pytest.mark.parametrize("cache", ["0s", "1s"])
async def test_who_comes_when_an_answer_would_be_too_old_asks_anew(make: Any, times: Times, cache: str) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server, cache=cache)
        server.gate.clear()
        first = asyncio.create_task(introspector.ask("t"))
        await server.arrived.wait()
        server.arrived.clear()
        times.pass_(1.5)
        second = asyncio.create_task(introspector.ask("t"))
        await server.arrived.wait()
        server.gate.set()
        await asyncio.gather(first, second)
        assert len(server.asked) == 2


async def test_an_older_answer_does_not_replace_a_newer_one(make: Any, times: Times) -> None:
    held = asyncio.Event()

    async def respond(asked: Asked) -> bytes:
        if asked is server.asked[0]:
            await held.wait()
            return reply(ACTIVE)
        return reply({"active": False})

    async with endpoint(respond) as server:
        introspector = make(server, cache="1s", on_failure={"stale": "1h"})
        first = asyncio.create_task(introspector.ask("t"))
        await server.arrived.wait()
        times.pass_(1.5)
        with pytest.raises(Unauthorized):
            await introspector.ask("t")
        held.set()
        await first
        assert introspector._active == {}


async def test_an_answer_never_counts_beyond_the_tokens_expiry(make: Any, times: Times) -> None:
    async with endpoint(says(ACTIVE | {"exp": times.unix + 4})) as server:
        introspector = make(server, cache="1h", on_failure={"stale": "1h"})
        await introspector.ask("t")
        times.pass_(3.9)
        assert introspector.known("t") is not None
        times.pass_(0.1)
        assert introspector.known("t") is None
        server.respond = says(b"")
        await away(introspector)


async def test_a_refusal_counts_for_a_shorter_time(make: Any, times: Times) -> None:
    clients = TokenClients(bridge=SECRET)
    async with endpoint(oauthlib_endpoint(clients)) as server:
        introspector = make(server, negative_cache="2s")
        with pytest.raises(Unauthorized):
            await introspector.ask("t")
        clients.tokens["t"] = {"sub": "ann"}
        times.pass_(1.9)
        with pytest.raises(Unauthorized):
            introspector.known("t")
        times.pass_(0.1)
        assert (await identify(introspector)).subject == "ann"
        assert len(server.asked) == 2


async def test_a_number_of_tokens_is_remembered(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "REMEMBERED", 3)

    async def respond(asked: Asked) -> bytes:
        return reply({"active": asked.form["token"].startswith("a")})

    async with endpoint(respond) as server:
        introspector = make(server)
        for number in range(5):
            await introspector.ask(f"a{number}")
            with pytest.raises(Unauthorized):
                await introspector.ask(f"b{number}")
        assert (len(introspector._active), len(introspector._refused)) == (3, 3)
        assert [introspector.known(f"a{number}") is not None for number in range(5)] == [False] * 2 + [True] * 3
    kept = repr(introspector._active) + repr(introspector._refused)
    assert "a4" not in kept, "tokens are not kept, only their digests"


# --- calls at one time -----------------------------------------------------------------------------------------


async def test_calls_with_one_token_ask_once(make: Any) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server)
        server.gate.clear()
        calls = [asyncio.create_task(introspector.ask("t")) for _ in range(50)]
        await server.arrived.wait()
        calls[0].cancel()  # others wait for what it began
        server.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await calls[0]
        assert {result.identity.subject for result in await asyncio.gather(*calls[1:])} == {"ann"}
        assert len(server.asked) == 1


async def test_invented_tokens_do_not_flood_the_endpoint(make: Any) -> None:
    async with endpoint(says({"active": False})) as server:
        introspector = make(server)
        server.gate.clear()
        calls = [asyncio.create_task(introspector.ask(f"invented{number}")) for number in range(300)]
        while server.waiting < AT_ONCE:
            await asyncio.sleep(0)
        server.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {Unauthorized}
        assert server.most == AT_ONCE
        assert server.connections <= AT_ONCE


async def test_who_gets_no_turn_in_time_gets_503_and_the_endpoint_is_not_to_blame(
    make: Any, monkeypatch: pytest.MonkeyPatch, times: Times
) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server)
        server.gate.clear()
        monkeypatch.setattr(introspection_endpoint, "TIMEOUT", 20.0)
        calls = [asyncio.create_task(introspector.ask(f"t{number}")) for number in range(AT_ONCE)]
        while server.waiting < AT_ONCE:
            await asyncio.sleep(0)
        monkeypatch.setattr(introspection_endpoint, "TIMEOUT", 0.05)
        error = await away(introspector, "late")
        assert "32 requests are under way" in str(error.cause)
        server.gate.set()
        await asyncio.gather(*calls)
        assert (await identify(introspector, "later")).subject == "ann"


# --- failures ---------------------------------------------------------------------------------------------------

_CHUNKED = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
_WITHOUT_END = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (reply(b"<html>"), "not JSON"),
        (reply(b""), "not JSON"),
        (reply(b'{"active": true'), "not JSON"),
        (reply(b"\xff"), "not JSON"),
        (reply(b"[" * 9000), "not JSON"),
        (reply([ACTIVE]), "no JSON object"),
        (reply(None), "no JSON object"),
        (reply({}), "no boolean active"),
        (reply({"active": "true"}), "no boolean active"),
        (reply({"active": 1}), "no boolean active"),
        (reply({"active": None}), "no boolean active"),
        (reply({"Active": True}), "no boolean active"),
        (reply(ACTIVE, content_type="text/html"), "not application/json"),
        (reply(ACTIVE, content_type=""), "not application/json"),
        (reply(ACTIVE, content_type="application/token-introspection+jwt"), "not application/json"),
        (reply(ACTIVE | {"x": "x" * 40_000}), "more than|longer|32768"),
        (_CHUNKED + b"".join(b"1000\r\n" + b" " * 4096 + b"\r\n" for _ in range(20)), "more than|longer|32768"),
        (reply(gzip.compress(b'{"active":true}'), content_encoding="gzip"), "coded"),
        (reply(ACTIVE, 201), "HTTP 201"),
        (reply(b"", 204, content_type="", content_length=""), "HTTP 204"),
        (reply(ACTIVE, 302, location="https://elsewhere.test/"), "HTTP 302"),
        (reply({"error": "invalid_request"}, 400), "HTTP 400"),
        (reply({"error": "invalid_client"}, 401), "client authentication"),
        (reply(ACTIVE, 403), "HTTP 403"),
        (reply(ACTIVE, 404), "HTTP 404"),
        (reply(ACTIVE, 429), "HTTP 429"),
        (reply(ACTIVE, 500), "HTTP 500"),
        (reply(ACTIVE, 503), "HTTP 503"),
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "reply|answer|HTTP"),
    ],
)
async def test_answers_that_say_nothing_about_the_token(make: Any, answer: bytes, cause: str) -> None:
    async with endpoint(says(answer)) as server:
        introspector = make(server)
        for _ in range(5):
            assert re.search(cause, str((await away(introspector)).cause))
        assert not introspector._active
        assert len(server.asked) <= 1 + introspection_endpoint.TOLERANCE
        asked = len(server.asked)
        await away(introspector, "another")
        assert len(server.asked) == asked, "it is in a back-off"


@pytest.mark.parametrize("start", [b"", _WITHOUT_END, _CHUNKED])
async def test_an_endpoint_that_is_slow_or_never_ends(make: Any, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(introspection_endpoint, "TIMEOUT", 0.1)

    async def respond(asked: Asked) -> bytes:
        for writer in server.writers:
            writer.write(start)
        await server.over.wait()
        return b""

    async with endpoint(respond) as server:
        introspector = make(server)
        assert "no whole answer within 0.1 s" in str((await away(introspector)).cause)
        await away(introspector, "another")
        assert server.tokens == ["t"]


async def test_an_endpoint_that_is_away_and_back(
    make: Any, times: Times, unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bridge.guards")
    introspector = make(f"http://127.0.0.1:{unused_port}/introspect")
    error = await away(introspector)
    assert "introspection at https://idp.test" in str(error.cause)
    assert dict(error.headers)["retry-after"] == "1"
    waits = []
    for _ in range(7):
        wait = introspector._endpoint._backoff.retry_at - times.monotonic
        waits.append(wait)
        times.pass_(wait - 0.01)
        assert not introspector._endpoint.open
        times.pass_(0.01)
        await away(introspector)
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 8, "one for each failure that was noticed, not one for each call"

    listener = Endpoint(says(ACTIVE))
    listener.gate.set()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", unused_port)
    try:
        times.pass_(30)
        listener.gate.clear()
        probe = asyncio.create_task(introspector.ask("t"))
        await listener.arrived.wait()
        await away(introspector, "another")  # one request at a time finds out
        listener.gate.set()
        await probe
        assert (await identify(introspector, "another")).subject == "ann"
        assert listener.tokens == ["t", "another"]
        assert "works again" in caplog.records[-1].message
    finally:
        listener.drop()
        server.close()


async def test_a_token_that_the_endpoint_fails_on_keeps_nobody_else_out(make: Any) -> None:
    async def respond(asked: Asked) -> bytes:
        return reply({"error": "server_error"}, 500) if asked.form["token"].startswith("bad") else reply(ACTIVE)

    async with endpoint(respond) as server:
        introspector = make(server)
        for number in range(10):
            await away(introspector, f"bad{number}")
            await away(introspector, f"bad{number}")
            assert (await identify(introspector, f"good{number}")).subject == "ann"


async def test_tokens_that_were_active_stay_so_where_the_operator_says_so(make: Any, times: Times) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server, cache="10s", on_failure={"stale": "60s"})
        await introspector.ask("t")
        server.respond = says(reply({}, 503))
        times.pass_(10)
        assert introspector.known("t") is None
        for _ in range(3):
            assert (await identify(introspector)).subject == "ann"
        await away(introspector, "never seen")
        times.pass_(59.99)
        assert (await identify(introspector)).subject == "ann"
        times.pass_(0.01)
        await away(introspector)
        server.respond = says({"active": False})
        times.pass_(30)
        with pytest.raises(Unauthorized):
            await introspector.ask("t")


async def test_a_token_that_was_refused_is_never_stale(make: Any, times: Times) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server, cache="1s", negative_cache="1s", on_failure={"stale": "60s"})
        await introspector.ask("t")
        times.pass_(1)
        server.respond = says({"active": False})
        with pytest.raises(Unauthorized):
            await introspector.ask("t")
        times.pass_(1)
        server.respond = says(reply({}, 503))
        await away(introspector)


async def test_calls_that_wait_when_the_gateway_ends_get_503(make: Any) -> None:
    async with endpoint(says(ACTIVE)) as server:
        introspector = make(server)
        server.gate.clear()
        call = asyncio.create_task(introspector.ask("t"))
        await server.arrived.wait()
        await introspector.aclose()
        with pytest.raises(IssuerUnavailable, match="Try again"):
            await call
