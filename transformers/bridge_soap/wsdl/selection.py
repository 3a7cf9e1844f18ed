"""Which of a WSDL's operations a spec means."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.api import BindError, Fault
from bridge_soap.options import SoapOptions
from bridge_soap.wsdl.definitions import Wsdl
from bridge_soap.wsdl.model import SoapOperation


@dataclass(frozen=True, slots=True)
class Chosen:
    """An operation and the name it is published under."""

    operation: SoapOperation
    name: str


def choose(wsdl: Wsdl, options: SoapOptions) -> list[Chosen]:
    """The operation that the options name; without one, every operation once.

    :raises bridge.api.BindError: a name that the WSDL doesn't have, or one that it has in several places.
    """
    operations = _narrowed(wsdl.operations, "service", options.service, wsdl.name)
    operations = _narrowed(operations, "port", options.port, wsdl.name)
    operations = _one_port_each(operations)
    if options.operation is None:
        return _named(operations)
    found = [each for each in _named(operations) if options.operation in (each.name, each.operation.name)]
    exact = [each for each in found if each.name == options.operation]
    if not found:
        names = ", ".join(sorted({each.name for each in operations})[:30])
        raise BindError(
            Fault(f"{wsdl.name} has no operation {options.operation!r}; it has {names}", key="transform.soap.operation")
        )
    if len(found) > 1 and len({each.operation.port_type for each in found}) > 1:
        ports = ", ".join(dict.fromkeys(each.operation.port for each in found))
        raise BindError(
            Fault(f"several ports have {options.operation!r}; say which: {ports}", key="transform.soap.port")
        )
    return (exact or found)[:1]


def _narrowed(operations: list[SoapOperation], kind: str, wanted: str | None, name: str) -> list[SoapOperation]:
    if wanted is None:
        return operations
    found = [each for each in operations if getattr(each, kind) == wanted]
    if not found:
        names = ", ".join(dict.fromkeys(getattr(each, kind) for each in operations))
        raise BindError(Fault(f"{name} has no {kind} {wanted!r}; it has {names}", key=f"transform.soap.{kind}"))
    return found


def _one_port_each(operations: list[SoapOperation]) -> list[SoapOperation]:
    """Of several ports of one port type (SOAP 1.1 and 1.2, or two addresses), the first."""
    first: dict[str, tuple[str, str]] = {}
    for each in operations:
        first.setdefault(each.port_type, (each.service, each.port))
    return [each for each in operations if first[each.port_type] == (each.service, each.port)]


def _named(operations: list[SoapOperation]) -> list[Chosen]:
    """Names that tell all operations apart: their own; with the input's name where one is overloaded; with the
    port's where two port types share it."""
    taken: dict[str, SoapOperation] = {}
    for each in operations:
        name = each.name
        if name in taken and taken[name].port_type == each.port_type:
            name = f"{each.name}.{each.input_name}" if each.input_name else each.name
        elif name in taken:
            name = f"{each.port}.{each.name}"
        base, number = name, 2
        while name in taken:
            name, number = f"{base}.{number}", number + 1
        taken[name] = each
    return [Chosen(operation, name) for name, operation in taken.items()]
