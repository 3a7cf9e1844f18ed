"""The compiled gRPC codec beside ``google.protobuf.json_format``: both ways, 1, 10 and 100 items, in one run.

    python benchmarks/grpc_codec.py [--check]

Prints microseconds a call and the ratio. "To protobuf" is from the bytes of a JSON body to the bytes of the message,
"to JSON" the other way, so both sides do the whole job; every answer is checked before anything is timed. The ratio is
the median of interleaved pairs, the times are the best of all rounds. With ``--check`` the exit code is 1 when a ratio
misses its target (8 to protobuf, 6 to JSON).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from google.protobuf import json_format

from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.codec.json_body import read
from bridge_grpc.options import Print
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema

PROTO = """
syntax = "proto3";
package bench;
enum Status { STATUS_UNSPECIFIED = 0; COUNTED = 1; CERTIFIED = 2; }
message Line { string candidate = 1; int32 precinct = 2; int64 votes = 3; Status status = 4; bool final = 5;
  double share = 6; }
message Count { string county = 1; repeated Line lines = 2; }
"""
TARGETS = {"to protobuf": 8.0, "to JSON": 6.0}


def body(items: int) -> dict[str, Any]:
    line = {"precinct": 12, "votes": "10412", "status": "CERTIFIED", "final": True, "share": 0.5125}
    return {"county": "Calaveras", "lines": [{"candidate": f"Candidate {n}", **line} for n in range(items)]}


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


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench.proto").write_text(PROTO)
        made = schema(compile_protos(["bench.proto"], Path(folder)))
    descriptor = made.pool.FindMessageTypeByName("bench.Count")
    cls = made.message_class(descriptor)
    ours_in = Decoders(lambda _: None).wire(descriptor)
    ours_out = Encoders(lambda _: None, Print()).text(descriptor)
    missed = False
    print(f"{'':14}{'items':>6}{'json_format':>14}{'compiled':>12}{'ratio':>8}")
    for items in (1, 10, 100):
        text = orjson.dumps(body(items))
        wire = json_format.Parse(text, cls()).SerializeToString()

        def ours_in(text: bytes = text) -> bytes:
            return serialise(decode(read(text, bounded=bounded)))

        def theirs_in(text: bytes = text) -> bytes:
            return bytes(json_format.Parse(text, cls()).SerializeToString())

        def ours_out(wire: bytes = wire) -> bytes:
            return orjson.dumps(write(parse(wire)))

        def theirs_out(wire: bytes = wire) -> str:
            return json_format.MessageToJson(cls.FromString(wire), indent=None)

        assert ours_in() == wire
        assert orjson.loads(ours_out()) == orjson.loads(theirs_out()) == body(items)
        for name, theirs, ours in (("to protobuf", theirs_in, ours_in), ("to JSON", theirs_out, ours_out)):
            slow, quick, ratio = compare(theirs, ours)
            missed |= ratio < TARGETS[name]
            print(f"{name:14}{items:6}{slow:12.1f}us{quick:10.1f}us{ratio:8.1f}")
    return int(missed and "--check" in sys.argv)


if __name__ == "__main__":
    raise SystemExit(main())
