"""Who may read the pages below ``/-/``, on which listener (``BRIDGE_ADMIN_BIND``, ``BRIDGE_ADMIN_PUBLIC``).

=====================  ======================================  ==============================================
listener               a public page                           everything else
=====================  ======================================  ==============================================
the only one           for everybody                           pages need a token; the admin API asks for its own
the routes'            for everybody                           404, as if it were not there
the admin listener     for everybody who reaches the listener  the admin API asks for its own token
=====================  ======================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request

from bridge.admin.callers import Callers
from bridge.admin.permissions import READ
from bridge.api.call import Identity
from bridge.api.spec.auth import AnyAuth, ApiKeyAuth, JwtAuth
from bridge.errors import NotFound

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

#: Who reads the pages that are not public has a token, or an API key, which a scraper can hold for long and an operator
#: can revoke.
READERS_AUTH = AnyAuth(any=(JwtAuth(type="JWT"), ApiKeyAuth(type="api_key")))

#: Set in the scope of a request that came by the admin listener.
ADMIN_LISTENER = "bridge.admin_listener"
_READER = "bridge.reader"
_PAGES = {"health": "health", "metrics": "metrics", "openapi.json": "openapi", "docs": "docs", "console": "console"}


class Access:
    """ASGI middleware around the admin pages. A refusal is raised and becomes a problem in `Recorder`.

    :param public: pages that need no token now, of `bridge.config.settings.PAGES`.
    :param separate: whether there is an admin listener.
    :param callers: with tokens and keys, as `READERS_AUTH` says.
    """

    def __init__(self, app: App, public: Callable[[], frozenset[str]], separate: bool, callers: Callers) -> None:
        self._app = app
        self._public = public
        self._separate = separate
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not scope.get(ADMIN_LISTENER):
            await self._judge(Request(scope))
        await self._app(scope, receive, send)

    async def _judge(self, request: Request) -> None:
        """:raises NotFound: the page is on the admin listener. :raises Unauthorized, Forbidden: it needs a token."""
        page, public = _page(request.scope["path"]), self._public()
        if "docs" in public:
            public |= {"openapi"}  # which the docs page shows
        # Services read the keys of tokens that they get; they have no token for the gateway.
        if page == "jwks.json" or page in public or (page == "static" and public & {"docs", "console"}):
            return
        if self._separate:
            raise NotFound("The gateway has no such page.")
        if page not in _PAGES.values():
            return  # the admin API, which asks for its own token, files of the pages, and what does not exist
        request.scope[_READER] = await self._callers.identify(request, READ)


def _page(path: str) -> str:
    """The name of the page at `path`, which is decoded; the first segment for what is none."""
    first = path.removeprefix("/-/").partition("/")[0]
    return _PAGES.get(first, first)


def reader_of(request: Request) -> Identity | None:
    """The caller of a page that is not public; None for a public one."""
    reader: Identity | None = request.scope.get(_READER)
    return reader
