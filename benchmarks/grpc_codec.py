"""The compiled gRPC codec beside ``google.protobuf.json_format``: both ways, 1, 10 and 100 items, in one run.

    python benchmarks/grpc_codec.py [--check]

Prints microseconds a call and the ratio. "To protobuf" is from the bytes of a JSON body to the bytes of the message,
"to JSON" the other way, so both sides do the whole job, and ours is the call that the gateway makes for a request and
for an answer; every answer is checked before anything is timed. The ratio is the median of interleaved pairs, the times
are the best of all rounds. With ``--check`` the exit code is 1 when a ratio misses its target (8 to protobuf, 6 to
JSON). The targets are for a list of messages of scalars; a second message, of all that costs more (messages in
messages, maps, times, a oneof, bytes, fields that aren't set), is for information.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from google.protobuf import json_format

from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.options import Print
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Schema, schema

PROTO = """
syntax = "proto3";
package bench;
import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";
enum Status { STATUS_UNSPECIFIED = 0; COUNTED = 1; CERTIFIED = 2; }
message Line { string candidate = 1; int32 precinct = 2; int64 votes = 3; Status status = 4; bool final = 5;
  double share = 6; }
message Count { string county = 1; repeated Line lines = 2; }

message Place { string name = 1; int64 id = 2; Point at = 3; }
message Point { double latitude = 1; double longitude = 2; }
message Event { uint64 id = 1; google.protobuf.Timestamp seen = 2; Place place = 3; repeated string tags = 4;
  map<string, int64> totals = 5; oneof what { string note = 6; Line line = 7; } optional int32 rank = 8; bytes seal = 9;
  string comment = 10; bool closed = 11; }
message Report { string title = 1; repeated Event events = 2; google.protobuf.Duration took = 3; }
"""
TARGETS = {"to protobuf": 8.0, "to JSON": 6.0}


def count(items: int) -> dict[str, Any]:
    line = {"precinct": 12, "votes": "10412", "status": "CERTIFIED", "final": True, "share": 0.5125}
    return {"county": "Calaveras", "lines": [{"candidate": f"Candidate {n}", **line} for n in range(items)]}


def report(items: int) -> dict[str, Any]:
    place = {"name": 'San Andreas \u2013 "Courthouse"', "id": "-7", "at": {"latitude": 38.196, "longitude": -120.6805}}
    line = {"candidate": "A", "votes": "9007199254740993", "status": "COUNTED"}
    events = [
        {
            "id": str(2**63 + n * 7919),
            "seen": "2026-11-03T20:15:00.250Z",
            "place": place,
            "tags": ["late", "by hand"],
            "totals": {"mail": str(n + 1)},
            **({"note": "a line\nand another"} if n % 2 else {"line": line}),
            "rank": 0,
            "seal": "AQIDBAUGBwg=",
        }
        for n in range(items)
    ]
    return {"title": "Events", "events": events, "took": "1.500s"}


def compare(slow: Callable[[], object], quick: Callable[[], object], rounds: int = 41) -> tuple[float, float, float]:
    """Microseconds a call of each (the best round), and the median of the ratios of `rounds` interleaved pairs."""
    calls = (slow, quick)
    counts, fastest, ratios = [], [float("inf"), float("inf")], []
    for call in calls:
        started = time.perf_counter()
        for _ in range(20):
            call()
        counts.append(max(1, int(0.005 * 20 / (time.perf_counter() - started))))
    for _ in range(rounds):
        took = []
        for count, call in zip(counts, calls, strict=True):
            started = time.perf_counter()
            for _ in range(count):
                call()
            took.append((time.perf_counter() - started) / count)
        fastest = [min(pair) for pair in zip(fastest, took, strict=True)]
        ratios.append(took[0] / took[1])
    return fastest[0] * 1e6, fastest[1] * 1e6, statistics.median(ratios)


def measure(made: Schema, name: str, body: Callable[[int], dict[str, Any]], targets: dict[str, float]) -> bool:
    """Prints a message's rows; whether all of them reach their targets."""
    descriptor = made.pool.FindMessageTypeByName(name)
    cls = made.message_class(descriptor)
    ours_in = Decoders(lambda _: None).wire(descriptor)
    ours_out = Encoders(lambda _: None, Print()).text(descriptor)

    def theirs_in(text: bytes) -> bytes:
        return bytes(json_format.Parse(text, cls()).SerializeToString())

    def theirs_out(wire: bytes) -> str:
        return json_format.MessageToJson(cls.FromString(wire), indent=None)

    reached = True
    for items in (1, 10, 100):
        text = orjson.dumps(body(items))
        wire = theirs_in(text)
        assert ours_in(text) == wire
        assert orjson.loads(ours_out(wire)) == orjson.loads(theirs_out(wire)) == body(items)
        for way, theirs, ours in (
            ("to protobuf", partial(theirs_in, text), partial(ours_in, text)),
            ("to JSON", partial(theirs_out, wire), partial(ours_out, wire)),
        ):
            slow, quick, ratio = compare(theirs, ours)
            reached &= ratio >= targets.get(way, 0)
            print(f"{descriptor.name:8}{way:14}{items:6}{slow:12.1f}us{quick:10.1f}us{ratio:8.1f}")
    return reached


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench.proto").write_text(PROTO)
        made = schema(compile_protos(["bench.proto"], Path(folder)))
    print(f"{'':22}{'items':>6}{'json_format':>14}{'compiled':>12}{'ratio':>8}")
    reached = measure(made, "bench.Count", count, TARGETS)
    measure(made, "bench.Report", report, {})
    return int(not reached and "--check" in sys.argv)


if __name__ == "__main__":
    raise SystemExit(main())
