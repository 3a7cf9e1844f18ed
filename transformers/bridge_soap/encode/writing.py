"""What all writers share: the place in the body, and the messages of faults.

A writer takes ``(value, …, put, at, bad)``: `put` appends text to the message, `at` is the place of the value as a
linked list of (parent, key), None at the top, and `bad` collects ``(pointer, reason)``. After a fault a writer
continues, so that one answer reports all faults; the message is then discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bridge.api import ABSENT, FaultList, pointer_of
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_out import escape_attribute, kind_of
from bridge_soap.names import split
from bridge_soap.xsd.model import ELEMENT, NIL, TYPE

Put = Callable[[str], None]
At = tuple[Any, Any] | None
Faults = list[tuple[str, str]]
_MAX_NOTES = 20

#: Writes one element's value: ``(value, put, at, bad)``.
Writer = Callable[[Any, Put, At, Faults], None]
#: Writes a value of a type into an element: ``(value, start tag without >, end tag, put, at, bad)``.
TypeWriter = Callable[[Any, str, str, Put, At, Faults], None]


class Findings(FaultList):
    """The faults of one call's body, and what is sent although the schema's letter forbids it.

    :param strict: such liberties are faults.
    :ivar notes: a sentence for each liberty, 20 at most.
    """

    def __init__(self, limit: int, *, strict: bool) -> None:
        super().__init__(limit)
        self.strict = strict
        self.notes: list[str] = []

    def note(self, at: At, why: str) -> None:
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(f"{pointer(at)}: {why}")


def undeclared(kind: str, namespace: str, defines: Callable[[str], bool], at: At, bad: Faults) -> bool:
    """Report a `kind` ("elements") that a strict wildcard wants declared and that is not. Returns whether it is sent
    nevertheless: what the contract defines nothing of, only the service can judge."""
    why = f"the schema allows only {kind} that it declares here"
    lenient = not defines(namespace) and not (isinstance(bad, Findings) and bad.strict)
    if not lenient:
        bad.append((pointer(at), why))
    elif isinstance(bad, Findings):
        bad.note(at, f"{why}, and nothing of that namespace; it is sent as it is")
    return lenient


def pointer(at: At) -> str:
    """The place as a JSON pointer (RFC 6901)."""
    path: list[object] = []
    while at is not None:
        at, key = at
        path.append(key)
    return pointer_of(reversed(path))


def missing(at: At, key: str, bad: Faults) -> None:
    bad.append((pointer((at, key)), "it is required"))


def miscounted(count: int, low: int, high: int | None, at: At, key: str, bad: Faults) -> None:
    if high is None:
        words = f"at least {low} item{'s' if low > 1 else ''}"
    else:
        words = f"exactly {low}" if low == high else f"at most {high}" if not low else f"{low} to {high}"
        words += " items" if high != 1 else " item"
    bad.append((pointer((at, key)), f"it must hold {words}, not {count}"))


def not_list(value: object, at: At, key: str, bad: Faults) -> None:
    bad.append((pointer((at, key)), f"an array is wanted, not {kind_of(value)}"))


def not_object(value: object, at: At, bad: Faults) -> None:
    if value is None:
        bad.append((pointer(at), "null is not allowed: the schema does not say nillable; leave it out"))
    else:
        bad.append((pointer(at), f"an object is wanted, not {kind_of(value)}"))


def broken(error: DatatypeError, value: object, at: At, bad: Faults) -> None:
    """A simple value that is not valid for its type."""
    if value is None:
        bad.append((pointer(at), "null is not allowed: the schema does not say nillable; leave it out"))
    else:
        bad.append((pointer(at), str(error)))


def unknown(
    value: dict[str, Any], own_keys: frozenset[str], open_attributes: bool, own: str, at: At, bad: Faults
) -> None:
    """Report each property that the type does not have. ``@xsi:type`` may repeat the declared type's name."""
    for key, item in value.items():
        if key in own_keys or (open_attributes and key[:1] == "@" and key not in (TYPE, ELEMENT)):
            continue
        if key == TYPE:
            if item not in (own, split(own)[1]):
                bad.append((pointer((at, key)), f"no type {item!r} can stand here"))
        elif key == ELEMENT:
            bad.append((pointer((at, key)), "no other element can stand here"))
        elif key == NIL:
            bad.append((pointer((at, key)), "it can't be nil: the schema does not say nillable"))
        else:
            bad.append((pointer((at, key)), "the schema has no such property here"))


def has(value: dict[str, Any], keys: Iterable[str], arrays: frozenset[str]) -> bool:
    """Whether any of the properties is present. An empty array counts as absent for `arrays`, whose elements may
    repeat; for others ``[]`` is the value of a list type."""
    for key in keys:
        item = value.get(key, ABSENT)
        if item is not ABSENT and (item != [] or key not in arrays):
            return True
    return False


class Prefixes:
    """Namespace prefixes: one for each namespace of a contract, so that tags are constants."""

    def __init__(self, namespaces: Iterable[str]) -> None:
        self._of: dict[str, str] = {}
        for namespace in namespaces:
            if namespace and namespace not in _FIXED:
                self._of[namespace] = f"n{len(self._of)}"

    def get(self, namespace: str) -> str | None:
        return _FIXED.get(namespace) or self._of.get(namespace)

    def tag(self, name: str) -> str:
        """A Clark name with its prefix; the namespace must be one of the contract's."""
        namespace, local = split(name)
        if not namespace:
            return local
        prefix = self.get(namespace)
        if prefix is None:
            prefix = self._of[namespace] = f"n{len(self._of)}"
        return f"{prefix}:{local}"

    def __len__(self) -> int:
        return len(self._of)

    def declare(self, namespaces: Iterable[str] | None = None) -> str:
        """``xmlns`` attributes for `namespaces`, or for all."""
        names = [*self._of] if namespaces is None else [n for n in self._of if n in set(namespaces)]
        return "".join(f' xmlns:{self._of[n]}="{escape_attribute(n)}"' for n in names)


_FIXED = {
    "http://www.w3.org/XML/1998/namespace": "xml",
    "http://www.w3.org/2001/XMLSchema-instance": "xsi",
    "http://www.w3.org/2001/XMLSchema": "xs",
}


def foreign(name: str, letter: str = "f") -> tuple[str, str]:
    """Tag and declaration for a name in a namespace outside the contract."""
    namespace, local = split(name)
    if not namespace:
        return local, ""
    return f"{letter}:{local}", f' xmlns:{letter}="{escape_attribute(namespace)}"'
