"""``docs``, ``console`` and the files they load, to be mounted under ``/-``.

The pages run under a strict Content-Security-Policy: scripts and styles from this gateway only, none inline, and no
connection to anywhere else. Paths in them are relative, so that they work behind a proxy's prefix too.
"""

from __future__ import annotations

import os
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from bridge.admin.access import ADMIN_LISTENER

#: On every answer of this room. ``data:`` images are the icons in Swagger UI's style sheet.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ASK_AGAIN: Final = "no-cache"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"


def routes() -> list[BaseRoute]:
    """The room's routes, below the mount point ``/-``."""
    return [
        _page("/docs", "docs.html"),
        _page("/console", "console.html"),
        Mount("/static", _Files(packages=[("bridge.admin.portal", "static")]), name="static"),
    ]


def _page(path: str, file: str) -> Route:
    html = files("bridge.admin.portal").joinpath(file).read_bytes()
    # A page that is loaded from the admin listener can't call routes, which that doesn't serve.
    for_admin = html.replace(b"<body>", b'<body data-listener="admin">')
    headers = {**SECURITY_HEADERS, "Cache-Control": _ASK_AGAIN}

    async def page(request: Request) -> Response:
        body = for_admin if request.scope.get(ADMIN_LISTENER) else html
        return Response(body, headers=headers, media_type="text/html")

    return Route(path, page, name=file)


class _Files(StaticFiles):
    """Starlette's, with the room's headers. A vendored file's directory carries its version, so a browser may keep it;
    for our own it asks again and gets 304."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        vendored = path.startswith("swagger-ui-") and os.sep in path
        response.headers.update({**SECURITY_HEADERS, "Cache-Control": _FOR_GOOD if vendored else _ASK_AGAIN})
        return response
