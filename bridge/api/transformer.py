"""The plug-in interface: what a transformer is, what it is given, what it gives back.

A transformer turns one published call into one upstream call and the answer back again. It does no I/O while it
serves: an operation is **two pure functions**, ``request`` (a `Call` to an outbound message) and ``reply`` (the
inbound message to a `Reply`). The gateway does all sending, timing, retrying and logging between the two. So a codec
can be tested with values alone, ``explain`` shows exactly what would be sent, and translation time is measured for
every plug-in alike.

::

    open(context) ── bind(route, options) ──> [Operation, …]          once, when a route is loaded
                                                   │
              Call ── operation.codec.request ──> HttpRequest | GrpcRequest       for each request
             Reply <── operation.codec.reply ──── HttpReply   | GrpcReply

Whatever can fail at bind must fail at bind, as `bridge.api.BindError` with file, line and cause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from bridge.api.call import Call, GrpcReply, GrpcRequest, HttpReply, HttpRequest, Reply
from bridge.api.service import Service
from bridge.api.stream import StreamCodec
from bridge.errors import BindError, Fault

if TYPE_CHECKING:
    from bridge.api.route_spec import RouteSpec


class HttpCodec(Protocol):
    """One unary operation over HTTP: SOAP, XML, plain REST. Both functions are pure and do no I/O."""

    def request(self, call: Call) -> HttpRequest:
        """What to send.

        :raises bridge.api.ClientError: the call can't be translated (`InvalidBody`, `InvalidParameter`); nothing is
            sent.
        """
        ...

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """What to answer.

        :raises bridge.api.UpstreamFault: the service refused; carries the status and the ``fault`` member.
        :raises bridge.api.BadReply: the answer can't be read.
        """
        ...


class GrpcCodec(Protocol):
    """One unary operation over gRPC. Both functions are pure and do no I/O; they raise as `HttpCodec`'s do."""

    def request(self, call: Call) -> GrpcRequest:
        """What to send."""
        ...

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        """What to answer; a `GrpcReply.code` other than 0 becomes `bridge.api.UpstreamFault` with the ``grpc``
        member."""
        ...


class Weighing(Protocol):
    """What a unary codec may have beside its two functions.

    They are called in the event loop where the message is small, and in a thread where it is large: then they must not
    touch what calls share, unless that bears several threads. A codec that passes bytes on without a look at them needs
    no thread for it.
    """

    def weighs(self, message: Call | HttpReply | GrpcReply) -> int:
        """Bytes of `message`, which is a large one, that are worked on."""
        ...


# --- what a transformer publishes --------------------------------------------------------------------------------


@dataclass(slots=True)
class OperationDoc:
    """One operation's part of the OpenAPI 3.1 document.

    `operation` is an Operation Object without ``security``, ``tags`` and the gateway's own problem responses, which
    the gateway adds. `schemas` are the components it refers to as ``#/components/schemas/NAME``; the gateway renames
    them where two operations use one name for different schemas.
    """

    operation: dict[str, Any]
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


@dataclass(frozen=True, slots=True)
class Operation:
    """One published method and path, and the codec behind it.

    :ivar name: unique in its route; a plain word for logs and ``operationId``.
    :ivar method: ``GET``, ``POST``, … or ``*`` for every method that no other operation of the route takes.
    :ivar path: template below the route's own path: ``""`` for the route itself, else it starts with ``/``.
        ``{name}`` is one segment, ``{name*}`` the rest (last, may be followed by ``:verb``); a last segment may end
        in ``:verb``.
    :ivar codec: translates calls; None: the operation streams, and fronts make its codecs of `service`.
    :ivar describe: makes the OpenAPI part; called when a document is asked for, not at bind.
    :ivar upstream_name: the operation's name on the upstream side, for the log: ``checkVat``, ``/pkg.Svc/Method``.
    :ivar service: what further client protocols are spoken with; None: none is.
    """

    name: str
    method: str
    path: str
    codec: HttpCodec | GrpcCodec | StreamCodec | None
    describe: Callable[[], OperationDoc]
    upstream_name: str = ""
    service: Service | None = None


class Options(BaseModel):
    """The base of every transformer's options: strict, frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


#: Looks a mesh name and port up: ``await resolve("tally-svc", "8080") -> [("10.0.0.7", 8080), …]``.
Resolve = Callable[[str, str], Awaitable[Sequence[tuple[str, int]]]]
#: Fetches a document by URL, with credentials that only its origin gets: ``await fetch(url, headers) -> bytes``.
Fetch = Callable[[str, Mapping[str, str]], Awaitable[bytes]]


async def fetch_nothing(url: str, headers: Mapping[str, str]) -> bytes:
    """:raises bridge.api.BindError: always."""
    raise BindError(Fault("nothing is fetched by URL here", file=url))


@dataclass(frozen=True, slots=True)
class Context:
    """What the gateway lends a transformer while it is open.

    :ivar wsdl_dir: where relative WSDL names are looked up.
    :ivar proto_dir: where relative ``.proto`` and descriptor set names are looked up; nothing outside is read.
    :ivar resolve: live addresses of a mesh name and port, for what must be asked at bind (gRPC reflection).
    :ivar fetch: documents by URL, within the gateway's bounds on where, how much and how long. It raises
        `bridge.api.FetchError`. A plug-in opens no connection of its own.
    """

    wsdl_dir: Path
    proto_dir: Path
    resolve: Resolve
    fetch: Fetch = fetch_nothing


Options_contra = TypeVar("Options_contra", bound=Options, contravariant=True)


class Transformer(Protocol[Options_contra]):
    """A plug-in: found by its entry point in the group ``bridge.transformers``, made once without arguments.

    :cvar name: what a spec writes under ``transform.request``; the entry point's name must be the same.
    :cvar wire: the protocol of its upstream, ``http`` or ``grpc``; the scheme in a spec's ``upstream`` must fit it.
    :cvar options: the typed model of what stands under its name in a spec's ``transform``.
    """

    name: ClassVar[str]
    wire: ClassVar[str]
    options: ClassVar[type[Options]]

    async def open(self, context: Context) -> None:
        """Take what the gateway lends. Called once, before the first bind."""
        ...

    async def bind(self, route: RouteSpec, options: Options_contra) -> Sequence[Operation]:
        """Compile a route's operations. Long work belongs in ``asyncio.to_thread``.

        The gateway keeps only operations whose method is in the route's ``methods`` where it names any.

        :raises bridge.api.BindError: with file, line and cause.
        """
        ...

    async def aclose(self) -> None:
        """Give back what was taken; must work after a half-failed `open`."""
        ...
