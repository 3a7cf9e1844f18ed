"""Path and query parameters for flat inputs: typed by the schema, then part of the body."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.api import ABSENT, Enough, FaultList, InvalidParameter
from bridge_soap.components import ComplexType, Element, SimpleType
from bridge_soap.contract import Body, Contract
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_in import Read, settled
from bridge_soap.message.shape import Shape
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.properties import Properties

_MAX_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input property with a simple type. `read` converts text to its JSON value."""

    name: str
    element: Element
    many: bool
    required: bool
    read: Read


def parameters_of(contract: Contract, body: Body) -> tuple[dict[str, Parameter], bool]:
    """The input's properties with simple types, and whether it has no others (it is *flat*)."""
    if body.root is None:
        return {}, not body.parts
    type_ = body.root.type
    if not isinstance(type_, ComplexType) or type_.simple is not None or body.root.abstract:
        return {}, False
    content = contract.graph.model(type_)
    if content.root is None:
        return {}, not type_.attributes
    flat = not type_.attributes and not content.whole and content.region is None
    root = content.root
    parts = root.parts if root.kind in ("sequence", "all") else (root,)
    flat = flat and not root.repeats if root.is_group else flat
    readers = contract.inputs
    parameters: dict[str, Parameter] = {}
    for part in parts:
        element = part.element
        if element is None or not isinstance(element.type, SimpleType) or contract.schemas.members(element):
            flat = False
            continue
        filled = element.default is not None or element.fixed is not None
        parameters[part.key] = Parameter(
            part.key,
            element,
            part.repeats,
            bool(part.low) and not filled and root.low > 0,
            readers[element.type].value,
        )
    return parameters, flat


def shaped_parameters(
    contract: Contract, properties: Properties, root: Element, shape: Shape
) -> tuple[dict[str, Parameter], bool]:
    """As `parameters_of`, for a body in the clients' shape: with their names, and flattened objects."""
    readers = contract.inputs
    parameters: dict[str, Parameter] = {}

    def walk(element: Element, shape: Shape | None, *, sure: bool) -> bool:
        flat = not isinstance(element.type, SimpleType) and element.type is not ANY_TYPE
        for key, place in properties.of(element.type).items():
            view = shape.views.get(key) if shape is not None else None
            if view is not None and view.constant:
                continue
            if view is not None and view.flat and place.element is not None:
                flat = walk(place.element, view.node, sure=sure and view.always) and flat
                continue
            name, own = view.name if view is not None else key, place.element
            if own is None or not isinstance(own.type, SimpleType) or contract.schemas.members(own):
                flat = False
            elif place.settled and not name.startswith(("@", "#")):
                required = sure and place.required and (view is None or view.default is ABSENT)
                parameters[name] = Parameter(name, own, place.many, required, readers[own.type].value)
            else:
                flat = False
        return flat

    flat = walk(root, shape, sure=True)
    return parameters, flat and not root.abstract


def read_parameters(
    parameters: Mapping[str, Parameter],
    path: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    path_only: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The body's properties in path and query. Names in `path_only` belong to the upstream's path.

    :raises bridge.api.InvalidParameter: some are unknown, repeated or invalid; with all faults.
    """
    out: dict[str, Any] = {}
    bad = FaultList(_MAX_FAULTS)
    with contextlib.suppress(Enough):
        for name, text in (*path.items(), *query):
            parameter = parameters.get(name)
            if parameter is None:
                if not (name in path_only and name in path):
                    bad.append((name, "there is no such parameter"))
                continue
            try:
                value = settled(parameter.read(text))
            except DatatypeError as error:
                bad.append((name, str(error)))
                continue
            if parameter.many:
                out.setdefault(name, []).append(value)
            elif name in out:
                bad.append((name, "it is given twice"))
            else:
                out[name] = value
    if bad:
        raise InvalidParameter(bad[:_MAX_FAULTS])
    return out
