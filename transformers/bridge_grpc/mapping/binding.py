"""The request side of one rule: path, query and body to one message, as ``google/api/http.proto`` divides them.

1. Fields referred to by the path template come from the path.
2. Fields referred to by ``body`` come from the body: ``*`` is all that the path leaves, a name is that field alone,
   nothing is no body at all.
3. All others are query parameters, named by their field path; with ``body: "*"`` there are none.

Beyond the comment: what the spec's ``fields`` fill is nobody else's to give, and counts over what a body says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from bridge.api import (
    FAST_PATHS,
    Call,
    Enough,
    FaultList,
    InvalidBody,
    InvalidParameter,
    UnsupportedMediaType,
    parse_json,
)
from bridge_grpc.codec import json_body, wellknown
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.element import DOUBT, Element
from bridge_grpc.codec.scalars import MESSAGES, FieldValueError, InDoubt
from bridge_grpc.mapping.fills import Fills, place
from bridge_grpc.mapping.forms import HTTP_BODY, MULTIPART, URLENCODED, Form
from bridge_grpc.mapping.forms import kind_of as form_kind
from bridge_grpc.mapping.http_rule import Capture
from bridge_grpc.mapping.parameters import Parameters, Target, resolve

JSON = ("application/json",)

#: Fields and their values, from path, query and what the gateway fills.
Filled = list[tuple[Target, Any]]


class Binding:
    """Compiled from one rule; `serialise` is all that a request needs.

    :param message: the request message.
    :param captures: the path's variables.
    :param body: ``""``, ``*`` or a field of `message`.
    :param fills: the fields that the gateway fills; None for none.
    :param patch: whether an absent ``update_mask`` is filled with what the body gives (PATCH with a body field).
    :raises ValueError: a variable or the body names what can't be bound; the message says what and why.
    """

    def __init__(
        self,
        message: Descriptor,
        captures: Sequence[Capture],
        body: str,
        decoders: Decoders,
        *,
        fills: Fills | None = None,
        ignore: bool = False,
        patch: bool = False,
    ) -> None:
        self.message = message
        self.fills = fills or Fills(message, (), decoders)
        self.captures = tuple((capture, self._variable(message, capture)) for capture in captures)
        self.body = body
        self._reader = decoders.reader(message)
        self._wire: Callable[[bytes], bytes] | None = None
        if body == "*":
            self._wire = decoders.wire(message) if FAST_PATHS else _in_doubt
        self._ignore = ignore
        self.body_field = self._body_field(message, body)
        self._element: Element | None = decoders.field(self.body_field) if self.body_field else None
        bound = {target.path for _, target in self.captures}
        for path in bound & self.fills.paths:
            raise ValueError(f"both the path and the spec's fields fill {'.'.join(path)!r}")
        self.query = None if body == "*" else Parameters(message, bound, self.body_field, decoders, self.fills.paths)
        # HttpBody (google/api/httpbody.proto) takes the body as it is, whatever its type.
        whole = self.body_field.message_type if self.body_field else message if body == "*" else None
        self.raw = whole is not None and whole.full_name == HTTP_BODY
        #: Reads forms; None where the body is no message, or one that forms can't say.
        self.form = Form(whole, decoders, ignore=ignore) if whole is not None and self._by_form(whole) else None
        self._mask = self._mask_name(message) if patch and self.body_field else None

    def serialise(self, call: Call) -> bytes:
        """The request message on the wire.

        :raises bridge.api.InvalidParameter: a path or query parameter is unknown or not what its field takes.
        :raises bridge.api.Forbidden: the caller lacks a claim that fills a field.
        :raises bridge.api.InvalidBody: the body isn't; all faults at once.
        :raises bridge.api.UnsupportedMediaType: the body is declared to be something else than JSON or a form.
        """
        return self.complete(call, self.filled(call))

    def filled(self, call: Call) -> Filled:
        """What path, query and the gateway fill.

        :raises bridge.api.ClientError: as `serialise`.
        """
        return [*self._parameters(call), *self.fills.read(call)]

    def complete(self, call: Call, filled: Filled) -> bytes:
        """The message of a call's whole body. Raises as `serialise`."""
        if call.body and self.body and not self.raw:
            if self.form is not None and form_kind(call):
                return self._formed(self.form, call, filled)
            check_media_type(call, JSON if self.form is None else (*JSON, URLENCODED, MULTIPART))
        elif call.body and not self.body:
            self._refuse_body(call)
        return self.encode(call.body, filled, call)

    def encode(self, body: bytes, parameters: Filled, call: Call, *, first: bool = True) -> bytes:
        """The message of a body, or of one of a stream's; JSON unless it is raw.

        :param first: of a stream of raw bytes only the first message says what they are and bears the parameters.
        :raises bridge.api.InvalidBody: as `serialise`.
        """
        if self.raw:
            made: Any = {"content_type": call.header("content-type"), "data": body} if first else {"data": body}
            return self._finish({self.body: made} if self.body_field else made, parameters if first else [])
        if not body or not self.body:
            return self._finish({}, parameters)
        if len(body) > json_body.LARGE:
            return self._large(body, parameters)
        if self._wire is not None and not parameters:
            try:
                return self._wire(body)
            except DOUBT:
                pass
            return self._judged(body, parameters)
        value = json_body.read(body, bounded=self._reader.bounded)
        try:
            return self._finish(self._quick(value), parameters)
        except DOUBT:
            return self._judged(body, parameters)

    def _large(self, body: bytes, parameters: Filled) -> bytes:
        """As `encode`, of a body that is read in slices, and once more only where it is wrong."""
        value = json_body.read(body)
        try:
            return self._finish(self._quick(value), parameters)
        except DOUBT:
            value = None
        return self._judged(body, parameters, read=True)

    def of_json(self, text: bytes) -> bytes:
        """The message that a JSON text is all of; only where the rule says ``body: "*"``.

        :raises bridge.api.InvalidBody: as `serialise`.
        """
        assert self._wire is not None
        if len(text) > json_body.LARGE:
            return self._large(text, [])
        try:
            return self._wire(text)
        except DOUBT:
            pass
        return self._judged(text, [])

    def completing(self, call: Call) -> Callable[[bytes], bytes]:
        """What completes each message of a call that was not read here: path and gateway fill their fields in it.

        :raises bridge.api.ClientError: a variable is not what its field takes, or the caller lacks what fills one.
        """
        values = [*self._parameters(Call(raw_params=call.raw_params)), *self.fills.read(call)]
        if not values:
            return bytes
        if not self.fills.paths:
            # By the rules of merging what comes last counts; only single values are bound to paths.
            last = bytes(self._reader.cls.SerializePartialToString(self._reader.build(place(self._reader, {}, values))))
            return lambda wire: wire + last

        def complete(wire: bytes) -> bytes:
            try:
                message = self._reader.cls.FromString(wire)
            except DecodeError:
                raise InvalidBody([("", f"it is no {self.message.full_name}")]) from None
            return self._reader.serialise(place(self._reader, message, values))

        return complete

    # --- the three parts -----------------------------------------------------------------------------------------

    def _quick(self, value: Any) -> Any:
        if not FAST_PATHS:
            raise InDoubt
        if self._element is None:
            made = self._reader.decode(value)
            if made is None:
                raise InDoubt
            return made
        kind, read, _, _ = self._element
        made = value if type(value) is kind else read(value)
        fields = {self.body: made}
        return self._masked(fields, value) if self._mask else fields

    def _judged(self, body: bytes, parameters: list[tuple[Target, Any]], *, read: bool = False) -> bytes:
        """Reads the body again, slowly, and says what is wrong with it.

        :param read: `json_body.read` has taken it.
        """
        if not read:
            json_body.read(body, bounded=self._reader.bounded)  # refuses what is no JSON, or has a name twice
        faults = FaultList(json_body.MAX_FAULTS)
        value, made = parse_json(body), None
        with contextlib.suppress(Enough):
            if self._element is None:
                made = self._reader.judge(value, "", faults)
            elif value is None and not self._element.nullable:
                made = {}
            else:
                made = {self.body: self._element.judge(value, "", faults)}
                if self._mask and not faults:
                    made = self._masked(made, value)
        if faults:
            raise InvalidBody(json_body.first(faults))
        try:
            return self._finish(made, parameters)
        except DOUBT as error:  # what protobuf alone refuses, after all rules of ours have passed
            raise InvalidBody([("", f"the message can't be made of it: {error}")]) from None

    def _formed(self, form: Form, call: Call, parameters: list[tuple[Target, Any]]) -> bytes:
        made, paths = form.read(call)
        if self.body_field is not None:
            made = {self.body: made}
        if self._mask:
            made = {self._mask: {"paths": paths}, **made}
        try:
            return self._finish(made, parameters)
        except DOUBT as error:  # what protobuf alone refuses
            raise InvalidBody([("", f"the message can't be made of it: {error}")]) from None

    def _parameters(self, call: Call) -> Iterator[tuple[Target, Any]]:
        wrong = FaultList(json_body.MAX_FAULTS)
        try:
            for capture, target in self.captures:
                try:
                    yield target, target.read(capture.text(call.raw_params))
                except FieldValueError as error:
                    wrong.append((".".join(capture.field_path), str(error)))
                except UnicodeDecodeError:
                    wrong.append((".".join(capture.field_path), "it is not percent-encoded UTF-8"))
            if call.query:
                if self.query is not None:
                    yield from self.query.read(call.query_params, wrong, ignore=self._ignore)
                elif not self._ignore:
                    reason = "there are no query parameters here; all fields go into the body"
                    wrong += [(name, reason) for name in dict.fromkeys(name for name, _ in call.query_params)]
        except Enough:
            pass
        if wrong:
            raise InvalidParameter(json_body.first(wrong))

    def _finish(self, made: Any, parameters: list[tuple[Target, Any]]) -> bytes:
        return self._reader.serialise(place(self._reader, made, parameters) if parameters else made)

    def _refuse_body(self, call: Call) -> None:
        if not self._ignore and call.body.strip() not in (b"", b"{}", b"null"):
            raise InvalidBody([("", "this operation takes no body; its fields are path and query parameters")])

    # --- at bind -------------------------------------------------------------------------------------------------

    @staticmethod
    def _variable(message: Descriptor, capture: Capture) -> Target:
        name = ".".join(capture.field_path)
        target = resolve(message, capture.field_path)
        if target is None:
            raise ValueError(f"the path's variable {name!r} is not a field of {message.full_name}")
        if target.field.is_repeated or target.text is None or target.json_text:
            raise ValueError(f"the path's variable {name!r} must be a single value, not a list, map or message")
        return target

    @staticmethod
    def _body_field(message: Descriptor, body: str) -> FieldDescriptor | None:
        if body in ("", "*"):
            return None
        field = message.fields_by_name.get(body)
        if field is None:
            raise ValueError(f"body names {body!r}, which is not a field of {message.full_name}")
        return field

    def _by_form(self, whole: Descriptor) -> bool:
        several = self.body_field is not None and self.body_field.is_repeated
        return not self.raw and not several and Form.takes(whole)

    def _mask_name(self, message: Descriptor) -> str | None:
        field = message.fields_by_name.get("update_mask")
        kind = field.message_type if field is not None and not field.is_repeated else None
        body = self.body_field.message_type if self.body_field else None
        fits = kind is not None and kind.full_name == "google.protobuf.FieldMask"
        return "update_mask" if fits and body is not None and body.full_name not in wellknown.SPECIAL else None

    def _masked(self, fields: dict[str, Any], value: Any) -> dict[str, Any]:
        assert self.body_field is not None
        assert self._mask is not None
        message = self.body_field.message_type
        if type(value) is dict and message is not None:
            return {self._mask: {"paths": list(_paths(message, value, ""))}, **fields}
        return fields


