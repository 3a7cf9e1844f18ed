"""How the three services are started and stopped: ``--port``, ``ready PORT``, SIGTERM."""

from __future__ import annotations

import argparse
import signal
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from wire import Wire, Wsgi, recorded


def arguments(what: str) -> argparse.Namespace:
    """``--port`` (0 uses a free one) and ``--wire``."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--wire", type=Path, help="append each exchange to this file, one JSON line each")
    return parser.parse_args()


def until_stopped(port: int) -> None:
    """Print ``ready PORT`` and wait for SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"ready {port}", flush=True)
    stop.wait()


def refuse_port(port: int, error: Exception) -> NoReturn:
    sys.exit(f"port {port} on 127.0.0.1 can't be had: {getattr(error, 'strerror', None) or error}")


class _Threading(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that a client may keep a thread waiting

    def log_message(self, format: str, *args: Any) -> None:
        """Not needed: the wire file has it."""


def serve_wsgi(app: Wsgi, port: int, wire: Wire) -> None:
    try:
        server = make_server("127.0.0.1", port, recorded(app, wire), server_class=_Threading, handler_class=_Quiet)
    except OSError as error:
        refuse_port(port, error)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    until_stopped(server.server_port)
    server.shutdown()
    server.server_close()
