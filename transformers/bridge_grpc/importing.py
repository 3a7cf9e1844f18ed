"""``hms-bridge import grpc``: a ready route spec for a service that exists already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bridge.api import BindError, Context, Fault, Tls, Upstream
from bridge_grpc.mapping.rules import publish
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Method, Schema, schema
from bridge_grpc.schema.reflection import reflect
from bridge_grpc.schema.sources import read_set

_LIVE = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^\s/:\[\]]+):(\d{1,5})")


class GrpcImport(BaseModel):
    """From a live server, .proto files or a descriptor set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: list[str] = Field(description="HOST:PORT with reflection, .proto files, or a descriptor set.")
    tls: bool = Field(default=False, description="Ask the live server over TLS.")
    ca: str = Field(default="", description="A PEM file of the authorities to trust.")
    server_name: str = Field(default="", description="What the server's certificate bears, where that is not its host.")


async def import_spec(asked: GrpcImport, context: Context) -> tuple[str, list[str]]:
    """YAML text for the source, and notes on what can't be published. What the reader must settle stands in the text.

    :raises BindError: it can't be read or reached.
    """
    hints: list[str] = []
    source, live = asked.source, _LIVE.fullmatch(asked.source[0]) if len(asked.source) == 1 else None
    if live is not None:
        return await _from_server(live[1].strip("[]"), int(live[2]), asked, context, hints)
    if asked.tls:
        raise BindError(Fault("--tls says how a live server is asked; files need none of it"))
    if source and all(name.endswith(".proto") for name in source):
        root, names = _root([Path(name) for name in source], context.proto_dir, hints)
        made = schema(compile_protos(names, root, key=""), str(root))
        services = [name for name, methods in made.services.items() if any(m.file in names for m in methods)]
        options = f"protos: [{', '.join(names)}]"
    elif len(source) == 1:
        made = schema(read_set(Path(source[0])), source[0])
        services = list(made.services)
        _, names = _root([Path(source[0])], context.proto_dir, hints)
        options = f"descriptor_set: {names[0]}"
    else:
        raise BindError(Fault("give one HOST:PORT, one or more .proto files, or one descriptor set"))
    upstream = f"{_word(services, 'service')}-svc:50051"
    hints.append(f"upstream: {upstream} is a guess; name the service and port as your mesh does.")
    return _spec(made, services, options, upstream, hints, source[0])


async def _from_server(
    host: str, port: int, asked: GrpcImport, context: Context, hints: list[str]
) -> tuple[str, list[str]]:
    files, services = await reflect(context.call, host, str(port), key="", tls=_tls(asked, host))
    upstream = _upstream(host, port, hints)
    if asked.tls:
        connection = _connection(asked, host, upstream, context.proto_dir.parent, hints)
        upstream = f"grpcs://{upstream}{connection}"
    return _spec(schema(files, asked.source[0]), services, "reflection: true", upstream, hints, asked.source[0])


def _tls(asked: GrpcImport, host: str) -> Tls | None:
    if not asked.tls:
        if asked.ca or asked.server_name:
            raise BindError(Fault("--ca and --server-name go with --tls"))
        return None
    try:
        roots = Path(asked.ca).read_bytes() if asked.ca else None
    except OSError as error:
        raise BindError(Fault(f"it can't be read: {error.strerror}", file=asked.ca)) from None
    return Tls(roots=roots, server_name=asked.server_name or host)


def _connection(asked: GrpcImport, host: str, upstream: str, home: Path, hints: list[str]) -> str:
    """The line that says whom to trust and under which name, where the mesh name doesn't say it; else nothing."""
    said = {}
    if asked.ca:
        path, secrets = Path(asked.ca).resolve(), (home / "secrets").resolve()
        if path.is_relative_to(secrets):
            said["ca"] = f"secrets/{path.relative_to(secrets).as_posix()}"
        else:
            said["ca"] = f"secrets/{path.name}"
            hints.append(f"copy {asked.ca} into {home / 'secrets'}; that is where secrets are read from.")
    bears = asked.server_name or host
    if bears != upstream.rpartition(":")[0]:
        said["server_name"] = bears
    return f"\nconnection: {{{', '.join(f'{key}: {value}' for key, value in said.items())}}}" if said else ""


def _upstream(host: str, port: int, hints: list[str]) -> str:
    """A mesh name for a live server: its host's name, or a made-up one where the host is an address."""
    name = f"{host}:{port}"
    try:
        Upstream.parse(name)
    except ValueError:
        name = f"grpc-svc:{port}"
        hints.append(f"a spec names no address: map {name} to {host}:{port} in mesh.yml.")
    return name


def _root(paths: Sequence[Path], proto_dir: Path, hints: list[str]) -> tuple[Path, list[str]]:
    """Where the files lie, and their names below it: the proto folder, or the folder that holds them all."""
    resolved = [path.resolve() for path in paths]
    for path, given in zip(resolved, paths, strict=True):
        if not path.is_file():
            inside = (proto_dir / given).resolve()
            if not inside.is_file():
                raise BindError(Fault("there is no such file", file=str(given)))
            resolved[resolved.index(path)] = inside
    root = proto_dir.resolve()
    if not all(path.is_relative_to(root) for path in resolved):
        root = Path(*_common(resolved))
        hints.append(f"copy what lies in {root} into {proto_dir}; the gateway reads nothing outside that folder.")
    return root, [path.relative_to(root).as_posix() for path in resolved]


def _common(paths: Sequence[Path]) -> list[str]:
    parts = []
    for step in zip(*(path.parent.parts for path in paths), strict=False):
        if len(set(step)) > 1:
            break
        parts.append(step[0])
    return parts


def _word(services: Sequence[str], default: str) -> str:
    """``tally.v1.CountService`` -> ``count``, for names and paths."""
    last = services[0].rpartition(".")[2].removesuffix("Service") if services else ""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", last or default).lower()


def _spec(
    made: Schema, services: Sequence[str], options: str, upstream: str, hints: list[str], source: str
) -> tuple[str, list[str]]:
    if not services:
        raise BindError(Fault("there is no service in it", file=source))
    word = _word(services, "service")
    methods: list[Method] = [method for service in services for method in made.services[service]]
    published = publish(f"/{word}", methods, (), {method.full_name: method for method in methods})
    lines = [
        f"#   {rule.http_method} /{word}{rule.template.text} -> {rule.method.full_name}" for rule in published.rules
    ]
    text = "\n".join(
        [
            *(f"# Settle this first: {hint}" for hint in hints),
            f"# Publishes {', '.join(services)}:",
            *lines,
            f"route: /{word}",
            f"upstream: {upstream}",
            f"auth: {{type: JWT, audience: {word.upper().replace('-', '_')}_PUBLIC}}",
            "rate_limit: {rps: 50, burst: 100}",
            "timeout: 5s",
            "transform:",
            "  request: grpc",
            "  response: json",
            f"  grpc: {{{options}}}",
            "",
        ]
    )
    return text, published.skipped
