"""What plug-ins receive and return: a call, its reply, and the upstream's request and reply between them."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from bridge.api.certificates import ArrivedRequest
from bridge.errors import InvalidParameter, UpstreamFault
from bridge.payload.parsing import parse_json

#: Header fields in order of arrival; names in lower case, values with no surrounding white space.
Headers = Sequence[tuple[str, str]]
#: A body: whole, or in pieces as they arrive.
Body = bytes | AsyncIterable[bytes]


def header(headers: Headers, name: str, default: str = "") -> str:
    """The first value of the field `name` (lower case), or `default`."""
    for key, value in headers:  # half of what a generator costs
        if key == name:
            return value
    return default


def unescaped(text: str, name: str) -> str:
    """`text` of the parameter `name`, percent-decoded (RFC 3986, section 2.5: as UTF-8).

    :raises bridge.api.InvalidParameter: it is not UTF-8; a replacement character would lose
        data.
    """
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidParameter([(name, "it is not percent-encoded UTF-8")]) from None


def _quoted(raw: str, name: str) -> str:
    """`raw` of the path parameter `name`, with every segment percent-encoded anew.

    :raises InvalidParameter: it is not UTF-8, or one segment is ``.`` or ``..``.
    """
    segments = [unescaped(segment, name) for segment in raw.split("/")]
    if "." in segments or ".." in segments:
        raise InvalidParameter([(name, "it can't be '.' or '..'")])
    return "/".join([quote(segment, safe="") for segment in segments])


ADDRESS = "ip:"  #: begins the `Identity.key` of callers of whom only the address is known


@dataclass(frozen=True, slots=True)
class CallerLimit:
    """How often one caller may call, beside what its route allows.

    It holds over all routes together: calls are counted by `Identity.key`.

    :ivar rps: calls a second, greater than 0; a fraction is one call in ``1/rps`` seconds.
    :ivar burst: calls at once, 1 or more, with `rps` new ones a second; None: no more than `rps` calls in any second.
    """

    rps: float
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller, as the route's auth identified it.

    `subject` is the token's ``sub``, the key's owner or ``""``; `claims` is the verified token's payload.
    `key` is what ``per: client`` limits count by: subject, else key, else certificate, else address.
    `limit` is the caller's own, whatever route it calls: that of an API key which has one.
    `token` is the verified bearer token itself, on routes that exchange it for another one (``token_exchange``) and
    nowhere else. It is never sent to the service.
    """

    subject: str = ""
    tenant: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key: str = ""
    internal: bool = False
    limit: CallerLimit | None = None
    token: str = field(default="", repr=False, compare=False)

    @property
    def is_named(self) -> bool:
        """Whether `key` is more than an address, which several callers may share."""
        return bool(self.key) and not self.key.startswith(ADDRESS)


ANONYMOUS = Identity()


@dataclass(frozen=True, slots=True)
class Forwarded:
    """How a request reached the gateway (RFC 7239), as far as it is known and can be trusted.

    :ivar hops: the caller's address and those of trusted proxies behind it, the nearest to the gateway last; empty if
        the connection has no address.
    :ivar scheme: ``http`` or ``https``. :ivar host: the host and port that the client asked for, or ``""``.
    """

    hops: Sequence[str]
    scheme: str
    host: str


#: A body that has not been parsed.
_UNREAD: Any = object()


