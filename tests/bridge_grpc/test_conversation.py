"""Reflection as servers do it: one file an answer or all of them, in any order, twice, late, wrong, or without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from bridge.api import BindError, Unreachable
from bridge.transport.grpc.caller import Caller
from bridge_grpc.schema import conversation, reflection
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema

Answers = Callable[[ServerReflectionRequest], Any]
NEVER = object()


def of_files(*files: FileDescriptorProto) -> ServerReflectionResponse:
    raw = [file.SerializeToString() for file in files]
    return ServerReflectionResponse(file_descriptor_response={"file_descriptor_proto": raw})


def not_found(why: str = "no such thing") -> ServerReflectionResponse:
    return ServerReflectionResponse(error_response={"error_code": 5, "error_message": why})


def listing(*names: str) -> ServerReflectionResponse:
    return ServerReflectionResponse(list_services_response={"service": [{"name": name} for name in names]})


class Says:
    """A server of files, each answer with the one that was asked for and what `beside` adds."""

    def __init__(self, files: FileDescriptorSet, services: Sequence[str] = ("p.S",)) -> None:
        self.files = {file.name: file for file in files.file}
        self.services = services
        self.asked: list[str] = []
        self.beside: Callable[[FileDescriptorProto], list[FileDescriptorProto]] = lambda _: []

    def __call__(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        kind = request.WhichOneof("message_request") or ""
        self.asked.append(kind)
        if kind == "list_services":
            return listing(*self.services)
        if kind == "file_containing_symbol":
            holder = next(file for file in self.files.values() if file.service)
            return of_files(holder, *self.beside(holder))
        if kind == "file_by_filename" and request.file_by_filename in self.files:
            found = self.files[request.file_by_filename]
            return of_files(found, *self.beside(found))
        return not_found()


async def reflect(addresses: list[tuple[str, int]], name: str) -> tuple[FileDescriptorSet, list[str]]:
    """Asked as the gateway asks when a route to `name` is bound, which is at `addresses`."""

    async def resolve(_name: str, _port: str) -> Sequence[tuple[str, int]]:
        return addresses

    return await reflection.reflect(Caller(resolve).call, name, "50051")


Serve = Callable[..., Awaitable[list[tuple[str, int]]]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """A server whose reflection gives what a function says: one
    answer, several, None for none, a status to end with, or NEVER."""
    servers: list[Any] = []

    async def serving(answers: Answers, *, version: str = "grpc.reflection.v1") -> list[tuple[str, int]]:
        async def converse(requests: Any, context: Any) -> AsyncIterator[Any]:
            async for request in requests:
                said = answers(request)
                if isinstance(said, grpc.StatusCode):
                    await context.abort(said, "no more of this")
                if said is NEVER:
                    await asyncio.Event().wait()
                elif said is not None:
                    for each in said if isinstance(said, Iterator) else [said]:
                        yield each

        handler = grpc.stream_stream_rpc_method_handler(
            converse, ServerReflectionRequest.FromString, ServerReflectionResponse.SerializeToString
        )
        name = f"{version}.ServerReflection"
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        return [("127.0.0.1", port)]

    yield serving
    await asyncio.gather(*(server.stop(None) for server in servers))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    """A service whose file imports 300, each of which imports the one before it and a well-known type."""
    folder = tmp_path_factory.mktemp("many")
    for n in range(300):
        before = f'import "d{n - 1}.proto";' if n % 10 else ""
        text = f'syntax = "proto3"; package p; {before} import "google/protobuf/timestamp.proto"; message D{n} {{}}'
        (folder / f"d{n}.proto").write_text(text)
    imports = "".join(f'import "d{n}.proto";\n' for n in range(300))
    body = "message M { D299 last = 1; } service S { rpc Do(M) returns (M); }"
    (folder / "main.proto").write_text(f'syntax = "proto3"; package p;\n{imports}{body}')
    return compile_protos(["main.proto"], folder)


def ways(files: FileDescriptorSet) -> dict[str, Callable[[FileDescriptorProto], list[FileDescriptorProto]]]:
    return {
        "one file an answer": lambda _: [],
        "all at once": lambda _: list(files.file),
        "all at once, dependants first": lambda _: list(reversed(files.file)),
        "each with some, again and again": lambda file: [file, *files.file[:3], file],
    }


@pytest.mark.parametrize("way", ways(FileDescriptorSet()))
async def test_hundreds_of_files_in_every_way(serve: Serve, many: FileDescriptorSet, way: str) -> None:
    says = Says(many)
    says.beside = ways(many)[way]
    files, services = await reflect(await serve(says), "svc")
    assert {file.name for file in files.file} == {file.name for file in many.file}
    assert services == ["p.S"]
    assert list(schema(files).services) == ["p.S"]
    assert len(says.asked) <= len(many.file) + 2


async def test_questions_go_together(serve: Serve, many: FileDescriptorSet) -> None:
    """The answers are kept back until thirty questions have come: who asks one by one never gets one."""
    says = Says(many)
    held: list[ServerReflectionResponse] = []

    def answers(request: ServerReflectionRequest) -> Any:
        answer = says(request)
        if request.WhichOneof("message_request") != "file_by_filename" or says.asked.count("file_by_filename") > 30:
            return answer
        held.append(answer)
        if len(held) < 30:
            return None
        return iter(held)

    files, _ = await reflect(await serve(answers), "svc")
    assert len(files.file) == len(many.file)


async def test_what_comes_again_does_not_count(
    serve: Serve, many: FileDescriptorSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with hundreds of services may send with each one all that they share."""
    monkeypatch.setattr(conversation, "MAX_BYTES", 2 * many.ByteSize())
    says = Says(many, [f"p.S{n}" for n in range(100)])
    says.beside = lambda _: list(many.file)
    files, services = await reflect(await serve(says), "svc")
    assert (len(files.file), len(services)) == (len(many.file), 100)


