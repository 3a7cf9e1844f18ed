"""Content models as JSON: the property of each element, and where the order of elements must be kept.

A content model is first simplified: groups with one member and nested groups are merged, and occurrences multiplied.
Elements then become properties, and arrays if they may repeat. If a group of several elements repeats, its elements go
into ``#items`` in document order. If one name occurs in two places of the model, or there are two such groups, the
whole content goes there (*whole*).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from bridge_soap.components import ComplexType, Element, Particle, Wildcard
from bridge_soap.names import local_name
from bridge_soap.xsd.schemas import Schemas

ANY = "#any"
ITEMS = "#items"
CONTENT = "#content"
TEXT = "#text"
NIL = "#nil"
TYPE = "@xsi:type"
ELEMENT = "@element"

Kind = Literal["element", "any", "sequence", "choice", "all"]


@dataclass(eq=False, slots=True)
class Part:
    """A node of a simplified content model, `low` to `high` times (None: unbounded)."""

    kind: Kind
    low: int
    high: int | None
    parts: tuple[Part, ...] = ()
    element: Element | None = None
    wildcard: Wildcard | None = None
    key: str = ""

    @property
    def repeats(self) -> bool:
        return self.high is None or self.high > 1

    @property
    def is_group(self) -> bool:
        return self.kind not in ("element", "any")

    @property
    def emptiable(self) -> bool:
        """Whether it matches an empty sequence of elements."""
        if self.low == 0:
            return True
        if self.kind == "choice":
            return any(part.emptiable for part in self.parts)
        return self.is_group and all(part.emptiable for part in self.parts)

    def leaves(self) -> Iterator[Part]:
        """The elements and wildcards in this part, which may be one itself."""
        if not self.is_group:
            yield self
        for part in self.parts:
            yield from part.leaves()


@dataclass(frozen=True, slots=True)
class Slot:
    """The meaning of an element's tag in a content model.

    :ivar element: the declaration of that tag: the one in the model, or a member of its substitution group.
    :ivar head: the declaration in the model.
    :ivar many: the property is an array.
    :ivar in_items: the element goes into ``#items``.
    """

    key: str
    element: Element
    head: Element
    many: bool
    in_items: bool


@dataclass(eq=False, slots=True)
class Content:
    """A complex type's content model. `region` is the repeated group that goes into ``#items`` if not `whole`."""

    root: Part | None
    whole: bool = False
    region: Part | None = None
    slots: dict[str, Slot] = field(default_factory=dict[str, Slot])
    #: keys of arrays that are always present, and of those that are present with a branch of a choice
    arrays: tuple[str, ...] = ()
    branch_arrays: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = ()
    wildcards: tuple[Wildcard, ...] = ()
    #: arrays with bounds on their length; and the keys of each choice's branches, if the branches share no key
    counts: tuple[tuple[str, int, int | None], ...] = ()
    choices: tuple[tuple[frozenset[str], ...], ...] = ()


def content_of(schemas: Schemas, complex_type: ComplexType) -> Content:
    """The content model of a type without simple content.

    :raises bridge.api.BindError: it contains two elements with one name and different types.
    """
    budget = _Budget(complex_type)
    root = _simplify(complex_type.particle, budget, 0) if complex_type.particle is not None else None
    if root is None:
        return Content(None, whole=complex_type.mixed)
    leaves = list(root.leaves())
    _merge(leaves)
    _give_keys(leaves)
    regions = list(_regions(root))
    tags = {id(leaf): _tags(schemas, leaf) for leaf in leaves}
    whole = complex_type.mixed or len(regions) > 1 or _clashes(root, tags) or _stand_in(leaves, tags)
    region = regions[0] if regions and not whole else None
    if region is not None:
        inside = set(map(id, region.leaves()))
        within = _union(tags, [leaf for leaf in leaves if id(leaf) in inside])
        without = _union(tags, [leaf for leaf in leaves if id(leaf) not in inside])
        if within & without:
            whole, region = True, None
    content = Content(root, whole, region, wildcards=tuple(leaf.wildcard for leaf in leaves if leaf.wildcard))
    _fill_slots(schemas, content, leaves, complex_type)
    if not whole:
        _find_arrays(content)
        _find_bounds(content)
    return content


def straight(content: Content) -> list[Part]:
    """The elements of a content model that is a plain sequence of elements; empty otherwise."""
    root = content.root
    if root is None or content.region is not None:
        return []
    parts = root.parts if root.kind == "sequence" and root.low == 1 else (root,)
    return list(parts) if all(part.kind == "element" for part in parts) else []


