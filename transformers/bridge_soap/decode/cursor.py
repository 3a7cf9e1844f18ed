"""The quick way of decoding: generated code that goes through a type's children in the schema's order.

Nearly every reply keeps that order and holds nothing unknown. Where one doesn't, the code leaves the element to the
general reader, which goes on from there and takes children in any order. Choices and optional groups need no care here:
whatever of them is there stands in the schema's order too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bridge.api import FAST_PATHS
from bridge_soap.components import ComplexType, Element, SimpleType, Type
from bridge_soap.datatypes.facets import Bad
from bridge_soap.names import local_name
from bridge_soap.source import EAGER, Source
from bridge_soap.xsd.model import Content, Part

if TYPE_CHECKING:
    from lxml import etree

    from bridge_soap.decode.decoders import Decoders, Note, Reader


#: ``(element, note, odd)``: `odd` is false where the whole message is known to hold no attributes.
QuickReader = Callable[["etree._Element", "Note", bool], Any]

#: ``(elements of one declaration, note, odd) -> their values``.
RunReader = Callable[[Sequence["etree._Element"], "Note", bool], list[Any]]

#: Reads some of an element's children, in any order, into an object: ``(element, children, object, note)``. A fifth
#: argument, what the last call gave back, lets it go on.
RestReader = Callable[..., int]

#: Longer rows hold so many optional elements that all of them are seldom there.
_MAX_ROW = 32


class _End:
    """Stands after the last child; no tag is equal to its own."""

    __slots__ = ()
    tag = ""


OUT_OF_ORDER = "its children are not in the schema's order"


def noting_order(rest: RestReader, content: Content) -> RestReader:
    """The plain path's way to notice children that are not in the schema's order, as generated code does."""
    assert content.root is not None
    places: dict[str, int] = {}
    for place, leaf in enumerate(content.root.leaves()):
        if leaf.element is not None:
            places[leaf.element.name] = place
    apart = _out_of_order(rest)

    def read(node: etree._Element, children: Iterable[etree._Element], out: dict[str, Any], note: Note) -> int:
        known = [places[child.tag] for child in children if child.tag in places]
        return (rest if known == sorted(known) else apart)(node, children, out, note)

    return read


def _out_of_order(rest: RestReader) -> RestReader:
    """Reads what isn't in order: if it finds nothing else to tell of, that is told."""

    def read(node: etree._Element, children: Iterable[etree._Element], out: dict[str, Any], note: Note) -> int:
        told = False

        def listen(where: etree._Element, why: str) -> None:
            nonlocal told
            told = True
            note(where, why)

        passed = rest(node, children, out, listen)
        if not told:
            note(node, OUT_OF_ORDER)
        return passed

    return read


def in_any_order(root: Part) -> bool:
    """Whether the schema leaves open the order of some children."""
    return any(part.kind == "all" for part in (root, *root.parts))


