"""Elements that are read while they are still being parsed, for replies too large to be held as a tree.

Each class here is the counterpart of one reader of `bridge_soap.decode`: what that does with an element in one go, this
does in steps, with the same value and the same notes in the same order. Children are taken once they are whole, by the
compiled readers, and can then be removed from the tree. What an array has gathered becomes JSON at once (`pack`), so
that neither elements nor Python values pile up.

An element that can't be read in steps (nil, simple, of a type that forbids it) is left to its reader, once it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from lxml import etree

from bridge import BadReply, BindError
from bridge_soap.components import ComplexType, Element, SimpleType, Type, Wildcard
from bridge_soap.decode.cursor import OUT_OF_ORDER, in_any_order
from bridge_soap.decode.decoders import Decoders, Note, OrderCheck, is_text, labelled
from bridge_soap.decode.pattern import MAX_JSON, to_json
from bridge_soap.names import XSI_NIL, XSI_TYPE, local_name, split
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import ANY, CONTENT, ELEMENT, ITEMS, Content, Part, Slot

if TYPE_CHECKING:
    from bridge_soap.message.shape import Shape

#: How many tags the check of an order may have to remember; eight bytes each.
_MAX_TAGS = 4_000_000

TOO_LARGE = "The service's answer is too large to be read in this form."

Put = Callable[[Any], None]


class Mixed(Exception):
    """Text came to light in an element whose white space was passed over: it is to be read again, with that kept."""


class OpenElement:
    """What is known so far of the value of an element that may not have ended yet.

    :param shape: what the route makes of the value, where that is something.
    :ivar skip: children that are no part of it.
    """

    skip = ""

    def __init__(self, opener: Opener, node: etree._Element, note: Note, shape: Shape | None) -> None:
        self._opener, self.node, self.note, self._shape = opener, node, note, shape
        self._packed: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._put: Put | None = None
        self._labels: list[Callable[[Any], Any]] = []

    # --- what its parser asks for ---

    def take(self, children: Sequence[etree._Element]) -> None:
        """Read children that are whole, text behind them included. They are removed afterwards."""
        raise NotImplementedError

    def open(self, child: etree._Element) -> OpenElement | None:
        """The next child, which may not have ended, to be read in steps; None where it must be whole first."""
        raise NotImplementedError

    def close_child(self, child: etree._Element, value: Any) -> None:
        """The value of the child that was opened, which is whole now."""
        assert self._put is not None
        self._put(value)
        self._put = None

    def pack(self) -> None:
        """Make JSON of what has been gathered."""
        raise NotImplementedError

    def close(self) -> Any:
        """The element's value: it has ended, and all its children were taken."""
        value = self._value()
        for label in self._labels:
            value = label(value)
        return value

    def labelled(self, label: Callable[[Any], Any]) -> None:
        """`label` makes of the value what is told of it."""
        self._labels.append(label)

    # --- for those below ---

    def _value(self) -> Any:
        raise NotImplementedError

    def _shape_of(self, key: str) -> Shape | None:
        seen = self._shape.seen.get(key) if self._shape is not None else None
        return seen.node if seen is not None else None

    def _pack(self, key: str, found: list[Any], *, last: bool = True) -> None:
        """The items of an array since it was last packed become one `msgspec.Raw` that holds them all; `last` is false
        where the last one stays as it is, since it holds packed arrays itself."""
        start = self._packed.get(key, 0)
        end = len(found) if last else len(found) - 1
        if start < end:
            shape, items = self._shape_of(key), found[start:end]
            if shape is not None:
                items = [shape.outward(item) for item in items]
            packed = to_json(items)[1:-1]
            self._opener.count(len(packed))
            found[start:end] = [msgspec.Raw(packed)]
            self._items[key] = self._items.get(key, 0) + end - start - 1
        self._packed[key] = len(found)

    def _append(self, out: dict[str, Any], key: str, value: Any) -> None:
        """Add the value of an opened child to an array."""
        found = out.setdefault(key, [])
        found.append(value)
        self._pack(key, found, last=False)


