"""What attackers send as tokens: a case for each row of docs/token-attacks.md, as requests to a running gateway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from tests.stages.conftest import Pair, b64

IDP, REVENUE, STRICT, AWAY, PAYROLL = (
    "https://idp.test",
    "https://revenue.test",
    "https://strict.test",
    "https://away.test",
    "payroll",
)
#: Of the group of P-256 and of edwards25519.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493

#: One request: header fields, and a query.
Sent = tuple[list[tuple[str, str]], str]


@dataclass
class Kit:
    """Keys that the gateway knows (`ec`, `rsa`, `ed` of `IDP`; `revenue`, `strict`, `away`), and one that it does not.

    :ivar trap: a URL with the attacker's keys, which nobody may ask.
    """

    ec: Pair
    rsa: Pair
    ed: Pair
    revenue: Pair
    strict: Pair
    away: Pair
    evil: Pair
    trap: str

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": IDP, "sub": "ann", "aud": "AREA", "iat": now, "exp": now + 600, "roles": ["clerk"]} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def header(self, **changes: Any) -> dict[str, Any]:
        header = {"alg": "ES256", "kid": "one"} | changes
        return {name: value for name, value in header.items() if value is not ...}

    def forged(
        self,
        header: Mapping[str, Any] | bytes | None = None,
        claims: Mapping[str, Any] | bytes | None = None,
        pair: Pair | None = None,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> str:
        """By default a good token. The signature is right for `pair`, whatever the header says."""
        first = header if isinstance(header, bytes) else dict(self.header() if header is None else header)
        second = claims if isinstance(claims, bytes) else dict(self.claims() if claims is None else claims)
        signed = f"{b64(first)}.{b64(second)}"
        signature = (sign or signing(pair or self.ec))(signed.encode())
        return f"{signed}.{b64(signature)}"


def signing(pair: Pair) -> Callable[[bytes], bytes]:
    implementation = get_default_algorithms()[pair.algorithm]
    return lambda signed: implementation.sign(signed, pair.private)


def by_secret(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda signed: hmac.digest(secret, signed, hashlib.sha256)


def bearer(*tokens: str, query: str = "") -> Sent:
    return [("authorization", f"Bearer {token}") for token in tokens], query


ATTACKS: dict[str, Callable[[Kit], Sequence[str | Sent]]] = {}
Case = Callable[[Kit], Sequence[str | Sent]]


def attack(name: str) -> Callable[[Case], Case]:
    def keep(case: Case) -> Case:
        assert name not in ATTACKS
        ATTACKS[name] = case
        return case

    return keep


# --- algorithms and signatures -----------------------------------------------------------------------------------


@attack("`alg` none")
def alg_none(kit: Kit) -> Sequence[str | Sent]:
    names = ("none", "None", "NONE", "nOnE", "none ", "")
    signs = (lambda _: b"", lambda _: b"x" * 64, signing(kit.ec))
    return [kit.forged(kit.header(alg=name), sign=sign) for name in names for sign in signs]


@attack("`alg` that is no text, or absent")
def alg_of_another_type(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(kit.header(alg=alg)) for alg in (..., None, 7, ["ES256"], {"ES256": 1}, True)]


@attack("`alg` in another spelling")
def alg_spelled(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(kit.header(alg=alg)) for alg in ("es256", "ES256 ", " ES256", "ES256\0", "ＥＳ256", "ES256K")]


@attack("Public key as HMAC secret")
def public_key_as_secret(kit: Kit) -> Sequence[str | Sent]:
    public = kit.rsa.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secrets = (
        pem,
        pem.rstrip(),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(kit.rsa.jwk).encode(),
        kit.rsa.jwk["n"].encode(),
        b"",
    )
    return [
        kit.forged(kit.header(alg="HS256", kid=kid), sign=by_secret(secret))
        for secret in secrets
        for kid in ("rsa", "one")
    ]


@attack("Algorithm that is not pinned")
def algorithm_not_pinned(kit: Kit) -> Sequence[str | Sent]:
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    header = kit.header(alg="PS256", kid="rsa")
    return [
        kit.forged(header, sign=lambda text: kit.rsa.private.sign(text, pss, SHA256())),
        kit.forged(kit.header(alg="RS512", kid="rsa"), pair=kit.rsa),
    ]


@attack("PSS signature under RS256")
def pss_as_pkcs1(kit: Kit) -> Sequence[str | Sent]:
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    return [kit.forged(kit.header(alg="RS256", kid="rsa"), sign=lambda text: kit.rsa.private.sign(text, pss, SHA256()))]


@attack("Key of another family")
def key_of_another_family(kit: Kit) -> Sequence[str | Sent]:
    return [
        kit.forged(kit.header(alg="RS256", kid="one"), pair=kit.rsa),
        kit.forged(kit.header(alg="ES256", kid="rsa"), pair=kit.ec),
        kit.forged(kit.header(alg="EdDSA", kid="one"), pair=kit.ed),
    ]


@attack("Empty signature")
def empty_signature(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(sign=lambda _: b""), kit.forged(kit.header(alg="RS256", kid="rsa"), sign=lambda _: b"")]


@attack("Signature of zeros (CVE-2022-21449)")
def zero_signature(kit: Kit) -> Sequence[str | Sent]:
    def pair_of(r: int, s: int) -> str:
        return kit.forged(sign=lambda _: r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    order = P256_ORDER
    numbers = ((0, 0), (0, 1), (1, 0), (order, order), (order, 1), (1, order), (2**256 - 1, 2**256 - 1))
    return [
        *(pair_of(r, s) for r, s in numbers),
        kit.forged(kit.header(alg="EdDSA", kid="ed"), sign=lambda _: bytes(64)),
        kit.forged(kit.header(alg="EdDSA", kid="ed"), sign=lambda _: b"\x01" + bytes(63)),  # the neutral point as R
        kit.forged(kit.header(alg="RS256", kid="rsa"), sign=lambda _: bytes(256)),
        kit.forged(kit.header(alg="RS256", kid="rsa"), sign=lambda _: bytes(255) + b"\x01"),
    ]


@attack("ECDSA signature in DER")
def der_signature(kit: Kit) -> Sequence[str | Sent]:
    def der(text: bytes) -> bytes:
        raw = signing(kit.ec)(text)
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    return [
        kit.forged(sign=der),
        kit.forged(sign=lambda text: der(text) + b"\0"),
        kit.forged(sign=lambda text: b"\x30\x81" + der(text)[1:]),  # a length in the long form
        kit.forged(sign=lambda text: der(text)[:64]),
    ]


@attack("Signature of another length")
def signature_of_another_length(kit: Kit) -> Sequence[str | Sent]:
    good, rsa = signing(kit.ec), signing(kit.rsa)
    header = kit.header(alg="RS256", kid="rsa")
    return [
        kit.forged(sign=lambda text: good(text)[:-1]),
        kit.forged(sign=lambda text: good(text) + b"\0"),
        kit.forged(sign=lambda text: b"\0" + good(text)[:32] + b"\0" + good(text)[32:]),
        kit.forged(sign=lambda text: good(text) * 2),
        kit.forged(header, sign=lambda text: b"\0" + rsa(text)),
        kit.forged(header, sign=lambda text: rsa(text)[:-1]),
    ]


@attack("The twin of an Ed25519 signature")
def ed25519_twin(kit: Kit) -> Sequence[str | Sent]:
    def twin(text: bytes) -> bytes:
        raw = signing(kit.ed)(text)
        return raw[:32] + (int.from_bytes(raw[32:], "little") + ED25519_ORDER).to_bytes(32, "little")

    return [kit.forged(kit.header(alg="EdDSA", kid="ed"), sign=twin)]


@attack("The twin of an ECDSA signature")
def ecdsa_twin(kit: Kit) -> Sequence[str | Sent]:
    def twin(text: bytes) -> bytes:
        raw = signing(kit.ec)(text)
        return raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")

    return [kit.forged(sign=twin)]


@attack("Signature of another token")
def signature_of_another_token(kit: Kit) -> Sequence[str | Sent]:
    head, claims, signature = kit.forged().split(".")
    other_head = b64(kit.header(typ="JWT"))
    return [f"{head}.{b64(kit.claims(sub='root'))}.{signature}", f"{other_head}.{claims}.{signature}"]


@attack("Guessed secret")
def guessed_secret(kit: Kit) -> Sequence[str | Sent]:
    return [
        kit.forged({"alg": "HS256"}, kit.claims(iss=PAYROLL), sign=by_secret(secret))
        for secret in (b"", b"secret", b"payroll", b"PAYROLL_SECRET", b"\0" * 32, b"your-256-bit-secret")
    ]


# --- header ------------------------------------------------------------------------------------------------------


@attack("`kid` as a path, a query, a URL or a command")
def kid_injection(kit: Kit) -> Sequence[str | Sent]:
    kids = (
        "../../../../dev/null", "/dev/null", "' OR '1'='1", "one' UNION SELECT 'x", "one\0", "ONE", "one ", kit.trap,
        "| sleep 9", "$(id)", "${jndi:ldap://127.0.0.1/a}", "оne", "one\u200b", "%6fne", "x" * 5000, "__proto__",
    )  # fmt: skip
    return [kit.forged(kit.header(kid=kid), sign=sign) for kid in kids for sign in (signing(kit.evil), by_secret(b""))]


@attack("`kid` that is no text")
def kid_of_another_type(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(kit.header(kid=kid)) for kid in (7, None, ["one"], {"one": 1}, True)]


@attack("Key in the token (CVE-2018-0114)")
def embedded_key(kit: Kit) -> Sequence[str | Sent]:
    jwk = kit.evil.jwk
    headers: tuple[dict[str, Any], ...] = (
        {"jwk": jwk}, {"jwk": jwk | {"kid": "one"}}, {"jwk": jwk, "kid": ...}, {"jku": kit.trap},
        {"jku": kit.trap, "kid": "evil"},
        {"x5u": kit.trap}, {"x5c": ["MIIB"]}, {"x5c": [b64(b"x" * 200)], "kid": ...}, {"x5t": "x"},
    )  # fmt: skip
    return [kit.forged(kit.header(**header), pair=kit.evil) for header in headers]


@attack("Key in a good token")
def key_in_a_good_token(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(kit.header(jwk=kit.evil.jwk, jku=kit.trap, x5u=kit.trap, x5c=["MIIB"]))]


@attack("`crit` and `b64`")
def critical_extensions(kit: Kit) -> Sequence[str | Sent]:
    headers: tuple[dict[str, Any], ...] = (
        {"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": True},
        {"crit": None}, {"crit": "exp"},
    )  # fmt: skip
    return [kit.forged(kit.header(**header)) for header in headers]


@attack("Name twice in the header")
def name_twice_in_the_header(kit: Kit) -> Sequence[str | Sent]:
    texts = (
        b'{"alg":"none","alg":"ES256","kid":"one"}',
        b'{"alg":"ES256","kid":"one","alg":"none"}',
        b'{"alg":"ES256","kid":"one","kid":"two"}',
        b'{"alg":"ES256","\\u0061lg":"none","kid":"one"}',
    )
    return [kit.forged(text) for text in texts]


@attack("Name twice in the claims")
def name_twice_in_the_claims(kit: Kit) -> Sequence[str | Sent]:
    text = json.dumps(kit.claims()).encode()
    more = (b'"sub":"root"', b'"s\\u0075b":"root"', b'"exp":9999999999', b'"a":{"b":1,"b":2}', b'"a":[{"b":1,"b":2}]')
    return [kit.forged(claims=b"{" + one + b"," + text[1:]) for one in more]


@attack("Type of another kind of token")
def types_of_other_tokens(kit: Kit) -> Sequence[str | Sent]:
    types = (
        "logout+jwt", "secevent+jwt", "dpop+jwt", "application/logout+jwt", "Logout+JWT", "token-introspection+jwt",
        "oauth-authz-req+jwt", "kb+jwt", "JWE", "JOSE", "id_token+jwt", "", "absent",
    )  # fmt: skip
    return [kit.forged(kit.header(typ=name)) for name in types]


@attack("`typ` that is no text")
def type_that_is_no_text(kit: Kit) -> Sequence[str | Sent]:
    names: tuple[Any, ...] = (None, 7, ["JWT"], {})
    return [kit.forged(kit.header(typ=name)) for name in names]


@attack("Type that this issuer does not use")
def type_not_listed(kit: Kit) -> Sequence[str | Sent]:
    claims = kit.claims(iss=STRICT)
    return [kit.forged(kit.header(typ=name), claims, kit.strict) for name in (..., "JWT", "jwt")]


@attack("Types of access tokens")
def types_of_access_tokens(kit: Kit) -> Sequence[str | Sent]:
    strict = kit.claims(iss=STRICT)
    return [
        *(kit.forged(kit.header(typ=name)) for name in (..., "JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT")),
        kit.forged(kit.header(typ="at+jwt"), strict, kit.strict),
    ]


@attack("Token in a token")
def nested_token(kit: Kit) -> Sequence[str | Sent]:
    inner = kit.forged().encode()
    return [
        *(kit.forged(kit.header(cty=name)) for name in ("JWT", "jwt", "application/jwt", 7)),
        kit.forged(kit.header(cty="JWT"), inner),
        kit.forged(claims=inner),
        kit.forged(claims=json.dumps(inner.decode()).encode()),
    ]


@attack("Encrypted token")
def encrypted_token(kit: Kit) -> Sequence[str | Sent]:
    head = b64({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "rsa"})
    return [f"{head}.{b64(bytes(256))}.{b64(bytes(12))}.{b64(b'x' * 40)}.{b64(bytes(16))}"]


# --- other kinds of tokens of the same issuer --------------------------------------------------------------------


@attack("ID token")
def id_token(kit: Kit) -> Sequence[str | Sent]:
    more: tuple[dict[str, Any], ...] = ({"nonce": "n-0S6"}, {"at_hash": "77Qm"}, {"c_hash": "LDkt"}, {"nonce": None})
    claims = [kit.claims() | each for each in more]
    return [kit.forged(claims=each) for each in claims] + [kit.forged(kit.header(typ="JWT"), claims[0])]


@attack("Access token with a nonce")
def access_token_with_a_nonce(kit: Kit) -> Sequence[str | Sent]:
    return [
        kit.forged(kit.header(typ="at+jwt"), kit.claims(nonce="n")),
        kit.forged(kit.header(typ="JWT"), kit.claims(nonce="n", typ="Bearer")),
    ]


@attack("Logout token or security event")
def security_event(kit: Kit) -> Sequence[str | Sent]:
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    return [kit.forged(kit.header(typ=name), kit.claims(events=events)) for name in (..., "JWT", "at+jwt")]


@attack("Keycloak's other tokens")
def keycloak_tokens(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(claims=kit.claims(typ=name)) for name in ("ID", "Refresh", "Offline", "Logout")]


# --- form --------------------------------------------------------------------------------------------------------


@attack("Not three parts")
def not_three_parts(kit: Kit) -> Sequence[str | Sent]:
    good = kit.forged()
    head, claims, signature = good.split(".")
    return [
        "a", ".", "..", "...", f"{head}.{claims}", f"{good}.", f".{good}", f"{good}.{signature}",
        f"{head}..{signature}",
        f".{claims}.{signature}", f"{head}.{claims}..{signature}", head + claims + signature,
    ]  # fmt: skip


@attack("Padding and other alphabets")
def padding_and_alphabets(kit: Kit) -> Sequence[str | Sent]:
    head, claims, signature = kit.forged(kit.header(x="???>>>"), kit.claims(x="???>>>")).split(".")
    return [
        f"{head}=.{claims}.{signature}",
        f"{head}.{claims}==.{signature}",
        f"{head}.{claims}.{signature}==",
        f"{head}.{claims}.{signature}=",
        f"{head}.{claims}.{signature.replace('-', '+').replace('_', '/')}/",
        f"{head}.{claims}.~{signature[1:]}",
    ]


@attack("Unused bits")
def unused_bits(kit: Kit) -> Sequence[str | Sent]:
    """64 bytes in base64url are 86 characters, of whose last four bits count for nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = kit.forged()
    last = alphabet.index(token[-1])
    return [token[:-1] + alphabet[last + bits] for bits in (1, 7, 15)]


