"""WSDL 1.1 (W3C note of 15 March 2001): services, ports and their SOAP operations; schemas are resolved later.

The reader is tolerant: published files have names without a prefix, imports in any order, and ports without SOAP. An
error in one operation is recorded with that operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from lxml import etree

from bridge.api import BindError, Fault, fetch_error
from bridge_soap.components import Place
from bridge_soap.documents import Document, Library, shown
from bridge_soap.locations import is_url
from bridge_soap.names import WSDL, WSDL_SOAP11, WSDL_SOAP12, children, clark, line_of, local_name, split, tag_of, xsd
from bridge_soap.wsdl.bound_transport import other_transport
from bridge_soap.wsdl.model import HeaderUse, MessagePart, Side, SoapOperation, Version
from bridge_soap.xsd.index import Index, schemas_of
from bridge_soap.xsd.shipped import WSDLS, is_shipped, shipped

_MIME = "http://schemas.xmlsoap.org/wsdl/mime/"
_SOAP = {WSDL_SOAP11: "1.1", WSDL_SOAP12: "1.2"}


def _w(local: str) -> str:
    return f"{{{WSDL}}}{local}"


@dataclass(frozen=True, slots=True)
class _Item:
    node: etree._Element
    document: Document
    namespace: str

    @property
    def place(self) -> Place:
        return Place(self.document.name, line_of(self.node))


@dataclass(slots=True)
class Wsdl:
    """A WSDL and its imports.

    :ivar operations: every SOAP operation of every port, in document order.
    :ivar faults: the files, ports and operations that cannot be used, although others can.
    :ivar unserved: the ports of transports other than HTTP, each with the reason.
    """

    index: Index
    name: str
    items: dict[tuple[str, str], _Item] = field(default_factory=dict)
    services: list[_Item] = field(default_factory=list)
    operations: list[SoapOperation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unserved: dict[str, str] = field(default_factory=dict[str, str])

    def message(self, name: str) -> tuple[MessagePart, ...]:
        """The parts of the message of that name; empty if it is not defined or broken."""
        item = self.items.get(("message", name))
        try:
            return message_parts(item) if item is not None else ()
        except BindError:
            return ()


def read_wsdl(library: Library, reference: str) -> Wsdl:
    """The WSDL that `reference` names, its imports and its schemas.

    :raises bridge.api.BindError: a file cannot be fetched or read, is not WSDL 1.1, or has no SOAP operations.
    """
    document = library.open(reference)
    if document.root.tag != _w("definitions"):
        why = f"it is not WSDL 1.1: its root is {_root_name(document.root)}"
        if document.is_url:
            raise fetch_error(document.id, why, line=1)
        raise BindError(Fault(why, file=document.name, line=1))
    wsdl = Wsdl(Index(library), document.name)
    _collect(wsdl, library, document, set())
    wsdl.index.complete(_part_namespaces(wsdl))
    for service in wsdl.services:
        for port in children(service.node, _w("port")):
            try:
                _read_port(wsdl, service, port)
            except BindError as error:
                wsdl.faults += error.faults
    # Some contracts (ONVIF, many authorities) have no service element, or only some of the ports.
    served = {operation.port_type for operation in wsdl.operations}
    for (kind, _), binding in list(wsdl.items.items()):
        if kind == "binding":
            _read_unused(wsdl, binding, served)
    _note_unbound(wsdl)
    wsdl.faults = list(dict.fromkeys(wsdl.faults))
    if not wsdl.operations:
        fault = Fault("it has no port with SOAP operations", file=document.name, line=line_of(document.root))
        raise BindError(wsdl.faults or [fault])
    return wsdl


#: What a root element that is no WSDL means, by its local name.
_OTHER_ROOTS = {
    "description": "WSDL 2.0 is not read; most services have a WSDL 1.1, too",
    "html": "an HTML page",
    "schema": "a schema; name the WSDL that imports it",
    "Envelope": "a SOAP message",
    "discovery": "a list of contracts; name the WSDL that it refers to",
    "application": "a WADL document",
    "Metadata": "WS-MetadataExchange; save the WSDL in it",
}


def _root_name(root: etree._Element) -> str:
    """The root of what is no WSDL 1.1, and what that means."""
    namespace, kind = split(tag_of(root))
    if kind == "definitions":
        if not namespace:
            return "definitions of no namespace"
        is_draft = namespace.startswith("http://www.w3.org/")
        return f"definitions of {namespace}" + (" (WSDL 2.0 is not read)" if is_draft else "")
    return f"{kind} ({_OTHER_ROOTS[kind]})" if kind in _OTHER_ROOTS else kind


def _collect(wsdl: Wsdl, library: Library, document: Document, locations: set[str]) -> None:
    if document.id in locations:
        return
    locations.add(document.id)
    root = document.root
    if root.tag == xsd("schema"):  # a wsdl:import of a schema is invalid, but common
        wsdl.index.add(root, document)
        return
    namespace = root.get("targetNamespace", "").strip()
    for node in root:
        tag = tag_of(node)
        if tag == _w("types"):
            for schema in schemas_of(node):
                wsdl.index.add(schema, document)
        elif tag == _w("import"):
            _import(wsdl, library, document, node, locations)
        elif tag == _w("service"):
            wsdl.services.append(_Item(node, document, namespace))
        elif tag in (_w("message"), _w("portType"), _w("binding")):
            key = (local_name(tag), clark(namespace, node.get("name", "").strip()))
            wsdl.items.setdefault(key, _Item(node, document, namespace))


def _import(wsdl: Wsdl, library: Library, document: Document, node: etree._Element, locations: set[str]) -> None:
    location, namespace = node.get("location", "").strip(), node.get("namespace", "").strip()
    if namespace not in WSDLS and (is_shipped(document) or not location):
        return
    try:
        here = namespace in WSDLS and (is_shipped(document) or is_url(location) or not location)
        imported = shipped(WSDLS[namespace]) if here else library.open(location, document, partial(_defines, namespace))
    except BindError as error:
        fault = error.faults[0]
        why = f"it imports {shown(location)}, which cannot be used: {fault}"
        wsdl.faults.append(Fault(why, file=document.name, line=line_of(node)))
        return
    _collect(wsdl, library, imported, locations)


def _defines(namespace: str, root: etree._Element) -> bool:
    """Whether a document is a WSDL or schema of that namespace; of any for ``""``."""
    is_contract = root.tag in (_w("definitions"), xsd("schema"))
    return is_contract and namespace in ("", root.get("targetNamespace", "").strip())


def _find(wsdl: Wsdl, kind: str, owner: _Item, node: etree._Element, attribute: str) -> _Item:
    """The message, port type or binding that an attribute names.

    :raises bridge.api.BindError: there is none.
    """
    text = node.get(attribute, "").strip()
    prefix, _, local = text.rpartition(":")
    namespace = node.nsmap.get(prefix or None, "")
    for name in (clark(namespace, local), clark(owner.namespace, local)):
        item = wsdl.items.get((kind, name))
        if item is not None:
            return item
    # Some files omit a prefix or misspell a namespace; a unique local name is enough.
    candidates = [item for (each, name), item in wsdl.items.items() if each == kind and local_name(name) == local]
    if len(candidates) == 1:
        return candidates[0]
    return Place(owner.document.name, line_of(node)).fail(f"the {kind} {text!r} is not defined")


def _extension(node: etree._Element, local: str) -> etree._Element | None:
    """The SOAP extension element of that name, for either SOAP version."""
    for namespace in _SOAP:
        extensions = children(node, f"{{{namespace}}}{local}")
        if extensions:
            return extensions[0]
    return None


def _read_unused(wsdl: Wsdl, binding: _Item, served: set[str]) -> None:
    """Read a binding whose port type has no port, as a port with the binding's name and no address."""
    try:
        port_type = _find(wsdl, "portType", binding, binding.node, "type")
        if clark(port_type.namespace, port_type.node.get("name", "")) not in served:
            _read_binding(wsdl, binding, "", binding.node.get("name", ""), "")
    except BindError as error:
        wsdl.faults += error.faults


