"""docs/architecture.md names the functions of a SOAP and a gRPC call: each exists, and real calls go that way."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.tracing import ROOT, Function, Trace, gateway, grpc_service, soap_service, traced

TEXT = (ROOT / "docs/architecture.md").read_text("utf-8")
ROW = re.compile(r"^\| \d+ \| `([\w.]+)` \| `([\w/.]+\.py)` \|", re.MULTILINE)
RETURNS = b"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
<GetCountyReturnsResponse xmlns="https://elections.tamarack.example/returns/2026"><returns>
<countyFips>91001</countyFips><countyName>Alder</countyName><office>Governor</office><status>UNOFFICIAL</status>
<reportedAt>2026-11-03T21:14:00-06:00</reportedAt><precinctsTotal>48</precinctsTotal>
<precinctsReporting>31</precinctsReporting><registeredVoters>61200</registeredVoters><ballotsCast>38410</ballotsCast>
<turnout>62.76</turnout></returns></GetCountyReturnsResponse></s:Body></s:Envelope>"""


def walk(title: str) -> list[Function]:
    section = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    return [Function(*row) for row in ROW.findall(section)]


SOAP, GRPC = walk("One SOAP call"), walk("One gRPC call")


def functions(node: ast.AST, prefix: str = "") -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + child.name
            yield from functions(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("function", dict.fromkeys(SOAP + GRPC), ids=str)
def test_each_function_is_where_the_page_says(function: Function) -> None:
    assert function.name in set(functions(ast.parse((ROOT / function.file).read_text("utf-8"))))


def test_the_walks_are_short() -> None:
    assert len(SOAP) <= 40
    assert len({function.file for function in SOAP}) <= 16


async def test_a_soap_call_goes_that_way(tmp_path: Path) -> None:
    async with (
        soap_service(RETURNS) as service,
        gateway(tmp_path, "county-returns.yml", f"county-returns: 127.0.0.1:{service}\n") as (port, token),
    ):
        check(SOAP, await traced(port, "/v1/returns/91001", token))


async def test_a_grpc_call_goes_that_way(tmp_path: Path) -> None:
    async with (
        grpc_service() as service,
        gateway(tmp_path, "ballots.yml", f"ballot-count: 127.0.0.1:{service}\n") as (port, token),
    ):
        check(GRPC, await traced(port, "/v1/ballots/91001", token))


def check(walk: list[Function], trace: Trace) -> None:
    rest = iter(trace.calls)
    for function in walk:
        assert function in rest, f"{function} is not called, or not after those above it"
    assert len(trace.stacks) == 2, "one write to the upstream and one to the client"
    for function in {each for stack in trace.stacks for each in stack}:
        assert function in walk, f"{function} is on the stack when a socket is written to"
    for function in trace.calls:
        if function.file.startswith("bridge/stages/") and function.name.endswith(".handle"):
            assert function in walk, f"{function} is a stage of the call"
    for function in trace.entries:
        assert function in walk, f"the core calls {function}, which is a plug-in's"
