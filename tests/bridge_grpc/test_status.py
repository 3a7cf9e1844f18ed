"""Every code of ``google.rpc.Code`` to the HTTP status that its comment documents."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, status_pb2

from bridge.api import GrpcReply
from bridge_grpc.status import CODES, fault

DOCUMENTED = {
    name: int(status)
    for status, name in re.findall(
        r"HTTP Mapping: (\d+)[^=]*?\n  ([A-Z_]+) = \d+;",
        resources.files("google.rpc").joinpath("code.proto").read_text(),
    )
}


@pytest.mark.parametrize(("name", "number"), code_pb2.Code.items())
def test_codes_map_as_documented(name: str, number: int) -> None:
    assert CODES[number] == (name, DOCUMENTED[name])


def test_an_unknown_code_is_told_as_unknown_and_keeps_its_number() -> None:
    problem = fault(GrpcReply(77), lambda _: {})
    assert problem.status == 500
    assert problem.members["grpc"] == {"code": 77, "status": "UNKNOWN", "message": "", "details": []}
    assert problem.detail == "The service answered UNKNOWN."


def test_details_that_can_not_be_read_are_left_out() -> None:
    assert fault(GrpcReply(5, status_details=b"\xff"), lambda _: {}).members["grpc"]["details"] == []


def test_a_detail_whose_bytes_are_something_else_keeps_them() -> None:
    from google.rpc import error_details_pb2

    from bridge_grpc.codec.encode_json import Encoders
    from bridge_grpc.options import Print

    known: dict[str, Any] = {"google.rpc.ErrorInfo": error_details_pb2.ErrorInfo.DESCRIPTOR}
    broken = any_pb2.Any(type_url="t/google.rpc.ErrorInfo", value=b"\xff")
    details = status_pb2.Status(code=5, details=[broken]).SerializeToString()
    problem = fault(GrpcReply(5, status_details=details), Encoders(lambda name: known.get(name), Print()).any)
    assert problem.members["grpc"]["details"] == [{"@type": "t/google.rpc.ErrorInfo", "value": "/w=="}]
