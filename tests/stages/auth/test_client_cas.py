"""``client-cas.yml`` and the judgement of clients' certificates: who vouches, until when, what a wrong file does."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from bridge.errors import Forbidden, IssuerUnavailable, SettingsError
from bridge.stages.auth import client_cas
from bridge.stages.auth.client_cas import ClientCas
from tests.authorities import DAY, Authority, now
from tests.stages.conftest import Clock

Write = Callable[..., ClientCas]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes ``client-cas.yml`` and its files, and reads them."""

    def make(entries: Any, files: Mapping[str, str | bytes], **more: Any) -> ClientCas:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        (tmp_path / "client-cas.yml").write_text(json.dumps(entries))
        return ClientCas(tmp_path / "client-cas.yml", tmp_path, **more)

    return make


COURT, REVENUE = Authority("Court CA"), Authority("Revenue CA")


def entry(name: str = "court", **more: Any) -> dict[str, Any]:
    return {"name": name, "ca": f"{name}.pem", **more}


def test_no_file_is_no_authority(tmp_path: Path) -> None:
    cas = ClientCas(tmp_path / "client-cas.yml", tmp_path)
    assert not cas.names
    with pytest.raises(Forbidden, match="of no authority that this gateway trusts"):
        cas.vouch(COURT.issue().shown())


def test_who_signed_decides_whose_caller_it_is(write: Write) -> None:
    cas = write(
        [entry(tenant="court", roles=["clerk"], scopes=["read"]), entry("revenue", tenant="revenue")],
        {"court.pem": COURT.pem, "revenue.pem": REVENUE.pem},
    )
    for authority, tenant, roles in ((COURT, "court", {"clerk"}), (REVENUE, "revenue", set())):
        vouched = cas.vouch(authority.issue("CN=clerk,O=Court").shown())  # the same subject for both
        identity = vouched.identity
        assert vouched.ca.name == identity.tenant == tenant
        assert identity.roles == roles
        assert identity.subject == "CN=clerk,O=Court"
        assert identity.key == f"cert:{tenant}|CN=clerk,O=Court"
        assert identity.claims["certificate"]["ca"] == tenant


def test_a_name_of_an_authority_proves_nothing(write: Write) -> None:
    cas = write([entry()], {"court.pem": COURT.pem})
    with pytest.raises(Forbidden, match="of no authority") as caught:
        cas.vouch(Authority("Court CA").issue().shown())
    assert caught.value.cause.startswith("client certificate of CN=clerk,O=Court: it is of no authority")


def test_of_two_authorities_on_a_path_the_nearer_one_counts(write: Write) -> None:
    office = Authority("Office CA", above=COURT)
    cas = write([entry(), entry("office")], {"court.pem": COURT.pem, "office.pem": office.pem})
    assert cas.vouch(office.issue().shown()).ca.name == "office"
    assert cas.vouch(COURT.issue().shown()).ca.name == "court"


def test_authorities_between_come_with_the_certificate(write: Write) -> None:
    low = Authority("Desk CA", above=Authority("Office CA", above=COURT))
    cas = write([entry()], {"court.pem": COURT.pem})
    assert cas.vouch(low.issue().shown()).ca.name == "court"
    alone = low.issue()
    alone.chain = ()
    with pytest.raises(Forbidden, match="of no authority"):
        cas.vouch(alone.shown())


def usages(*oids: x509.ObjectIdentifier) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.ExtendedKeyUsage(oids), False)]


