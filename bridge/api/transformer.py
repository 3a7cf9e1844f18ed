"""The plug-in interface: what a transformer is, receives and returns.

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

All errors that can be detected at bind must be raised there, as `bridge.api.BindError` with file, line and cause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from bridge.api.call import Call, GrpcReply, GrpcRequest, HttpReply, HttpRequest, Reply
from bridge.api.importing import ImportOutput
from bridge.api.service import Service
from bridge.api.stream import StreamCodec
from bridge.api.tls import Tls
from bridge.errors import BindError, Fault, Unreachable

if TYPE_CHECKING:
    from bridge.api.spec.route import RouteSpec


class HttpCodec(Protocol):
    """One unary operation over HTTP: SOAP, XML, plain REST. Both functions are pure and do no I/O."""

    def request(self, call: Call) -> HttpRequest:
        """What to send.

        :raises bridge.api.ClientError: the call can't be translated (`InvalidBody`, `InvalidParameter`); nothing is
            sent.
        """
        ...

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """What to answer. A reply with a status of 400 or more does not come here: the gateway answers it with a
        problem (`bridge.api.upstream_error`), unless the codec has a true `handles_errors`.

        :raises bridge.api.UpstreamFault: the service refused; carries the status and the ``fault`` member.
        :raises bridge.api.BadReply: the answer can't be parsed.
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


# --- what a transformer publishes --------------------------------------------------------------------------------


@dataclass(slots=True)
class OperationDoc:
    """One operation's part of the OpenAPI 3.1 document.

    `operation` is an Operation Object without ``security``, ``tags`` and the gateway's own problem responses, which
    the gateway adds. The schema of an ``application/problem+json`` response says what it adds to the gateway's
    ``Problem``. `schemas` are the components it refers to as ``#/components/schemas/NAME``; the gateway renames them
    if two operations use one name for different schemas.
    """

    operation: dict[str, Any]
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


@dataclass(frozen=True, slots=True)
class Operation:
    """One published method and path, and the codec behind it.

    :ivar name: unique in its route; a plain word for logs and ``operationId``.
    :ivar method: ``GET``, ``POST``, … or ``*`` for every method that no other operation of the route has. With
        `bridge.api.WEBSOCKET` and a unary HTTP codec, the frames of a client's WebSocket go to one of the service, and
        back: ``request`` is the handshake, ``reply`` is for a service that refuses it.
    :ivar path: template below the route's own path: ``""`` for the route itself, else it starts with ``/``.
        ``{name}`` is one segment, ``{name*}`` the rest (last, may be followed by ``:verb``); a last segment may end
        in ``:verb``.
    :ivar codec: translates calls; None: the operation streams, and fronts create its codecs from `service`.
    :ivar describe: returns the OpenAPI part; called when a document is requested, not at bind.
    :ivar upstream_name: the operation's name on the upstream side, for the log: ``checkVat``, ``/pkg.Svc/Method``.
    :ivar service: for further client protocols; None: there are none.
    :ivar ignored_query: names of query parameters that are taken out of each request before the codec, the log or the
        upstream gets them.
    """

    name: str
    method: str
    path: str
    codec: HttpCodec | GrpcCodec | StreamCodec | None
    describe: Callable[[], OperationDoc]
    upstream_name: str = ""
    service: Service | None = None
    ignored_query: frozenset[str] = frozenset()


class Options(BaseModel):
    """The base of every transformer's options: strict, frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CallStream(Protocol):
    """One gRPC call, of any cardinality, that a plug-in sends while it binds. Messages are serialised."""

    async def write(self, message: bytes) -> None:
        """Send one message; waits while the service does not read. Does nothing after the call has ended."""
        ...

    async def end(self) -> None:
        """No further message is sent."""
        ...

    async def read(self) -> bytes | None:
        """The next message; None after the last one."""
        ...

    async def status(self) -> GrpcReply:
        """How the call ended. A lost connection and a reply that is not gRPC are statuses, too."""
        ...


#: Opens a call of one instance: ``await open_stream("/package.Service/Method")``.
OpenStream = Callable[[str], Awaitable[CallStream]]
T = TypeVar("T")


class GrpcCall(Protocol):
    """``await context.call("tally-svc", "50051", talk, timeout=4, max_message=2**20)``"""

    async def __call__(
        self,
        name: str,
        port: str,
        talk: Callable[[OpenStream], Awaitable[T]],
        *,
        timeout: float,  # noqa: ASYNC109  # it bounds more than one await
        max_message: int,
        tls: Tls | None = None,
    ) -> T:
        """The result of `talk`, which is called with one instance of the service after another until it returns.

        :param name, port: the service's name and port in the mesh, as in a route's ``upstream``.
        :param timeout: seconds for everything: to find the service, to connect and to talk.
        :param max_message: bytes of one message of the service.
        :param tls: the files of the route's ``connection``; None for a connection without TLS.
        :raises bridge.api.Unreachable: the service has no address, or `talk` did not return in time.
        :raises Exception: what `talk` raised for the last instance.
        """
        ...


#: Fetches a document by URL, with credentials that only its origin gets: ``await fetch(url, headers) -> bytes``.
Fetch = Callable[[str, Mapping[str, str]], Awaitable[bytes]]


async def fetch_nothing(url: str, headers: Mapping[str, str]) -> bytes:
    """:raises bridge.api.BindError: always."""
    raise BindError(Fault("nothing is fetched by URL here", file=url))


async def call_nothing(*_target: object, **_options: object) -> NoReturn:
    """:raises bridge.api.Unreachable: always."""
    raise Unreachable(Fault("no service is called here", ("upstream",)))


@dataclass(frozen=True, slots=True)
class Context:
    """What the gateway provides to an open transformer.

    :ivar wsdl_dir: the folder of relative WSDL names.
    :ivar proto_dir: the folder of relative ``.proto`` and descriptor set names; nothing outside it is read.
    :ivar call: calls gRPC services at bind (server reflection).
    :ivar fetch: documents by URL (`bridge.api.Fetched`), within the gateway's limits on destination, size and time. It
        raises `bridge.api.FetchError`. A plug-in opens no connections itself.
    :ivar output: what an import command adds to; used by `bridge.api.capabilities.Importing` only.
    """

    wsdl_dir: Path
    proto_dir: Path
    fetch: Fetch = fetch_nothing
    call: GrpcCall = call_nothing
    output: ImportOutput = field(default_factory=ImportOutput)


Options_contra = TypeVar("Options_contra", bound=Options, contravariant=True)


class Transformer(Protocol[Options_contra]):
    """A plug-in: found by its entry point in the group ``bridge.transformers``, created once without arguments.

    :cvar name: what a spec writes under ``transform.request``; the entry point's name must be the same.
    :cvar wire: the protocol of its upstream, ``http`` or ``grpc``; the scheme in a spec's ``upstream`` must match it.
    :cvar options: the typed model of the value under its name in a spec's ``transform``.
    """

    name: ClassVar[str]
    wire: ClassVar[str]
    options: ClassVar[type[Options]]

    async def open(self, context: Context) -> None:
        """Receive the context. Called once, before the first bind."""
        ...

    async def bind(self, route: RouteSpec, options: Options_contra) -> Sequence[Operation]:
        """Compile a route's operations. Long work belongs in ``asyncio.to_thread``.

        The gateway keeps only operations whose method is in the route's ``methods``, if it has any.

        :raises bridge.api.BindError: with file, line and cause.
        """
        ...

    async def aclose(self) -> None:
        """Release all resources; must work after `open` failed halfway."""
        ...
