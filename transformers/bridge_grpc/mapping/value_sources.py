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
    Fault,
    KeyPath,
    Origin,
    claim_of,
    claim_text,
    is_origin,
    read_origin,
    read_secret,
)
from bridge_grpc.codec.decode_json import Decoders, MessageReader
from bridge_grpc.mapping.parameters import Target, resolve
from bridge_grpc.origins import caching, call_values, invalid_value, missing_value

_MASK = "***"


@dataclass(frozen=True, slots=True)
class ValueSource:
    """One entry of ``fields``, not yet resolved against a message.

    :ivar path: the field's path, as written.
    :ivar key: its key in the spec.
    :ivar origin: the header or claim that each call has; None for a constant.
    :ivar value: the constant or the default; ABSENT: no default; None: the field stays unset.
    :ivar text: `value` is the text of a secret, which is parsed like a parameter.
    """

    path: tuple[str, ...]
    key: KeyPath
    origin: Origin | None
    value: Any
    text: bool = False


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
                entries.append(ValueSource(path, key, None, read_secret(origin, home), text=True))
            else:
                entries.append(ValueSource(path, key, origin, origin.default))
        except BindError as error:
            faults += error.faults
    if faults:
        raise BindError(faults)
    return entries


@dataclass(frozen=True, slots=True)
class TargetSource:
    """A source and its field. `value` is as the message's constructor takes it; ABSENT: unset, or no default."""

    source: ValueSource
    target: Target
    value: Any

    def read(self, call: Call) -> Any:
        """The field's value; ABSENT if it stays unset.

        :raises bridge.api.Forbidden: the call's claim is missing or has a wrong value.
        :raises bridge.api.InvalidParameter: its header is missing or has a wrong value.
        """
        origin = self.source.origin
        if origin is None:
            return self.value
        values = self._call_values(origin, call)
        if not values:
            if self.source.value is ABSENT:
                raise missing_value(origin)
            return self.value
        try:
            return _values(self.target, values, text=origin.kind == "header")
        except ValueError as error:
            raise invalid_value(origin, str(error)) from None

    def _call_values(self, origin: Origin, call: Call) -> list[Any]:
        if origin.kind == "claim" and self.target.json_text and not self.target.field.is_repeated:
            claim = claim_of(call.identity.claims, origin.name)  # an array is one value there
            return [] if claim is ABSENT else [claim]
        values = call_values(origin, call)
        if origin.kind == "header" and self.target.field.is_repeated:  # RFC 9110, section 5.6.1
            return [item for text in values for item in map(str.strip, text.split(",")) if item]
        return values


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
            if not entry.source.text:
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
    if source.value is ABSENT or source.value is None:
        return TargetSource(source, target, ABSENT)
    as_list = isinstance(source.value, list) and (target.field.is_repeated or not target.json_text)
    items = source.value if as_list else [source.value]
    try:
        return TargetSource(source, target, _values(target, items, text=source.text))
    except ValueError as error:
        # The reader's message would quote the secret.
        reason = "the secret is not what the field takes" if source.text else str(error)
        raise BindError(Fault(reason, source.key)) from None


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
