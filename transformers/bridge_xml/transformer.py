"""The transformer ``xml``: JSON for clients, XML for services, by xmltodict's conventions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from bridge.api import (
    BadReply,
    Call,
    Context,
    HttpReply,
    HttpRequest,
    Operation,
    Options,
    Reply,
    RouteSpec,
    XmlError,
    dismantle,
    is_html,
    require_json,
)
from bridge_xml.decode import check, to_json
from bridge_xml.describe import describer, operations
from bridge_xml.encode import encode
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
from bridge_xml.locations import locations
from bridge_xml.media import media
from bridge_xml.names import prefix_of

#: Not forwarded: the body has another type now, and the caller's preferences were about JSON.
_OURS = frozenset(("content-type", "accept", "accept-charset"))
#: A repaired document is in UTF-8.
_REPAIRED = ("content-type", "application/xml; charset=utf-8")
#: Content types that services give to XML for want of a better one.
_SAYS_NOTHING = frozenset(("text/plain", "application/octet-stream", "binary/octet-stream"))
#: What may stand before an XML declaration.
_BEFORE = b"\xef\xbb\xbf \t\r\n"
_LARGE = 256 * 1024  #: bytes of a body whose values are freed in steps
_ACCEPT = ("accept", "application/xml, text/xml;q=0.9")


def _unprefixed(name: str) -> str:
    if prefix_of(name) != "":
        raise ValueError(f"{name!r} can't be an element's name without a prefix")
    return name


def _element(name: str) -> str:
    if prefix_of(name) is None:
        raise ValueError(f"{name!r} can't be an element's name")
    return name


def _xml_type(value: str) -> str:
    if media(value).kind != "xml":
        raise ValueError(f"{value!r} is no XML content type; write application/xml or text/xml")
    return value


def _is_xml(inbound: HttpReply) -> bool:
    """Whether a reply that is declared as something else looks like XML."""
    start = inbound.body[:1024].lstrip(_BEFORE)
    if start.startswith(b"<?xml"):
        return True
    name = content_type(inbound).partition(";")[0].strip().lower()
    return name in _SAYS_NOTHING and start.startswith(b"<") and not is_html(inbound.body)


class XmlOptions(Options):
    """What a spec may say under ``transform.xml``."""

    #: The element around a request's object. Without it the object's only member is the root.
    root: Annotated[str, AfterValidator(_unprefixed)] | None = None
    #: The default namespace of requests: the root's ``xmlns``.
    namespace: Annotated[str, Field(min_length=1)] | None = None
    #: Elements (as written, with prefix) that are always arrays in replies.
    force_list: tuple[Annotated[str, AfterValidator(_element)], ...] = ()
    #: The content type of requests.
    content_type: Annotated[str, AfterValidator(_xml_type)] = "application/xml; charset=utf-8"
    #: Refuse replies that are not well-formed, and JSON that is declared as a form, instead of reading them with a
    #: warning in the log.
    strict: bool = False
    #: Query parameters that are neither sent nor logged; ``google`` stands for Google's system parameters.
    ignore_query: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class XmlCodec:
    """One route's codec: ``response`` is ``json``, ``xml`` (checked, unchanged) or ``passthrough`` (unchecked)."""

    handles_errors = True

    def __init__(self, route: RouteSpec, options: XmlOptions) -> None:
        self._target = target(route)
        self._locations = locations(route, self._target)
        self._response = route.transform.response
        self._root = options.root or ""
        self._namespace = options.namespace or ""
        self._force_list = frozenset(options.force_list)
        self._content_type = ("content-type", options.content_type)
        self._strict = options.strict

    def request(self, call: Call) -> HttpRequest:
        """:raises bridge.api.InvalidBody: the body isn't JSON, or has no XML form.
        :raises bridge.api.UnsupportedMediaType: it isn't declared as JSON.
        """
        if self._response == "passthrough":
            headers = [field for field in call.headers if field[0] != "content-type"]
        else:
            headers = [field for field in without_range(call.headers) if field[0] not in _OURS]
            headers.append(_ACCEPT)
        body = call.body
        if body:
            require_json(call, strict=self._strict)
            value = call.json
            body = encode(value, root=self._root, namespace=self._namespace)
            if len(call.body) > _LARGE:
                call.forget()
                dismantle(value)
            headers.append(self._content_type)
        return HttpRequest(call.method, self._target(call), headers, body, decode=self._response != "passthrough")

    def weighs(self, message: Call | HttpReply) -> int:
        return 0 if isinstance(message, HttpReply) and self._response == "passthrough" else len(message.body)

    def forks(self, call: Call, inbound: object) -> bool:
        """`bridge.api.capabilities.Forkable`."""
        return True

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        """:raises bridge.api.UpstreamError: the upstream failed, or sent an error of a type that isn't forwarded.
        :raises bridge.api.BadReply: the reply isn't XML, or has a DOCTYPE.
        """
        if inbound.status < 400 or self._response != "passthrough" or not is_answer(call, inbound):
            refuse_failure(inbound)
        if self._locations is not None:
            inbound = self._locations.rewritten(call, inbound)
        if self._response == "passthrough":
            return forward_reply(inbound)
        if inbound.status >= 400:
            return self._refusal(call, inbound)
        if call.method == "HEAD" or not inbound.body:
            return without_body(inbound)
        kind, charset = media(content_type(inbound))
        if inbound.status >= 300 and kind != "xml":
            return without_body(inbound)  # a redirect's page is for browsers
        # Old services send XML as text/plain or without a content type; then the XML declaration is enough.
        if kind not in ("xml", "none") and not _is_xml(inbound):
            raise BadReply(
                "The service behind this route answered in something other than XML.",
                cause=f"{content_type(inbound)[:80]}: {excerpt(inbound.body)}",
            )
        try:
            return self._answer(call, inbound, charset)
        except XmlError as error:
            raise BadReply(
                f"The service behind this route gave an answer that can't be read: {error}.",
                cause=excerpt(inbound.body),
            ) from None

    def _answer(self, call: Call, inbound: HttpReply, charset: str) -> Reply:
        body = read_reply(self._read, call, inbound, charset, strict=self._strict)
        if self._response == "json":
            return with_body(inbound, body)
        return forward_reply(inbound) if body is inbound.body else with_body(inbound, body, _REPAIRED)

    def _read(self, body: bytes, charset: str) -> bytes:
        """The reply's body for the client."""
        if self._response == "json":
            return to_json(body, charset=charset, force_list=self._force_list)
        check(body, charset=charset)
        return body

    def _refusal(self, call: Call, inbound: HttpReply) -> Reply:
        kind, charset = media(content_type(inbound))
        if kind == "json":
            return json_refusal(inbound)
        if kind != "xml":
            raise refusal(inbound)
        try:
            return self._answer(call, inbound, charset)
        except XmlError:
            raise refusal(inbound) from None


class Xml:
    """JSON to XML and back by xmltodict's conventions, for services that speak XML without a schema."""

    name: ClassVar[str] = "xml"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = XmlOptions

    async def open(self, context: Context) -> None:
        """Nothing is needed."""

    async def bind(self, route: RouteSpec, options: XmlOptions) -> Sequence[Operation]:
        """:raises bridge.api.BindError: the upstream's path has an unknown parameter."""
        reply_type = {"json": "application/json", "xml": "application/xml", "passthrough": "*/*"}[
            route.transform.response
        ]
        anything = {"type": "object", "additionalProperties": True}
        describe = describer(
            route,
            request_type="application/json",
            reply_type=reply_type,
            body=anything,
            reply=anything if route.transform.response == "json" else None,
        )
        return operations(route, XmlCodec(route, options), describe, options.ignore_query)

    async def aclose(self) -> None:
        """Nothing was taken."""
