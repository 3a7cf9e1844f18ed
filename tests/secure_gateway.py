"""A gateway that serves HTTPS and asks for client certificates, and clients that have some."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bridge.api.tls import default_context
from bridge.server.tls import ListenerTls
from tests.authorities import Authority, Issued
from tests.conftest import Running, serving

NAME = "gateway.example"
SERVER_CA = Authority("Server CA")
SERVER = SERVER_CA.issue(f"CN={NAME}", sans=[f"dns:{NAME}"])

Get = Callable[..., Awaitable[httpx.Response]]


def client_context(issued: Issued | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = default_context(SERVER_CA.pem)  # from Python 3.13 on, Python's own wants extensions that the CA lacks
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if issued is not None:
        issued.load(context)
    return context


@dataclass
class Secure:
    gateway: Running
    port: int

    @property
    def home(self) -> Path:
        return self.gateway.home

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def write(self, name: str, content: Any) -> None:
        """Write a file of the home; JSON, if it is no text."""
        (self.home / name).write_text(content if isinstance(content, str) else json.dumps(content))

    @contextlib.asynccontextmanager
    async def calling(
        self, issued: Issued | None = None, *, http2: bool = False, local: str | None = None, **more: Any
    ) -> AsyncIterator[Get]:
        """Calls on one connection.

        :param local: the client's address.
        """
        limits = httpx.Limits(max_connections=1)
        context = client_context(issued, **more)
        transport = httpx.AsyncHTTPTransport(verify=context, http2=http2, limits=limits, local_address=local)
        async with httpx.AsyncClient(transport=transport, timeout=20) as session:

            async def get(path: str = "/mtls/a", method: str = "GET", **given: Any) -> httpx.Response:
                return await session.request(method, self.url + path, extensions={"sni_hostname": NAME}, **given)

            yield get


@contextlib.asynccontextmanager
async def secured(gateway: Running) -> AsyncIterator[Secure]:
    """Serve `gateway` on another port, with TLS."""
    certificate, key = gateway.home / "tls.crt", gateway.home / "tls.key"
    certificate.write_text(SERVER.pem)
    key.write_text(SERVER.key_pem)
    tls = ListenerTls(certificate, key)
    tls.request_certificates(gateway.app.state.client_cas)
    async with serving(gateway.app, tls=tls) as port:
        yield Secure(gateway, port)
