"""A scope is split at U+0020 and nowhere else (RFC 6749, section 3.3; RFC 8693, section 4.2), and so are roles."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.server.test_wire import OPEN

ISSUER = "https://idp.example"
#: What Python, or a person, takes for white space.
OTHERS = "\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2007\u2009\u2028\u2029\u202f\u205f\u3000\u200b,;"


async def test_only_a_space_parts_two_of_them(start: Any, upstream: Any) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = {**ECAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "k", "alg": "ES256", "use": "sig"}
    files = {
        "issuers.yml": f"- {{issuer: {ISSUER}, jwks_file: keys.json}}\n",
        "keys.json": json.dumps({"keys": [key]}),
    }

    def bearer(**claims: Any) -> dict[str, str]:
        now = int(time.time())
        token = jwt.encode(
            {"iss": ISSUER, "sub": "rae", "iat": now, "exp": now + 600, **claims},
            private,
            algorithm="ES256",
            headers={"kid": "k"},
        )
        return {"authorization": f"Bearer {token}"}

    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, files=files) as gateway:
        for name, needs in (("scope", {"scopes": ["admin"]}), ("role", {"roles": ["admin"]})):
            spec = {**OPEN, "route": f"/{name}", "auth": {"type": "JWT", **needs}}
            assert (await gateway.register(spec)).status_code == 201

        async def called(path: str, **claims: Any) -> int:
            return int((await gateway.client.get(path, headers=bearer(**claims))).status_code)

        for path, claim in (("/scope", "scope"), ("/scope", "scp"), ("/role", "roles")):
            for text in ("admin", "read admin", "  read   admin ", ["read", "admin"]):
                assert await called(path, **{claim: text}) == 200, (claim, text)
            for other in OTHERS:
                for text in (f"read{other}admin", f"{other}admin", f"admin{other}", f"a {other}admin{other} b"):
                    assert await called(path, **{claim: text}) == 403, (claim, text)
            assert await called(path, **{claim: ["read admin"]}) == 403
