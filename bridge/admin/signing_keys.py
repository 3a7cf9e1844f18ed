"""``/-/jwks.json``: the keys by which services verify tokens that the gateway signed (RFC 7517)."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bridge.egress.signing_keys import MAX_AGE, KeysUnavailable, SigningKeys
from bridge.errors import StoreError


class SigningKeysPage:
    """The page. It makes no keys: there are none as long as no route signs."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def routes(self) -> list[BaseRoute]:
        """What is mounted under ``/-``."""
        return [Route("/jwks.json", self.show)]

    async def show(self, request: Request) -> Response:
        """:raises StoreError: the keys can't be read."""
        try:
            await self._keys.refreshed(make=False)
        except KeysUnavailable as error:
            raise StoreError("The gateway's keys can't be read just now.", str(error), retry_after=10) from None
        keys = self._keys.published()
        age = MAX_AGE if keys["keys"] else 60
        fields = {"cache-control": f"public, max-age={age}", "access-control-allow-origin": "*"}
        return Response(orjson.dumps(keys), headers=fields, media_type="application/jwk-set+json")
