"""The request side of one rule: path, query and body to one message, as ``google/api/http.proto`` divides them.

1. Fields in the path template come from the path.
2. ``body`` names what comes from the body: ``*`` for all fields that aren't in the path, a name for that field alone,
   empty for no body.
3. All others are query parameters, named by their field path; with ``body: "*"`` there are none.

In addition, a client can't set fields that the spec's ``fields`` set: they replace what a body contains.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError

from bridge.api import (
    FAST_PATHS,
    JSON_TYPES,
    URLENCODED,
    Call,
    Enough,
    FaultList,
    InvalidBody,
    InvalidParameter,
    declared_as_form,
    media_type,
    parse_json,
    require_json,
)
from bridge_grpc.codec import json_body, wellknown
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.element import DOUBT, Element
from bridge_grpc.codec.scalars import MESSAGES, FieldValueError, InDoubt
from bridge_grpc.mapping.forms import HTTP_BODY, MULTIPART, Form
from bridge_grpc.mapping.forms import kind_of as form_kind
from bridge_grpc.mapping.http_rule import Capture
from bridge_grpc.mapping.parameters import Parameters, Target, resolve
from bridge_grpc.mapping.value_sources import ValueSources, place

#: Fields and their values, from path, query and the spec's ``fields``.
FieldValues = list[tuple[Target, Any]]


class FieldConflictError(ValueError):
    """A path sets a field that the spec's ``fields`` set, too. That is a fault of the spec."""


