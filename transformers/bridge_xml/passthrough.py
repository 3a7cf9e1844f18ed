"""The transformer ``passthrough``: requests are forwarded unchanged; replies are unchanged, or XML becomes JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from bridge.api import (
    BadReply,
    BindError,
    Call,
    Context,
    Fault,
    HttpCodec,
    HttpReply,
    HttpRequest,
    Operation,
    Options,
    PublicAddress,
    Reply,
    RouteSpec,
    XmlError,
)
from bridge_xml.decode import to_json
from bridge_xml.describe import describer, operations, with_websocket
from bridge_xml.description import asks_for_description, readdress
from bridge_xml.forward import (
    content_type,
    excerpt,
    forward_reply,
    is_answer,
    json_refusal,
    refusal,
    refuse_failure,
    target,
    with_body,
    without_body,
    without_range,
)
from bridge_xml.lenient import read_reply
from bridge_xml.locations import Locations, locations
from bridge_xml.media import media


class Bytes:
    """``response: passthrough``: bodies are unchanged in both directions, with their content coding, and are passed on
    while they arrive."""

    handles_errors = True
    forwards_bodies = True  # requests', in their content-coding
    streams_bodies = True

    def __init__(self, route: RouteSpec) -> None:
        self._target = target(route)
        self._locations = locations(route, self._target)
        self._addresses = Locations(route, self._target)

    def request(self, call: Call) -> HttpRequest:
        headers = list(call.headers)
        return HttpRequest(call.method, self._target(call), headers, call.body, decode=False, stream=True)

    def weighs(self, message: object) -> int:
        return 0  # nothing is read

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """:raises bridge.api.UpstreamError: the upstream failed: status 500 or more, and no SOAP Fault."""
        if inbound.status < 400 or not is_answer(call, inbound):
            refuse_failure(inbound)
        if self._locations is not None:
            inbound = self._locations.rewritten(call, inbound)
        return forward_reply(inbound)

    def asks_for_description(self, call: Call) -> bool:
        return asks_for_description(call.query)

    def is_description(self, content_type: str) -> bool:
        return media(content_type).kind == "xml"

    def readdressed(self, call: Call, body: bytes, content_type: str, public: PublicAddress) -> bytes:
        """:raises bridge.api.XmlError: the description can't be read."""
        return readdress(
            body, media(content_type).charset, lambda addresses: self._addresses.described(call, addresses, public)
        )


class XmlAsJson:
    """``response: json``: an XML reply becomes JSON, others are unchanged.

    Errors (400 to 499) are forwarded only if they are JSON, or XML, which becomes JSON.
    """

    handles_errors = True
    forwards_bodies = True  # requests', in their content-coding

    def __init__(self, route: RouteSpec) -> None:
        self._target = target(route)
        self._locations = locations(route, self._target)

    def request(self, call: Call) -> HttpRequest:
        return HttpRequest(call.method, self._target(call), without_range(call.headers), call.body)

    def weighs(self, message: object) -> int:
        """The size of bodies that are translated, and of JSON errors, which are validated."""
        if isinstance(message, HttpReply) and (message.status >= 400 or media(content_type(message)).kind == "xml"):
            return len(message.body)
        return 0

    def forks(self, call: Call, inbound: object) -> bool:
        """`bridge.api.capabilities.Forkable`."""
        return True

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """:raises bridge.api.UpstreamError: the upstream failed, or sent an error of a type that isn't forwarded.
        :raises bridge.api.BadReply: it is declared as XML and isn't, or has a DOCTYPE.
        """
        refuse_failure(inbound)
        if self._locations is not None:
            inbound = self._locations.rewritten(call, inbound)
        kind, charset = media(content_type(inbound))
        if call.method == "HEAD" and inbound.status < 400:
            # Its headers are those of the reply to GET (RFC 9110, section 9.3.2), which would be JSON.
            return with_body(inbound, b"") if kind == "xml" else forward_reply(inbound)
        if not inbound.body and inbound.status < 400:
            return without_body(inbound)
        if kind == "xml" and inbound.status != 206:
            return self._translate(call, inbound, charset)
        if inbound.status < 400:
            return forward_reply(inbound)
        if kind == "json":
            return json_refusal(inbound)
        raise refusal(inbound)

    def _translate(self, call: Call, inbound: HttpReply, charset: str) -> Reply:
        try:
            body = read_reply(lambda body, charset: to_json(body, charset=charset), call, inbound, charset)
        except XmlError as error:
            if inbound.status >= 400:
                raise refusal(inbound) from None
            raise BadReply(
                f"The service behind this route says it answers in XML, but {error}.", cause=excerpt(inbound.body)
            ) from None
        return with_body(inbound, body)


class Sockets:
    """``websocket: true``: the frames of a client's WebSocket go to one of the service, and back, unchanged.

    ``request`` is the handshake; ``reply`` is for a service that refuses it.

    :param codec: of the route's other calls.
    """

    handles_errors = True

    def __init__(self, codec: HttpCodec) -> None:
        self._codec = codec

    def request(self, call: Call) -> HttpRequest:
        outbound = self._codec.request(call)
        outbound.method = "GET"  # RFC 6455, section 4.1
        return outbound

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """:raises bridge.api.UpstreamError: as the other calls'."""
        return self._codec.reply(call, inbound)


class PassthroughOptions(Options):
    """What a spec may say under ``transform.passthrough``."""

    #: Clients may open WebSockets at the route's path.
    websocket: bool = False

    #: Query parameters that are neither sent nor logged; ``google`` stands for Google's system parameters.
    ignore_query: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Passthrough:
    """Forwards method, path, query, headers and body unchanged. ``transform.response`` is for replies: ``json`` (the
    default) or ``passthrough``."""

    name: ClassVar[str] = "passthrough"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = PassthroughOptions

    async def open(self, context: Context) -> None:
        """Nothing is needed."""

    async def bind(self, route: RouteSpec, options: PassthroughOptions) -> Sequence[Operation]:
        """:raises bridge.api.BindError: ``response: xml``, or the upstream's path has an unknown parameter."""
        if route.transform.response == "xml":
            reason = "passthrough answers json or passthrough; for XML as it comes, write passthrough"
            raise BindError(Fault(reason, ("transform", "response")))
        raw = route.transform.response == "passthrough"
        codec = Bytes(route) if raw else XmlAsJson(route)
        answer = "*/*" if raw else "application/json"
        describe = describer(route, request_type="*/*", reply_type=answer)
        published = operations(route, codec, describe, options.ignore_query)
        if not options.websocket:
            return published
        if route.methods is not None and "GET" not in route.methods:
            reason = "the handshake of a WebSocket is a GET; add GET to methods"
            raise BindError(Fault(reason, ("transform", "passthrough", "websocket")))
        return with_websocket(route, published, Sockets(codec))

    async def aclose(self) -> None:
        """Nothing was taken."""
