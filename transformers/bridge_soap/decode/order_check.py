"""For strict routes: whether an element's children are in the schema's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lxml import etree

from bridge.api import BadReply
from bridge_soap.names import tag_of
from bridge_soap.xsd.order import Order

#: The limit on tags that a check remembers; it needs about a hundred bytes for each.
_MAX_TAGS = 500_000

_Note = Callable[[etree._Element, str], None]


class OrderCheck:
    """Whether an element's children match the order in its content model.

    :param checker: None if no element is allowed.
    """

    def __init__(self, checker: Order | None, *, mixed: bool) -> None:
        self._checker, self._mixed = checker, mixed

    def __call__(self, node: etree._Element, note: _Note) -> None:
        texts = not self._mixed and any(is_text(text) for text in (node.text, *(each.tail for each in node)))
        self.judge(node, [tag_of(child) for child in node], texts, note)

    def judge(self, node: etree._Element, tags: Sequence[str], texts: bool, note: _Note) -> None:
        """Check children that are no longer in the tree: their tags, and whether there was text between them."""
        if texts and not self._mixed:
            note(node, "it holds text where only elements belong")
        if self._checker is not None:
            fault = self._checker.check(tags)
        else:
            fault = (0, "no element can stand here") if tags else None
        if fault is not None:
            note(node, fault[1])

    @property
    def runs(self) -> frozenset[str]:
        """Tags of which one stands for any number of consecutive ones."""
        return self._checker.runs if self._checker is not None else frozenset()


def is_text(text: str | None) -> bool:
    """Whether it is more than white space."""
    return text is not None and text != "" and not text.isspace()


class OrderLog:
    """What the check needs to know of children that are no longer in the tree."""

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

    def judge(self, node: etree._Element, note: _Note) -> None:
        self._order.judge(node, self._tags, self._texts, note)
