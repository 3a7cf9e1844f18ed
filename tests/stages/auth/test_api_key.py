"""API keys: made, shown once, kept as hashes, judged."""

from __future__ import annotations

from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import pytest

from bridge.api.call import Call, CallerLimit
from bridge.api.spec.auth import ApiKeyAuth
from bridge.errors import BindError, Forbidden, Unauthorized
from bridge.stages.auth.api_key import ApiKeyVerifier, MemoryKeys
from bridge.stages.auth.auth import build_authenticator
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.key_text import is_whole
from bridge.stages.auth.stored_key import mint_key, rotate_key

NOBODY = Trust([])  # no issuer: only keys count here


def call(text: Any, name: Any = "x-api-key") -> Any:
    return Call(headers=[(name, text)])


def verifier(keys: Any, clock: Any, header: Any = "X-API-Key") -> Any:
    return ApiKeyVerifier(ApiKeyAuth(type="api_key", header=header), MemoryKeys(keys), clock)


def test_a_key_and_what_is_kept_of_it(clock: Any) -> None:
    text, key = mint_key("payroll", tenant="revenue", roles=["clerk"], scopes=["read"], ttl=60, clock=clock)
    prefix, key_id, secret = text.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("hmsb", key.id, 43)
    assert secret not in str(asdict(key))
    assert (key.created, key.expires, key.revoked) == (1000.0, 1060.0, None)
    assert mint_key("payroll")[0] != text


async def test_callers_have_claims_as_tokens_have(clock: Any) -> None:
    text, key = mint_key("payroll", tenant="revenue", roles=["clerk", "a"], scopes=["write", "read"])
    authenticate = build_authenticator(ApiKeyAuth(type="api_key"), NOBODY, MemoryKeys([key]))
    claims = (await authenticate(call(text))).claims
    assert claims == {"sub": "payroll", "tenant": "revenue", "roles": ["a", "clerk"], "scope": "read write"}
    text, key = mint_key("payroll")
    authenticate = build_authenticator(ApiKeyAuth(type="api_key"), NOBODY, MemoryKeys([key]))
    assert (await authenticate(call(text))).claims == {"sub": "payroll", "roles": [], "scope": ""}


def test_a_good_key(clock: Any) -> None:
    text, key = mint_key("payroll")
    assert verifier([key], clock).verify(call(text)) is key


def test_keys_with_an_underscore_in_the_secret_work_too(clock: Any) -> None:
    made = [mint_key("payroll") for _ in range(200)]
    assert any(text.count("_") > 2 for text, _ in made)
    judge = verifier([key for _, key in made], clock)
    assert all(judge.verify(call(text)) is key for text, key in made)


def test_a_wrong_secret_and_an_unknown_id_look_the_same(clock: Any) -> None:
    text, key = mint_key("payroll")
    other, _ = mint_key("payroll")
    swapped = "_".join([*text.split("_", 2)[:2], other.split("_", 2)[2]])
    judge = verifier([key], clock)
    answers = set()
    for wrong in (swapped, other):
        with pytest.raises(Unauthorized) as caught:
            judge.verify(call(wrong))
        answers.add((caught.value.detail, caught.value.headers))
    assert len(answers) == 1


@pytest.mark.parametrize(
    "text", ["", "hmsb", "hmsb__", "Bearer x", "hmsb_0123456789abcdef_short", "x" * 10_000, "hmsb_ä_ö", "hmsb_\0_\0"]
)
def test_what_is_no_key(clock: Any, text: Any) -> None:
    with pytest.raises(Unauthorized, match="not an API key"):
        verifier([], clock).verify(call(text))


def test_text_around_a_key_is_not_taken(clock: Any) -> None:
    text, key = mint_key("payroll")
    for wrong in (text + "\n", " " + text, text + "A", text.upper()):
        with pytest.raises(Unauthorized):
            verifier([key], clock).verify(call(wrong))


def test_revoked_and_expired_is_told_only_to_who_has_the_secret(clock: Any) -> None:
    text, key = mint_key("payroll", ttl=60, clock=clock)
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    clock.now += 59.9
    verifier([key], clock).verify(call(text))
    clock.now += 0.1
    with pytest.raises(Unauthorized, match="expired"):
        verifier([key], clock).verify(call(text))
    revoked = verifier([replace(key, revoked=1001.0)], clock)
    with pytest.raises(Unauthorized, match="revoked"):
        revoked.verify(call(text))
    with pytest.raises(Unauthorized, match="not valid"):
        revoked.verify(call(wrong))


def test_two_keys_in_one_call(clock: Any) -> None:
    text, key = mint_key("payroll")
    with pytest.raises(Unauthorized, match="more than once"):
        verifier([key], clock).verify(Call(headers=[("x-api-key", text), ("x-api-key", text)]))


