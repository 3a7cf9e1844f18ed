"""Elements that are read while they are being parsed, for replies too large for a tree.

Each class is the incremental counterpart of a reader in `bridge_soap.decode`: it gives the same value and the same
notes in the same order. Complete children are read by the compiled readers and then removed from the tree. Array items
become JSON at once (`pack`), so that neither elements nor Python values accumulate.

An element that can't be read incrementally (nil, simple) is left to its usual reader once it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from lxml import etree

from bridge_soap.components import ComplexType
from bridge_soap.decode.decoders import Note
from bridge_soap.decode.order_check import OrderLog, is_text
from bridge_soap.decode.packing import to_json
from bridge_soap.names import split
from bridge_soap.xsd.model import ANY, CONTENT, ITEMS

if TYPE_CHECKING:
    from bridge_soap.decode.opener import Opener
    from bridge_soap.message.shape import Shape

Put = Callable[[Any], None]


class MixedTextError(Exception):
    """Text appeared in an element whose white space was dropped; it must be read again with white space kept."""


class OpenElement:
    """The partial value of an element that may not have ended.

    :param shape: the route's shape for the value, if any.
    :ivar skip: tag of children to ignore.
    """

    skip = ""

    def __init__(self, opener: Opener, node: etree._Element, note: Note, shape: Shape | None) -> None:
        self._opener, self.node, self.note, self._shape = opener, node, note, shape
        self._packed: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._put: Put | None = None
        self._labels: list[Callable[[Any], Any]] = []

    # --- called by the parser ---

    def take(self, children: Sequence[etree._Element]) -> None:
        """Read complete children, including the text after each. The caller removes them."""
        raise NotImplementedError

    def open(self, child: etree._Element) -> OpenElement | None:
        """Start to read the next child, which may not have ended; None if it must be complete first."""
        raise NotImplementedError

    def close_child(self, child: etree._Element, value: Any) -> None:
        """Store the value of the opened child, which is now complete."""
        assert self._put is not None
        self._put(value)
        self._put = None

    def pack(self) -> None:
        """Convert the collected items to JSON."""
        raise NotImplementedError

    def close(self) -> Any:
        """The value of the element, which has ended."""
        value = self._value()
        for label in self._labels:
            value = label(value)
        return value

    def labelled(self, label: Callable[[Any], Any]) -> None:
        """Apply `label` to the value at the end."""
        self._labels.append(label)

    # --- for subclasses ---

    def _value(self) -> Any:
        raise NotImplementedError

    def _shape_of(self, key: str) -> Shape | None:
        view = self._shape.views.get(key) if self._shape is not None else None
        return view.node if view is not None else None

    def _pack(self, key: str, items: list[Any], *, last: bool = True) -> None:
        """Replace an array's new items by one `msgspec.Raw` that contains them all. Without `last`, the last item
        stays, since it contains packed arrays."""
        start = self._packed.get(key, 0)
        end = len(items) if last else len(items) - 1
        if start < end:
            shape, slice_ = self._shape_of(key), items[start:end]
            if shape is not None:
                slice_ = [shape.outward(item) for item in slice_]
            text = to_json(slice_)[1:-1]
            self._opener.count(len(text))
            items[start:end] = [msgspec.Raw(text)]
            self._items[key] = self._items.get(key, 0) + end - start - 1
        self._packed[key] = len(items)

    def _append(self, out: dict[str, Any], key: str, value: Any) -> None:
        """Add an opened child's value to an array."""
        items = out.setdefault(key, [])
        items.append(value)
        self._pack(key, items, last=False)


class OpenContent(OpenElement):
    """An element with all children in document order: ``#content`` or ``#items``."""

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
        self._log = OrderLog(order, node) if order is not None else None

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
        fault = ""
        if slot is None:
            for wildcard in content.wildcards:
                if wildcard.allows(split(tag)[0]):
                    clash = any(slot.key == tag for slot in content.slots.values())
                    self._put = self._puts(f"{{}}{tag}" if clash else tag)
                    return self._opener.unknown(child, wildcard, self.note)
            slot, fault = self._opener.by_local(content, tag), "its namespace is not the schema's"
            if slot is None:
                return None
        self._put = self._puts(slot.key)
        return self._opener.slot(slot, child, self.note, below(self._shape_of(self._key), slot.key), fault)

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
    """An element without a schema type; see `bridge_soap.decode.unknown`. Whether its white space matters is known only
    at its end; `careful` keeps it until then."""

    def __init__(
        self, opener: Opener, node: etree._Element, note: Note, *, typed: bool, out: dict[str, Any], careful: bool
    ) -> None:
        super().__init__(opener, node, note, None)
        self._typed, self._out, self._careful = typed, out, careful
        self._mixed = is_text(node.text)
        self._passed_over = bool(node.text) and not self._mixed
        #: the items without white space; and with it, if `careful`
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
                raise MixedTextError
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
        if self._careful:  # both lists contain it
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


def below(shape: Shape | None, key: str) -> Shape | None:
    view = shape.views.get(key) if shape is not None else None
    return view.node if view is not None else None
