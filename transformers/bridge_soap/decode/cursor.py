"""Fast path of decoding: generated code that reads a type's children in the schema's order.

Nearly every reply keeps that order and has no unknown elements. If one does not, the general reader takes over at that
element; it accepts children in any order. Choices and optional groups need no special code, since their elements also
appear in the schema's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bridge.api import FAST_PATHS
from bridge_soap.components import ComplexType, Element, SimpleType
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.timeline import usual_date, usual_date_time
from bridge_soap.names import local_name
from bridge_soap.source import EAGER, Source
from bridge_soap.xsd.model import Content, Part

if TYPE_CHECKING:
    from lxml import etree

    from bridge_soap.decode.decoders import Decoders, Note, Reader


#: ``(elements of one declaration, note) -> their values``.
RunReader = Callable[[Sequence["etree._Element"], "Note"], list[Any]]

#: Reads some of an element's children, in any order, into an object: ``(element, children, object, note)``. A fifth
#: argument, the result of the previous call, continues from there.
RestReader = Callable[..., int]


class _End:
    """Stands after the last child; its tag equals no other."""

    __slots__ = ()
    tag = ""


OUT_OF_ORDER = "its children are not in the schema's order"


class LeafWalk:
    """Follows an element's children through the leaves of its content model, in the schema's order."""

    __slots__ = ("_content", "leaves", "place")

    def __init__(self, content: Content) -> None:
        assert content.root is not None
        self._content = content
        self.leaves = tuple(content.root.leaves())
        #: index of the first leaf that the next child may have
        self.place = 0

    def step(self, tag: str) -> Part | None:
        """The leaf of the next child; None if a child with this tag is out of order or unknown."""
        for place in range(self.place, len(self.leaves)):
            leaf = self.leaves[place]
            if leaf.element is not None and leaf.element.name == tag:
                self.place = place if self.many(leaf) else place + 1
                return leaf
        return None

    def many(self, leaf: Part) -> bool:
        return leaf.element is not None and self._content.slots[leaf.element.name].many

    def ordered(self, children: Sequence[etree._Element]) -> int:
        """The number of leading children that are in order."""
        for count, child in enumerate(children):
            if self.step(child.tag) is None:
                return count
        return len(children)


def noting_order(rest: RestReader, content: Content) -> RestReader:
    """Reports children that are not in the schema's order, as the generated code does."""
    apart = _out_of_order(rest)

    def read(node: etree._Element, children: Iterable[etree._Element], out: dict[str, Any], note: Note) -> int:
        children = list(children)
        end = LeafWalk(content).ordered(children)
        place = rest(node, children[:end], out, note)
        return apart(node, children[end:], out, note, place) if end < len(children) else place

    return read


def _out_of_order(rest: RestReader) -> RestReader:
    """Reads children that are out of order, and reports that unless it reports something else."""

    def read(
        node: etree._Element, children: Iterable[etree._Element], out: dict[str, Any], note: Note, furthest: int = 0
    ) -> int:
        noted = False

        def listen(where: etree._Element, why: str) -> None:
            nonlocal noted
            noted = True
            note(where, why)

        place = rest(node, children, out, listen, furthest)
        if not noted:
            note(node, OUT_OF_ORDER)
        return place

    return read


def in_any_order(root: Part) -> bool:
    """Whether the schema allows any order for some children."""
    return any(part.kind == "all" for part in (root, *root.parts))


def _attributed(type_: ComplexType) -> bool:
    return bool(type_.attributes or type_.any_attribute)


