"""issuers.yml: what is trusted, and what is said about one that can't be."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bridge.api.call import Call
from bridge.config import file_follower
from bridge.config.settings import Settings
from bridge.errors import SettingsError, Unauthorized
from bridge.stages.auth.auth import build_admin_authenticator
from bridge.stages.auth.issuers import LOCAL, Trust, read_issuers
from bridge.stages.auth.jwks import FixedKeys
from bridge.stages.auth.keys import ASYMMETRIC, SYMMETRIC, read_jwks
from tests.conftest import Start, Upstream

SECRET = "a shared secret of at least sixty-four bytes, to be good for HS512 too"


def write(home: Any, text: Any) -> None:
    (home.home / "issuers.yml").write_text(text)


async def identify(trust: Any, token: Any) -> Any:
    return await build_admin_authenticator(trust)(Call(headers=[("authorization", f"Bearer {token}")]))


async def test_a_new_home_trusts_the_local_issuer_and_nobody_else(home: Any) -> None:
    trust = Trust.load(home)
    assert list(trust.verifier.issuers) == [LOCAL]
    assert trust.local is not None
    identity = await identify(trust, trust.local.mint("ann", ["api_publisher"], "revenue"))
    assert (identity.subject, identity.roles, identity.tenant) == ("ann", {"api_publisher"}, "revenue")
    await trust.aclose()


async def test_the_local_issuer_switched_off(tmp_path: Any) -> None:
    local = Trust.load(Settings(home=tmp_path)).local
    assert local is not None
    token = local.mint("ann")
    off = Trust.load(Settings(home=tmp_path, local_issuer="off"))
    assert off.local is None
    with pytest.raises(Unauthorized, match="not trusted"):
        await identify(off, token)


def test_switched_off_makes_no_key(tmp_path: Any) -> None:
    Trust.load(Settings(home=tmp_path, local_issuer="off"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("top", ["", "issuers:\n"])
async def test_keys_from_all_three_places(
    home: Any, make_pair: Any, claims_of: Any, jwks_server: Any, top: Any
) -> None:
    file, url, secret = make_pair("RS256"), make_pair("ES384"), make_pair("HS256", "")
    (home.home / "keys.json").write_text(json.dumps({"keys": [file.jwk]}))
    jwks_server.keys = [url.jwk]
    write(
        home,
        f"""{top}
- issuer: https://file.test
  jwks_file: keys.json
  algorithms: [RS256]
  roles_claim: groups
- issuer: https://url.test
  jwks_url: {jwks_server.url}
- issuer: https://secret.test
  secret_env: IDP_SECRET
  algorithms: HS256
  tenant_claim: org
