"""JSON Web Keys: which are taken, and for which algorithms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from bridge.stages.auth.keys import ALGORITHMS, MAX_KEYS, BadKey, KeySet, public_key, read_jwk, read_jwks, secret_key


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_key_takes_its_familys_algorithms_and_no_other(make_pair: Any, algorithm: Any) -> None:
    key = read_jwk(make_pair(algorithm).jwk)
    family = {name for name, needed in ALGORITHMS.items() if needed == ALGORITHMS[algorithm]}
    assert key.algorithms == family
    assert key.kid == "one"


def test_a_key_with_an_alg_takes_that_one_only(make_pair: Any) -> None:
    assert read_jwk(make_pair("RS256").jwk | {"alg": "PS384"}).algorithms == {"PS384"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use": "enc"}, "not for signatures"),
        ({"key_ops": ["encrypt"]}, "not for signatures"),
        ({"alg": "HS256"}, "does not fit"),
        ({"alg": "ES384"}, "no algorithm fits"),
        ({"alg": "none"}, "does not fit"),
        ({"kty": "XYZ"}, "only RSA"),
        ({"kty": None}, "only RSA"),
        ({"x": "AAAA"}, "no valid key"),
        ({"y": 7}, "no valid key"),
        ({"crv": "P-999"}, "no valid key"),
        ({"kid": 5}, "no text"),
    ],
)
def test_a_key_that_can_not_be_used_is_refused_with_a_reason(make_pair: Any, change: Any, reason: Any) -> None:
    with pytest.raises(BadKey, match=reason):
        read_jwk(make_pair("ES256").jwk | change)


def test_verify_among_key_ops_is_enough(make_pair: Any) -> None:
    assert read_jwk(make_pair().jwk | {"key_ops": ["verify"], "use": "sig"}).algorithms == {"ES256"}


def test_weak_keys_are_refused() -> None:
    small = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    small.pop("key_ops")
    with pytest.raises(BadKey, match="1024 bits"):
        read_jwk(small)
    with pytest.raises(BadKey, match="no algorithm fits"):
        public_key(ec.generate_private_key(ec.SECP256K1()).public_key())
    with pytest.raises(BadKey, match="9 bytes"):
        secret_key(b"too short")


def test_a_secret_takes_the_algorithms_it_is_long_enough_for() -> None:
    assert secret_key(b"x" * 48).algorithms == {"HS256", "HS384"}


def test_a_public_key_is_never_taken_for_a_secret(make_pair: Any) -> None:
    pem = make_pair("RS256").private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(BadKey, match="PEM"):
        secret_key(pem)


def test_of_a_private_jwk_only_the_public_half_is_kept() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = read_jwk(ECAlgorithm.to_jwk(private, as_dict=True) | {"key_ops": ["sign", "verify"]})
    assert not hasattr(key.material, "private_numbers")


def test_a_set_passes_over_what_it_can_not_use(make_pair: Any) -> None:
    good = make_pair("ES256").jwk
    keys = read_jwks(json.dumps({"keys": [{"kty": "future"}, 7, good]}).encode())
    assert [key.kid for key in keys.keys] == ["one"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"[" * 9999, b"\xff"])
def test_what_is_no_set_is_refused(body: Any) -> None:
    with pytest.raises(BadKey):
        read_jwks(body)


def test_a_huge_set_is_read_up_to_a_bound(make_pair: Any) -> None:
    good = make_pair("ES256").jwk
    keys = read_jwks(json.dumps({"keys": [good | {"kid": str(at)} for at in range(MAX_KEYS + 50)]}).encode())
    assert len(keys.keys) == MAX_KEYS


def test_finding_by_kid_and_algorithm(make_pair: Any) -> None:
    one, two, named_not = (
        read_jwk(jwk) for jwk in (make_pair("ES256", "a").jwk, make_pair("RS256", "b").jwk, make_pair("ES256", "").jwk)
    )
    keys = KeySet([one, two, named_not])
    assert keys.find("a", "ES256") == [one]
    assert keys.find("a", "RS256") == []  # the kid's own key doesn't fit: no other is tried in its place
    assert keys.find("", "ES256") == [one, named_not]
    assert keys.find("unknown", "ES256") == [named_not]
    assert KeySet([one]).find("../../dev/null", "ES256") == []