def _note_unbound(wsdl: Wsdl) -> None:
    """Note the operations of port types that are served, which no port has."""
    bound: dict[str, set[str]] = {}
    for operation in wsdl.operations:
        bound.setdefault(operation.port_type, set()).add(operation.name)
    for (kind, name), item in wsdl.items.items():
        if kind == "portType" and name in bound:
            for each in children(item.node, _w("operation")):
                local = each.get("name", "").strip()
                if local not in bound[name]:
                    why = f"{local}: no port of SOAP over HTTP has this operation of {local_name(name)}"
                    wsdl.faults.append(Fault(why, file=item.document.name, line=line_of(each)))


def _read_port(wsdl: Wsdl, service: _Item, port: etree._Element) -> None:
    address = _extension(port, "address")
    try:
        binding = _find(wsdl, "binding", service, port, "binding")
    except BindError:
        if address is not None:
            raise
        return
    location = address.get("location", "").strip() if address is not None else ""
    names = service.node.get("name", ""), port.get("name", "")
    _read_binding(wsdl, binding, *names, location, (service.node, port))


def _read_binding(
    wsdl: Wsdl, binding: _Item, service: str, port: str, address: str, owners: tuple[etree._Element, ...] = ()
) -> None:
    soap = _extension(binding.node, "binding")
    if soap is None:
        return  # HTTP GET/POST bindings and others
    reason = other_transport(soap.get("transport", ""), address)
    if reason:
        name = port or binding.node.get("name", "")
        wsdl.unserved[name] = reason
        wsdl.faults.append(
            Fault(f"the port {name} is not served: {reason}", (), binding.place.file, binding.place.line)
        )
        return
    version: Version = "1.2" if soap.tag.startswith(f"{{{WSDL_SOAP12}}}") else "1.1"
    port_type = _find(wsdl, "portType", binding, binding.node, "type")
    abstract: dict[str, list[etree._Element]] = {}
    for each in children(port_type.node, _w("operation")):
        abstract.setdefault(each.get("name", ""), []).append(each)
    for node in children(binding.node, _w("operation")):
        operation = _matching(node, abstract.get(node.get("name", ""), []))
        if operation is None:
            why = f"the binding {binding.node.get('name', '')} has an operation that its port type lacks"
            name = node.get("name", "")
            wsdl.faults.append(Fault(f"{name}: {why}", file=binding.document.name, line=line_of(node)))
            continue
        abstract[node.get("name", "")].remove(operation)
        combined = _read_operation(
            wsdl,
            binding,
            node,
            port_type,
            operation,
            service=service,
            port=port,
            version=version,
            style=soap.get("style", "document"),
            address=address,
        )
        common = (*owners, binding.node, port_type.node, node, operation)
        inbound, outbound = (_subjects(wsdl, port_type, node, operation, each) for each in ("input", "output"))
        wsdl.operations.append(replace(combined, subjects=(*common, *inbound), reply_subjects=outbound))


