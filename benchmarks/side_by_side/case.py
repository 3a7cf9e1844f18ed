"""The cases: what each sends, what must come back, and over how many connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.side_by_side import sample
from benchmarks.side_by_side.load import Request


@dataclass(frozen=True)
class Case:
    """One thing that gateways are asked for.

    :ivar name: what ``--case`` calls it.
    :ivar title: as the table calls it.
    :ivar request: the same to every gateway; the token is added where guards are on.
    :ivar expected: makes the value that must be answered.
    :ivar connections: of the load. A stream has fewer: the calls cut off at the end are many messages each.
    :ivar lines: of the SOAP order that the service must have got, 0 where it is no SOAP.
    """

    name: str
    title: str
    request: Request
    expected: Callable[[], Any]
    connections: int = 16
    lines: int = 0


_JSON = {"Content-Type": "application/json"}


def _grpc(name: str, title: str, lines: int) -> Case:
    order = sample.grpc_order(lines)
    return Case(name, title, Request("POST", "/grpc/orders", _JSON, orjson.dumps(order)), lambda: order)


def _soap(lines: int) -> Case:
    order = sample.soap_order(lines)
    request = Request("POST", "/soap/PlaceOrder", _JSON, orjson.dumps({"order": order}))
    return Case(f"soap-{lines}", f"SOAP, {lines} lines", request, lambda: order, lines=lines)


CASES: Sequence[Case] = (
    _grpc("grpc-small", "gRPC unary, small", 2),
    _grpc("grpc-10k", "gRPC unary, 10 kB", 100),
    Case(
        "grpc-stream",
        f"gRPC stream of {sample.TICKS:,}",
        Request("GET", f"/grpc/feed/{sample.TICKS}", {"Accept": "application/x-ndjson"}),
        sample.ticks,
        connections=4,
    ),
    _soap(5),
    _soap(100),
    Case("xml", "XML to JSON, 2 kB", Request("GET", "/xml/president", {}), sample.results),
    Case("plain", "passthrough, small", Request("POST", "/plain", _JSON, sample.plain()), lambda: sample.grpc_order(2)),
    Case("blob", "passthrough, 1 MB reply", Request("GET", "/blob", {}), lambda: orjson.loads(sample.blob())),
)


def named(names: Sequence[str]) -> Sequence[Case]:
    """The cases of these names, all where there are none.

    :raises ValueError: no case has a name.
    """
    if unknown := set(names) - {case.name for case in CASES}:
        raise ValueError(
            f"no case is called {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in CASES)}"
        )
    return [case for case in CASES if not names or case.name in names]