class Binding:
    """Compiled from one rule; a request needs only `serialise`.

    :param message: the request message.
    :param captures: the path's variables.
    :param body: ``""``, ``*`` or a field of `message`.
    :param sources: the fields that the spec sets; None for none.
    :param patch: whether a missing ``update_mask`` is set from the body's fields (PATCH with a body field).
    :param items: whether the query gives items of repeated messages.
    :raises ValueError: a variable or the body can't be bound; the message says why.
    """

    def __init__(
        self,
        message: Descriptor,
        captures: Sequence[Capture],
        body: str,
        decoders: Decoders,
        *,
        sources: ValueSources | None = None,
        ignore: bool = False,
        patch: bool = False,
        items: bool = False,
        strict: bool = False,
    ) -> None:
        self.message = message
        self.sources = sources or ValueSources(message, (), decoders)
        self.captures = tuple((capture, self._variable(message, capture, decoders)) for capture in captures)
        self.body = body
        self._reader = decoders.reader(message)
        self._wire: Callable[[bytes], bytes] | None = None
        if body == "*":
            self._wire = decoders.wire(message) if FAST_PATHS else _in_doubt
        self._ignore, self._strict = ignore, strict
        self.body_field = self._body_field(message, body)
        self._element: Element | None = decoders.field(self.body_field) if self.body_field else None
        path_fields = {target.path for _, target in self.captures}
        for path in path_fields & self.sources.paths:
            raise FieldConflictError(f"both the path and the spec's fields fill {'.'.join(path)!r}")
        self.query = (
            None
            if body == "*"
            else Parameters(message, path_fields, self.body_field, decoders, self.sources.paths, items=items)
        )
        # HttpBody (google/api/httpbody.proto) takes the body as it is, whatever its type.
        body_message = self.body_field.message_type if self.body_field else message if body == "*" else None
        self.raw = body_message is not None and body_message.full_name == HTTP_BODY
        #: Reads forms; None if the body is not a message, or one that a form can't express.
        self.form = (
            Form(body_message, decoders, ignore=ignore)
            if body_message is not None and self._by_form(body_message)
            else None
        )
        self._mask = self._mask_name(message) if patch and self.body_field else None

    def serialise(self, call: Call) -> bytes:
        """The request message on the wire.

        :raises bridge.api.InvalidParameter: a path or query parameter is unknown or has a wrong value.
        :raises bridge.api.Forbidden: the caller lacks a claim that sets a field.
        :raises bridge.api.InvalidBody: the body is invalid; all faults at once.
        :raises bridge.api.UnsupportedMediaType: the body is declared as neither JSON nor a form.
        """
        return self.complete(call, self.field_values(call))

    def field_values(self, call: Call) -> FieldValues:
        """The fields that path, query and the spec set.

        :raises bridge.api.ClientError: as `serialise`.
        """
        return [*self._parameters(call), *self.sources.read(call)]

    def complete(self, call: Call, values: FieldValues) -> bytes:
        """The message of a complete body. Raises as `serialise`."""
        if call.body and self.body and not self.raw:
            if self.form is not None and form_kind(call):
                return self._read_form(self.form, call, values)
            require_json(call, self._media_types(), strict=self._strict)
        elif call.body and not self.body:
            self._refuse_body(call)
        return self.encode(call.body, values, call)

    def check_stream(self, call: Call) -> None:
        """Check a client's stream of JSON.

        :raises bridge.api.UnsupportedMediaType: it is declared as a form, on a strict route.
        """
        if self._strict and not self.raw and media_type(call.header("content-type")) == URLENCODED:
            raise declared_as_form()

    def _media_types(self) -> Sequence[str]:
        return JSON_TYPES if self.form is None else (*JSON_TYPES, URLENCODED, MULTIPART)

    def encode(self, body: bytes, parameters: FieldValues, call: Call, *, first: bool = True) -> bytes:
        """The message of a body, or of one message of a stream; JSON unless `raw`.

        :param first: in a stream of raw bytes, only the first message has the content type and the parameters.
        :raises bridge.api.InvalidBody: as `serialise`.
        """
        if self.raw:
            arguments: Any = {"content_type": call.header("content-type"), "data": body} if first else {"data": body}
            return self._finish({self.body: arguments} if self.body_field else arguments, parameters if first else [])
        if not body or not self.body:
            return self._finish({}, parameters)
        if len(body) > json_body.LARGE:
            return self._large(body, parameters)
        if self._wire is not None and not parameters:
            return self.from_json(body)
        value = json_body.read(body, bounded=self._reader.bounded)
        try:
            wire = self._finish(self._quick(value), parameters)
        except DOUBT:
            return self._judge(body, parameters)
        return self._readable(body, wire)

    def _large(self, body: bytes, parameters: FieldValues) -> bytes:
        """As `encode`, for a body that is read in slices, and a second time only if it is invalid."""
        value = json_body.read(body)
        try:
            arguments = self._quick(value)
            if any(type(given) in (list, dict) for _, given in parameters):  # they may be the route's own
                wire = self._finish(arguments, parameters)
            else:
                if parameters:
                    arguments = place(self._reader, arguments, parameters)
                wire = self._reader.serialise_large(arguments)
        except (*DOUBT, EncodeError):
            value = arguments = None
            return self._judge(body, parameters, is_valid_json=True)
        return wire if self._reader.bounded or json_body.is_shallow(body) else self._readable(body, wire)

    def from_json(self, text: bytes) -> bytes:
        """The message of a JSON text; only for rules with ``body: "*"``.

        :raises bridge.api.InvalidBody: as `serialise`.
        """
        assert self._wire is not None
        if len(text) > json_body.LARGE:
            return self._large(text, [])
        try:
            wire = self._wire(text)
        except DOUBT:
            return self._judge(text, [])
        return wire if self._reader.bounded else self._readable(text, wire)

    def _readable(self, body: bytes, wire: bytes) -> bytes:
        """`wire`, if a service can read it: protobuf's parsers take `json_body.MAX_MESSAGES` messages in one another.

        :raises bridge.api.InvalidBody: it holds more.
        """
        if json_body.may_nest(body) and not self._reader.readable(wire):
            raise InvalidBody([("", json_body.TOO_MANY_MESSAGES)])
        return wire

    def completing(self, call: Call) -> Callable[[bytes], bytes]:
        """A function that adds the fields of path and spec to each message of a call that is already protobuf.

        :raises bridge.api.ClientError: a variable has a wrong value, or the caller lacks a claim or header.
        """
        values = [*self._parameters(Call(raw_params=call.raw_params)), *self.sources.read(call)]
        if not values:
            return bytes
        if not self.sources.paths:
            # When protobuf merges, the last value wins; only single values are bound to paths.
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
            result = self._reader.decode(value)
            if result is None:
                raise InDoubt
            return result
        kind, read, _, _ = self._element
        result = value if type(value) is kind else read(value)
        fields = {self.body: result}
        return self._with_mask(fields, value) if self._mask else fields

    def _judge(self, body: bytes, parameters: list[tuple[Target, Any]], *, is_valid_json: bool = False) -> bytes:
        """Reads the body again with the judging reader, and raises with all its faults.

        :param is_valid_json: `json_body.read` has accepted it.
        """
        if not is_valid_json:
            json_body.read(body, bounded=self._reader.bounded)  # refuses invalid JSON and duplicate names
        faults = FaultList(json_body.MAX_FAULTS)
        value, arguments = parse_json(body), None
        with contextlib.suppress(Enough):
            if self._element is None:
                arguments = self._reader.judge(value, "", faults)
            elif value is None and not self._element.nullable:
                arguments = {}
            else:
                arguments = {self.body: self._element.judge(value, "", faults)}
                if self._mask and not faults:
                    arguments = self._with_mask(arguments, value)
        if faults:
            raise InvalidBody(json_body.first(faults))
        try:
            wire = self._finish(arguments, parameters)
        except DOUBT as error:  # protobuf refuses it although our own checks passed
            raise InvalidBody([("", _reason(error))]) from None
        return self._readable(body, wire)

    def _read_form(self, form: Form, call: Call, parameters: list[tuple[Target, Any]]) -> bytes:
        arguments, paths = form.read(call)
        if self.body_field is not None:
            arguments = {self.body: arguments}
        if self._mask:
            arguments = {self._mask: {"paths": paths}, **arguments}
        try:
            return self._finish(arguments, parameters)
        except DOUBT as error:  # only protobuf refuses it
            raise InvalidBody([("", _reason(error))]) from None

    def _parameters(self, call: Call) -> Iterator[tuple[Target, Any]]:
        faults = FaultList(json_body.MAX_FAULTS)
        try:
            for capture, target in self.captures:
                try:
                    yield target, target.read(capture.text(call.raw_params))
                except FieldValueError as error:
                    faults.append((".".join(capture.field_path), str(error)))
                except UnicodeDecodeError:
                    faults.append((".".join(capture.field_path), "it is not percent-encoded UTF-8"))
            if call.query:
                if self.query is not None:
                    yield from self.query.read(call.query_params, faults, ignore=self._ignore)
                elif not self._ignore:
                    reason = "there are no query parameters here; all fields go into the body"
                    faults += [(name, reason) for name in dict.fromkeys(name for name, _ in call.query_params)]
        except Enough:
            pass
        if faults:
            raise InvalidParameter(json_body.first(faults))

    def _finish(self, arguments: Any, parameters: list[tuple[Target, Any]]) -> bytes:
        return self._reader.serialise(place(self._reader, arguments, parameters) if parameters else arguments)

    def _refuse_body(self, call: Call) -> None:
        if not self._ignore and call.body.strip() not in (b"", b"{}", b"null"):
            raise InvalidBody([("", "this operation takes no body; its fields are path and query parameters")])

    # --- at bind -------------------------------------------------------------------------------------------------

    @staticmethod
    def _variable(message: Descriptor, capture: Capture, decoders: Decoders) -> Target:
        name = ".".join(capture.field_path)
        target = resolve(message, capture.field_path, decoders)
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

    def _by_form(self, message: Descriptor) -> bool:
        several = self.body_field is not None and self.body_field.is_repeated
        return not self.raw and not several and Form.takes(message)

    def _mask_name(self, message: Descriptor) -> str | None:
        field = message.fields_by_name.get("update_mask")
        kind = field.message_type if field is not None and not field.is_repeated else None
        body = self.body_field.message_type if self.body_field else None
        is_mask = kind is not None and kind.full_name == "google.protobuf.FieldMask"
        return "update_mask" if is_mask and body is not None and body.full_name not in wellknown.SPECIAL else None

    def _with_mask(self, fields: dict[str, Any], value: Any) -> dict[str, Any]:
        assert self.body_field is not None
        assert self._mask is not None
        message = self.body_field.message_type
        if type(value) is dict and message is not None:
            return {self._mask: {"paths": list(_paths(message, value, ""))}, **fields}
        return fields


def _paths(message: Descriptor, value: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """The leaves of a JSON object as field mask paths; lists, maps and special types are leaves."""
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
    """Replaces the fast path when it is off."""
    raise InDoubt


def _reason(error: Exception) -> str:
    """Why protobuf refuses to build a message of values that our own checks have passed."""
    if isinstance(error, DecodeError):  # a message is copied into another one by its serialised form
        return json_body.TOO_MANY_MESSAGES
    return f"the message can't be made of it: {error}"
