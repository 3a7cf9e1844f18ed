"""The Python modules of ``protos/``, compiled when the service starts: generated code is not committed."""

from __future__ import annotations

import importlib
import sys
import tempfile
from importlib import resources
from pathlib import Path
from types import ModuleType

PROTOS = Path(__file__).resolve().parents[3] / "protos"


def modules(proto: str) -> tuple[ModuleType, ModuleType]:
    """The message module and the gRPC module of `proto`, a path below ``protos/``."""
    from grpc_tools import protoc

    well_known = resources.files("grpc_tools") / "_proto"
    # google/api/annotations.proto comes with googleapis-common-protos, beside its compiled modules.
    google = Path(next(iter(importlib.import_module("google.api").__path__))).parents[1]
    with tempfile.TemporaryDirectory(prefix="election-protos-") as folder:
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={PROTOS}",
                f"--proto_path={well_known}",
                f"--proto_path={google}",
                f"--python_out={folder}",
                f"--grpc_python_out={folder}",
                proto,
            ]
        )
        if code:
            sys.exit(f"{PROTOS / proto} does not compile")
        sys.path.insert(0, folder)
        try:
            name = proto.removesuffix(".proto").replace("/", ".")
            return importlib.import_module(f"{name}_pb2"), importlib.import_module(f"{name}_pb2_grpc")
        finally:
            sys.path.remove(folder)
