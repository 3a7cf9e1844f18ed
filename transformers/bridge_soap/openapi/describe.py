"""One operation in the OpenAPI 3.1 document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.api import OperationDoc, RouteSpec, parse_template
from bridge_soap.components import ComplexType, Element
from bridge_soap.contract import Body, Contract
from bridge_soap.message.attachments import ATTACHMENTS, attachments_schema
from bridge_soap.message.blocks_out import HEADERS
from bridge_soap.message.envelope import SOAP_TYPES
from bridge_soap.message.header_plan import HeaderPlan
from bridge_soap.message.params import Parameter
from bridge_soap.message.shape import Shape
from bridge_soap.names import local_name
from bridge_soap.openapi.example import Examples
from bridge_soap.openapi.headers import header_fields, header_parameters
from bridge_soap.openapi.inline import with_property, without
from bridge_soap.openapi.jsonschema import schemas_of
from bridge_soap.openapi.shape import shaped
from bridge_soap.openapi.simpleschema import Schema
from bridge_soap.wsdl.model import Side, SoapOperation
from bridge_soap.xsd.model import TEXT, keys_of


@dataclass(frozen=True, slots=True)
class Description:
    """The data for an operation's description."""

    contract: Contract
    operation: SoapOperation
    body: Body
    output: Body | None
    parameters: dict[str, Parameter]
    route: RouteSpec
    headers: HeaderPlan
    shape: Shape | None = None
    reply_shape: Shape | None = None


def describe(described: Description, *, takes_body: bool) -> OperationDoc:
    """The Operation Object and the components it refers to."""
    with described.contract.lock:
        return _Writer(described, takes_body=takes_body).document()


