"""The ballot count over gRPC, with server reflection.

    python examples/election_night/services/ballot_count.py --port 8002

Its contract is ``protos/election/v1/ballots.proto``.
"""

from __future__ import annotations

import socket
import sys
import threading
from concurrent import futures
from typing import Any, NoReturn

import grpc
from compiled import modules
from figures import COUNTIES, County
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha import reflection
from grpc_wire import Recorder
from serving import arguments, refuse_port, until_stopped
from wire import Wire

pb, services = modules("election/v1/ballots.proto")

# Percentages of ballots by source; the rest was cast in person.
_SHARES = {"MAIL": 31, "EARLY": 12, "PROVISIONAL": 1}


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, sentence: str, reason: str, **facts: str) -> NoReturn:
    """End the call with a status that programs can read, too (google.rpc.ErrorInfo).

    :raises Exception: always; that is how grpc ends a method.
    """
    info = AnyMessage()
    info.Pack(ErrorInfo(reason=reason, domain="elections.tamarack.example", metadata=facts))
    status = Status(code=code.value[0], message=sentence, details=[info])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, sentence)
    raise AssertionError  # abort has raised


class Rooms(services.BallotCountServicer):  # type: ignore[misc, name-defined]  # compiled just now
    """The counting rooms of all counties; batches are kept until the service ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence = 20260
        self._batches: set[str] = set()
        self._counts = {fips: _count(county) for fips, county in COUNTIES.items()}

    def GetCount(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            return self._county(request.county_fips, context)

    def ListCounts(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            counts = [one for one in self._counts.values() if request.status in (0, one.status)]
            return pb.ListCountsResponse(counts=counts)

    def SubmitBatch(self, request: Any, context: grpc.ServicerContext) -> Any:
        batch = request.batch
        if not batch.batch_id or batch.ballots <= 0:
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "A batch needs an id and ballots.", "EMPTY_BATCH")
        with self._lock:
            count = self._county(request.county_fips, context)
            if batch.batch_id in self._batches:
                sentence = f"Batch {batch.batch_id} was submitted before."
                _refuse(context, grpc.StatusCode.ALREADY_EXISTS, sentence, "KNOWN_BATCH", batch_id=batch.batch_id)
            self._batches.add(batch.batch_id)
            self._sequence += 1
            count.ballots_counted += batch.ballots
            count.by_source[pb.BallotSource.Name(batch.source)] += batch.ballots
            if batch.HasField("scanned_at"):
                count.updated_at.CopyFrom(batch.scanned_at)
            return pb.BatchReceipt(batch_id=batch.batch_id, sequence=self._sequence, count=count)

    def _county(self, fips: str, context: grpc.ServicerContext) -> Any:
        if fips not in self._counts:
            codes = ",".join(self._counts)
            sentence = f"No county of this state has the code {fips!r}."
            _refuse(context, grpc.StatusCode.NOT_FOUND, sentence, "UNKNOWN_COUNTY", known_counties=codes)
        return self._counts[fips]


def _count(county: County) -> Any:
    by_source = {name: county.ballots * share // 100 for name, share in _SHARES.items()}
    by_source["IN_PERSON"] = county.ballots - sum(by_source.values())
    updated = Timestamp()
    updated.FromDatetime(county.reported_at)
    complete = len(county.reporting) == len(county.precincts)
    return pb.Count(
        county_fips=county.fips,
        county_name=county.name,
        status=pb.COMPLETE if complete else pb.COUNTING,
        ballots_counted=county.ballots,
        by_source=by_source,
        updated_at=updated,
    )


def serve(port: int, wire: Wire) -> None:
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8),
        interceptors=[Recorder(wire)],
        options=[("grpc.so_reuseport", 0)],  # two services on one port would silently share its calls
    )
    services.add_BallotCountServicer_to_server(Rooms(), server)
    name = pb.DESCRIPTOR.services_by_name["BallotCount"].full_name
    reflection.enable_server_reflection((name, reflection.SERVICE_NAME), server)
    try:
        socket.create_server(("127.0.0.1", port)).close()  # grpc's own error message is a page long
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except (OSError, RuntimeError) as error:
        refuse_port(port, error)
    server.start()
    until_stopped(bound)
    server.stop(grace=1).wait()


if __name__ == "__main__":
    options = arguments("The ballot count over gRPC.")
    serve(options.port, Wire(options.wire))
    sys.exit(0)
