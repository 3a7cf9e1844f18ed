"""JSON to XML: `Encoders` makes one Python function per complex type.

The common content (properties in the schema's order) becomes generated source: straight-line code with the tags as
constants, twenty times as fast as a generic walk. Rarer content (attributes, mixed content, ``xsi:type``, substitution
groups, wildcards) is handled by the functions in `bridge_soap.encode.values`, which generated code calls.
"""

from __future__ import annotations

from typing import Any

from bridge.api import ABSENT, FAST_PATHS
from bridge_soap.components import ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.facets import DatatypeError, Rules
from bridge_soap.datatypes.simple_out import SimpleWriters, constant_markup
from bridge_soap.datatypes.timeline import usual_date, usual_date_time
from bridge_soap.encode.choice import Choice, arrays_of
from bridge_soap.encode.items import ItemsWriter
from bridge_soap.encode.row import row_of
from bridge_soap.encode.values import ValueWriters
from bridge_soap.encode.wild import declare_names
from bridge_soap.encode.writing import (
    Prefixes,
    TypeWriter,
    Writer,
    broken,
    has,
    miscounted,
    missing,
    not_list,
    not_object,
    unknown,
)
from bridge_soap.names import local_name
from bridge_soap.source import EAGER, Source, tag_literal
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.graph import Graph
from bridge_soap.xsd.model import NIL, Content, Part, attribute_keys, keys_of


