"""Where the gateway connects to for an issuer: to no address that others choose and that is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bridge.errors import IssuerUnavailable
from bridge.stages.auth.discovery import BadMetadata, read_metadata
from bridge.stages.auth.issuers import Trust
from tests.stages.auth.introspection_server import endpoint
from tests.stages.auth.test_introspection import says

REFUSED = [
    "127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "100.100.100.200", "0.0.0.0", "224.0.0.1",
]  # fmt: skip


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The DNS: addresses by name."""
    known: dict[str, list[str]] = {}

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise OSError(f"no address of {host}")
        return [(0, 0, 0, "", (address, port)) for address in known[host]]

    async def install() -> dict[str, list[str]]:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
        return known

    return install


@pytest.mark.parametrize("address", REFUSED)
async def test_an_issuer_s_name_leads_to_no_refused_address(
    home: Any, make_pair: Any, claims_of: Any, jwks_server: Any, answers: Any, address: str
) -> None:
    """Keys, metadata and introspection; the server counts who comes."""
    known = await answers()
    port = jwks_server.url.rpartition(":")[2].partition("/")[0]
    pair = make_pair("ES256")
    jwks_server.keys = [pair.jwk]
    (home.home / "issuers.yml").write_text(
        f"- {{issuer: keys, jwks_url: 'http://idp.example:{port}/jwks.json'}}\n- issuer: http://idp.example:{port}\n"
    )
    trust = Trust.load(home, {})
    try:
        for issuer in ("keys", f"http://idp.example:{port}"):
            known["idp.example"] = [address]
            with pytest.raises(IssuerUnavailable) as caught:
                await trust.verifier.verify(pair.sign(claims_of(iss=issuer)))
            assert "idp.example leads only to addresses that are refused" in caught.value.cause
            assert address in caught.value.cause
        assert jwks_server.requests == []
    finally:
        await trust.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_what_the_operator_wrote_is_reached(
    home: Any, make_pair: Any, claims_of: Any, jwks_server: Any, host: str
) -> None:
    port = jwks_server.url.rpartition(":")[2].partition("/")[0]
    pair = make_pair("ES256")
    jwks_server.keys = [pair.jwk]
    (home.home / "issuers.yml").write_text(f"- {{issuer: keys, jwks_url: 'http://{host}:{port}/jwks.json'}}\n")
    trust = Trust.load(home, {})
    try:
        assert (await trust.verifier.verify(pair.sign(claims_of(iss="keys")))).identity.subject == "ann"
        assert len(jwks_server.requests) == 1
    finally:
        await trust.aclose()


@pytest.mark.parametrize("address", REFUSED)
async def test_introspection_by_a_name_that_leads_to_a_refused_address(home: Any, answers: Any, address: str) -> None:
    known = await answers()
    known["idp.example"] = [address]
    async with endpoint(says({"active": True})) as server:
        (home.home / "issuers.yml").write_text(
            "- issuer: https://i.example\n  jwks_url: https://i.example/jwks\n"
            f"  introspection:\n    url: http://idp.example:{server.port}/i\n    client_id: me\n"
            "    client_secret: {$env: S}\n"
        )
        trust = Trust.load(home, {"S": "hunter2"})
        try:
            introspector = trust.introspector("https://i.example")
            assert introspector is not None
            with pytest.raises(IssuerUnavailable) as caught:
                await introspector.ask("token")
            assert "idp.example has no address that is allowed" in caught.value.cause
            assert not server.asked
        finally:
            await trust.aclose()


@pytest.mark.parametrize("address", ["169.254.169.254", "100.100.100.200", "[fe80::1]", "[::ffff:169.254.169.254]"])
async def test_metadata_services_are_not_asked_even_if_the_operator_wrote_so(home: Any, address: str) -> None:
    (home.home / "issuers.yml").write_text(
        f"- issuer: https://i.example\n  jwks_url: http://{address}/jwks\n"
        f"  introspection:\n    url: http://{address}/i\n    client_id: me\n    client_secret: {{$env: S}}\n"
    )
    trust = Trust.load(home, {"S": "hunter2"})
    try:
        introspector = trust.introspector("https://i.example")
        assert introspector is not None
        with pytest.raises(IssuerUnavailable) as caught:
            await introspector.ask("token")
        assert "is refused: " in caught.value.cause
        with pytest.raises(IssuerUnavailable) as caught:
            await trust.verifier.issuers["https://i.example"].keys.find("", "RS256")
        assert "is refused: " in caught.value.cause
    finally:
        await trust.aclose()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://127.0.0.1/jwks", "loopback"),
        ("https://localhost/jwks", "loopback"),
        ("https://a.localhost:8443/jwks", "loopback"),
        ("https://[::1]/jwks", "loopback"),
        ("https://169.254.169.254/latest", "link-local"),
        ("https://100.100.100.200/latest", "metadata service"),
        ("https://[fe80::1]/jwks", "link-local"),
        ("https://10.1.2.3/jwks", ""),
        ("https://keys.example/jwks", ""),
    ],
)
def test_metadata_name_no_address_of_this_machine(url: str, reason: str) -> None:
    for name in ("jwks_uri", "introspection_endpoint", "token_endpoint"):
        body = json.dumps({"issuer": "https://idp.example", name: url}).encode()
        if reason:
            with pytest.raises(BadMetadata, match=f"its {name} is at .*, which is refused: {reason}"):
                read_metadata(body, "https://idp.example")
        else:
            assert getattr(read_metadata(body, "https://idp.example"), name) == url


def test_an_issuer_of_this_machine_may_have_its_keys_here() -> None:
    for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000"):
        issuer = f"http://{host}"
        body = json.dumps({"issuer": issuer, "jwks_uri": "http://127.0.0.1:9000/jwks"}).encode()
        assert read_metadata(body, issuer).jwks_uri == "http://127.0.0.1:9000/jwks"
