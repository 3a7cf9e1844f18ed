"""Introspection endpoints on real sockets: one of oauthlib, and one that answers whatever a test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import jwt
from oauthlib.oauth2 import IntrospectEndpoint

from tests.egress.oauth_server import Clients

ISSUER = "https://idp.test"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Asked:
    """A request as the endpoint got it.

    :ivar connection: its number. :ivar certificate: of the client.
    """

    head: str
    body: str
    connection: int
    certificate: Any = None

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body, strict_parsing=True))

    @property
    def fields(self) -> dict[str, str]:
        lines = self.head.split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}


#: The whole of an answer, as bytes.
Respond = Callable[[Asked], Awaitable[bytes]]


def reply(content: Any, status: int = 200, **fields: str) -> bytes:
    """An answer with JSON, or with the bytes of `content`; underscores in names of fields are hyphens."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    lines = {"content-type": "application/json", "content-length": str(len(body))} | named
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


@dataclass
class Endpoint:
    """:ivar gate: answers wait for it. :ivar waiting, most: requests that wait now, and at most at one time.
    :ivar arrived: set by each request. :ivar over: set when the test has ended."""

    respond: Respond
    asked: list[Asked] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    most: int = 0
    connections: int = 0
    port: int = 0
    scheme: str = "http"
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/introspect"

    @property
    def tokens(self) -> list[str]:
        return [asked.form["token"] for asked in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                asked = Asked(head, "", number, writer.get_extra_info("peercert"))
                asked.body = (await reader.readexactly(int(asked.fields.get("content-length", 0)))).decode()
                self.asked.append(asked)
                self.waiting += 1
                self.most = max(self.most, self.waiting)
                self.arrived.set()
                await self.gate.wait()
                self.waiting -= 1
                answer = await self.respond(asked)
                if not answer:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def drop(self) -> None:
        """Close all connections."""
        for writer in self.writers:
            writer.close()


@contextlib.asynccontextmanager
async def endpoint(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    server = Endpoint(respond)
    server.gate.set()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    server.scheme = "http" if tls is None else "https"
    try:
        yield server
    finally:
        server.gate.set()
        server.over.set()
        server.drop()
        listener.close()


class TokenClients(Clients):
    """The clients and tokens of an oauthlib server.

    :ivar tokens: the claims of those that are active.
    :ivar keys: public keys of clients that sign assertions.
    :ivar audience: of assertions.
    """

    def __init__(self, **clients: str) -> None:
        super().__init__(clients)
        self.tokens: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, Any] = {}
        self.audience = ISSUER

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        if "private_key_jwt" not in self.methods:
            return super().authenticate_client(request)
        form = dict(parse_qsl(request.body))
        key = self.keys.get(form.get("client_id", ""))
        if key is None or form.get("client_assertion_type") != ASSERTION:
            return False
        algorithms = ["RS256", "ES256", "EdDSA"]
        claims = jwt.decode(form["client_assertion"], key, algorithms=algorithms, audience=self.audience)
        request.client = type("Client", (), {"client_id": form["client_id"]})()
        return bool(claims["iss"] == claims["sub"] == form["client_id"])

    def introspect_token(self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any) -> Any:
        return self.tokens.get(token)


def oauthlib_endpoint(clients: TokenClients) -> Respond:
    """RFC 7662 as oauthlib has it."""
    server = IntrospectEndpoint(clients)

    async def respond(asked: Asked) -> bytes:
        fields, body, status = server.create_introspect_response(
            "https://idp.test/introspect", "POST", asked.body, dict(asked.fields)
        )
        named = {name.replace("-", "_").lower(): value for name, value in fields.items()}
        return reply(body.encode(), status, **named)

    return respond
