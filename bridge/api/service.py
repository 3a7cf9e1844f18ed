"""A service: one bound method of a contract, as fronts use it. It names no client protocol.

A front parses the client's protocol and gets messages from the service; the service knows the schema, and uses no
header, media type or framing. Messages are serialised for the upstream (protobuf); texts are JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from bridge.api.call import Call, GrpcReply, GrpcRequest, Headers
from bridge.errors import UpstreamFault

Metadata = Sequence[tuple[str, str | bytes]]


class StatusDetail(NamedTuple):
    """One typed detail of a status.

    :ivar type: full name of its message.
    :ivar value: the serialised message.
    :ivar json: its fields as JSON; None where the schema doesn't know the type.
    """

    type: str
    value: bytes
    json: Mapping[str, Any] | None


class TextReader(Protocol):
    """``read(text, first=…)``: a serialised message; `first`: whether the text is the first of its stream."""

    def __call__(self, text: bytes, /, *, first: bool) -> bytes: ...


class Service(Protocol):
    """:ivar path: the method's name upstream: ``/package.Service/Method``.
    :ivar safe: the method only reads.
    :ivar own_path: the method is published at `path`, its message is the whole body and its answer the whole reply. RPC
        protocols are supported at such paths only.
    :ivar takes_body: the operation has a body; path and query don't hold the whole message.
    :ivar raw_request: the body is bytes with a media type, not JSON. :ivar raw_reply: so is the reply.
    :ivar resumable: a client may resume a stream after a certain message (`message`).
    :ivar reconnect_after: milliseconds after which a client that lost a stream may reconnect.
    :ivar caching: header fields that tell caches what a reply depends on.
    :ivar secrets: texts in requests that ``explain`` must mask.
    """

    path: str
    client_streaming: bool
    server_streaming: bool
    safe: bool
    own_path: bool
    takes_body: bool
    raw_request: bool
    raw_reply: bool
    resumable: bool
    reconnect_after: int
    caching: Sequence[tuple[str, str]]

    @property
    def secrets(self) -> Collection[str]: ...

    def show(self, outbound: GrpcRequest) -> str:
        """The message of `outbound` as text, for ``explain``; secrets masked."""
        ...

    # --- requests --------------------------------------------------------------------------------------------------

    def outgoing(self, call: Call, message: bytes = b"") -> GrpcRequest:
        """The upstream request that carries `message`.

        :raises bridge.api.ClientError: the call lacks metadata that the route requires.
        """
        ...

    def message(self, call: Call, *, resume: tuple[str, str] | None = None) -> bytes:
        """The message of path, query and the whole body.

        :param resume: the client's name for the id of the last message that it has read, and that id.
        :raises bridge.api.ClientError: they can't be parsed.
        """
        ...

    def reader(self, call: Call, *, frames: bool = False) -> TextReader:
        """A function that builds a message from one text of a client's stream and from path and query.

        :param frames: each text is a whole message, even where the operation has no body.
        :raises bridge.api.ClientError: path or query can't be parsed. The function raises the same for the text.
        """
        ...

    def read_json(self, text: bytes, /) -> bytes:
        """The message of a JSON text; only with `own_path`.

        :raises bridge.api.InvalidBody: it does not match the schema.
        """
        ...

    def completing(self, call: Call, /) -> Callable[[bytes], bytes]:
        """A function that adds the fields of path and gateway to a client's message; only with `own_path`.

        :raises bridge.api.ClientError: path or caller lack them. The function raises the same if it must parse the
            message and can't.
        """
        ...

    # --- replies ---------------------------------------------------------------------------------------------------

    def write_json(self, message: bytes, /) -> bytes:
        """A message of the upstream as JSON on one line.

        :raises bridge.api.BadReply: it can't be read.
        """
        ...

    def octets(self, message: bytes, /) -> tuple[str, bytes]:
        """Media type and bytes of a message; only with `raw_reply`.

        :raises bridge.api.BadReply: it can't be read.
        """
        ...

    def event_id(self, message: bytes, /) -> str | None:
        """The id by which a client resumes after a message; None if the route defines none."""
        ...

    def returned(self, metadata: Metadata, trailers: Metadata) -> list[tuple[str, str]]:
        """The fields of the upstream's metadata and trailers that clients get. A front whose protocol separates the two
        passes one at a time."""
        ...

    # --- statuses --------------------------------------------------------------------------------------------------

    def fault(self, inbound: GrpcReply, fields: Sequence[tuple[str, str]] = ()) -> UpstreamFault:
        """The problem for a status that isn't OK, with `fields` for the response."""
        ...

    def details(self, inbound: GrpcReply) -> Sequence[StatusDetail]:
        """The typed details of a status. Those that can't be parsed are left out."""
        ...

    def status(self, code: int, problem: Mapping[str, Any], headers: Headers = ()) -> GrpcReply:
        """The status with the code `code` for a problem of the gateway, with typed details. Never raises.

        :param problem: the problem+json object.
        :param headers: the fields of its response.
        """
        ...
