"""Large replies: parsed, read and made JSON by slices, so that neither the tree nor the values of all of it are there
at once. What comes of it is what the other way would give (`bridge_soap.message.envelope`, then the body's reader).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from lxml import etree

from bridge import BadReply, Unsliced, parse_xml, xml_slices
from bridge_soap.contract import Body
from bridge_soap.decode.decoders import Decoders, Note, Reader
from bridge_soap.decode.incremental import TOO_LARGE, Mixed, OpenElement, Opener
from bridge_soap.decode.pattern import to_json
from bridge_soap.message.bodies import NOT_ITS_NAMESPACE, RESULT, root_readers, unexpected
from bridge_soap.message.envelope import PARTS, has_attributes
from bridge_soap.message.shape import Shape
from bridge_soap.names import local_name, tag_of

#: Replies of that many bytes or more are read by slices of so many.
LARGE = 1024 * 1024
SLICE = 128 * 1024
#: How many marks (``<`` and ``=``) may stand in what must be held as a tree: each may come to some 400 bytes there.
MAX_MARKS = 400_000

#: How far namespace declarations are looked for to tell them from attributes.
_HEAD = 64 * 1024


def marks(data: bytes) -> int:
    """About how many nodes a text will have as a tree, twice over."""
    return data.count(b"<") + data.count(b"=")


def refuse_too_large(data: bytes) -> None:
    """:raises bridge.BadReply: it is too large to be held as a tree."""
    if len(data) >= LARGE and marks(data) > MAX_MARKS:
        raise BadReply(TOO_LARGE)


@dataclass(slots=True)
class Early:
    """What a body came to while it was parsed. `error` is what its reader raised."""

    value: Any = None
    warnings: list[str] = field(default_factory=list[str])
    error: Exception | None = None

    def take(self) -> Any:
        """The value, which is not kept here.

        :raises bridge.BadReply: as a body's reader.
        """
        if self.error is not None:
            raise self.error
        value, self.value = self.value, None
        return value


class Superseded(Exception):
    """The body's element stands behind one that was taken for it: it is to be read again, without that."""


class LargeBodies:
    """Opens the bodies of one operation's replies. `shape` is what the route makes of their JSON."""

    def __init__(self, decoders: Decoders, body: Body) -> None:
        self._decoders, self._body = decoders, body
        self._readers = root_readers(decoders, body.root) if body.root is not None else {}

    def open(
        self, node: etree._Element, note: Note, shape: Shape | None, *, careful: bool, odd: bool, exact: bool
    ) -> OpenElement:
        """``soap:Body``, to be read in steps. `exact`: its element is there under its own name."""
        opener, body = Opener(self._decoders, careful=careful, odd=odd), self._body
        if body.root is not None:
            return _OpenBody(opener, body, self._readers, node, note, shape, exact=exact)
        if body.content is not None:
            return opener.content(body.content, node, note, shape)
        return _Nothing(opener, node, note, None)


class _Nothing(OpenElement):
    """An element of which nothing is wanted."""

    def take(self, children: Sequence[etree._Element]) -> None:
        pass

    def open(self, child: etree._Element) -> OpenElement:
        self._put = lambda value: None
        return _Nothing(self._opener, child, self.note, None)

    def pack(self) -> None:
        pass

    def _value(self) -> Any:
        return {}


