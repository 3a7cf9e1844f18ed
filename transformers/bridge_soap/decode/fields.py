"""The main loop of decoding: child elements to properties."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lxml import etree

from bridge.api import FAST_PATHS
from bridge_soap.components import ComplexType, SimpleType, Wildcard
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.decode.cursor import Cursor, RestReader, noting_order
from bridge_soap.names import local_name, split
from bridge_soap.xsd.model import ANY, ITEMS, Content, Part, Slot

if TYPE_CHECKING:
    from bridge_soap.decode.decoders import AttributesReader, Decoders, Note, Reader
    from bridge_soap.decode.order_check import OrderCheck

#: One tag of a content model: key, whether it is an array, whether it goes into ``#items``, whether it is a plain leaf,
#: the converter of a leaf's text (None: the text itself), and the reader for all other cases.
Field = tuple[str, bool, bool, bool, Callable[[str], Any] | None, "Reader"]

_NO_ITEMS: Mapping[str, int] = MappingProxyType({})


@dataclasses.dataclass(slots=True)
class _Table:
    """The fields of one content model by tag, and by local name if that is unambiguous.

    They are filled on first use, since types may be recursive and most never need the general reader.
    """

    content: Content
    fields: dict[str, Field] = dataclasses.field(default_factory=dict)
    by_local: dict[str, Field] = dataclasses.field(default_factory=dict)
    filled: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """The parts of a reader whose children are properties, for elements that are read incrementally.

    :ivar quick: read children in the schema's order first, as `bridge_soap.decode.cursor` does.
    :ivar notes_order: report children that are out of order, unless something else is reported of them.
    :ivar rest: reads some of the children; takes and returns the place reached in a sequence of elements.
    :ivar complete: reports missing properties: ``(object, element, note, items)``. `items` counts the array items that
        are not in the object.
    :ivar bounded: as `complete`, but checks only array lengths and choices.
    :ivar full: the number of properties if none is missing.
    :ivar late: see `_late`.
    :ivar order: the check of the children's order, on strict routes.
    """

    content: Content
    quick: bool
    notes_order: bool
    rest: RestReader
    complete: Callable[[dict[str, Any], etree._Element, Note, Mapping[str, int]], None]
    bounded: Callable[[dict[str, Any], etree._Element, Note, Mapping[str, int]], None]
    full: int
    late: Mapping[str, tuple[int, Wildcard | None]] | None
    order: OrderCheck | None


class FieldMaker:
    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders
        self.cursor = Cursor(decoders)
        #: by type, after its reader is made
        self.steps: dict[ComplexType, Steps] = {}

    def _fill(self, table: _Table) -> None:
        with self._decoders.lock:
            if not table.filled:
                for tag, slot in table.content.slots.items():
                    table.fields[tag] = self._field(slot)
                table.by_local.update(_by_local(table.fields))
                table.filled = True
                self.cursor.finish()

    def keyed(self, type_: ComplexType, content: Content, attributes: AttributesReader) -> Reader:
        """The reader of a type whose children are properties."""
        required = frozenset(_required(content.root, content)) if content.root is not None else frozenset[str]()

        def complete(
            out: dict[str, Any], node: etree._Element, note: Note, items: Mapping[str, int] = _NO_ITEMS
        ) -> None:
            _complete(out, node, required, content.branch_arrays, note)
            if content.counts or content.choices:
                _bounded(out, node, content, note, items)

        general, steps = self._general(content, attributes, complete)
        self.steps[type_] = steps
        return self.cursor.reader(type_, general, steps.rest, complete) if steps.quick else general

    def _general(
        self,
        content: Content,
        attributes: AttributesReader,
        complete: Callable[..., None],
    ) -> tuple[Reader, Steps]:
        """The reader that takes children in any order, and its `Steps`."""
        arrays = content.arrays
        full = len({slot.key for slot in content.slots.values() if not slot.in_items}) + len({*arrays} & {ANY, ITEMS})
        order, bounded = self._decoders.order(content), bool(content.counts or content.choices)
        late = _late(content)
        rest = plain = self._rest(content, late)
        notes_order = self.cursor.has_order(content) and self.cursor.notes_order(content)
        if not FAST_PATHS and notes_order:
            plain = noting_order(rest, content)
        must = self._decoders.strict  # strict routes check required attributes too

        def read(node: etree._Element, note: Note) -> Any:
            out: dict[str, Any] = {}
            own = 0
            if node.keys() or must:
                attributes(node, out, note)
                own = len(out)
            for key in arrays:
                out[key] = []
            plain(node, node, out, note)
            if len(out) - own != full:
                complete(out, node, note)
            elif bounded:
                _bounded(out, node, content, note)
            if order is not None:
                order(node, note)
            return out

        def bound(out: dict[str, Any], node: etree._Element, note: Note, items: Mapping[str, int]) -> None:
            _bounded(out, node, content, note, items)

        quick = self.cursor.fits(content)
        return read, Steps(content, quick, notes_order, rest, complete, bound, full, late, order)

    def _rest(self, content: Content, late: dict[str, tuple[int, Wildcard | None]] | None) -> Callable[..., int]:
        """The function that reads children in any order into an object; it returns the furthest place reached."""
        table, fill = _Table(content), self._fill
        get = table.fields.get
        stranger = self._stranger(content, table)

        def rest(
            node: etree._Element, children: Iterable[etree._Element], out: dict[str, Any], note: Note, furthest: int = 0
        ) -> int:
            if not table.filled:
                fill(table)
            for child in children:
                field = get(child.tag)
                if field is None:
                    stranger(child, out, note)
                    continue
                if late is not None:
                    place, wildcard = late[child.tag]
                    if place < furthest and wildcard is not None:
                        item = {child.tag: self._decoders.unknown.element(child, wildcard, note)}
                        _append(out, ANY, item)
                        continue
                    furthest = max(furthest, place)
                key, many, in_items, leaf, convert, reader = field
                if not many and not in_items and key in out:
                    stranger(child, out, note)  # checked before reading: reading twice per level would read 2^n times
                    continue
                if leaf:
                    text = child.text
                    if text is None or child.keys() or len(child):
                        value = reader(child, note)
                    elif convert is None:
                        value = text
                    else:
                        try:
                            value = convert(text)
                        except DatatypeError as error:
                            note(child, str(error))
                            value = error.instead(text)
                else:
                    value = reader(child, note)
                if many:
                    if key in out:
                        out[key].append(value)
                    else:
                        out[key] = [value]
                elif in_items:
                    _append(out, ITEMS, {key: value})
                else:
                    out[key] = value
            return furthest

        return rest

    def items(self, content: Content) -> Callable[[etree._Element, Note], dict[str, Any] | None]:
        """For ordered content: one child to ``{key: value}``; None if it is left out."""
        table, fill = _Table(content), self._fill
        fields, by_local, unknown = table.fields, table.by_local, self._decoders.unknown
        literal = self._decoders.literal
        keys = frozenset(slot.key for slot in content.slots.values())

        def find(child: etree._Element, note: Note) -> dict[str, Any] | None:
            if not table.filled:
                fill(table)
            field = fields.get(child.tag)
            if field is None:
                for wildcard in content.wildcards:
                    if wildcard.allows(split(child.tag)[0]):
                        key = child.tag if child.tag not in keys else f"{{}}{child.tag}"
                        return {key: unknown.element(child, wildcard, note)}
                field = by_local.get(local_name(child.tag))
                if field is None:
                    note(child, "the schema has no such element here; it is left out")
                    return None
                if literal:
                    note(child, "its namespace is not the schema's")
            return {field[0]: field[5](child, note)}

        return find

    def _field(self, slot: Slot) -> Field:
        element = slot.element
        if element is not slot.head:
            return slot.key, slot.many, slot.in_items, False, None, self._decoders.member(element, slot.head)
        reader = self._decoders.element(element)
        if isinstance(element.type, SimpleType):
            simple = self._decoders.simple[element.type]
            if not simple.names and element.fixed is None:
                convert = None if simple.identity else simple.value
                return slot.key, slot.many, slot.in_items, True, convert, reader
        return slot.key, slot.many, slot.in_items, False, None, reader

    def _stranger(self, content: Content, table: _Table) -> Callable[[etree._Element, dict[str, Any], Note], None]:
        """Handles a child that the content model does not name, or that repeats without permission."""
        fields, by_local, literal = table.fields, table.by_local, self._decoders.literal
        unknown, region = self._decoders.unknown, content.region
        keys = frozenset(slot.key for slot in content.slots.values())
        in_items = {id(leaf.wildcard) for leaf in region.leaves()} if region is not None else set[int]()

        def take(child: etree._Element, out: dict[str, Any], note: Note) -> None:
            tag = child.tag
            for wildcard in content.wildcards:
                if wildcard.allows(split(tag)[0]):
                    to_items = id(wildcard) in in_items
                    name = f"{{}}{tag}" if to_items and tag in keys else tag
                    _append(out, ITEMS if to_items else ANY, {name: unknown.element(child, wildcard, note)})
                    return
            field = by_local.get(local_name(tag))
            if field is None or tag in fields:
                again = "it comes more often than the schema allows" if tag in fields else "the schema doesn't know it"
                note(child, f"{again}; it is left out")
                return
            if literal:
                note(child, "its namespace is not the schema's")
            key, many, to_items, _, _, reader = field
            if many:
                _append(out, key, reader(child, note))
            elif to_items:
                _append(out, ITEMS, {key: reader(child, note)})
            else:
                out.setdefault(key, reader(child, note))

        return take


def _append(out: dict[str, Any], key: str, value: Any) -> None:
    out.setdefault(key, []).append(value)


def _by_local(fields: dict[str, Field]) -> dict[str, Field]:
    """Fields by local name, for replies in the wrong namespace; ambiguous names are left out."""
    table: dict[str, Field] = {}
    twice: set[str] = set()
    for tag, field in fields.items():
        local = local_name(tag)
        if local in table:
            twice.add(local)
        table[local] = field
    return {local: field for local, field in table.items() if local not in twice}


def _required(part: Part, content: Content) -> list[str]:
    if part.low == 0 or part is content.region or part.kind == "choice" or part.key == ANY:
        return []
    if not part.is_group:
        return [part.key]
    return [key for child in part.parts for key in _required(child, content)]


def _complete(
    out: dict[str, Any],
    node: etree._Element,
    required: frozenset[str],
    branch_arrays: tuple[tuple[frozenset[str], tuple[str, ...]], ...],
    note: Note,
) -> None:
    """Report missing properties, and add the empty arrays of a chosen branch."""
    for key in required:
        if key not in out:
            note(node, f"{key} is missing in it")
    for keys, arrays in branch_arrays:
        if not keys.isdisjoint(out):
            for key in arrays:
                out.setdefault(key, [])


def _bounded(
    out: dict[str, Any], node: etree._Element, content: Content, note: Note, items: Mapping[str, int] = _NO_ITEMS
) -> None:
    """Report arrays with too many or too few items, and choices with two branches. `items` counts array items that are
    not in `out`."""
    for key, low, high in content.counts:
        count = len(out.get(key, ())) + items.get(key, 0)
        if count < low or (high is not None and count > high):
            note(node, f"it holds {count} of {key}, which the schema does not allow")
    for branches in content.choices:
        branches_present = [keys for keys in branches if any(out.get(key, []) != [] for key in keys)]
        if len(branches_present) > 1:
            names = ", ".join(sorted(key for keys in branches_present for key in keys if key in out))
            note(node, f"it holds {names}, of which the schema allows one")


def _late(content: Content) -> dict[str, tuple[int, Wildcard | None]] | None:
    """For a sequence that ends in wildcards: each tag's place in the sequence, and the wildcard that accepts it after
    that place has passed. None for other content models."""
    root = content.root
    if root is None or root.kind != "sequence" or root.repeats or content.region is not None:
        return None
    if not content.wildcards or any(part.is_group for part in root.parts):
        return None
    places: dict[str, tuple[int, Wildcard | None]] = {}
    for tag, slot in content.slots.items():
        place = next(n for n, part in enumerate(root.parts) if part.element is slot.head)
        later = [part.wildcard for part in root.parts[place + 1 :] if part.wildcard is not None]
        places[tag] = place, next((each for each in later if each.allows(split(tag)[0])), None)
    return places if any(wildcard for _, wildcard in places.values()) else None