""",
    )
    trust = Trust.load(home, {"IDP_SECRET": secret.private.decode()})
    assert jwks_server.requests == []
    identity = await identify(trust, file.sign(claims_of(iss="https://file.test", groups=["clerk"])))
    assert identity.roles == {"clerk"}
    assert (await identify(trust, url.sign(claims_of(iss="https://url.test")))).subject == "ann"
    assert (await identify(trust, secret.sign(claims_of(iss="https://secret.test", org="r")))).tenant == "r"
    assert len(jwks_server.requests) == 1
    with pytest.raises(Unauthorized):
        await identify(trust, file.sign(claims_of(iss="https://url.test")))
    await trust.aclose()


def test_algorithms_when_nothing_is_said(home: Any) -> None:
    write(home, "- {issuer: a, jwks_url: 'https://a.test/'}\n- {issuer: b, secret_env: S}\n")
    trusted = Trust.load(home, {"S": SECRET}).verifier.issuers
    assert trusted["a"].algorithms == ASYMMETRIC
    assert trusted["b"].algorithms == SYMMETRIC


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]", "issuers:\n", "---\n"])
def test_an_empty_file_trusts_nobody(home: Any, text: Any) -> None:
    write(home, text)
    assert read_issuers(home.home / "issuers.yml") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "issuers.yml:1: it is not YAML"),
        ("issuer: https://a.test\n", "issuers.yml:1: it must be a list"),
        ("issuers: 7\n", "issuers.yml:1: it must be a list"),
        ("- 7\n", "issuers.yml:1: an issuer is a mapping"),
        ("- jwks_url: https://a.test/\n", "issuers.yml:1: issuer: it is missing"),
        ("- issuer: a\n", "issuers.yml:1: it needs exactly one of"),
        ("- issuer: a\n  secret_env: S\n  jwks_file: f\n", "has jwks_file and secret_env"),
        (
            "- issuer: a\n  jwks_uri: https://a.test/\n",
            "issuers.yml:2: jwks_uri: unknown key; did you mean 'jwks_url'?",
        ),
        ("- issuer: a\n  jwks_url: ftp://a.test/\n", "issuers.yml:2: jwks_url: it is no http or https URL"),
        ("- issuer: a\n  jwks_url: https://a.test:99999/\n", "issuers.yml:2: jwks_url: "),
        (
            "- issuer: a\n  jwks_url: https://a.test/\n  algorithms: []\n",
            "issuers.yml:3: algorithms: it must not be empty",
        ),
        (
            "- issuer: a\n  jwks_url: https://a.test/\n  algorithms: [RS256, HS512]\n",
            "HS512 is for a shared secret, which",
        ),
        ("- issuer: https://a.test\n  algorithms: HS256\n", "issuers.yml:1: HS256 is for a shared secret, which"),
        ("- issuer: a\n  secret_env: S\n  tenant: a b\n", "issuers.yml:3: tenant: it must be of the form"),
        ("- issuer: a\n  jwks_url: https://u:p@a.test/\n", "issuers.yml:2: jwks_url: a URL with a password"),
        ("- issuer: a\n  jwks_url: https://a.test/\n  algorithms: [none]\n", "issuers.yml:3: algorithms"),
        ("- issuer: a\n  jwks_url: https://a.test/\n  algorithms: RS255\n", "issuers.yml:3: algorithms"),
        ("- issuer: a\n  secret_env: S\n  algorithms: [RS256]\n", "takes only HS256"),
        ("- issuer: a\n  jwks_url: 7\n", "issuers.yml:2: jwks_url"),
        (
            "- issuer: urn:bridge:local\n  secret_env: S\n",
            "issuers.yml:1: issuer: urn:bridge:local is the gateway's own",
        ),
        (
            "- issuer: a\n  secret_env: S\n- issuer: a\n  secret_env: S\n",
            "issuers.yml:3: issuer: a has an entry in line 1",
        ),
        ("- issuer: a\n  issuer: b\n", "it is not YAML"),
        (
            "- issuer: a\n  secret_env: NOT_SET\n",
            "issuers.yml:2: secret_env: the environment variable NOT_SET is not set",
        ),
        *(
            (
                f"- issuer: a\n  secret_env: {name}\n",
                f"issuers.yml:2: secret_env: an issuer's secret can't stand in {name}: routes may send variables",
            )
            for name in ("BRIDGE_SECRET_IDP", "BRIDGE_SECRET_", "BRIDGE_STORE")
        ),
        ("- issuer: a\n  secret_env: S\n  leeway: 6m\n", "issuers.yml:3: leeway: "),
        ("- issuer: a\n  secret_env: S\n  leeway: -1\n", "issuers.yml:3: leeway: "),
        ("- issuer: a\n  secret_env: S\n  leeway: soon\n", "issuers.yml:3: leeway: 'soon' is no duration"),
        ("- issuer: https://a.test\n  max_stale: 8d\n", "issuers.yml:2: max_stale: "),
        ("- issuer: a\n  secret_env: S\n  max_stale: 1h\n", "max_stale is for keys that are fetched, and secret_env"),
        ("- issuer: a\n  secret_env: S\n  tenant: ' '\n", "issuers.yml:3: tenant: "),
        ("- issuer: a\n  secret_env: S\n  tenant: ''\n", "issuers.yml:3: tenant: "),
        ("- issuer: a\n  secret_env: S\n  token_types: 7\n", "issuers.yml:3: token_types: it must be a list of types"),
        ("- issuer: a\n  secret_env: S\n  token_types: [1]\n", "token_types: it must be a list of types"),
        ("- issuer: a\n  secret_env: S\n  token_types: []\n", "token_types: it lists no type"),
        ("- issuer: a\n  secret_env: S\n  token_types: a b\n", "token_types: 'a b' is no type of a token"),
        (
            "- issuer: a\n  secret_env: S\n  token_types: [JWT, application/Logout+jwt]\n",
            "issuers.yml:3: token_types: tokens of the type logout+jwt are never access tokens",
        ),
        ("- issuer: https://a.test?x\n", "its keys can't be discovered: its URL has a query"),
        ("- issuer: a\n  secret_env: SHORT\n", "issuers.yml:2: secret_env: SHORT: the secret has 5 bytes"),
        ("- issuer: a\n  jwks_file: none.json\n", "issuers.yml:2: jwks_file: none.json: No such file"),
        ("- issuer: a\n  jwks_file: issuers.yml\n", "issuers.yml:2: jwks_file: issuers.yml: it is not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(home: Any, text: Any, said: Any) -> None:
    write(home, text)
    with pytest.raises(SettingsError) as caught:
        Trust.load(home, {"S": SECRET, "SHORT": "short"})
    assert said in str(caught.value)
    assert "short" not in str(caught.value).replace("SHORT", "")  # never the secret itself


def test_every_fault_is_said_at_once(home: Any) -> None:
    write(home, "- issuer: a\n  colour: red\n- issuer: b\n  jwks_url: x\n")
    with pytest.raises(SettingsError) as caught:
        Trust.load(home)
    assert [(fault.line, fault.key) for fault in caught.value.faults] == [(2, "colour"), (4, "jwks_url")]
    write(home, "- {issuer: a, secret_env: A}\n- {issuer: b, secret_env: B}\n")
    with pytest.raises(SettingsError) as caught:
        Trust.load(home, {})
    assert [fault.line for fault in caught.value.faults] == [1, 2]


def test_a_file_that_can_not_be_read(home: Any) -> None:
    (home.home / "issuers.yml").mkdir()
    with pytest.raises(SettingsError, match=r"issuers\.yml: Is a directory"):
        Trust.load(home)
    (home.home / "issuers.yml").rmdir()
    (home.home / "issuers.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="UTF-8"):
        Trust.load(home)


@pytest.fixture
async def silent_url() -> Any:
    """The URL of keys that never come, and an event for their first request."""
    arrived = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys", arrived
    server.close()


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_call_that_waits_for_the_keys_of_an_issuer_is_judged_by_its_changed_entry(
    home: Any, make_pair: Any, claims_of: Any, silent_url: Any, is_trusted: bool
) -> None:
    url, arrived = silent_url
    pair = make_pair("ES256")
    write(home, f"- {{issuer: https://idp.test, jwks_url: '{url}'}}")
    trust = Trust.load(home)
    caller = asyncio.create_task(identify(trust, pair.sign(claims_of())))
    await arrived.wait()
    (home.home / "keys.json").write_text(json.dumps({"keys": [pair.jwk]}))
    write(home, "- {issuer: https://idp.test, jwks_file: keys.json}" if is_trusted else "[]")
    await trust.reload(home)
    if is_trusted:
        assert (await caller).subject == "ann"
    else:
        with pytest.raises(Unauthorized, match="not trusted"):
            await caller
    await trust.aclose()


async def test_keys_that_come_after_their_issuer_was_removed_verify_nothing(
    home: Any, make_pair: Any, claims_of: Any, trust_in: Any
) -> None:
    pair = make_pair("ES256")
    arrived, gate = asyncio.Event(), asyncio.Event()

    class Late(FixedKeys):
        async def find(self, kid: str, algorithm: str) -> Any:
            arrived.set()
            await gate.wait()
            return await super().find(kid, algorithm)

    trust = trust_in(pair, keys=Late(read_jwks(json.dumps({"keys": [pair.jwk]}).encode())))
    token = pair.sign(claims_of())
    caller = asyncio.create_task(identify(trust, token))
    await arrived.wait()
    await trust.reload(home)  # there is no issuers.yml any more
    gate.set()
    with pytest.raises(Unauthorized, match="not trusted"):
        await caller
    with pytest.raises(Unauthorized, match="not trusted"):
        await identify(trust, token)


async def test_what_an_entry_says_of_its_tokens(home: Any, make_pair: Any, claims_of: Any) -> None:
    pair = make_pair("ES256")
    (home.home / "keys.json").write_text(json.dumps({"keys": [pair.jwk]}))
    rest = "jwks_file: keys.json, tenant: revenue, leeway: 2m, token_types: [application/AT+jwt, absent]"
    write(home, f"- {{issuer: https://idp.test, {rest}}}")
    trust = Trust.load(home)
    now = claims_of()["iat"]
    assert (await identify(trust, pair.sign(claims_of(exp=now - 100), typ="at+jwt"))).tenant == "revenue"
    assert (await identify(trust, pair.sign(claims_of(iat=now + 100, tenant="revenue"), typ=None))).tenant == "revenue"
    for claims, typ, words in (
        (claims_of(), "JWT", "type"),
        (claims_of(exp=now - 121), "at+jwt", "expired"),
        (claims_of(nbf=now + 130), "at+jwt", "not valid yet"),
        (claims_of(iat=now + 130), "at+jwt", "in the future"),
        (claims_of(tenant="justice"), "at+jwt", "does not speak"),
    ):
        with pytest.raises(Unauthorized, match=words):
            await identify(trust, pair.sign(claims, typ=typ))


async def test_a_changed_entry_is_heeded_by_tokens_that_were_verified(
    home: Any, make_pair: Any, claims_of: Any
) -> None:
    pair = make_pair("ES256")
    (home.home / "keys.json").write_text(json.dumps({"keys": [pair.jwk]}))
    write(home, "- {issuer: https://idp.test, jwks_file: keys.json}")
    trust = Trust.load(home)
    token = pair.sign(claims_of())
    assert (await identify(trust, token)).tenant == ""
    write(home, "- {issuer: https://idp.test, jwks_file: keys.json, tenant: revenue}")
    await trust.reload(home)
    assert (await identify(trust, token)).tenant == "revenue"
    write(home, "- {issuer: https://idp.test, jwks_file: keys.json, token_types: at+jwt}")
    await trust.reload(home)
    with pytest.raises(Unauthorized, match="type"):
        await identify(trust, token)


async def test_a_gateway_follows_the_file(
    start: Start, upstream: Upstream, make_pair: Any, claims_of: Any, monkeypatch: Any
) -> None:
    """A file that is wrong leaves the last good one in force, and the metric says so."""
    monkeypatch.setattr(file_follower, "POLL", 0.02)
    pair = make_pair("ES256")
    spec = "route: /a\nupstream: svc:80\nauth: {type: JWT}\ntransform: {request: passthrough}\n"
    entry = "- {issuer: https://idp.test, jwks_file: keys.json%s}\n"
    files = {"keys.json": json.dumps({"keys": [pair.jwk]}), "issuers.yml": "[]"}
    async with start({"svc": f"127.0.0.1:{upstream.port}"}, {"a.yml": spec}, files) as gateway:
        headers = {"authorization": f"Bearer {pair.sign(claims_of())}"}

        async def until(path: str, status: int) -> None:
            async with asyncio.timeout(20):
                while (await gateway.client.get(path, headers=headers)).status_code != status:
                    await asyncio.sleep(0.02)

        async def until_current(value: str) -> None:
            async with asyncio.timeout(20):
                while f'current{{file="issuers.yml"}} {value}' not in (await gateway.client.get("/-/metrics")).text:
                    await asyncio.sleep(0.02)

        await until("/a", 401)
        (gateway.home / "issuers.yml").write_text(entry % "")
        await until("/a", 200)
        (gateway.home / "issuers.yml").write_text(entry % ", colour: red")
        await until_current("0.0")
        await until("/a", 200)
        (gateway.home / "issuers.yml").write_text(entry % ", roles_claim: groups")
        await until_current("1.0")
        await until("/a", 200)
