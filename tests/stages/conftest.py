"""What the guards' tests share: clocks that stand still, key pairs, a real JWKS server, and tokens made by hand."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import settings as hypothesis_settings
from jwt.algorithms import get_default_algorithms

from bridge.api.authenticator import Authenticator
from bridge.api.call import Call
from bridge.api.spec.auth import JwtAuth
from bridge.config.settings import Settings
from bridge.errors import Unauthorized
from bridge.stages.auth import jwks, published
from bridge.stages.auth import jwt as guard
from bridge.stages.auth.api_key import MemoryKeys
from bridge.stages.auth.auth import build_authenticator
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.jwks import FixedKeys, KeySource
from bridge.stages.auth.jwt import TrustedIssuer
from bridge.stages.auth.keys import ALGORITHMS, read_jwks

# The machine is shared: how long one example takes says nothing.
hypothesis_settings.register_profile("guards", deadline=None)
hypothesis_settings.load_profile("guards")


CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class Pair:
    """A signing key, and the public (for HMAC: the whole) key as a JWK."""

    algorithm: str
    private: Any
    jwk: dict[str, Any]

    def sign(self, claims: dict[str, Any], **headers: Any) -> str:
        kid = {"kid": self.jwk["kid"]} if "kid" in self.jwk else {}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=kid | headers)


def new_pair(algorithm: str, kid: str) -> Pair:
    kind, curve = ALGORITHMS[algorithm]
    implementation = get_default_algorithms()[algorithm]
    private: Any
    if kind == "RSA":
        private = rsa.generate_private_key(65537, 2048)
    elif kind == "EC":
        private = ec.generate_private_key(CURVES[curve])
    elif kind == "OKP":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = b"a secret of sixty-four bytes, enough for every HMAC that there is"
    public = private if kind == "oct" else private.public_key()
    jwk = implementation.to_jwk(public, as_dict=True)
    jwk.pop("key_ops", None)
    jwk |= {"kid": kid} if kid else {}
    return Pair(algorithm, private, jwk)


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    """Key pairs by algorithm and kid; made once a session, since RSA keys take their time."""
    made: dict[tuple[str, str], Pair] = {}

    def make(algorithm: str = "ES256", kid: str = "one") -> Pair:
        if (algorithm, kid) not in made:
            made[algorithm, kid] = new_pair(algorithm, kid)
        return made[algorithm, kid]

    return make


@pytest.fixture(scope="session")
def claims_of() -> Callable[..., dict[str, Any]]:
    """Claims of a good token; a claim given as ``None`` is left out."""

    def make(**given: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": "https://idp.test", "sub": "ann", "aud": "AREA", "iat": now, "exp": now + 600} | given
        return {name: value for name, value in claims.items() if value is not None}

    return make


def b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def forge() -> Callable[..., str]:
    """A token put together by hand: any header, any claims, any signature."""

    def make(
        header: dict[str, Any] | bytes,
        claims: dict[str, Any] | bytes,
        sign: Callable[[bytes], bytes] = lambda _signed: b"",
    ) -> str:
        signed = f"{b64(header)}.{b64(claims)}"
        return f"{signed}.{b64(sign(signed.encode()))}"

    return make


@pytest.fixture
def trust_in() -> Callable[..., Trust]:
    """A `Trust` of one issuer with these pairs' keys."""

    def make(*pairs: Pair, algorithms: set[str] | None = None, keys: KeySource | None = None, **more: Any) -> Trust:
        source = keys or FixedKeys(read_jwks(json.dumps({"keys": [pair.jwk for pair in pairs]}).encode()))
        allowed = frozenset(algorithms or {pair.algorithm for pair in pairs})
        return Trust([TrustedIssuer("https://idp.test", allowed, source, **more)])

    return make


@pytest.fixture(scope="session")
def fixed_keys() -> Callable[..., FixedKeys]:
    """These pairs' keys as a source that never changes."""

    def make(*pairs: Pair) -> FixedKeys:
        return FixedKeys(read_jwks(json.dumps({"keys": [pair.jwk for pair in pairs]}).encode()))

    return make


@pytest.fixture(scope="session")
def signer() -> Callable[[Pair], Callable[[bytes], bytes]]:
    """What `forge` signs with, by a pair's own algorithm, whatever the header says."""

    def make(pair: Pair) -> Callable[[bytes], bytes]:
        implementation = get_default_algorithms()[pair.algorithm]
        return lambda signed: implementation.sign(signed, pair.private)

    return make


@pytest.fixture(scope="session")
def bearer() -> Callable[..., Call]:
    """A call with this token."""

    def make(token: str, **more: Any) -> Call:
        return Call(headers=[("accept", "*/*"), ("authorization", f"Bearer {token}")], **more)

    return make


@pytest.fixture(scope="session")
def route() -> Callable[..., Authenticator]:
    """The authenticator of a route with this JWT block."""

    def make(trust: Trust, **auth: Any) -> Authenticator:
        return build_authenticator(JwtAuth.model_validate({"type": "JWT"} | auth), trust, MemoryKeys())

    return make


@pytest.fixture(scope="session")
def refused() -> Callable[..., Awaitable[str]]:
    """Asserts that a call gets 401 whose detail has `words`; gives the challenge, which is well-formed."""

    async def check(authenticator: Authenticator, call: Call, words: str) -> str:
        with pytest.raises(Unauthorized, match=words) as caught:
            await authenticator(call)
        challenge = dict(caught.value.headers)["www-authenticate"]
        assert challenge.startswith('Bearer realm="hms-bridge"')
        assert challenge.isascii()
        assert challenge.count('"') % 2 == 0
        return challenge

    return check


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait longer for an issuer: that the machine is busy is no reason for 503."""
    for module, name in ((jwks, "CALL_WAIT"), (guard, "CALL_WAIT"), (published, "FETCH_TIMEOUT")):
        monkeypatch.setattr(module, name, 60.0)


@dataclass
class JwksServer:
    """A real HTTP server that publishes keys. What it answers can be changed while it runs."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode())
                self.arrived.set()
                await self.hold.wait()
                body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
                fields = {"content-type": "application/json", "content-length": str(len(body))} | self.headers
                lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                writer.write(f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def jwks_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JwksServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = JwksServer()
    server.hold.set()
    listener = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/jwks.json"
    yield server
    server.hold.set()
    listener.close()


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
