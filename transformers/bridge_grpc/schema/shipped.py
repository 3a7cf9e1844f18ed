"""Schemas that are installed with the gateway: the well-known types, googleapis-common-protos, and what ``protos/``
beside this file has: ``google/iam/v1`` and the options of validators and of grpc-gateway."""

from __future__ import annotations

import importlib
import re
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from bridge_grpc.schema.protoc import descriptor_set, protoc_lock

#: Files that googleapis-common-protos has under another name.
ALIASES = {"google/longrunning/operations.proto": "google/longrunning/operations_proto.proto"}
#: Files that only define options for validators and generators of code, which say nothing to the gateway. What a schema
#: needs of them may be of another release than the shipped one.
KNOWN_OPTIONS = re.compile(
    r"buf/validate/|validate/validate\.proto|protoc-gen-(openapiv2|swagger)/options/|(.*/)?gogoproto/gogo\.proto"
)
_INSTALLED = re.compile(r"google/(protobuf|api|rpc|type|logging|longrunning|cloud|gapic)/([a-z_]+/)*[a-z0-9_]+\.proto")
_OWN = re.compile(r"(buf/validate|validate|protoc-gen-openapiv2/options|google/iam/v1)/[a-z0-9_]+\.proto")


def shipped_path(name: str) -> Path | None:
    """Where the file `name` (``google/rpc/status.proto``) is installed; None if it is not."""
    if _OWN.fullmatch(name):
        folders = [_own_folder()]
    elif name.startswith("google/") and ".." not in name:
        folders = _installed_folders()
    else:
        return None
    paths = (folder / ALIASES.get(name, name) for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def shipped_file(name: str) -> FileDescriptorProto | None:
    """The file `name` (``google/rpc/status.proto``) if it is installed, else None; an empty one in place of other
    `KNOWN_OPTIONS`, which many servers and descriptor sets lack."""
    if _OWN.fullmatch(name) and shipped_path(name):
        return _compiled(name)
    if KNOWN_OPTIONS.match(name):
        return FileDescriptorProto(name=name)
    if not _INSTALLED.fullmatch(name):
        return None
    installed = ALIASES.get(name, name)
    try:
        importlib.import_module(installed.removesuffix(".proto").replace("/", ".") + "_pb2")
        file = descriptor_pool.Default().FindFileByName(installed)
    except (ImportError, KeyError):
        return None
    descriptor = FileDescriptorProto.FromString(file.serialized_pb)
    descriptor.name = name
    return descriptor


@cache
def _compiled(name: str) -> FileDescriptorProto | None:
    folders = [_own_folder(), *_installed_folders()]
    with tempfile.TemporaryDirectory(prefix="bridge-protoc-") as folder, protoc_lock:
        files = descriptor_set(name, folders, Path(folder) / "descriptor-set")
    return next((file for file in files.file if file.name == name), None) if files else None


def _own_folder() -> Path:
    return Path(str(resources.files("bridge_grpc.schema").joinpath("protos")))


def _installed_folders() -> list[Path]:
    tools, common = resources.files("grpc_tools").joinpath("_proto"), resources.files("google.api").joinpath("../..")
    return [Path(str(tools)), Path(str(common))]