@attack("White space")
def white_space(kit: Kit) -> Sequence[str | Sent]:
    token = kit.forged()
    head, claims, signature = token.split(".")
    return [
        f"{head} .{claims}.{signature}",
        f"{head}.{claims}. {signature}",
        f"{head}\t.{claims}.{signature}",
        f"{token},",
        f'"{token}"',
    ]


@attack("Not JSON objects")
def not_json_objects(kit: Kit) -> Sequence[str | Sent]:
    good = json.dumps(kit.header()).encode()
    texts = (
        b"", b"null", b"[]", b'"x"', b"7", b"{",
        good + b"}", good + b"{}", b"\xef\xbb\xbf" + good,
        good.decode().encode("utf-16"),
        b'{"alg":"ES256","kid":"one","x":"\xff"}', b"{'alg':'ES256'}", b'{"alg":"ES256","kid":"\\ud800"}', b"\0" + good,
    )  # fmt: skip
    return [kit.forged(text) for text in texts]


@attack("Deep JSON")
def deep_json(kit: Kit) -> Sequence[str | Sent]:
    deep = b"[" * 2500 + b"]" * 2500
    return [
        kit.forged(b'{"alg":"ES256","kid":"one","x":' + deep + b"}"),
        kit.forged(claims=json.dumps(kit.claims()).encode()[:-1] + b',"x":' + deep + b"}"),
        kit.forged(claims=b'{"a":' * 1500 + b"1" + b"}" * 1500),
        kit.forged(b"[" * 8000),
    ]


