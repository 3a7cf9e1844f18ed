"""A schema: a descriptor pool, its services, its comments and their lines.

Pools are not shared between different schemas, so two routes may have different messages under one name. Routes with
identical descriptors share a pool and, with it, the compiled codecs.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    SourceCodeInfo,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from bridge.api import BindError, Fault, KeyPath
from bridge_grpc.schema.shipped import KNOWN_OPTIONS, defining_files, shipped_file

_shared: WeakValueDictionary[bytes, Schema] = WeakValueDictionary()
#: By path, as in ``SourceCodeInfo``.
Lines = dict[tuple[int, ...], SourceCodeInfo.Location]

_UNRESOLVED = re.compile(r"couldn't resolve name '\.?([^']+)'")  #: in the reasons of `DescriptorPool`

_shared_lock = threading.Lock()  # pools are built in worker threads


@dataclass(frozen=True)
class Method:
    """One rpc: its descriptors, its annotation (a ``google.api.HttpRule`` or None), its file and line."""

    service: str
    name: str
    input: Descriptor
    output: Descriptor
    client_streaming: bool
    server_streaming: bool
    rule: Any
    file: str
    line: int
    comment: str
    deprecated: bool
    #: ``idempotency_level = NO_SIDE_EFFECTS``
    safe: bool

    @property
    def full_name(self) -> str:
        return f"{self.service}.{self.name}"

    @property
    def path(self) -> str:
        """gRPC's ``:path``."""
        return f"/{self.service}/{self.name}"

    @property
    def streaming(self) -> bool:
        return self.client_streaming or self.server_streaming


class Schema:
    """Made by `schema`.

    :ivar services: full name -> methods, in the order of the files.
    :ivar codecs: the compiled codecs by their options; routes with the same schema share them.
    """

    def __init__(self, files: Sequence[FileDescriptorProto], origin: str, key: KeyPath) -> None:
        self.pool = DescriptorPool()
        self._files = files
        for file in files:
            try:
                self.pool.AddSerializedFile(_distinct(file).SerializeToString())
            except TypeError as error:
                raise BindError(Fault(_reason(file, files, error), key, origin)) from None
        self.codecs: dict[object, Any] = {}
        self.services: dict[str, tuple[Method, ...]] = {}
        for file in files:
            lines = _lines(file) if file.service else {}
            for number, service in enumerate(file.service):
                full_name = f"{file.package}.{service.name}".lstrip(".")
                self.services[full_name] = tuple(self._methods(file, number, full_name, lines))

    def _methods(self, file: FileDescriptorProto, number: int, full_name: str, lines: Lines) -> Iterator[Method]:
        descriptor = self.pool.FindServiceByName(full_name)
        for position, method in enumerate(file.service[number].method):
            place = lines.get((6, number, 2, position))
            rule_place = lines.get((6, number, 2, position, 4, annotations_pb2.HTTP_FIELD_NUMBER), place)
            types = descriptor.methods_by_name[method.name]
            yield Method(
                full_name,
                method.name,
                types.input_type,
                types.output_type,
                method.client_streaming,
                method.server_streaming,
                _rule(method),
                file.name,
                rule_place.span[0] + 1 if rule_place else 0,
                _comment(place),
                method.options.deprecated,
                method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
            )

    def message_class(self, descriptor: Descriptor) -> Any:
        """The Python class of a message; there is one for each descriptor."""
        return GetMessageClass(descriptor)

    @cached_property
    def comments(self) -> dict[str, str]:
        """The comments of messages, fields, enums, enum values and services, by full name."""
        comments: dict[str, str] = {}
        for file in self._files:
            lines = _lines(file)
            for path, name in _walk(file):
                text = _comment(lines.get(path))
                if text:
                    comments[name] = text
        return comments


def schema(files: FileDescriptorSet, origin: str = "", *, key: KeyPath = ("transform", "grpc")) -> Schema:
    """The schema of a descriptor set; the existing one where an identical set is in use.

    Files may come in any order. Well-known and googleapis types that are missing are added.

    :param origin: the file of faults.
    :raises BindError: a file's dependency is missing, or a descriptor is not valid.
    """
    sequence = list(_in_order(files, origin, key))
    digest = hashlib.sha256(b"".join(file.SerializeToString(deterministic=True) for file in sequence)).digest()
    with _shared_lock:
        instance = _shared.get(digest)
    if instance is None:
        instance = Schema(sequence, origin, key)
        with _shared_lock:
            instance = _shared.setdefault(digest, instance)
    return instance


