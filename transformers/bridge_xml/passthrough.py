"""The transformer ``passthrough``: calls go up as they came; answers come down as they are, or XML as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bridge.api import (
    BadReply,
    BindError,
    Call,
    Context,
    Fault,
    HttpReply,
    HttpRequest,
    Operation,
    Options,
    Reply,
    RouteSpec,
    XmlError,
)
from bridge_xml.decode import to_json
from bridge_xml.describe import describer, operations
from bridge_xml.forward import (
    as_it_came,
    content_type,
    excerpt,
    hide_address,
    json_refusal,
    refusal,
    refuse_failure,
    rewritten,
    target,
    whole,
    without_body,
)
from bridge_xml.media import media


class Bytes:
    """``response: passthrough``: not a byte is touched in either direction, content-coding included."""

    def __init__(self, route: RouteSpec) -> None:
        self._target = target(route)
        self._upstream = route.upstream.name

    def request(self, call: Call) -> HttpRequest:
        return HttpRequest(call.method, self._target(call), list(call.headers), call.body, decode=False)

    def weighs(self, message: object) -> int:
        return 0  # nothing is looked at

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """:raises bridge.api.UpstreamError: the upstream failed (status 500 or more)."""
        refuse_failure(inbound)
        hide_address(inbound, self._upstream)
        return as_it_came(inbound)


class XmlAsJson:
    """``response: json``: an XML answer becomes JSON, a JSON answer passes byte for byte, others pass as they are.

    Refusals (400 to 499) pass in JSON, or in XML made JSON, and in no other type.
    """

    def __init__(self, route: RouteSpec) -> None:
        self._target = target(route)
        self._upstream = route.upstream.name

    def request(self, call: Call) -> HttpRequest:
        return HttpRequest(call.method, self._target(call), whole(call.headers), call.body)

    def weighs(self, message: object) -> int:
        """What is translated, and refusals in JSON, which are read to know that they are."""
        if isinstance(message, HttpReply) and (message.status >= 400 or media(content_type(message)).kind == "xml"):
            return len(message.body)
        return 0

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """:raises bridge.api.UpstreamError: the upstream failed, or refused in a type that doesn't pass.
        :raises bridge.api.BadReply: it says XML and isn't, or carries a DOCTYPE.
        """
        refuse_failure(inbound)
        hide_address(inbound, self._upstream)
        kind, charset = media(content_type(inbound))
        if call.method == "HEAD" and inbound.status < 400:
            # Its headers are those of the answer to GET (RFC 9110, section 9.3.2), which would be JSON.
            return rewritten(inbound, b"") if kind == "xml" else as_it_came(inbound)
        if not inbound.body and inbound.status < 400:
            return without_body(inbound)
        if kind == "xml" and inbound.status != 206:
            return self._translated(inbound, charset)
        if inbound.status < 400:
            return as_it_came(inbound)
        if kind == "json":
            return json_refusal(inbound)
        raise refusal(inbound)

    def _translated(self, inbound: HttpReply, charset: str) -> Reply:
        try:
            body = to_json(inbound.body, charset=charset)
        except XmlError as error:
            if inbound.status >= 400:
                raise refusal(inbound) from None
            raise BadReply(
                f"The service behind this route says it answers in XML, but {error}.", cause=excerpt(inbound.body)
            ) from None
        return rewritten(inbound, body)


class PassthroughOptions(Options):
    """There are none."""


class Passthrough:
    """Any method, path, query, header and body as they came. ``transform.response`` says what becomes of the answer:
    ``json`` (the default) or ``passthrough``."""

    name: ClassVar[str] = "passthrough"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = PassthroughOptions

    async def open(self, context: Context) -> None:
        """Nothing is needed."""

    async def bind(self, route: RouteSpec, options: PassthroughOptions) -> Sequence[Operation]:
        """:raises bridge.api.BindError: ``response: xml``, or the upstream's path has an unknown parameter."""
        if route.transform.response == "xml":
            reason = "passthrough answers json or passthrough; for XML as it comes, write passthrough"
            raise BindError(Fault(reason, key="transform.response"))
        raw = route.transform.response == "passthrough"
        codec = Bytes(route) if raw else XmlAsJson(route)
        answer = "*/*" if raw else "application/json"
        return operations(route, codec, describer(route, takes="*/*", answers=answer))

    async def aclose(self) -> None:
        """Nothing was taken."""