@attack("Numbers that are none")
def strange_numbers(kit: Kit) -> Sequence[str | Sent]:
    numbers = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"9" * 5000, b"0x7fffffff", b"1_000_000", b"01")
    return [kit.forged(claims=b'{"iss":"https://idp.test","exp":' + number + b"}") for number in numbers]


@attack("Huge token")
def huge_token(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(claims=kit.claims(x="x" * 13_000)), kit.forged(kit.header(x="x" * 20_000)), "a" * 30_000]


# --- claims ------------------------------------------------------------------------------------------------------


@attack("No expiry")
def no_expiry(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(claims=kit.claims(exp=None)), kit.forged(claims={**kit.claims(), "exp": None})]


@attack("Expiry that is no time")
def expiry_that_is_no_time(kit: Kit) -> Sequence[str | Sent]:
    times: tuple[Any, ...] = ("4000000000", "2099-01-01T00:00:00Z", True, [], {}, -1, 1e300, [4e9])
    return [kit.forged(claims=kit.claims(exp=exp)) for exp in times]


@attack("Expired")
def expired(kit: Kit) -> Sequence[str | Sent]:
    now = time.time()
    return [kit.forged(claims=kit.claims(exp=exp)) for exp in (now - 11, now - 1e6, 0, 1.5)]


