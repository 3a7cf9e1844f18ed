"""Elements whose children are properties, read while being parsed; see `bridge_soap.decode.incremental`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lxml import etree

from bridge.api import FAST_PATHS
from bridge_soap.components import ComplexType, Wildcard
from bridge_soap.decode.cursor import OUT_OF_ORDER, LeafWalk
from bridge_soap.decode.decoders import Note
from bridge_soap.decode.incremental import OpenElement, Put, below
from bridge_soap.decode.order_check import OrderLog
from bridge_soap.names import split
from bridge_soap.xsd.model import ANY, ITEMS, Part, Slot

if TYPE_CHECKING:
    from bridge_soap.decode.opener import Opener
    from bridge_soap.message.shape import Shape


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
        #: set until a child is out of order; without fast paths it serves the report alone
        walks = self._quick or (self._steps.notes_order and not FAST_PATHS)
        self._walk = LeafWalk(content) if walks else None
        #: the number of leaves whose arrays exist, if `_quick`
        self._begun = 0
        if not self._quick:
            for key in content.arrays:
                self._out[key] = []
        self._arrays = {slot.key for slot in content.slots.values() if slot.many} | {ANY, ITEMS}
        self._log = OrderLog(self._steps.order, node) if self._steps.order is not None else None

    # --- children ---

    def take(self, children: Sequence[etree._Element]) -> None:
        if self._log is not None:
            self._log.take(children)
        at = 0
        while self._quick and at < len(children):
            at = self._run(children, at)
        if self._walk is not None and not self._quick:
            at = self._walk.ordered(children)
            self._rest(children[:at])
            if at < len(children):
                self._leave_order()
        if at < len(children):
            self._rest(children[at:])

    def _rest(self, children: Sequence[etree._Element]) -> None:
        """Read children in any order."""
        self._passed = self._steps.rest(self.node, children, self._out, self._inner, self._passed)

    def _run(self, children: Sequence[etree._Element], at: int) -> int:
        """Read consecutive children of one leaf, if they are in order; returns the index after them."""
        leaf = self._turn(children[at].tag)
        if leaf is None:
            return at
        assert leaf.element is not None
        reader, end = self._opener.decoders.fields.cursor.run(leaf.element), at + 1
        if not self._content.slots[leaf.element.name].many:
            (self._out[leaf.key],) = reader(children[at:end], self.note)
            return end
        tag = leaf.element.name
        while end < len(children) and children[end].tag == tag:
            end += 1
        self._out.setdefault(leaf.key, []).extend(reader(children[at:end], self.note))
        return end

    def _turn(self, tag: str) -> Part | None:
        """The leaf with that tag, if it is in order; otherwise all other children are read in any order."""
        walk = self._walk
        assert walk is not None
        leaf = walk.step(tag)
        if leaf is None:
            self._leave_order()
        elif self._quick:
            self._begin(walk.place + 1 if walk.many(leaf) else walk.place)
        return leaf

    def _begin(self, end: int) -> None:
        """Create the arrays of leaves up to `end` that are present even if empty."""
        assert self._walk is not None
        for leaf in self._walk.leaves[self._begun : end]:
            if leaf.key in self._content.arrays and self._walk.many(leaf):
                self._out[leaf.key] = []
        self._begun = max(self._begun, end)

    def _begin_all(self) -> None:
        if self._walk is not None:
            self._begin(len(self._walk.leaves))

    def _leave_order(self) -> None:
        if self._quick:
            self._begin_all()
        self._quick, self._walk = False, None
        if self._steps.notes_order:
            self._inner = self._listen

    def _listen(self, node: etree._Element, why: str) -> None:
        self._told = True
        self.note(node, why)

    # --- the child that may not have ended ---

    def open(self, child: etree._Element) -> OpenElement | None:
        tag = child.tag
        walk = self._walk
        if walk is None:
            return self._open_any(child, tag)
        place, leaf = walk.place, self._turn(tag)
        if leaf is None or not self._quick:
            element = self._open_any(child, tag)
        else:
            slot = self._content.slots[tag]
            element = self._known(child, slot, self._puts(slot))
        if element is None:
            walk.place = place  # it is read later, when complete
        return element

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
        element = self._known(child, slot, self._puts(slot))
        if element is not None and steps.late is not None:
            self._passed = max(self._passed, steps.late[tag][0])
        return element

    def _stranger(self, child: etree._Element, tag: str) -> OpenElement | None:
        """A child that the content model does not name, or that repeats without permission."""
        content = self._content
        for wildcard in content.wildcards:
            if wildcard.allows(split(tag)[0]):
                region = content.region
                to_items = region is not None and any(leaf.wildcard is wildcard for leaf in region.leaves())
                clash = to_items and any(slot.key == tag for slot in content.slots.values())
                return self._unknown(child, wildcard, ITEMS if to_items else ANY, f"{{}}{tag}" if clash else tag)
        slot = None if tag in content.slots else self._opener.by_local(content, tag)
        if slot is None:
            return None
        put = self._puts(slot) if slot.many or slot.in_items else partial(self._out.setdefault, slot.key)
        return self._known(child, slot, put, "its namespace is not the schema's")

    def _known(self, child: etree._Element, slot: Slot, put: Put, fault: str = "") -> OpenElement | None:
        shape = self._shape_of(slot.key)
        if slot.in_items:
            shape = below(self._shape_of(ITEMS), slot.key)
        self._put = put
        return self._opener.slot(slot, child, self._inner, shape, fault)

    def _unknown(self, child: etree._Element, wildcard: Wildcard, key: str, name: str) -> OpenElement | None:
        self._put = lambda value: self._append(self._out, key, {name: value})
        return self._opener.unknown(child, wildcard, self._inner)

    def _puts(self, slot: Slot) -> Put:
        """Stores the value of an opened child."""
        if slot.many:
            return partial(self._append, self._out, slot.key)
        if slot.in_items:
            return lambda value: self._append(self._out, ITEMS, {slot.key: value})
        return partial(self._out.__setitem__, slot.key)

    def close_child(self, child: etree._Element, value: Any) -> None:
        if self._log is not None:
            self._log.take([child])
        super().close_child(child, value)

    # --- the value ---

    def pack(self) -> None:
        for key in self._arrays:
            items = self._out.get(key)
            if items is not None:
                self._pack(key, items)

    def _value(self) -> Any:
        steps, out = self._steps, self._out
        if self._quick:
            self._begin_all()
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
