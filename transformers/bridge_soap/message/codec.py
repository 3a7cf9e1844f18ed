"""The codec of one operation on one route: a call to an envelope, an envelope to a reply. It does no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

from bridge.api import (
    ABSENT,
    JSON_TYPE,
    BadReply,
    Call,
    Enough,
    FaultList,
    Headers,
    HttpReply,
    HttpRequest,
    InvalidBody,
    InvalidParameter,
    Reply,
    UnsupportedMediaType,
    UpstreamError,
    XmlError,
    dismantle,
    fill_template,
    header,
    media_type,
    parse_pointer,
    require_json,
    split_template,
)
from bridge_soap.contract import Body
from bridge_soap.decode.decoders import Reader
from bridge_soap.decode.packing import dump, to_json
from bridge_soap.encode.writing import Findings, Writer
from bridge_soap.message import large
from bridge_soap.message.attachments import ATTACHMENTS, Attachments
from bridge_soap.message.blocks_in import ReplyBlocks, beside
from bridge_soap.message.blocks_out import HEADERS, RequestBlocks
from bridge_soap.message.envelope import Envelope, Message, Tolerate, payload, read_message
from bridge_soap.message.fault import FaultReader
from bridge_soap.message.large import Early, LargeParser
from bridge_soap.message.multipart import XOP_NAMESPACE, BodyPart, inline, join, split
from bridge_soap.message.open_body import LargeBodies
from bridge_soap.message.params import Parameter, read_parameters
from bridge_soap.message.reply_templates import ReplyTemplates
from bridge_soap.message.shape import Shape
from bridge_soap.names import local_name, tag_of
from bridge_soap.xsd.model import TEXT

_MAX_FAULTS = 500
_LARGE = 256 * 1024  #: bytes of a body above which its message is encoded as it grows
_PIECES = 4096  #: of a large message's text, which are encoded in one go
_MAX_WARNINGS = 20
#: Media types of SOAP messages (SOAP 1.1, section 6; RFC 3902; SOAP with Attachments and MTOM, by RFC 2387).
_MESSAGES = frozenset(("text/xml", "application/xml", "application/soap+xml", "multipart/related"))


@dataclass(frozen=True, slots=True)
class Plan:
    """All data that an operation's codec needs, prepared at bind.

    :ivar path_names: path parameters of the route that stand in the service's path or query.
    :ivar prepare: resolves the references in an encoded reply, before it is read.
    :ivar blocks: writes the variable part of the request's header; None if there is none.
    :ivar inbound: reads the reply's header.
    :ivar shape: converts a client's body to the schema's form; `reply_shape` converts the reply back. None if they do
        not differ.
    :ivar secrets: returns the texts in the requests that must not be shown; they change when a file was rotated.
    :ivar templates: reads replies in a known template; None if the reply is more than one value.
    :ivar bodies: reads large replies; None if they must be parsed as a whole.
    """

    envelope: Envelope
    headers: list[tuple[str, str]]
    path: str
    path_names: frozenset[str]
    parameters: Mapping[str, Parameter]
    write: Writer
    output: Body | None
    read: Reader
    prepare: Callable[[etree._Element], None] | None
    faults: FaultReader
    response: str
    strict: bool
    blocks: RequestBlocks | None
    inbound: ReplyBlocks
    secrets: Callable[[], frozenset[str]]
    shape: Shape | None = None
    reply_shape: Shape | None = None
    attachments: Attachments | None = None
    reply_attachments: Attachments | None = None
    templates: ReplyTemplates | None = None
    bodies: LargeBodies | None = None


class SoapCodec:
    """`bridge.api.HttpCodec` of one operation. Without `takes_body` (GET), all input is in path and query."""

    handles_errors = True

    def __init__(self, plan: Plan, *, takes_body: bool) -> None:
        self._plan, self._takes_body = plan, takes_body
        self._path = split_template(plan.path)

    @property
    def secrets(self) -> frozenset[str]:
        """Texts in the requests that ``explain`` must not show."""
        return self._plan.secrets()

    # --- request ---

    def request(self, call: Call) -> HttpRequest:
        plan = self._plan
        value = self._from_body(call) if self._takes_body else self._from_parameters(call)
        bad = Findings(_MAX_FAULTS, strict=plan.strict)
        own_faults = FaultList(_MAX_FAULTS)  # with the client's names
        slices: list[bytes] = []
        out: list[str] = []
        put, end = _sink(slices) if len(call.body) > _LARGE else (out.append, None)
        parts: list[BodyPart] = []
        try:
            if plan.attachments is not None:
                value, parts = plan.attachments.take(call, value, own_faults)
            if plan.shape is not None:
                value = plan.shape.inward(value, None, own_faults)
            if plan.blocks is None:
                out.append(plan.envelope.start(call))
            else:
                value, blocks = plan.blocks.write(call, value, bad)
                out.append(plan.envelope.start(call, blocks))
            bare = plan.attachments is not None and plan.attachments.bare
            if not (bare and own_faults):  # the value may be missing, which is told
                plan.write(value, put, (None, TEXT) if bare else None, bad)
        except Enough:
            pass
        except RecursionError:
            raise InvalidBody([("", "it is nested too deeply")]) from None
        if bad or own_faults:
            mapped: list[tuple[str, str]] = bad if plan.shape is None else plan.shape.places(bad)
            raise self._refusal([*own_faults, *mapped][:_MAX_FAULTS])
        call.warnings += bad.notes
        headers = list(plan.headers)
        if end is None:
            out.append(plan.envelope.end)
            body = "".join(out).encode()
        else:
            call.forget()
            if plan.shape is None:  # whose defaults and constants are others' too
                dismantle(value)
            end()
            body = b"".join(["".join(out).encode(), *slices, plan.envelope.end.encode()])
        if parts:
            kind, body = join(body, header(headers, "content-type"), parts, call.random(16).hex())
            headers = [(name, kind if name == "content-type" else text) for name, text in headers]
        return HttpRequest("POST", fill_template(self._path, call.raw_params), headers, body)

    def _from_parameters(self, call: Call) -> Any:
        if not (call.raw_params or call.query):
            return {}
        return read_parameters(self._plan.parameters, call.path_values, call.query_params, self._plan.path_names)

    def _from_body(self, call: Call) -> Any:
        if call.body:
            try:
                require_json(call, strict=self._plan.strict)
            except UnsupportedMediaType as error:
                raise _not_json(call, error) from None
        if call.query:
            names = dict.fromkeys(name for name, _ in call.query_params)
            raise InvalidParameter([(name, "there is no such parameter") for name in names])
        value = call.json if call.body else {}
        if not call.raw_params:
            return value
        parameters = read_parameters(self._plan.parameters, call.path_values, (), self._plan.path_names)
        if parameters and not isinstance(value, dict):
            raise InvalidBody([("", "an object is wanted")])
        for name, item in parameters.items():
            if name in value and value[name] != item:
                raise InvalidBody([(f"/{name}", "it differs from the path")])
        return {**value, **parameters} if parameters else value

    def _refusal(self, bad: list[tuple[str, str]]) -> InvalidBody | InvalidParameter:
        if self._takes_body:
            return InvalidBody(bad)
        return InvalidParameter([(".".join(parse_pointer(pointer)), reason) for pointer, reason in bad])

    def forks(self, call: Call, inbound: HttpReply | None) -> bool:
        """`bridge.api.capabilities.Forkable`: all but the replies from which others are learned to be read."""
        templates = self._plan.templates
        if inbound is None or templates is None or inbound.status >= 300:
            return True
        kind = header(inbound.headers, "content-type")
        return templates.settled(inbound.body, kind, reads=self._plan.reply_shape is None)

    # --- reply ---

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        status = inbound.status
        kind = header(inbound.headers, "content-type")
        if not inbound.body or inbound.body.isspace():
            return self._empty(call, inbound)
        templates = self._plan.templates
        if templates is not None and status < 300:
            if len(inbound.body) < large.LARGE:
                value, write = templates.read(inbound.body, kind), to_json
            elif self._plan.reply_shape is None:
                value, write = templates.read(inbound.body, kind, large.SLICE), dump
            else:
                value, write = ABSENT, to_json  # packed values can't be shaped
            if value is not ABSENT:
                return self._success(call, value, self._fields(), [], write=write)
        try:
            return self._read(call, inbound, kind)
        except RecursionError:
            raise BadReply("The service's answer is nested too deeply.") from None

    def _read(self, call: Call, inbound: HttpReply, kind: str) -> Reply:
        plan, status = self._plan, inbound.status
        parts: list[BodyPart] | None = None
        early: Early | None = None
        body, own = inbound.body, kind
        try:
            if kind[:10].lower() == "multipart/":
                root, parts = split(body, kind, self._tolerate(call) or _refuse_message)
                body, own = root.body, root.content_type
            if len(body) < large.LARGE:
                message = read_message(body, own, tolerate=self._tolerate(call))
            else:
                message, early = self._parse_large(call, body, own)
        except XmlError as error:
            if status >= 300:
                raise _failure(inbound, str(error)) from None
            if plan.output is None:
                call.warnings.append(f"the answer to a one-way call is no SOAP message: {error}")
                return Reply(202)
            raise BadReply(f"The service's answer can't be read: {error}.") from None
        if message.fault is not None and plan.response == "passthrough" and not 300 <= status < 400:
            return self._pass_fault(call, inbound, kind, message.fault)
        if parts is not None and plan.response != "passthrough":
            ids = inline(message.body, parts)
            parts = [part for part in parts if part.id not in ids]
        if plan.prepare is not None:
            plan.prepare(message.body)
        if message.fault is not None:
            raise plan.faults.problem(message.fault, _retry_after(inbound), _noter(call.warnings))
        if status >= 300:
            raise _failure(inbound, "with a SOAP body")
        if plan.output is None and plan.response != "passthrough":
            return Reply(202)
        return self._answer(call, inbound, kind, message, parts or [], early)

    def _tolerate(self, call: Call) -> Tolerate | None:
        """Takes what was tolerated in a message as a whole; None on strict routes."""
        if self._plan.strict:
            return None

        def tolerate(why: str) -> None:
            if len(call.warnings) < _MAX_WARNINGS:
                call.warnings.append(f"the message: {why}")

        return tolerate

    def _parse_large(self, call: Call, body: bytes, kind: str) -> tuple[Message, Early | None]:
        """A large message, and the value of its body, which is read while it is parsed."""
        plan = self._plan
        bodies = plan.bodies if XOP_NAMESPACE not in body else None
        parser = LargeParser(bodies, plan.reply_shape, (lambda _: refuse) if plan.strict else _noter)
        message = read_message(body, kind, parser.parse, self._tolerate(call))
        return message, parser.early

    def _answer(
        self, call: Call, inbound: HttpReply, kind: str, message: Message, parts: list[BodyPart], early: Early | None
    ) -> Reply:
        plan = self._plan
        note = refuse if plan.strict else _noter(call.warnings)
        blocks: dict[str, Any] = {}
        fields = self._fields()
        if message.header is not None:
            blocks, more_fields = plan.inbound.read(message.header, note, call.warnings)
            fields += more_fields
        if plan.response == "passthrough":
            return _as_it_came(inbound, kind, fields)
        if plan.response == "xml":
            kind = "application/xml; charset=utf-8"
            return Reply(200, [("content-type", kind), *fields], payload(message))
        if early is not None:
            call.warnings += early.warnings[: max(0, _MAX_WARNINGS - len(call.warnings))]
            if plan.templates is not None and not call.warnings and early.error is None:
                plan.templates.learn(inbound.body, kind)
            return self._success(call, early.take(), fields, parts, blocks, dump)
        value = plan.read(message.body, note)
        if plan.templates is not None and not call.warnings:
            plan.templates.learn(inbound.body, kind)
        return self._success(call, value, fields, parts, blocks)

    def _pass_fault(self, call: Call, inbound: HttpReply, kind: str, fault: etree._Element) -> Reply:
        """A Fault is an answer, with whatever status (SOAP 1.1, section 6.2; SOAP 1.2 part 2, section 7.5.2.2)."""
        call.fault = self._plan.faults.problem(fault, (), _noter([]))
        if inbound.status < 300:
            call.warnings.append(f"the service sent a Fault with status {inbound.status}: {call.fault.cause}")
        return _as_it_came(inbound, kind, self._fields())

    def _success(
        self,
        call: Call,
        value: Any,
        fields: list[tuple[str, str]],
        parts: list[BodyPart],
        blocks: dict[str, Any] | None = None,
        write: Callable[[Any], bytes] = to_json,
    ) -> Reply:
        """The reply with the body's value and its header blocks."""
        plan = self._plan
        if plan.reply_shape is not None:
            value = plan.reply_shape.outward(value)
        if blocks:
            value = beside(value, HEADERS, blocks, call.warnings)
        if parts or plan.reply_attachments is not None:
            attachments = plan.reply_attachments or Attachments({})
            attached = attachments.read(parts, call.warnings)
            if attachments.bare:
                value = {TEXT: value}
            value = beside(value, ATTACHMENTS, attached, call.warnings)
        return Reply(200, [JSON_TYPE, *fields], write(value))

    def _fields(self) -> list[tuple[str, str]]:
        blocks = self._plan.blocks
        return blocks.fields.copy() if blocks is not None else []

    def _empty(self, call: Call, inbound: HttpReply) -> Reply:
        status = inbound.status
        if status >= 300:
            raise UpstreamError(
                f"The service answered HTTP {status} without a body.",
                headers=_retry_after(inbound),
                cause=f"HTTP {status}, empty",
            )
        response = self._plan.response
        if self._plan.output is None:
            return Reply(status if response == "passthrough" else 202)
        if not self._plan.output.elements and self._plan.output.content is None:
            fields = self._plan.blocks.fields if self._plan.blocks is not None else []
            if response != "json":
                return Reply(status, list(fields))
            return Reply(200, [JSON_TYPE, *fields], b"{}")
        if status in (202, 204) and not self._plan.strict:
            call.warnings.append(f"the service answered {status} and nothing, where a reply is declared")
            return Reply(status)
        raise BadReply("The service gave an empty answer.")


