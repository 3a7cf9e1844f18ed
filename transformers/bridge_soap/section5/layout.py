"""The places of an encoded array's items: sizes, offsets and positions (SOAP 1.1, sections 5.4.2.1 and 5.4.2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lxml import etree

from bridge.api import BadReply
from bridge_soap.names import SOAP11_ENCODING, SOAP12_ENCODING, clark
from bridge_soap.section5.rules import numbers
from bridge_soap.xsd.arrays import split_array_type

#: The limit on items that are added to the arrays of one message, beyond those in it.
MAX_ADDED = 100_000

ARRAY_TYPE = clark(SOAP11_ENCODING, "arrayType")
_OFFSET = clark(SOAP11_ENCODING, "offset")
_POSITION = clark(SOAP11_ENCODING, "position")
ITEM_TYPE = clark(SOAP12_ENCODING, "itemType")
_ARRAY_SIZE = clark(SOAP12_ENCODING, "arraySize")


def is_array(node: etree._Element) -> bool:
    """Whether an element has an attribute for arrays."""
    return node.get(ARRAY_TYPE) is not None or node.get(ITEM_TYPE) is not None


def array_attributes(node: etree._Element) -> tuple[str, list[int]]:
    """The attributes of an array: the type of its items with a prefix (``""`` for arrays), and its lengths."""
    text = node.get(ARRAY_TYPE)
    if text is not None:
        type_, inner, size = split_array_type(text)
        return "" if inner else type_, numbers(size) or []
    return node.get(ITEM_TYPE, ""), numbers(node.get(_ARRAY_SIZE, "")) or []


def check_sizes(body: etree._Element) -> None:
    """:raises bridge.api.BadReply: the arrays of a message claim far more items than it has."""
    allowance = MAX_ADDED
    for node in body.iter():
        # An element whose declared type is an array may lack the attribute.
        if is_array(node) or node.get(_OFFSET) is not None or any(child.get(_POSITION) is not None for child in node):
            _, shape = array_attributes(node)
            # Empty rows count too; without lengths, an array ends at its last place.
            last = max(places_of(node, shape, keep=True) or [0])
            allowance -= max(math.prod(max(length, 1) for length in shape) - len(node), last + 1 - len(node), 0)
            if allowance < 0:
                raise BadReply("The arrays in the service's answer claim far more items than it holds.")


def places_of(node: etree._Element, shape: Sequence[int], *, keep: bool = False) -> list[int] | None:
    """The place of each item in row-major order; None if they are consecutive from the first. The position attributes
    are removed unless `keep` is set.

    :raises bridge.api.BadReply: an item's place is outside the array.
    """
    offset = numbers(node.get(_OFFSET, ""))
    place = _index(offset, shape) if offset else 0
    plain = not place
    places: list[int] = []
    for child in node:
        position = numbers(child.get(_POSITION, ""))
        if position:
            place, plain = _index(position, shape), False
            if not keep:
                del child.attrib[_POSITION]
        places.append(place)
        place += 1
    return None if plain else places


def _index(position: Sequence[int], shape: Sequence[int]) -> int:
    """The row-major index of a place with one number per dimension."""
    if not shape:
        return position[-1]
    index = 0
    for number, length in zip(position, shape, strict=False):
        if number >= length:
            raise BadReply("An array in the service's answer places an item outside of itself.")
        index = index * length + number
    return index


def laid_out(items: list[Any], places: Sequence[int] | None, shape: Sequence[int]) -> list[Any]:
    """Items at their places: nested rows for several dimensions, None for missing items."""
    if 0 in shape:
        return items or _rows(shape[: shape.index(0)])
    if places is not None:
        members, items = items, [None] * (max(places, default=-1) + 1)
        for place, item in zip(places, members, strict=True):
            items[place] = item
    items = items + [None] * (math.prod(shape or [0]) - len(items))
    for length in reversed(shape[1:]):
        items = [items[start : start + length] for start in range(0, len(items), length)] if length else []
    return items


def _rows(shape: Sequence[int]) -> list[Any]:
    """Rows without items: ``[2,0]`` is two of them."""
    return [_rows(shape[1:]) for _ in range(shape[0])] if shape else []