class OpenRecord(OpenElement):
    """An element whose children are properties; see `bridge_soap.decode.fields` and `bridge_soap.decode.cursor`."""

    def __init__(
        self, opener: Opener, type_: ComplexType, node: etree._Element, note: Note, shape: Shape | None
    ) -> None:
        super().__init__(opener, node, note, shape)
        decoders = opener.decoders
        self._steps = decoders.fields.steps[type_]
        self._content = content = self._steps.content
        self._out: dict[str, Any] = {}
        self._inner, self._told = note, False
        self._passed = 0
        attributed, items = bool(type_.attributes or type_.any_attribute), bool(node.items())
        self._quick = self._steps.quick and (attributed or not items)
        self._ordered = self._quick
        required = self._quick and any(use.required for use in type_.attributes.values())
        if items or required or decoders.strict:
            decoders.attributes(type_)(node, self._out, note)
        self._own = len(self._out)
        #: the leaves in the schema's order, the place among them, and how many of them have got their arrays
        self._leaves: list[Part] = []
        self._place = self._begun = 0
        if self._quick:
            assert content.root is not None
            self._leaves = list(content.root.leaves())
        else:
            for key in content.arrays:
                self._out[key] = []
        self._arrays = {slot.key for slot in content.slots.values() if slot.many} | {ANY, ITEMS}
        self._log = _OrderLog(self._steps.order, node) if self._steps.order is not None else None

    # --- children ---

    def take(self, children: Sequence[etree._Element]) -> None:
        if self._log is not None:
            self._log.take(children)
        at = 0
        while self._quick and at < len(children):
            at = self._run(children, at)
        if at < len(children):
            self._passed = self._steps.rest(self.node, children[at:], self._out, self._inner, self._passed)

    def _run(self, children: Sequence[etree._Element], at: int) -> int:
        """Read what belongs to one leaf, where that is in its turn; gives back how far it came."""
        leaf = self._turn(children[at].tag)
        if leaf is None:
            return at
        assert leaf.element is not None
        read, odd, end = self._opener.decoders.cursor.run(leaf.element), self._opener.odd, at + 1
        if not self._many(leaf):
            (self._out[leaf.key],) = read(children[at:end], self.note, odd)
            return end
        tag = leaf.element.name
        while end < len(children) and children[end].tag == tag:
            end += 1
        self._out.setdefault(leaf.key, []).extend(read(children[at:end], self.note, odd))
        return end

    def _turn(self, tag: str) -> Part | None:
        """The leaf of that tag, if it stands in the schema's order; otherwise what is left is read in any order."""
        leaves, place = self._leaves, self._place
        while place < len(leaves):
            leaf = leaves[place]
            if leaf.element is not None and leaf.element.name == tag:
                self._begin(place + 1)
                self._place = place if self._many(leaf) else place + 1
                return leaf
            place += 1
        self._leave_order()
        return None

    def _many(self, leaf: Part) -> bool:
        return leaf.element is not None and self._content.slots[leaf.element.name].many

    def _begin(self, end: int) -> None:
        """Arrays of leaves up to `end` that are there even when empty."""
        for leaf in self._leaves[self._begun : end]:
            if leaf.key in self._content.arrays and self._many(leaf):
                self._out[leaf.key] = []
        self._begun = max(self._begun, end)

    def _leave_order(self) -> None:
        self._begin(len(self._leaves))
        self._quick = False
        root = self._content.root
        assert root is not None
        if not in_any_order(root):
            self._inner = self._listen

    def _listen(self, node: etree._Element, why: str) -> None:
        self._told = True
        self.note(node, why)

    # --- the child that may not have ended ---

    def open(self, child: etree._Element) -> OpenElement | None:
        tag = child.tag
        if self._quick:
            place, leaf = self._place, self._turn(tag)
            if leaf is not None:
                slot = self._content.slots[tag]
                opened = self._known(child, slot, self._puts(slot))
                if opened is None:
                    self._place = place  # its turn is to come, when it is whole
                return opened
        return self._open_any(child, tag)

    def _open_any(self, child: etree._Element, tag: str) -> OpenElement | None:
        content, steps = self._content, self._steps
        slot = content.slots.get(tag)
        if slot is None:
            return self._stranger(child, tag)
        if steps.late is not None:
            place, wildcard = steps.late[tag]
            if place < self._passed and wildcard is not None:
                return self._unknown(child, wildcard, ANY, tag)
        if not slot.many and not slot.in_items and slot.key in self._out:
            return self._stranger(child, tag)
        opened = self._known(child, slot, self._puts(slot))
        if opened is not None and steps.late is not None:
            self._passed = max(self._passed, steps.late[tag][0])
        return opened

    def _stranger(self, child: etree._Element, tag: str) -> OpenElement | None:
        """A child that the content model doesn't name, or names once and that comes again."""
        content = self._content
        for wildcard in content.wildcards:
            if wildcard.allows(split(tag)[0]):
                region = content.region
                listed = region is not None and any(leaf.wildcard is wildcard for leaf in region.leaves())
                taken = listed and any(slot.key == tag for slot in content.slots.values())
                return self._unknown(child, wildcard, ITEMS if listed else ANY, f"{{}}{tag}" if taken else tag)
        slot = None if tag in content.slots else self._opener.by_local(content, tag)
        if slot is None:
            return None
        put = self._puts(slot) if slot.many or slot.in_items else self._defaults(slot.key)
        return self._known(child, slot, put, "its namespace is not the schema's")

    def _known(self, child: etree._Element, slot: Slot, put: Put, told: str = "") -> OpenElement | None:
        shape = self._shape_of(slot.key)
        if slot.in_items:
            shape = _below(self._shape_of(ITEMS), slot.key)
        self._put = put
        return self._opener.slot(slot, child, self._inner, shape, told)

    def _unknown(self, child: etree._Element, wildcard: Wildcard, key: str, name: str) -> OpenElement | None:
        self._put = lambda value: self._append(self._out, key, {name: value})
        return self._opener.unknown(child, wildcard, self._inner)

    def _puts(self, slot: Slot) -> Put:
        if slot.many:
            return self._appends(slot.key)
        if slot.in_items:
            return lambda value: self._append(self._out, ITEMS, {slot.key: value})
        return self._sets(slot.key)

    def _appends(self, key: str) -> Put:
        return lambda value: self._append(self._out, key, value)

    def _sets(self, key: str) -> Put:
        def put(value: Any) -> None:
            self._out[key] = value

        return put

    def _defaults(self, key: str) -> Put:
        def put(value: Any) -> None:
            self._out.setdefault(key, value)

        return put

    def close_child(self, child: etree._Element, value: Any) -> None:
        if self._log is not None:
            self._log.take([child])
        super().close_child(child, value)

    # --- the value ---

    def pack(self) -> None:
        for key in self._arrays:
            found = self._out.get(key)
            if found is not None:
                self._pack(key, found)

    def _value(self) -> Any:
        steps, out = self._steps, self._out
        if self._quick:
            self._begin(len(self._leaves))
        elif self._inner is not self.note and not self._told:
            self.note(self.node, OUT_OF_ORDER)
        missing = len(out) - self._own != steps.full
        if missing or (self._ordered and (self._content.counts or self._content.choices)):
            steps.complete(out, self.node, self.note, self._items)
        elif self._content.counts or self._content.choices:
            steps.bounded(out, self.node, self.note, self._items)
        if self._log is not None:
            self._log.judge(self.node, self.note)
        return out


