"""``soap:Body`` of a large reply, read while it is being parsed (`bridge_soap.decode.incremental`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lxml import etree

from bridge_soap.contract import Body
from bridge_soap.decode.decoders import Decoders, Note, Reader
from bridge_soap.decode.incremental import OpenElement
from bridge_soap.decode.opener import Opener
from bridge_soap.decode.order_check import is_text
from bridge_soap.message.bodies import (
    EMPTY,
    LEFT_OUT,
    NOT_ITS_NAMESPACE,
    RESULT,
    TEXT_BESIDE,
    UNDECLARED,
    empty_value,
    root_readers,
    unexpected,
)
from bridge_soap.message.shape import Shape
from bridge_soap.names import local_name, tag_of


class SupersededError(Exception):
    """The body's element follows one that was mistaken for it; the message must be read again."""


#: As many warnings as a reply may have.
MAX_STRAYS = 20


class LargeBodies:
    """Opens the bodies of one operation's replies."""

    def __init__(self, decoders: Decoders, body: Body) -> None:
        self._decoders, self._body = decoders, body
        self._readers = root_readers(decoders, body.root) if body.root is not None else {}

    def open(self, node: etree._Element, note: Note, shape: Shape | None, *, careful: bool, exact: bool) -> OpenElement:
        """``soap:Body``, to be read incrementally. With `exact`, the body has its element under its exact name."""
        opener, body = Opener(self._decoders, careful=careful), self._body
        if body.root is not None:
            return OpenBody(opener, body, self._readers, node, note, shape, exact=exact)
        if body.content is not None:
            return opener.content(body.content, node, note, shape)
        return _Empty(opener, node, note, None)


class _Nothing(OpenElement):
    """An element that is ignored."""

    def take(self, children: Sequence[etree._Element]) -> None:
        pass

    def open(self, child: etree._Element) -> OpenElement:
        self._put = lambda value: None
        return _Nothing(self._opener, child, self.note, None)

    def pack(self) -> None:
        pass

    def _value(self) -> Any:
        return {}


class _Empty(_Nothing):
    """A body for which nothing is declared."""

    def take(self, children: Sequence[etree._Element]) -> None:
        for child in children:
            self.note(child, UNDECLARED)

    def open(self, child: etree._Element) -> OpenElement:
        self.note(child, UNDECLARED)
        return super().open(child)


class OpenBody(OpenElement):
    """A body with one element; see `bridge_soap.message.bodies`."""

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
        #: elements beside the body's, until that one is found
        self._strays: list[etree._Element] = []
        #: 0: the element, or a member of its substitution group; 1: another element in its place
        self._rank = 2
        self._found: Any = None
        self._text(node.text)

    def _text(self, text: str | None) -> None:
        if is_text(text):
            self.note(self.node, TEXT_BESIDE)

    def _ranked(self, child: etree._Element) -> int:
        if child.tag in self._readers:
            if self._rank == 1:
                raise SupersededError
            return 0
        if self._exact:
            return 2
        alike = local_name(tag_of(child)) == local_name(self._root.name)
        return 1 if alike or (not self._body.named and not self._names) else 2

    def take(self, children: Sequence[etree._Element]) -> None:
        for child in children:
            tail = child.tail
            rank = self._ranked(child)
            if rank < self._rank:
                self._rank = rank
                self._tell_strays()
                if rank and self._body.named:
                    self.note(child, NOT_ITS_NAMESPACE)
                if child.tag == self._root.name and self._body.accessors is not None:
                    for result in child.findall(RESULT):
                        child.remove(result)
                self._found = self._readers[child.tag if rank == 0 else self._root.name](child, self.note)
            else:
                child.clear()  # only its name is needed
                self._stray(child)
            self._names.append(local_name(tag_of(child)))
            self._text(tail)

    def open(self, child: etree._Element) -> OpenElement | None:
        rank = self._ranked(child)
        if rank >= self._rank:
            self._put = lambda value: None
            self._stray(child)
            return _Nothing(self._opener, child, self.note, None)
        return self._open_root(child, rank)

    def _stray(self, child: etree._Element) -> None:
        """An element beside the body's: it is told, after it is known which one that is."""
        if self._rank < 2:
            self.note(child, LEFT_OUT)
        elif len(self._strays) < MAX_STRAYS:
            self._strays.append(child)

    def _tell_strays(self) -> None:
        for child in self._strays:
            self.note(child, LEFT_OUT)
        self._strays.clear()

    def _open_root(self, child: etree._Element, rank: int) -> OpenElement | None:
        fault = NOT_ITS_NAMESPACE if rank and self._body.named else ""
        self._tell_strays()
        before, self._rank = self._rank, rank
        schemas = self._opener.decoders.schemas
        members = [each for each in schemas.members(self._root) if each.name == child.tag]
        if members and child.tag != self._root.name:
            element = self._opener.member(members[0], self._root, child, self.note, self._shape)
        else:
            element = self._opener.element(self._root, child, self.note, self._shape, fault)
        self._put = self._set
        if element is None:
            self._rank = before  # it is chosen when it is complete
        elif child.tag == self._root.name and self._body.accessors is not None:
            element.skip = RESULT
        return element

    def _set(self, value: Any) -> None:
        self._found = value

    def look(self, child: etree._Element) -> None:
        """Check a child after one that could not be read.

        :raises SupersededError: this one is the body's element.
        """
        self._ranked(child)

    def close_child(self, child: etree._Element, value: Any) -> None:
        self._names.append(local_name(tag_of(child)))
        super().close_child(child, value)
        self._text(child.tail)

    def pack(self) -> None:
        pass

    def _value(self) -> Any:
        if self._rank == 2 and not self._names:
            self.note(self.node, EMPTY)
            return empty_value(self._opener.decoders, self._root)
        if self._rank == 2:
            raise unexpected(self._names, self._root)
        return self._found
