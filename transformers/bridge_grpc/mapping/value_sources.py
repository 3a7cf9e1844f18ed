"""Fields of a request that the spec sets from claims, headers, secrets and constants. Clients can't override them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge.api import (
    ABSENT,
    BindError,
    Call,
    Derived,
    Fault,
    KeyPath,
    Origin,
    Secret,
    caching,
    call_values,
    claim_text,
    invalid_value,
    is_array,
    is_origin,
    missing_value,
    read_origin,
)
from bridge_grpc.codec.decode_json import Decoders, MessageReader
from bridge_grpc.mapping.parameters import Target, resolve

_MASK = "***"


@dataclass(frozen=True, slots=True)
class ValueSource:
    """One entry of ``fields``, not yet resolved against a message.

    :ivar path: the field's path, as written.
    :ivar key: its key in the spec.
    :ivar origin: the header or claim that each call has; None for a constant.
    :ivar value: the constant or the default; ABSENT: no default; None: the field stays unset.
    :ivar secret: its text is parsed like a parameter.
    """

    path: tuple[str, ...]
    key: KeyPath
    origin: Origin | None
    value: Any
    secret: Secret | None = None


def read_sources(fields: Mapping[str, Any], home: Path) -> list[ValueSource]:
    """The entries of ``fields``; secrets are read here.

    :param home: the folder that ``$file`` is relative to.
    :raises BindError: an origin is invalid, or a secret can't be read; all faults at once.
    """
    entries: list[ValueSource] = []
    faults: list[Fault] = []
    for name, value in fields.items():
        key, path = ("transform", "grpc", "fields", name), tuple(name.split("."))
        try:
            if not is_origin(value):
                if value is None:
                    raise BindError(Fault("a constant is wanted, or where the value comes from", key))
                entries.append(ValueSource(path, key, None, value))
                continue
            origin = read_origin(value, key)
            if origin.secret:
                entries.append(ValueSource(path, key, None, ABSENT, Secret(origin, home)))
            else:
                entries.append(ValueSource(path, key, origin, origin.default))
        except BindError as error:
            faults += error.faults
    if faults:
        raise BindError(faults)
    return entries


@dataclass(frozen=True, slots=True)
class TargetSource:
    """A source and its field. `value` is as the message's constructor takes it; ABSENT: unset, or no default. `secret`
    is the value that a secret has now."""

    source: ValueSource
    target: Target
    value: Any
    secret: Derived[Any] | None = None

    def read(self, call: Call) -> Any:
        """The field's value; ABSENT if it stays unset.

        :raises bridge.api.Forbidden: the call's claim is missing or has a wrong value.
        :raises bridge.api.InvalidParameter: its header is missing or has a wrong value.
        """
        origin = self.source.origin
        if origin is None:
            return self.value if self.secret is None else self.secret()
        repeated = self.target.field.is_repeated
        whole = self.target.json_text and not repeated
        values = call_values(origin, call, split=repeated, whole=whole)
        if not values:
            if self.source.value is ABSENT:
                raise missing_value(origin)
            return self.value
        try:
            if len(values) == 1 and not repeated and not whole and is_array(origin, call):
                raise ValueError("a single value is wanted")
            return _values(self.target, values, text=origin.kind == "header")
        except ValueError as error:
            raise invalid_value(origin, str(error)) from None


def _values(target: Target, items: Sequence[Any], *, text: bool) -> Any:
    """JSON values (or texts) as the field's constructor takes them.

    :raises ValueError: the field doesn't take them.
    """
    if not target.field.is_repeated and len(items) != 1:
        raise ValueError(f"it takes one value, not {len(items)}")
    as_json = target.json_text and not text
    results = [target.read(json.dumps(item) if as_json else claim_text(item)) for item in items]
    return results if target.field.is_repeated else results[0]


class ValueSources:
    """The sources of one request message; sources whose field the message doesn't have are ignored.

    :ivar paths: the fields' paths, by the proto's names.
    :ivar caching: header fields that tell caches what a reply depends on.
    :raises bridge.api.BindError: a field can't be set, or a constant has a wrong value.
    """

    def __init__(self, message: Descriptor, sources: Iterable[ValueSource], decoders: Decoders) -> None:
        self._entries: list[TargetSource] = []
        for source in sources:
            target = resolve(message, source.path, decoders)
            if target is not None:
                self._entries.append(_entry(source, target))
        self.paths = frozenset(entry.target.path for entry in self._entries)
        self.caching = caching([entry.source.origin for entry in self._entries if entry.source.origin is not None])

    def read(self, call: Call) -> list[tuple[Target, Any]]:
        """Each field with its value, ABSENT if it stays unset; for `place`.

        :raises bridge.api.ClientError: as `TargetSource.read`.
        """
        return [(entry.target, entry.read(call)) for entry in self._entries]

    def mask_secrets(self, message: Any) -> Any:
        """`message` with secrets masked, or unset if the field isn't text."""
        for entry in self._entries:
            if entry.secret is None:
                continue
            inner = message
            for step in entry.target.path[:-1]:
                inner = getattr(inner, step)
            name, kind = entry.target.path[-1], entry.target.field.type
            inner.ClearField(name)
            if kind in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
                mask: Any = _MASK if kind == FieldDescriptor.TYPE_STRING else _MASK.encode()
                if entry.target.field.is_repeated:
                    getattr(inner, name).append(mask)
                else:
                    setattr(inner, name, mask)
        return message


def _entry(source: ValueSource, target: Target) -> TargetSource:
    if target.text is None:
        kind = "a list of messages or a map" if target.field.is_repeated else "a message; name its fields"
        raise BindError(Fault(f"fields can't fill what is {kind}", source.key))
    if source.secret is not None:
        try:
            return TargetSource(
                source, target, ABSENT, Derived(source.secret, lambda text: _values(target, [text], text=True))
            )
        except ValueError:  # its message would quote the secret
            raise BindError(Fault("the secret is not what the field takes", source.key)) from None
    if source.value is ABSENT or source.value is None:
        return TargetSource(source, target, ABSENT)
    as_list = isinstance(source.value, list) and (target.field.is_repeated or not target.json_text)
    try:
        return TargetSource(source, target, _values(target, source.value if as_list else [source.value], text=False))
    except ValueError as error:
        raise BindError(Fault(str(error), source.key)) from None


def place(reader: MessageReader, message: Any, values: Sequence[tuple[Target, Any]]) -> Any:
    """`message` (constructor arguments or a message) with `values` set, replacing earlier values.

    :param reader: the message's.
    :param values: fields and their values; ABSENT unsets a field.
    :raises bridge.api.InvalidParameter: another member of a field's oneof is set.
    """
    if type(message) is dict:
        for target, value in values:
            if value is ABSENT:
                _unset(message, target.path)
            else:
                target.put(message, value)
        return message
    tree: dict[str, Any] = {}
    for target, value in values:
        inner = message
        for step in target.path[:-1]:
            inner = getattr(inner, step)
        inner.ClearField(target.path[-1])
        if value is not ABSENT:
            target.put(tree, value)
    message.MergeFrom(reader.build(tree))
    return message


def _unset(tree: Any, path: Sequence[str]) -> None:
    for step in path[:-1]:
        tree = tree.get(step)
        if tree is None:
            return
    tree.pop(path[-1], None)
