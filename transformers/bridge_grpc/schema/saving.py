"""Files of a schema that an import saves in the gateway's home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bridge.api import BindError, Fault, ImportOutput
from bridge_grpc.schema.compile_protos import find_import


def save(output: ImportOutput, name: str, file: Path) -> None:
    """Have the content of `file` saved as `name`, a path below the home, if the import saves at all.

    :raises BindError: it can't be read.
    """
    if output.saves:
        try:
            output.files[name] = file.read_bytes()
        except OSError as error:
            raise BindError(Fault(f"it can't be read: {error.strerror}", file=str(file))) from None


def save_protos(
    files: FileDescriptorSet, names: Sequence[str], root: Path, output: ImportOutput, paths: Sequence[str] = ()
) -> None:
    """Have the ``.proto`` files of `files` saved below ``protos/`` as imports name them, but for those that the gateway
    has installed.

    :param names, root, paths: as of `compile_protos`.
    """
    for file in files.file:
        path = find_import(file.name, names, root, paths)
        if path is not None:
            save(output, f"protos/{file.name}", path)