async def test_well_known_types_may_be_missing(serve: Serve, many: FileDescriptorSet) -> None:
    kept = FileDescriptorSet(file=[file for file in many.file if not file.name.startswith("google/")])
    files, _ = await reflect(await serve(Says(kept)), "svc")
    assert "google/protobuf/timestamp.proto" in {file.name for file in files.file}


@pytest.fixture
def extended(tmp_path: Path) -> FileDescriptorSet:
    """Extensions in files that the service's does not import; one of them can be extended itself."""
    head = 'syntax = "proto2"; package p; '
    (tmp_path / "main.proto").write_text(
        head + "message M { extensions 100 to 199; } service S { rpc Do(M) returns (M); }"
    )
    (tmp_path / "one.proto").write_text(
        head + 'import "main.proto"; message One { extensions 1 to 9; } extend M { optional One one = 100; }'
    )
    (tmp_path / "two.proto").write_text(
        head + 'import "one.proto"; message Holder { extend One { repeated string words = 1; } }'
    )
    return compile_protos(["main.proto", "two.proto"], tmp_path)


async def test_extensions_of_files_that_nobody_imports(serve: Serve, extended: FileDescriptorSet) -> None:
    says = Says(extended)
    numbers = {"p.M": [100], "p.One": [1]}

    def answers(request: ServerReflectionRequest) -> Any:
        name = request.all_extension_numbers_of_type
        if name:
            found = {"base_type_name": name, "extension_number": numbers[name]}
            return ServerReflectionResponse(all_extension_numbers_response=found)
        if request.HasField("file_containing_extension"):
            holder = {"p.M": "one.proto", "p.One": "two.proto"}[request.file_containing_extension.containing_type]
            return of_files(says.files[holder])
        return says(request)

    files, _ = await reflect(await serve(answers), "svc")
    pool = schema(files).pool
    assert [pool.FindExtensionByName(name).number for name in ("p.one", "p.Holder.words")] == [100, 1]


async def test_a_server_that_ends_over_extensions(serve: Serve, extended: FileDescriptorSet) -> None:
    says = Says(extended)

    def answers(request: ServerReflectionRequest) -> Any:
        return grpc.StatusCode.UNIMPLEMENTED if request.all_extension_numbers_of_type else says(request)

    files, _ = await reflect(await serve(answers), "svc")
    assert [file.name for file in files.file] == ["main.proto"]


async def test_the_older_version(serve: Serve, extended: FileDescriptorSet) -> None:
    address = await serve(Says(extended), version="grpc.reflection.v1alpha")
    assert (await reflect(address, "svc"))[1] == ["p.S"]


