"""nginx in the foreground, in front of the gateway whose port is the argument, on a socket that listens already.

It removes a prefix: ``/gateway/`` as docs/openapi.md shows it, which tells the gateway, and ``/quiet/``, which does
not.
"""

from __future__ import annotations

import os
import socket
import sys
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
  client_body_temp_path {state}/body;
  proxy_temp_path {state}/proxy;
  fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi;
  scgi_temp_path {state}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /quiet/ {{ proxy_pass http://127.0.0.1:{gateway}/; }}
    {page}
  }}
}}
"""

# As root it would work as another user, who may not read a test's files.
user = "user root root;" if os.getuid() == 0 else ""
state = Path(os.environ["STATE"])
listening = socket.create_server(("127.0.0.1", 0))
listening.set_inheritable(True)
port = listening.getsockname()[1]
gateway, page = int(sys.argv[1]), sys.argv[2]
(state / "nginx.conf").write_text(
    CONFIGURATION.format(
        state=state, port=port, user=user, gateway=gateway, page=page.replace("127.0.0.1:8080", f"127.0.0.1:{gateway}")
    )
)
os.environ["NGINX"] = f"{listening.fileno()};"  # how nginx hands sockets to its successor
print(f"ready {port}", flush=True)
os.execvp("nginx", ("nginx", "-p", str(state), "-c", str(state / "nginx.conf"), "-e", "stderr"))
