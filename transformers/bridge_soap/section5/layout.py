"""Where an encoded array's items stand: sizes, offsets and positions (SOAP 1.1, sections 5.4.2.1 and 5.4.2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lxml import etree

from bridge.api import BadReply
from bridge_soap.names import SOAP11_ENCODING, SOAP12_ENCODING, clark
from bridge_soap.section5.rules import numbers
from bridge_soap.xsd.arrays import split_array_type

#: How many items may be added to the arrays of one message, beyond those that it holds.
MAX_ADDED = 100_000

ARRAY_TYPE = clark(SOAP11_ENCODING, "arrayType")
_OFFSET = clark(SOAP11_ENCODING, "offset")
_POSITION = clark(SOAP11_ENCODING, "position")
ITEM_TYPE = clark(SOAP12_ENCODING, "itemType")
_ARRAY_SIZE = clark(SOAP12_ENCODING, "arraySize")


def is_told(node: etree._Element) -> bool:
    """Whether an element says that it is an array."""
    return node.get(ARRAY_TYPE) is not None or node.get(ITEM_TYPE) is not None


def told(node: etree._Element) -> tuple[str, list[int]]:
    """What an array says of itself: the type of its items with a prefix (``""`` where they are arrays, too), and its
    lengths."""
    text = node.get(ARRAY_TYPE)
    if text is not None:
        type_, inner, size = split_array_type(text)
        return "" if inner else type_, numbers(size) or []
    return node.get(ITEM_TYPE, ""), numbers(node.get(_ARRAY_SIZE, "")) or []


def check_sizes(body: etree._Element) -> None:
    """:raises bridge.api.BadReply: the arrays of a message claim far more items than it holds."""
    allowance = MAX_ADDED
    for node in body.iter():
        # An element whose declared type is an array need not say that it is one.
        if is_told(node) or node.get(_OFFSET) is not None or any(child.get(_POSITION) is not None for child in node):
            _, shape = told(node)
            # Rows without items are counted, too; an array that tells no lengths is as long as its last place.
            last = max(places_of(node, shape, keep=True) or [0])
            allowance -= max(math.prod(max(length, 1) for length in shape) - len(node), last + 1 - len(node), 0)
            if allowance < 0:
                raise BadReply("The arrays in the service's answer claim far more items than it holds.")


def places_of(node: etree._Element, shape: Sequence[int], *, keep: bool = False) -> list[int] | None:
    """Where each item stands in row-major order; None where they stand in a row from the first. Their positions are
    taken from them, unless they are to `keep` them.

    :raises bridge.api.BadReply: an item's place is outside of the array.
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
    """The row-major index of a place with as many numbers as the array has dimensions."""
    if not shape:
        return position[-1]
    index = 0
    for number, length in zip(position, shape, strict=False):
        if number >= length:
            raise BadReply("An array in the service's answer places an item outside of itself.")
        index = index * length + number
    return index


def laid_out(items: list[Any], places: Sequence[int] | None, shape: Sequence[int]) -> list[Any]:
    """Items at their places: rows of rows where there are several dimensions, None where nothing was sent."""
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
    """Rows that hold nothing: ``[2,0]`` is two of them."""
    return [_rows(shape[1:]) for _ in range(shape[0])] if shape else []
