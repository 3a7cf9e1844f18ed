"""The operations of a WSDL, each with its binding, port type and messages combined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lxml import etree

from bridge.api import Fault
from bridge_soap.components import Place

#: The version of SOAP, from the namespace of the binding.
Version = Literal["1.1", "1.2"]


@dataclass(frozen=True, slots=True)
class MessagePart:
    """A part of a message: either `element` or `type` is a Clark name, the other is empty.

    :ivar bare: whether that name has no prefix.
    """

    name: str
    element: str
    type: str
    place: Place
    bare: bool = False


@dataclass(frozen=True, slots=True)
class HeaderUse:
    """A ``soap:header`` of a binding."""

    message: str
    part: str
    place: Place


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of an operation: the message, and how its binding maps it to the body.

    :ivar style: the binding's ``encodingStyle`` if `use` is encoded.
    :ivar attachments: the parts sent as attachments, with the content types in the binding.
    """

    parts: tuple[MessagePart, ...]
    use: str = "literal"
    style: str = ""
    namespace: str = ""
    headers: tuple[HeaderUse, ...] = ()
    attachments: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


@dataclass(frozen=True, slots=True)
class SoapOperation:
    """One operation of one port. `problem` is the reason why it cannot be published, if there is one."""

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
    #: the message parts of the declared faults, by fault name
    faults: dict[str, MessagePart]
    doc: str
    place: Place
    input_name: str = ""
    problem: Fault | None = None
    #: the elements of the WSDL whose policies apply to requests, and those of replies
    subjects: tuple[etree._Element, ...] = ()
    reply_subjects: tuple[etree._Element, ...] = ()
