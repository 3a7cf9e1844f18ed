"""The operations that a route publishes from a contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from bridge.api import FAST_PATHS, BindError, Call, Fault, Operation, RouteSpec, parse_template, split_template
from bridge_soap.components import ComplexType, Element
from bridge_soap.contract import Body, Contract
from bridge_soap.decode.decoders import Decoders
from bridge_soap.message.attachments import Attachments
from bridge_soap.message.bodies import body_reader, body_writer
from bridge_soap.message.codec import Plan, SoapCodec
from bridge_soap.message.envelope import Envelope, http_headers
from bridge_soap.message.fault import FaultReader
from bridge_soap.message.header_plan import HeaderPlan
from bridge_soap.message.open_body import LargeBodies
from bridge_soap.message.params import Parameter, parameters_of, shaped_parameters
from bridge_soap.message.reply_templates import ReplyTemplates
from bridge_soap.message.security import security_secrets, token_writer
from bridge_soap.message.shape import HiddenConstant, Shape
from bridge_soap.message.shaping import Shaper, properties_of
from bridge_soap.openapi.describe import Description, describe
from bridge_soap.options import SoapOptions
from bridge_soap.section5.references import resolve
from bridge_soap.wsdl.model import Side, SoapOperation
from bridge_soap.wsdl.selection import OperationChoice, unchosen

#: Up to this number, all namespaces are declared in each envelope.
_FEW = 3
#: Methods without a request body; their parameters are in path and query.
_BODILESS = ("GET", "HEAD", "DELETE")


class Binder:
    """Compiles operations of a contract for a route."""

    def __init__(self, contract: Contract, route: RouteSpec, options: SoapOptions, home: Path) -> None:
        self._contract, self._route, self._options, self._home = contract, route, options, home

    def all(self, choices: Sequence[OperationChoice]) -> tuple[list[Operation], list[str]]:
        """Several operations, each at its name below the route, and a sentence on each that is left out.

        :raises bridge.api.BindError: none can be compiled.
        """
        operations: list[Operation] = []
        faults: list[Fault] = []
        notes = [*map(str, self._contract.wsdl.faults), *unchosen(self._contract.wsdl, self._options)]
        for each in choices:
            try:
                operations += self.operations(each.operation, f"/{each.name}", each.name)
            except BindError as error:
                notes.append(f"{each.name}: {error.faults[0]}")
                faults += [fault for fault in error.faults if fault not in faults]  # a spec's is one of each operation
        if not operations:
            raise BindError(faults)
        return operations, notes

    def operations(self, operation: SoapOperation, path: str, name: str) -> list[Operation]:
        """One operation of the contract, at `path` below the route.

        :raises bridge.api.BindError: it can't be compiled.
        """
        try:
            return self._operations(operation, path, name)
        except (RecursionError, MemoryError):
            return operation.place.fail("its types are nested too deeply", operation.name)

    def _operations(self, operation: SoapOperation, path: str, name: str) -> list[Operation]:
        if operation.problem is not None:
            raise BindError(operation.problem)
        contract = self._contract
        with contract.lock:
            body = contract.body(operation, operation.input, reply=False)
            output = contract.body(operation, operation.output, reply=True) if operation.output is not None else None
            shape, reply_shape, constants = self._shapes(operation, body, output)
            if shape is None:
                parameters, flat = parameters_of(contract, body)
            else:
                parameters, flat = shaped_parameters(contract, properties_of(contract, body), _root_of(body), shape)
            headers = HeaderPlan(contract, operation, self._options, self._home)
            plan = self._plan(operation, body, output, parameters, headers)
            plan = replace(plan, shape=shape, reply_shape=reply_shape, secrets=self._secrets(headers, constants))
            plan = replace(
                plan,
                attachments=_attachments(operation.input, body),
                reply_attachments=_attachments(operation.output, output),
            )
        flat = flat and plan.attachments is None
        upstream = plan.path_names
        for parameter in parse_template(self._route.route).names:
            if parameter not in parameters and parameter not in upstream:
                raise BindError(
                    Fault(f"{operation.name} has no simple input {parameter!r} for this parameter", ("route",))
                )
        methods = self._methods(operation, flat, path)
        described = Description(contract, operation, body, output, parameters, self._route, headers, shape, reply_shape)
        operations = []
        for method in methods:
            takes_body = method not in _BODILESS or (method == "DELETE" and not flat)
            own = name if len(methods) == 1 or method == "POST" else f"{name}_{method.lower()}"
            operations.append(
                Operation(
                    own,
                    method,
                    path,
                    SoapCodec(plan, takes_body=takes_body),
                    lambda takes_body=takes_body: describe(described, takes_body=takes_body),  # type: ignore[misc]  # bound now
                    operation.name,
                )
            )
        return operations

    def _methods(self, operation: SoapOperation, flat: bool, path: str) -> Sequence[str]:
        methods = self._route.methods
        if methods is None:
            return ("POST", "GET") if flat and not path else ("POST",)
        for method in methods:
            if method in ("GET", "HEAD") and not flat:
                raise BindError(
                    Fault(
                        f"{operation.name} can't be published as {method}: its input is more than simple values",
                        ("methods",),
                    )
                )
        return tuple(method for method in methods if method != "OPTIONS")

    def _shapes(
        self, operation: SoapOperation, body: Body, output: Body | None
    ) -> tuple[Shape | None, Shape | None, Sequence[HiddenConstant]]:
        """The compiled ``request`` and ``reply`` of the spec, and the secrets in them."""
        options, contract, shape, reply = self._options, self._contract, None, None
        secrets: Sequence[HiddenConstant] = ()
        if options.request is not None:
            shaper = Shaper(contract, body, _root_of(body), self._home, reply=False)
            shape, secrets = shaper.shape(options.request), shaper.secrets
        if options.reply is not None:
            if output is None or self._route.transform.response != "json":
                why = f"{operation.name} has no reply" if output is None else "transform.response is not json"
                raise BindError(Fault(f"{why}, so there is nothing to shape", ("transform", "soap", "reply")))
            reply = Shaper(contract, output, _root_of(output), self._home, reply=True).shape(options.reply)
        return shape, reply, secrets

    def _secrets(self, headers: HeaderPlan, constants: Sequence[HiddenConstant]) -> Callable[[], frozenset[str]]:
        """`Plan.secrets`."""
        token = security_secrets(self._options.security)

        def secrets() -> frozenset[str]:
            return frozenset(headers.secrets() | token.union(*(constant.texts for constant in constants)) - {""})

        return secrets

    # --- the plan ---

    def _plan(
        self,
        operation: SoapOperation,
        body: Body,
        output: Body | None,
        parameters: dict[str, Parameter],
        headers: HeaderPlan,
    ) -> Plan:
        contract = self._contract
        elements = [*body.elements, *headers.sent]
        answer = output or Body()
        for element in (*elements, *answer.elements):
            contract.graph.usable(element.type)
        native, encoded = self._options.numbers == "native", answer.encoding is not None
        decoders = contract.decoders(native=native, strict=self._options.strict, encoded=encoded)
        writer, reader = body_writer(contract, body), body_reader(decoders, answer)
        declarations = contract.prefixes.declare(self._namespaces(elements, body))
        envelope = Envelope(operation.version, declarations, headers.constant, self._token())
        path = self._route.upstream.path or address_path(operation.address)
        faults = FaultReader(decoders, contract.fault_elements(operation), self._options.faults)
        return Plan(
            envelope,
            http_headers(operation.version, operation.action),
            path,
            frozenset((*split_template(path)[1::2], *split_template(self._route.upstream.query)[1::2])),
            parameters,
            writer,
            output,
            reader,
            resolve if encoded and self._route.transform.response != "passthrough" else None,
            faults,
            self._route.transform.response,
            self._options.strict,
            headers.request,
            headers.reply,
            self._secrets(headers, ()),
            templates=self._templates(decoders, answer),
            bodies=self._large_bodies(decoders, answer),
        )

    def _large_bodies(self, decoders: Decoders, answer: Body) -> LargeBodies | None:
        """Reads large replies in slices. None for the SOAP encoding as JSON, where references may lead anywhere in a
        body, and for XML replies, which are written from a tree."""
        response = self._route.transform.response
        if response == "passthrough":
            return LargeBodies(decoders, Body())
        return LargeBodies(decoders, answer) if response == "json" and answer.encoding is None else None

    def _templates(self, decoders: Decoders, answer: Body) -> ReplyTemplates | None:
        """Reads replies by pattern, if only the value of one element is needed."""
        json = self._route.transform.response == "json"
        if not FAST_PATHS or self._options.strict or not json or answer.encoding is not None:
            return None
        return ReplyTemplates(decoders, answer.root) if answer.root is not None else None

    def _namespaces(self, elements: list[Element], body: Body) -> set[str] | None:
        """The namespaces that a request needs; None for all."""
        if len(self._contract.prefixes) <= _FEW or body.encoding is not None:
            return None
        reached = self._contract.graph.reach([*elements, body.content] if body.content is not None else elements)
        return None if reached.open else reached.namespaces

    def _token(self) -> Callable[[Call], str] | None:
        if self._options.security is None:
            return None
        return token_writer(self._options.security)


def _attachments(side: Side | None, body: Body | None) -> Attachments | None:
    if side is None or not side.attachments:
        return None
    return Attachments(side.attachments, bare=body is not None and body.bare)


def _root_of(body: Body) -> Element:
    """The body's element; if it has none or several, a substitute with its content."""
    if body.root is not None:
        return body.root
    content = body.content or ComplexType("")
    return Element("", lambda: content)


def address_path(address: str) -> str:
    """Path and query of a ``soap:address``; ``/`` if it is not a URL (many WSDLs have a placeholder)."""
    try:
        parts = urlsplit(address if address.lower().startswith(("http://", "https://")) else "")
    except ValueError:
        return "/"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else path
