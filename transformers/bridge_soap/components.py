"""The components of a WSDL's schemas, with references resolved (XML Schema 1.0, part 1, section 2.2).

Components are plain values. The type of an element is resolved when it is first used: types may contain themselves, and
a broken type concerns only the operations that use it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NoReturn

from bridge.api import BindError, Fault


@dataclass(frozen=True, slots=True)
class Place:
    """Where a component is declared: the file's name for messages, and the line."""

    file: str
    line: int = 0

    def note(self, sentence: str) -> str:
        """`sentence` with this place before it."""
        return str(Fault(sentence, file=self.file, line=self.line))

    def fail(self, reason: str, key: str = "") -> NoReturn:
        """:raises BindError: always, with this place."""
        raise BindError(Fault(reason, (key,) if key else (), file=self.file, line=self.line))


NOWHERE = Place("")


@dataclass(frozen=True, slots=True)
class Facets:
    """Constraining facets in effect (part 2, section 4.3), including those of the base types.

    `patterns` is a conjunction of disjunctions; each derivation adds a group. Bounds are lexical.
    """

    length: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    patterns: tuple[tuple[str, ...], ...] = ()
    enumeration: tuple[str, ...] | None = None
    white_space: str | None = None
    min_inclusive: str | None = None
    max_inclusive: str | None = None
    min_exclusive: str | None = None
    max_exclusive: str | None = None
    total_digits: int | None = None
    fraction_digits: int | None = None

    def narrowed(self, **own: object) -> Facets:
        """These facets replaced by a restriction's own; patterns are added."""
        if "patterns" in own:
            own["patterns"] = (*self.patterns, own["patterns"])
        if "min_inclusive" in own or "min_exclusive" in own:
            own = {"min_inclusive": None, "min_exclusive": None, **own}
        if "max_inclusive" in own or "max_exclusive" in own:
            own = {"max_inclusive": None, "max_exclusive": None, **own}
        return replace(self, **own)  # type: ignore[arg-type]  # the parser gives each facet its own type


NO_FACETS = Facets()


@dataclass(eq=False, slots=True)
class SimpleType:
    """A simple type. `builtin` is the nearest built-in type it comes from (atomic only), which decides its JSON."""

    name: str
    variety: Literal["atomic", "list", "union"]
    base: SimpleType | None = None
    builtin: str = ""
    facets: Facets = NO_FACETS
    item: SimpleType | None = None
    members: tuple[SimpleType, ...] = ()
    doc: str = ""
    place: Place = NOWHERE
    #: numbers are JSON strings whatever the facets say; see `bridge_soap.datatypes.json_form`
    as_text: bool = False
    #: documentation of single enumeration values
    value_docs: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Wildcard:
    """``any`` or ``anyAttribute``. `namespaces` lists what is let in (``""`` is none); `excluded` inverts it."""

    namespaces: frozenset[str]
    excluded: bool
    process: Literal["strict", "lax", "skip"]

    def allows(self, namespace: str) -> bool:
        return (namespace in self.namespaces) is not self.excluded

    def within(self, other: Wildcard) -> Wildcard:
        """What both allow, processed as by this one (part 1, section 3.10.6)."""
        if self.excluded and other.excluded:
            return replace(self, namespaces=self.namespaces | other.namespaces)
        if self.excluded:
            return replace(self, namespaces=other.namespaces - self.namespaces, excluded=False)
        left = self.namespaces - other.namespaces if other.excluded else self.namespaces & other.namespaces
        return replace(self, namespaces=left)


@dataclass(eq=False, slots=True)
class Attribute:
    """An attribute of a complex type. `name` is a Clark name as in an instance."""

    name: str
    type: SimpleType
    required: bool = False
    default: str | None = None
    fixed: str | None = None
    doc: str = ""


#: Derivations that may not replace a component: ``extension``, ``restriction``, ``substitution``.
Blocked = frozenset[str]


def _undocumented() -> str:
    return ""


@dataclass(eq=False)
class Element:
    """An element declaration. `name` is a Clark name as in an instance. `read_doc` reads its documentation when it is
    first needed."""

    name: str
    resolve: Callable[[], SimpleType | ComplexType]
    nillable: bool = False
    default: str | None = None
    fixed: str | None = None
    abstract: bool = False
    is_global: bool = False
    block: Blocked = frozenset()
    read_doc: Callable[[], str] = _undocumented
    place: Place = NOWHERE

    @cached_property
    def doc(self) -> str:
        return self.read_doc()

    @cached_property
    def type(self) -> SimpleType | ComplexType:
        """:raises BindError: the type is broken or missing."""
        return self.resolve()


@dataclass(eq=False, slots=True)
class Group:
    """A model group (part 1, section 3.8)."""

    kind: Literal["sequence", "choice", "all"]
    particles: tuple[Particle, ...]


@dataclass(frozen=True, slots=True)
class Particle:
    """A term with its occurrence: `low` to `high`, None being unbounded."""

    term: Element | Group | Wildcard
    low: int = 1
    high: int | None = 1


@dataclass(eq=False)
class ComplexType:
    """A complex type. `simple` is set for simple content; otherwise `particle` may be.

    `derived_by` is the derivation from its base, ``extension`` or ``restriction``; `block` the derivations of types
    that ``xsi:type`` may not name in its place (part 1, section 3.4.2, "prohibited substitutions").
    `array_type` is the value of ``wsdl:arrayType`` (WSDL 1.1, section 2.2): a Clark name with its brackets.
    """

    name: str
    abstract: bool = False
    mixed: bool = False
    base: SimpleType | ComplexType | None = None
    derived_by: str = "restriction"
    block: Blocked = frozenset()
    simple: SimpleType | None = None
    particle: Particle | None = None
    attributes: dict[str, Attribute] = field(default_factory=dict[str, Attribute])
    any_attribute: tuple[Wildcard, ...] = ()
    array_type: str = ""
    doc: str = ""
    place: Place = NOWHERE


Type = SimpleType | ComplexType
