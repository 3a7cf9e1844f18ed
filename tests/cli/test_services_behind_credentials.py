"""SOAP services behind Basic, OAuth 2 client credentials and an API key, each by a route of at most 16 lines; and no
secret on any surface of the gateway: a process, its commands, its admin API, its logs and its files."""

from __future__ import annotations

import asyncio
import json
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

import aiohttp
import httpx
import pytest

from tests.conftest import listening
from tests.egress.oauth_server import OAuthServer, read
from tests.soap_kit import SOAP11, WSDL_DIR

#: With characters that every form of writing them down escapes in its own way.
PASSWORD, CLIENT, KEY, QUERY = (
    'pä55/word"of+ledger',
    "cl1ent&secret<of>ledger",
    "k3y-of-the-ledger/0",
    "qu3ry key+of&it",
)
TOKENS = [f"t0ken-of-the-ledger-{number}" for number in range(9)]
BODY = {"account": "a", "cents": 5}
ANSWER = f'<s:Envelope xmlns:s="{SOAP11}"><s:Body>%s</s:Body></s:Envelope>'
POSTED = ANSWER % '<posted xmlns="urn:ledger"><entry>1</entry></posted>'
FAULT = ANSWER % "<s:Fault><faultcode>s:Server</faultcode><faultstring>closed for the day</faultstring></s:Fault>"

ROUTE = """\
route: /v1/{name}
methods: [POST]
upstream: ledger-svc:8080/{name}
auth: {{type: JWT, audience: LEDGER}}
rate_limit: {{rps: 500}}
timeout: 5s
upstream_auth:
{auth}
transform:
  request: soap
  soap: {{wsdl: ledger.wsdl, operation: post}}
"""
AUTHS = {
    "basic": """\
  type: basic
  username: bridge
  password: {$env: BRIDGE_SECRET_LEDGER_PASSWORD}""",
    "oauth": """\
  type: client_credentials
  token_url: TOKEN_URL
  client_id: bridge
  client_secret: {$env: BRIDGE_SECRET_LEDGER_CLIENT}
  scopes: [ledger.write]""",
    "key": """\
  type: api_key
  header: X-Ledger-Key
  value: {$file: secrets/ledger-key}""",
    "query": """\
  type: api_key
  query: ledger-key
  value: {$file: secrets/ledger-query}""",
}
BINDINGS = """\
- {secret: BRIDGE_SECRET_LEDGER_PASSWORD, upstreams: ["ledger-svc:8080"]}
- {secret: BRIDGE_SECRET_LEDGER_CLIENT, upstreams: ["ledger-svc:8080"], token_urls: ["TOKEN_ORIGIN"]}
- {secret: "secrets/ledger-*", upstreams: ["ledger-svc:8080"]}
"""


class Ledger:
    """A SOAP service. Who does not sign in as its path says gets 401 and a page that shows all that was sent.

    :ivar mood: ``""``, or what it does to those who do: ``fault``, ``crash``, ``hang``.
    """

    def __init__(self, oauth: OAuthServer) -> None:
        self.oauth = oauth
        self.mood = ""
        self.admitted: list[str] = []

    def admits(self, name: str, fields: dict[str, str], query: dict[str, str]) -> bool:
        match name:
            case "basic":
                given = fields.get("authorization", "")
                return given != "" and aiohttp.BasicAuth.decode(given, "utf-8") == ("bridge", PASSWORD, "utf-8")
            case "oauth":
                return self.oauth.admits(fields, "ledger.write")
            case "key":
                return fields.get("x-ledger-key") == KEY
            case _:
                return query.get("ledger-key") == QUERY

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, fields = await read(scope, receive)
        name, query = scope["path"].strip("/"), dict(parse_qsl(scope["query_string"].decode()))
        status, kind, text = 401, "text/html", f"<pre>{escape(f'{fields} {query} {body!r}')}</pre>"
        if self.admits(name, fields, query):
            self.admitted.append(name)
            if self.mood == "hang":
                await asyncio.Event().wait()
            status, kind, text = 200, "text/xml", POSTED
            if self.mood == "fault":
                status, text = 500, FAULT.replace("closed for the day", escape(f"closed for the day: {fields} {query}"))
            elif self.mood == "crash":
                status, kind, text = 500, "text/html", f"<h1>Traceback</h1>{escape(str(fields))}{scope['query_string']}"
        content = text.encode()
        head = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
async def oauth() -> AsyncIterator[OAuthServer]:
    server = OAuthServer(bridge=CLIENT)
    server.tokens = iter(TOKENS)
    async with listening(server) as server.port:
        yield server


@pytest.fixture
async def ledger(oauth: OAuthServer) -> AsyncIterator[tuple[Ledger, int]]:
    service = Ledger(oauth)
    async with listening(service) as port:
        yield service, port


