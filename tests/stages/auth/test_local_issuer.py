"""The local issuer's key: made once, for its owner only, and never in a half-made state."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bridge.config.settings import Settings
from bridge.errors import SettingsError
from bridge.stages.auth.local_issuer import FILE, LOCAL, LocalIssuer


def mode(path: Any) -> Any:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_made_once_and_for_its_owner_only(home: Any) -> None:
    before = os.umask(0)
    try:
        first = LocalIssuer.open(home)
    finally:
        os.umask(before)
    assert mode(home.state / FILE) == 0o600
    assert mode(home.state) == 0o700
    assert [path.name for path in home.state.iterdir()] == [FILE]
    assert LocalIssuer.open(home).key.kid == first.key.kid


def test_what_it_mints(home: Any) -> None:
    issuer = LocalIssuer.open(home)
    token = issuer.mint("ann", ["api_publisher"], "revenue", "AREA", 60, scopes=["read", "write"])
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": issuer.key.kid, "typ": "JWT"}
    claims = jwt.decode(token, issuer.key.material, ["ES256"], audience="AREA", issuer=LOCAL)
    assert claims["exp"] - claims["iat"] == 60
    assert (claims["sub"], claims["roles"], claims["tenant"]) == ("ann", ["api_publisher"], "revenue")
    assert claims["scope"] == "read write"
    assert claims["jti"] != jwt.decode(issuer.mint("ann"), options={"verify_signature": False})["jti"]


def test_empty_parts_are_left_out(home: Any) -> None:
    claims = jwt.decode(LocalIssuer.open(home).mint("ann"), options={"verify_signature": False})
    assert set(claims) == {"iss", "sub", "iat", "exp", "jti"}


def test_starts_at_once_end_up_with_one_key(home: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        kids = {issuer.key.kid for issuer in pool.map(lambda _: LocalIssuer.open(home), range(16))}
    assert len(kids) == 1


def test_processes_that_start_at_once_end_up_with_one_key(home: Any) -> None:
    code = (
        "import sys; from pathlib import Path; from bridge.config.settings import Settings;"
        "from bridge.stages.auth.local_issuer import LocalIssuer;"
        "print('ready', flush=True); sys.stdin.readline();"
        "print(LocalIssuer.open(Settings(home=Path(sys.argv[1]))).key.kid)"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    kids = {racer.communicate(timeout=30)[0] for racer in racers}
    assert len(kids) == 1
    assert kids != {""}


def test_what_a_killed_start_left_behind_is_no_hindrance(home: Any) -> None:
    home.state.mkdir()
    (home.state / f".{FILE}.new").write_bytes(b"half a k")
    LocalIssuer.open(home)
    assert [path.name for path in home.state.iterdir()] == [FILE]


def pem(key: Any, encryption: Any = NoEncryption()) -> Any:  # noqa: B008  # it has no state
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no private key"),
        (b"not a key", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (pem(rsa.generate_private_key(65537, 2048)), "ES256"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "ES256"),
        (pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"x")), "no private key"),
        (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "no private key",
        ),
    ],
    ids=["empty", "text", "broken", "rsa", "p384", "encrypted", "public"],
)
def test_a_wrong_file_is_named_and_left_alone(home: Any, content: Any, said: Any) -> None:
    home.state.mkdir(mode=0o700)
    path = home.state / FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=said) as caught:
        LocalIssuer.open(home)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_key_that_everybody_may_read_is_refused(home: Any) -> None:
    LocalIssuer.open(home)
    (home.state / FILE).chmod(0o644)
    with pytest.raises(SettingsError, match="everybody may read it"):
        LocalIssuer.open(home)


def test_places_where_no_key_can_be(tmp_path: Any) -> None:
    (tmp_path / ".bridge").write_text("in the way")
    with pytest.raises(SettingsError, match="can't be kept here"):
        LocalIssuer.open(Settings(home=tmp_path))
    directory = tmp_path / "home" / ".bridge" / FILE
    directory.mkdir(parents=True)
    with pytest.raises(SettingsError, match="Is a directory"):
        LocalIssuer.open(Settings(home=tmp_path / "home"))
