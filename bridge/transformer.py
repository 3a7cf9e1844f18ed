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

Whatever can fail at bind must fail at bind, as `bridge.BindError` with file, line and cause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict

from bridge.errors import InvalidParameter
from bridge.payload import parse_json

if TYPE_CHECKING:
    from bridge.spec import RouteSpec
    from bridge.stream import StreamCodec

#: Header fields in order of arrival; names in lower case, values with no surrounding white space.
Headers = Sequence[tuple[str, str]]


def header(headers: Headers, name: str, default: str = "") -> str:
    """The first value of the field `name` (lower case), or `default`."""
    return next((value for key, value in headers if key == name), default)


def unescaped(text: str, name: str) -> str:
    """`text` of the parameter `name`, percent-decoded (RFC 3986, section 2.5: as UTF-8).

    :raises bridge.InvalidParameter: it is not UTF-8. To put a character in place of what can't be read would lose it.
    """
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidParameter([(name, "it is not percent-encoded UTF-8")]) from None


# --- what comes in and goes out ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling, as the route's auth found it.

    `subject` is the token's ``sub``, the key's owner or ``""``; `claims` is the verified token's payload.
    `key` is what ``per: client`` limits count by: subject, else key, else certificate, else address.
    """

    subject: str = ""
    tenant: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key: str = ""
    internal: bool = False


ANONYMOUS = Identity()


class Call:
    """One request as a transformer sees it. The gateway makes it; a transformer only reads it.

    :ivar method: the HTTP method, upper case.
    :ivar path: the request's path as sent (still percent-encoded), without the query.
    :ivar raw_params: path parameters as sent (still percent-encoded), by template name. ``{name*}`` holds slashes.
    :ivar query: the query string as sent, without ``?``.
    :ivar headers: the request's fields, less the hop-by-hop ones and the credentials that the route's auth consumed.
    :ivar body: the whole body; ``b""`` when there is none.
    :ivar identity: who calls.
    :ivar peer: the caller's address as text, the one behind trusted proxies; for logs and limits.
    :ivar trace_id: 32 hex digits, the same as in the log and on the response.
    :ivar warnings: sentences for the access log, added by ``reply`` when an answer was read with leniency.
    """

    __slots__ = (
        "__dict__",
        "body",
        "headers",
        "identity",
        "method",
        "path",
        "peer",
        "query",
        "raw_params",
        "trace_id",
        "warnings",
    )

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        raw_params: Mapping[str, str] | None = None,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
        identity: Identity = ANONYMOUS,
        peer: str = "",
        trace_id: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.raw_params: Mapping[str, str] = raw_params or {}
        self.query = query
        self.headers = headers
        self.body = body
        self.identity = identity
        self.peer = peer
        self.trace_id = trace_id
        self.warnings: list[str] = []

    @cached_property
    def params(self) -> Mapping[str, str]:
        """Path parameters, percent-decoded.

        :raises bridge.InvalidParameter: one is not UTF-8.
        """
        return {name: unescaped(raw, name) for name, raw in self.raw_params.items()}

    @cached_property
    def query_params(self) -> Sequence[tuple[str, str]]:
        """Query parameters in order, decoded; ``+`` and ``%20`` are both a space. Blank values are kept.

        :raises bridge.InvalidParameter: one is not UTF-8.
        """
        pairs = []
        for part in self.query.split("&"):
            if part:
                name, _, value = part.partition("=")
                name = unescaped(name.replace("+", " "), name)
                pairs.append((name, unescaped(value.replace("+", " "), name)))
        return pairs

    @cached_property
    def json(self) -> Any:
        """The body as JSON (`bridge.parse_json`: every digit kept, the last of duplicate keys counts).

        :raises bridge.InvalidBody: when it isn't JSON or too deep.
        """
        return parse_json(self.body)

    def header(self, name: str, default: str = "") -> str:
        """The first value of the request field `name` (lower case)."""
        return header(self.headers, name, default)


@dataclass(slots=True)
class HttpRequest:
    """What goes up over HTTP. `path` starts with ``/`` and holds the query; framing, Host and trace fields are the
    gateway's business and are refused here."""

    method: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""
    #: Undo the reply's content-coding (gzip, deflate), within the size limit. Passthrough wants the bytes as sent.
    decode: bool = True


