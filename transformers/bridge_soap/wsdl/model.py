"""What a WSDL says of one operation, after its binding, port type and messages are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bridge.api import Fault
from bridge_soap.components import Place

#: Of SOAP, by the namespace of the binding.
Version = Literal["1.1", "1.2"]


@dataclass(frozen=True, slots=True)
class MessagePart:
    """A part of a message: `element` or `type` is a Clark name, the other is empty."""

    name: str
    element: str
    type: str
    place: Place


@dataclass(frozen=True, slots=True)
class HeaderUse:
    """A ``soap:header`` of a binding."""

    message: str
    part: str
    place: Place


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of an operation: the message, and how its binding puts it into the body.

    :ivar style: the ``encodingStyle`` of an encoded one, as far as the binding names it.
    :ivar attachments: the parts that stand beside the envelope, with the content types that the binding names.
    """

    parts: tuple[MessagePart, ...]
    use: str = "literal"
    style: str = ""
    namespace: str = ""
    headers: tuple[HeaderUse, ...] = ()
    attachments: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


@dataclass(frozen=True, slots=True)
class SoapOperation:
    """One operation of one port. `problem` says why it can't be published, where it can't."""

    name: str
    service: str
    port: str
    port_type: str
    version: Version
    style: str
    action: str
    address: str
    input: Side
    output: Side | None
    #: parts of the declared faults, by fault name
    faults: dict[str, MessagePart]
    doc: str
    place: Place
    input_name: str = ""
    problem: Fault | None = None
