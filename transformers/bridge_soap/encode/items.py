"""Content whose order is in the body: ``#items``, ``#content`` and ``#any``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bridge.api import ABSENT
from bridge_soap.components import ComplexType, Element, Wildcard
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_out import escape, plain_text
from bridge_soap.encode.writing import At, Faults, Put, Writer, broken, not_list, not_object, pointer, unknown
from bridge_soap.names import local_name, split
from bridge_soap.xsd.model import ANY, CONTENT, ELEMENT, ITEMS, NIL, Content, Part, any_name, attribute_keys, keys_of
from bridge_soap.xsd.order import Order

if TYPE_CHECKING:
    from bridge_soap.encode.encoders import Encoders

#: One element in order: its place in the body, its key and its value.
Item = tuple[At, str, Any]


class ItemsWriter:
    """Writers for the ordered parts of one content model; each public method is or returns a `Writer`."""

    def __init__(self, encoders: Encoders, owner: ComplexType, content: Content) -> None:
        self._encoders, self._owner, self._content = encoders, owner, content
        part = content.root if content.whole else content.region
        self._mixed = owner.mixed
        self._list_key = CONTENT if self._mixed else ITEMS
        self._part = part
        self._order = Order(encoders.schemas, part) if part is not None else None
        self._elements: dict[str, tuple[Element, Writer]] = {}
        self._wildcards: tuple[Wildcard, ...] = ()
        if part is not None:
            self._take(part)

    def _take(self, part: Part) -> None:
        for leaf in part.leaves():
            if leaf.element is not None and leaf.key not in self._elements:
                self._elements[leaf.key] = (leaf.element, self._encoders.values.element(leaf.element))
        self._wildcards = tuple(leaf.wildcard for leaf in part.leaves() if leaf.wildcard is not None)

    # --- the writers ---

    def content(self, value: Any, put: Put, at: At, bad: Faults) -> None:
        """All child elements of a type whose keys do not determine the order."""
        if value.__class__ is not dict:
            not_object(value, at, bad)
            return
        own_keys = {self._list_key, NIL, *attribute_keys(self._owner).values()}
        if self._list_key in value:
            self._listed(value[self._list_key], put, at, bad)
        else:
            own_keys |= self._keyed(value, put, at, bad)
        unknown(value, frozenset(own_keys), bool(self._owner.any_attribute), self._owner.name, at, bad)

    def region(self, value: Any, put: Put, at: At, bad: Faults) -> None:
        """The repeated group of a content model that is otherwise keyed."""
        if ITEMS in value:
            self._listed(value[ITEMS], put, at, bad)
            assert self._part is not None
            for key in keys_of(self._part, None) & value.keys():
                bad.append((pointer((at, key)), f"it belongs in {ITEMS}, which is given too"))
        else:
            self._keyed(value, put, at, bad)

    def wildcard(self, part: Part) -> Writer:
        """The ``#any`` of a keyed content model."""
        wildcard, low, high = part.wildcard, part.low, part.high
        assert wildcard is not None
        wild = self._encoders.values.wild

        def write(value: Any, put: Put, at: At, bad: Faults) -> None:
            items = value.get(ANY, ABSENT)
            if items is ABSENT:
                items = []
            if items.__class__ is not list:
                not_list(items, at, ANY, bad)
                return
            if len(items) < low or (high is not None and len(items) > high):
                most = "any number" if high is None else str(high)
                bad.append((pointer((at, ANY)), f"it must hold {low} to {most} elements, not {len(items)}"))
            for place, name, item in self._singles(items, (at, ANY), bad):
                if not wildcard.allows(split(any_name(name))[0]):
                    bad.append((pointer(place), "the schema allows no element of that namespace here"))
                else:
                    wild.element(name, item, wildcard, put, place, bad)

        return write

    # --- lists ---

    def _listed(self, items: Any, put: Put, at: At, bad: Faults) -> None:
        if items.__class__ is not list:
            not_list(items, at, self._list_key, bad)
            return
        tags: list[str] = []
        places: list[At] = []
        here: At = (at, self._list_key)
        for number, item in enumerate(items):
            place: At = (here, number)
            if self._mixed and item.__class__ is str:
                try:
                    put(escape(plain_text(item)))
                except DatatypeError as error:
                    broken(error, item, place, bad)
                continue
            for where, key, value in self._singles([item], here, bad, number):
                tag = self._write(key, value, put, where, bad)
                if tag:
                    tags.append(tag)
                    places.append(where)
        self._check(tags, places, here, bad)

    def _singles(self, items: list[Any], here: At, bad: Faults, start: int = 0) -> Iterator[Item]:
        for number, item in enumerate(items, start):
            if item.__class__ is not dict or len(item) != 1:
                bad.append((pointer((here, number)), "an object with exactly one element is wanted"))
            else:
                ((key, value),) = item.items()
                yield ((here, number), key), key, value

    def _write(self, key: str, value: Any, put: Put, at: At, bad: Faults) -> str:
        """Write one item. Returns its tag, or ``""`` after a fault."""
        entry = self._elements.get(key)
        if entry is not None:
            element, writer = entry
            writer(value, put, at, bad)
            return self._tag(element, value)
        name = any_name(key)
        for wildcard in self._wildcards:
            if wildcard.allows(split(name)[0]):
                self._encoders.values.wild.element(name, value, wildcard, put, at, bad)
                return name
        bad.append((pointer(at), "the schema has no such element here"))
        return ""

    def _tag(self, head: Element, value: Any) -> str:
        if value.__class__ is dict and ELEMENT in value:
            for member in self._encoders.schemas.members(head):
                if value[ELEMENT] in (member.name, local_name(member.name)):
                    return member.name
        return head.name

    def _check(self, tags: list[str], places: list[At], here: At, bad: Faults) -> None:
        if self._order is None:
            if tags:
                bad.append((pointer(here), "the schema allows no element here"))
            return
        fault = self._order.check(tags)
        # An item with a fault has no tag, so it may be the one that seems to be missing.
        if fault is not None and (fault[0] < len(tags) or not bad):
            bad.append((pointer(places[fault[0]] if fault[0] < len(tags) else here), fault[1]))

    # --- keyed arrays with only one possible order ---

    def _keyed(self, value: dict[str, Any], put: Put, at: At, bad: Faults) -> set[str]:
        """Write keyed properties, if only one order is possible. Returns the keys."""
        lists: dict[str, list[Any]] = {}
        for key in self._elements:
            if key in value:
                item = value[key]
                lists[key] = item if item.__class__ is list else [item]
        order, items = self._order, self._one_order(lists)
        if items is None:
            names = ", ".join(lists)
            bad.append((pointer(at), f"the order of {names} can't be told; give them in {self._list_key}"))
            return set(lists)
        tags = [self._tag(self._elements[key][0], item) for key, _, item in items]
        fault = order.check(tags) if order is not None else None
        if fault is not None:
            bad.append((pointer((at, self._list_key)), fault[1] if not tags else f"{fault[1]}; give the order here"))
            return set(lists)
        for key, number, item in items:
            many = value[key].__class__ is list
            place: At = ((at, key), number) if many else (at, key)
            self._elements[key][1](item, put, place, bad)
        return set(lists)

    def _one_order(self, lists: dict[str, list[Any]]) -> list[tuple[str, int, Any]] | None:
        """The only possible order of the keyed values; None if there may be several."""
        filled = {key: items for key, items in lists.items() if items}
        if len(filled) <= 1:
            return [(key, number, item) for key, items in filled.items() for number, item in enumerate(items)]
        leaves = _in_turn(self._part)
        counts = {key: len(items) for key, items in filled.items()}
        own: dict[str, list[Part]] = {key: [] for key in counts}
        for leaf in leaves:
            if leaf.key in own:
                own[leaf.key].append(leaf)
        rounds = _rounds(self._part, own, counts)
        shares = _shares(leaves, own, counts, rounds) if rounds else None
        if shares is None:
            return None
        items = {key: iter(enumerate(values)) for key, values in filled.items()}
        return [(key, *next(items[key])) for _ in range(rounds) for key, share in shares for _ in range(share)]