def _subjects(
    wsdl: Wsdl, port_type: _Item, node: etree._Element, abstract: etree._Element, direction: str
) -> tuple[etree._Element, ...]:
    """The elements of one direction to which policies may be attached, the message among them."""
    own = children(abstract, _w(direction))
    messages = []
    if own:
        item = wsdl.items.get(("message", _message_name(wsdl, port_type, own[0])))
        messages = [item.node] if item is not None else []
    return (*own, *children(node, _w(direction)), *messages)


def _matching(node: etree._Element, candidates: list[etree._Element]) -> etree._Element | None:
    """The port type's operation for a binding's operation; for an overloaded one, the input's name decides."""
    inputs = [each.get("name") for each in children(node, _w("input"))]
    for each in candidates:
        if inputs and inputs[0] and [i.get("name") for i in children(each, _w("input"))] == inputs:
            return each
    return candidates[0] if candidates else None


def _read_operation(
    wsdl: Wsdl,
    binding: _Item,
    node: etree._Element,
    port_type: _Item,
    abstract: etree._Element,
    *,
    service: str,
    port: str,
    version: Version,
    style: str,
    address: str,
) -> SoapOperation:
    soap = _extension(node, "operation")
    name = node.get("name", "").strip()
    place = Place(binding.document.name, line_of(node))
    problem: Fault | None = None
    inbound, outbound, faults = Side(()), None, dict[str, MessagePart]()
    order = [local_name(tag_of(child)) for child in abstract]
    try:
        if "input" not in order or ("output" in order and order.index("output") < order.index("input")):
            place.fail("it is a notification or solicit-response operation, which clients cannot call", name)
        inbound = _side(wsdl, binding, node, port_type, abstract, "input")
        if "output" in order:
            outbound = _side(wsdl, binding, node, port_type, abstract, "output")
        faults = _faults(wsdl, port_type, abstract)
    except BindError as error:
        problem = error.faults[0]
    inputs = children(abstract, _w("input"))
    return SoapOperation(
        name,
        service,
        port,
        clark(port_type.namespace, port_type.node.get("name", "")),
        version,
        (soap.get("style") if soap is not None else None) or style,
        soap.get("soapAction", "").strip() if soap is not None else "",
        address,
        inbound,
        outbound,
        faults,
        _documentation(abstract),
        place,
        inputs[0].get("name", "") if inputs else "",
        problem,
    )


def _faults(wsdl: Wsdl, port_type: _Item, abstract: etree._Element) -> dict[str, MessagePart]:
    """The message parts of an operation's faults. One that refers to no message is left out: its detail is read without
    a type, like that of a fault that is not declared.

    :raises BindError: there is one, and the WSDL is read by the letter.
    """
    faults: dict[str, MessagePart] = {}
    for fault in children(abstract, _w("fault")):
        name = fault.get("name", "").strip()
        try:
            parts = _parts(wsdl, port_type, fault)
        except BindError as error:
            reason, place = error.faults[0].reason, Place(port_type.document.name, line_of(fault))
            note = f"the fault {name!r} of {abstract.get('name', '').strip()} is read without a type: {reason}"
            if not wsdl.index.liberties.allow(place.note(note)):
                raise
            continue
        if parts:
            faults[name] = parts[0]
    return faults


