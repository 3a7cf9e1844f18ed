"""What attackers send with stolen tokens and certificates of their own: a case for each row of docs/bound-tokens.md."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from bridge.stages.auth.client_certificate import ClientCertificate
from tests.authorities import DAY, Authority, Issued, now
from tests.dpop_kit import DpopClient
from tests.stages.auth.test_client_cas import usages
from tests.stages.conftest import Pair

PROXY = "127.0.0.2"  #: the address that the gateway trusts


@dataclass
class Sent:
    """One request. :ivar before: requests before it, which are answered 200. :ivar local: the client's address."""

    path: str
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    issued: Issued | None = None
    method: str = "GET"
    local: str | None = None
    before: Sequence[Sent] = ()


@dataclass
class Kit:
    """:ivar url: of the gateway. :ivar revoked: is in the authority's CRL."""

    url: str
    pair: Pair
    court: Authority
    revoked: Issued

    def __post_init__(self) -> None:
        self.mine, self.other = self.court.issue("CN=mine,O=Court"), self.court.issue("CN=other,O=Court")
        self.forged = Authority("Court CA").issue("CN=mine,O=Court")
        self.ann, self.thief = DpopClient(), DpopClient()

    def token(self, **cnf: Any) -> str:
        claims = {"iss": "https://idp.test", "sub": "ann", "exp": int(time.time()) + 600}
        return self.pair.sign(claims | ({"cnf": cnf} if cnf else {}))

    def bound_to(self, issued: Issued) -> str:
        return self.token(**{"x5t#S256": ClientCertificate.of(issued.certificate).thumbprint})

    @property
    def dpop_token(self) -> str:
        return self.token(jkt=self.ann.thumbprint)

    def bearer(self, token: str, path: str = "/jwt/a", **more: Any) -> Sent:
        return Sent(path, [("authorization", f"Bearer {token}"), *more.pop("fields", ())], **more)

    def dpop(self, *proofs: str, token: str, path: str = "/jwt/a", **more: Any) -> Sent:
        return Sent(path, [("authorization", f"DPoP {token}"), *(("dpop", proof) for proof in proofs)], **more)

    def proved(self, client: DpopClient | None = None, path: str = "/jwt/a", **changes: Any) -> Sent:
        """Ann's token with a proof that has `changes`."""
        token = self.dpop_token
        proof = (client or self.ann).proof(changes.pop("url", self.url + path), token, **changes)
        return self.dpop(proof, token=token, path=path)


def client_cert(issued: Issued) -> tuple[str, str]:
    return "client-cert", f":{base64.b64encode(issued.der).decode()}:"


Case = Callable[[Kit], Sequence[Sent]]
ATTACKS: dict[str, Case] = {}


def attack(name: str) -> Callable[[Case], Case]:
    def keep(case: Case) -> Case:
        assert name not in ATTACKS
        ATTACKS[name] = case
        return case

    return keep


# --- certificates ---------------------------------------------------------------------------------------------------


@attack("Certificate of an authority that is not trusted")
def _(kit: Kit) -> Sequence[Sent]:
    return [Sent("/open/a", issued=issued) for issued in (kit.forged, Authority("Evil CA").issue())]


@attack("Certificate that has expired, is not valid yet, or is a server's")
def _(kit: Kit) -> Sequence[Sent]:
    server = kit.court.issue(extensions=usages(ExtendedKeyUsageOID.SERVER_AUTH))
    old, young = kit.court.issue(not_after=now() - DAY / 2), kit.court.issue(not_before=now() + DAY / 2)
    return [Sent("/open/a", issued=issued) for issued in (old, young, server)]


@attack("Certificate that was revoked")
def _(kit: Kit) -> Sequence[Sent]:
    return [Sent("/mtls/a", issued=kit.revoked)]


@attack("Certificate with another name than the route takes")
def _(kit: Kit) -> Sequence[Sent]:
    names = ("CN=mine", "CN=mine,O=Court,O=Evil", "CN=x\\,O\\=Court", "O=Court,CN=mine", "CN=mine,O=court")
    return [Sent("/mtls/a", issued=kit.court.issue(name)) for name in names]


@attack("`Client-Cert` of somebody who is no proxy")
def _(kit: Kit) -> Sequence[Sent]:
    return [Sent("/mtls/a", [client_cert(kit.mine)])]


@attack("`Client-Cert` of a proxy, with a certificate that is forged or revoked")
def _(kit: Kit) -> Sequence[Sent]:
    return [Sent("/mtls/a", [client_cert(issued)], local=PROXY) for issued in (kit.forged, kit.revoked)]


@attack("`Client-Cert` of a proxy that let its client's field through")
def _(kit: Kit) -> Sequence[Sent]:
    [(name, value)] = [client_cert(kit.mine)]
    twice = [(name, value), (name, value)]
    return [
        *(Sent("/mtls/a", fields, local=PROXY) for fields in (twice, [(name, f"{value}, {value}")])),
        *(Sent("/mtls/a", [(name, text)], local=PROXY) for text in ("", ":AAAA:", value[1:-1], f":{'A' * 20_000}:")),
    ]


@attack("The proxy's own certificate for the client's")
def _(kit: Kit) -> Sequence[Sent]:
    return [Sent("/mtls/a", issued=kit.mine, local=PROXY)]


# --- tokens that are bound to a certificate ---------------------------------------------------------------------------