class _Writer:
    def __init__(self, described: Description, *, takes_body: bool) -> None:
        self._d, self._takes_body = described, takes_body
        soap = described.route.transform.options
        native = isinstance(soap, dict) and soap.get("numbers") == "native"
        self._statuses: dict[str, int] = soap.get("faults", {}) if isinstance(soap, dict) else {}
        encoded = described.body.encoding is not None
        self._schemas = schemas_of(described.contract, native=native, encoded=encoded)
        decoders = described.contract.decoders(native=native, strict=False, encoded=encoded)
        self._examples = Examples(described.contract, decoders, encoded=encoded)
        self._in_path = parse_template(described.route.route).names

    def document(self) -> OperationDoc:
        operation: dict[str, Any] = {"summary": self._d.operation.name}
        if self._d.operation.doc:
            operation["description"] = self._d.operation.doc
        parameters = self._parameters()
        if parameters:
            operation["parameters"] = parameters
        if self._takes_body:
            operation["requestBody"] = self._request()
        operation["responses"] = self._responses()
        return OperationDoc(operation, self._schemas.reached(operation))

    # --- request ---

    def _parameters(self) -> list[dict[str, Any]]:
        parameters = []
        for name in self._in_path:
            parameter = self._d.parameters.get(name)
            schema = self._schemas.element(parameter.element) if parameter is not None else {"type": "string"}
            parameters.append({"name": name, "in": "path", "required": True, "schema": _plain(schema)})
        if not self._takes_body:
            for parameter in self._d.parameters.values():
                if parameter.name not in self._in_path:
                    parameters.append(self._query(parameter))
        return parameters + header_parameters(self._d.headers.blocks, self._schemas)

    def _query(self, parameter: Parameter) -> dict[str, Any]:
        schema = _plain(self._schemas.element(parameter.element))
        out: dict[str, Any] = {"name": parameter.name, "in": "query", "required": parameter.required}
        if parameter.element.doc:
            out["description"] = parameter.element.doc
        out["schema"] = {"type": "array", "items": schema} if parameter.many else schema
        example = self._examples.element(parameter.element)
        if example is not None:
            out["example"] = [example] if parameter.many else example
        return out

    def _request(self) -> dict[str, Any]:
        in_path = frozenset(self._in_path)
        schema, example = self._shaped(self._d.body, self._d.shape, in_path)
        schema, example = self._with_headers(schema, example, self._d.headers.given)
        schema, example = self._with_attachments(schema, example, self._d.operation.input, self._d.body)
        return {"required": True, "content": {"application/json": _media(schema, example)}}

    def _shaped(self, body: Body, shape: Shape | None, hidden: frozenset[str]) -> tuple[Schema, Any]:
        """Schema and example of a body in the clients' shape, without the properties in the path."""
        if shape is None:
            return self._body(body, hidden)
        schema, example = self._body(body)
        components = self._schemas.components
        schema, example = without(shaped(schema, shape, components), hidden, components), shape.outward(example)
        if isinstance(example, dict):
            example = {key: value for key, value in example.items() if key not in hidden}
        return schema, example

    def _body(self, body: Body, without: frozenset[str] = frozenset()) -> tuple[Schema, Any]:
        root = body.root
        if root is not None:
            type_ = root.type
            own_keys = self._keys(type_) if isinstance(type_, ComplexType) else frozenset[str]()
            if isinstance(type_, ComplexType) and without & own_keys:
                schema = self._schemas.object(type_, without=without)
            else:
                schema = self._schemas.element(root)
            example = self._examples.element(root)
            if isinstance(example, dict):
                example = {key: value for key, value in example.items() if key not in without}
            return schema, example
        if body.content is not None and not body.parts:
            return self._schemas.object(body.content, without=without), self._examples.type(body.content)
        properties = {local_name(part.name): self._schemas.element(part) for part in body.parts}
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if properties:
            schema["required"] = list(properties)
        example = {local_name(part.name): self._examples.element(part) for part in body.parts}
        return schema, example

    def _with_headers(self, schema: Schema, example: Any, blocks: dict[str, Element]) -> tuple[Schema, Any]:
        """A body with its optional header blocks."""
        if not blocks:
            return schema, example
        schemas = {key: self._schemas.element(element) for key, element in blocks.items()}
        property_ = {"type": "object", "properties": schemas, "additionalProperties": False}
        schema = with_property(schema, HEADERS, property_, self._schemas.components)
        values = {key: self._examples.element(element) for key, element in blocks.items()}
        values = {key: value for key, value in values.items() if value is not None}
        if isinstance(example, dict) and values:
            example = {**example, HEADERS: values}
        return schema, example

    def _with_attachments(
        self, schema: Schema, example: Any, side: Side, body: Body, *, required: bool = True
    ) -> tuple[Schema, Any]:
        if not side.attachments:
            return schema, example
        if body.bare:
            schema = {
                "type": "object",
                "properties": {TEXT: schema},
                "required": [TEXT],
                "additionalProperties": False,
            }
            example = {TEXT: example} if example is not None else None
        attachments = attachments_schema(side.attachments)
        schema = with_property(schema, ATTACHMENTS, attachments, self._schemas.components, required=required)
        if isinstance(example, dict):
            example = {**example, ATTACHMENTS: {name: {"#text": "AAAA"} for name in side.attachments}}
        return schema, example

    def _keys(self, type_: ComplexType) -> frozenset[str]:
        if type_.simple is not None:
            return frozenset()
        content = self._d.contract.graph.model(type_)
        return keys_of(content.root, content.region) if content.root is not None else frozenset()

    # --- responses ---

    def _responses(self) -> dict[str, Any]:
        raw = self._d.route.transform.response == "passthrough"
        if self._d.output is None:
            out: dict[str, Any] = {"202": {"description": "The service was told; it gives no answer."}}
        elif raw:
            out = {"200": {"description": "The service's SOAP message, as it came.", "content": self._messages()}}
        elif self._d.route.transform.response == "json":
            schema, example = self._shaped(self._d.output, self._d.reply_shape, frozenset())
            schema, example = self._with_headers(schema, example, self._d.headers.returned)
            if self._d.operation.output is not None:
                schema, example = self._with_attachments(
                    schema, example, self._d.operation.output, self._d.output, required=False
                )
            content = {"application/json": _media(schema, example)}
            out = {"200": {"description": f"What {self._d.operation.name} answers.", "content": content}}
        else:
            out = {"200": {"description": "The service's XML.", "content": {"application/xml": {}}}}
        if self._d.output is not None and self._d.headers.fields:
            out["200"]["headers"] = header_fields(self._d.headers.fields, self._schemas)
        if raw:
            return out | self._faults_as_they_come()
        for status, names in self._fault_statuses().items():
            out[status] = {
                "description": "The service refused the call." + (f" Detail: {', '.join(names)}." if names else ""),
                "content": {"application/problem+json": {"schema": self._fault_schema(names)}},
            }
        return out

    def _messages(self) -> dict[str, Any]:
        """The media types of the service's SOAP messages."""
        types = [SOAP_TYPES[self._d.operation.version]]
        side = self._d.operation.output
        if side is not None and side.attachments:
            types.append("multipart/related")
        return {each: {"schema": {"type": "string"}} for each in types}

    def _faults_as_they_come(self) -> dict[str, Any]:
        """The statuses that the HTTP binding has for Faults (SOAP 1.1, section 6.2; SOAP 1.2 part 2, table 20)."""
        names = [local_name(tag) for tag in self._d.contract.fault_elements(self._d.operation)]
        detail = f" Detail: {', '.join(names)}." if names else ""
        statuses = ("500",) if self._d.operation.version == "1.1" else ("400", "500")
        # The gateway's own problems have these statuses, too.
        content = {
            SOAP_TYPES[self._d.operation.version]: {"schema": {"type": "string"}},
            "application/problem+json": {},
        }
        return {
            status: {"description": f"The service's SOAP Fault, as it came.{detail}", "content": dict(content)}
            for status in statuses
        }

    def _fault_statuses(self) -> dict[str, list[str]]:
        """The HTTP statuses of faults, each with its detail elements."""
        statuses: dict[str, list[str]] = {}
        for tag in self._d.contract.fault_elements(self._d.operation):
            local = local_name(tag)
            mapped = self._statuses.get(local, self._statuses.get(tag))
            for status in (mapped,) if mapped is not None else (400, 502):
                statuses.setdefault(str(status), []).append(local)
        return statuses

    def _fault_schema(self, names: list[str]) -> Schema:
        """What a fault adds to a problem, whose other members the gateway describes."""
        elements = self._d.contract.fault_elements(self._d.operation)
        detail = {
            local_name(tag): self._schemas.element(element)
            for tag, element in elements.items()
            if local_name(tag) in names and self._schemas.usable(element.type)
        }
        fault = {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "The fault's code, such as Client or Server."},
                "reason": {"type": "string"},
                "detail": {"type": "object", "properties": detail},
            },
        }
        return {
            "type": "object",
            "properties": {"fault": fault},
        }


def _media(schema: Schema, example: Any) -> dict[str, Any]:
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def _plain(schema: Schema) -> Schema:
    """A parameter can't be null."""
    if "anyOf" in schema and {"type": "null"} in schema["anyOf"]:
        rest = [each for each in schema["anyOf"] if each != {"type": "null"}]
        return rest[0] if len(rest) == 1 else {"anyOf": rest}
    return schema
