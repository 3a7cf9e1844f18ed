"""The gRPC service through a plain grpcio channel, its schema had by reflection, as a stranger would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "election.v1.BallotCount"


@pytest.fixture(scope="module")
def service(start: Callable[[str], Any]) -> Any:
    return start("ballot_count")


@pytest.fixture(scope="module")
def channel(service: Any) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def call(channel: Any) -> Callable[..., Any]:
    """``call("GetCount", {"county_fips": …})`` -> the reply as JSON values."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert SERVICE in database.get_services()
    methods = DescriptorPool(database).FindServiceByName(SERVICE).methods_by_name

    def call(name: str, fields: dict[str, Any]) -> Any:
        method = methods[name]
        request = json_format.ParseDict(fields, GetMessageClass(method.input_type)())
        send = channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        reply = send(request, metadata=[("x-trace-id", "f" * 32)], timeout=5)
        return json_format.MessageToDict(reply)

    return call


def test_counts(call: Callable[..., Any]) -> None:
    got = call("GetCount", {"county_fips": "91005"})
    assert got == {
        "countyFips": "91005",
        "countyName": "Cedar Bluffs",
        "status": "COUNTING",
        "ballotsCounted": "1144",
        "bySource": {"MAIL": "354", "EARLY": "137", "PROVISIONAL": "11", "IN_PERSON": "642"},
        "updatedAt": "2026-11-04T03:09:30Z",
    }
    assert [one["countyFips"] for one in call("ListCounts", {})["counts"]] == ["91001", "91003", "91005"]
    assert [one["countyFips"] for one in call("ListCounts", {"status": "COMPLETE"})["counts"]] == ["91003"]


def test_a_batch_is_added_once(call: Callable[..., Any]) -> None:
    before = call("GetCount", {"county_fips": "91003"})
    batch = {"batch_id": "BL-07", "source": "MAIL", "ballots": "412", "scanned_at": "2026-11-04T03:30:00Z"}
    got = call("SubmitBatch", {"county_fips": "91003", "batch": batch})
    assert (got["batchId"], got["sequence"]) == ("BL-07", "20261")
    assert int(got["count"]["ballotsCounted"]) == int(before["ballotsCounted"]) + 412
    assert int(got["count"]["bySource"]["MAIL"]) == int(before["bySource"]["MAIL"]) + 412
    assert got["count"]["updatedAt"] == "2026-11-04T03:30:00Z"
    with pytest.raises(grpc.RpcError) as caught:
        call("SubmitBatch", {"county_fips": "91003", "batch": batch})
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    with pytest.raises(grpc.RpcError) as caught:
        call("SubmitBatch", {"county_fips": "91003"})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_county_has_details(call: Callable[..., Any], service: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call("GetCount", {"county_fips": "91999"})
    error: Any = caught.value  # the stubs know it as an exception only, but it is the call, too
    assert error.code() is grpc.StatusCode.NOT_FOUND
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["known_counties"]) == ("UNKNOWN_COUNTY", "91001,91003,91005")
    noted = service.exchanges()[-1]
    assert noted["status"].startswith("NOT_FOUND: ")
    assert noted["reply"] == ""


def test_what_went_over_the_wire_is_noted(call: Callable[..., Any], service: Any) -> None:
    call("GetCount", {"county_fips": "91001"})
    noted = service.exchanges()[-1]
    assert noted["trace_id"] == "f" * 32
    assert noted["target"] == f"/{SERVICE}/GetCount"
    assert noted["request"] == '# election.v1.GetCountRequest, 7 bytes\ncounty_fips: "91001"\n'
    assert 'county_name: "Alder"' in noted["reply"]
