"""Binding a large schema: a proto with 200 messages of 20 fields each and 100 methods with ``google.api.http`` rules.

Prints the time from file to published operations for a ``.proto``, for its descriptor set and for a second route on
the same schema, the time of the first call and of the OpenAPI parts, the memory of a route, and the time that protoc
takes for 300 files. Run it with ``python benchmarks/grpc_bind.py``; ``--check`` fails when binding takes longer than
promised, ``--profile`` prints where the time goes.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bridge.api import Call, Context, Operation, RouteSpec
from bridge_grpc import Grpc
from bridge_grpc.schema.compile_protos import compile_protos

MESSAGES = 200
FIELDS = 20
METHODS = 100
FILES = 300
SECONDS = 1.0  #: what the project promises

_TYPES = (
    "string", "int64", "repeated string", "bool", "double", "google.protobuf.Timestamp", "map<string, string>", "Kind",
    "bytes", "repeated {other}", "optional int32", "{other}",
)  # fmt: skip


def proto(messages: int = MESSAGES, fields: int = FIELDS, methods: int = METHODS) -> str:
    """The text of one file, comments and rules as googleapis writes them."""
    out = [
        'syntax = "proto3";\npackage large.v1;\nimport "google/api/annotations.proto";\n',
        'import "google/protobuf/timestamp.proto";\nenum Kind { KIND_UNSPECIFIED = 0; ONE = 1; TWO = 2; }\n',
    ]
    for n in range(messages):
        out.append(f"// Message {n} of the schema.\nmessage M{n} {{\n  // Its resource name.\n  string name = 1;\n")
        for at in range(2, fields + 1):
            kind = _TYPES[(at + n) % len(_TYPES)].format(other=f"M{(n + 1) % messages}")
            out.append(f"  // Field {at} of message {n}.\n  {kind} field_{at} = {at};\n")
        out.append("}\n")
    out.append("// What is served.\nservice Large {\n")
    for n in range(methods):
        asked, answered = f"M{n % messages}", f"M{(n * 7 + 1) % messages}"
        rule = (
            f'get: "/v1/{{name=kinds{n}/*/items/*}}" additional_bindings {{ get: "/v1/{{name=all{n}/*}}" }}',
            f'post: "/v1/{{name=kinds{n}/*}}:do" body: "*"',
            f'patch: "/v1/kinds{n}/{{name}}" body: "*"',
        )[n % 3]
        out.append(f"  // Method {n}.\n  rpc Do{n}({asked}) returns ({answered}) {{\n")
        out.append(f"    option (google.api.http) = {{ {rule} }};\n  }}\n")
    return "".join([*out, "}\n"])


def files(folder: Path, count: int = FILES) -> list[str]:
    """The names of so many files in `folder`, each with a service and a rule; nine of ten import another one."""
    names = [f"file{n}.proto" for n in range(count)]
    for n, name in enumerate(names):
        before = f'import "{names[n - 1]}";' if n % 10 else ""
        imports = f'import "google/api/annotations.proto"; import "google/protobuf/timestamp.proto"; {before}'
        message = f"message F{n} {{ string id = 1; google.protobuf.Timestamp at = 2; }}"
        rule = f'option (google.api.http) = {{ get: "/v1/f{n}/{{id}}" }};'
        service = f"service S{n} {{ rpc Do(F{n}) returns (F{n}) {{ {rule} }} }}"
        (folder / name).write_text(f'syntax = "proto3"; package f; {imports} {message} {service}')
    return names


async def bind(grpc: Grpc, route: str, **options: Any) -> tuple[float, Sequence[Operation]]:
    transform = {"request": "grpc", "grpc": options}
    spec = RouteSpec.model_validate({"route": route, "upstream": "x:80", "auth": "none", "transform": transform})
    started = time.perf_counter()
    operations = await grpc.bind(spec, Grpc.options.model_validate(options))
    return time.perf_counter() - started, operations


async def opened(folder: Path) -> Grpc:
    grpc = Grpc()
    await grpc.open(Context(folder, folder))
    return grpc


async def memory(folder: Path) -> float:
    """KiB of Python's for an operation that is bound."""
    gc.collect()
    tracemalloc.start()
    _, operations = await bind(await opened(folder), "/c", descriptor_set="large.pb")
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] / 1024 / len(operations)
    tracemalloc.stop()
    return kept


async def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = proto()
        (folder / "large.proto").write_text(text)
        (folder / "large.pb").write_bytes(compile_protos(["large.proto"], folder).SerializeToString())
        grpc = await opened(folder)
        if "--profile" in sys.argv:
            await profiled(grpc)
            return 0
        of_set, operations = await bind(grpc, "/a", descriptor_set="large.pb")
        of_text, _ = await bind(grpc, "/b", protos=["large.proto"])
        again, _ = await bind(grpc, "/c", descriptor_set="large.pb")
        print(f"{len(text) / 1e3:.0f} kB, {MESSAGES} messages, {len(operations)} operations: bound in", end=" ")
        print(f"{of_text:.2f} s from the proto, in {of_set:.2f} s from its descriptor set, again in {again:.2f} s")
        codec: Any = operations[-1].codec
        started = time.perf_counter()
        codec.request(Call("POST", body=b'{"name": "a"}'))
        print(f"the first call of an operation {1000 * (time.perf_counter() - started):.2f} ms", end="; ")
        started = time.perf_counter()
        for operation in operations:
            operation.describe()
        print(f"all OpenAPI parts {time.perf_counter() - started:.2f} s", end="; ")
        print(f"memory an operation {await memory(folder):.0f} KiB")
        names = files(folder)
        started = time.perf_counter()
        compile_protos(names, folder)
        print(f"{len(names)} files compiled in {time.perf_counter() - started:.2f} s")
    return 1 if "--check" in sys.argv and max(of_set, of_text) > SECONDS else 0


async def profiled(grpc: Grpc) -> None:
    """Binding is done in threads, so it is the executor that is asked to profile."""
    profile = cProfile.Profile()

    class Profiling(ThreadPoolExecutor):
        def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
            return super().submit(profile.runcall, function, *arguments, **named)

    asyncio.get_running_loop().set_default_executor(Profiling(1))
    await bind(grpc, "/a", descriptor_set="large.pb")
    pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
