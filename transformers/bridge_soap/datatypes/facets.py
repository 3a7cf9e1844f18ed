"""Values against their simple types: white space, lexical space and facets (XML Schema 1.0, part 2, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from bridge_soap.components import Facets, SimpleType
from bridge_soap.datatypes import regex, simulate
from bridge_soap.datatypes.json_form import list_needs_text, needs_text
from bridge_soap.datatypes.lexical import BUILTINS, INTEGERS, NORMALIZE, NUMBERS, Builtin, list_items


class DatatypeError(ValueError):
    """A value is not valid for its type. The message describes what the schema allows.

    :ivar meant: what a text can only mean, though it is not valid; None if that is unknown.
    """

    def __init__(self, reason: str, meant: Any = None) -> None:
        super().__init__(reason)
        self.meant = meant

    def instead(self, text: str) -> Any:
        """The value of an invalid text that is tolerated."""
        return text if self.meant is None else self.meant


Check = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """The checks of one simple type.

    :ivar normalize: applies the whiteSpace facet.
    :ivar lexical: whether a normalized text is in the lexical space; facets are not checked.
    :ivar facets: raises `DatatypeError` if a normalized text violates a facet; None if the type has no facets.
    :ivar same: maps a text to its value; the results are equal if the values are equal.
    :ivar words: a description of valid values, for messages.
    """

    normalize: Callable[[str], str]
    lexical: Callable[[str], bool]
    facets: Check | None
    same: Callable[[str], Any]
    words: str

    def check(self, text: str) -> None:
        """:raises DatatypeError: `text`, which is normalized, is not valid for the type."""
        if not self.lexical(text):
            raise DatatypeError(f"{_shown(text)} is not {self.words}")
        if self.facets is not None:
            self.facets(text)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:57]) + "…"


class Rulebook(dict[SimpleType, Rules]):
    """`Rules` by type, created on first use.

    :raises bridge.api.BindError: a facet is invalid, such as a malformed pattern or a bound that is no value.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[SimpleType, tuple[SimpleType, ...]] = {}
        self._texts: dict[SimpleType, bool] = {}

    def __missing__(self, simple: SimpleType) -> Rules:
        rules = self[simple] = self._make(simple)
        return rules

    def _make(self, simple: SimpleType) -> Rules:
        if simple.variety == "list":
            return self._list(simple)
        if simple.variety == "union":
            return self._union(simple)
        builtin = BUILTINS[simple.builtin]
        normalize = NORMALIZE[simple.facets.white_space or builtin.white_space]  # type: ignore[index]  # see _facets
        facets = _facets(simple, builtin.same, _measure(builtin), builtin, normalize)
        return Rules(normalize, builtin.valid, facets, builtin.same, builtin.words)

    def is_text(self, simple: SimpleType) -> bool:
        """Whether the type is a number that must be a JSON string (`bridge_soap.datatypes.json_form`)."""
        if not _is_number(simple) or not (simple.as_text or simple.facets.patterns):
            return simple.as_text
        known = self._texts.get(simple)
        if known is None:
            integral = BUILTINS[simple.builtin].json in INTEGERS
            known = simple.as_text or needs_text(simple.facets, self._passing(simple), integral=integral)
            self._texts[simple] = known
        return known

    def _passing(self, simple: SimpleType) -> Callable[[str], bool]:
        """Whether a text is valid for a type with patterns."""
        rules, matchers = self[simple], [_matcher(group) for group in simple.facets.patterns]
        return lambda text: all(match(text) for match in matchers) and _passes(rules, text)

    # --- the types of items and members ---

    def item(self, simple: SimpleType) -> SimpleType:
        """The item type of a list; numbers are JSON strings if a pattern of the list itself wants that."""
        return self._parts_of(simple)[0]

    def members(self, simple: SimpleType) -> tuple[SimpleType, ...]:
        """The member types of a union; numbers are JSON strings if a pattern of the union itself wants that."""
        return self._parts_of(simple)

    def _parts_of(self, simple: SimpleType) -> tuple[SimpleType, ...]:
        parts = self._parts.get(simple)
        if parts is None:
            parts = (simple.item,) if simple.item is not None else simple.members
            numeric = [part for part in parts if _is_number(part)]
            if numeric and simple.facets.patterns:
                passes = self._passing(simple)
                others = [self[part] for part in parts if part not in numeric]
                integral = all(BUILTINS[part.builtin].json in INTEGERS for part in numeric)

                def only_numbers(text: str) -> bool:
                    return passes(text) and not any(_passes(other, other.normalize(text)) for other in others)

                need = list_needs_text if simple.variety == "list" else needs_text
                if need(simple.facets, only_numbers, integral=integral):
                    parts = tuple(replace(part, as_text=True) if part in numeric else part for part in parts)
            self._parts[simple] = parts
        return parts

    def _list(self, simple: SimpleType) -> Rules:
        assert simple.item is not None
        item = self[simple.item]

        def lexical(text: str) -> bool:
            return all(_passes(item, part) for part in list_items(text))

        def same(text: str) -> tuple[Any, ...]:
            return tuple(item.same(item.normalize(part)) for part in list_items(text))

        normalize = NORMALIZE["collapse"]
        facets = _facets(simple, same, lambda text: len(list_items(text)), None, normalize)
        return Rules(normalize, lexical, facets, same, f"a list, each item {item.words}")

    def _union(self, simple: SimpleType) -> Rules:
        members = [self[member] for member in simple.members]

        def lexical(text: str) -> bool:
            return any(_passes(member, member.normalize(text)) for member in members)

        def same(text: str) -> Any:
            for at, member in enumerate(members):
                normal = member.normalize(text)
                if _passes(member, normal):
                    return at, member.same(normal)
            return text

        words = " or ".join(dict.fromkeys(member.words for member in members))
        return Rules(str, lexical, _facets(simple, same, len, None, str), same, words)