def key_usage(**given: bool) -> list[tuple[x509.ExtensionType, bool]]:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return [(x509.KeyUsage(**{name: given.get(name, False) for name in names}), True)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"not_after": now() - dt.timedelta(hours=1)}, "has expired"),
        ({"not_before": now() + dt.timedelta(hours=1)}, "is not valid yet"),
        ({"extensions": usages(ExtendedKeyUsageOID.SERVER_AUTH)}, "is not made for clients"),
        ({"extensions": usages(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)}, "is not made for clients"),
        ({"extensions": key_usage(key_encipherment=True)}, "is not made for clients"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "has a key that is too weak"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "has a key that is too weak"),
        ({"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)]}, "no authority"),
    ],
)
def test_a_certificate_that_is_refused(write: Write, more: Any, reason: str) -> None:
    cas = write([entry()], {"court.pem": COURT.pem})
    shown = COURT.issue("CN=ann\\0Abad", **more).shown()
    for _ in range(2):  # judged, and remembered
        with pytest.raises(Forbidden, match=reason) as caught:
            cas.vouch(shown)
        assert "CN=ann" in caught.value.cause
        assert caught.value.cause.isprintable()


@pytest.mark.parametrize(
    "more",
    [
        {"extensions": usages(ExtendedKeyUsageOID.CLIENT_AUTH)},
        {"extensions": usages(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)},
        {"extensions": key_usage(digital_signature=True)},
        {"key": ed25519.Ed25519PrivateKey.generate()},
        {"key": rsa.generate_private_key(65537, 2048)},
        {"subject": "", "sans": ["uri:spiffe://court.example/clerk"]},
    ],
)
def test_a_certificate_that_is_taken(write: Write, more: Any) -> None:
    cas = write([entry()], {"court.pem": COURT.pem})
    assert cas.vouch(COURT.issue(**more).shown()).ca.name == "court"


@pytest.mark.parametrize(
    "between",
    [
        Authority("No CA", above=COURT, is_ca=False),
        Authority("Below", above=Authority("Last", above=COURT, path_length=0)),
        Authority("Old CA", above=COURT, not_after=now() - DAY),
    ],
    ids=["not an authority", "below the last", "expired"],
)
def test_what_stands_between_must_be_an_authority(write: Write, between: Authority) -> None:
    cas = write([entry()], {"court.pem": COURT.pem})
    with pytest.raises(Forbidden, match="of no authority"):
        cas.vouch(between.issue().shown())


def test_bytes_that_are_no_certificate(write: Write) -> None:
    cas = write([entry()], {"court.pem": COURT.pem})
    shown = COURT.issue().shown()
    shown.chain = [b"0\x03\x02\x01\x01"]
    with pytest.raises(Forbidden, match="can't be read"):
        cas.vouch(shown)


def test_a_judgement_holds_until_the_certificate_expires(write: Write, clock: Clock) -> None:
    clock.now = now().timestamp()
    cas = write([entry()], {"court.pem": COURT.pem}, clock=clock)
    shown = COURT.issue(not_after=now() + dt.timedelta(hours=1)).shown()
    first = cas.vouch(shown)
    clock.now += 3599
    assert cas.vouch(shown) is first
    clock.now += 1
    with pytest.raises(Forbidden, match="has expired"):
        cas.vouch(shown)


def test_a_certificate_becomes_valid(write: Write, clock: Clock) -> None:
    clock.now = now().timestamp()
    cas = write([entry()], {"court.pem": COURT.pem}, clock=clock)
    shown = COURT.issue(not_before=now() + dt.timedelta(hours=1)).shown()
    with pytest.raises(Forbidden, match="not valid yet"):
        cas.vouch(shown)
    clock.now += 3600
    assert cas.vouch(shown)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "sans", "owner"),
    [
        ("CN=a", ["dns:a.example", "email:a@b.example", "uri:spiffe://t/a"], "spiffe://t/a"),
        ("CN=a", ["dns:a.example", "email:a@b.example"], "CN=a"),
        ("", ["dns:a.example", "email:a@b.example"], "a@b.example"),
        ("", ["dns:a.example"], "a.example"),
    ],
)
def test_by_which_name_a_caller_is_known(write: Write, subject: str, sans: list[str], owner: str) -> None:
    cas = write([entry()], {"court.pem": COURT.pem})
    one, other = (cas.vouch(COURT.issue(subject, sans=sans).shown()).identity for _ in range(2))
    assert one.subject == one.claims["sub"] == owner
    assert one.key == other.key == f"cert:court|{owner}"  # a renewed one keeps its limits
    assert one.claims["certificate"]["fingerprint"] != other.claims["certificate"]["fingerprint"]


