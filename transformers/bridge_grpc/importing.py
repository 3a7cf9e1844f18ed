"""``hms-bridge import grpc``: a route spec for a service that exists."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bridge.api import BindError, Context, Fault, Tls, Upstream
from bridge_grpc.mapping.http_rule import Template, parse
from bridge_grpc.mapping.rules import publish
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Method, Schema, schema
from bridge_grpc.schema.reflection import reflect
from bridge_grpc.schema.saving import save, save_protos
from bridge_grpc.schema.sources import read_set

_LIVE = re.compile(r"(?:(?P<scheme>grpcs?|https?)://)?(?P<host>\[[0-9A-Fa-f:]+\]|[^\s/:\[\]]+):(?P<port>\d+)/?")


class GrpcImport(BaseModel):
    """From a live server, .proto files or a descriptor set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: list[str] = Field(description="HOST:PORT with reflection, .proto files, or a descriptor set.")
    proto_path: list[str] = Field(
        default_factory=list,
        description="A folder in which files and imports are looked up, as protoc's -I; may be repeated.",
        json_schema_extra={"short": "-I"},
    )
    tls: bool = Field(default=False, description="Ask the live server over TLS.")
    ca: str = Field(default="", description="A PEM file of the authorities to trust.")
    server_name: str = Field(default="", description="What the server's certificate bears, where that is not its host.")


async def import_spec(request: GrpcImport, context: Context) -> tuple[str, list[str]]:
    """A spec as YAML, and notes on what can't be published. Comments in the spec name what is left to decide.

    :raises BindError: the source can't be read or reached.
    """
    hints: list[str] = []
    source, address = request.source, _LIVE.fullmatch(request.source[0]) if len(request.source) == 1 else None
    if address is not None:
        if not 0 < int(address["port"]) < 65536:
            raise BindError(Fault("a port is between 1 and 65535", file=source[0]))
        if address["scheme"] in ("grpcs", "https"):
            request = request.model_copy(update={"tls": True})
        return await _from_server(address["host"].strip("[]"), int(address["port"]), request, context, hints)
    if request.tls:
        raise BindError(Fault("--tls goes with a live server, not with files"))
    notes: list[str] = []
    if source and all(name.endswith(".proto") for name in source):
        root, names, paths = _protos(source, request.proto_path, context, hints)
        files = compile_protos(names, root, paths=paths, key=(), notes=notes)
        if root != context.proto_dir.resolve():
            save_protos(files, names, root, context.output, paths)
            paths = []
        grpc_schema = schema(files, str(root))
        services = [name for name, methods in grpc_schema.services.items() if any(m.file in names for m in methods)]
        options = f"protos: [{', '.join(names)}]" + (f", proto_paths: [{', '.join(paths)}]" if paths else "")
    elif request.proto_path:
        raise BindError(Fault("--proto-path goes with .proto files"))
    elif len(source) == 1:
        path = next((path for path in (Path(source[0]), context.proto_dir / source[0]) if path.exists()), None)
        if path is None:
            reason = "No such file; a live server is HOST:PORT, such as localhost:50051"
            raise BindError(Fault(reason, file=source[0]))
        grpc_schema = schema(read_set(path), source[0])
        services = list(grpc_schema.services)
        root, names = _root([Path(source[0])], context, hints)
        if root != context.proto_dir.resolve():
            save(context.output, f"protos/{names[0]}", root / names[0])
        options = f"descriptor_set: {names[0]}"
    else:
        raise BindError(Fault("give one HOST:PORT, one or more .proto files, or one descriptor set"))
    upstream = f"{_word(services, 'service')}-svc:50051"
    if not context.output.saves:
        hints.append(_mesh_hint(upstream))
    context.output.addresses.append("127.0.0.1:50051")  # no file says where the service is
    hints.append(f"upstream: {upstream} is a guess; name the service and port as your mesh does.")
    text, skipped = _spec(grpc_schema, services, options, upstream, hints, source[0])
    return text, [*notes, *skipped]


async def _from_server(
    host: str, port: int, request: GrpcImport, context: Context, hints: list[str]
) -> tuple[str, list[str]]:
    files, services = await reflect(context.call, host, str(port), key=(), tls=_tls(request, host))
    upstream = _upstream(host, port, hints if not context.output.saves else [])
    context.output.addresses.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    if request.tls:
        connection = _connection(request, host, upstream, context, hints)
        upstream = f"grpcs://{upstream}{connection}"
    return _spec(schema(files, request.source[0]), services, "reflection: true", upstream, hints, request.source[0])


def _tls(request: GrpcImport, host: str) -> Tls | None:
    if not request.tls:
        if request.ca or request.server_name:
            raise BindError(Fault("--ca and --server-name go with --tls"))
        return None
    try:
        roots = Path(request.ca).read_bytes() if request.ca else None
    except OSError as error:
        raise BindError(Fault(f"it can't be read: {error.strerror}", file=request.ca)) from None
    return Tls(roots=roots, server_name=request.server_name or host)