def _is_number(simple: SimpleType) -> bool:
    return simple.variety == "atomic" and BUILTINS[simple.builtin].json in NUMBERS


def _passes(rules: Rules, text: str) -> bool:
    try:
        rules.check(text)
    except DatatypeError:
        return False
    return True


def _measure(builtin: Builtin) -> Callable[[str], int]:
    """The unit of the length facets (section 4.3.1): octets for binary types, characters for all others."""
    if builtin.json == "hex":
        return lambda text: len(text) // 2
    if builtin.json == "base64":
        return lambda text: len(text.replace(" ", "").rstrip("=")) * 3 // 4
    return len


def _facets(
    simple: SimpleType,
    same: Callable[[str], Any],
    measure: Callable[[str], int],
    builtin: Builtin | None,
    normalize: Callable[[str], str],
) -> Check | None:
    if simple.facets.white_space not in (None, *NORMALIZE):
        simple.place.fail(f"whiteSpace can't be {simple.facets.white_space!r}", simple.name)
    try:
        checks = tuple(_checks(simple, same, measure, builtin, normalize))
    except regex.PatternError as error:
        simple.place.fail(str(error), simple.name)
    except (ArithmeticError, ValueError):
        simple.place.fail("the value of a facet is not valid for the type", simple.name)
    if not checks:
        return None
    if len(checks) == 1:
        return checks[0]

    def check(text: str) -> None:
        for each in checks:
            each(text)

    return check


def _checks(
    simple: SimpleType,
    same: Callable[[str], Any],
    measure: Callable[[str], int],
    builtin: Builtin | None,
    normalize: Callable[[str], str],
) -> Iterator[Check]:
    facets = simple.facets
    unit = "items" if simple.variety == "list" else "octets" if simple.builtin.endswith("Binary") else "characters"
    if simple.builtin not in ("QName", "NOTATION"):
        yield from _lengths(facets, measure, unit)
    for group in facets.patterns:
        yield _pattern(group)
    if facets.enumeration is not None:
        yield _enumeration(tuple(map(normalize, facets.enumeration)), same)
    if builtin is not None and builtin.order is not None:
        yield from _bounds(facets, builtin)
    if facets.total_digits is not None or facets.fraction_digits is not None:
        yield _digits(facets.total_digits, facets.fraction_digits)


def _lengths(facets: Facets, measure: Callable[[str], int], unit: str) -> Iterator[Check]:
    low = facets.min_length if facets.length is None else facets.length
    high = facets.max_length if facets.length is None else facets.length
    if facets.length is not None:
        words = f"exactly {facets.length}"
    elif low and high is not None:
        words = f"{low} to {high}"
    else:
        words = f"at least {low}" if low else f"at most {high}"

    def check(text: str) -> None:
        count = measure(text)
        if (low is not None and count < low) or (high is not None and count > high):
            raise DatatypeError(f"it must have {words} {unit}, not {count}")

    if low or high is not None:
        yield check


def _matcher(group: tuple[str, ...]) -> Callable[[str], object]:
    """A function whose result is true if a text matches one of the patterns."""
    return simulate.matcher(regex.Branches(tuple(branch for each in group for branch in regex.read(each).branches)))


def _pattern(group: tuple[str, ...]) -> Check:
    match = _matcher(group)
    words = " or ".join(group)

    def check(text: str) -> None:
        if not match(text):
            raise DatatypeError(f"{_shown(text)} does not match the pattern {words}")

    return check


def _enumeration(values: tuple[str, ...], same: Callable[[str], Any]) -> Check:
    enumeration = {same(value) for value in values}
    texts = frozenset(values)
    listing = ", ".join(values[:12]) + (", …" if len(values) > 12 else "")

    def check(text: str) -> None:
        if text not in texts and same(text) not in enumeration:
            raise DatatypeError(f"{_shown(text)} is not one of {listing}")

    return check


def _bounds(facets: Facets, builtin: Builtin) -> Iterator[Check]:
    order = builtin.order
    assert order is not None

    def bound(limit: str, words: str, holds: Callable[[Any, Any], bool]) -> Check:
        mark = order(limit)

        def check(text: str) -> None:
            if not all(holds(mine, its) for mine, its in zip(order(text), mark, strict=True)):
                raise DatatypeError(f"{_shown(text)} must be {words} {limit}")

        return check

    if facets.min_inclusive is not None:
        yield bound(facets.min_inclusive, "at least", lambda mine, its: mine >= its)
    if facets.max_inclusive is not None:
        yield bound(facets.max_inclusive, "at most", lambda mine, its: mine <= its)
    if facets.min_exclusive is not None:
        yield bound(facets.min_exclusive, "more than", lambda mine, its: mine > its)
    if facets.max_exclusive is not None:
        yield bound(facets.max_exclusive, "less than", lambda mine, its: mine < its)


def _digits(total: int | None, fraction: int | None) -> Check:
    def check(text: str) -> None:
        whole, _, part = text.lstrip("+-").partition(".")
        part = part.rstrip("0")
        if fraction is not None and len(part) > fraction:
            raise DatatypeError(f"{_shown(text)} has more than {fraction} digits after the point")
        count = len((whole + part).lstrip("0")) if whole.strip("0") else len(part)
        if total is not None and count > total:
            raise DatatypeError(f"{_shown(text)} has more than {total} digits")

    return check


def bound_value(text: str) -> Decimal | None:
    """A numeric bound for documentation; None if it is not a finite number."""
    try:
        value = Decimal(text)
    except ArithmeticError:
        return None
    return value if value.is_finite() else None
