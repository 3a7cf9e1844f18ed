"""JSON to XML by xmltodict's conventions: ``@name`` is an attribute, ``#text`` text, an array repeated elements.

Own code, since `xmltodict.unparse` takes three times as long (10 items: 300 µs against 90 µs) and writes invalid names
and characters; the tests compare the two.
"""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal
from typing import Any

from bridge.api import Enough, FaultList, InvalidBody, XmlError, parse_xml, pointer_of
from bridge_xml.decode import MAX_DEPTH
from bridge_xml.names import prefix_of

#: A position in the body: its parent's position and its own key or index; None is the top.
Place = tuple[Any, str | int] | None

_PIECES = 4096  #: of a document's text, which are joined in one go
_MAX_FAULTS = 25
# Characters that need a reference or are not allowed in XML, so that one search finds both.
_UNWRITABLE = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_IN_TEXT = re.compile(f"[&<>\r{_UNWRITABLE}]")
_IN_ATTRIBUTE = re.compile(f'[&<"\t\n\r{_UNWRITABLE}]')
_BAD = re.compile(f"[{_UNWRITABLE}]")
# Parsers normalise a carriage return, and white space in an attribute, without a reference (XML 1.0, 2.11 and 3.3.3).
_REFERENCE = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'
_RESERVED = frozenset({"xml"})  # Namespaces 1.0, 3: bound without a declaration


def encode(value: Any, *, root: str = "", namespace: str = "") -> bytes:
    """`value`, a result of `bridge.api.parse_json`, as a document in UTF-8.

    With `root`, the object's members become the content of an element with that name; without, the object's only
    member is the root element. `namespace` becomes the root's ``xmlns`` if the body has none.

    :raises bridge.api.InvalidBody: with a pointer to each part that has no XML form.
    """
    writer = _Writer()
    with contextlib.suppress(Enough):
        _write(writer, value, root, namespace)
    if writer.faults:
        raise InvalidBody(writer.faults[:_MAX_FAULTS])
    out = writer.out
    # In slices, so that other threads can run meanwhile.
    document = b"".join(["".join(out[at : at + _PIECES]).encode() for at in range(0, len(out), _PIECES)])
    if writer.prefixed:
        # Two prefixes bound to one namespace can still duplicate an attribute; the parser checks all such rules.
        try:
            parse_xml(document)
        except XmlError as error:
            raise InvalidBody([("", f"its names and namespaces make no XML document: {error}")]) from None
    return document


def _write(writer: _Writer, value: Any, root: str, namespace: str) -> None:
    if not isinstance(value, dict):
        writer.fault(None, f"{_kind(value)} can't be an XML document; an object is needed")
    elif root:
        writer.element(root, value, None, _RESERVED, namespace)
    elif len(value) != 1:
        members = "none" if not value else f"{len(value)}: {', '.join(map(repr, list(value)[:5]))}"
        writer.fault(None, f"an XML document has one root element, so the object needs one member; it has {members}")
    else:
        ((name, content),) = value.items()
        if isinstance(content, list):
            writer.fault((None, name), "an XML document has one root element, so this can't be an array")
        else:
            writer.element(name, content, (None, name), _RESERVED, namespace)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _pointer(place: Place) -> str:
    path: list[object] = []
    while place is not None:
        place, step = place
        path.append(step)
    return pointer_of(reversed(path))


class _Writer:
    """Writes elements to `out`, and faults to `faults`, so that one reply lists all of them."""

    def __init__(self) -> None:
        self.out: list[str] = [_PROLOG]
        self.faults = FaultList(_MAX_FAULTS)
        self.prefixed = False
        self._level = 0  # of the element that is written

    def fault(self, place: Place, reason: str) -> None:
        self.faults.append((_pointer(place), reason))

    def element(self, name: str, value: Any, place: Place, scope: frozenset[str], namespace: str = "") -> None:
        """One element. `scope`: the prefixes declared by its ancestors; `namespace`: the root's own."""
        if self._level == MAX_DEPTH:
            self.fault(place, f"elements are nested deeper than {MAX_DEPTH} levels")
        elif type(value) is not dict:
            text = self.text(value, place, _IN_TEXT)
            if prefix_of(name) != "":
                self.name(name, place, scope)
            xmlns = f' xmlns="{self.text(namespace, place, _IN_ATTRIBUTE)}"' if namespace else ""
            self.out.append(f"<{name}{xmlns}>{text}</{name}>" if text else f"<{name}{xmlns}/>")
        else:
            self._level += 1
            self.object(name, value, place, scope, namespace)
            self._level -= 1

    def object(self, name: str, value: dict[str, Any], place: Place, scope: frozenset[str], namespace: str) -> None:
        """An element with attributes or elements in it; its text comes last, as xmltodict writes it."""
        attributes: list[tuple[str, str, Place]] = []
        children: list[tuple[str, Any]] = []
        text = ""
        at: Place
        if namespace and "@xmlns" not in value:
            attributes.append(("xmlns", self.text(namespace, place, _IN_ATTRIBUTE), place))
        for key, item in value.items():
            if key == "#text":
                text = self.text(item, (place, key), _IN_TEXT)
            elif key[:1] != "@":
                children.append((key, item))
            elif key == "@xmlns" and type(item) is dict:  # xmltodict's form: {"prefix": "uri", "": "default"}
                for prefix, uri in item.items():
                    at = ((place, key), prefix)
                    attribute = f"xmlns:{prefix}" if prefix else "xmlns"
                    attributes.append((attribute, self.text(uri, at, _IN_ATTRIBUTE), at))
            else:
                at = (place, key)
                attributes.append((key[1:], self.text(item, at, _IN_ATTRIBUTE), at))
        if attributes:
            scope |= {attribute[6:] for attribute, _, _ in attributes if attribute.startswith("xmlns:")}
        if prefix_of(name) != "":
            self.name(name, place, scope)
        opening = name
        for attribute, attribute_text, at in attributes:
            if prefix_of(attribute) != "":
                self.name(attribute, at, scope)
            opening += f' {attribute}="{attribute_text}"'
        if not children:
            self.out.append(f"<{opening}>{text}</{name}>" if text else f"<{opening}/>")
            return
        self.out.append(f"<{opening}>")
        for key, item in children:
            at = (place, key)
            if type(item) is list:
                for index, child in enumerate(item):
                    self.element(key, child, (at, index), scope)
            else:
                self.element(key, item, at, scope)
        self.out.append(f"{text}</{name}>")

    def text(self, value: Any, place: Place, special: re.Pattern[str]) -> str:
        """A string, number, boolean or null as character data or an attribute's value."""
        kind = type(value)
        if kind is str:
            if not special.search(value):
                return str(value)
            match = _BAD.search(value)
            if match:
                self.fault(place, f"XML can't hold the character U+{ord(match[0]):04X}")
                return ""
            text: str = special.sub(lambda match: _REFERENCE[match[0]], value)
            return text
        if value is None:
            return ""
        if kind is bool:
            return "true" if value else "false"
        if kind is int or isinstance(value, Decimal | float):
            return str(value)
        self.fault(place, f"{_kind(value)} can't stand here; XML takes a single value")
        return ""

    def name(self, name: str, place: Place, scope: frozenset[str]) -> None:
        """Check that `name` is valid and that its prefix is declared."""
        prefix = prefix_of(name)
        if prefix is None:
            self.fault(place, f"{name!r} can't be a name in XML")
        elif prefix:
            self.prefixed = True
            if prefix != "xmlns" and prefix not in scope:
                self.fault(place, f'the prefix {prefix!r} is not declared; give "@xmlns:{prefix}" here or above')
