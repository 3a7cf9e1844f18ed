"""A SOAP server of another stack: spyne on WSGI. Run as ``python spyne_returns.py 1.1|1.2``; it prints its port.

It has a process of its own since spyne brings an import hook that would trouble everything else in the tests.
"""

# pyright: reportMissingImports=false
# spyne is not installed on Python 3.12 and later.
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from spyne import (
    Application,
    Array,
    Boolean,
    ComplexModel,
    Date,
    Decimal,
    Fault,
    Integer,
    Integer32,
    ServiceBase,
    Unicode,
    rpc,
)
from spyne.protocol.soap import Soap11, Soap12
from spyne.server.wsgi import WsgiApplication

REQUIRED = Unicode(min_occurs=1, nullable=False)


def journal(line: str) -> None:
    with Path(os.environ["JOURNAL"]).open("a", encoding="utf-8") as out:
        print(line, file=out)


class Precinct(ComplexModel):  # type: ignore[misc]  # spyne has no types
    __namespace__ = "urn:returns"
    name = Unicode(min_occurs=1)
    votes = Integer32
    share = Decimal
    certified = Boolean
    counted = Date


class County(ComplexModel):  # type: ignore[misc]  # spyne has no types
    __namespace__ = "urn:returns"
    fips = REQUIRED
    population = Integer
    precincts = Array(Precinct)


class Returns(ServiceBase):  # type: ignore[misc]  # spyne has no types
    @rpc(County, _returns=County)  # type: ignore[untyped-decorator]  # spyne has no types
    def store(ctx: Any, county: Any) -> Any:  # noqa: N805  # spyne gives the context first
        journal(f"store {county.fips}")
        return county

    @rpc(REQUIRED, Integer32, _returns=Unicode)  # type: ignore[untyped-decorator]  # spyne has no types
    def find(ctx: Any, name: str, limit: int | None) -> str | None:  # noqa: N805  # as above
        journal(f"find {name}")
        if name == "nobody":
            raise Fault("Client.NotFound", "Nobody by that name.", detail={"tried": name})
        if name == "crash":
            raise ZeroDivisionError
        return f"{name}/{limit}"


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # the base class's own names
        """Nothing on the terminal."""


def main() -> None:
    protocol = Soap12 if sys.argv[1] == "1.2" else Soap11
    application = Application(
        [Returns], "urn:returns:svc", in_protocol=protocol(validator="lxml"), out_protocol=protocol()
    )
    wsgi: Any = WsgiApplication(application)
    server = make_server("127.0.0.1", 0, wsgi, handler_class=_Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
