"""Edits of header fields and of gRPC metadata, compiled from a spec's ``headers.request`` and ``upstream_auth``."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bridge.api.call import Call
from bridge.api.spec.edits import Edits
from bridge.api.values import Value, header_text
from bridge.errors import BindError, Fault, KeyPath

#: A field as it is sent: text, or the bytes of a ``-bin`` metadata entry.
Field = tuple[str, Any]

#: gRPC over HTTP/2, "Custom-Metadata": Header-Name, and the names that are the protocol's own.
_NAME = re.compile(r"[0-9a-z_.-]+")
_GRPC = frozenset(("te", "content-type", "content-encoding", "accept-encoding", "user-agent", "grpc"))


def http_name(name: str, path: KeyPath) -> str:
    return name.lower()


def metadata_name(name: str, path: KeyPath) -> str:
    """The name of a metadata entry.

    :raises bridge.api.BindError: it belongs to gRPC, or metadata can't be sent under it.
    """
    lower = name.lower()
    if lower in _GRPC or lower.startswith("grpc-"):
        raise BindError(Fault(f"{name!r} belongs to gRPC itself", path))
    if not _NAME.fullmatch(lower):
        raise BindError(Fault(f"{name!r} can't be a metadata name: use letters, digits, '-', '_' and '.'", path))
    return lower


def metadata_value(name: str, text: str) -> str | bytes:
    """`text` under `name`; decoded from base64 if that ends in ``-bin``.

    :raises ValueError: metadata can't hold it.
    """
    if name.endswith("-bin"):
        text = text.strip().rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            raise ValueError("it needs base64, since its name ends in -bin") from None
    text = header_text(text)
    if not text.isascii():
        raise ValueError("it must be printable ASCII; use a name ending in -bin for others")
    return text


class Wire(NamedTuple):
    """How one protocol takes fields.

    :ivar name: a field's name as it is sent. :ivar convert: makes the converter of values under a name.
    """

    name: Callable[[str, KeyPath], str]
    convert: Callable[[str], Callable[[str], Any]]


HTTP = Wire(http_name, lambda name: header_text)
GRPC = Wire(metadata_name, lambda name: partial(metadata_value, name))


class Addition(NamedTuple):
    """One field or parameter that is set or added."""

    name: str
    value: Value[Any]


def additions(
    entries: Mapping[str, Sequence[Any]],
    path: KeyPath,
    home: Path,
    name_of: Callable[[str, KeyPath], str],
    convert: Callable[[str], Callable[[str], Any]],
) -> Iterator[Addition | BindError]:
    """Each value of `entries`, compiled, or what is wrong with it."""
    for key, values in entries.items():
        try:
            name = name_of(key, (*path, key))
        except BindError as error:
            yield error
            continue
        for number, value in enumerate(values):
            try:
                place = (*path, key) if len(values) == 1 else (*path, key, number)
                yield Addition(name, Value(value, place, home, convert(name)))
            except BindError as error:
                yield error


class CompiledEdits(NamedTuple):
    """`dropped`: names that go; `added`: what comes then, in order."""

    dropped: frozenset[str]
    added: Sequence[Addition]


def compiled(
    edits: Edits,
    path: KeyPath,
    home: Path,
    name_of: Callable[[str, KeyPath], str],
    convert: Callable[[str], Callable[[str], Any]],
) -> CompiledEdits:
    """:raises bridge.api.BindError: names or values can't be used; all faults at once."""
    results = [
        *additions(edits.set, (*path, "set"), home, name_of, convert),
        *additions(edits.add, (*path, "add"), home, name_of, convert),
    ]
    faults = [fault for each in results if isinstance(each, BindError) for fault in each.faults]
    if faults:
        raise BindError(faults)
    names = [name_of(name, (*path, "set", name)) for name in edits.set]
    names += [name_of(name, (*path, "remove", at)) for at, name in enumerate(edits.remove)]
    return CompiledEdits(frozenset(names), [each for each in results if isinstance(each, Addition)])


def filled(added: Iterable[Addition], call: Call) -> list[Field]:
    """:raises bridge.api.ClientError: the call lacks a value, or it can't be sent."""
    return [(name, item) for name, value in added for item in value(call)]