def _in_order(files: FileDescriptorSet, origin: str, key: KeyPath) -> Iterator[FileDescriptorProto]:
    """Dependencies before their dependants."""
    by_name = {file.name: file for file in files.file}
    visited: set[str] = set()
    # (file, the file that imports it, whether its dependencies come first); no recursion, since a hostile set may nest
    # deeper than Python allows
    stack: list[tuple[str, str, bool]] = [(file.name, "", False) for file in reversed(files.file)]
    active: set[str] = set()
    while stack:
        name, importer, ready = stack.pop()
        if ready:
            active.discard(name)
            visited.add(name)
            yield by_name[name]
            continue
        if name in visited:
            continue
        if name in active:
            raise BindError(Fault(f"{name} imports itself in a circle", key, origin))
        if name not in by_name:
            shipped = shipped_file(name)
            if shipped is None:
                raise BindError(Fault(f"{importer} imports {name!r}, which the descriptor set lacks", key, origin))
            by_name[name] = shipped
        active.add(name)
        stack.append((name, importer, True))
        stack += [(dependency, name, False) for dependency in by_name[name].dependency if dependency not in visited]


def _reason(file: FileDescriptorProto, files: Iterable[FileDescriptorProto], error: TypeError) -> str:
    """Why the pool refuses `file`."""
    absent = [
        each.name for each in files if KNOWN_OPTIONS.match(each.name) and each == FileDescriptorProto(name=each.name)
    ]
    unresolved = _UNRESOLVED.search(str(error))
    type_name = unresolved[1] if unresolved else ""
    if owner := defining_files(type_name, absent):
        remedy = "use the service's protos instead, with that file in the proto folder"
        return f"{file.name} needs {type_name} of {owner}, which the descriptor set or the server lacks: {remedy}"
    return f"{file.name} can't be used: {error}"


def _rule(method: MethodDescriptorProto) -> Any:
    extension: Any = annotations_pb2.http
    return method.options.Extensions[extension] if method.options.HasExtension(extension) else None


def _distinct(file: FileDescriptorProto) -> FileDescriptorProto:
    """The file, in which fields that have the same JSON name have their proto names in JSON. protoc accepts ``foo_bar``
    beside ``fooBar`` in proto2 with a warning; the pool does not, and JSON could show only one of them."""
    if file.syntax not in ("", "proto2"):
        return file
    if not any(_colliding(each) for message in file.message_type for each in _with_nested(message)):
        return file
    copy = FileDescriptorProto.FromString(file.SerializeToString())
    for message in copy.message_type:
        for each in _with_nested(message):
            for field in _colliding(each):
                field.json_name = field.name
    return copy


def _with_nested(message: DescriptorProto) -> Iterator[DescriptorProto]:
    stack = [message]
    while stack:
        yield (each := stack.pop())
        stack += each.nested_type


def _colliding(message: DescriptorProto) -> list[FieldDescriptorProto]:
    counts = Counter(field.json_name for field in message.field)
    return [field for field in message.field if field.json_name and counts[field.json_name] > 1]


def _lines(file: FileDescriptorProto) -> Lines:
    return {tuple(location.path): location for location in file.source_code_info.location}


def _comment(location: SourceCodeInfo.Location | None) -> str:
    """The leading comment, else the trailing one, without margins."""
    if location is None:
        return ""
    text = location.leading_comments or location.trailing_comments
    return "\n".join(line.strip().removeprefix("* ").strip() for line in text.strip().splitlines()).strip()


def _walk(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Path in ``SourceCodeInfo`` and full name of everything that may have a comment."""
    prefix = f"{file.package}." if file.package else ""
    for position, service in enumerate(file.service):
        yield (6, position), prefix + service.name
    for position, message in enumerate(file.message_type):
        yield from _walk_message((4, position), prefix + message.name, message)
    for position, enum in enumerate(file.enum_type):
        yield from _walk_enum((5, position), prefix, enum)


def _walk_message(path: tuple[int, ...], name: str, message: DescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for position, field in enumerate(message.field):
        yield (*path, 2, position), f"{name}.{field.name}"
    for position, nested in enumerate(message.nested_type):
        yield from _walk_message((*path, 3, position), f"{name}.{nested.name}", nested)
    for position, enum in enumerate(message.enum_type):
        yield from _walk_enum((*path, 4, position), f"{name}.", enum)


def _walk_enum(path: tuple[int, ...], prefix: str, enum: EnumDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, prefix + enum.name
    for position, value in enumerate(enum.value):
        yield (*path, 2, position), f"{prefix}{enum.name}.{value.name}"