# --- what no server should do ------------------------------------------------------------------------------------


def endless(request: ServerReflectionRequest) -> ServerReflectionResponse:
    """Every file imports another one."""
    if request.list_services:
        return listing("p.S")
    number = int(request.file_by_filename or 0)
    return of_files(FileDescriptorProto(name=str(number), dependency=[str(number + 1)]))


def huge(request: ServerReflectionRequest) -> ServerReflectionResponse:
    if request.list_services:
        return listing("p.S", "p.T", "p.U")
    return of_files(FileDescriptorProto(name=request.file_containing_symbol, package="x" * 500_000))


def many_extensions(request: ServerReflectionRequest) -> ServerReflectionResponse:
    if request.list_services:
        return listing("p.S")
    if request.all_extension_numbers_of_type:
        return ServerReflectionResponse(all_extension_numbers_response={"extension_number": range(1, 100_000)})
    message = DescriptorProto(name="M", extension_range=[DescriptorProto.ExtensionRange(start=1, end=2**29)])
    return of_files(FileDescriptorProto(name="a", package="p", message_type=[message]))


def in_a_circle(request: ServerReflectionRequest) -> ServerReflectionResponse:
    if request.list_services:
        return listing("p.S")
    return of_files(
        FileDescriptorProto(name="a", dependency=["b"]), FileDescriptorProto(name="b", dependency=["c", "a"]),
        FileDescriptorProto(name="c", dependency=["b"]),
    )  # fmt: skip


def refusing_services(request: ServerReflectionRequest) -> ServerReflectionResponse:
    return listing("p.S") if request.list_services else not_found("p.S is a secret")


def lacking(request: ServerReflectionRequest) -> ServerReflectionResponse:
    if request.list_services:
        return listing("p.S")
    if request.file_by_filename:
        return not_found("gone")
    return of_files(FileDescriptorProto(name="a", dependency=["b"]))


def garbled(request: ServerReflectionRequest) -> ServerReflectionResponse:
    if request.list_services:
        return listing("p.S")
    return ServerReflectionResponse(file_descriptor_response={"file_descriptor_proto": [b"\xff\xff"]})


def silent_midway(request: ServerReflectionRequest) -> object:
    return listing("p.S") if request.list_services else NEVER


@pytest.mark.parametrize(
    ("answers", "kind", "reason"),
    [
        (endless, BindError, "too much of itself: more than 50 files"),
        (huge, BindError, "too much of itself: more than 1 MB"),
        (many_extensions, BindError, "too much of itself: more than 5000 extensions"),
        (lambda _: listing(*(f"p.S{n}" for n in range(6000))), BindError, "too much of itself: 6000 services"),
        (lambda _: not_found("closed on Sundays"), Unreachable, "its services: closed on Sundays"),
        (refusing_services, Unreachable, "p.S: p.S is a secret"),
        (lacking, Unreachable, r"imports 'b', which the server does not have \(gone\)"),
        (garbled, Unreachable, "can't be read"),
        (lambda _: None, Unreachable, "it ends without an answer"),
        (lambda _: NEVER, Unreachable, "did not answer within 0.5 s"),
        (silent_midway, Unreachable, "did not answer within 0.5 s"),
        (lambda _: grpc.StatusCode.PERMISSION_DENIED, Unreachable, "PERMISSION_DENIED: no more of this"),
        (lambda _: grpc.StatusCode.UNIMPLEMENTED, BindError, "offers no server reflection"),
    ],
)
async def test_what_no_server_should_do(
    serve: Serve, answers: Answers, kind: type[BindError], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "did not answer" in reason:
        monkeypatch.setattr(reflection, "TIMEOUT", 0.5)
    monkeypatch.setattr(conversation, "MAX_BYTES", 1024**2)
    monkeypatch.setattr(conversation, "MAX_FILES", 50)
    with pytest.raises(BindError, match=reason) as caught:
        await reflect(await serve(answers), "svc")
    assert type(caught.value) is kind


async def test_imports_in_a_circle(serve: Serve) -> None:
    files, _ = await reflect(await serve(in_a_circle), "svc")
    with pytest.raises(BindError, match="imports itself in a circle"):
        schema(files)
