"""Schemas that are installed with the gateway: the well-known types and googleapis-common-protos."""

from __future__ import annotations

import importlib
import re

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

#: Files that googleapis-common-protos has under another name.
ALIASES = {"google/longrunning/operations.proto": "google/longrunning/operations_proto.proto"}
_SHIPPED = re.compile(r"google/(protobuf|api|rpc|type|logging|longrunning)/([a-z_]+/)*[a-z0-9_]+\.proto")


def shipped_file(name: str) -> FileDescriptorProto | None:
    """The file `name` (``google/rpc/status.proto``) if it is installed, else None."""
    if not _SHIPPED.fullmatch(name):
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
