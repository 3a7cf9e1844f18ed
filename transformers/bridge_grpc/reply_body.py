"""The body of a reply: a message of the service as JSON, or the bytes of a ``google.api.HttpBody`` as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from bridge.api import JSON_TYPE, BadReply, Reply
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.codec.large import LARGE
from bridge_grpc.codec.scalars import FieldValueError
from bridge_grpc.mapping.forms import HTTP_BODY
from bridge_grpc.mapping.success import Success

BODILESS = frozenset({204, 205})  #: statuses without a body
SUCCESS = Success()
_OCTETS = "application/octet-stream"


class ReplyBody:
    """Compiled from the reply message and the rule's ``response_body``.

    :param response_body: the field of the reply that is the HTTP body; ``""`` for the whole reply.
    :param success: the response's status; with 204 and 205 there is no body (RFC 9110, sections 15.3.5 and 15.3.6).
    :ivar raw: whether the body is a ``google.api.HttpBody``'s.
    :raises ValueError: `response_body` is not a field of `output`; the message says so.
    """

    __slots__ = ("_body", "_large", "_location", "_parse", "_status", "_text", "raw")

    def __init__(self, output: Descriptor, response_body: str, encoders: Encoders, success: Success = SUCCESS) -> None:
        self._status, self._location = success
        self._parse: Callable[[bytes], Any] = GetMessageClass(output).FromString
        self._body = response_body
        self._large: Callable[[bytes], bytes] | None
        if not response_body:
            self._text = encoders.text(output)
            self._large = encoders.large_text(output)
            self.raw = output.full_name == HTTP_BODY
            return
        self._large = None
        field = output.fields_by_name.get(response_body)
        if field is None:
            raise ValueError(f"response_body names {response_body!r}, which is not a field of {output.full_name}")
        self._text = encoders.field_text(field)
        message = field.message_type
        self.raw = message is not None and message.full_name == HTTP_BODY and not field.is_repeated

    def reply(self, wire: bytes) -> Reply:
        """:raises bridge.api.BadReply: it isn't the schema's message, or has no JSON."""
        if self._status in BODILESS:
            return Reply(self._status)
        if self.raw:
            content_type, data = self.octets(wire)
            return Reply(self._status, [("content-type", content_type)], data)
        return Reply(self._status, [JSON_TYPE], self.text(wire))

    def located(self, wire: bytes) -> Reply:
        """As `reply`, with the Location field of what was created, if the message says where it is."""
        reply = self.reply(wire)
        assert self._location is not None
        location = self._location.of(self._parse(wire))
        if location is not None:
            reply.headers.append(("location", location))
        return reply

    def text(self, wire: bytes) -> bytes:
        """JSON on one line.

        :raises bridge.api.BadReply: as `reply`.
        """
        try:
            return self._text(wire) if len(wire) <= LARGE or self._large is None else self._large(wire)
        except (DecodeError, FieldValueError, orjson.JSONEncodeError, RecursionError) as error:
            raise _unreadable(error) from None

    def octets(self, wire: bytes) -> tuple[str, bytes]:
        """Content type and bytes (``google/api/httpbody.proto``).

        :raises bridge.api.BadReply: as `reply`.
        """
        try:
            message = self._parse(wire)
        except DecodeError as error:
            raise _unreadable(error) from None
        if self._body:
            message = getattr(message, self._body)
        content_type = message.content_type or _OCTETS
        return content_type if content_type.isascii() and content_type.isprintable() else _OCTETS, message.data


def _unreadable(error: Exception) -> BadReply:
    if isinstance(error, DecodeError):
        return BadReply("The service's answer is not the message that its schema says.", cause=str(error))
    return BadReply(f"The service's answer can't be written as JSON: {error}.", cause=str(error))