class Encoders:
    """The encoders of one contract.

    `element` and `content` compile all that they need, so that errors appear then.
    """

    def __init__(self, graph: Graph, prefixes: Prefixes) -> None:
        self.graph, self.schemas, self.prefixes = graph, graph.schemas, prefixes
        self.simple = SimpleWriters(graph.rulebook)
        self.values = self._value_writers()
        self._names: dict[ComplexType, str] = {}
        self._waiting: list[ComplexType] = []
        self._made = 0
        self._roots: dict[Element, Writer] = {}
        self._env: dict[str, Any] = {
            "A": ABSENT, "DatatypeError": DatatypeError, "broken": broken, "has": has, "miscounted": miscounted,
            "missing": missing,
            "not_list": not_list, "not_object": not_object, "unknown": unknown, "slow": self.values.slow,
            "usual_date": usual_date, "usual_date_time": usual_date_time,
        }  # fmt: skip
        self.lock = graph.schemas.lock

    def _value_writers(self) -> ValueWriters:
        return ValueWriters(self)

    # --- entry points ---

    def element(self, element: Element) -> Writer:
        """The writer of an element with all its variants, completely compiled.

        :raises bridge.api.BindError: a required part is invalid.
        """
        with self.lock:
            self.graph.usable(element.type)
            for member in self.schemas.members(element):
                self.graph.usable(member.type)
            writer = self._root(element) if self.is_plain(element) else self.values.element(element)
            self.finish()
            self.values.warm()
            return writer

    def _root(self, element: Element) -> Writer:
        """A plain element's writer as one generated function, which saves a few calls per message."""
        writer = self._roots.get(element)
        if writer is None:
            out, name = Source(self._env), f"r{len(self._env)}"
            self._item(out, element, "at")
            out.define(name, "x, put, at, bad", f"encoder of {local_name(element.name)}")
            writer = self._roots[element] = self._env[name]
        return writer

    def type(self, type_: Type) -> TypeWriter:
        """As `element`, for a type's values."""
        with self.lock:
            self.graph.usable(type_)
            writer = self.values.type(type_)
            self.finish()
            self.values.warm()
            return writer

    def content(self, complex_type: ComplexType) -> Writer:
        """As `element`, for a type's child elements without an element around them."""
        with self.lock:
            self.graph.usable(complex_type)
            writer = self.late_content(complex_type)
            self.finish()
            self.values.warm()
            return writer

    def late_content(self, complex_type: ComplexType) -> Writer:
        """The writer of a type's child elements (not its attributes), looked up per call: the types that it needs may
        not be compiled yet."""
        name, env = self._name(complex_type), self._env

        def write(value: Any, put: Any, at: Any, bad: Any) -> None:
            env[name](value, put, at, bad)

        return write

    def rules(self, simple: SimpleType) -> Rules:
        return self.graph.rulebook[simple]

    def finish(self) -> None:
        """Compile all requested types. `Graph` has validated them, so this can't fail."""
        while self._waiting:
            complex_type = self._waiting.pop()
            name = self._names[complex_type]
            if self._made < EAGER:
                self._compile(complex_type, name)
            else:
                self._env[name] = self._later(complex_type, name)

    def _later(self, complex_type: ComplexType, name: str) -> Writer:
        """Compiles a type's function on its first call."""

        def write(value: Any, put: Any, at: Any, bad: Any) -> None:
            with self.lock:
                if self._env[name] is write:
                    self._compile(complex_type, name)
                    self.finish()
            self._env[name](value, put, at, bad)

        return write

    def is_plain(self, element: Element) -> bool:
        """Whether the element's type has only child elements: no attributes, variants or mixed text."""
        type_ = element.type
        return (
            isinstance(type_, ComplexType)
            and type_ is not ANY_TYPE
            and not (type_.abstract or type_.mixed or type_.simple or type_.attributes or type_.any_attribute)
            and not self.values.has_variants(element)
        )

    # --- generating ---

    def _name(self, complex_type: ComplexType) -> str:
        name = self._names.get(complex_type)
        if name is None:
            name = self._names[complex_type] = f"c{len(self._env)}"
            self._env[name] = None  # reserves the number
            self._waiting.append(complex_type)
        return name

    def _compile(self, complex_type: ComplexType, name: str) -> None:
        self._made += 1
        content = self.graph.model(complex_type)
        if content.whole:
            self._env[name] = ItemsWriter(self, complex_type, content).content
            return
        out = Source(self._env)
        out.add("if v.__class__ is not dict:")
        out.add("    return not_object(v, at, bad)")
        allowed_keys = {*attribute_keys(complex_type).values(), NIL} if complex_type.attributes else set[str]()
        if complex_type.any_attribute:
            allowed_keys.add(NIL)
        if content.root is not None:
            allowed_keys |= keys_of(content.root, content.region)
            self._part(out, content.root, complex_type, content)
        keys, own = out.const(frozenset(allowed_keys)), out.const(complex_type.name)
        out.add(f"if not {out.const(frozenset(allowed_keys).issuperset)}(v):")
        out.add(f"    unknown(v, {keys}, {bool(complex_type.any_attribute)}, {own}, at, bad)")
        out.define(name, "v, put, at, bad", f"encoder of {local_name(complex_type.name) or 'a type'}")

    def _part(self, out: Source, part: Part, owner: ComplexType, content: Content) -> None:
        if part is content.region:
            writer = out.const(ItemsWriter(self, owner, content).region)
            out.add(f"{writer}(v, put, at, bad)")
        elif part.kind == "element":
            self._field(out, part, content)
        elif part.kind == "any":
            writer = out.const(ItemsWriter(self, owner, content).wildcard(part))
            out.add(f"{writer}(v, put, at, bad)")
        elif part.low == 0 and part.kind != "choice":
            keys = tuple(sorted(keys_of(part, content.region)))
            out.add(f"if has(v, {out.const(keys)}, {out.const(arrays_of(content))}):")
            out.depth += 1
            self._group(out, part, owner, content, optional=False)
            out.depth -= 1
        else:
            self._group(out, part, owner, content, optional=part.low == 0)

    def _group(self, out: Source, part: Part, owner: ComplexType, content: Content, *, optional: bool) -> None:
        if part.kind == "sequence":
            for child in part.parts:
                self._part(out, child, owner, content)
        elif part.kind == "choice":
            self._choice(out, part, owner, content, optional=optional)
        else:
            self._all(out, part, content)

    def _choice(self, out: Source, part: Part, owner: ComplexType, content: Content, *, optional: bool) -> None:
        branch_var = f"b{out.depth}"
        choice = Choice(part, content, optional=optional)
        out.add(f"{branch_var} = {out.const(choice)}(v, at, bad)")
        for number, branch in enumerate(part.parts):
            out.add(f"{'el' if number else ''}if {branch_var} == {number}:")
            out.depth += 1
            self._part(out, branch, owner, content)
            out.depth -= 1

    def _all(self, out: Source, part: Part, content: Content) -> None:
        """Any order is valid, so the order of the body is kept."""
        out.add("for key, x in v.items():")
        out.depth += 1
        for number, child in enumerate(part.parts):
            out.add(f"{'el' if number else ''}if key == {child.key!r}:")
            out.depth += 1
            self._value(out, child, content)
            out.depth -= 1
        out.depth -= 1
        for child in part.parts:
            if child.low:
                out.add(f"if {child.key!r} not in v:")
                out.add("    " + self._absent(out, child))

    def _field(self, out: Source, part: Part, content: Content) -> None:
        out.add(f"x = v.get({part.key!r}, A)")
        if part.low:
            out.add("if x is A:")
            out.add("    " + self._absent(out, part))
            out.add("else:")
        else:
            out.add("if x is not A:")
        out.depth += 1
        self._value(out, part, content)
        out.depth -= 1

    def _absent(self, out: Source, part: Part) -> str:
        """The code for an absent required element: its default or fixed value, or a fault."""
        element = part.element
        assert element is not None
        text = element.fixed if element.fixed is not None else element.default
        type_ = element.type
        needs_more = isinstance(type_, ComplexType) and any(
            use.required and use.fixed is None for use in type_.attributes.values()
        )
        if text is None or part.low > 1 or needs_more:
            return f"missing(at, {part.key!r}, bad)"
        tag = self.prefixes.tag(element.name)
        xmlns, text = declare_names(constant_markup(type_, text))
        return f"put({out.const(f'<{tag}{xmlns}>{text}</{tag}>')})"

    def _value(self, out: Source, part: Part, content: Content) -> None:
        element = part.element
        assert element is not None
        key = part.key
        if not content.slots[element.name].many:
            self._item(out, element, f"(at, {key!r})")
            return
        out.add("if x.__class__ is not list:")
        out.add(f"    not_list(x, at, {key!r}, bad)")
        out.add("else:")
        out.depth += 1
        if part.low or part.high is not None:
            high = "" if part.high is None else f" <= {part.high}"
            out.add(f"if not {part.low} <= len(x){high}:")
            out.add(f"    miscounted(len(x), {part.low}, {part.high}, at, {key!r}, bad)")
        out.add(f"here = (at, {key!r})")
        out.add("for i, x in enumerate(x):")
        out.depth += 1
        self._item(out, element, "(here, i)")
        out.depth -= 2

    def _item(self, out: Source, element: Element, at: str) -> None:
        """One element with the value ``x``."""
        type_ = element.type
        if isinstance(type_, SimpleType) and not self.values.has_members(element):
            writer = self.simple[type_]
            if not writer.names and type_.builtin != "anySimpleType":
                self._leaf(out, element, type_, at)
                return
        if self.is_plain(element) and isinstance(type_, ComplexType):
            self._nested(out, element, type_, at)
            return
        out.add(f"{out.const(self.values.element(element))}(x, put, {at}, bad)")

    def _leaf(self, out: Source, element: Element, type_: SimpleType, at: str) -> None:
        writer, tag = self.simple[type_], tag_literal(self.prefixes.tag(element.name))
        special = element.default is not None or element.fixed is not None
        slow = out.const(element)
        convert = out.const(self.values.leaf(element, type_) if special else writer.markup)
        branch = "if"
        if element.nillable:
            out.add(f"if x is None: put('<{tag} xsi:nil=\"true\"/>')")
            branch = "elif"
        for test, text in writer.fast if FAST_PATHS and not special else ():
            out.add(f"{branch} {test}: put(f'<{tag}>{text}</{tag}>')")
            branch = "elif"
        out.add("else:" if branch == "elif" else "if True:")
        out.add(f"    try: put(f'<{tag}>{{{convert}(x)}}</{tag}>')")
        out.add(f"    except DatatypeError as error: slow(error, {slow}, x, put, {at}, bad)")

    def _nested(self, out: Source, element: Element, type_: ComplexType, at: str) -> None:
        tag, name = tag_literal(self.prefixes.tag(element.name)), self._name(type_)
        if element.nillable:
            out.add(f"if x is None: put('<{tag} xsi:nil=\"true\"/>')")
            out.add("else:")
            out.depth += 1
        row = row_of(self, out, type_)
        if row:
            out.add(f"if ok: put(f'<{tag}>{row}</{tag}>')")
            out.add("else:")
            out.depth += 1
        out.add(f"put('<{tag}>')")
        out.add(f"{name}(x, put, {at}, bad)")
        out.add(f"put('</{tag}>')")
        out.depth -= int(element.nillable) + bool(row)
