"""Python's own server of files. A folder is at its name with a slash; without it, the client is sent there."""

from __future__ import annotations

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


root = Path(os.environ["STATE"])
(root / "old" / "there").mkdir(parents=True)
(root / "old" / "there" / "index.html").write_text("<p>there</p>")
server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
print(f"ready {server.server_port}", flush=True)
server.serve_forever()
