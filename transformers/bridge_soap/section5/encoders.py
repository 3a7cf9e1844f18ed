"""JSON to encoded XML: the literal encoders, plus the type of each element and arrays."""

from __future__ import annotations

from typing import Any

from bridge_soap.components import Blocked, ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.simple_out import escape_attribute, kind_of
from bridge_soap.encode.encoders import Encoders
from bridge_soap.encode.values import ValueWriters, without
from bridge_soap.encode.writing import At, Faults, Prefixes, Put, TypeWriter, Writer, pointer
from bridge_soap.names import clark, split, xsd
from bridge_soap.section5.rules import Encoding, sizes
from bridge_soap.source import Source
from bridge_soap.xsd.arrays import Array
from bridge_soap.xsd.builtin import ANY_TYPE, ARRAYS, BUILTIN_TYPES, builtin_type
from bridge_soap.xsd.graph import Graph
from bridge_soap.xsd.model import ITEMS, NIL, TYPE

#: The types of JSON values without a type, for anyType.
_INT = range(-(2**31), 2**31)
_LONG = range(-(2**63), 2**63)


_ANY_SIMPLE = BUILTIN_TYPES[xsd("anySimpleType")]


class EncodedEncoders(Encoders):
    """The encoders of one contract's encoded operations."""

    def __init__(self, graph: Graph, prefixes: Prefixes, encoding: Encoding) -> None:
        self.encoding = encoding
        self.prefix = prefixes.tag(clark(encoding.style, "x")).partition(":")[0]
        super().__init__(graph, prefixes)

    def _value_writers(self) -> ValueWriters:
        return EncodedValues(self)

    def is_plain(self, element: Element) -> bool:
        """Never: each element names its type."""
        return False

    def _item(self, out: Source, element: Element, at: str) -> None:
        out.add(f"{out.const(self.values.element(element))}(x, put, {at}, bad)")

    def wrapper(self, element: Element) -> Writer:
        """The writer of a body's element, which names the encoding.

        :raises bridge.api.BindError: as `element`.
        """
        with self.lock:
            self.graph.usable(element.type)
            tag = self.prefixes.tag(element.name)
            inner = self.values.type(element.type)
            self.finish()
            self.values.warm()
        head = f'<{tag} s:encodingStyle="{escape_attribute(self.encoding.style)}"'

        def write(value: Any, put: Put, at: At, bad: Faults) -> None:
            inner(value, head, f"</{tag}>", put, at, bad)

        return write