@attack("Stolen token, without its certificate")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.bound_to(kit.mine)
    return [
        *(kit.bearer(token, path) for path in ("/jwt/a", "/cert/a")),
        kit.bearer(token, issued=kit.other),
        kit.bearer(token, fields=[client_cert(kit.mine)]),
        kit.bearer(token, fields=[client_cert(kit.other)], local=PROXY),
        kit.bearer(token, issued=kit.mine, local=PROXY),
    ]


@attack("Token that is bound to a certificate which was revoked")
def _(kit: Kit) -> Sequence[Sent]:
    return [kit.bearer(kit.bound_to(kit.revoked), issued=kit.revoked)]


@attack("Token that is not bound, where the route asks for it")
def _(kit: Kit) -> Sequence[Sent]:
    plain = kit.token()
    return [
        kit.bearer(plain, "/cert/a", issued=kit.mine),
        kit.bearer(plain, "/dpop/a"),
        kit.dpop(kit.ann.proof(f"{kit.url}/dpop/a", plain), token=plain, path="/dpop/a"),
    ]


@attack("Token that is bound in a way that nobody checks")
def _(kit: Kit) -> Sequence[Sent]:
    tokens = [kit.token(kid="one"), kit.token(jwk=kit.ann.jwk), kit.token(jku="https://evil.example")]
    return [kit.bearer(token, issued=kit.mine) for token in tokens]


# --- DPoP -----------------------------------------------------------------------------------------------------------


@attack("Stolen DPoP token as a bearer token")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.dpop_token
    proof = kit.ann.proof(f"{kit.url}/jwt/a", token)
    return [kit.bearer(token), kit.bearer(token, "/dpop/a"), kit.bearer(token, fields=[("dpop", proof)])]


@attack("Bearer token as a DPoP token")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.token()
    return [kit.dpop(kit.thief.proof(f"{kit.url}/jwt/a", token), token=token), kit.dpop(token=token)]


@attack("No proof, two proofs")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.dpop_token
    one, two = (kit.ann.proof(f"{kit.url}/jwt/a", token) for _ in range(2))
    return [kit.dpop(token=token), kit.dpop(one, two, token=token), kit.dpop(f"{one}, {two}", token=token)]


@attack("Proof by the thief's own key")
def _(kit: Kit) -> Sequence[Sent]:
    return [
        kit.proved(kit.thief),
        kit.proved(kit.thief, header={"jwk": kit.ann.jwk}),
        kit.proved(key=ec.generate_private_key(ec.SECP256R1())),
    ]


@attack("Proof that is replayed")
def _(kit: Kit) -> Sequence[Sent]:
    sent = kit.proved()
    return [Sent(sent.path, sent.headers, before=[sent]), sent]


@attack("Proof for another call")
def _(kit: Kit) -> Sequence[Sent]:
    return [
        kit.proved(htm="POST"),
        kit.proved(url=f"{kit.url}/jwt/b"),
        kit.proved(url=f"{kit.url.replace('https', 'http')}/jwt/a"),
        kit.proved(url="https://evil.example/jwt/a"),
        kit.proved(url="https://127.0.0.1/jwt/a"),
    ]


@attack("Proof for another token")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.dpop_token
    other = kit.ann.proof(f"{kit.url}/jwt/a", kit.token(jkt=kit.ann.thumbprint, x=1))
    return [kit.dpop(other, token=token), kit.proved(ath=None)]


@attack("Proof of another time")
def _(kit: Kit) -> Sequence[Sent]:
    seconds = int(time.time())
    return [kit.proved(iat=seconds - 75), kit.proved(iat=seconds + 60), kit.proved(iat=None), kit.proved(iat="now")]


@attack("Proof with another algorithm or type")
def _(kit: Kit) -> Sequence[Sent]:
    algorithms = [kit.proved(header={"alg": name}) for name in ("none", "HS256", "ES384", "RS256", "es256")]
    return [*algorithms, *(kit.proved(header={"typ": name}) for name in ("JWT", "at+jwt", None))]


@attack("Proof with a key that is private, symmetric, missing or huge")
def _(kit: Kit) -> Sequence[Sent]:
    secret = {"kty": "oct", "k": "c2VjcmV0"}
    huge = {"kty": "RSA", "e": "AQAB", "n": "w" * 2800}
    keys = (kit.ann.private_jwk, secret, None, huge, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})
    return [kit.proved(header={"jwk": key}) for key in keys]


@attack("An access token as a proof")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.dpop_token
    return [kit.dpop(token, token=token)]


@attack("Proof that is huge, or no JWT")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.dpop_token
    return [kit.dpop(text, token=token) for text in ("x", "a.b.c", "..", "A" * 9000)] + [kit.proved(jti="x" * 300)]


# --- and what is right ------------------------------------------------------------------------------------------------


@attack("The owner's own calls")
def _(kit: Kit) -> Sequence[Sent]:
    token = kit.bound_to(kit.mine)
    return [
        Sent("/mtls/a", issued=kit.mine),
        Sent("/mtls/a", [client_cert(kit.mine)], local=PROXY),
        *(kit.bearer(token, path, issued=kit.mine) for path in ("/jwt/a", "/cert/a")),
        kit.bearer(token, fields=[client_cert(kit.mine)], local=PROXY),
        kit.bearer(kit.token()),
        kit.proved(),
        kit.proved(path="/dpop/a"),
        kit.proved(url=f"{kit.url}/%6Awt/a?x=y"),
    ]
