"""Values of a reply's header blocks as fields of the HTTP response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bridge.api import BindError, Fault, is_token, returnable
from bridge_soap.components import SimpleType
from bridge_soap.contract import Contract
from bridge_soap.message.headers import DeclaredHeaders
from bridge_soap.names import local_name
from bridge_soap.options import SoapOptions
from bridge_soap.xsd.properties import Property, steps_of

_MAX_FIELD = 8 * 1024

#: Fields that a reply can't set, in addition to those that are never `returnable`: fields that describe the body, and
#: the gateway's own.
_BODY = frozenset(("content-type", "content-encoding", "content-range", "content-location"))
_OWN = frozenset(("age", "vary", "x-cache", "x-trace-id", "traceparent", "ratelimit", "ratelimit-policy"))
_FAMILIES = ("x-ratelimit-", "access-control-")


@dataclass(frozen=True, slots=True)
class ReplyField:
    """A field of the response.

    :ivar name: in lower case.
    :ivar tag: the tag of the block with its value.
    :ivar steps: the properties on the path to it.
    :ivar simple: the value's type.
    """

    name: str
    tag: str
    steps: tuple[str, ...]
    simple: SimpleType

    def text(self, value: Any, warnings: list[str]) -> str:
        """The field's value from a block's JSON; ``""`` if there is none or HTTP can't carry it (RFC 9110, section
        5.5): a line end would let the service add fields."""
        for step in self.steps:
            value = value.get(step) if isinstance(value, dict) else None
        text = _text(value).strip(" \t\r\n")
        if text and not (text.isprintable() and len(text) <= _MAX_FIELD and max(text) <= "\xff"):
            warnings.append(f"the header {self.name} is left out: HTTP can't carry what the reply says")
            return ""
        return text


def reply_fields(contract: Contract, options: SoapOptions, declared: DeclaredHeaders) -> tuple[ReplyField, ...]:
    """The fields in ``reply_headers``, for the blocks that the operation's replies may have.

    :raises bridge.api.BindError: a reply may not set the field, or a path does not lead to a simple value.
    """
    fields: list[ReplyField] = []
    faults: list[Fault] = []
    for name, path in options.reply_headers.items():
        try:
            field = _field(contract, name, steps_of(path), declared)
        except BindError as error:
            key = ("transform", "soap", "reply_headers", name)
            faults += [Fault(fault.reason, key) for fault in error.faults]
            continue
        if field is not None:
            fields.append(field)
    if faults:
        raise BindError(faults)
    return tuple(fields)


def may_set(name: str) -> bool:
    """Whether a reply may set the field with this name, in lower case."""
    return not (name in _BODY | _OWN or name.startswith(_FAMILIES)) and bool(returnable([(name, "")]))


def _field(contract: Contract, name: str, steps: Sequence[str], declared: DeclaredHeaders) -> ReplyField | None:
    lower = name.lower()
    if not is_token(name):
        raise BindError("that can't be the name of a header")
    if not may_set(lower):
        raise BindError("that header is the gateway's to set, not a reply's")
    if not steps:
        raise BindError("a path is wanted: the block's name, then properties with slashes between them")
    tag = declared.named(steps[0])
    if tag is None:
        return None  # another operation has it
    element = contract.schemas.element(tag)
    place, walked = Property(tag, "element", element), local_name(tag)
    for step in steps[1:]:
        below = contract.properties.below(place)
        if step not in below:
            names = ", ".join(below) or "nothing"
            raise BindError(f"{walked} has no property {step!r}; it has {names}")
        place, walked = below[step], f"{walked}/{step}"
        if place.many:
            raise BindError(f"{walked} is an array, and a header has one value")
    type_ = place.element.type if place.element is not None else None
    if not isinstance(type_, SimpleType):
        text = f"; {walked}/#text is its text" if place.simple is not None else ""
        raise BindError(f"{walked} is an object, and a header has one value{text}")
    return ReplyField(lower, tag, tuple(steps[1:]), type_)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    return "" if value is None or isinstance(value, dict) else str(value)