def test_a_certificate_without_names_is_known_by_its_digest(write: Write) -> None:
    identity = write([entry()], {"court.pem": COURT.pem}).vouch(COURT.issue("").shown()).identity
    assert identity.subject == ""
    assert identity.key == f"cert:{identity.claims['certificate']['fingerprint']}"


# --- revocation -----------------------------------------------------------------------------------------------------


def test_what_a_crl_holds_is_refused(write: Write) -> None:
    good, bad = COURT.issue(), COURT.issue("CN=mallory")
    der = x509.load_pem_x509_crl(COURT.crl(bad).encode()).public_bytes(Encoding.DER)
    for crl in (COURT.crl(bad), COURT.crl() + COURT.crl(bad), der):
        cas = write([entry(crl="court.crl")], {"court.pem": COURT.pem, "court.crl": crl})
        assert cas.vouch(good.shown())
        with pytest.raises(Forbidden, match=r"The client certificate was revoked\.") as caught:
            cas.vouch(bad.shown())
        assert caught.value.cause == "client certificate of CN=mallory: it was revoked"


def test_an_authority_between_that_was_revoked(write: Write) -> None:
    office = Authority("Office CA", above=COURT)
    crls = COURT.crl(office) + office.crl()
    cas = write([entry(crl="court.crl")], {"court.pem": COURT.pem, "court.crl": crls})
    with pytest.raises(Forbidden, match="is of an authority that was revoked"):
        cas.vouch(office.issue().shown())


def test_a_crl_of_another_with_the_same_name_counts_for_nothing(write: Write) -> None:
    office, impostor = Authority("Office CA", above=COURT), Authority("Office CA")
    mine = office.issue()
    crls = COURT.crl() + impostor.crl(mine)
    cas = write([entry(crl="court.crl")], {"court.pem": COURT.pem, "court.crl": crls})
    with pytest.raises(IssuerUnavailable):  # there is none of its issuer
        cas.vouch(mine.shown())