class OpenContent(OpenElement):
    """An element of which every child counts in its order: ``#content`` or ``#items``."""

    def __init__(
        self, opener: Opener, type_: ComplexType, node: etree._Element, note: Note, shape: Shape | None
    ) -> None:
        super().__init__(opener, node, note, shape)
        decoders = opener.decoders
        self._content = decoders.graph.model(type_)
        self._mixed, self._key = type_.mixed, CONTENT if type_.mixed else ITEMS
        self._out: dict[str, Any] = {}
        if node.items() or any(use.required for use in type_.attributes.values()):
            decoders.attributes(type_)(node, self._out, note)
        self._find = opener.finder(type_)
        self._found: list[Any] = [node.text] if self._mixed and node.text else []
        order = decoders.order(self._content, mixed=self._mixed)
        self._log = _OrderLog(order, node) if order is not None else None

    def take(self, children: Sequence[etree._Element]) -> None:
        if self._log is not None:
            self._log.take(children)
        for child in children:
            item = self._find(child, self.note)
            if item is not None:
                self._found.append(item)
            self._tail(child)

    def _tail(self, child: etree._Element) -> None:
        if self._mixed and child.tail:
            self._found.append(child.tail)

    def open(self, child: etree._Element) -> OpenElement | None:
        content, tag = self._content, child.tag
        slot = content.slots.get(tag)
        told = ""
        if slot is None:
            for wildcard in content.wildcards:
                if wildcard.allows(split(tag)[0]):
                    taken = any(slot.key == tag for slot in content.slots.values())
                    self._put = self._puts(f"{{}}{tag}" if taken else tag)
                    return self._opener.unknown(child, wildcard, self.note)
            slot, told = self._opener.by_local(content, tag), "its namespace is not the schema's"
            if slot is None:
                return None
        self._put = self._puts(slot.key)
        return self._opener.slot(slot, child, self.note, _below(self._shape_of(self._key), slot.key), told)

    def _puts(self, name: str) -> Put:
        def put(value: Any) -> None:
            self._found.append({name: value})
            self._pack(self._key, self._found, last=False)

        return put

    def close_child(self, child: etree._Element, value: Any) -> None:
        if self._log is not None:
            self._log.take([child])
        super().close_child(child, value)
        self._tail(child)

    def pack(self) -> None:
        self._pack(self._key, self._found)

    def _value(self) -> Any:
        self._out[self._key] = self._found
        if self._log is not None:
            self._log.judge(self.node, self.note)
        return self._out


