"""How a unary call that succeeds is answered: the spec's ``statuses`` and ``locations``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge.api import BindError, Fault, KeyPath
from bridge_grpc.codec.scalars import MESSAGES
from bridge_grpc.mapping.calls import EVERY, no_method
from bridge_grpc.mapping.parameters import resolve
from bridge_grpc.schema.pool import Method

_CREATED, _ACCEPTED = 201, 202
_LONGEST = 8 * 1024  #: characters of a Location field
_PARAMETER = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)(\*?)")
_LITERAL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")  # RFC 3986, section 2
_BEGINNING = re.compile(r"/(?!/)|https?://[A-Za-z0-9.:\[\]_-]+(?:/|$)")
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")
_TEXTLESS = frozenset({*MESSAGES, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})


class Location:
    """A template such as ``/v1/tallies/{tally.id}``, whose parameters are fields of the reply. ``{name*}`` may hold
    slashes.

    :raises ValueError: it is no URL reference, or a parameter is no field with a text; the message says so.
    """

    def __init__(self, template: str, message: Descriptor) -> None:
        literals = _PARAMETER.split(template)[::2]
        if not _BEGINNING.match(template) or not all(map(_LITERAL.fullmatch, literals)):
            raise ValueError(f"{template!r} is no path or URL; write /v1/tallies/{{id}}, or https://host/…")
        self._literals = literals
        self._fields = [_field(text, message) for text in _PARAMETER.split(template)[1::2]]

    def of(self, message: Any) -> str | None:
        """The URL reference for a reply; None where a field has no value, or one that would lead elsewhere."""
        url = self._literals[0]
        for (path, field, several), literal in zip(self._fields, self._literals[1:], strict=True):
            text = _text(message, path, field)
            # RFC 3986, section 5.2.4: dot segments are removed, whether encoded or not.
            if not text or _DOTS.search(text if several else text.replace("/", "")):
                return None
            url += quote(text, safe="/" if several else "") + literal
        return url if len(url) <= _LONGEST else None


def _field(text: str, message: Descriptor) -> tuple[tuple[str, ...], FieldDescriptor, bool]:
    """A parameter's path, its field, and whether its value may hold slashes.

    :raises ValueError: there is no such field, or it has no text.
    """
    match = _NAME.fullmatch(text)
    target = resolve(message, match[1].split(".")) if match else None
    if match is None or target is None:
        raise ValueError(f"its parameter {{{text}}} is not a field of {message.full_name}")
    if target.field.is_repeated or target.field.type in _TEXTLESS:
        raise ValueError(f"its parameter {{{text}}} must be a single text, whole number, enum or boolean")
    return target.path, target.field, bool(match[2])


def _text(message: Any, path: Sequence[str], field: FieldDescriptor) -> str:
    """The field's value as JSON has it, without quotes; ``""`` if it is not set."""
    for step in path[:-1]:
        if not message.HasField(step):
            return ""
        message = getattr(message, step)
    if field.has_presence and not message.HasField(path[-1]):
        return ""
    value = getattr(message, path[-1])
    if isinstance(value, bool):
        return "true" if value else "false"
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named is not None else str(value)
    return str(value)


class Success(NamedTuple):
    """The status of a reply, and what its Location field is made from."""

    status: int = 200
    location: Location | None = None


def successes(
    statuses: Mapping[str, int],
    locations: Mapping[str, str],
    methods: Sequence[Method],
    reply_headers: Sequence[str] = (),
) -> Callable[[Method], Success]:
    """From a method to its success. Statuses are looked up under the full name, the short name, the full name of the
    reply's message, then ``*``; locations under the method's names. A method with a location has 201 unless its own
    name has another status.

    :raises bridge.api.BindError: unknown names, methods that stream, templates that don't fit; all faults at once.
    """
    faults = [*_status_faults(statuses, methods), *_location_faults(locations, methods, reply_headers)]
    found: dict[str, Success] = {}
    for method in methods:
        if method.streaming:
            continue
        names = (method.full_name, method.name)
        written = next((name for name in names if name in locations), None)
        others = (method.output.full_name, EVERY) if written is None else ()
        status = next((statuses[name] for name in (*names, *others) if name in statuses), 200)
        location = None
        if written is not None:
            key: KeyPath = ("transform", "grpc", "locations", written)
            status = status if any(name in statuses for name in names) else _CREATED
            if status not in (_CREATED, _ACCEPTED):
                faults.append(Fault(f"a location goes with 201 or 202, and statuses says {status}", key))
            try:
                location = Location(locations[written], method.output)
            except ValueError as error:
                faults.append(Fault(str(error), key))
        found[method.full_name] = Success(status, location)
    if faults:
        raise BindError(list(dict.fromkeys(faults)))
    return lambda method: found.get(method.full_name, Success())


def _status_faults(statuses: Mapping[str, int], methods: Sequence[Method]) -> Iterator[Fault]:
    for name in statuses:
        matches = [
            method for method in methods if name in (EVERY, method.full_name, method.name, method.output.full_name)
        ]
        key = ("transform", "grpc", "statuses", name)
        if not matches:
            yield Fault(no_method(name, methods), key)
        elif all(method.streaming for method in matches):
            yield Fault("it streams, and what streams is answered with 200", key)


def _location_faults(
    locations: Mapping[str, str], methods: Sequence[Method], reply_headers: Sequence[str]
) -> Iterator[Fault]:
    for name in locations:
        matches = [method for method in methods if name in (method.full_name, method.name)]
        key = ("transform", "grpc", "locations", name)
        if not matches:
            yield Fault(no_method(name, methods), key)
        elif all(method.streaming for method in matches):
            yield Fault("it streams, and what streams has no Location", key)
        elif "location" in map(str.lower, reply_headers):
            yield Fault("reply_headers gives the service's own Location; name one of them", key)