def _not_json(call: Call, error: UnsupportedMediaType) -> UnsupportedMediaType:
    """`error`, or the refusal of what looks like a SOAP message by its media type, which says where it is taken."""
    kind = media_type(call.header("content-type"))
    if kind not in _MESSAGES:
        return error
    return UnsupportedMediaType(
        f"This operation reads application/json, not {kind}, and makes the SOAP envelope itself. "
        "Routes with transform: {request: passthrough, response: passthrough} take envelopes.",
        headers=error.headers,
    )


def _retry_after(inbound: HttpReply) -> list[tuple[str, str]]:
    """When the service wants to be called again (RFC 9110, section 10.2.3)."""
    return [field for field in inbound.headers if field[0] == "retry-after"]


def _as_it_came(inbound: HttpReply, kind: str, fields: Headers) -> Reply:
    """The service's status and bytes. Cookies are left out: they would never come back to it, since the client's fields
    don't go up."""
    own = [("content-type", kind or "text/xml"), *_retry_after(inbound)]
    return Reply(inbound.status, [*own, *fields], inbound.body)


def _failure(inbound: HttpReply, cause: str) -> UpstreamError:
    return UpstreamError(
        f"The service answered HTTP {inbound.status}.",
        headers=_retry_after(inbound),
        cause=f"HTTP {inbound.status}; {cause}",
    )