def _side(
    wsdl: Wsdl, binding: _Item, node: etree._Element, port_type: _Item, abstract: etree._Element, direction: str
) -> Side:
    message = children(abstract, _w(direction))[0]
    parts = _parts(wsdl, port_type, message)
    bound = children(node, _w(direction))
    if not bound:
        return Side(parts)
    body: etree._Element | None = None
    headers: list[HeaderUse] = []
    attached: dict[str, tuple[str, ...]] = {}
    for child in bound[0].iter():
        tag = tag_of(child)
        if tag in (f"{{{WSDL_SOAP11}}}body", f"{{{WSDL_SOAP12}}}body"):
            body = child if body is None else body
        elif tag in (f"{{{WSDL_SOAP11}}}header", f"{{{WSDL_SOAP12}}}header"):
            headers.append(_header(wsdl, binding, child))
        elif tag == f"{{{_MIME}}}content":
            name = child.get("part", "")
            if any(part.name == name for part in parts):
                attached[name] = (*attached.get(name, ()), *filter(None, [child.get("type", "").strip()]))
    parts = tuple(part for part in parts if part.name not in attached)
    part_names = body.get("parts") if body is not None else None
    if part_names is not None:
        parts = tuple(part for part in parts if part.name in part_names.split())
    else:
        # A part that is sent as a header is not in the body.
        own = {header.part for header in headers if header.message == _message_name(wsdl, port_type, message)}
        parts = tuple(part for part in parts if part.name not in own)
    use = body.get("use", "literal") if body is not None else "literal"
    namespace, style = (body.get("namespace", ""), body.get("encodingStyle", "")) if body is not None else ("", "")
    return Side(parts, use, style, namespace, tuple(headers), attached)


def _message_name(wsdl: Wsdl, owner: _Item, node: etree._Element) -> str:
    """The Clark name of the message that an attribute names; of none that is defined, if there is none."""
    try:
        item = _find(wsdl, "message", owner, node, "message")
    except BindError:
        return _written_name(owner, node)
    return clark(item.namespace, item.node.get("name", "").strip())


def _written_name(owner: _Item, node: etree._Element) -> str:
    prefix, _, local = node.get("message", "").strip().rpartition(":")
    return clark(node.nsmap.get(prefix or None, owner.namespace), local)


def _header(wsdl: Wsdl, binding: _Item, node: etree._Element) -> HeaderUse:
    return HeaderUse(
        _message_name(wsdl, binding, node), node.get("part", ""), Place(binding.document.name, line_of(node))
    )


def _parts(wsdl: Wsdl, owner: _Item, node: etree._Element) -> tuple[MessagePart, ...]:
    return message_parts(_find(wsdl, "message", owner, node, "message"))


def message_parts(message: _Item) -> tuple[MessagePart, ...]:
    """The parts of a message, with references as Clark names."""
    parts = []
    for part in children(message.node, _w("part")):
        place = Place(message.document.name, line_of(part))
        names, bare = {}, False
        for attribute in ("element", "type"):
            text = part.get(attribute, "").strip()
            bare = bare or (bool(text) and ":" not in text)
            prefix, colon, local = text.rpartition(":")
            namespace = part.nsmap.get(prefix or None)
            if colon and namespace is None:
                place.fail(f"the prefix of {text!r} is not declared")
            # A name without a prefix, or in WSDL's namespace, can only refer to the target namespace.
            if namespace is None or (not colon and namespace == WSDL):
                namespace = message.namespace
            names[attribute] = clark(namespace, local) if text else ""
        parts.append(MessagePart(part.get("name", ""), names["element"], names["type"], place, bare))
    return tuple(parts)


def _part_namespaces(wsdl: Wsdl) -> Iterator[str]:
    """The namespaces that message parts refer to."""
    for (kind, _), item in wsdl.items.items():
        for part in children(item.node, _w("part")) if kind == "message" else ():
            for attribute in ("element", "type"):
                yield part.nsmap.get(part.get(attribute, "").rpartition(":")[0].strip() or None, "")


def _documentation(node: etree._Element) -> str:
    texts = (" ".join("".join(map(str, part.itertext())).split()) for part in children(node, _w("documentation")))
    return "\n".join(text for text in texts if text)