@pytest.fixture
def routes(home: Path, oauth: OAuthServer, ledger: tuple[Ledger, int]) -> dict[str, str]:
    """Specs by name, which are also in the home beside all that they need."""
    specs = {name: ROUTE.format(name=name, auth=auth).replace("TOKEN_URL", oauth.url) for name, auth in AUTHS.items()}
    for name, text in specs.items():
        (home / f"routes/{name}.yml").write_text(text)
    shutil.copy(WSDL_DIR / "ledger.wsdl", home / "wsdl")
    (home / "secrets").mkdir()
    (home / "secrets/ledger-key").write_text(f"{KEY}\n")
    (home / "secrets/ledger-query").write_text(f"{QUERY}\n")
    (home / "secrets.yml").write_text(BINDINGS.replace("TOKEN_ORIGIN", oauth.url.removesuffix("/token")))
    (home / "mesh.yml").write_text(json.dumps({"ledger-svc": f"127.0.0.1:{ledger[1]}"}))
    return specs


ENVIRONMENT = {
    "BRIDGE_SECRET_LEDGER_PASSWORD": PASSWORD,
    "BRIDGE_SECRET_LEDGER_CLIENT": CLIENT,
    "BRIDGE_FETCH_NETWORKS": "127.0.0.0/8",
    "BRIDGE_LOG_LEVEL": "debug",
}


def forms(secret: str) -> set[str]:
    """How `secret` may be written down."""
    encoded = secret.encode()
    whole = {secret, escape(secret), escape(secret, quote=False), quote(secret), quote(secret, safe=""), encoded.hex()}
    whole |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    whole |= {quote_plus(secret), repr(encoded)[2:-1], repr(encoded.decode("latin-1"))[1:-1]}
    return whole | {b64encode(encoded).decode(), b64encode(encoded).decode().rstrip("=")}


#: Basic's field, and that of an OAuth 2 client (RFC 6749, section 2.3.1).
PAIRS = [b64encode(f"bridge:{each}".encode()).decode() for each in (PASSWORD, quote_plus(CLIENT))]
FORBIDDEN = {form for secret in (PASSWORD, CLIENT, KEY, QUERY, *TOKENS, *PAIRS) for form in forms(secret)}