class OpenUnknown(OpenElement):
    """An element that no schema types; see `bridge_soap.decode.unknown`. Whether its white space counts is known when
    all of it has been read; `careful`, it is kept until then."""

    def __init__(
        self, opener: Opener, node: etree._Element, note: Note, *, typed: bool, out: dict[str, Any], careful: bool
    ) -> None:
        super().__init__(opener, node, note, None)
        self._typed, self._out, self._careful = typed, out, careful
        self._mixed = is_text(node.text)
        self._passed_over = bool(node.text) and not self._mixed
        #: the items without white space, and where that may count, with it
        self._found: list[Any] = [node.text] if self._mixed else []
        self._spaced: list[Any] = [node.text] if node.text else []

    def take(self, children: Sequence[etree._Element]) -> None:
        for child in children:
            if self._typed:
                value = self._opener.decoders.unknown.element(child, None, self.note)
            else:
                value = self._opener.decoders.unknown.shape(child, self.note)
            self._add({child.tag: value}, child.tail)

    def _add(self, item: dict[str, Any], tail: str | None) -> None:
        self._found.append(item)
        if self._careful:
            self._spaced.append(item)
        if not tail:
            return
        if is_text(tail) and not self._mixed:
            if self._passed_over and not self._careful:
                raise Mixed
            self._mixed = True
            if self._careful:
                self._spaced.append(tail)
                return
        if self._careful:
            self._spaced.append(tail)
        elif self._mixed:
            self._found.append(tail)
        else:
            self._passed_over = True

    def open(self, child: etree._Element) -> OpenElement | None:
        self._put = None
        if self._typed:
            return self._opener.unknown(child, None, self.note)
        return self._opener.shape(child, self.note)

    def close_child(self, child: etree._Element, value: Any) -> None:
        if self._careful:  # both lists must be able to hold it
            value = msgspec.Raw(to_json(value))
        self.pack()
        self._add({child.tag: value}, child.tail)
        self._packed["found"] = len(self._found)

    def pack(self) -> None:
        self._pack("found", self._found)
        if self._careful:
            self._pack("spaced", self._spaced)

    def _value(self) -> Any:
        self._out[CONTENT if self._mixed else ANY] = self._spaced if self._careful and self._mixed else self._found
        return self._out


