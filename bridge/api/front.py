"""A front: one client protocol, in front of any service. It knows framing, media types, heartbeats and error bodies of
its protocol, and nothing of schemas. Fronts enter as transformers do, by an entry point in ``bridge.fronts``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

import orjson

from bridge.api.call import JSON_TYPE, Call, GrpcReply, GrpcRequest, Reply
from bridge.api.service import Service
from bridge.api.stream import StreamTranslation
from bridge.api.transformer import Operation


class StreamFormat:
    """How one reply that streams JSON is written, made anew for each; texts are JSON on one line. This one adds nothing
    to them; others derive from it.

    :cvar id_field: the request's field by which a client that comes back names the last message that it has read;
        ``""``: messages have no ids.
    :ivar headers: the response's fields.
    :ivar opening: what comes before the first message.
    :ivar heartbeat: what may be sent while no message comes; ``b""``: nothing may.
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
        """What ends a stream that failed: `problem` is the problem+json object. ``b""``: the format can't say it."""
        return orjson.dumps({"error": problem})


MakeFormat = Callable[[Service], StreamFormat]


class Form(Protocol):
    """A protocol in one of its forms, for calls of a service at its own path. Stateless."""

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
        """`problem` as the protocol tells it, with the fields of `reply`, which holds it as problem+json. Never
        raises."""
        ...


class Front:
    """The base of every front: made once without arguments, and used for all calls.

    :cvar name: the entry point's name.
    :cvar forms: media type of a request -> the form of the protocol that it declares.
    :cvar marks: a header field -> the form that a request with the type ``application/json`` has with it.
    :cvar formats: media type -> what makes the format of a reply that streams, where ``Accept`` prefers it.
    :cvar timeouts: a header field (lower case) by which clients of the protocol say how long they wait -> its reader,
        which gives seconds and raises `bridge.api.ClientError`. The fields count for every route.
    :cvar rank: its formats are preferred to those of a higher rank where ``Accept`` leaves it open.
    """

    name: ClassVar[str] = ""
    forms: ClassVar[Mapping[str, Form]] = {}
    marks: ClassVar[Mapping[tuple[str, str], Form]] = {}
    formats: ClassVar[Mapping[str, MakeFormat]] = {}
    timeouts: ClassVar[Mapping[str, Callable[[str], float]]] = {}
    rank: ClassVar[int] = 0

    def operations(self, operation: Operation, service: Service) -> Iterable[Operation]:
        """Further methods by which `operation` is called in this protocol. Names and paths that are taken already are
        left to the caller."""
        return ()