def _in_turn(part: Part | None) -> list[Part]:
    """The leaves of a sequence, if each round of it has all of them one after another; else none."""
    if part is None or part.kind != "sequence":
        return []
    leaves: list[Part] = []
    for each in part.parts:
        if not each.is_group:
            leaves.append(each)
            continue
        inner = _in_turn(each) if each.low == each.high == 1 else []
        if not inner:
            return []
        leaves += inner
    return leaves


def _rounds(part: Part | None, own: dict[str, list[Part]], counts: dict[str, int]) -> int:
    """How often the sequence is repeated if it holds so many elements of each key; 0 if that can't be told."""
    if part is not None and part.high == 1:
        return 1
    for key, count in counts.items():
        least = sum(leaf.low for leaf in own[key])
        if least and all(leaf.low == leaf.high for leaf in own[key]):
            return count // least if count % least == 0 else 0
    return 0


def _shares(
    leaves: list[Part], own: dict[str, list[Part]], counts: dict[str, int], rounds: int
) -> list[tuple[str, int]] | None:
    """For each leaf of one round its key and how many elements it takes; None if there are several ways or none."""
    taken: dict[int, int] = {}
    for key, count in counts.items():
        lows, highs = [leaf.low for leaf in own[key]], [leaf.high for leaf in own[key]]
        if count == rounds * sum(lows):
            shares = lows
        elif None not in highs and count == rounds * sum(high or 0 for high in highs):
            shares = [high or 0 for high in highs]
        elif rounds == len(lows) == 1:
            shares = [count]
        else:
            return None
        taken |= {id(leaf): share for leaf, share in zip(own[key], shares, strict=True)}
    return [(leaf.key, taken[id(leaf)]) for leaf in leaves if taken.get(id(leaf))]
