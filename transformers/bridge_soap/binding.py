"""From a contract's operation and a route to what the gateway publishes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from bridge import BindError, Fault, Operation, RouteSpec
from bridge_soap.components import Element
from bridge_soap.contract import Body, Contract
from bridge_soap.encode.writing import Faults
from bridge_soap.message.bodies import body_reader, body_writer
from bridge_soap.message.codec import Plan, SoapCodec
from bridge_soap.message.envelope import Envelope, http_headers
from bridge_soap.message.fault import FaultReader
from bridge_soap.message.params import Parameter, parameters_of
from bridge_soap.message.security import token_writer
from bridge_soap.names import local_name
from bridge_soap.openapi.describe import Description, describe
from bridge_soap.options import SoapOptions
from bridge_soap.section5.references import resolve
from bridge_soap.wsdl.definitions import SoapOperation

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\*?\}")
#: So few namespaces are declared in each envelope, needed or not.
_FEW = 3
#: Methods whose requests carry no body: everything they say stands in the path and the query.
_BODILESS = ("GET", "HEAD", "DELETE")


class Binder:
    """Compiles operations of one contract for one route."""

    def __init__(self, contract: Contract, route: RouteSpec, options: SoapOptions) -> None:
        self._contract, self._route, self._options = contract, route, options

    def operations(self, operation: SoapOperation, path: str, name: str) -> list[Operation]:
        """What one operation publishes below the route at `path`, as `name`.

        :raises bridge.BindError: it can't be served; the message says why.
        """
        if operation.problem is not None:
            raise BindError(operation.problem)
        contract = self._contract
        with contract.lock:
            body = contract.body(operation, operation.input, reply=False)
            output = contract.body(operation, operation.output, reply=True) if operation.output is not None else None
            parameters, flat = parameters_of(contract, body)
            plan = self._plan(operation, body, output, parameters)
        upstream = set(_PARAMETER.findall(plan.path))
        for parameter in _PARAMETER.findall(self._route.route):
            if parameter not in parameters and parameter not in upstream:
                raise BindError(
                    Fault(f"{operation.name} has no simple input {parameter!r} for this parameter", key="route")
                )
        methods = self._methods(operation, flat, path)
        described = Description(contract, operation, body, output, parameters, self._route)
        found = []
        for method in methods:
            takes_body = method not in _BODILESS or (method == "DELETE" and not flat)
            own = name if len(methods) == 1 or method == "POST" else f"{name}_{method.lower()}"
            found.append(
                Operation(
                    own,
                    method,
                    path,
                    SoapCodec(plan, takes_body=takes_body),
                    lambda takes_body=takes_body: describe(described, takes_body=takes_body),  # type: ignore[misc]  # bound now
                    operation.name,
                )
            )
        return found

    def _methods(self, operation: SoapOperation, flat: bool, path: str) -> Sequence[str]:
        wanted = self._route.methods
        if wanted is None:
            return ("POST", "GET") if flat and not path else ("POST",)
        for method in wanted:
            if method in ("GET", "HEAD") and not flat:
                raise BindError(
                    Fault(
                        f"{operation.name} can't be published as {method}: its input is more than simple values",
                        key="methods",
                    )
                )
        return tuple(method for method in wanted if method != "OPTIONS")

    # --- the plan ---

    def _plan(
        self, operation: SoapOperation, body: Body, output: Body | None, parameters: dict[str, Parameter]
    ) -> Plan:
        contract = self._contract
        headers = self._header_elements(operation)
        sent = [*body.elements, *(element for element, _ in headers)]
        answer = output or Body()
        for element in (*sent, *answer.elements):
            contract.graph.usable(element.type)
        native, encoded = self._options.numbers == "native", answer.encoding is not None
        decoders = contract.decoders(native=native, strict=self._options.strict, encoded=encoded)
        write, read = body_writer(contract, body), body_reader(decoders, answer)
        block = self._header_block(headers)
        declarations = contract.prefixes.declare(self._namespaces(sent, body))
        envelope = Envelope(operation.version, declarations, block, self._token(operation))
        faults = FaultReader(decoders, contract.fault_elements(operation), self._options.faults)
        return Plan(
            envelope,
            http_headers(operation.version, operation.action),
            self._route.upstream.path or address_path(operation.address),
            parameters,
            write,
            output,
            read,
            resolve if encoded else None,
            faults,
            self._route.transform.response,
            self._options.strict,
        )

    def _namespaces(self, sent: list[Element], body: Body) -> set[str] | None:
        """The namespaces that a request needs; None for all, where that is as good."""
        if len(self._contract.prefixes) <= _FEW or body.encoding is not None:
            return None
        reached = self._contract.graph.reach([*sent, body.content] if body.content is not None else sent)
        return None if reached.open else reached.namespaces

    def _token(self, operation: SoapOperation) -> Any:
        if self._options.security is None:
            return None
        return token_writer(self._options.security, operation.version)

    def _header_elements(self, operation: SoapOperation) -> list[tuple[Element, Any]]:
        """The header blocks that the spec names, with their declarations."""
        found = []
        schemas = self._contract.schemas
        for name, value in self._options.headers.items():
            candidates = [tag for kind, tag in schemas.index.definitions if kind == "element"]
            named = [tag for tag in candidates if name in (tag, local_name(tag))]
            declared = self._declared_headers(operation)
            named = [tag for tag in named if tag in declared] or named
            if len(named) != 1:
                why = f"it may mean {', '.join(named)}" if named else "no element of that name is in the contract"
                raise BindError(Fault(why, key=f"transform.soap.headers.{name}"))
            found.append((schemas.element(named[0]), value))
        return found

    def _declared_headers(self, operation: SoapOperation) -> set[str]:
        found = set()
        for use in operation.input.headers:
            message = self._contract.wsdl.message(use.message)
            found |= {part.element for part in message if part.name == use.part and part.element}
        return found

    def _header_block(self, headers: list[tuple[Element, Any]]) -> str:
        out: list[str] = []
        for element, value in headers:
            bad: Faults = []
            self._contract.encoders.element(element)(value, out.append, None, bad)
            if bad:
                key = f"transform.soap.headers.{local_name(element.name)}"
                raise BindError([Fault(why, key=key + at.replace("/", ".")) for at, why in bad])
        return "".join(out)


def address_path(address: str) -> str:
    """Path and query of a ``soap:address``; ``/`` where it is no URL (many WSDLs hold a note instead)."""
    parts = urlsplit(address) if address.lower().startswith(("http://", "https://")) else None
    if parts is None:
        return "/"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else path
