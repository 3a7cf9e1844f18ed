"""Writers for rare content: nil, ``xsi:type``, substitution groups, text with attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.api import ABSENT, BindError
from bridge_soap.components import Blocked, ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_out import NAME_MARK, Write, kind_of
from bridge_soap.encode.attributes import Attributes, AttributesWriter
from bridge_soap.encode.wild import WildWriter, declare_names
from bridge_soap.encode.writing import At, Faults, Put, TypeWriter, Writer, broken, not_object, pointer, unknown
from bridge_soap.names import local_name, split
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import CONTENT, ELEMENT, NIL, TEXT, TYPE, attribute_keys
from bridge_soap.xsd.variants import Variants

if TYPE_CHECKING:
    from bridge_soap.encode.encoders import Encoders

_NIL = ' xsi:nil="true"/>'


class ValueWriters:
    """Element and type writers of one contract, each made once. Making one does not compile anything."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self.schemas, self.prefixes = encoders.schemas, encoders.prefixes
        self.variants = Variants(encoders.schemas)
        self.wild = WildWriter(encoders)
        self._attributes = Attributes(encoders)
        self._elements: dict[Element, Writer] = {}
        self._types: dict[Type, TypeWriter] = {}
        self._fresh: list[Type] = []

    def has_members(self, element: Element) -> bool:
        return element.abstract or bool(self.schemas.members(element))

    def has_variants(self, element: Element) -> bool:
        """Whether the element's value may name its element or type: a substitution group, or a type with derived
        types."""
        return self.has_members(element) or bool(element.type.name and self.schemas.derived(element.type.name))

    def warm(self) -> None:
        """Compile the types that ``xsi:type`` may name. An invalid one fails only the calls that name it."""
        while self._fresh:
            base = self._fresh.pop()
            if base is ANY_TYPE:
                continue  # that would be all types
            for name in self.schemas.derived(base.name):
                try:
                    subtype = self.schemas.type(name)
                    self._encoders.graph.usable(subtype)
                except BindError:
                    continue
                self.type(subtype)
                self._encoders.finish()

    # --- elements ---

    def element(self, element: Element) -> Writer:
        writer = self._elements.get(element)
        if writer is None:
            writer = self._elements[element] = self._group(element) if self.has_members(element) else self._one(element)
        return writer

    def _group(self, head: Element) -> Writer:
        """A substitution group (part 1, section 3.3.6): ``@element`` names the member."""
        writers: dict[str, Writer] = {}
        members = [element for element in (head, *self.schemas.members(head)) if not element.abstract]
        for element in members:
            writer = self._one(element)
            writers[element.name] = writer
            writers.setdefault(local_name(element.name), writer)
        default = None if head.abstract else writers[head.name]
        words = ", ".join(local_name(element.name) for element in members)

        def write(value: Any, put: Put, at: At, bad: Faults) -> None:
            if value.__class__ is dict and ELEMENT in value:
                name = value[ELEMENT]
                writer = writers.get(name) if isinstance(name, str) else None
                if writer is None:
                    bad.append((pointer((at, ELEMENT)), f"it must name one of {words}"))
                    return
                writer(without(value, ELEMENT), put, at, bad)
            elif default is None:
                bad.append((pointer(at), f"{ELEMENT} is required and must name one of {words}"))
            else:
                default(value, put, at, bad)

        return write

    def _one(self, element: Element) -> Writer:
        """One element, with nil and ``xsi:type``."""
        tag, declared_type = self.prefixes.tag(element.name), element.type
        head, tail = f"<{tag}", f"</{tag}>"
        plain = (
            self.type(declared_type) if element.default is None and element.fixed is None else self._special(element)
        )
        abstract = isinstance(declared_type, ComplexType) and declared_type.abstract
        nil = self._nil(element, declared_type)
        if isinstance(declared_type, ComplexType) and declared_type.name:
            self._fresh.append(declared_type)

        def write(value: Any, put: Put, at: At, bad: Faults) -> None:
            if value is None:
                if abstract:
                    not_object(value, at, bad)
                else:
                    nil({}, head, put, at, bad)
                return
            writer, start = plain, head
            if value.__class__ is dict:
                if TYPE in value and declared_type is ANY_TYPE and self.variants.is_foreign(value[TYPE]):
                    start = head + "".join(self.wild.undeclared_type(value[TYPE], at, bad))
                    value = without(value, TYPE)
                elif TYPE in value:
                    own_type = self._named_type(value[TYPE], declared_type, at, bad, element.block)
                    if own_type is None:
                        return
                    value = without(value, TYPE)
                    if own_type is not declared_type:
                        writer, start = self._ready(own_type, at, bad), f"{head}{self._type_attribute(own_type)}"
                        if value.get(NIL) is True:
                            self._nil(element, own_type)(without(value, NIL), start, put, at, bad)
                            return
                elif abstract:
                    bad.append(
                        (pointer(at), f"{TYPE} is required: the type {local_name(declared_type.name)} is abstract")
                    )
                    return
                if NIL in value:
                    if value[NIL] is True:
                        nil(without(value, NIL), start, put, at, bad)
                        return
                    value = without(value, NIL)
            elif abstract:
                not_object(value, at, bad)
                return
            writer(value, start, tail, put, at, bad)

        return write

    def _nil(self, element: Element, type_: Type) -> Callable[[dict[str, Any], str, Put, At, Faults], None]:
        """Nil, with the attributes of `type_`."""
        attributes = self._attributes[type_] if isinstance(type_, ComplexType) else None
        own_keys = frozenset(attribute_keys(type_).values()) if isinstance(type_, ComplexType) else frozenset[str]()
        open_ = bool(isinstance(type_, ComplexType) and type_.any_attribute)

        def write(value: dict[str, Any], head: str, put: Put, at: At, bad: Faults) -> None:
            if not element.nillable:
                bad.append((pointer(at), "null is not allowed: the schema does not say nillable; leave it out"))
                return
            unknown(value, own_keys, open_, type_.name, at, bad)
            put(f"{head}{attributes(value, at, bad) if attributes else ''}{_NIL}")

        return write

    def _named_type(
        self, name: object, declared_type: Type, at: At, bad: Faults, block: Blocked = frozenset()
    ) -> Type | None:
        try:
            return self.variants.find(name, declared_type, block)
        except DatatypeError as error:
            bad.append((pointer((at, TYPE)), str(error)))
            return None

    def _ready(self, type_: Type, at: At, bad: Faults) -> TypeWriter:
        """The type's writer; a type below anyType may be compiled only now."""
        try:
            return self._encoders.type(type_)
        except BindError as error:
            bad.append((pointer((at, TYPE)), f"this type can't be sent: {error.faults[0].reason}"))
            return _nothing

    def _type_attribute(self, type_: Type) -> str:
        namespace, local = split(type_.name)
        prefix = self.prefixes.get(namespace)
        return f' xsi:type="{prefix}:{local}"' if prefix else f' xsi:type="{local}"'

    def _special(self, element: Element) -> TypeWriter:
        """An element with a default or fixed value: empty is allowed, and a fixed value can't differ."""
        type_ = element.type
        if isinstance(type_, SimpleType):
            return _simple(self.leaf(element, type_), names=self._encoders.simple[type_].names)
        if type_.simple is not None:
            return self._text(type_, type_.simple, self._attributes[type_], self.leaf(element, type_.simple))
        return self.type(type_)

    def leaf(self, element: Element, type_: SimpleType) -> Write:
        """Markup of an element with a default or fixed value."""
        return _fixed(self._encoders, type_, element.fixed, self._encoders.simple[type_].markup)

    def slow(self, error: DatatypeError, element: Element, value: Any, put: Put, at: At, bad: Faults) -> None:
        """Handles a value that a leaf's writer refused: an object with the value (and ``@xsi:type``), or a fault."""
        if value.__class__ is dict:
            with self._encoders.lock:
                writer = self.element(element)
            writer(value, put, at, bad)
        else:
            broken(error, value, at, bad)

    # --- types ---

    def type(self, type_: Type) -> TypeWriter:
        writer = self._types.get(type_)
        if writer is None:
            writer = self._types[type_] = self._type(type_)
        return writer

    def _type(self, type_: Type) -> TypeWriter:
        if isinstance(type_, SimpleType):
            writer = self._encoders.simple[type_]
            return _simple(writer.markup, names=writer.names)
        if type_ is ANY_TYPE:
            return self.wild.value
        attributes = self._attributes[type_]
        if type_.simple is not None:
            return self._text(type_, type_.simple, attributes)
        return self._children(type_, attributes)

    def _text(
        self, type_: ComplexType, simple: SimpleType, attributes: AttributesWriter, markup: Write | None = None
    ) -> TypeWriter:
        """Simple content: ``#text`` and attributes."""
        writer = self._encoders.simple[simple]
        markup = markup or writer.markup
        inner = _simple(markup, names=writer.names)
        own_keys = frozenset({TEXT, *attribute_keys(type_).values()})
        open_, own = bool(type_.any_attribute), type_.name

        def write(value: Any, head: str, tail: str, put: Put, at: At, bad: Faults) -> None:
            if value.__class__ is not dict:
                inner(value, head + attributes({}, at, bad), tail, put, at, bad)
                return
            if not own_keys.issuperset(value):
                unknown(value, own_keys, open_, own, at, bad)
            head += attributes(value, at, bad)
            text = value.get(TEXT, ABSENT)
            if text is ABSENT:
                try:
                    markup("")
                except DatatypeError:
                    bad.append((pointer((at, TEXT)), "it is required"))
                text = ""
                put(f"{head}>{tail}")
                return
            inner(text, head, tail, put, (at, TEXT), bad)

        return write

    def _children(self, type_: ComplexType, attributes: AttributesWriter) -> TypeWriter:
        content = self._encoders.late_content(type_)
        bare = not type_.attributes and not type_.any_attribute
        mixed = type_.mixed

        def write(value: Any, head: str, tail: str, put: Put, at: At, bad: Faults) -> None:
            if value.__class__ is not dict:
                if not (mixed and value.__class__ is str):
                    not_object(value, at, bad)
                    return
                value = {CONTENT: [value]}
            put(f"{head}>" if bare else f"{head}{attributes(value, at, bad)}>")
            content(value, put, at, bad)
            put(tail)

        return write