@dataclass(slots=True)
class HttpReply:
    """What came back over HTTP. With `HttpRequest.decode`, the body's content-coding is already undone."""

    status: int
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Retry:
    """When a call is sent again: gRFC A6, ``retryPolicy``.

    :ivar max_attempts: the first one counts.
    :ivar initial_backoff: seconds, and so is `max_backoff`; each wait is `multiplier` times the one before it.
    :ivar codes: the statuses after which it is.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    multiplier: float
    codes: frozenset[int]


@dataclass(slots=True)
class GrpcRequest:
    """What goes up over gRPC: ``/package.Service/Method``, the serialised message, ASCII or ``-bin`` metadata.

    `timeout` are seconds where the method has fewer than the route; `retry` is for calls of one message alone.
    """

    path: str
    message: bytes
    metadata: list[tuple[str, str | bytes]] = field(default_factory=list[tuple[str, str | bytes]])
    timeout: float | None = None
    retry: Retry | None = None


@dataclass(slots=True)
class GrpcReply:
    """What came back over gRPC. `code` 0 is OK and `message` the serialised reply; otherwise `detail` is the status
    message and `status_details` the serialised ``google.rpc.Status`` of ``grpc-status-details-bin``."""

    code: int
    message: bytes = b""
    detail: str = ""
    status_details: bytes = b""
    metadata: Sequence[tuple[str, str | bytes]] = ()
    trailers: Sequence[tuple[str, str | bytes]] = ()


@dataclass(slots=True)
class Reply:
    """What the client gets. `headers` must name its ``content-type`` when there is a body."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""


JSON_TYPE = ("content-type", "application/json")


class HttpCodec(Protocol):
    """One unary operation over HTTP: SOAP, XML, plain REST. Both functions are pure and do no I/O."""

    def request(self, call: Call) -> HttpRequest:
        """What to send.

        :raises bridge.ClientError: the call can't be translated (`InvalidBody`, `InvalidParameter`); nothing is sent.
        """
        ...

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """What to answer.

        :raises bridge.UpstreamFault: the service refused; carries the status and the ``fault`` member.
        :raises bridge.BadReply: the answer can't be read.
        """
        ...


class GrpcCodec(Protocol):
    """One unary operation over gRPC. Both functions are pure and do no I/O; they raise as `HttpCodec`'s do."""

    def request(self, call: Call) -> GrpcRequest:
        """What to send."""
        ...

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        """What to answer; a `GrpcReply.code` other than 0 becomes `bridge.UpstreamFault` with the ``grpc`` member."""
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
    :ivar codec: the two pure functions.
    :ivar describe: makes the OpenAPI part; called when a document is asked for, not at bind.
    :ivar upstream_name: the operation's name on the upstream side, for the log: ``checkVat``, ``/pkg.Svc/Method``.
    """

    name: str
    method: str
    path: str
    codec: HttpCodec | GrpcCodec | StreamCodec
    describe: Callable[[], OperationDoc]
    upstream_name: str = ""


class Options(BaseModel):
    """The base of every transformer's options: strict, frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


#: Looks a mesh name and port up: ``await resolve("tally-svc", "8080") -> [("10.0.0.7", 8080), …]``.
Resolve = Callable[[str, str], Awaitable[Sequence[tuple[str, int]]]]


@dataclass(frozen=True, slots=True)
class Context:
    """What the gateway lends a transformer while it is open.

    :ivar wsdl_dir: where relative WSDL names are looked up.
    :ivar proto_dir: where relative ``.proto`` and descriptor set names are looked up; nothing outside is read.
    :ivar resolve: live addresses of a mesh name and port, for what must be asked at bind (gRPC reflection).
    """

    wsdl_dir: Path
    proto_dir: Path
    resolve: Resolve


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

        :raises bridge.BindError: with file, line and cause.
        """
        ...

    async def aclose(self) -> None:
        """Give back what was taken; must work after a half-failed `open`."""
        ...
