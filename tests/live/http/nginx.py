"""Starts nginx in the foreground on a free port: it is handed a socket that listens already."""

from __future__ import annotations

import os
import socket
from pathlib import Path

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {state}/pid;
error_log stderr error;
events {{}}
http {{
  access_log off;
  default_type text/plain;
  client_body_temp_path {state}/body;
  proxy_temp_path {state}/proxy;
  fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi;
  scgi_temp_path {state}/scgi;
  keepalive_timeout 20s 7s;
  gzip on;
  gzip_proxied any;
  gzip_types text/plain;
  server {{
    listen 127.0.0.1:{port};
    root {state}/files;
    location = /hello {{ return 200 "hello"; }}
    location = /empty {{ return 204; }}
    location = /moved {{ return 302 http://$host:$server_port/hello; }}
    location /relative/ {{ alias {state}/files/; absolute_redirect off; }}
    location /portless/ {{ alias {state}/files/; port_in_redirect off; }}
    location = /last {{ keepalive_timeout 0; return 200 "bye"; }}
    location = /dropped {{ return 444; }}
    location = /narrow {{ client_max_body_size 1k; return 413; }}
  }}
}}
"""

# As root it would work as another user, who may not read a test's files.
user = "user root root;" if os.getuid() == 0 else ""
state = Path(os.environ["STATE"])
(state / "files").mkdir()
(state / "files" / "old" / "there").mkdir(parents=True)
(state / "files" / "old" / "there" / "index.html").write_text("<p>there</p>")
(state / "files" / "large").write_bytes(b"0123456789abcdef" * (1 << 16))
listening = socket.create_server(("127.0.0.1", 0))
listening.set_inheritable(True)
port = listening.getsockname()[1]
(state / "nginx.conf").write_text(CONFIGURATION.format(state=state, port=port, user=user))
os.environ["NGINX"] = f"{listening.fileno()};"  # how nginx hands sockets to its successor
print(f"ready {port}", flush=True)
os.execvp("nginx", ("nginx", "-p", str(state), "-c", str(state / "nginx.conf"), "-e", "stderr"))
