"""Whole messages between JSON text and the wire, as both protocols' JSON forms need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from bridge import BadReply, InvalidBody, parse_json
from bridge_grpc.codec import json_body
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.element import DOUBT, Faults
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.codec.scalars import InDoubt, Wrong


def json_reader(message: Descriptor, decoders: Decoders) -> Callable[[bytes], bytes]:
    """JSON text -> the serialised `message`; raises `bridge.InvalidBody` with all that is wrong."""
    reader = decoders.reader(message)

    def read(text: bytes) -> bytes:
        value = json_body.read(text, bounded=reader.bounded)
        try:
            made = reader.decode(value)
            if made is None:
                raise InDoubt
            return reader.serialise(made)
        except DOUBT:
            faults: Faults = []
            made = reader.judge(parse_json(text), "", faults)
        if faults:
            raise InvalidBody(json_body.first(faults))
        try:
            return reader.serialise(made)
        except DOUBT as error:  # what protobuf alone refuses, after all rules of ours have passed
            raise InvalidBody([("", f"the message can't be made of it: {error}")]) from None

    return read


def json_writer(message: Descriptor, encoders: Encoders) -> Callable[[bytes], bytes]:
    """A serialised `message` -> JSON text; raises `bridge.BadReply`."""
    write, parse = encoders.writer(message), GetMessageClass(message).FromString

    def text(data: bytes) -> bytes:
        try:
            made: Any = parse(data)
            return orjson.dumps(write(made))
        except DecodeError as error:
            raise BadReply("The service's answer is not the message that its schema says.", cause=str(error)) from None
        except (Wrong, orjson.JSONEncodeError, RecursionError) as error:
            raise BadReply(f"The service's answer can't be written as JSON: {error}.", cause=str(error)) from None

    return text
