"""Attributes: ``@name`` properties to the text of a start tag."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.api import ABSENT, BindError
from bridge_soap.components import Attribute, ComplexType, SimpleType
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_out import NAME_MARK, Write, any_simple, constant_markup, escape_attribute
from bridge_soap.encode.wild import declare_names, is_attribute
from bridge_soap.encode.writing import At, Faults, broken, missing, pointer, undeclared
from bridge_soap.names import XML, local_name, split
from bridge_soap.xsd.model import ELEMENT, TYPE, any_name, attribute_keys

if TYPE_CHECKING:
    from bridge_soap.encode.encoders import Encoders

#: Writes an object's attributes: ``(object, at, bad) -> ' a="1" b="2"'``.
AttributesWriter = Callable[[dict[str, Any], At, Faults], str]


def _none(value: dict[str, Any], at: At, bad: Faults) -> str:
    return ""


class Attributes(dict[ComplexType, AttributesWriter]):
    """`AttributesWriter` by complex type, created on first use."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    def __missing__(self, type_: ComplexType) -> AttributesWriter:
        writer = self[type_] = self._make(type_)
        return writer

    def _make(self, type_: ComplexType) -> AttributesWriter:
        keys = attribute_keys(type_)
        writers = [self._one(use, keys[name]) for name, use in type_.attributes.items()]
        keys_taken = frozenset(keys.values())
        if type_.any_attribute:
            return lambda value, at, bad: (
                "".join(write(value, at, bad) for write in writers) + self._others(type_, keys_taken, value, at, bad)
            )
        if not writers:
            return _none
        if len(writers) == 1:
            return writers[0]
        return lambda value, at, bad: "".join([write(value, at, bad) for write in writers])

    def _one(self, use: Attribute, key: str) -> AttributesWriter:
        simple = self._encoders.simple[use.type]
        tag, names, required = self._encoders.prefixes.tag(use.name), simple.names, use.required
        convert = simple.attribute if use.fixed is None else self._fixed(use.type, use.fixed, simple.attribute)
        # A required attribute with a fixed value has one possible value, so the caller may omit it.
        filled = ""
        if required and use.fixed is not None:
            xmlns, text = declare_names(constant_markup(use.type, use.fixed, escape_attribute), "f")
            filled = f'{xmlns} {tag}="{text}"'

        def write(value: dict[str, Any], at: At, bad: Faults) -> str:
            item = value.get(key, ABSENT)
            if item is ABSENT:
                if required and not filled:
                    missing(at, key, bad)
                return filled
            try:
                text = convert(item)
            except DatatypeError as error:
                broken(error, item, (at, key), bad)
                return ""
            if names:
                xmlns, text = declare_names(text, "a" + local_name(use.name))
                return f'{xmlns} {tag}="{text}"'
            return f' {tag}="{text}"'

        return write

    def _fixed(self, type_: SimpleType, fixed: str, convert: Write) -> Write:
        rules, text_of = self._encoders.rules(type_), self._encoders.simple[type_].text
        fixed_value = rules.same(rules.normalize(fixed))

        def write(value: Any) -> str:
            if rules.same(rules.normalize(text_of(value).replace(NAME_MARK, ""))) != fixed_value:
                raise DatatypeError(f"it can only be {fixed!r}")
            return convert(value)

        return write

    def _others(self, type_: ComplexType, own_keys: frozenset[str], value: dict[str, Any], at: At, bad: Faults) -> str:
        """Attributes that only a wildcard allows (part 1, section 3.10)."""
        out: list[str] = []
        for key, item in value.items():
            if key[:1] != "@" or key in own_keys or key in (TYPE, ELEMENT):
                continue
            name = any_name(key[1:])
            namespace, local = split(name)
            matches = [wildcard for wildcard in type_.any_attribute if wildcard.allows(namespace)]
            if not is_attribute(namespace, local) or not matches:
                bad.append((pointer((at, key)), "the schema allows no such attribute here"))
                continue
            use = self._declared(name) if any(wildcard.process != "skip" for wildcard in matches) else None
            if use is None and all(wildcard.process == "strict" for wildcard in matches):
                defines = self._encoders.schemas.defines
                if not undeclared("attributes", namespace, defines, (at, key), bad):
                    continue
            try:
                text = self._encoders.simple[use.type].attribute(item) if use else escape_attribute(any_simple(item))
                xmlns, text = declare_names(text, f"w{len(out)}q")
            except DatatypeError as error:
                broken(error, item, (at, key), bad)
                continue
            out.append(xmlns + named_attribute(name, text, len(out)))
        return "".join(out)

    def _declared(self, name: str) -> Attribute | None:
        try:
            return self._encoders.schemas.find_attribute(name)
        except BindError:
            return None


def named_attribute(name: str, text: str, number: int) -> str:
    """One attribute with the declaration of its namespace; `text` is escaped."""
    namespace, local = split(name)
    if not namespace:
        return f' {local}="{text}"'
    if namespace == XML:
        return f' xml:{local}="{text}"'
    return f' xmlns:a{number}="{escape_attribute(namespace)}" a{number}:{local}="{text}"'
