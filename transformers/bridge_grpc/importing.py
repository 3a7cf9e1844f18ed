"""``hms-bridge import grpc``: a ready route spec for a service that exists already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.api import BindError, Context, Fault, Tls, Upstream
from bridge_grpc.mapping.rules import publish
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import Method, Schema, schema
from bridge_grpc.schema.reflection import reflect
from bridge_grpc.schema.sources import read_set

_LIVE = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^\s/:\[\]]+):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a live server is connected to: over TLS, by whose word (a PEM file), and under which name."""

    tls: bool = False
    ca: str = ""
    server_name: str = ""


async def import_spec(source: Sequence[str], context: Context, asking: Asking | None = None) -> tuple[str, list[str]]:
    """YAML text for `source`, and notes on what can't be published. What the reader must settle stands in the text.

    `source` is one ``HOST:PORT`` of a live server with reflection, one or more ``.proto`` paths, or one descriptor set.

    :raises BindError: it can't be read or reached.
    """
    hints: list[str] = []
    asking, connection = asking or Asking(), ""
    live = _LIVE.fullmatch(source[0]) if len(source) == 1 else None
    if live is not None:
        host, port = live[1].strip("[]"), int(live[2])
        files, services = await reflect([(host, port)], source[0], key="", tls=_tls(asking, host))
        made, options, upstream = schema(files, source[0]), "reflection: true", _upstream(host, port, hints)
        if asking.tls:
            connection = _connection(asking, host, upstream, context.proto_dir.parent, hints)
            upstream = f"grpcs://{upstream}"
    elif asking.tls:
        raise BindError(Fault("--tls says how a live server is asked; files need none of it"))
    elif source and all(name.endswith(".proto") for name in source):
        root, names = _root([Path(name) for name in source], context.proto_dir, hints)
        files = compile_protos(names, root, key="")
        made = schema(files, str(root))
        services = [name for name, methods in made.services.items() if any(m.file in names for m in methods)]
        options, upstream = f"protos: [{', '.join(names)}]", f"{_word(services, 'service')}-svc:50051"
        hints.append(f"upstream: {upstream} is a guess; name the service and port as your mesh does.")
    elif len(source) == 1:
        path = Path(source[0])
        made = schema(read_set(path), source[0])
        services = list(made.services)
        _, names = _root([path], context.proto_dir, hints)
        options, upstream = f"descriptor_set: {names[0]}", f"{_word(services, 'service')}-svc:50051"
        hints.append(f"upstream: {upstream} is a guess; name the service and port as your mesh does.")
    else:
        raise BindError(Fault("give one HOST:PORT, one or more .proto files, or one descriptor set"))
    if not services:
        raise BindError(Fault("there is no service in it", file=source[0]))
    return _spec(made, services, options, upstream + connection, hints)


def _tls(asking: Asking, host: str) -> Tls | None:
    if not asking.tls:
        if asking.ca or asking.server_name:
            raise BindError(Fault("--ca and --server-name go with --tls"))
        return None
    try:
        roots = Path(asking.ca).read_bytes() if asking.ca else None
    except OSError as error:
        raise BindError(Fault(f"it can't be read: {error.strerror}", file=asking.ca)) from None
    return Tls(roots=roots, server_name=asking.server_name or host)


def _connection(asking: Asking, host: str, upstream: str, home: Path, hints: list[str]) -> str:
    """The line that says whom to trust and under which name, where the mesh name doesn't say it; else nothing."""
    said = {}
    if asking.ca:
        path, secrets = Path(asking.ca).resolve(), (home / "secrets").resolve()
        if path.is_relative_to(secrets):
            said["ca"] = f"secrets/{path.relative_to(secrets).as_posix()}"
        else:
            said["ca"] = f"secrets/{path.name}"
            hints.append(f"copy {asking.ca} into {home / 'secrets'}; that is where secrets are read from.")
    bears = asking.server_name or host
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
    made: Schema, services: Sequence[str], options: str, upstream: str, hints: list[str]
) -> tuple[str, list[str]]:
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
