"""Large replies: parsed, read and written as JSON in slices, so that the complete tree and the complete values never
exist. The result is that of the usual way (`bridge_soap.message.envelope`, then the body's reader)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from bridge.api import BadReply, Unsliced, parse_xml, xml_slices
from bridge_soap.decode.decoders import Note
from bridge_soap.decode.incremental import MixedTextError, OpenElement
from bridge_soap.decode.packing import TOO_LARGE
from bridge_soap.message.envelope import parts_of
from bridge_soap.message.open_body import LargeBodies, OpenBody, SupersededError
from bridge_soap.message.shape import Shape

#: Replies of `LARGE` bytes or more are read in slices of `SLICE` bytes.
LARGE = 1024 * 1024
SLICE = 128 * 1024
#: The limit on marks (``<`` and ``=``) in text that becomes a tree, which needs up to 400 bytes for each.
MAX_MARKS = 400_000


def marks(data: bytes) -> int:
    """About twice the number of nodes in a text."""
    return data.count(b"<") + data.count(b"=")


def refuse_too_large(data: bytes) -> None:
    """:raises bridge.api.BadReply: it is too large for a tree."""
    if len(data) >= LARGE and marks(data) > MAX_MARKS:
        raise BadReply(TOO_LARGE)


@dataclass(slots=True)
class Early:
    """The value of a body that was read during parsing. `error` is the exception of its reader."""

    value: Any = None
    warnings: list[str] = field(default_factory=list[str])
    error: Exception | None = None

    def take(self) -> Any:
        """The value; it is released here.

        :raises bridge.api.BadReply: as a body's reader.
        """
        if self.error is not None:
            raise self.error
        value, self.value = self.value, None
        return value


class _Stack:
    """The elements that may not have ended and are read incrementally, from the outermost to the innermost."""

    def __init__(self, outermost: OpenElement) -> None:
        self._open = [outermost]
        #: the last child of each element from the innermost down, after the last slice
        self._edge: list[etree._Element] = []
        self._left: etree._Element | None = None

    @property
    def outermost(self) -> OpenElement:
        return self._open[0]

    @property
    def waiting(self) -> etree._Element | None:
        """The child of the innermost element that is still a tree."""
        return self._edge[0] if self._edge else None

    def settle(self, *, ended: bool = False) -> None:
        """Read complete elements and remove them from the tree. With `ended`, all are complete."""
        self._settle(0, ended)
        if not ended:
            self._descend()

    def close(self) -> Any:
        """The whole value, after the last `settle`."""
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
        """Open the elements that grew for more than one slice."""
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

    :param note: makes the function for notes from the list of warnings.
    :ivar early: the body's value; None if the message was parsed as a whole.
    """

    def __init__(self, bodies: LargeBodies | None, shape: Shape | None, note: Callable[[list[str]], Note]) -> None:
        self._bodies, self._shape, self._note = bodies, shape, note
        self.early: Early | None = None
        self._careful = self._exact = False

    def parse(self, text: bytes) -> etree._Element:
        """The root element; its body contains at most a Fault.

        :raises bridge.api.XmlError: as `bridge.api.parse_xml`.
        :raises bridge.api.BadReply: a part that must be a tree is too large.
        """
        self.early = None
        while self._bodies is not None:
            try:
                return self._by_slices(self._bodies, text)
            except MixedTextError:
                self._careful = True
            except SupersededError:
                self._exact = True
            except Unsliced:
                break
        refuse_too_large(text)
        return parse_xml(text)

    def _by_slices(self, bodies: LargeBodies, text: bytes) -> etree._Element:
        early = Early()
        note, run = self._note(early.warnings), None
        root = None

        def open_body(node: etree._Element) -> OpenElement:
            return bodies.open(node, note, self._shape, careful=self._careful, exact=self._exact)

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
        self._parts = parts_of(root.tag)
        self._body: etree._Element | None = None
        self._stack: _Stack | None = None
        self._waiting: etree._Element | None = None
        self._broken: OpenElement | None = None
        self._held = 0

    def step(self, count: int) -> None:
        """Read what is complete after a slice with `count` marks.

        :raises bridge.api.BadReply: a part that must be a tree is too large.
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
        """The message is complete."""
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
            self._stack = None  # only the fault matters
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
        """Keep the error until the rest is known to be well-formed."""
        assert self._stack is not None
        self._early.error, self._broken, self._stack = error, self._stack.outermost, None

    def _drop(self) -> None:
        """Remove everything except faults."""
        node = self._root if self._body is None else self._body
        if isinstance(self._broken, OpenBody):
            for child in node:
                self._broken.look(child)
        fault = self._parts[2] if self._parts is not None else ""
        faults = [child for child in node if child.tag == fault]
        for child in list(node)[:-1]:
            if child.tag != fault:
                node.remove(child)
        while len(node) and node[-1] not in faults:
            node = node[-1]
            del node[:-1]
            self._held = 0