def place_of(node: etree._Element) -> str:
    """The element's path below the SOAP body, for warnings."""
    names = [local_name(tag_of(node))]
    names += [local_name(tag_of(each)) for each in node.iterancestors()]
    if "Body" in names:
        names = names[: names.index("Body") or 1]
    return "/".join(reversed(names))


def refuse(node: etree._Element, why: str) -> None:
    """Refuse a reply that violates its schema, on strict routes."""
    raise BadReply(f"The service's answer breaks its schema: at {place_of(node)}: {why}.")


def _refuse_message(why: str) -> None:
    """Refuse a message for what lenient routes tolerate in it.

    :raises bridge.api.XmlError: always.
    """
    raise XmlError(why)


def _noter(warnings: list[str]) -> Callable[[etree._Element, str], None]:
    def note(node: etree._Element, why: str) -> None:
        if len(warnings) < _MAX_WARNINGS:
            warnings.append(f"{place_of(node)}: {why}")

    return note


def _sink(slices: list[bytes]) -> tuple[Callable[[str], None], Callable[[], None]]:
    """A function that takes the pieces of a large message, and one that ends it. The message is encoded into `slices`
    as it grows, since pieces take twice its memory, and to join or encode all of it in one go stops other threads.
    """
    pieces: list[str] = []
    keep = pieces.append

    def end() -> None:
        slices.append("".join(pieces).encode())
        pieces.clear()

    def put(piece: str) -> None:
        keep(piece)
        if len(pieces) >= _PIECES:
            end()

    return put, end