@attack("Not valid yet")
def not_valid_yet(kit: Kit) -> Sequence[str | Sent]:
    now = time.time()
    return [kit.forged(claims=kit.claims(**{name: now + 60})) for name in ("nbf", "iat")]


@attack("Issuer that is not trusted")
def unknown_issuer(kit: Kit) -> Sequence[str | Sent]:
    names = (
        None, "", "https://evil.test", "https://idp.test/", "HTTPS://idp.test", "https://IDP.test", " https://idp.test",
        "https://idp.test\0", "https://idp.test.evil.test", "https://idp.test@evil.test", "http://idp.test", "idp.test",
        7, [IDP], {IDP: 1}, kit.trap,
    )  # fmt: skip
    return [kit.forged(claims=kit.claims(iss=name)) for name in names]


@attack("Key of another issuer")
def key_of_another_issuer(kit: Kit) -> Sequence[str | Sent]:
    return [
        kit.forged(kit.header(kid="revenue"), pair=kit.revenue),
        kit.forged(pair=kit.revenue),
        kit.forged(kit.header(kid=...), pair=kit.revenue),
        kit.forged(claims=kit.claims(iss="urn:bridge:local")),
        kit.forged(kit.header(alg="HS256"), kit.claims(iss=PAYROLL), kit.ec),
    ]