class Seen:
    """All that anybody is shown, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, text: str) -> str:
        assert text, where
        self.texts[f"{len(self.texts)} {where}"] = text
        return text

    def reply(self, answer: httpx.Response) -> httpx.Response:
        self.add(f"{answer.request.method} {answer.url}", f"{answer.headers} {answer.text}")
        return answer

    def command(self, done: Any, code: int = 0) -> str:
        assert done.returncode == code, done
        return self.add(" ".join(done.args[3:]), done.stdout + done.stderr)

    def check(self) -> None:
        found = {where: form for where, text in self.texts.items() for form in FORBIDDEN if form in text}
        assert found == {}


def test_the_forms_are_found() -> None:
    """What looks for secrets finds them: in a log line, a page, a URL, a header, a dump of bytes."""
    for text in (
        json.dumps({"a": PASSWORD}),
        f"<b>{escape(CLIENT)}</b>",
        f"/a?b={quote_plus(QUERY)}",
        PAIRS[0],
        PAIRS[1],
    ):
        seen = Seen()
        seen.add("here", text)
        with pytest.raises(AssertionError):
            seen.check()


async def test_three_services_by_short_routes(
    served: Any, cli: Any, routes: dict[str, str], ledger: tuple[Ledger, int], oauth: OAuthServer, home: Path
) -> None:
    assert all(len(text.splitlines()) <= 16 for text in routes.values())
    service, seen = ledger[0], Seen()
    gateway = await asyncio.to_thread(served, **ENVIRONMENT)
    assert gateway.process.stderr is not None
    log = asyncio.create_task(asyncio.to_thread(gateway.process.stderr.read))
    command = await asyncio.to_thread(cli, "token", "--audience", "LEDGER", "--role", "api_publisher")
    bearer = {"Authorization": f"Bearer {command.stdout.strip()}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=bearer, timeout=30) as client:
        await _calls(client, service, oauth, seen)
        await _publishing(client, routes, seen)
        await _admin(client, seen)
    await _commands(lambda *words: asyncio.to_thread(cli, *words, **ENVIRONMENT), home, seen)
    gateway.process.terminate()
    seen.add("the gateway's log", await log)
    assert await asyncio.to_thread(gateway.process.wait, 30) == 0
    for path in (home / ".bridge").rglob("*"):
        if path.is_file() and path.stat().st_size:
            seen.add(str(path), path.read_bytes().decode("latin-1"))
            seen.add(str(path), path.read_bytes().decode("utf-8", "replace"))
    assert any("access.log" in where for where in seen.texts)
    assert set(service.admitted) == set(AUTHS)
    assert len(seen.texts) > 60
    seen.check()


async def _calls(client: httpx.AsyncClient, service: Ledger, oauth: OAuthServer, seen: Seen) -> None:
    """Through each route: right, wrong, and whatever the service and the token endpoint do."""
    for name in AUTHS:
        answer = seen.reply(await client.post(f"/v1/{name}", json=BODY))
        assert (answer.status_code, answer.json()) == (200, {"entry": 1})
    for mood, status in (("fault", 502), ("crash", 502), ("hang", 504)):
        service.mood = mood
        timeout = {"X-Request-Timeout": "200ms"} if mood == "hang" else {}
        for name in AUTHS:
            assert seen.reply(await client.post(f"/v1/{name}", json=BODY, headers=timeout)).status_code == status
    service.mood = ""
    oauth.clients.issued.clear()  # the service takes no token, and the endpoint does not know the client any more
    oauth.clients.clients.clear()
    for expected in (502, 502):
        assert seen.reply(await client.post("/v1/oauth", json=BODY)).status_code == expected
    for content, status in ((b"{", 400), (b'{"account": 7}', 400), (b"x" * 20_000_000, 413)):
        for name in AUTHS:
            assert seen.reply(await client.post(f"/v1/{name}", content=content)).status_code == status
    for name in AUTHS:
        assert seen.reply(await client.get(f"/v1/{name}")).status_code == 405
        assert seen.reply(await client.post(f"/v1/{name}/x")).status_code == 404
        assert seen.reply(await client.post(f"/v1/{name}", headers={"Authorization": ""})).status_code == 401


async def _publishing(client: httpx.AsyncClient, routes: dict[str, str], seen: Seen) -> None:
    """The same routes by the admin API, and wrong ones."""
    kind = {"Content-Type": "application/yaml"}
    where = ""
    for name, text in routes.items():
        spec = text.replace(f"/v1/{name}", f"/v2/{name}")
        assert seen.reply(await client.post("/-/routes/check", content=spec, headers=kind)).json()["ok"]
        made = seen.reply(await client.post("/register", content=spec, headers=kind))
        assert made.status_code == 201, made.text
        where = made.headers["location"]
        put = await client.put(where, content=spec.replace("5s", "6s"), headers={**kind, "If-Match": "*"})
        assert seen.reply(put).status_code == 200
        for page in ("", "/history", "/history/1", "/openapi"):
            for accept in ("application/json", "application/yaml"):
                seen.reply(await client.get(f"{where}{page}", headers={"Accept": accept}))
        elsewhere = spec.replace("/v2/", "/v3/").replace("ledger-svc", "evil-svc")
        for wrong in (elsewhere, elsewhere.replace("$env: ", "$env: HOME_"), elsewhere + "unknown: 1\n"):
            assert seen.reply(await client.post("/register", content=wrong, headers=kind)).status_code == 400
    assert (await client.post("/v2/key", json=BODY)).status_code == 200
    assert seen.reply(await client.delete(where)).status_code == 204
    seen.reply(await client.get("/-/routes/deleted"))


async def _admin(client: httpx.AsyncClient, seen: Seen) -> None:
    """What the console, the documents and the monitoring are given."""
    pages = ["routes", "metrics", "openapi.json", "docs", "console", "health/live", "health/ready", "jwks.json"]
    for page in pages:
        assert seen.reply(await client.get(f"/-/{page}")).status_code == 200
        seen.reply(await client.get(f"/-/{page}", headers={"Authorization": ""}))
    listed = (await client.get("/-/routes")).json()["routes"]
    assert len(listed) == 2 * len(AUTHS) - 1
    for each in listed:
        for page in ("", "/openapi", "/history"):
            seen.reply(await client.get(f"/-/routes/{each['route_id']}{page}"))


async def _commands(cli: Callable[..., Any], home: Path, seen: Seen) -> None:
    for name in AUTHS:
        text = seen.command(await cli("explain", f"POST /v1/{name}", "--json", json.dumps(BODY)))
        assert "***" in text
        assert ":cents>5<" in text
    seen.command(await cli("explain", "POST /v1/basic", "--json", '{"account": 7}'), 1)
    for words in (["check"], ["routes", "--json"], ["openapi"]):
        seen.command(await cli(*words))
    (home / "routes/oauth.yml").write_text((home / "routes/oauth.yml").read_text() + "unknown: 1\n")
    (home / "secrets/ledger-key").write_text(f"{KEY}\n{KEY}\n")  # no header field can hold it
    for words in (["check", "--json"], ["serve", "--port", "0"]):
        seen.command(await cli(*words), 1)
    for number, literal in enumerate((PASSWORD, KEY, CLIENT)):
        spec = ROUTE.format(name=f"literal{number}", auth=AUTHS["basic"])
        spec = spec.replace("{$env: BRIDGE_SECRET_LEDGER_PASSWORD}", json.dumps(literal))
        (home / f"literal{number}.yml").write_text(spec)
    told = seen.command(await cli("check", *(f"literal{number}.yml" for number in range(3))), 1)
    assert told.count("a spec never contains a secret") == 3
