"""References inside a part of an OpenAPI document: found, judged and renamed.

A part that a transformer describes may refer to schemas only, as ``#/components/schemas/NAME``, by ``$ref`` or in a
discriminator's mapping. Data is never mistaken for a reference: ``example``, ``default``, ``enum`` and the like are
left alone, while a *property* of that name (a key below ``properties``) is walked like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from bridge.payload.pointer import parse_pointer

PREFIX = "#/components/schemas/"

# Below these, keys are names that somebody chose; below `_DATA` stand values, not schemas.
_NAMED = frozenset(
    {
        "$defs",
        "callbacks",
        "content",
        "definitions",
        "dependentSchemas",
        "encoding",
        "headers",
        "patternProperties",
        "properties",
        "responses",
    }
)
_DATA = frozenset({"const", "default", "enum", "example", "examples"})


class BadReference(ValueError):
    """A part refers to what the document will not hold: another file, or a schema that nobody described."""


def schema_name(ref: object) -> tuple[str, str]:
    """The component's name in `ref`, unescaped (RFC 6901, RFC 3986), and the pointer into it (``""`` or ``/…``).

    :raises BadReference: it isn't ``#/components/schemas/…``.
    """
    if not isinstance(ref, str) or not ref.startswith(PREFIX):
        raise BadReference(f"{ref!r} does not refer to a schema of the document")
    name, slash, below = ref.removeprefix(PREFIX).partition("/")
    return parse_pointer(f"/{unquote(name)}")[0], slash + below


def targets(node: Any, known: Iterable[str]) -> set[str]:
    """The names of all schemas that `node` refers to.

    :raises BadReference: one of them is not in `known`.
    """
    names = frozenset(known)
    references: set[str] = set()

    def note(name: str) -> str:
        if name not in names:
            raise BadReference(f"it refers to the schema {name!r}, which it does not describe")
        references.add(name)
        return name

    _walk(node, names, note)
    return references


def renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy of `node` whose references go to ``names[name]``. Every target must be a key of `names`."""
    return _walk(node, names.keys(), names.__getitem__)


def _walk(node: Any, known: Iterable[str], final: Callable[[str], str]) -> Any:
    if isinstance(node, list | tuple):
        return [_walk(item, known, final) for item in node]
    if not isinstance(node, dict):
        return plain_data(node)
    out: dict[str, Any] = {}
    for key, value in node.items():
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} is no text")
        if key == "$ref":
            name, below = schema_name(value)
            out[key] = PREFIX + final(name) + below
        elif key in _DATA or key.startswith("x-"):
            out[key] = plain_data(value)
        elif key in _NAMED and isinstance(value, dict):
            # A status may be written as a number in Python.
            out[key] = {str(name): _walk(part, known, final) for name, part in value.items()}
        elif key == "discriminator" and isinstance(value, dict):
            out[key] = _discriminator(value, node, known, final)
        else:
            out[key] = _walk(value, known, final)
    return out


def plain_data(node: Any) -> Any:
    """A copy that orjson, which writes the document, can write: it has no integers beyond 64 bits, so they become
    floats, and keys are text."""
    if isinstance(node, list | tuple):
        return [plain_data(item) for item in node]
    if isinstance(node, dict):
        return {str(key): plain_data(value) for key, value in node.items()}
    return float(node) if isinstance(node, int) and not -(2**63) <= node < 2**64 else node


def _discriminator(
    discriminator: dict[str, Any], schema: dict[str, Any], known: Iterable[str], final: Callable[[str], str]
) -> dict[str, Any]:
    """OpenAPI 3.1, section 4.8.25: a value of ``mapping`` is a reference or a bare name, and a schema that no value
    names is chosen by its component's own name. So where a branch is renamed, its old name is written down."""
    mapping: dict[str, str] = {}
    mapped: set[str] = set()
    for value, target in (discriminator.get("mapping") or {}).items():
        name, below = (target, "") if target in known else schema_name(target)
        mapped.add(name)
        mapping[value] = PREFIX + final(name) + below
    for branch in [*(schema.get("oneOf") or ()), *(schema.get("anyOf") or ())]:
        if isinstance(branch, dict) and isinstance(ref := branch.get("$ref"), str):
            name, below = schema_name(ref)
            if not below and name not in mapped and final(name) != name:
                mapping.setdefault(name, PREFIX + final(name))
    return {**discriminator, "mapping": mapping} if mapping else dict(discriminator)