# --- simplifying -------------------------------------------------------------------------------------------------


#: The limit on particles: groups that refer to others twice double the model at each step.
_MAX_PLACES = 20_000
#: The limit on nested groups: Python cannot compile code that is nested deeper.
_MAX_NESTING = 40


class _Budget:
    """The remaining limits for one content model."""

    def __init__(self, owner: ComplexType) -> None:
        self._owner, self._left = owner, _MAX_PLACES

    def take(self, depth: int) -> None:
        """:raises bridge.api.BindError: the model is too large or too deep."""
        self._left -= 1
        if self._left < 0 or depth > _MAX_NESTING:
            what = (
                f"more than {_MAX_PLACES} places" if self._left < 0 else f"groups nested more than {_MAX_NESTING} deep"
            )
            self._owner.place.fail(f"its content model has {what}", local_name(self._owner.name))


def _simplify(particle: Particle, budget: _Budget, depth: int) -> Part | None:
    budget.take(depth)
    low, high, term = particle.low, particle.high, particle.term
    if high == 0:
        return None
    if isinstance(term, Element):
        return Part("element", low, high, element=term)
    if isinstance(term, Wildcard):
        return Part("any", low, high, wildcard=term)
    parts: list[Part] = []
    for child in term.particles:
        part = _simplify(child, budget, depth + 1)
        if part is None:
            if term.kind == "choice":
                low = 0  # the empty branch may be chosen
            continue
        if part.kind == term.kind and part.kind != "all" and part.low == part.high == 1:
            parts.extend(part.parts)
        else:
            parts.append(part)
    if not parts:
        return None
    if len(parts) == 1:
        folded = _fold(parts[0], low, high)
        if folded is not None:
            return folded
    return Part(term.kind, low, high, tuple(parts))


def _fold(part: Part, low: int, high: int | None) -> Part | None:
    """``(part){low,high}`` as one part, if the possible counts have no gaps."""
    if low == high == 1:
        return part
    if part.low > 1:
        return None
    most = None if high is None or part.high is None else high * part.high
    return Part(part.kind, low * part.low, most, part.parts, part.element, part.wildcard)


def _merge(leaves: list[Part]) -> None:
    """Merge the declarations of one name and type; the result accepts what any of them accepts."""
    by_name: dict[str, list[Part]] = {}
    for leaf in leaves:
        if leaf.element is not None:
            by_name.setdefault(leaf.element.name, []).append(leaf)
    for same in by_name.values():
        elements = [leaf.element for leaf in same if leaf.element is not None]
        first = elements[0]
        if all(each is first for each in elements) or any(each.type is not first.type for each in elements):
            continue
        union = replace(
            first,
            nillable=any(each.nillable for each in elements),
            default=next((each.default for each in elements if each.default is not None), None),
            fixed=first.fixed if all(each.fixed == first.fixed for each in elements) else None,
        )
        for leaf in same:
            leaf.element = union


def _stand_in(leaves: list[Part], tags: dict[int, frozenset[str]]) -> bool:
    """Whether an element of the model may also substitute for another."""
    heads = {leaf.element.name for leaf in leaves if leaf.element is not None}
    return any(tags[id(leaf)] & (heads - {leaf.element.name}) for leaf in leaves if leaf.element is not None)


def _give_keys(leaves: list[Part]) -> None:
    names: dict[str, set[str]] = {}
    for leaf in leaves:
        if leaf.element is not None:
            names.setdefault(local_name(leaf.element.name), set()).add(leaf.element.name)
    for leaf in leaves:
        if leaf.element is None:
            leaf.key = ANY
        else:
            local = local_name(leaf.element.name)
            leaf.key = local if len(names[local]) == 1 else leaf.element.name


def _regions(part: Part) -> Iterator[Part]:
    """The outermost groups that repeat."""
    if part.is_group and part.repeats:
        yield part
    else:
        for child in part.parts:
            yield from _regions(child)


def _tags(schemas: Schemas, leaf: Part) -> frozenset[str]:
    if leaf.element is None:
        return frozenset({ANY})
    return frozenset({leaf.element.name, *(member.name for member in schemas.members(leaf.element))})


def _union(tags: dict[int, frozenset[str]], leaves: list[Part]) -> frozenset[str]:
    return frozenset().union(*(tags[id(leaf)] for leaf in leaves))


