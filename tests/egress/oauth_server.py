"""An OAuth 2 server of oauthlib on a real socket, and a token endpoint that answers whatever a test says."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from oauthlib.oauth2 import BackendApplicationServer, RequestValidator


class Clients(RequestValidator):
    """Clients and their secrets.

    :ivar methods: how they may authenticate.
    :ivar issued: scopes of the tokens that were given out.
    """

    def __init__(self, clients: dict[str, str]) -> None:
        super().__init__()
        self.clients = clients
        self.methods = {"basic", "post"}
        self.issued: dict[str, list[str]] = {}

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic" and "basic" in self.methods:
            name, _, secret = base64.b64decode(encoded).decode().partition(":")
            name, secret = unquote_plus(name), unquote_plus(secret)
        elif "post" in self.methods:
            name, secret = request.client_id or "", request.client_secret or ""
        else:
            return False
        if not name or self.clients.get(name) != secret:
            return False
        request.client = type("Client", (), {"client_id": name})()
        return True

    def validate_grant_type(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def validate_scopes(self, client_id: str, scopes: list[str], *args: Any, **kwargs: Any) -> bool:
        return "forbidden" not in scopes

    def get_default_scopes(self, *args: Any, **kwargs: Any) -> list[str]:
        return []

    def save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        self.issued[token["access_token"]] = token.get("scope", "").split()

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        return token in self.issued and set(scopes) <= set(self.issued[token])


class OAuthServer:
    """Gives out tokens ``t1``, ``t2``, … to clients.

    :ivar requests: the forms that it got, with the client's Authorization under ``""``.
    :ivar lifetime: of its tokens, in seconds.
    :ivar asked: set by a request. :ivar gate: requests wait for it.
    :ivar tokens: what it gives out.
    """

    def __init__(self, **clients: str) -> None:
        self.clients = Clients(clients)
        self.port = 0
        self.lifetime = 3600
        self.requests: list[dict[str, str]] = []
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.tokens: Iterator[str] = (f"t{number}" for number in itertools.count(1))
        self._server = BackendApplicationServer(
            self.clients, token_generator=lambda request: next(self.tokens), token_expires_in=lambda _: self.lifetime
        )

    def admits(self, headers: dict[str, str], scope: str) -> bool:
        """Whether a service lets in a POST with these fields (RFC 6750, section 2.1)."""
        valid, _ = self._server.verify_request("https://service.example/", "POST", "", headers, [scope])
        return bool(valid)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, headers = await read(scope, receive)
        self.requests.append({**dict(parse_qsl(body.decode())), "": headers.get("authorization", "")})
        self.asked.set()
        await self.gate.wait()
        fields, text, status = self._server.create_token_response(
            "https://oauth.example/token", scope["method"], body.decode(), headers
        )
        await answer(send, status, text.encode(), fields)


Behaviour = Callable[[dict[str, str]], Awaitable[tuple[int, bytes]]]


class Endpoint:
    """A token endpoint that answers what `behaviour` says."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[dict[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, headers = await read(scope, receive)
        form = {**dict(parse_qsl(body.decode())), "": headers.get("authorization", "")}
        self.requests.append(form)
        status, content = await self.behaviour(form)
        await answer(send, status, content, {"content-type": "application/json"})


async def read(scope: Any, receive: Any) -> tuple[bytes, dict[str, str]]:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body, {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}


async def answer(send: Any, status: int, content: bytes, fields: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    raw.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
