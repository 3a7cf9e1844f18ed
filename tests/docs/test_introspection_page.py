"""docs/introspection.md: its examples are served, its tables have every key, its numbers are the code's."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bridge.api.spec.scalars import seconds
from bridge.stages.auth import introspection, introspection_endpoint, introspection_entry
from bridge.stages.auth.introspection_entry import Introspection
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT, blocks_of
from tests.docs.tables import code, table
from tests.stages.auth.introspection_server import Asked, TokenClients, endpoint, oauthlib_endpoint, reply

PAGE = "docs/introspection.md"
AUTH, ISSUERS = (block.text for block in blocks_of(ROOT / PAGE))
SPEC = "route: {path}\nupstream: svc:80\ntransform: {{request: passthrough}}\n{line}"


def test_each_key_is_in_its_table() -> None:
    rows = table(PAGE, "The issuer's entry")
    assert [code(row[0])[0] for row in rows] == list(Introspection.model_fields)
    least = Introspection.model_validate({"client_id": "a", "client_secret": {"$env": "A"}})
    for row in rows:
        if default := code(row[1]):
            shown: Any = getattr(least, code(row[0])[0])
            assert shown in (default[0], seconds(default[0]) if default[0][0].isdigit() else None)


def test_the_numbers_are_the_codes() -> None:
    assert (introspection_endpoint.TIMEOUT, introspection_endpoint.AT_ONCE) == (2, 32)
    assert (introspection_endpoint.FIRST_WAIT, introspection_endpoint.LONGEST_WAIT) == (1, 30)
    assert (introspection_endpoint.TOLERANCE, introspection_endpoint.MAX_ANSWER) == (2, 32 * 1024)
    assert introspection.REMEMBERED == 4096
    entry = introspection_entry
    assert [entry.MOST_CACHE, entry.MOST_NEGATIVE, entry.MOST_STALE] == [3600.0, 300.0, 86400.0]
    away = table(PAGE, "When the issuer does not answer")[0][0]
    assert {int(text) for text in code(away)} == introspection_endpoint._AWAY - {407}


async def test_the_examples(start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    idp, court = TokenClients(bridge="s3cret"), TokenClients()
    court.methods, court.keys["bridge"], court.audience = {"private_key_jwt"}, key.public_key(), "https://court.example"
    clerk = {"sub": "ann", "aud": "REVENUE_PUBLIC", "scope": "read", "roles": ["clerk"]}
    idp.tokens, court.tokens = {"of-idp": clerk}, {"of-court": clerk}
    monkeypatch.setenv("IDP_CLIENT_SECRET", "s3cret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    introspect = oauthlib_endpoint(idp)

    async def respond(asked: Asked) -> bytes:
        if not asked.head.startswith("GET /.well-known/openid-configuration "):
            return await introspect(asked)
        here = f"http://{asked.fields['host']}"
        return reply(
            {"issuer": here, "introspection_endpoint": f"{here}/introspect", "token_endpoint": f"{here}/token"}
        )

    async with endpoint(respond) as one, endpoint(oauthlib_endpoint(court)) as two:
        here = f"http://127.0.0.1:{one.port}"
        issuers = ISSUERS.replace("https://court.example/oauth2/introspect", two.url).replace(
            "https://idp.example", here
        )
        lines = AUTH.replace("https://idp.example", here).splitlines()

        async def statuses(entries: str, *lines: str) -> list[list[int]]:
            routes = {f"{n}.yml": SPEC.format(path=f"/{n}", line=line) for n, line in enumerate(lines)}
            files = {"issuers.yml": entries, "keys/court.pem": pem}
            async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes, files=files) as gateway:
                return [
                    [
                        (await gateway.client.get(f"/{n}", headers={"authorization": f"Bearer {token}"})).status_code
                        for n in range(len(lines))
                    ]
                    for token in ("of-idp", "of-court")
                ]

        assert await statuses(issuers, lines[0], lines[0].replace(here, "https://court.example")) == [
            [200, 401], [401, 200],
        ]  # fmt: skip
        [only, _] = issuers.split("- issuer: https://court.example")
        assert await statuses(only, *lines) == [[200, 200, 200], [401, 401, 401]]