def _connection(request: GrpcImport, host: str, upstream: str, context: Context, hints: list[str]) -> str:
    """The spec's ``connection``, with a line break before it; empty where the defaults are right."""
    options = {}
    if request.ca:
        path, secrets = Path(request.ca).resolve(), (context.proto_dir.parent / "secrets").resolve()
        if path.is_relative_to(secrets):
            options["ca"] = f"secrets/{path.relative_to(secrets).as_posix()}"
        else:
            options["ca"] = f"secrets/{path.name}"
            save(context.output, options["ca"], path)
            if not context.output.saves:
                hints.append(f"copy {request.ca} into {secrets}; secrets are read from there.")
    server_name = request.server_name or host
    if server_name != upstream.rpartition(":")[0]:
        options["server_name"] = server_name
    return f"\nconnection: {{{', '.join(f'{key}: {value}' for key, value in options.items())}}}" if options else ""


def _upstream(host: str, port: int, hints: list[str]) -> str:
    """A mesh name for a live server: its host name, or a placeholder where the host is an address."""
    name = f"{host}:{port}"
    try:
        Upstream.parse(name)
    except ValueError:
        name = f"grpc-svc:{port}"
        hints.append(f"a spec can't name an address: map {name} to {host}:{port} in mesh.yml.")
    else:
        hints.append(_mesh_hint(name))
    return name


def _mesh_hint(name: str) -> str:
    return f"the mesh must know {name}; with the static source, add it to mesh.yml."


def _protos(
    source: Sequence[str], folders: Sequence[str], context: Context, hints: list[str]
) -> tuple[Path, list[str], list[str]]:
    """The folder to compile in; below it, the files' names as imports have them, and the folders to look them up in.

    :param folders: of ``--proto-path``.
    """
    folders = [part for folder in folders for part in _split(folder)]
    bases = [Path(folder).resolve() for folder in folders]
    for folder, base in zip(folders, bases, strict=True):
        if not os.path.isdir(base):
            raise BindError(Fault("there is no such folder", file=folder))
    paths = [next((base / name for base in bases if (base / name).is_file()), Path(name)) for name in source]
    if not bases:
        root, names = _root(paths, context, hints)
        return root, names, []
    files = [path.resolve() if os.path.isfile(path) else (context.proto_dir / path).resolve() for path in paths]
    for path, file in zip(paths, files, strict=True):
        if not os.path.isfile(file):
            raise BindError(Fault(f"there is no such file, here or below {', '.join(folders)}", file=str(path)))
    root = context.proto_dir.resolve()
    if not all(path.is_relative_to(root) for path in (*files, *bases)):
        root = Path(os.path.commonpath([*(file.parent for file in files), *bases]))
        if not context.output.saves:
            below = " and ".join(map(str, bases))
            hints.append(f"copy what lies below {below} into {context.proto_dir}; the gateway reads nothing outside.")
    tops = [*bases, root]
    names = [next(file.relative_to(top).as_posix() for top in tops if file.is_relative_to(top)) for file in files]
    return root, names, [base.relative_to(root).as_posix() for base in bases if base != root]


def _split(folder: str) -> list[str]:
    """The folders of one ``-I``, as protoc reads it: ``-I=a`` is ``-I a``, and ``a:b`` are two."""
    return [folder] if Path(folder).is_dir() else [part for part in folder.removeprefix("=").split(os.pathsep) if part]


def _root(paths: Sequence[Path], context: Context, hints: list[str]) -> tuple[Path, list[str]]:
    """The proto folder, or the folder that contains all files, and the files' names below it."""
    proto_dir = context.proto_dir
    files = [path.resolve() if os.path.isfile(path) else (proto_dir / path).resolve() for path in paths]
    for path, file in zip(paths, files, strict=True):
        if not os.path.isfile(file):
            raise BindError(Fault("there is no such file", file=str(path)))
    root = proto_dir.resolve()
    if not all(file.is_relative_to(root) for file in files):
        root = Path(os.path.commonpath([file.parent for file in files]))
        if not context.output.saves:
            hints.append(f"copy the files of {root} into {proto_dir}; the gateway reads nothing outside that folder.")
    return root, [file.relative_to(root).as_posix() for file in files]


def _word(services: Sequence[str], default: str) -> str:
    """``tally.v1.CountService`` -> ``count``, for names and paths."""
    last = services[0].rpartition(".")[2].removesuffix("Service") if services else ""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", last or default).lower()


def _public_path(route: str, template: Template) -> str:
    """The path of a rule of the route; one that begins with the route's own path is the whole path."""
    return template.text if len(parse(template.text).segments) > len(template.segments) else route + template.text


def _spec(
    schema: Schema, services: Sequence[str], options: str, upstream: str, hints: list[str], source: str
) -> tuple[str, list[str]]:
    if not services:
        raise BindError(Fault("there is no service in it", file=source))
    word = _word(services, "service")
    methods: list[Method] = [method for service in services for method in schema.services[service]]
    route = f"/v1/{word}"
    publication = publish(route, methods, (), {method.full_name: method for method in methods})
    lines = [
        f"#   {rule.http_method} {_public_path(route, rule.template)} -> {rule.method.full_name}"
        for rule in publication.rules
    ]
    text = "\n".join(
        [
            *(f"# Before it serves: {hint}" for hint in hints),
            f"# Publishes {', '.join(services)}:",
            *lines,
            f"route: {route}",
            f"upstream: {upstream}",
            f"auth: {{type: JWT, audience: {word.upper().replace('-', '_')}}}",
            "rate_limit: {rps: 50, burst: 100}",
            "timeout: 5s",
            "transform:",
            "  request: grpc",
            "  response: json",
            f"  grpc: {{{options}}}",
            "",
        ]
    )
    return text, publication.skipped