class _OrderLog:
    """What the check of an order needs to know of children that are not there any more."""

    def __init__(self, order: OrderCheck, node: etree._Element) -> None:
        self._order, self._runs = order, order.runs
        self._tags: list[str] = []
        self._names: dict[str, str] = {}
        self._texts = is_text(node.text)

    def take(self, children: Sequence[etree._Element]) -> None:
        tags, names, runs = self._tags, self._names, self._runs
        for child in children:
            tag = child.tag
            if not (tags and tags[-1] == tag and tag in runs):
                tags.append(names.setdefault(tag, tag))
            self._texts = self._texts or is_text(child.tail)
        if len(tags) > _MAX_TAGS:
            raise BadReply("The service's answer is too large to be checked against its schema.")

    def judge(self, node: etree._Element, note: Note) -> None:
        self._order.judge(node, self._tags, self._texts, note)


def _below(shape: Shape | None, key: str) -> Shape | None:
    seen = shape.seen.get(key) if shape is not None else None
    return seen.node if seen is not None else None


class Opener:
    """Decides how an element is read in steps, for one contract; the counterpart of `Decoders`. It lives as long as
    one reply is read.

    :param careful: white space in elements that no schema types is kept until it is known whether it counts.
    :param odd: as in `bridge_soap.decode.cursor`.
    """

    def __init__(self, decoders: Decoders, *, careful: bool = False, odd: bool = True) -> None:
        self.decoders, self._careful, self.odd = decoders, careful, odd
        self._packed = 0
        self._finders: dict[ComplexType, Callable[[etree._Element, Note], dict[str, Any] | None]] = {}
        self._by_local: dict[int, dict[str, Slot | None]] = {}

    def count(self, size: int) -> None:
        """That many bytes of JSON more.

        :raises bridge.BadReply: too many have come together.
        """
        self._packed += size
        if self._packed > MAX_JSON:
            raise BadReply(TOO_LARGE)

    def finder(self, type_: ComplexType) -> Callable[[etree._Element, Note], dict[str, Any] | None]:
        """Reads one child of ordered content."""
        known = self._finders.get(type_)
        if known is None:
            known = self._finders[type_] = self.decoders.fields.items(self.decoders.graph.model(type_))
        return known

    def by_local(self, content: Content, tag: str) -> Slot | None:
        """The slot that an element in the wrong namespace means."""
        table = self._by_local.get(id(content))
        if table is None:
            table = self._by_local[id(content)] = {}
            for name, slot in content.slots.items():
                local = local_name(name)
                table[local] = None if local in table else slot
        return table.get(local_name(tag))

    # --- elements ---

    def slot(
        self, slot: Slot, node: etree._Element, note: Note, shape: Shape | None, told: str = ""
    ) -> OpenElement | None:
        """A child that its content model names; `told` is what is wrong with its name."""
        if slot.element is not slot.head:
            return self.member(slot.element, slot.head, node, note, shape, told)
        return self.element(slot.element, node, note, shape, told)

    def member(
        self, element: Element, head: Element, node: etree._Element, note: Note, shape: Shape | None, told: str = ""
    ) -> OpenElement | None:
        """A member of a substitution group."""
        opened = self.element(element, node, note, shape, told)
        if opened is not None:
            name = self.decoders.schemas.member_name(element, head)
            opened.labelled(lambda value: labelled(ELEMENT, name, value))
        return opened

    def element(
        self, element: Element, node: etree._Element, note: Note, shape: Shape | None, told: str = ""
    ) -> OpenElement | None:
        """An element of that declaration, with ``xsi:type``."""
        if node.get(XSI_NIL, "").strip() in ("true", "1"):
            return None
        decoders, declared, notes = self.decoders, element.type, _Notes()
        if told:
            notes(node, told)
        named, type_, found = node.get(XSI_TYPE), declared, None
        if named is not None:
            found = decoders.named_type(node, named, declared, notes, element.block)
            type_ = found if found is not None else declared
        if found is None and isinstance(declared, ComplexType) and declared.abstract:
            notes(node, "its type is abstract, and it names no other")
        return self._labelled(found, self._typed(type_, node, note, shape, notes))

    def _labelled(self, found: Type | None, opened: OpenElement | None) -> OpenElement | None:
        if opened is not None and found is not None:
            short = self.decoders.variants.short(found.name)
            opened.labelled(lambda value: self.decoders.labelled(short, value, found))
        return opened

    def _typed(
        self, type_: Type, node: etree._Element, note: Note, shape: Shape | None, notes: _Notes
    ) -> OpenElement | None:
        if isinstance(type_, SimpleType) or type_.simple is not None:
            return None
        notes.tell(note)
        return self.content(type_, node, note, shape)

    def content(self, type_: ComplexType, node: etree._Element, note: Note, shape: Shape | None) -> OpenElement:
        """An element's content, of a type that has children."""
        if type_ is ANY_TYPE:
            return self._shape(node, note, typed=True)
        self.decoders.ready_type(type_)
        if self.decoders.graph.model(type_).whole:
            return OpenContent(self, type_, node, note, shape)
        return OpenRecord(self, type_, node, note, shape)

    # --- elements that no content model names ---

    def unknown(self, node: etree._Element, wildcard: Wildcard | None, note: Note) -> OpenElement | None:
        """An element that a wildcard lets in."""
        decoders, notes = self.decoders, _Notes()
        if wildcard is not None and wildcard.process == "skip":
            return self.shape(node, note)
        try:
            declared = decoders.schemas.find_element(node.tag)
            if declared is not None:
                decoders.ready(declared)
                return self.element(declared, node, note, None)
        except BindError as error:
            notes(node, f"its declaration can't be used: {error.faults[0].reason}")
        named = node.get(XSI_TYPE)
        if wildcard is not None and wildcard.process == "strict" and named is None:
            notes(node, "the schema allows only elements that it declares here")
        if node.get(XSI_NIL, "").strip() in ("true", "1"):
            return None
        if named is not None:
            found = decoders.named_type(node, named, ANY_TYPE, notes)
            if found is not None:
                return self._labelled(found, self._typed(found, node, note, None, notes))
        notes.tell(note)
        return self._shape(node, note, typed=True)

    def shape(self, node: etree._Element, note: Note) -> OpenElement | None:
        """An element that nothing is to be known of."""
        if node.get(XSI_NIL, "").strip() in ("true", "1"):
            return None
        return self._shape(node, note, typed=False)

    def _shape(self, node: etree._Element, note: Note, *, typed: bool) -> OpenElement:
        out = self.decoders.unknown.begin(node, note, typed=typed)
        return OpenUnknown(self, node, note, typed=typed, out=out, careful=self._careful)


class _Notes:
    """Notes that wait until it is known who reads the element: its reader would tell them once more."""

    def __init__(self) -> None:
        self._waiting: list[tuple[etree._Element, str]] = []

    def __call__(self, node: etree._Element, why: str) -> None:
        self._waiting.append((node, why))

    def tell(self, note: Note) -> None:
        for node, why in self._waiting:
            note(node, why)
        self._waiting.clear()
