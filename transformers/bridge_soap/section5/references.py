"""Shared values, inserted where they are referred to: ``href`` and ``id``, ``enc:ref`` and ``enc:id``.

JSON has no references, so a shared value is copied to each place. The total size of the copies is limited, and circular
references are refused. Afterwards the body has its own element only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from lxml import etree

from bridge.api import BadReply
from bridge_soap.datatypes.simple_in import resolve_names
from bridge_soap.names import SOAP11_ENCODING, XSI, XSI_NIL, XSI_TYPE, clark
from bridge_soap.section5.layout import ARRAY_TYPE, ITEM_TYPE, check_sizes
from bridge_soap.section5.rules import ENCODINGS, SILENT, Encoding

#: The limit on depth after references are resolved; libxml2 has the same limit for messages.
MAX_DEPTH = 256
#: The limit on copies beyond a message's size, in characters; an element counts for some.
MAX_COPIED = 32 * 1024**2
_ELEMENT = 200

_NULL = clark(XSI, "null")
_ROOT = clark(SOAP11_ENCODING, "root")


def resolve(body: etree._Element) -> None:
    """Replace each reference below ``soap:Body`` by its value, and remove elements that are only referred to.

    :raises bridge.api.BadReply: a reference has no target, is circular or too deep, or the copies are too large.
    """
    for encoding in ENCODINGS:
        root = _root(body)
        shared = {node.get(encoding.id, ""): node for node in body.iter() if node.get(encoding.id)}
        if shared or any(node.get(encoding.ref) for node in body.iter()):
            _resolve_names(body)
            targets = _Resolver(encoding, shared)
            targets.fill(body, (), [root])
            root = _root(body)
            for child in list(body):
                if child is not root and child.get(encoding.id) in targets.used:
                    body.remove(child)
    for node in body.iter():
        if node.get(_NULL) is not None:  # the name in drafts of XML Schema
            node.set(XSI_NIL, node.attrib.pop(_NULL))
    check_sizes(body)
    root = _root(body)
    for child in list(body):
        if child is not root and _only_referred_to(child):
            body.remove(child)  # nothing refers to it
    for node in body.iter():
        for name in SILENT.intersection(node.keys()):
            del node.attrib[name]


def _resolve_names(body: etree._Element) -> None:
    """Replace type names by full names: an element that moves loses the prefixes declared around it."""
    for node in body.iter():
        for attribute in (XSI_TYPE, ARRAY_TYPE, ITEM_TYPE):
            text = node.get(attribute)
            if text is not None:
                name, bracket, ranks = text.strip().partition("[")
                node.set(attribute, resolve_names(name, node.nsmap) + bracket + ranks)


def _root(body: etree._Element) -> etree._Element:
    """The call or reply itself: an element without ``root="0"`` (section 5.6), preferably one without an id."""
    roots = [child for child in body if not _denies_root(child)]
    plain = [child for child in roots if not _only_referred_to(child)]
    return next(iter(plain or roots), body)


def _denies_root(child: etree._Element) -> bool:
    return str(child.get(_ROOT, "1")).strip() == "0"


def _only_referred_to(child: etree._Element) -> bool:
    """Whether a child of the body is there for references to it."""
    return _denies_root(child) or any(child.get(encoding.id) is not None for encoding in ENCODINGS)


class _Resolver:
    def __init__(self, encoding: Encoding, shared: Mapping[str, etree._Element]) -> None:
        self._encoding, self._shared = encoding, shared
        self._left = MAX_COPIED
        self.used: set[str] = set()

    def fill(
        self, node: etree._Element, path: tuple[str, ...], children: Sequence[etree._Element] | None = None
    ) -> None:
        """Resolve all references below `node`, or in some of its `children`; `path` has the ids of the values around
        it."""
        own = node.get(self._encoding.id)
        if own is not None:
            del node.attrib[self._encoding.id]
            path = (*path, own)
        waiting = list(node if children is None else children)
        while waiting:
            child = waiting.pop()
            reference = child.get(self._encoding.ref)
            if reference is not None and not len(child):
                if not reference.strip().lower().startswith("cid:"):  # refers to an attachment
                    self._replace(child, self._target(reference), path)
            elif child.get(self._encoding.id) is not None:
                self.fill(child, path)
            else:
                waiting.extend(child)

    def _target(self, reference: str) -> str:
        """The id that a reference leads to, directly or through others."""
        ids: set[str] = set()
        while True:
            id_ = reference.strip().removeprefix(self._encoding.mark)
            target = self._shared.get(id_)
            further = target.get(self._encoding.ref) if target is not None and not len(target) else None
            if further is None:
                return id_
            if id_ in ids:
                raise BadReply("The service's answer refers to itself in a circle, which JSON can't tell.")
            ids.add(id_)
            self.used.add(id_)
            reference = further

    def _replace(self, child: etree._Element, id_: str, path: tuple[str, ...]) -> None:
        target, parent = self._shared.get(id_), child.getparent()
        assert parent is not None
        if target is None:
            raise BadReply("The service's answer refers to a value that is not in it.")
        if id_ in path:
            raise BadReply("The service's answer refers to itself in a circle, which JSON can't tell.")
        if sum(1 for _ in child.iterancestors()) > MAX_DEPTH:
            raise BadReply("The service's answer refers from value to value too deeply.")
        self.used.add(id_)
        for each in target.iter():
            self._left -= _ELEMENT + len(each.text or "") + len(each.tail or "")
            self._left -= sum(len(name) + len(value) for name, value in each.items())
            if self._left < 0:
                raise BadReply("The service's answer refers to the same values too often.")
        copy_ = copy.deepcopy(target)
        copy_.tag, copy_.tail = child.tag, child.tail
        parent.replace(child, copy_)
        self.fill(copy_, path)