def test_no_key(clock: Any) -> None:
    with pytest.raises(Unauthorized, match="X-API-Key header") as caught:
        verifier([], clock).verify(Call())
    assert dict(caught.value.headers) == {"www-authenticate": 'ApiKey realm="hms-bridge", header="X-API-Key"'}


def test_another_header(clock: Any) -> None:
    text, key = mint_key("payroll")
    judge = verifier([key], clock, "Agency-Key")
    assert judge.verify(call(text, "agency-key")) is key
    with pytest.raises(Unauthorized, match="Agency-Key"):
        judge.verify(call(text))


@pytest.mark.parametrize("name", ["", "X API Key", "X-Key:", "Schlüssel", "a\r\nb"])
def test_a_header_that_can_not_be(clock: Any, name: Any) -> None:
    with pytest.raises(BindError, match="header"):
        verifier([], clock, name)


async def test_the_identity_and_what_the_route_asks() -> None:
    text, key = mint_key("payroll", tenant="revenue", roles=["clerk"], scopes=["read"])
    store = MemoryKeys([key])
    identity = await build_authenticator(ApiKeyAuth(type="api_key", roles=("clerk",)), NOBODY, store)(call(text))
    assert (identity.subject, identity.tenant, identity.key) == ("payroll", "revenue", f"key:{key.id}")
    assert (set(identity.roles), set(identity.scopes), identity.internal) == ({"clerk"}, {"read"}, False)
    with pytest.raises(Forbidden, match="the role judge") as caught:
        await build_authenticator(ApiKeyAuth(type="api_key", roles=("judge",)), NOBODY, store)(call(text))
    assert caught.value.headers == ()
    with pytest.raises(Forbidden, match="the scope write"):
        await build_authenticator(ApiKeyAuth(type="api_key", scopes=("read", "write")), NOBODY, store)(call(text))


async def test_the_caller_has_the_limit_of_its_key() -> None:
    text, key = mint_key("payroll", limit=CallerLimit(2.5, 10))
    without, other = mint_key("payroll")
    authenticate = build_authenticator(ApiKeyAuth(type="api_key"), NOBODY, MemoryKeys([key, other]))
    assert (await authenticate(call(text))).limit == CallerLimit(2.5, 10)
    assert (await authenticate(call(without))).limit is None


async def test_a_key_and_the_one_that_replaces_it_count_as_one_caller(clock: Any) -> None:
    first, key = mint_key("payroll", limit=CallerLimit(5), clock=clock)
    text, old, new = rotate_key(key, 60, "bob", clock())
    authenticate = build_authenticator(ApiKeyAuth(type="api_key"), NOBODY, MemoryKeys([old, new], clock))
    one, two = await authenticate(call(first)), await authenticate(call(text))
    assert one == two
    assert (one.key, one.limit) == (f"key:{key.id}", CallerLimit(5))
    clock.now += 60
    assert await authenticate(call(text)) == two
    with pytest.raises(Unauthorized, match="A new API key has replaced this one, which has expired"):
        await authenticate(call(first))


def old_key() -> Any:
    """A key as versions without checksums made it: all of its secret is random."""
    _, key = mint_key("payroll")
    text = f"hmsb_{key.id}_" + "Zx-_9" * 8 + "Zx-"
    return text, replace(key, hash=sha256(text.encode()).hexdigest())


def test_a_key_without_a_checksum_stays_valid(clock: Any) -> None:
    text, key = old_key()
    assert not is_whole(text)
    assert verifier([key], clock).verify(call(text)) is key


class Behind(MemoryKeys):
    """Another process has made keys of which this one learns when it looks."""

    def __init__(self, fresh: Any) -> None:
        super().__init__()
        self.fresh, self.looks = fresh, 0

    async def refresh(self) -> None:
        self.looks += 1
        self.keys |= {key.id: key for key in self.fresh}


async def test_a_key_that_another_process_has_just_made_is_looked_for() -> None:
    text, key = mint_key("payroll")
    keys = Behind([key])
    authenticate = build_authenticator(ApiKeyAuth(type="api_key"), NOBODY, keys)
    assert authenticate.known(call(text)) is None
    assert (await authenticate(call(text))).subject == "payroll"
    assert authenticate.known(call(text)) is not None
    assert keys.looks == 1
    other, _ = mint_key("payroll")
    with pytest.raises(Unauthorized, match="not valid"):
        await authenticate(call(other))
    assert keys.looks == 2
    for wrong in (other[:-1] + ("A" if other[-1] != "A" else "B"), text[:-1] + ("A" if text[-1] != "A" else "B")):
        with pytest.raises(Unauthorized, match="not valid"):  # mistyped, or of a key that is known: nobody is asked
            authenticate.known(call(wrong))
    assert keys.looks == 2
