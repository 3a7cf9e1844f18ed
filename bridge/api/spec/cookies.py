"""`cookies`: what becomes of the cookies that the service of a route sets."""

from __future__ import annotations

from typing import Literal

#: ``session``: the gateway keeps them for each caller (RFC 6265) and sends them with that caller's next calls. Without
#: the key they go to the client, whose own come to the service.
CookieMode = Literal["session"]
