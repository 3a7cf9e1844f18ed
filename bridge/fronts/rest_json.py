"""Streams over plain HTTP: JSON messages in the request's body, and a reply in the format that ``Accept`` prefers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from bridge.api.call import Call
from bridge.api.front import Front, MakeFormat, StreamFormat
from bridge.api.media import URLENCODED, begins_as_json, is_json, media_type, read_as_json, unreadable
from bridge.api.service import Service
from bridge.api.stream import StreamTranslation
from bridge.errors import InvalidParameter, NotAcceptable
from bridge.fronts.accept import preferred
from bridge.fronts.json_stream import JsonStream, Raw
from bridge.fronts.json_texts import Pieces, Texts

_SEQUENCES = frozenset(("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq"))
_READ = ("application/json", "application/x-ndjson")  # as refusals list it


class Array(StreamFormat):
    """One JSON array. It is closed in any case; the last item of a stream that failed
    is the error."""

    opening = b"["
    heartbeat = b"\n"

    _between = b""

    def message(self, text: bytes, id: str = "") -> bytes:
        between, self._between = self._between, b","
        return between + text

    def end(self) -> bytes:
        return b"]"

    def error(self, problem: Mapping[str, Any]) -> bytes:
        return self._between + super().error(problem) + b"]"


class RestJson(Front):
    name = "rest_json"
    rank = 2
    formats: ClassVar[Mapping[str, MakeFormat]] = {"application/json": lambda service: Array("application/json")}


class RestStreamCodec:
    """`bridge.api.stream.StreamCodec`.

    :param formats: media type -> what makes the format of a reply; the one that is preferred comes first.
    """

    __slots__ = ("_formats", "_service", "show", "streams_up")

    def __init__(self, service: Service, formats: Mapping[str, MakeFormat]) -> None:
        self._service, self._formats = service, formats
        self.show = service.show
        #: Without a body, path and query make the one message that a request can hold.
        self.streams_up = service.client_streaming and service.takes_body

    @property
    def secrets(self) -> Collection[str]:
        return self._service.secrets

    def open(self, call: Call) -> StreamTranslation:
        service = self._service
        format, once = self._format(call), not service.server_streaming
        if not self.streams_up:
            message = service.message(call, resume=self._last_id(call, format.id_field))
            return JsonStream(service, service.outgoing(call, message), format, answers_once=once)
        texts = Pieces() if service.raw_request else _texts(call)
        request = service.outgoing(call)
        return JsonStream(service, request, format, texts=texts, read=service.reader(call), answers_once=once)

    def _format(self, call: Call) -> StreamFormat:
        """:raises bridge.api.NotAcceptable: ``Accept`` rules all formats out."""
        if not self._service.server_streaming:
            return StreamFormat()
        if self._service.raw_reply:
            return Raw()
        make = preferred(",".join(call.values("accept")), self._formats)
        if make is None:
            raise NotAcceptable(f"This operation streams its answer as one of {', '.join(self._formats)}.")
        return make(self._service)

    def _last_id(self, call: Call, field: str) -> tuple[str, str] | None:
        """The name and value of the request's field with the id of the last message that its client has read."""
        value = call.header(field.lower()) if field and self._service.resumable else ""
        if not value:
            return None
        try:
            # Browsers send it as UTF-8 (HTML, section 9.2.3); fields are read as Latin-1.
            return field, value.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidParameter([(field, "it is not UTF-8")]) from None


def _texts(call: Call) -> Texts:
    """:raises bridge.api.UnsupportedMediaType: the body is declared as neither JSON nor a sequence of it."""
    kind = media_type(call.header("content-type"))
    if not kind or kind in _SEQUENCES or is_json(kind):
        return Texts()
    if kind != URLENCODED:
        raise unreadable(kind, _READ)
    return _TextsDeclaredAsForm(call)


class _TextsDeclaredAsForm(Texts):
    """A body is declared as a form by clients that name no type, such as curl. Its beginning tells JSON from a form."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call, self._judged = call, False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not self._judged and data.lstrip():
            if not begins_as_json(data):
                raise unreadable(URLENCODED, _READ)
            self._judged = True
            read_as_json(self._call)
        yield from super().feed(data)
