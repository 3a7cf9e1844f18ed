"""Schemas that are installed with the gateway (the well-known types, googleapis-common-protos, ``google/iam/v1``), and
files of options that need not be there."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path, PurePosixPath

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

#: Files that googleapis-common-protos has under another name.
ALIASES = {"google/longrunning/operations.proto": "google/longrunning/operations_proto.proto"}
#: Files that only define options for validators and generators of code, which say nothing to the gateway.
KNOWN_OPTIONS = re.compile(
    r"buf/validate/|validate/validate\.proto|protoc-gen-(openapiv2|swagger)/options/|(.*/)?gogoproto/gogo\.proto"
)
_SHIPPED = re.compile(
    r"google/(protobuf|api|rpc|type|logging|longrunning|cloud|gapic|iam)/([a-z0-9_]+/)*[a-z0-9_]+\.proto"
)
#: Those of `KNOWN_OPTIONS` that packages of others have as modules.
_OTHERS = re.compile(
    r"(buf/validate|protoc-gen-(openapiv2|swagger)/options)/[a-z0-9_]+\.proto|validate/validate\.proto"
)


def shipped_path(name: str) -> Path | None:
    """Where the file `name` (``google/rpc/status.proto``) is installed; None if it is not."""
    if not name.startswith("google/") or ".." in name:
        return None
    # Each package of these files adds a folder to the namespace `google`.
    namespace = importlib.import_module("google").__path__
    folders = [Path(str(resources.files("grpc_tools").joinpath("_proto"))), *(Path(path).parent for path in namespace)]
    paths = (folder / ALIASES.get(name, name) for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def shipped_file(name: str) -> FileDescriptorProto | None:
    """The file `name` (``google/rpc/status.proto``) if it is installed, else None. Those of `KNOWN_OPTIONS`, which many
    servers and descriptor sets lack, are empty unless another package has them.

    It imports modules, so it is not for the event loop.
    """
    is_option = KNOWN_OPTIONS.match(name) is not None
    descriptor = _installed(name) if (_OTHERS if is_option else _SHIPPED).fullmatch(name) else None
    return FileDescriptorProto(name=name) if descriptor is None and is_option else descriptor


def _installed(name: str) -> FileDescriptorProto | None:
    """The descriptor that the ``_pb2`` module of the file `name` has; None where there is none that can be imported."""
    installed = ALIASES.get(name, name)
    module = installed.removesuffix(".proto").replace("/", ".").replace("-", "_") + "_pb2"
    try:
        importlib.import_module(module)
        file = descriptor_pool.Default().FindFileByName(installed)
    except Exception:  # modules made for other releases of protobuf raise errors of many types
        return None
    descriptor = FileDescriptorProto.FromString(file.serialized_pb)
    descriptor.name = name
    return descriptor


def defining_files(name: str, missing: Iterable[str]) -> str:
    """Those of the files `missing`, all of `KNOWN_OPTIONS`, that may define the type or option `name`, to be printed
    (``'buf/validate/validate.proto'``); ``""`` where none does. Their packages are named as their folders are."""
    files = [file for file in missing if f".{_package(file)}." in f".{name}"]
    return " or ".join(map(repr, files))


def _package(file: str) -> str:
    folder = "gogoproto" if file.endswith("gogoproto/gogo.proto") else str(PurePosixPath(file).parent)
    return folder.replace("/", ".").replace("-", "_")
