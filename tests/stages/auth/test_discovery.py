"""Issuers of which only the name is known: their metadata by OpenID Connect Discovery 1.0 and RFC 8414."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from bridge.errors import IssuerUnavailable
from bridge.stages.auth import discovery
from bridge.stages.auth.discovery import BadMetadata, IssuerMetadata, issuer_fault, metadata_urls, read_metadata
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.published import DiscoveredKeys
from tests.conftest import Start
from tests.stages.auth.issuer_server import PublishedIssuer, an_issuer

NAME = "https://idp.test"


# --- the document ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issuer", "openid", "oauth"),
    [  # the examples of OpenID Connect Discovery 1.0, section 4.1, and RFC 8414, section 3.1
        (
            "https://example.com",
            "https://example.com/.well-known/openid-configuration",
            "https://example.com/.well-known/oauth-authorization-server",
        ),
        (
            "https://example.com/issuer1",
            "https://example.com/issuer1/.well-known/openid-configuration",
            "https://example.com/.well-known/oauth-authorization-server/issuer1",
        ),
        (
            "https://example.com:8443/a/b/",
            "https://example.com:8443/a/b/.well-known/openid-configuration",
            "https://example.com:8443/.well-known/oauth-authorization-server/a/b",
        ),
    ],
)
def test_where_a_document_is(issuer: str, openid: str, oauth: str) -> None:
    assert metadata_urls(issuer) == (openid, oauth)


@pytest.mark.parametrize(
    ("issuer", "words"),
    [
        ("payroll", "no http or https URL"),
        ("urn:a:b", "no http or https URL"),
        ("ftp://idp.test", "no http or https URL"),
        ("https://", "no http or https URL"),
        ("https://idp.test?a=b", "query or a fragment"),
        ("https://idp.test#", "query or a fragment"),
        ("https://u:p@idp.test", "user name or a password"),
        ("https://idp.test:99999", "no URL"),
        ("https://[::1", "no URL"),
        ("https://idp.test/a b", "percent-encoded"),
        ("https://idp.tést", "percent-encoded"),
    ],
)
def test_issuers_that_have_no_document(issuer: str, words: str) -> None:
    assert words in issuer_fault(issuer)
    assert not issuer_fault(NAME)


def test_what_is_read() -> None:
    document = {
        "issuer": NAME,
        "jwks_uri": "https://keys.test/jwks",
        "authorization_endpoint": "https://idp.test/auth",
        "token_endpoint": "https://idp.test/token",
        "introspection_endpoint": "https://idp.test/introspect",
        "scopes_supported": ["openid", 7, "read", "", "x" * 257],
        "claims_supported": [{}],
    }
    assert read_metadata(json.dumps(document).encode(), NAME) == IssuerMetadata(
        NAME,
        "https://keys.test/jwks",
        "https://idp.test/auth",
        "https://idp.test/token",
        "https://idp.test/introspect",
        ("openid", "read"),
    )
    assert read_metadata(json.dumps({"issuer": NAME, "scopes_supported": "read"}).encode(), NAME) == IssuerMetadata(
        NAME
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "https://idp.test/"}, "exactly the entry's"),
        ({"issuer": "https://IDP.test"}, "exactly the entry's"),
        ({"issuer": None}, "missing or no text"),
        ({"issuer": ["https://idp.test"]}, "missing or no text"),
        ({"jwks_uri": "http://idp.test/jwks"}, "jwks_uri is http"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri is no http"),
        ({"jwks_uri": "https:///jwks"}, "jwks_uri is no http"),
        ({"jwks_uri": "https://idp.test:x/"}, "jwks_uri is no URL"),
        ({"jwks_uri": "https://u:p@idp.test/jwks"}, "password"),
        ({"jwks_uri": "https://idp.test/\njwks"}, "jwks_uri is no http"),
        ({"jwks_uri": 7}, "jwks_uri is no text"),
        ({"jwks_uri": "https://idp.test/" + "x" * 2048}, "at most 2048"),
        ({"introspection_endpoint": "http://idp.test/introspect"}, "introspection_endpoint is http"),
        ({"token_endpoint": "javascript:alert(1)"}, "token_endpoint is no http"),
    ],
)
def test_documents_that_are_refused(changes: dict[str, Any], words: str) -> None:
    document = {"issuer": NAME, "jwks_uri": "https://idp.test/jwks"} | changes
    with pytest.raises(BadMetadata, match=words):
        read_metadata(json.dumps(document).encode(), NAME)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff", b"[" * 1000])
def test_what_is_no_document(body: bytes) -> None:
    with pytest.raises(BadMetadata, match="JSON"):
        read_metadata(body, NAME)


def test_an_http_issuer_may_have_http_keys() -> None:
    name = "http://idp.test"
    read = read_metadata(json.dumps({"issuer": name, "jwks_uri": "http://idp.test/jwks"}).encode(), name)
    assert read.jwks_uri == "http://idp.test/jwks"


# --- over a socket -----------------------------------------------------------------------------------------------


@pytest.fixture
async def issuer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PublishedIssuer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with an_issuer() as made:
        yield made


@pytest.fixture
async def keys(issuer: PublishedIssuer, clock: Any) -> AsyncIterator[DiscoveredKeys]:
    async with httpx.AsyncClient() as client:
        made = DiscoveredKeys(issuer.url, lambda: client, clock=clock)
        yield made
        await made.aclose()


async def kids(keys: DiscoveredKeys, kid: str = "one") -> list[str]:
    return [key.kid for key in await keys.find(kid, "ES256")]


async def test_a_name_is_enough(issuer: PublishedIssuer, keys: DiscoveredKeys, make_pair: Any) -> None:
    issuer.publish(make_pair(), introspection_endpoint=issuer.url + "/introspect", scopes_supported=["read"])
    assert await kids(keys) == ["one"]
    assert issuer.asked == ["/.well-known/openid-configuration", "/jwks"]
    assert keys.metadata is not None
    assert keys.metadata.introspection_endpoint == issuer.url + "/introspect"
    assert await keys.discovered() is keys.metadata


async def test_an_authorization_server_without_openid(
    issuer: PublishedIssuer, keys: DiscoveredKeys, make_pair: Any
) -> None:
    issuer.publish(make_pair())
    issuer.documents[discovery.OAUTH] = issuer.documents.pop(discovery.OPENID)
    assert await kids(keys) == ["one"]
    assert issuer.asked == ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks"]


async def test_the_document_is_read_again_with_the_keys(
    issuer: PublishedIssuer, keys: DiscoveredKeys, make_pair: Any, clock: Any
) -> None:
    issuer.publish(make_pair())
    await kids(keys)
    issuer.publish(make_pair("ES256", "two"), path="/elsewhere")
    assert await kids(keys, "two") == ["two"]
    assert issuer.asked[2:] == ["/.well-known/openid-configuration", "/elsewhere"]


Change = Callable[[PublishedIssuer], None]


def documents(**changes: Any) -> Change:
    return lambda issuer: issuer.documents.update(
        {discovery.OPENID: (200, issuer.documents[discovery.OPENID][1] | changes)}
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda issuer: issuer.documents.clear(), "status 404, and .*openid-configuration with 404"),
        (lambda issuer: issuer.documents.update({discovery.OPENID: (500, {})}), "status 500"),
        (lambda issuer: issuer.documents.update({discovery.OPENID: (302, {})}), "status 302"),
        (lambda issuer: issuer.documents.update({discovery.OPENID: (200, b"<html>")}), "not JSON"),
        (lambda issuer: issuer.documents.update({discovery.OPENID: (200, b" " * 300_000)}), "more than 256 kB"),
        (lambda issuer: issuer.documents.update({"/jwks": (200, b"{}")}), "no JWK Set"),
        (lambda issuer: issuer.documents.update({"/jwks": (302, b"")}), "status 302"),
        (documents(issuer="http://other.test"), "exactly the entry's"),
        (documents(jwks_uri=None), "no jwks_uri"),
    ],
)
async def test_an_issuer_whose_documents_can_not_be_used(
    issuer: PublishedIssuer, keys: DiscoveredKeys, make_pair: Any, change: Change, words: str, caplog: Any
) -> None:
    issuer.publish(make_pair())
    issuer.fields["location"] = issuer.url + "/jwks"  # which is not followed
    change(issuer)
    with pytest.raises(IssuerUnavailable, match=r"can't be fetched just now") as caught:
        await kids(keys)
    assert issuer.url not in caught.value.detail
    assert re.search(words, caught.value.cause)
    assert re.search(words, caplog.text)
    assert "503 until it answers" in caplog.text


async def test_metadata_of_an_issuer_that_has_no_keys_can_be_had(issuer: PublishedIssuer, keys: DiscoveredKeys) -> None:
    issuer.publish(introspection_endpoint=issuer.url + "/introspect")
    documents(jwks_uri=None)(issuer)
    assert (await keys.discovered()).introspection_endpoint == issuer.url + "/introspect"


async def test_an_issuer_that_is_away_has_no_metadata(clock: Any, unused_port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = DiscoveredKeys(f"http://127.0.0.1:{unused_port}", lambda: client, clock=clock)
        with pytest.raises(IssuerUnavailable):
            await keys.discovered()
        await keys.aclose()


# --- issuers.yml -------------------------------------------------------------------------------------------------


async def test_a_trusted_issuer_by_its_name(home: Any, issuer: PublishedIssuer, make_pair: Any) -> None:
    issuer.publish(make_pair(), token_endpoint=issuer.url + "/token")
    (home.home / "issuers.yml").write_text(f"- issuer: {issuer.url}\n- {{issuer: b, jwks_url: 'http://b.test/'}}\n")
    trust = Trust.load(home)
    assert trust.metadata(issuer.url) is None
    metadata = await trust.discovered(issuer.url)
    assert metadata is not None
    assert metadata == trust.metadata(issuer.url)
    assert metadata.token_endpoint == issuer.url + "/token"
    assert trust.metadata("b") is None
    assert await trust.discovered("b") is None
    assert await trust.discovered("unknown") is None
    await trust.aclose()


@pytest.mark.usefixtures("patient")
async def test_a_gateway_asks_before_the_first_call_and_starts_without_an_answer(
    start: Start, make_pair: Any, claims_of: Any, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    routes = {"a.yml": "{route: /a, upstream: 'svc:80', auth: {type: JWT}, transform: {request: passthrough}}"}
    async with an_issuer() as issuer:
        issuer.publish(make_pair())
        away = f"http://127.0.0.1:{unused_port}"
        text = f"- issuer: {issuer.url}\n- issuer: {away}\n"
        async with start(mesh={"svc": "127.0.0.1:9"}, routes=routes, files={"issuers.yml": text}) as gateway:
            await issuer.was_asked("/jwks")
            token = make_pair().sign(claims_of(iss=issuer.url))
            answer = await gateway.client.get("/a", headers={"authorization": f"Bearer {token}"})
            assert answer.json()["type"] == "urn:bridge:problem:upstream-unavailable"
            assert issuer.asked == ["/.well-known/openid-configuration", "/jwks"]
            token = make_pair().sign(claims_of(iss=away))
            answer = await gateway.client.get("/a", headers={"authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:bridge:problem:issuer-unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            metrics = (await gateway.client.get("/-/metrics")).text
            figures = dict(re.findall(r'bridge_issuer_keys_seconds{issuer="(.*)"} (.*)', metrics))
            assert figures.keys() == {issuer.url, away}
            assert figures[away] == "0.0"
            assert float(figures[issuer.url]) > 3600