def test_without_a_current_crl_nobody_is_admitted(write: Write, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.now = now().timestamp()
    told: list[bool] = []
    crl = COURT.crl(next_update=now() + dt.timedelta(hours=1))
    files = {"court.pem": COURT.pem, "court.crl": crl}
    cas = write([entry(crl="court.crl")], files, clock=clock, told=told.append)
    shown = COURT.issue().shown()
    assert cas.vouch(shown)
    cas._check_age()
    clock.now += 3600
    with pytest.raises(IssuerUnavailable, match="whether it was revoked is not known") as caught:
        cas.vouch(shown)
    assert caught.value.cause.endswith("it may be revoked: the CRL is out of date")
    cas._check_age()
    cas._check_age()
    assert told == [False]
    assert caplog.text.count("court.crl: the CRL of court is out of date") == 1


# --- what is wrong with files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("name: court", ["client-cas.yml:1: it must be a list of authorities"]),
        ("- court", ["client-cas.yml:1: an authority is a mapping"]),
        ("- name: court\n  ca: court.pem\n  crls: a", ["client-cas.yml:3: crls: "]),
        ("- name: court\n- ca: court.pem", ["client-cas.yml:1: ca: ", "client-cas.yml:2: name: "]),
        ("- {name: a b, ca: court.pem}", ["client-cas.yml:1: name: "]),
        ("- {name: court, ca: court.pem}\n- {name: court, ca: court.pem}", ["2: name: court has an entry in line 1"]),
        ("- {name: court, ca: court.pem}\n- {name: two, ca: court.pem}", ["court and two have the same key"]),
        ("- name: court\n  ca: gone.pem", ["client-cas.yml:2: ca: gone.pem: No such file"]),
        ("- name: court\n  ca: .", ["client-cas.yml:2: ca: .: it is no file"]),
        ("- name: court\n  ca: court.crl", ["client-cas.yml:2: ca: court.crl: it holds no certificates"]),
        ("- name: court\n  ca: leaf.pem", ["leaf.pem: the certificate of CN=clerk,O=Court is not an authority's"]),
        ("- name: court\n  ca: ed.pem", ["ed.pem: the certificate of CN=Ed CA has a key that is not taken"]),
        ("- {name: court, ca: court.pem, crl: court.pem}", ["crl: court.pem: it holds no CRL"]),
        ("- {name: court, ca: court.pem, crl: forged.crl}", ["forged.crl: its CRL of CN=Court CA has a signature"]),
        ("- {name: court, ca: court.pem, crl: delta.crl}", ["delta.crl: a CRL has a critical extension"]),
        ("- {name: court, ca: court.pem, tenant: 'a b'}", ["client-cas.yml:1: tenant: "]),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, reasons: list[str]) -> None:
    files = {
        "court.pem": COURT.pem,
        "court.crl": COURT.crl(),
        "leaf.pem": COURT.issue().pem,
        "ed.pem": Authority("Ed CA", key=ed25519.Ed25519PrivateKey.generate()).pem,
        "forged.crl": Authority("Court CA").crl(),
        "delta.crl": COURT.crl(extensions=[(x509.DeltaCRLIndicator(1), True)]),
        "client-cas.yml": text,
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError) as caught:
        ClientCas(tmp_path / "client-cas.yml", tmp_path)
    for reason in reasons:
        assert reason in str(caught.value)


async def test_what_a_wrong_file_held_before_stays_in_force_and_the_others_are_read(
    write: Write, tmp_path: Path
) -> None:
    mine, theirs = COURT.issue("CN=mine"), REVENUE.issue("CN=theirs")
    files = {"court.pem": COURT.pem, "revenue.pem": REVENUE.pem, "court.crl": COURT.crl()}
    cas = write([entry(crl="court.crl"), entry("revenue")], files)
    (tmp_path / "revenue.pem").write_text("no PEM")
    (tmp_path / "court.crl").write_text(COURT.crl(mine))
    with pytest.raises(SettingsError, match=r"revenue\.pem: it holds no certificates"):
        await cas.reload()
    assert cas.vouch(theirs.shown())
    with pytest.raises(Forbidden, match="revoked"):
        cas.vouch(mine.shown())
    (tmp_path / "client-cas.yml").write_text("- {name: court")
    (tmp_path / "court.crl").write_text(COURT.crl())
    with pytest.raises(SettingsError, match=r"client-cas\.yml:1"):
        await cas.reload()
    assert cas.names == {"court", "revenue"}
    assert cas.vouch(mine.shown())


async def test_an_authority_that_is_taken_away_vouches_for_nobody(write: Write, tmp_path: Path) -> None:
    cas = write([entry(), entry("revenue")], {"court.pem": COURT.pem, "revenue.pem": REVENUE.pem})
    shown = REVENUE.issue().shown()
    assert cas.vouch(shown)
    changes: list[int] = []
    cas.subscribe(lambda: changes.append(1))
    (tmp_path / "client-cas.yml").write_text(json.dumps([entry()]))
    await cas.reload()
    assert changes == [1]
    with pytest.raises(Forbidden):
        cas.vouch(shown)


def test_a_judgement_is_made_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    cas = write([entry()], {"court.pem": COURT.pem})
    shown, judged = COURT.issue().shown(), Mock(wraps=client_cas._anchored)
    monkeypatch.setattr(client_cas, "_anchored", judged)
    assert len({id(cas.vouch(shown)) for _ in range(10)}) == judged.call_count == 1
