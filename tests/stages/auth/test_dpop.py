"""DPoP proofs (RFC 9449): each condition of section 4.3, and the memory of proofs that were seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bridge.errors import Overloaded, Unauthorized
from bridge.stages.auth import dpop
from bridge.stages.auth.dpop import DpopProofs, normal_url
from bridge.stages.auth.keys import thumbprint
from tests.dpop_kit import DpopClient, b64, clients
from tests.stages.conftest import Clock

URL, TOKEN = "https://api.example/v1/a", "token"
ANN = DpopClient()


def check(proof: str, client: DpopClient = ANN, proofs: DpopProofs | None = None, **more: Any) -> None:
    given: dict[str, Any] = {"method": "GET", "url": URL, "token": TOKEN, "key": client.thumbprint} | more
    (proofs or DpopProofs()).check(proof, **given)


@pytest.mark.parametrize("client", clients(), ids=lambda client: client.algorithm)
def test_a_good_proof(client: DpopClient) -> None:
    assert client.algorithm in dpop.ALGORITHMS
    assert thumbprint(client.jwk) == client.thumbprint
    check(client.proof(URL, TOKEN), client)


def test_the_example_of_rfc_7638() -> None:
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn"
        "1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    assert thumbprint({"kty": "RSA", "n": n, "e": "AQAB", "kid": "x"}) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def proof(header: Any = (), **more: Any) -> str:
    return ANN.proof(URL, TOKEN, header=header, **more)


HUGE = {"kty": "RSA", "e": "AQAB", "n": b64(b"\xc1" * 2048)}
ODD = {"kty": "RSA", "e": b64(b"\x01" * 200), "n": b64(rsa.generate_private_key(65537, 2048).public_key()
       .public_numbers().n.to_bytes(256, "big"))}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: "", "is no signed JWT"),
        (lambda: "a.b", "is no signed JWT"),
        (lambda: proof() + ".x", "is no signed JWT"),
        (lambda: proof() + "=", "is no signed JWT"),
        (lambda: "a.b.c", "is malformed"),
        (lambda: f"{b64(b'[]')}.{b64(b'{}')}.x", "is malformed"),
        (lambda: proof(x="x" * 9000), "is no signed JWT of at most 8192"),
        (lambda: proof({"typ": "JWT"}), "another type"),
        (lambda: proof({"typ": None}), "another type"),
        (lambda: proof({"alg": "none"}), "not accepted"),
        (lambda: proof({"alg": "HS256"}), "not accepted"),
        (lambda: proof({"alg": None}), "not accepted"),
        (lambda: proof({"alg": ["ES256"]}), "not accepted"),
        (lambda: proof({"alg": "ES384"}), "a key of another kind than its algorithm"),
        (lambda: proof({"alg": "RS256"}), "a key of another kind than its algorithm"),
        (lambda: proof({"crit": ["exp"]}), "demands an extension"),
        (lambda: proof({"b64": False}), "demands an extension"),
        (lambda: proof({"jwk": None}), "needs its public key"),
        (lambda: proof({"jwk": ANN.private_jwk}), "needs its public key"),
        (lambda: proof({"jwk": {"kty": "oct", "k": "AAAA"}}), "needs its public key"),
        (lambda: proof({"jwk": "x"}), "needs its public key"),
        (lambda: proof({"jwk": {"kty": "EC"}}), "can't be used"),
        (lambda: proof({"jwk": ANN.jwk | {"x": 1}}), "can't be read"),
        (lambda: proof({"jwk": ANN.jwk | {"x": "AAAA"}}), "can't be used"),
        (lambda: proof({"jwk": ANN.jwk | {"use": "enc"}}), "can't be used"),
        (lambda: proof({"jwk": HUGE, "alg": "RS256"}), "too large"),
        (lambda: proof({"jwk": ODD, "alg": "RS256"}), "too large"),
        (lambda: proof(jti=None), "needs an id"),
        (lambda: proof(jti=""), "needs an id"),
        (lambda: proof(jti=1), "needs an id"),
        (lambda: proof(jti="x" * 257), "needs an id"),
        (lambda: proof(htm=None), "another method"),
        (lambda: proof(htm="get"), "another method"),
        (lambda: proof(htm="POST"), "another method"),
        (lambda: proof(htu=None), "another URL"),
        (lambda: proof(htu="https://evil.example/v1/a"), "another URL"),
        (lambda: proof(htu="http://api.example/v1/a"), "another URL"),
        (lambda: proof(htu="https://api.example/v1/a/"), "another URL"),
        (lambda: proof(htu="https://api.example:8443/v1/a"), "another URL"),
        (lambda: proof(htu="https://ann@api.example/v1/a"), "another URL"),
        (lambda: proof(htu="/v1/a"), "another URL"),
        (lambda: proof(htu="https://api.example:x/"), "another URL"),
        (lambda: proof(iat=None), "has no time"),
        (lambda: proof(iat="1"), "has no time"),
        (lambda: proof(iat=True), "has no time"),
        (lambda: proof(iat=int(time.time()) - 70), "too old"),
        (lambda: proof(iat=int(time.time()) + 30), "in the future"),
        (lambda: proof(ath=None), "another token"),
        (lambda: proof(ath=b64(b"x" * 32)), "another token"),
        (lambda: DpopClient().proof(URL, TOKEN), "another key than the one that the token is bound to"),
        (lambda: proof(key=ec.generate_private_key(ec.SECP256R1())), "signature of the DPoP proof is not valid"),
    ],
)
def test_a_proof_that_is_refused(make: Callable[[], str], reason: str) -> None:
    with pytest.raises(Unauthorized, match=reason) as caught:
        check(make())
    [(name, challenge)] = caught.value.headers
    assert name == "www-authenticate"
    assert challenge.startswith('DPoP realm="hms-bridge", algs="ES256 ')
    assert 'error="invalid_dpop_proof"' in challenge
    assert challenge.isascii()
    assert challenge.count('"') % 2 == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example/v1/a",
        "https://API.example:443/v1/a",
        "HTTPS://api.example/v1/a?b=c",
        "https://api.example/v1/a#d",
        "https://api.example/v1/%61",
        "https://api.example./v1/a",
    ],
)
def test_spellings_of_one_url(url: str) -> None:
    check(proof(htu=url), url="https://api.example/v1/a")
    assert normal_url(url) == URL


def test_what_normalising_leaves_apart() -> None:
    assert normal_url("http://[::1]:80") == "http://[::1]/"
    assert normal_url("https://a/%2f%7e") == "https://a/%2F~"
    for text in ("ftp://a/", "a", "https://", "https://a\n/", "https://[::1/", "https://ä/"):
        assert normal_url(text) is None


# --- proofs that come again -------------------------------------------------------------------------------------------


def test_a_proof_counts_once_until_it_is_too_old(clock: Clock) -> None:
    clock.now = start = time.time()
    proofs = DpopProofs(clock)
    early, late = proof(iat=int(start)), proof(iat=int(start) + 10)
    check(early, proofs=proofs)
    check(late, proofs=proofs)
    for _ in range(14):  # past the end of a span, too
        with pytest.raises(Unauthorized, match=r"sent before \(jti\)|too old"):
            check(early, proofs=proofs)
        with pytest.raises(Unauthorized, match=r"sent before \(jti\)"):
            check(late, proofs=proofs)
        clock.now += 5
    clock.now += 5
    with pytest.raises(Unauthorized, match="too old"):
        check(late, proofs=proofs)


def test_an_id_is_of_its_key(clock: Clock) -> None:
    proofs, other = DpopProofs(), DpopClient()
    check(proof(jti="1"), proofs=proofs)
    check(other.proof(URL, TOKEN, jti="1"), other, proofs)
    with pytest.raises(Unauthorized, match="sent before"):
        check(proof(jti="1"), proofs=proofs)


def test_a_proof_that_was_refused_uses_up_no_id() -> None:
    proofs = DpopProofs()
    with pytest.raises(Unauthorized):
        check(proof(jti="1", htm="POST"), proofs=proofs)
    check(proof(jti="1"), proofs=proofs)


def test_memory_is_bounded_and_what_is_not_remembered_is_not_accepted(clock: Clock) -> None:
    clock.now = time.time()
    proofs = DpopProofs(clock, remembered=3)
    for _ in range(3):
        check(proof(), proofs=proofs)
    with pytest.raises(Overloaded) as caught:
        check(proof(), proofs=proofs)
    assert 1 <= int(dict(caught.value.headers)["retry-after"]) <= 70
    clock.now += 71
    check(proof(iat=int(clock.now)), proofs=proofs)
    assert len(proofs._seen) == 1
    assert len(proofs._seen_before) == 3
    clock.now += 1000  # nobody came for long
    check(proof(iat=int(clock.now)), proofs=proofs)
    assert not proofs._seen_before


def test_what_is_remembered_is_small() -> None:
    proofs = DpopProofs()
    check(proof(jti="x" * 256), proofs=proofs)
    assert {len(digest) for digest in proofs._seen} == {16}