class _OpenBody(OpenElement):
    """A body that holds one element; see `bridge_soap.message.bodies`."""

    def __init__(
        self,
        opener: Opener,
        body: Body,
        readers: dict[str, Reader],
        node: etree._Element,
        note: Note,
        shape: Shape | None,
        *,
        exact: bool,
    ) -> None:
        super().__init__(opener, node, note, shape)
        self._body, self._readers, self._exact = body, readers, exact
        assert body.root is not None
        self._root = body.root
        self._names: list[str] = []
        #: 0: the element itself, or a member of its group; 1: what is taken for it where neither is there
        self._rank = 2
        self._found: Any = None

    def _ranked(self, child: etree._Element) -> int:
        if child.tag in self._readers:
            if self._rank == 1:
                raise Superseded
            return 0
        if self._exact:
            return 2
        alike = local_name(tag_of(child)) == local_name(self._root.name)
        return 1 if alike or (not self._body.named and not self._names) else 2

    def take(self, children: Sequence[etree._Element]) -> None:
        for child in children:
            rank = self._ranked(child)
            if rank < self._rank:
                self._rank = rank
                if rank and self._body.named:
                    self.note(child, NOT_ITS_NAMESPACE)
                if child.tag == self._root.name and self._body.accessors is not None:
                    for result in child.findall(RESULT):
                        child.remove(result)
                self._found = self._readers[child.tag if rank == 0 else self._root.name](child, self.note)
            self._names.append(local_name(tag_of(child)))

    def open(self, child: etree._Element) -> OpenElement | None:
        rank = self._ranked(child)
        if rank >= self._rank:
            self._put = lambda value: None
            return _Nothing(self._opener, child, self.note, None)
        return self._open_root(child, rank)

    def _open_root(self, child: etree._Element, rank: int) -> OpenElement | None:
        told = NOT_ITS_NAMESPACE if rank and self._body.named else ""
        before, self._rank = self._rank, rank
        schemas = self._opener.decoders.schemas
        members = [each for each in schemas.members(self._root) if each.name == child.tag]
        if members and child.tag != self._root.name:
            opened = self._opener.member(members[0], self._root, child, self.note, self._shape)
        else:
            opened = self._opener.element(self._root, child, self.note, self._shape, told)
        self._put = self._set
        if opened is None:
            self._rank = before  # it is chosen when it is whole
        elif child.tag == self._root.name and self._body.accessors is not None:
            opened.skip = RESULT
        return opened

    def _set(self, value: Any) -> None:
        self._found = value

    def look(self, child: etree._Element) -> None:
        """A child behind one that could not be read.

        :raises Superseded: that one was not the body's element, and this one is.
        """
        self._ranked(child)

    def close_child(self, child: etree._Element, value: Any) -> None:
        self._names.append(local_name(tag_of(child)))
        super().close_child(child, value)

    def pack(self) -> None:
        pass

    def _value(self) -> Any:
        if self._rank == 2:
            raise unexpected(self._names, self._root)
        return self._found


class _Stack:
    """The elements of a body that may not have ended, from the outermost to the innermost that is read in steps."""

    def __init__(self, outermost: OpenElement) -> None:
        self._open = [outermost]
        #: the last child of each element from the innermost down, as the last slice left them
        self._edge: list[etree._Element] = []
        self._left: etree._Element | None = None

    @property
    def outermost(self) -> OpenElement:
        return self._open[0]

    @property
    def waiting(self) -> etree._Element | None:
        """The child of the innermost element that stays a tree for now."""
        return self._edge[0] if self._edge else None

    def settle(self, *, ended: bool = False) -> None:
        """Read what has become whole, and take it from the tree. With `ended`, all has."""
        self._settle(0, ended)
        if not ended:
            self._descend()

    def close(self) -> Any:
        """The value of it all; `settle` has seen the end."""
        return self._open[0].close()

    def _settle(self, level: int, ended: bool) -> None:
        here = self._open[level]
        if level + 1 < len(self._open):
            child = self._open[level + 1].node
            over = ended or child.getnext() is not None
            self._settle(level + 1, over)
            if not over:
                return
            inner = self._open.pop()
            here.close_child(child, inner.close())
            here.node.remove(child)
        children = list(here.node)
        if not ended:
            del children[-1:]
        if children:
            here.take([each for each in children if each.tag != here.skip] if here.skip else children)
            here.pack()
            del here.node[: len(children)]

    def _descend(self) -> None:
        """Open the elements that have been growing for longer than one slice."""
        before = self._edge
        while True:
            node = self._open[-1].node
            last = node[-1] if len(node) else None
            if last is None or last is self._left or last not in before or not len(last):
                break
            inner = self._open[-1].open(last) if last.tag != self._open[-1].skip else None
            if inner is None:
                self._left = last
                break
            self._open.append(inner)
            self._settle(len(self._open) - 1, ended=False)
        self._edge = list(_edge(self._open[-1].node))


def _edge(node: etree._Element) -> Iterator[etree._Element]:
    """The last child, its last child, and so on."""
    while len(node):
        node = node[-1]
        yield node


class LargeParser:
    """Parses one large message, and reads its body meanwhile.

    :param note: makes what notes are told to, from the list that warnings go into.
    :ivar early: what the body came to; None where the message had to be parsed as a whole.
    """

    def __init__(self, bodies: LargeBodies | None, shape: Shape | None, note: Callable[[list[str]], Note]) -> None:
        self._bodies, self._shape, self._note = bodies, shape, note
        self.early: Early | None = None
        self._careful = self._exact = False

    def parse(self, text: bytes) -> etree._Element:
        """The root element; the body holds no more than a Fault any longer.

        :raises bridge.XmlError: as `bridge.parse_xml`.
        :raises bridge.BadReply: something in it must be held as a tree, and is too large for that.
        """
        self.early = None
        while self._bodies is not None:
            try:
                return self._by_slices(self._bodies, text)
            except Mixed:
                self._careful = True
            except Superseded:
                self._exact = True
            except Unsliced:
                break
        refuse_too_large(text)
        return parse_xml(text)

    def _by_slices(self, bodies: LargeBodies, text: bytes) -> etree._Element:
        early, odd = Early(), has_attributes(text, _HEAD)
        note, run = self._note(early.warnings), None
        root = None

        def open_body(node: etree._Element) -> OpenElement:
            return bodies.open(node, note, self._shape, careful=self._careful, odd=odd, exact=self._exact)

        for at, root in enumerate(xml_slices(text, SLICE)):
            if run is None:
                run = _Run(root, early, open_body)
            start = at * SLICE
            run.step(marks(text[start : start + SLICE]))
        assert root is not None
        assert run is not None
        run.end()
        self.early = early
        return root