@attack("Tenant of another issuer")
def tenant_of_another_issuer(kit: Kit) -> Sequence[str | Sent]:
    names = ("justice", "Revenue", "revenue ", "*")
    return [kit.forged(kit.header(kid="revenue"), kit.claims(iss=REVENUE, tenant=name), kit.revenue) for name in names]


@attack("Tenant that is no name")
def tenant_that_is_no_name(kit: Kit) -> Sequence[str | Sent]:
    names: tuple[Any, ...] = (7, True, "", " ", ["revenue"], {}, [])
    return [kit.forged(claims=kit.claims() | {"tenant": name}) for name in names]


@attack("Another audience")
def another_audience(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(claims=kit.claims(aud=aud)) for aud in ("OTHER", "area", "AREA2", "", ["OTHER"], [], [["AREA"]])]


@attack("No audience")
def no_audience(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(claims=kit.claims(aud=None))]


@attack("Role by other white space")
def role_by_other_white_space(kit: Kit) -> Sequence[str | Sent]:
    return [
        kit.forged(claims=kit.claims(roles=roles))
        for roles in ("citizen\u2003clerk", "citizen\nclerk", ["citizen clerk"])
    ]


@attack("Role missing")
def role_missing(kit: Kit) -> Sequence[str | Sent]:
    return [kit.forged(claims=kit.claims(roles=roles)) for roles in ([], None, ["CLERK"], {"clerk": 1}, [["clerk"]], 7)]


