"""`upstream`: the service of a route, by its name in the mesh."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points

from pydantic import BaseModel, ConfigDict

from bridge.api.spec.scalars import NAME
from bridge.http.client_address import is_address
from bridge.http.template import check_template, split_template
from bridge.wording import not_one_of

TRANSPORTS = "bridge.transports"  #: the group of their entry points


#: RFC 3986, section 3.4, without ``&``, which parts parameters.
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$'()*+,;:@/?\[\]=-]|%[0-9A-Fa-f]{2})+")
_FORBIDDEN = re.compile(r"[ \t\r\n#\\]")


@cache
def _schemes() -> Sequence[str]:
    """Of all transports (`bridge.api.transport.Transport.name`), for plain TCP and for TLS."""
    names = sorted(point.name for point in entry_points(group=TRANSPORTS))
    return [scheme for name in names for scheme in (name, f"{name}s")]


class Upstream(BaseModel):
    """Where a route's calls go: ``[scheme://]name:port[/path][?query]``.

    `name` is looked up in the mesh at run time and is never an address. `port` is a number, or a service name that
    DNS resolves by SRV. `path` and the values of `query` may hold the route's parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: str | None = None
    name: str
    port: str
    path: str = ""
    query: str = ""

    @classmethod
    def parse(cls, text: object) -> Upstream:
        """:raises ValueError: it isn't of that form, or names an address."""
        if not isinstance(text, str):
            raise ValueError("it is written as one text: [scheme://]name:port[/path][?query]")
        scheme, mark, rest = text.partition("://")
        if not mark or "?" in scheme:  # a URL in the query is no scheme
            scheme, mark, rest = "", "", text
        if mark and scheme not in _schemes():
            raise ValueError(not_one_of(scheme, _schemes()))
        rest, question, query = rest.partition("?")
        authority, slash, path = rest.partition("/")
        if "@" in authority or _FORBIDDEN.search(text):
            raise ValueError(f"{text!r} is not of the form [scheme://]name:port[/path][?query]")
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
        if question:
            _check_query(query)
        parts = {"scheme": scheme or None, "name": name, "port": port, "path": slash + path, "query": query}
        return cls.model_validate(parts)

    def __str__(self) -> str:
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme + '://' if self.scheme else ''}{self.name}:{self.port}{self.path}{query}"


def _check_query(query: str) -> None:
    """:raises ValueError: it is not of the form ``name=value&name=value``, where a value may hold parameters."""
    if not query:
        raise ValueError("it ends in a question mark; write ?name=value, or leave it out")
    for part in query.split("&"):
        name, _, value = part.partition("=")
        text = "".join(split_template(value)[::2])
        if not _QUERY.fullmatch(name) or "?" in name or (text and not _QUERY.fullmatch(text)):
            raise ValueError(f"{part!r} can't be a part of a query; write name=value, percent-encoded")