class Cursor:
    """Makes quick readers. `name` gives a type's function in `env`, which is there once `finish` has run."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders
        self.env: dict[str, Any] = {"END": _End(), "Bad": Bad}
        self._names: dict[ComplexType, str] = {}
        self._waiting: list[tuple[ComplexType, str, Reader, RestReader, Any]] = []
        self._made = 0
        self._runs: dict[Element, RunReader] = {}

    def fits(self, content: Content) -> bool:
        """Whether a type's children can be read this way: named elements only, none of them in a repeated group."""
        return FAST_PATHS and self.has_order(content)

    def has_order(self, content: Content) -> bool:
        """As `fits`, whether or not fast paths are on."""
        return (
            not self._decoders.strict
            and content.root is not None
            and not content.whole
            and content.region is None
            and not content.wildcards
            and all(slot.element is slot.head for slot in content.slots.values())
        )

    def reader(self, type_: ComplexType, general: Reader, rest: RestReader, complete: Any) -> Reader:
        """The quick reader of a type. `general` reads elements that it can't, `rest` children, and `complete` looks for
        what is missing."""
        name, env = f"d{len(self.env)}", self.env
        self._names[type_] = name
        env[name] = None  # keeps the number from being given twice
        self._waiting.append((type_, name, general, rest, complete))

        def read(node: etree._Element, note: Note) -> Any:
            return env[name](node, note, True)  # looked up each time: it is there later than this

        return read

    def quick(self, type_: Type) -> QuickReader | None:
        """The quick reader of a type, where it can be read this way."""
        name, env = self._names.get(type_) if isinstance(type_, ComplexType) else None, self.env
        if name is None:
            return None

        def read(node: etree._Element, note: Note, odd: bool) -> Any:
            return env[name](node, note, odd)  # looked up each time, as above

        return read

    def run(self, element: Element) -> RunReader:
        """The reader of elements that stand in a row."""
        known = self._runs.get(element)
        if known is None:
            with self._decoders.lock:
                out = Source(self.env)
                out.add("found = []")
                out.add("for c in cs:")
                out.depth += 1
                self._value(out, element)
                out.add("found.append(x)")
                out.depth -= 1
                out.add("return found")
                name = f"r{len(self.env)}"
                self.env[name] = None
                out.define(name, "cs, note, odd", f"decoder of {local_name(element.name)} in a row")
                self.finish()
                known = self._runs[element] = self.env[name]
        return known

    def finish(self) -> None:
        """Make what was asked for: at once while the contract is small, then when it is first used."""
        while self._waiting:
            type_, name, general, rest, complete = self._waiting.pop()
            if self._made < EAGER:
                self._compile(type_, name, general, rest, complete)
            else:
                self.env[name] = self._later(type_, name, general, rest, complete)

    def _later(self, type_: ComplexType, name: str, general: Reader, rest: RestReader, complete: Any) -> QuickReader:
        """Stands for a type's function until it is first called."""

        def read(node: etree._Element, note: Note, odd: bool) -> Any:
            with self._decoders.lock:
                if self.env[name] is read:
                    self._compile(type_, name, general, rest, complete)
                    self.finish()
            return self.env[name](node, note, odd)

        return read

    def _compile(self, type_: ComplexType, name: str, general: Reader, rest: RestReader, complete: Any) -> None:
        self._made += 1
        content = self._decoders.graph.model(type_)
        assert content.root is not None
        out = Source(self.env)
        out.env[f"g{name}"] = general
        attributed = bool(type_.attributes or type_.any_attribute)
        if attributed:
            attributes = out.const(self._decoders.attributes(type_))
            always = any(use.required for use in type_.attributes.values())
            out.add("out = {}")
            out.add(f"if {'True' if always else 'odd and node.items()'}: {attributes}(node, out, note)")
            out.add("own = len(out)")
        else:
            out.add("if odd and node.items():")
            out.add(f"    return g{name}(node, note)")
            out.add("out = {}")
        out.add("cs = node.getchildren()")
        self._whole_row(out, content, attributed=attributed)
        out.add("cs.append(END)")
        out.add("c = cs[0]; i = 1")
        for leaf in content.root.leaves():
            self._leaf(out, leaf, content)
        out.add("if c is not END:")
        ordered = self._decoders.literal and not in_any_order(content.root)
        out.add(f"    {out.const(_out_of_order(rest) if ordered else rest)}(node, cs[i - 1:-1], out, note)")
        full = len({slot.key for slot in content.slots.values()})
        out.add(f"if len(out){' - own' if attributed else ''} != {full}:")
        out.add(f"    {out.const(complete)}(out, node, note)")
        if content.counts or content.choices:
            out.add(f"else: {out.const(complete)}(out, node, note)")
        out.add("return out")
        out.define(name, "node, note, odd", f"decoder of {local_name(type_.name) or 'a type'}")

    def _whole_row(self, out: Source, content: Content, *, attributed: bool) -> None:
        """Records, which are nothing but a row of single elements, and all of them there: no cursor is needed."""
        assert content.root is not None
        leaves = list(content.root.leaves())
        row = content.root.kind == "sequence" and all(part.kind == "element" for part in content.root.parts)
        if not row or len(leaves) > _MAX_ROW or any(slot.many for slot in content.slots.values()):
            return
        numbers = range(len(leaves))
        out.add(f"if len(cs) == {len(leaves)}:")
        out.depth += 1
        out.add("".join(f"c{n}, " for n in numbers) + "= cs")
        tests = (f"c{n}.tag == {leaf.element.name!r}" for n, leaf in enumerate(leaves) if leaf.element)
        out.add(f"if {' and '.join(tests)}:")
        out.depth += 1
        for number, leaf in enumerate(leaves):
            assert leaf.element is not None
            out.add(f"c = c{number}")
            self._value(out, leaf.element)
            out.add(f"x{number} = x")
        record = "{" + ", ".join(f"{leaf.key!r}: x{n}" for n, leaf in enumerate(leaves)) + "}"
        out.add(f"return out | {record}" if attributed else f"return {record}")
        out.depth -= 2

    def _leaf(self, out: Source, part: Part, content: Content) -> None:
        element = part.element
        assert element is not None
        many, key = content.slots[element.name].many, part.key
        if many:
            if key in content.arrays:
                out.add(f"out[{key!r}] = found = []")
            out.add(f"if c.tag == {element.name!r}:")
            out.depth += 1
            if key not in content.arrays:
                out.add(f"found = out.setdefault({key!r}, [])")
            out.add(f"while c.tag == {element.name!r}:")
        else:
            out.add(f"if c.tag == {element.name!r}:")
        out.depth += 1
        self._value(out, element)
        out.add("found.append(x)" if many else f"out[{key!r}] = x")
        out.add("c = cs[i]; i += 1")
        out.depth -= 2 if many else 1

    def _value(self, out: Source, element: Element) -> None:
        """One element's value into ``x``."""
        type_, reader = element.type, out.const(self._decoders.element(element))
        simple = self._decoders.simple[type_] if isinstance(type_, SimpleType) else None
        if simple is not None and not simple.names and element.fixed is None:
            out.add("x = c.text")
            out.add("if x is None or odd and c.items() or len(c):")
            out.add(f"    x = {reader}(c, note)")
            if simple.identity:
                return
            for test, value in simple.fast:
                out.add(f"elif {test}: {'pass' if value == 'x' else f'x = {value}'}")
            out.add("else:")
            out.add(f"    try: x = {out.const(simple.value)}(x)")
            out.add("    except Bad as error: note(c, str(error))")
            return
        quick = self._names.get(type_) if isinstance(type_, ComplexType) and not type_.abstract else None
        if quick is not None:
            out.add(f"x = {reader}(c, note) if odd and c.items() else {quick}(c, note, odd)")
        else:
            out.add(f"x = {reader}(c, note)")
