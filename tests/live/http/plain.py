"""Python's own server, as people use it for small services: HTTP/1.0 as it comes, HTTP/1.1 below /kept."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.protocol_version = "HTTP/1.1" if self.path.startswith("/kept") else "HTTP/1.0"
        self.close_connection = self.protocol_version == "HTTP/1.0"
        self.send_response(200)
        self.send_header("X-Peer", str(self.client_address[1]))
        if self.path != "/until-close":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"ready {server.server_port}", flush=True)
server.serve_forever()