class _Run:
    """One pass through a message."""

    def __init__(self, root: etree._Element, early: Early, open_body: Callable[[etree._Element], OpenElement]) -> None:
        self._root, self._early, self._open = root, early, open_body
        self._parts = PARTS.get(root.tag)
        self._body: etree._Element | None = None
        self._stack: _Stack | None = None
        self._waiting: etree._Element | None = None
        self._broken: OpenElement | None = None
        self._held = 0

    def step(self, count: int) -> None:
        """Read what one slice of `count` marks has made whole.

        :raises bridge.BadReply: what must be held as a tree has become too large.
        """
        self._look()
        self._held += count
        if self._parts is None or (self._stack is None and self._body is not None):
            self._drop()
        elif self._stack is not None and self._body is not None:
            self._read(ended=self._body.getnext() is not None)
        if self._held > MAX_MARKS:
            raise BadReply(TOO_LARGE)

    def end(self) -> None:
        """The message is whole."""
        self._look()
        if self._stack is not None:
            self._read(ended=True)
        elif self._broken is not None:
            self._drop()
        if self._stack is not None:
            try:
                self._early.value = self._stack.close()
            except (BadReply, RecursionError) as error:
                self._failed(error)

    def _look(self) -> None:
        """Find the body."""
        if self._body is None and self._parts is not None:
            self._body = next((child for child in self._root if child.tag == self._parts[0]), None)
            if self._body is not None:
                self._stack = _Stack(self._open(self._body))

    def _read(self, *, ended: bool) -> None:
        assert self._body is not None
        assert self._stack is not None
        assert self._parts is not None
        if any(child.tag == self._parts[2] for child in self._body):
            self._stack = None  # a fault is all that counts
            return
        try:
            self._stack.settle(ended=ended)
        except (BadReply, RecursionError) as error:
            self._failed(error)
            return
        waiting = self._stack.waiting
        if waiting is None or waiting is not self._waiting:
            self._held = 0
        self._waiting = waiting

    def _failed(self, error: Exception) -> None:
        """It is told when the rest is known to be well-formed."""
        assert self._stack is not None
        self._early.error, self._broken, self._stack = error, self._stack.outermost, None

    def _drop(self) -> None:
        """Take away what nobody wants: all but faults."""
        node = self._root if self._body is None else self._body
        if isinstance(self._broken, _OpenBody):
            for child in node:
                self._broken.look(child)
        fault = self._parts[2] if self._parts is not None else ""
        kept = [child for child in node if child.tag == fault]
        for child in list(node)[:-1]:
            if child.tag != fault:
                node.remove(child)
        while len(node) and node[-1] not in kept:
            node = node[-1]
            del node[:-1]
            self._held = 0


def dump(value: Any) -> bytes:
    """`value` as JSON. Its packed arrays are given up on the way, so that they and what they become are not both there.

    :param value: as `to_json` takes it; what it holds is gone afterwards.
    """
    out = io.BytesIO()
    _dump(value, out.write)
    return out.getvalue()


def _dump(value: Any, put: Callable[[Any], object]) -> None:
    if value.__class__ is dict:
        mark = b"{"
        for key, item in value.items():
            put(mark + to_json(key) + b":")
            _dump(item, put)
            mark = b","
        put(b"}" if value else b"{}")
    elif value.__class__ is list and any(item.__class__ in _DEEP for item in value):
        mark = b"["
        for number, item in enumerate(value):
            put(mark)
            _dump(item, put)
            value[number] = None
            mark = b","
        put(b"]")
    elif value.__class__ is msgspec.Raw:
        put(value)
    elif value.__class__ is str and len(value) > SLICE:
        put(b'"')
        for at in range(0, len(value), SLICE):  # as a whole it would be kept once more, in UTF-8
            put(to_json(value[at : at + SLICE])[1:-1])
        put(b'"')
    else:
        put(to_json(value))


_DEEP = (dict, list, msgspec.Raw)
