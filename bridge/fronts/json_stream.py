"""A stream of JSON messages: one call's translation, whatever its client's protocol is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.api.call import JSON_TYPE, GrpcReply, GrpcRequest, Reply
from bridge.api.front import StreamFormat
from bridge.api.service import Metadata, Service, TextReader
from bridge.errors import InvalidBody
from bridge.fronts.json_texts import Cutter


class Raw(StreamFormat):
    """The bytes of raw replies, one after another; the media type is the first one's. An error can't be told in them:
    the response is broken off."""

    def __init__(self) -> None:
        self.headers = []

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return b""


class JsonStream:
    """`bridge.api.stream.StreamTranslation`.

    :param format: of the reply.
    :param texts: cuts what the client sends into texts; None: `request` holds the one message.
    :param read: makes a message of a text (`bridge.api.service.Service.reader`).
    :param once: the first text is the only one.
    """

    __slots__ = (
        "_count", "_format", "_once", "_read", "_service", "_texts", "_texts_read", "answers_once", "head_first",
        "heartbeat", "request", "sends",
    )  # fmt: skip

    def __init__(
        self,
        service: Service,
        request: GrpcRequest,
        format: StreamFormat,
        *,
        texts: Cutter | None = None,
        read: TextReader | None = None,
        once: bool = False,
        answers_once: bool = False,
        head_first: bool = False,
    ) -> None:
        self._service, self.request, self._format = service, request, format
        self._texts, self._read, self._once = texts, read, once
        self._texts_read = self._count = 0
        self.sends = texts is not None
        self.answers_once, self.head_first, self.heartbeat = answers_once, head_first, format.heartbeat

    # --- up ----------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        return self._texts.pending if self._texts else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        assert self._texts is not None
        for text in self._texts.feed(data):
            yield self._message(text)

    def finish(self) -> Iterator[bytes]:
        assert self._texts is not None
        for text in self._texts.finish():
            yield self._message(text)
        if self._once and not self._texts_read:
            yield self._message(b"")

    def _message(self, text: bytes) -> bytes:
        assert self._read is not None
        number, self._texts_read = self._texts_read, self._texts_read + 1
        if self._once:
            self.sends = False
        try:
            return self._read(text, first=not number)
        except InvalidBody as error:
            if self._once:
                raise
            raise InvalidBody([(f"/{number}{pointer}", reason) for pointer, reason in error.errors]) from None

    # --- down --------------------------------------------------------------------------------------------------------

    def head(self, metadata: Metadata) -> Reply:
        format = self._format
        return Reply(200, [*format.headers, *self._service.returned(metadata, ())], format.opening)

    def message(self, message: bytes) -> bytes:
        service, format = self._service, self._format
        self._count += 1
        if service.raw_reply:
            content_type, data = service.octets(message)
            if self._count == 1:
                format.headers = [("content-type", content_type)]
            return data
        text = service.write_json(message)
        if not format.id_field:
            return format.message(text)
        id = service.event_id(message)
        return format.message(text, str(self._count) if id is None else id)

    def end(self, inbound: GrpcReply) -> bytes:
        if inbound.code:
            raise self._service.fault(inbound)
        return self._format.end()

    def fail(self, problem: Mapping[str, Any]) -> bytes:
        return self._format.error(problem)

    def reply(self, inbound: GrpcReply) -> Reply:
        service = self._service
        fields = service.returned(inbound.metadata, inbound.trailers)
        if inbound.code:
            raise service.fault(inbound, fields)
        if service.raw_reply:
            content_type, body = service.octets(inbound.message)
            return Reply(200, [("content-type", content_type), *fields], body)
        return Reply(200, [JSON_TYPE, *fields], service.write_json(inbound.message))
