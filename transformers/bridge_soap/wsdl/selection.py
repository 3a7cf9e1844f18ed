"""Selection of the operations of a WSDL that a route spec publishes."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.api import BindError, Fault, suggestion
from bridge_soap.options import SoapOptions
from bridge_soap.wsdl.definitions import Wsdl
from bridge_soap.wsdl.model import SoapOperation


@dataclass(frozen=True, slots=True)
class OperationChoice:
    """An operation and its published name."""

    operation: SoapOperation
    name: str


def choose(wsdl: Wsdl, options: SoapOptions) -> list[OperationChoice]:
    """The operation that the options name; without a name, each operation once.

    :raises bridge.api.BindError: a name in the options is unknown or ambiguous.
    """
    every = _candidates(wsdl, options)
    operations = _one_port_each(every)
    if options.operation is None:
        return _named(operations)
    if options.operation not in {name for each in _named(operations) for name in (each.name, each.operation.name)}:
        # Only a later port may have it.
        operations += [each for each in every if each.name == options.operation]
    matches = [each for each in _named(operations) if options.operation in (each.name, each.operation.name)]
    exact = [each for each in matches if each.name == options.operation]
    if not matches:
        names = sorted({each.name for each in operations})
        hint = suggestion(options.operation, names)
        reason = f"{wsdl.name} has no operation {options.operation!r}; it has {', '.join(names[:30])}{hint}"
        raise BindError(Fault(reason, ("transform", "soap", "operation")))
    if len(matches) > 1 and len({each.operation.port_type for each in matches}) > 1:
        ports = ", ".join(dict.fromkeys(each.operation.port for each in matches))
        raise BindError(
            Fault(f"several ports have {options.operation!r}; say which: {ports}", ("transform", "soap", "port"))
        )
    return (exact or matches)[:1]


def unchosen(wsdl: Wsdl, options: SoapOptions) -> list[str]:
    """A sentence on each operation that only a later port of its port type has."""
    every = _candidates(wsdl, options)
    names = {(each.port_type, each.name) for each in _one_port_each(every)}
    others: dict[str, str] = {}
    for each in every:
        if (each.port_type, each.name) not in names:
            others.setdefault(each.name, each.port or each.service)
    return [f"{name}: only the port {port} has it, which port may name" for name, port in others.items()]


def _candidates(wsdl: Wsdl, options: SoapOptions) -> list[SoapOperation]:
    """The operations of the service and port that the options name.

    :raises bridge.api.BindError: there is none.
    """
    operations = _narrowed(wsdl.operations, "service", options.service, wsdl.name)
    if options.port in wsdl.unserved and all(each.port != options.port for each in operations):
        why = f"the port {options.port} is not served: {wsdl.unserved[options.port]}"
        raise BindError(Fault(why, ("transform", "soap", "port")))
    return _narrowed(operations, "port", options.port, wsdl.name)


def _narrowed(operations: list[SoapOperation], kind: str, value: str | None, name: str) -> list[SoapOperation]:
    if value is None:
        return operations
    matches = [each for each in operations if getattr(each, kind) == value]
    if not matches:
        names = list(dict.fromkeys(getattr(each, kind) for each in operations))
        reason = f"{name} has no {kind} {value!r}; it has {', '.join(names)}{suggestion(value, names)}"
        raise BindError(Fault(reason, ("transform", "soap", kind)))
    return matches


def _one_port_each(operations: list[SoapOperation]) -> list[SoapOperation]:
    """The operations of each port type's first port; others are for another SOAP version or address."""
    first: dict[str, tuple[str, str]] = {}
    for each in operations:
        first.setdefault(each.port_type, (each.service, each.port))
    return [each for each in operations if first[each.port_type] == (each.service, each.port)]


def _named(operations: list[SoapOperation]) -> list[OperationChoice]:
    """Give each operation a unique name.

    That is its own name; an overloaded operation also gets its input's name, and one whose name occurs in two port
    types gets its port's name."""
    by_name: dict[str, SoapOperation] = {}
    for each in operations:
        name = each.name
        if name in by_name and by_name[name].port_type == each.port_type:
            name = f"{each.name}.{each.input_name}" if each.input_name else each.name
        elif name in by_name:
            name = f"{each.port}.{each.name}"
        base, number = name, 2
        while name in by_name:
            name, number = f"{base}.{number}", number + 1
        by_name[name] = each
    return [OperationChoice(operation, name) for name, operation in by_name.items()]
