"""Small replies that arrive in pieces, made whole, so that they can be stored."""

from __future__ import annotations

import asyncio

from bridge.api.body import StreamedBody
from bridge.api.call import Reply, header
from bridge.api.media import media_type
from bridge.stages.cache.memory import MAX_BYTES

MOST = MAX_BYTES // 8  #: bytes of the largest reply that is stored

#: What a client must get as it is sent.
_LIVE = frozenset(("text/event-stream",))


async def collect(reply: Reply, body: StreamedBody, deadline: float, most: int = MOST) -> None:
    """Make the body of `reply` whole if it is short enough and arrives before `deadline`; otherwise it stays as it is.

    :param body: of `reply`. :param most: bytes.
    :param deadline: in the running loop's `time()`.
    :raises bridge.errors.UpstreamError: it broke off.
    """
    if reply.status != 200 or (body.length or 0) > most or media_type(header(reply.headers, "content-type")) in _LIVE:
        return
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout_at(deadline):
            async for piece in body:
                pieces.append(piece)
                if body.size > most:
                    break
    except TimeoutError:
        pass
    if body.complete and body.size <= most and not body.trailers:
        reply.body = b"".join(pieces)
    else:
        body.unread(pieces)
