"""Fields of a request that the gateway fills: from claims, headers, secrets and constants. Its word always counts."""

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
    Origin,
    claim_of,
    claim_text,
    is_origin,
    read_origin,
    read_secret,
)
from bridge_grpc.codec.decode_json import Decoders, MessageReader
from bridge_grpc.mapping.parameters import Target, resolve
from bridge_grpc.origins import caching, call_values, missing, refused

_MASK = "***"


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of ``fields``, before any message is known.

    :ivar path: the field's path, as written.
    :ivar key: where it stands in the spec.
    :ivar origin: what each call brings; None for a constant.
    :ivar value: the constant, or the default; ABSENT: there is no default; None: unset.
    :ivar text: `value` is the text of a secret, which is read as a parameter's.
    """

    path: tuple[str, ...]
    key: str
    origin: Origin | None
    value: Any
    text: bool = False


def sources(fields: Mapping[str, Any], home: Path) -> list[Source]:
    """The entries of ``fields``; secrets are read here.

    :param home: what ``$file`` is relative to.
    :raises BindError: an origin is misspelt, or a secret can't be had; all that are found.
    """
    made: list[Source] = []
    faults: list[Fault] = []
    for name, value in fields.items():
        key, path = f"transform.grpc.fields.{name}", tuple(name.split("."))
        try:
            if not is_origin(value):
                if value is None:
                    raise BindError(Fault("a constant is wanted, or where the value comes from", key))
                made.append(Source(path, key, None, value))
                continue
            origin = read_origin(value, key)
            if origin.secret:
                made.append(Source(path, key, None, read_secret(origin, home), text=True))
            else:
                made.append(Source(path, key, origin, origin.default))
        except BindError as error:
            faults += error.faults
    if faults:
        raise BindError(faults)
    return made


@dataclass(frozen=True, slots=True)
class Fill:
    """A source at its field. `value` is as the message's constructor takes it; ABSENT: unset, or no default."""

    source: Source
    target: Target
    value: Any

    def read(self, call: Call) -> Any:
        """What the field gets; ABSENT where it stays unset.

        :raises bridge.api.Forbidden: the call's claim is missing or not what the field takes.
        :raises bridge.api.InvalidParameter: its header is.
        """
        origin = self.source.origin
        if origin is None:
            return self.value
        given = self._given(origin, call)
        if not given:
            if self.source.value is ABSENT:
                raise missing(origin)
            return self.value
        try:
            return _values(self.target, given, text=origin.kind == "header")
        except ValueError as error:
            raise refused(origin, str(error)) from None

    def _given(self, origin: Origin, call: Call) -> list[Any]:
        if origin.kind == "claim" and self.target.json_text and not self.target.field.is_repeated:
            claim = claim_of(call.identity.claims, origin.name)  # an array is one value there
            return [] if claim is ABSENT else [claim]
        given = call_values(origin, call)
        if origin.kind == "header" and self.target.field.is_repeated:  # RFC 9110, section 5.6.1
            return [item for text in given for item in map(str.strip, text.split(",")) if item]
        return given


def _values(target: Target, given: Sequence[Any], *, text: bool) -> Any:
    """JSON values (or texts) as the field's constructor takes them.

    :raises ValueError: they aren't what the field takes.
    """
    if not target.field.is_repeated and len(given) != 1:
        raise ValueError(f"it takes one value, not {len(given)}")
    as_json = target.json_text and not text
    made = [target.read(json.dumps(item) if as_json else claim_text(item)) for item in given]
    return made if target.field.is_repeated else made[0]


class Fills:
    """What the gateway fills of one request message; the sources whose field it hasn't are no matter here.

    :ivar paths: the fields' paths, as the proto has them.
    :ivar caching: fields that tell caches what an answer depends on.
    :raises bridge.api.BindError: a field can't be filled, or a constant is not what it takes.
    """

    def __init__(self, message: Descriptor, sources: Iterable[Source], decoders: Decoders) -> None:
        self._fills: list[Fill] = []
        for source in sources:
            target = resolve(message, source.path, decoders)
            if target is not None:
                self._fills.append(_fill(source, target))
        self.paths = frozenset(fill.target.path for fill in self._fills)
        self.caching = caching([fill.source.origin for fill in self._fills if fill.source.origin is not None])

    def read(self, call: Call) -> list[tuple[Target, Any]]:
        """Each field with what it gets, ABSENT where it stays unset; for `place`.

        :raises bridge.api.ClientError: as `Fill.read`.
        """
        return [(fill.target, fill.read(call)) for fill in self._fills]

    def masked(self, message: Any) -> Any:
        """`message` with the fields that hold secrets masked, or unset where they hold no text."""
        for fill in self._fills:
            if not fill.source.text:
                continue
            inner = message
            for step in fill.target.path[:-1]:
                inner = getattr(inner, step)
            name, kind = fill.target.path[-1], fill.target.field.type
            inner.ClearField(name)
            if kind in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
                mask: Any = _MASK if kind == FieldDescriptor.TYPE_STRING else _MASK.encode()
                if fill.target.field.is_repeated:
                    getattr(inner, name).append(mask)
                else:
                    setattr(inner, name, mask)
        return message


def _fill(source: Source, target: Target) -> Fill:
    if target.text is None:
        what = "a list of messages or a map" if target.field.is_repeated else "a message; name its fields"
        raise BindError(Fault(f"fields can't fill what is {what}", source.key))
    if source.value is ABSENT or source.value is None:
        return Fill(source, target, ABSENT)
    split = isinstance(source.value, list) and (target.field.is_repeated or not target.json_text)
    given = source.value if split else [source.value]
    try:
        return Fill(source, target, _values(target, given, text=source.text))
    except ValueError as error:
        # What a secret holds is not shown: the readers' sentences quote what they read.
        reason = "the secret is not what the field takes" if source.text else str(error)
        raise BindError(Fault(reason, source.key)) from None


def place(reader: MessageReader, made: Any, values: Sequence[tuple[Target, Any]]) -> Any:
    """`made` (arguments of the message's constructor, or a message) with `values` in it, in place of what was there.

    :param reader: the message's.
    :param values: fields and what they get; ABSENT unsets a field.
    :raises bridge.api.InvalidParameter: another member of a field's oneof is set.
    """
    if type(made) is dict:
        for target, value in values:
            if value is ABSENT:
                _unset(made, target.path)
            else:
                target.put(made, value)
        return made
    tree: dict[str, Any] = {}
    for target, value in values:
        inner = made
        for step in target.path[:-1]:
            inner = getattr(inner, step)
        inner.ClearField(target.path[-1])
        if value is not ABSENT:
            target.put(tree, value)
    made.MergeFrom(reader.build(tree))
    return made


def _unset(tree: Any, path: Sequence[str]) -> None:
    for step in path[:-1]:
        tree = tree.get(step)
        if tree is None:
            return
    tree.pop(path[-1], None)
