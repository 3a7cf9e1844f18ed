"""The protoc of grpcio-tools, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import _protoc_compiler  # pyright: ignore[reportAttributeAccessIssue]  # an extension module

protoc: Any = _protoc_compiler
# protoc's plug-in registry is not documented as thread-safe.
protoc_lock = Lock()


def descriptor_set(name: str, folders: Sequence[Path], out: Path) -> FileDescriptorSet | None:
    """`name` and all that it imports, with source info; None where protoc refuses it, which writes its reasons to
    standard error. `protoc_lock` is to be held.

    :param folders: as ``-I``. :param out: a file to write.
    """
    arguments = ["protoc", *(f"-I{folder}" for folder in folders), "--include_imports", "--include_source_info"]
    arguments += [f"--descriptor_set_out={out}", name]
    if protoc.run_main([argument.encode() for argument in arguments]) or not out.is_file():
        return None
    return FileDescriptorSet.FromString(out.read_bytes())
