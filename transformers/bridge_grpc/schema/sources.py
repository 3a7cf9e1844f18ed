"""Schemas from files: ``.proto`` files or a descriptor set."""

from __future__ import annotations

import asyncio
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from bridge.api import BindError, Context, Fault
from bridge_grpc.options import GrpcOptions
from bridge_grpc.schema.compile_protos import compile_protos, expand, hint, place
from bridge_grpc.schema.pool import Schema, schema

MAX_SET_BYTES = 64 * 1024**2
_KEY = ("transform", "grpc", "descriptor_set")


async def load(options: GrpcOptions, context: Context) -> tuple[Schema, tuple[str, ...], list[str]]:
    """The schema of the files in `options`, the full names of their services (without those of imports), and notes on
    files that are shadowed.

    :raises BindError: a file can't be read or compiled.
    """
    return await asyncio.to_thread(_from_files, options, context.proto_dir)


def _from_files(options: GrpcOptions, root: Path) -> tuple[Schema, tuple[str, ...], list[str]]:
    if options.descriptor_set is not None:
        path = place(root, options.descriptor_set, _KEY)
        if path is None:
            name = options.descriptor_set
            reason = f"there is no file {name!r} in the proto folder{hint(name, root)}"
            raise BindError(Fault(reason, _KEY, str(root)))
        files = read_set(path)
        grpc_schema = schema(files, str(path), key=_KEY)
        return grpc_schema, tuple(grpc_schema.services), []
    key, notes = ("transform", "grpc", "protos"), list[str]()
    names = frozenset(expand(options.protos, root, options.proto_paths, key))
    files = compile_protos(sorted(names), root, paths=options.proto_paths, key=key, notes=notes, strict=options.strict)
    grpc_schema = schema(files, str(root), key=key)
    service_names = {
        f"{file.package}.{service.name}".lstrip(".")
        for file in files.file
        if file.name in names
        for service in file.service
    }
    return grpc_schema, tuple(name for name in grpc_schema.services if name in service_names), notes


def read_set(path: Path) -> FileDescriptorSet:
    """A file that ``protoc --descriptor_set_out`` or ``buf build`` wrote.

    :raises BindError: it can't be read, or is not a descriptor set.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SET_BYTES + 1)
    except OSError as error:
        raise BindError(Fault(error.strerror or "it can't be read", _KEY, str(path))) from None
    if len(raw) > MAX_SET_BYTES:
        raise BindError(Fault(f"it is larger than {MAX_SET_BYTES // 1024**2} MB", _KEY, str(path)))
    try:
        files = FileDescriptorSet.FromString(raw)
    except DecodeError:
        raise BindError(Fault("it is not a descriptor set (protoc --descriptor_set_out)", _KEY, str(path))) from None
    if not files.file or not all(file.name for file in files.file):
        raise BindError(Fault("it holds no file descriptors", _KEY, str(path)))
    return files
