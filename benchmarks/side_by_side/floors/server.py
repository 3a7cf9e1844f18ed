"""The server alone: a bare ASGI application under uvicorn, httptools and uvloop, with one fixed answer.

    python -m benchmarks.side_by_side.floors.server PORT FILE

It reads each request's body and answers the bytes of FILE, as JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn


class Fixed:
    """An ASGI application that answers `body` to everything."""

    def __init__(self, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        self._start = {"type": "http.response.start", "status": 200, "headers": headers}
        self._body = {"type": "http.response.body", "body": body}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(self._start)
        await send(self._body)


def main(port: int, file: Path) -> None:
    uvicorn.run(
        Fixed(file.read_bytes()),
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