def _nothing(value: Any, head: str, tail: str, put: Put, at: At, bad: Faults) -> None:
    """Writes nothing: the fault is already reported."""


def without(value: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != key}


def _simple(markup: Write, *, names: bool) -> TypeWriter:
    def write(value: Any, head: str, tail: str, put: Put, at: At, bad: Faults) -> None:
        if value.__class__ is dict and TEXT in value:
            unknown(value, _ONLY_TEXT, False, "", at, bad)
            at, value = (at, TEXT), value[TEXT]
        try:
            text = markup(value)
        except DatatypeError as error:
            broken(error, value, at, bad)
            return
        if names:
            xmlns, text = declare_names(text)
            head += xmlns
        put(f"{head}>{text}{tail}")

    return write


_ONLY_TEXT = frozenset({TEXT})


def _fixed(encoders: Encoders, type_: SimpleType, fixed: str | None, markup: Write) -> Write:
    rules = encoders.rules(type_)
    text_of = encoders.simple[type_].text
    fixed_value = rules.same(rules.normalize(fixed)) if fixed is not None else None

    def write(value: Any) -> str:
        if value == "" and value.__class__ is str:
            return ""
        if fixed is not None and rules.same(rules.normalize(text_of(value).replace(NAME_MARK, ""))) != fixed_value:
            raise DatatypeError(f"it can only be {fixed!r}, not {kind_of(value)} of another value")
        return markup(value)

    return write