def check_media_type(call: Call, read: Sequence[str] = JSON) -> None:
    """JSON by any of its names, or no name at all. What curl says for want of another is taken with a warning.

    :param read: all that the operation reads, to be told.
    :raises bridge.api.UnsupportedMediaType: it is declared to be something else; ``Accept`` says what is read (RFC
        9110, section 15.5.16).
    """
    declared = call.header("content-type")
    if not declared or declared == "application/json":
        return
    kind = declared.partition(";")[0].strip().lower()
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        return
    if kind == URLENCODED and call.body.lstrip()[:1] in (b"{", b"["):
        call.warnings.append("the body was read as JSON, though declared as a form")
        return
    told = ", ".join(read)
    raise UnsupportedMediaType(f"This operation reads {told}, not {kind[:80]}.", headers=[("accept", told)])


def _paths(message: Descriptor, value: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """The leaves that a JSON object gives, as field mask paths; lists, maps and special types are leaves."""
    names = {field.json_name: field for field in reversed(message.fields)}
    for key, item in value.items():
        field = names.get(key) or message.fields_by_name.get(key)
        if field is None:
            continue
        nested = field.message_type if field.type in MESSAGES and not field.is_repeated else None
        if nested is not None and nested.full_name not in wellknown.SPECIAL and type(item) is dict and item:
            yield from _paths(nested, item, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _in_doubt(_body: bytes) -> bytes:
    """Stands for the fast path while it is off."""
    raise InDoubt