@attack("Issuer that is away")
def issuer_that_is_away(kit: Kit) -> Sequence[str | Sent]:
    return [
        kit.forged(claims=kit.claims(iss=AWAY), pair=kit.away),
        kit.forged(claims=kit.claims(iss=AWAY), pair=kit.evil),
    ]


# --- the request -------------------------------------------------------------------------------------------------


@attack("No token")
def no_token(kit: Kit) -> Sequence[str | Sent]:
    return [([], ""), ([("authorization", "")], "")]


@attack("Token in the query")
def token_in_the_query(kit: Kit) -> Sequence[str | Sent]:
    return [([], f"access_token={kit.forged()}"), ([("cookie", f"access_token={kit.forged()}")], "")]


@attack("Token under another scheme")
def token_under_another_scheme(kit: Kit) -> Sequence[str | Sent]:
    token = kit.forged()
    basic = base64.b64encode(f"ann:{token}".encode()).decode()
    values = (f"Basic {basic}", f"Token {token}", f"DPoPBearer {token}", token, f"Bearer{token}")
    return [([("authorization", value)], "") for value in values]


@attack("Two tokens")
def two_tokens(kit: Kit) -> Sequence[str | Sent]:
    token = kit.forged()
    return [bearer(token, token), bearer(token, "x"), bearer("x", token)]


@attack("Two tokens in one field")
def two_tokens_in_one_field(kit: Kit) -> Sequence[str | Sent]:
    token = kit.forged()
    return [bearer(f"{token}, Bearer {token}"), bearer(f"{token} {token}")]


@attack("A good token")
def good_token(kit: Kit) -> Sequence[str | Sent]:
    return [
        kit.forged(),
        kit.forged(kit.header(alg="RS256", kid="rsa"), pair=kit.rsa),
        kit.forged(kit.header(alg="EdDSA", kid="ed"), pair=kit.ed),
        kit.forged(kit.header(kid="revenue"), kit.claims(iss=REVENUE, tenant="revenue"), kit.revenue),
        kit.forged(kit.header(kid="revenue"), kit.claims(iss=REVENUE), kit.revenue),
        ([("authorization", f"bEARER {kit.forged()}")], ""),
    ]
