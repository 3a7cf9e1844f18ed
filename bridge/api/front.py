"""A front: one client protocol, in front of any service. It handles framing, media types, heartbeats and error bodies
of its protocol, and no schemas. Fronts are registered as transformers are, by an entry point in ``bridge.fronts``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

import orjson

from bridge.api.call import JSON_TYPE, Call, GrpcReply, GrpcRequest, Reply
from bridge.api.service import Service
from bridge.api.stream import StreamTranslation
from bridge.api.transformer import Operation


class StreamFormat:
    """How one streaming reply of JSON is written; one object per reply. Texts are JSON on one line. This base class
    sends them unchanged; others derive from it.

    :cvar id_field: the request's field in which a reconnecting client names the last message that it has read;
        ``""``: messages have no ids.
    :ivar headers: the response's fields.
    :ivar opening: the bytes before the first message.
    :ivar heartbeat: the bytes to send while there is no message; ``b""``: none.
    """

    id_field: ClassVar[str] = ""
    opening = b""
    heartbeat = b""

    def __init__(self, content_type: str = "") -> None:
        # Proxies must neither store nor buffer a stream.
        live = [("content-type", content_type), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
        self.headers: list[tuple[str, str]] = live if content_type else [JSON_TYPE]

    def message(self, text: bytes, id: str = "") -> bytes:
        return text

    def end(self) -> bytes:
        return b""

    def error(self, problem: Mapping[str, Any]) -> bytes:
        """The end of a failed stream: `problem` is the problem+json object. ``b""``: the format can't express it."""
        return orjson.dumps({"error": problem})


MakeFormat = Callable[[Service], StreamFormat]


class Form(Protocol):
    """One form of a protocol, for calls of a service at its own path. Stateless."""

    def request(self, call: Call, service: Service) -> GrpcRequest:
        """A unary call.

        :raises bridge.api.ClientError: it can't be read.
        """
        ...

    def reply(self, call: Call, service: Service, inbound: GrpcReply) -> Reply:
        """A unary call's reply, whatever its status.

        :raises bridge.api.BadReply: the upstream's message can't be read.
        """
        ...

    def open(self, call: Call, service: Service) -> StreamTranslation:
        """A streaming call.

        :raises bridge.api.ClientError: it can't be read.
        """
        ...

    def refusal(self, call: Call, service: Service, problem: Mapping[str, Any], reply: Reply) -> Reply:
        """`problem` in the protocol's format, with the fields of `reply`, which has it as problem+json. Never
        raises."""
        ...


class Front:
    """The base of every front: created once without arguments, and used for all calls.

    :cvar name: the entry point's name.
    :cvar forms: media type of a request -> the form of the protocol that it declares.
    :cvar marks: a header field -> the form that a request with the type ``application/json`` has with it.
    :cvar formats: media type -> factory of the format of a streaming reply, if ``Accept`` prefers it.
    :cvar timeouts: a header field (lower case) in which clients of the protocol state a timeout -> its parser,
        which returns seconds and raises `bridge.api.ClientError`. The fields apply to every route.
    :cvar own_statuses: clients read a call's status in this protocol only, so that calls for which nothing is published
        are refused in its `forms`, too.
    :cvar rank: its formats are preferred to those of a higher rank if ``Accept`` has no preference.
    """

    name: ClassVar[str] = ""
    forms: ClassVar[Mapping[str, Form]] = {}
    marks: ClassVar[Mapping[tuple[str, str], Form]] = {}
    formats: ClassVar[Mapping[str, MakeFormat]] = {}
    timeouts: ClassVar[Mapping[str, Callable[[str], float]]] = {}
    own_statuses: ClassVar[bool] = False
    rank: ClassVar[int] = 0

    def operations(self, operation: Operation, service: Service) -> Iterable[Operation]:
        """Further methods by which `operation` is called in this protocol. The caller resolves names and paths that are
        already in use."""
        return ()
