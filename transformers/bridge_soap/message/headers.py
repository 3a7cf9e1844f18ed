"""The header blocks that a binding declares, and those that a spec names (WSDL 1.1, section 3.7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.api import BindError, Fault, KeyPath
from bridge_soap.components import Element
from bridge_soap.contract import Contract
from bridge_soap.names import local_name
from bridge_soap.options import SoapOptions
from bridge_soap.wsdl.model import MessagePart, Side, SoapOperation
from bridge_soap.xsd.properties import steps_of
from bridge_soap.xsd.shipped import is_shipped


@dataclass(frozen=True, slots=True)
class DeclaredHeaders:
    """The header blocks of one direction.

    :ivar tags: the elements' Clark names, in the binding's order.
    :ivar typed: names of parts with a type instead of an element; these are not supported.
    """

    tags: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()

    def named(self, name: str) -> str | None:
        """The tag with a local or Clark name from a spec; None if there is none.

        :raises bridge.api.BindError: it is ambiguous, or the block is not supported.
        """
        tag = _meant(name, self.tags)
        if tag is None and name in self.typed:
            raise BindError(Fault(f"the header part {name} names a type where an element is needed; it is not served"))
        return tag


def declared_headers(contract: Contract, side: Side | None) -> DeclaredHeaders:
    """The blocks declared for one direction; missing messages declare none."""
    parts: list[MessagePart] = []
    for use in side.headers if side is not None else ():
        parts += [part for part in contract.wsdl.message(use.message) if part.name == use.part]
    tags = dict.fromkeys(part.element for part in parts if part.element)
    return DeclaredHeaders(tuple(tags), tuple(part.name for part in parts if not part.element))


def block_keys(tags: Iterable[str]) -> dict[str, str]:
    """The property in ``#headers`` of each tag: its local name, or its Clark name if two share one."""
    tags = list(dict.fromkeys(tags))
    locals_ = [local_name(tag) for tag in tags]
    return {tag: local_name(tag) if locals_.count(local_name(tag)) == 1 else tag for tag in tags}


def set_by_route(contract: Contract, operation: SoapOperation, options: SoapOptions) -> dict[str, Element]:
    """The elements of the blocks in the spec's ``headers``, by name. Any element of the contract is allowed, and any of
    the shipped schemas, since many services need blocks that their WSDL does not declare.

    :raises bridge.api.BindError: no element has that name, or several have.
    """
    if not options.headers:
        return {}
    declared = declared_headers(contract, operation.input)
    elements = {}
    definitions = contract.schemas.index.definitions
    every = [tag for kind, tag in definitions if kind == "element"]
    for name in options.headers:
        tags = [tag for tag in every if name in (tag, local_name(tag))]
        if name in contract.shipped_blocks:
            tags = [contract.shipped_blocks[name]]
        tags = [tag for tag in tags if tag in declared.tags] or tags
        if len(tags) > 1:  # the contract's own come before those of shipped schemas
            tags = [tag for tag in tags if not is_shipped(definitions["element", tag].scope.document)] or tags
        if len(tags) != 1:
            why = (
                f"it may mean {', '.join(tags)}"
                if tags
                else "no element of that name is in the contract, or shipped with the gateway"
            )
            raise BindError(Fault(why, ("transform", "soap", "headers", name)))
        elements[name] = contract.schemas.element(tags[0])
    return elements


def passed_tags(declared: DeclaredHeaders, names: Sequence[str]) -> list[str]:
    """The tags in ``pass_headers``, for one direction."""
    return [tag for tag in map(declared.named, names) if tag is not None]


def check_names(contract: Contract, operations: Sequence[SoapOperation], options: SoapOptions) -> None:
    """Check that an operation declares each name in ``pass_headers`` and ``reply_headers``.

    :raises bridge.api.BindError: none declares it; or the route sets the block and no reply has it.
    """
    inputs = [declared_headers(contract, each.input) for each in operations]
    outputs = [declared_headers(contract, each.output) for each in operations]
    faults: list[Fault] = []

    def check(path: KeyPath, name: str, sides: list[DeclaredHeaders]) -> None:
        try:
            if any(side.named(name) is not None for side in sides):
                return
        except BindError as error:
            faults.extend(Fault(fault.reason, path) for fault in error.faults)
            return
        names = dict.fromkeys(local_name(tag) for side in sides for tag in side.tags)
        whose = operations[0].name if len(operations) == 1 else "no operation"
        what = "declares no such header block" if len(operations) == 1 else "declares such a header block"
        faults.append(Fault(f"{whose} {what}; it may be {', '.join(names)}" if names else f"{whose} {what}", path))

    for number, name in enumerate(options.pass_headers):
        check(("transform", "soap", "pass_headers", str(number)), name, [*inputs, *outputs])
        if name in options.headers and not any(side.named(name) for side in outputs) and not faults:
            why = "headers sets this block already, and no reply has it"
            faults.append(Fault(why, ("transform", "soap", "pass_headers", str(number))))
    for field, path in options.reply_headers.items():
        steps = steps_of(path)
        check(("transform", "soap", "reply_headers", field), steps[0] if steps else path, outputs)
    if faults:
        raise BindError(faults)


def unused(contract: Contract, operation: SoapOperation, options: SoapOptions) -> list[str]:
    """The declared blocks of an operation's input that the spec neither sets nor passes, by local name."""
    declared = declared_headers(contract, operation.input)
    names = [*options.headers, *options.pass_headers]
    leftover = [local_name(tag) for tag in declared.tags if tag not in names and local_name(tag) not in names]
    return [*leftover, *declared.typed]


def _meant(name: str, tags: Sequence[str]) -> str | None:
    matches = [tag for tag in tags if name in (tag, local_name(tag))]
    if len(matches) > 1:
        raise BindError(Fault(f"it may mean {', '.join(matches)}; write it in full"))
    return matches[0] if matches else None