class Cursor:
    """Makes the fast readers. `env` holds a type's function by name once `finish` has run."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders
        self.env: dict[str, Any] = {
            "END": _End(),
            "DatatypeError": DatatypeError,
            "usual_date": usual_date,
            "usual_date_time": usual_date_time,
        }
        self._names: dict[ComplexType, str] = {}
        self._waiting: list[tuple[ComplexType, str, RestReader, Any]] = []
        self._made = 0
        self._runs: dict[Element, RunReader] = {}

    def fits(self, content: Content) -> bool:
        """Whether a type's children can be read this way: only named elements, none in a repeated group."""
        return FAST_PATHS and self.has_order(content)

    def has_order(self, content: Content) -> bool:
        """As `fits`, but independent of the switch for fast paths."""
        return (
            not self._decoders.strict
            and content.root is not None
            and not content.whole
            and content.region is None
            and not content.wildcards
            and all(slot.element is slot.head for slot in content.slots.values())
        )

    def notes_order(self, content: Content) -> bool:
        """Whether children that are out of order are reported, unless something else is reported of them."""
        return self._decoders.literal and content.root is not None and not in_any_order(content.root)

    def reader(self, type_: ComplexType, general: Reader, rest: RestReader, complete: Any) -> Reader:
        """The fast reader of a type. `general` reads elements with unexpected attributes, `rest` the remaining
        children; `complete` reports missing ones."""
        name, env = f"d{len(self.env)}", self.env
        self._names[type_] = name
        env[name] = None  # reserves the number
        self._waiting.append((type_, name, rest, complete))

        attributed = _attributed(type_)

        def read(node: etree._Element, note: Note) -> Any:
            if not attributed and node.keys():
                return general(node, note)
            return env[name](node, note)  # looked up per call: it is compiled later

        return read

    def run(self, element: Element) -> RunReader:
        """The reader of consecutive elements with one declaration."""
        reader = self._runs.get(element)
        if reader is None:
            with self._decoders.lock:
                out = Source(self.env)
                out.add("array = []")
                out.add("for c in cs:")
                out.depth += 1
                self._value(out, element)
                out.add("array.append(x)")
                out.depth -= 1
                out.add("return array")
                name = f"r{len(self.env)}"
                self.env[name] = None
                out.define(name, "cs, note", f"decoder of {local_name(element.name)} in a row")
                self.finish()
                reader = self._runs[element] = self.env[name]
        return reader

    def finish(self) -> None:
        """Compile the requested types: the first `EAGER` at once, the others on first use."""
        while self._waiting:
            type_, name, rest, complete = self._waiting.pop()
            if self._made < EAGER:
                self._compile(type_, name, rest, complete)
            else:
                self.env[name] = self._later(type_, name, rest, complete)

    def _later(self, type_: ComplexType, name: str, rest: RestReader, complete: Any) -> Reader:
        """Compiles a type's function on its first call."""

        def read(node: etree._Element, note: Note) -> Any:
            with self._decoders.lock:
                if self.env[name] is read:
                    self._compile(type_, name, rest, complete)
                    self.finish()
            return self.env[name](node, note)

        return read

    def _compile(self, type_: ComplexType, name: str, rest: RestReader, complete: Any) -> None:
        self._made += 1
        content = self._decoders.graph.model(type_)
        assert content.root is not None
        out = Source(self.env)
        out.add("out = {}")
        attributed = _attributed(type_)
        if attributed:
            attributes = out.const(self._decoders.attributes(type_))
            always = any(use.required for use in type_.attributes.values())
            out.add(f"if {'True' if always else 'node.keys()'}: {attributes}(node, out, note)")
            out.add("own = len(out)")
        out.add("cs = node.getchildren()")
        out.add("cs.append(END)")
        out.add("c = cs[0]; i = 1")
        for leaf in content.root.leaves():
            self._leaf(out, leaf, content)
        others = out.const(_out_of_order(rest) if self.notes_order(content) else rest)
        out.add("if c is not END:")
        out.add(f"    {others}(node, cs[i - 1:-1], out, note)")
        full = len({slot.key for slot in content.slots.values()})
        out.add(f"if len(out){' - own' if attributed else ''} != {full}:")
        out.add(f"    {out.const(complete)}(out, node, note)")
        if content.counts or content.choices:
            out.add(f"else: {out.const(complete)}(out, node, note)")
        out.add("return out")
        out.define(name, "node, note", f"decoder of {local_name(type_.name) or 'a type'}")

    def _leaf(self, out: Source, part: Part, content: Content) -> None:
        element = part.element
        assert element is not None
        many, key = content.slots[element.name].many, part.key
        if many:
            if key in content.arrays:
                out.add(f"out[{key!r}] = array = []")
            out.add(f"if c.tag == {element.name!r}:")
            out.depth += 1
            if key not in content.arrays:
                out.add(f"array = out.setdefault({key!r}, [])")
            out.add(f"while c.tag == {element.name!r}:")
        else:
            out.add(f"if c.tag == {element.name!r}:")
        out.depth += 1
        self._value(out, element)
        out.add("array.append(x)" if many else f"out[{key!r}] = x")
        out.add("c = cs[i]; i += 1")
        out.depth -= 2 if many else 1

    def _value(self, out: Source, element: Element) -> None:
        """Generate one element's value into ``x``."""
        type_, reader = element.type, out.const(self._decoders.element(element))
        simple = self._decoders.simple[type_] if isinstance(type_, SimpleType) else None
        if simple is not None and not simple.names and element.fixed is None:
            out.add("x = c.text")
            out.add("if x is None or c.keys() or len(c):")
            out.add(f"    x = {reader}(c, note)")
            if simple.identity:
                return
            for test, value in simple.fast:
                out.add(f"elif {test}: {'pass' if value == 'x' else f'x = {value}'}")
            out.add("else:")
            out.add(f"    try: x = {out.const(simple.value)}(x)")
            out.add("    except DatatypeError as error: note(c, str(error)); x = error.instead(x)")
            return
        quick = self._names.get(type_) if isinstance(type_, ComplexType) and not type_.abstract else None
        if quick is not None:
            out.add(f"x = {reader}(c, note) if c.keys() else {quick}(c, note)")
        else:
            out.add(f"x = {reader}(c, note)")
