"""``hms-bridge init``: a folder in which a gateway can begin."""

from __future__ import annotations

from pathlib import Path

from bridge.cli.files import check_free, write
from bridge.errors import Fault, SettingsError

FOLDERS = ("routes", "wsdl", "protos", "secrets")

_ROUTE = """\
# One route. `hms-bridge check` names what is wrong in this file by line and key; docs/spec.md lists every key.

# The public path. {name} is one segment; it may be used in `upstream`, too.
route: /v1/example/{name}
methods: [GET]

# The service: a name and a port, never an address. mesh.yml says where it is. Without a path here, the request's own
# path is called.
upstream: example:80/{name}

# Who may call. `auth: none` opens the route to all. A token to try it with: hms-bridge token --audience EXAMPLE
auth: {type: JWT, audience: EXAMPLE}

# Fifty calls a second for each caller, a hundred at once.
rate_limit: {rps: 50, burst: 100}
timeout: 5s

transform:
  # How the service is spoken to: passthrough (it speaks JSON, or XML that becomes JSON), xml, soap or grpc. For the
  # last two, `hms-bridge import` writes the whole file from the contract:
  #   hms-bridge import soap https://HOST/SERVICE?wsdl -o routes/service.yml
  #   hms-bridge import grpc HOST:PORT -o routes/service.yml
  request: passthrough
  response: json
"""
_MESH = """\
# Where the upstreams of routes are: a name, or name:port, and its addresses. This file is the operator's word, so
# addresses of this machine are allowed. It is read again when it changes.
example:80: ["127.0.0.1:9001"]
"""
_IGNORED = """\
# What the gateway keeps: registered routes, keys, its own key pair, the access log.
.bridge/
# What routes send to services.
secrets/
"""
_FILES = {"routes/example.yml": _ROUTE, "mesh.yml": _MESH, ".gitignore": _IGNORED}


def create(home: Path) -> list[Path]:
    """Write a route with comments, ``mesh.yml`` and ``.gitignore`` into `home`, and make the folders of a gateway.

    :returns: what was written.
    :raises SettingsError: one of the files exists, and nothing was written; or `home` can't be written.
    """
    files = {home / name: text.encode() for name, text in _FILES.items()}
    check_free(dict.fromkeys(files), "init replaces nothing; remove it, or name another folder")
    for file, content in files.items():
        write(file, content)
    try:
        for folder in FOLDERS:
            (home / folder).mkdir(mode=0o700 if folder == "secrets" else 0o777, exist_ok=True)
    except OSError as error:
        raise SettingsError(Fault(f"it can't be made: {error.strerror}", file=str(home))) from None
    return list(files)
