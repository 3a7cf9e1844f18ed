"""`upstream`: the service of a route, by its name in the mesh."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points

from pydantic import BaseModel, ConfigDict

from bridge.api.spec.scalars import NAME
from bridge.http.client_address import is_address
from bridge.http.template import check_template
from bridge.wording import not_one_of

TRANSPORTS = "bridge.transports"  #: the group of their entry points


@cache
def _schemes() -> Sequence[str]:
    """Of all transports (`bridge.api.transport.Transport.name`), for plain TCP and for TLS."""
    names = sorted(point.name for point in entry_points(group=TRANSPORTS))
    return [scheme for name in names for scheme in (name, f"{name}s")]


class Upstream(BaseModel):
    """Where a route's calls go: ``[scheme://]name:port[/path]``.

    `name` is looked up in the mesh at run time and is never an address. `port` is a number, or a service name that
    DNS resolves by SRV. `path` may hold the route's parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: str | None = None
    name: str
    port: str
    path: str = ""

    @classmethod
    def parse(cls, text: object) -> Upstream:
        """:raises ValueError: it isn't of that form, or names an address."""
        if not isinstance(text, str):
            raise ValueError("it is written as one text: [scheme://]name:port[/path]")
        scheme, mark, rest = text.rpartition("://")
        if mark and scheme not in _schemes():
            raise ValueError(not_one_of(scheme, _schemes()))
        authority, slash, path = rest.partition("/")
        if "@" in authority or any(c in text for c in " \t\r\n#?\\"):
            raise ValueError(f"{text!r} is not of the form [scheme://]name:port[/path]")
        name, colon, port = authority.rpartition(":")
        if not colon:
            raise ValueError(f"{text!r} names no port; write name:port")
        if is_address(name.strip("[]")):
            raise ValueError(f"{name!r} is an address; write a name and let the mesh say where it is")
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't be a name in the mesh")
        if re.fullmatch(r"[0-9]+", port):
            if len(port) > 5 or port[0] == "0" or int(port) > 65535:
                raise ValueError(f"{port!r} is no port")
        elif not re.fullmatch(r"[a-z][a-z0-9-]{0,14}", port):
            raise ValueError(f"{port!r} is neither a port number nor a service name")
        if slash:
            check_template("/" + path)
        return cls.model_validate({"scheme": scheme or None, "name": name, "port": port, "path": slash + path})

    def __str__(self) -> str:
        return f"{self.scheme + '://' if self.scheme else ''}{self.name}:{self.port}{self.path}"
