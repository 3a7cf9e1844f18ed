"""The fast path from a JSON object to a constructor's keyword arguments, and from a body to the serialised message.

protobuf's own constructor checks nearly all that ProtoJSON requires: strings, 32-bit integers and open enums (by name
or number) are passed to it unchanged. So the parsed object itself becomes the arguments: the generated code renames
keys that differ from the proto's names and converts values in place where needed. This takes a sixth of the time of a
loop over the keys, and four fifths of that of source that writes the wire format. It modifies the parsed object, so the
body must be parsed again before the value can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from google.protobuf.message import EncodeError

from bridge.api import define_function
from bridge_grpc.codec import json_body
from bridge_grpc.codec.element import Element, Read
from bridge_grpc.codec.scalars import InDoubt

#: With more fields than this that need code, an object with few of them is read key by key, and list items are not read
#: inline.
_MANY = 12


class Field(NamedTuple):
    """A field and how it is read.

    :ivar trusted: the constructor's own check of this field is all that ProtoJSON requires.
    :ivar int64: a 64-bit integer, which ProtoJSON writes as a string.
    :ivar each: for an array of messages, the reader of one item.
    :ivar inner: the plan of `each`, if it exists already.
    """

    name: str
    json_name: str
    element: Element
    trusted: bool
    int64: bool = False
    each: Read | None = None
    inner: ReadPlan | None = None


class ReadPlan(NamedTuple):
    """What a message's fast reader is generated from.

    :ivar fields: all of them.
    :ivar oneofs: the names of each oneof's members.
    """

    fields: Sequence[Field]
    oneofs: Sequence[frozenset[str]]

    @property
    def mixed(self) -> bool:
        """One field's JSON name is another's own name, so renaming in place would mix them up."""
        names = {field.name for field in self.fields}
        return any(field.json_name != field.name and field.json_name in names for field in self.fields)

    @property
    def many(self) -> bool:
        return sum(not field.trusted or field.name != field.json_name for field in self.fields) > _MANY


def quick(plan: ReadPlan) -> Read:
    """The fast reader of a message: JSON object -> keyword arguments.

    :raises InDoubt: (the reader; or another of `bridge_grpc.codec.element.DOUBT`) the value must be judged.
    """
    by_key = _by_key(plan)
    if plan.mixed:
        return by_key
    space: dict[str, Any] = {"InDoubt": InDoubt, "by_key": by_key}
    lines = [f"if len(o) * 4 < {len(plan.fields)}: return by_key(o)"] if plan.many else []
    lines += [*_object(plan, "o", "", space), "return o"]
    return define_function("decode(o)", lines, space, filename="reader of a message")


def whole(plan: ReadPlan, cls: Any, decode: Read, *, bounded: bool) -> Callable[[bytes], bytes]:
    """A function from a body to the serialised message: the whole fast path in one function.

    :param cls: the message's class.
    :param decode: the result of `quick` for the same plan.
    :param bounded: as in `bridge_grpc.codec.json_body.read`.
    :raises bridge.api.InvalidBody: (the function) an object has a name twice, or nesting is too deep.
    :raises InDoubt: (the function; or another of `bridge_grpc.codec.element.DOUBT`) the body must be judged.
    """
    space: dict[str, Any] = {
        "InDoubt": InDoubt,
        "EncodeError": EncodeError,
        "cls": cls,
        "decode": decode,
        "serialise": cls.SerializeToString,
        "read": json_body.read,
        "loads": orjson.loads,
        "dumps": orjson.dumps,
        "check_unique": json_body.check_unique,
    }
    lines = (
        ["o = loads(body)", "w = dumps(o)", "if w != body: check_unique(body, w)"] if bounded else ["o = read(body)"]
    )
    lines += ["o = decode(o)"] if plan.mixed or plan.many else _object(plan, "o", "", space)
    lines += ["try: return serialise(cls(**o))", "except EncodeError: raise InDoubt from None"]
    return define_function("whole(body)", lines, space, filename="reader of a body")


def _object(plan: ReadPlan, holder: str, prefix: str, space: dict[str, Any], *, within: bool = False) -> Iterator[str]:
    """Statements that turn the object in the variable `holder` into keyword arguments, in place.

    :param prefix: of the variables that they set and of the names that they need in `space`.
    :param within: the statements are part of another message's.
    """
    for at, field in enumerate(plan.fields):
        yield from _field(field, holder, f"{prefix}{at}", space, within)
    for at, members in enumerate(plan.oneofs):
        space[f"oneof{prefix}{at}"] = members
        yield f"if len(oneof{prefix}{at} & {holder}.keys()) > 1: raise InDoubt"


def _field(field: Field, holder: str, at: str, space: dict[str, Any], within: bool) -> Iterator[str]:
    name, key, variable = repr(field.name), repr(field.json_name), f"v{at}"
    convert = list(_convert(field, holder, at, space, within))
    if convert and not field.element.nullable:
        convert = [f"if {variable} is not None:", *_indented(convert)]
    if field.name != field.json_name:
        yield f"if {key} in {holder}:"
        yield f"    if {name} in {holder}: raise InDoubt"
        yield f"    {variable} = {holder}[{name}] = {holder}.pop({key})"
        yield from _indented(convert)
        if convert:
            yield f"elif {name} in {holder}:"
            yield f"    {variable} = {holder}[{name}]"
            yield from _indented(convert)
    elif convert and field.element.nullable:
        yield f"if {name} in {holder}:"
        yield f"    {variable} = {holder}[{name}]"
        yield from _indented(convert)
    elif convert:
        yield f"{variable} = {holder}.get({name})"
        yield from convert


def _convert(field: Field, holder: str, at: str, space: dict[str, Any], within: bool) -> Iterator[str]:
    """Statements that replace the field's value if the constructor doesn't take it."""
    if field.trusted:
        return
    value, target, read = f"v{at}", f"{holder}[{field.name!r}]", f"read{at}"
    space[read] = field.element.read
    if field.each is not None:
        yield f"if type({value}) is not list: raise InDoubt"
        inner = field.inner
        if within or inner is None or inner.mixed or inner.many:
            space[f"each{at}"] = field.each
            yield f"{target} = [*map(each{at}, {value})]"
        elif lines := list(_object(inner, f"o{at}", f"{at}_", space, within=True)):
            # Inline, one level deep: a function call for each item would add a tenth of the time.
            yield f"for o{at} in {value}:"
            yield from _indented(lines)
    elif field.int64:
        # Nearly every client writes digits. The constructor refuses what is out of range.
        yield f"if type({value}) is str and {value}.isascii() and {value}.isdigit(): {target} = int({value})"
        yield f"elif type({value}) is not int: {target} = {read}({value})"
    elif field.element.kind is None:
        yield f"{target} = {read}({value})"
    else:
        yield f"if type({value}) is not {field.element.kind.__name__}: {target} = {read}({value})"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _by_key(plan: ReadPlan) -> Read:
    """The same as a loop over the object's own keys, into a new dict."""
    fields, oneofs = plan
    table: dict[str, tuple[str, type | None, Read, bool]] = {}
    for names in ([field.name for field in fields], [field.json_name for field in fields]):
        for key, field in zip(names, fields, strict=True):
            table[key] = (field.name, field.element.kind, field.element.read, field.element.nullable)

    def decode(value: Any) -> Any:
        out = {}
        for key, item in value.items():
            name, kind, read, nullable = table[key]
            out[name] = item if type(item) is kind or (item is None and not nullable) else read(item)
        if len(out) != len(value):
            raise InDoubt  # both names of one field occur
        for members in oneofs:
            if len(members & out.keys()) > 1:
                raise InDoubt
        return out

    return decode