class EncodedValues(ValueWriters):
    _encoders: EncodedEncoders

    def _one(self, element: Element) -> Writer:
        """One element: nil, of its declared type, or of the type in ``@xsi:type``."""
        tag, declared_type = self.prefixes.tag(element.name), element.type
        head, tail = f"<{tag}", f"</{tag}>"
        plain, own = self.type(declared_type), self._xsi_type(declared_type)
        abstract = isinstance(declared_type, ComplexType) and declared_type.abstract
        if isinstance(declared_type, ComplexType) and declared_type.name:
            self._fresh.append(declared_type)

        def write(value: Any, put: Put, at: At, bad: Faults) -> None:
            writer, start = plain, head + own
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
                        writer, start = self._ready(own_type, at, bad), head + self._xsi_type(own_type, named=True)
                elif abstract:
                    bad.append(
                        (pointer(at), f"{TYPE} is required: the type {split(declared_type.name)[1]} is abstract")
                    )
                    return
                if value.get(NIL) is True:
                    value = None
            if value is None:
                put(f'{head} xsi:nil="true"/>')
                return
            if declared_type is ANY_TYPE and writer is plain:
                own_type = _guess(value)
                if own_type is not None:
                    writer, start = self.type(own_type), head + self._xsi_type(own_type)
            writer(value, start, tail, put, at, bad)

        return write

    def _named_type(
        self, name: object, declared_type: Type, at: At, bad: Faults, block: Blocked = frozenset()
    ) -> Type | None:
        if name == "Array" and (declared_type is ANY_TYPE or self._array(declared_type) is not None):
            return builtin_type(self._encoders.encoding.array)
        faults: Faults = []
        own_type = super()._named_type(name, declared_type, at, faults, block)
        if own_type is None and isinstance(declared_type, SimpleType):
            own_type = super()._named_type(name, _ANY_SIMPLE, at, [])  # a server accepts the types that it guesses
        if own_type is None:
            bad += faults
        return own_type

    def _xsi_type(self, type_: Type, *, named: bool = False) -> str:
        """The ``xsi:type`` of a value. An anonymous simple type is replaced by its base, and an array by Array, which
        services expect, unless the JSON `named` its type."""
        if self._array(type_) is not None and (not named or not type_.name or type_.name in ARRAYS):
            return f' xsi:type="{self._encoders.prefix}:Array"'
        step: Type | None = type_
        while isinstance(step, SimpleType) and not step.name:
            step = step.base
        if step is None or not step.name or step is ANY_TYPE:
            return ""
        return f' xsi:type="{self.prefixes.tag(step.name)}"'

    def _array(self, type_: Type) -> Array | None:
        return self._encoders.graph.arrays[type_]

    def _type(self, type_: Type) -> TypeWriter:
        array = self._array(type_)
        return super()._type(type_) if array is None else self._members(array)

    # --- arrays ---

    def _members(self, array: Array) -> TypeWriter:
        item, dimensions = array.item, array.dimensions
        writer: Writer | None = None

        def write(value: Any, head: str, tail: str, put: Put, at: At, bad: Faults) -> None:
            nonlocal writer
            if writer is None:  # created now, since an array may contain itself
                with self._encoders.lock:
                    writer = self.element(item)
                    self._encoders.finish()
            if value.__class__ is dict and value.keys() == {ITEMS}:
                at, value = (at, ITEMS), value[ITEMS]
            if value.__class__ is not list:
                bad.append((pointer(at), f"an array is wanted, not {kind_of(value)}"))
                return
            flat: list[tuple[At, Any]] = []
            lengths: list[int] = []
            _flatten(value, at, dimensions, lengths, flat, bad)
            put(head + self._size(array, lengths, [each for _, each in flat]) + ">")
            for place, each in flat:
                writer(each, put, place, bad)
            put(tail)

        return write

    def _size(self, array: Array, lengths: list[int], items: list[Any]) -> str:
        """``arrayType``, or ``itemType`` and ``arraySize`` in SOAP 1.2."""
        encoding, prefix = self._encoders.encoding, self._encoders.prefix
        ranks, type_ = "", array.item.type
        while not type_.name:
            inner = self._array(type_)
            if inner is None:
                break
            ranks = f"[{',' * (inner.dimensions - 1)}]{ranks}"
            type_ = inner.item.type
        if type_ is ANY_TYPE and not ranks:
            type_ = self._common(items) or type_
        name = self.prefixes.tag(type_.name or xsd("anyType"))
        size = sizes(lengths, encoding)
        if encoding.is_11:
            return f' {prefix}:arrayType="{name}{ranks}[{size}]"'
        # SOAP 1.2 has no notation for arrays of arrays: the items are arrays.
        name = f"{prefix}:Array" if ranks else name
        return f' {prefix}:itemType="{name}" {prefix}:arraySize="{size}"'

    def _common(self, items: list[Any]) -> Type | None:
        """The type that all items of an untyped array name."""
        names = {each[TYPE] if each.__class__ is dict and isinstance(each.get(TYPE), str) else "" for each in items}
        if len(names) != 1:
            return None
        bad: Faults = []
        return self._named_type(names.pop(), ANY_TYPE, None, bad)


def _flatten(value: Any, at: At, dimensions: int, lengths: list[int], flat: list[tuple[At, Any]], bad: Faults) -> None:
    """The items of nested arrays in row-major order (section 5.4.2), with their places; `lengths` by dimension."""
    rows: list[tuple[At, Any]] = [(at, value)]
    for depth in range(dimensions):
        lengths.append(max((len(row) for _, row in rows), default=0))
        items: list[tuple[At, Any]] = []
        for place, row in rows:
            if len(row) != lengths[-1]:
                bad.append((pointer(place), f"it must hold {lengths[-1]} items as its neighbours do, not {len(row)}"))
            items += [((place, number), each) for number, each in enumerate(row)]
        if depth + 1 < dimensions:
            for place, each in items:
                if each.__class__ is not list:
                    bad.append((pointer(place), f"an array is wanted, not {kind_of(each)}"))
            items = [(place, each) for place, each in items if each.__class__ is list]
        rows = items
    flat += rows


def _guess(value: Any) -> Type | None:
    """The type of a JSON value that has none in the schema and the body."""
    if value.__class__ is str:
        return builtin_type(xsd("string"))
    if value.__class__ is bool:
        return builtin_type(xsd("boolean"))
    if value.__class__ is int:
        return builtin_type(xsd("int" if value in _INT else "long" if value in _LONG else "integer"))
    if value.__class__ is list:
        return builtin_type(ARRAYS[0])
    return builtin_type(xsd("double")) if not isinstance(value, dict) else None
