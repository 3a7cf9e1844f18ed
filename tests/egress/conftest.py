from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import listening
from tests.egress.oauth_server import OAuthServer

SECRET = "s3cret/of+the:gateway"


@pytest.fixture
async def oauth(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OAuthServer]:
    """An OAuth 2 server that knows the client ``bridge`` by the secret in BRIDGE_SECRET_CLIENT."""
    monkeypatch.setenv("BRIDGE_SECRET_CLIENT", SECRET)
    server = OAuthServer(bridge=SECRET)
    async with listening(server) as server.port:
        yield server