class Call:
    """One request as a transformer sees it. The gateway creates it; a transformer only reads it.

    :ivar method: the HTTP method, upper case.
    :ivar path: the request's path as sent (still percent-encoded), without the query.
    :ivar raw_params: path parameters as sent (still percent-encoded), by template name. ``{name*}`` contains slashes.
        They are for templates that the gateway fills; a plug-in takes `params` or `path_values`.
    :ivar query: the query string as sent, without ``?`` and the parameters that the route ignores.
    :ivar target: `path` and `query`; an empty query keeps its ``?`` (RFC 3986, section 6.2.3: not the same URI).
    :ivar headers: the request's fields, less the hop-by-hop ones and the credentials that the route's auth consumed.
    :ivar body: the whole body; ``b""`` when there is none. `Body` for a codec that is
        `bridge.api.capabilities.BodyStreaming`: in pieces if it had not arrived with the head.
    :ivar identity: who calls.
    :ivar peer: the caller's address as text, the one behind trusted proxies; for logs and limits.
    :ivar forwarded: how the request reached the gateway; None unless the route forwards it.
    :ivar trace_id: 32 hex digits, the same as in the log and on the response.
    :ivar warnings: sentences for the access log; ``reply`` adds one for each deviation that it tolerated.
    :ivar fault: the failure that ``reply`` passes on in the service's own form, a SOAP Fault, with the status and the
        cause that it has for the gateway; for the access log. None if there is none, and if ``reply`` raises it.
    :ivar credentials: texts that were added to the request after ``request``, and must not be shown.
    :ivar state: what a codec keeps from ``request`` for ``reply``. Only the codec uses it; None at first.
    :ivar clock: the current time, in Unix seconds. Codecs take the time from here, so that ``explain`` can fix it.
    :ivar request: the client's request as the server received it, for the route's auth: it has the connection's address
        and certificates. None where there is no connection.
    :ivar random: returns that many random bytes, for nonces, boundaries and ids.
    """

    __slots__ = (
        "_fields",
        "_indexed",
        "_json",
        "_params",
        "_path_values",
        "_query_params",
        "body",
        "clock",
        "credentials",
        "fault",
        "forwarded",
        "headers",
        "identity",
        "method",
        "path",
        "peer",
        "query",
        "random",
        "raw_params",
        "request",
        "state",
        "target",
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
        target: str = "",
        headers: Headers = (),
        body: bytes = b"",
        identity: Identity = ANONYMOUS,
        peer: str = "",
        trace_id: str = "",
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.method = method
        self.path = path
        self.raw_params: Mapping[str, str] = raw_params or {}
        self.query = query
        self.target = target or (f"{path}?{query}" if query else path)
        self.headers = headers
        self.body: Any = body
        self.identity = identity
        self.peer = peer
        self.trace_id = trace_id
        self.clock = clock
        self.random = random
        self.request: ArrivedRequest | None = None
        self.forwarded: Forwarded | None = None
        self.warnings: list[str] = []
        self.fault: UpstreamFault | None = None
        self.credentials: Sequence[str] = ()
        self.state: Any = None
        self._indexed: Headers | None = None
        self._json: Any = _UNREAD
        self._params: Mapping[str, str] | None = None
        self._path_values: Mapping[str, str] | None = None
        self._query_params: Sequence[tuple[str, str]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which parses for itself, and has no connection: `request` is None there."""
        return {name: getattr(self, name) for name in self.__slots__ if name[0] != "_" and name != "request"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Call.__init__(self)
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def params(self) -> Mapping[str, str]:
        """Path parameters, ready to be put into an upstream's path or query: percent-encoded but for unreserved
        characters (RFC 3986, section 2.3), so no value can add a segment, a query or a fragment. ``{name*}`` keeps the
        slashes between its segments.

        :raises bridge.api.InvalidParameter: one is not UTF-8, or has a segment ``.`` or ``..``, which a service would
            resolve.
        """
        if self._params is None:
            self._params = {name: _quoted(raw, name) for name, raw in self.raw_params.items()}
        return self._params

    @property
    def path_values(self) -> Mapping[str, str]:
        """Path parameters, percent-decoded, for messages. In a path or query they would let the caller add segments
        and queries: `params` is for these.

        :raises bridge.api.InvalidParameter: one is not UTF-8.
        """
        if self._path_values is None:
            self._path_values = {name: unescaped(raw, name) for name, raw in self.raw_params.items()}
        return self._path_values

    @property
    def query_params(self) -> Sequence[tuple[str, str]]:
        """Query parameters in order, decoded; ``+`` and ``%20`` are both a space. Blank values are kept.

        :raises bridge.api.InvalidParameter: one is not UTF-8.
        """
        if self._query_params is None:
            pairs = []
            for part in self.query.split("&"):
                if part:
                    name, _, value = part.partition("=")
                    name = unescaped(name.replace("+", " "), name)
                    pairs.append((name, unescaped(value.replace("+", " "), name)))
            self._query_params = pairs
        return self._query_params

    @property
    def json(self) -> Any:
        """The body as JSON (`bridge.api.parse_json`: every digit kept, the last of duplicate keys counts). Parsed once.

        :raises bridge.api.InvalidBody: when it isn't JSON or too deep.
        """
        if self._json is _UNREAD:
            self._json = parse_json(self.body)
        return self._json

    def forget(self) -> None:
        """Drop the parsed body; it is parsed again on the next use."""
        self._json = _UNREAD

    @property
    def fields(self) -> Mapping[str, str]:
        """`headers` by name, the first of each; cached until they change."""
        if self._indexed is not self.headers:
            self._indexed = self.headers
            self._fields: Mapping[str, str] = dict(reversed(self.headers))  # the first of a name is inserted last
        return self._fields

    def header(self, name: str, default: str = "") -> str:
        """The first value of the request field `name` (lower case)."""
        return self.fields.get(name, default)

    def values(self, name: str) -> Sequence[str]:
        """Every value of the request field `name` (lower case), in order."""
        fields = self.fields
        if name not in fields:
            return ()
        if len(fields) == len(self.headers):  # no name is repeated
            return (fields[name],)
        return [value for key, value in self.headers if key == name]


@dataclass(slots=True)
class HttpRequest:
    """A request to an HTTP upstream. `path` starts with ``/`` and includes the query. Framing, Host and trace fields
    are added by the gateway, and refused here.

    A `body` in pieces is sent as they come: with a ``Content-Length`` if it is a `bridge.api.body.StreamedBody` of
    known length, else chunked. Once a piece was taken, the request is not sent again.

    :ivar body: `Body`; of most codecs bytes, so readers need not check.
    """

    method: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: Any = b""
    #: Undo the reply's content-coding (gzip, deflate), within the size limit. Passthrough needs the bytes as sent.
    decode: bool = True
    host: str | None = None  #: the Host field, in place of the service's name in the mesh
    timeout: float | None = None  #: seconds, if the operation's limit is lower than the route's
    retry: Retry | None = None  #: instead of the route's
    #: The reply's body may be a `bridge.api.body.StreamedBody`, which its taker must close. It is bytes all the same if
    #: `decode` is set, if the status is 400 or more, and if it is known to be short (`bridge.api.body.WHOLE`).
    stream: bool = False


@dataclass(slots=True)
class HttpReply:
    """The reply of an HTTP upstream. With `HttpRequest.decode`, the body's content-coding is already undone.

    :ivar body: bytes. `Body` for requests with `HttpRequest.stream`; no other codec has to expect that.
    """

    status: int
    headers: Headers = ()
    body: Any = b""


@dataclass(frozen=True, slots=True)
class Retry:
    """When a call is sent again: gRFC A6, ``retryPolicy``.

    :ivar max_attempts: including the first.
    :ivar initial_backoff: in seconds, as `max_backoff`; each wait is `multiplier` times the one before it.
    :ivar codes: the statuses after which the call is sent again.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    multiplier: float
    codes: frozenset[int]


@dataclass(slots=True)
class GrpcRequest:
    """A request to a gRPC upstream: ``/package.Service/Method``, the serialised message, ASCII or ``-bin`` metadata.

    `timeout` is in seconds, if the method's limit is lower than the route's; `retry` replaces the route's policy, for
    unary calls only. `idempotent`: sending the call twice has the effect of sending it once.
    """

    path: str
    message: bytes
    metadata: list[tuple[str, str | bytes]] = field(default_factory=list[tuple[str, str | bytes]])
    timeout: float | None = None
    retry: Retry | None = None
    idempotent: bool = False


@dataclass(slots=True)
class GrpcReply:
    """The reply of a gRPC upstream. `code` 0 is OK and `message` the serialised reply; otherwise `detail` is the status
    message and `status_details` the serialised ``google.rpc.Status`` of ``grpc-status-details-bin``."""

    code: int
    message: bytes = b""
    detail: str = ""
    status_details: bytes = b""
    metadata: Sequence[tuple[str, str | bytes]] = ()
    trailers: Sequence[tuple[str, str | bytes]] = ()


class Trailers(tuple[tuple[str, str], ...]):
    """Fields after a body (RFC 9110, section 6.5), names in lower case."""

    __slots__ = ()


NO_TRAILERS = Trailers()


@dataclass(slots=True)
class Reply:
    """The response to the client. `headers` include the ``content-type`` of a body. A body in pieces is sent as
    its iterator yields them; the iterator is closed in any case. `trailers` follow a whole body."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: Body = b""
    trailers: Trailers = NO_TRAILERS

    @property
    def content(self) -> bytes:
        """The body of a reply that is whole.

        :raises TypeError: it comes in pieces.
        """
        if not isinstance(self.body, bytes):
            raise TypeError("the reply's body comes in pieces")
        return self.body


JSON_TYPE = ("content-type", "application/json")
