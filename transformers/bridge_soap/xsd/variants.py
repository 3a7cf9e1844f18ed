"""The type that ``@xsi:type`` names, and the name of a type (XML Schema 1.0, part 1, section 3.3.4)."""

from __future__ import annotations

from bridge.api import BindError
from bridge_soap.components import Blocked, ComplexType, Type
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.lexical import BUILTINS
from bridge_soap.names import XSD, clark, local_name, split
from bridge_soap.xsd.builtin import ANY_TYPE, BUILTIN_TYPES, builtin_type
from bridge_soap.xsd.graph import Graph
from bridge_soap.xsd.schemas import Schemas, blocked, derives


class Variants:
    """Types by their short names in JSON.

    A short name is the local name if it is unique in the contract, and the Clark name otherwise."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._by_local: dict[str, list[str]] | None = None

    def _named(self, local: str) -> list[str]:
        if self._by_local is None:
            table: dict[str, list[str]] = {}
            for name in (*self._schemas.type_names(), *BUILTIN_TYPES):
                names = table.setdefault(local_name(name), [])
                if name not in names:
                    names.append(name)
            self._by_local = table
        return self._by_local.get(local, [])

    def short(self, name: str) -> str:
        """The name of the type in JSON."""
        local = local_name(name)
        return local if len(self._named(local)) == 1 else name

    def find(self, name: object, declared: Type, block: Blocked = frozenset()) -> Type:
        """The type that a body names, which must be valid in place of `declared`; `block` is the element's.

        :raises DatatypeError: the type is unknown, ambiguous, broken, abstract, or not derived from the declared type.
        """
        if not isinstance(name, str):
            raise DatatypeError("the name of a type is wanted as a string")
        if name.startswith("xs:"):
            name = clark(XSD, name[3:])
        if name[:1] == "{":
            candidates = [name.removeprefix("{}")]
        else:
            candidates = self._named(name)
            if len(candidates) > 1:
                candidates = [each for each in candidates if self._fits(each, declared, block)] or candidates
        if len(candidates) > 1:
            raise DatatypeError(f"{name!r} may mean {', '.join(candidates)}; write it in full")
        if not candidates or not self._fits(candidates[0], declared, block):
            raise DatatypeError(f"no type {name!r} can stand here{self._offer(declared)}")
        return self._schemas.type(candidates[0])

    def _offer(self, declared: Type) -> str:
        if declared is ANY_TYPE or not declared.name:
            return ""
        names = [self.short(name) for name in self._schemas.derived(declared.name)][:8]
        return f"; {', '.join(names)} can" if names else ""

    def _fits(self, name: str, declared: Type, block: Blocked) -> bool:
        try:
            type_ = self._schemas.type(name)
        except BindError as error:
            raise DatatypeError(f"the type {local_name(name)} cannot be used: {error.faults[0].reason}") from None
        if isinstance(type_, ComplexType) and type_.abstract:
            return False
        return derives(type_, declared) and not blocked(type_, declared, block)

    def is_foreign(self, name: object) -> bool:
        """Whether it is the Clark name of a type that the contract does not define. The service may know it."""
        return (
            isinstance(name, str)
            and bool(split(name)[0])
            and BUILTINS["QName"].valid(name)
            and builtin_type(name) is None
            and self._schemas.index.find("type", name) is None
        )

    def usable(self, name: str, graph: Graph) -> Type | None:
        """As `known`, but None too if a type that it depends on is invalid."""
        type_ = self.known(name)
        try:
            if type_ is not None:
                graph.usable(type_)
        except BindError:
            return None
        return type_

    def known(self, name: str) -> Type | None:
        """The type of that Clark name; None if it is undefined or invalid."""
        if builtin_type(name) is None and self._schemas.index.find("type", name) is None:
            return None
        try:
            return self._schemas.type(name)
        except BindError:
            return None