def _clashes(part: Part, tags: dict[int, frozenset[str]]) -> bool:
    """Whether one name has two places that an instance may contain at once, outside repeated groups."""
    if not part.is_group or part.repeats:
        return False
    if part.kind != "choice":
        names_so_far: set[str] = set()
        for child in part.parts:
            names = _union(tags, list(child.leaves()))
            if names & names_so_far:
                return True
            names_so_far |= names
    elif sum(ANY in _union(tags, list(child.leaves())) for child in part.parts) > 1:
        return True  # the elements do not tell which wildcard they match
    return any(_clashes(child, tags) for child in part.parts)


# --- what decoders need ------------------------------------------------------------------------------------------


def _fill_slots(schemas: Schemas, content: Content, leaves: list[Part], owner: ComplexType) -> None:
    inside = set(map(id, content.region.leaves())) if content.region is not None else set()
    many = {leaf.key for leaf in leaves if leaf.repeats and id(leaf) not in inside}
    for leaf in leaves:
        head = leaf.element
        if head is None:
            continue
        in_items = content.whole or id(leaf) in inside
        slot = content.slots.get(head.name)
        if slot is not None and slot.element.type is not head.type:
            owner.place.fail(
                f"two elements named {local_name(head.name)} in one content model have different types",
                local_name(owner.name),
            )
        content.slots.setdefault(head.name, Slot(leaf.key, head, head, leaf.key in many, in_items))
    for leaf in leaves:
        head = leaf.element
        if head is not None:
            in_items = content.whole or id(leaf) in inside
            for element in schemas.members(head):
                content.slots.setdefault(element.name, Slot(leaf.key, element, head, leaf.key in many, in_items))


def _find_arrays(content: Content) -> None:
    """Find arrays that are present even if empty; those in a branch of a choice only with that branch."""
    assert content.root is not None
    always: list[str] = []
    branches: list[tuple[frozenset[str], tuple[str, ...]]] = []

    def walk(part: Part, keys: list[str]) -> None:
        if part is content.region:
            keys.append(ITEMS)
        elif not part.is_group:
            if part.repeats or _is_many(content, part):
                keys.append(part.key)
        elif part.kind == "choice":
            for branch in part.parts:
                arrays: list[str] = []
                walk(branch, arrays)
                if arrays and branch.is_group:
                    branches.append((keys_of(branch, content.region), tuple(arrays)))
        else:
            for child in part.parts:
                walk(child, keys)

    walk(content.root, always)
    content.arrays = tuple(dict.fromkeys(always))
    content.branch_arrays = tuple(branches)


def _find_bounds(content: Content) -> None:
    """Find the rules that a reply may violate although each element is in its place."""
    assert content.root is not None
    counts: list[tuple[str, int, int | None]] = []
    choices: list[tuple[frozenset[str], ...]] = []

    def walk(part: Part, *, sure: bool) -> None:
        if part is content.region:
            return
        if part.element is not None and part.repeats and (part.high is not None or part.low > 1):
            counts.append((part.key, part.low if sure else 0, part.high))
        if part.kind == "choice":
            keys = tuple(keys_of(branch, content.region) for branch in part.parts)
            if len(frozenset().union(*keys)) == sum(map(len, keys)):
                choices.append(keys)
        for child in part.parts:
            walk(child, sure=sure and part.low > 0 and part.kind != "choice")

    walk(content.root, sure=True)
    if counts:
        places = Counter(leaf.key for leaf in content.root.leaves())
        content.counts = tuple(each for each in counts if places[each[0]] == 1)
    content.choices = tuple(choices)


def _is_many(content: Content, part: Part) -> bool:
    slot = content.slots.get(part.element.name) if part.element is not None else None
    return slot.many if slot is not None else part.kind == "any"


def keys_of(part: Part, region: Part | None) -> frozenset[str]:
    """The properties of the elements in `part`."""
    if part is region:
        return frozenset({ITEMS, *(leaf.key for leaf in part.leaves())})
    if not part.is_group:
        return frozenset({part.key})
    return frozenset().union(*(keys_of(child, region) for child in part.parts))


def attribute_keys(complex_type: ComplexType) -> dict[str, str]:
    """The property of each attribute: ``@name``, or ``@{namespace}name`` if a local name is not unique."""
    locals_ = [local_name(name) for name in complex_type.attributes]
    out = {}
    for name in complex_type.attributes:
        local = local_name(name)
        out[name] = f"@{local}" if locals_.count(local) == 1 else f"@{name}"
    return out


def any_name(key: str) -> str:
    """The Clark name of a wildcard's key; ``{}local`` becomes ``local``."""
    return key.removeprefix("{}")
