"""HTTP/1.1 towards one upstream: checks and sends requests, decodes replies, and classifies outcomes (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from bridge.api.body import StreamedBody, streamed
from bridge.api.call import HttpReply, HttpRequest, header
from bridge.api.tls import Tls
from bridge.api.transport import Address, Attempt, AttemptContext, InstanceVerdict, Outcome, Target
from bridge.errors import ClientError, ReplyTooLarge, RequestError, Unavailable, UpstreamError
from bridge.http.client_address import hostname
from bridge.http.coding import decode
from bridge.http.forwarding import without_authority
from bridge.payload import offload
from bridge.transport.http1.exchange import Client, ConnectFailed, ConnectionDropped, Field, ReplyTruncated
from bridge.transport.http1.fields import check_method, outgoing
from bridge.transport.http1.websocket import ServiceWebSocket

BLOCKING = 64 * 1024  #: coded bytes from which decoding leaves the event loop …
INLINE = 512 * 1024  #: … and decoded ones: decoding may yield a thousand times as many

#: RFC 9110, section 9.2.2: the idempotent methods.
IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))

_TARGET = re.compile(r"/[!\"$-~]*")  # visible ASCII, without #, which a request target can't contain

#: Method, path, fields, body, whether the reply's coding is to be undone, and whether its body may stream.
HttpMessage = tuple[str, str, Sequence[Field], bytes | StreamedBody, bool, bool]

#: RFC 9110, section 10.1.1: whether the client is to send its body is for the service to say.
_EXPECT: Field = ("expect", "100-continue")


class HttpChannel:
    """`bridge.api.transport.Channel` over HTTP/1.1.

    :param client: the connections, shared with other upstreams.
    """

    def __init__(self, client: Client, target: Target) -> None:
        self._client = client
        name, port, tls = target.name, target.port, target.tls
        self._name = name.lower()
        self._server_name = (tls.server_name or name) if tls is not None else None
        # The mesh name and its port are the Host field, so that no address appears in a message. RFC 9110, section
        # 7.2: a port that is not a number is not allowed in it.
        self._host: Field = ("host", f"{name}:{port}" if port.isdigit() else name)
        self._max_reply = target.max_reply
        self._trust = tls.context() if tls is not None and tls != Tls() else None
        if tls is not None and self._trust is None:
            client.trust()

    def prepare(self, request: HttpRequest, trace: Sequence[Field]) -> HttpMessage:
        """:raises bridge.errors.ClientError: a method, path or field is not allowed in an HTTP message."""
        method, path = request.method, request.path
        if method not in IDEMPOTENT and method != "POST":
            check_method(method)
        if not _TARGET.fullmatch(path):
            raise ClientError("The path holds characters that must be percent-encoded.")
        host = self._host if request.host is None else ("host", request.host)
        fields, body, decode_body = outgoing(host, request, trace), request.body, request.decode
        if type(body) is not bytes:  # `isinstance` would be a call
            body = streamed(body)
            if body.expects:
                fields.append(_EXPECT)
        return method, path, fields, body, decode_body, request.stream and not decode_body

    async def attempt(self, message: HttpMessage, context: AttemptContext) -> Attempt:
        method, path, fields, request_body, decode_body, streams = message
        try:
            head, body = await self._client.exchange(
                context.address,
                method,
                path,
                fields,
                request_body,
                server_name=self._server_name,
                trust=self._trust,
                connect_timeout=context.connect_timeout,
                max_reply=self._max_reply,
                streams=streams,
                clock=context,
            )
            headers = list(head.fields)
            if head.codings and decode_body:
                if body:
                    assert isinstance(body, bytes)  # as `streams` is false
                    context.answered = True
                    body = await self._decode(body, head.codings)
                headers = [field for field in headers if field[0] != "content-encoding"]
            elif head.length is not None and (method == "HEAD" or type(body) is not bytes):
                headers.append(("content-length", str(head.length)))
        except ConnectFailed as error:
            return _connect_failure(error)
        except ConnectionDropped as error:
            # RFC 9112, section 9.3.1: the service may have closed an idle connection without seeing the request.
            is_spent = type(request_body) is not bytes and request_body.taken  # type: ignore[union-attr]
            stale = error.reused and not context.repeats and method in IDEMPOTENT and not is_spent
            failure = UpstreamError(
                "The service behind this route closed the connection without an answer.", cause=str(error)
            )
            if stale:
                return Attempt(failure, failure.status, Outcome.NOT_PROCESSED)
            outcome = Outcome.FINAL if is_spent else Outcome.RETRIABLE
            return Attempt(failure, failure.status, outcome, InstanceVerdict.BAD)
        except ReplyTruncated as error:
            return Attempt(error, error.status, verdict=InstanceVerdict.BAD)
        except RequestError as error:
            return Attempt(error, error.status)
        if head.has_location:
            hosts = (host for host, _ in (*context.addresses, context.address))
            headers = without_authority(headers, frozenset((self._name, hostname(fields[0][1]), *hosts)))
        reply = HttpReply(head.status, headers, body)
        if head.status < 400:
            return Attempt(reply, head.status, Outcome.FINAL, InstanceVerdict.FINE)
        attempt = _error_reply(reply)
        if type(request_body) is not bytes and request_body.taken:  # type: ignore[union-attr]
            attempt.outcome = Outcome.FINAL
        return attempt

    async def open(
        self,
        message: HttpMessage,
        context: AttemptContext,
        deadline: float | None,
        report: Callable[[Attempt], None],
    ) -> Attempt:
        """Open a WebSocket. The attempt's result is a `ServiceWebSocket`, or the `HttpReply` that refuses it."""
        attempt = await self._handshake(message, context)
        if attempt.outcome is not Outcome.REFUSED:  # of which the cluster knows
            report(attempt)
        return attempt

    async def _handshake(self, message: HttpMessage, context: AttemptContext) -> Attempt:
        path, fields, decode_body = message[1], message[2], message[4]
        socket = ServiceWebSocket(fields, self._max_reply)
        try:
            await self._client.connect(
                socket,
                context.address,
                server_name=self._server_name,
                connect_timeout=context.connect_timeout,
                trust=self._trust,
            )
            reply = await socket.handshake(path, fields)
            if reply is None:
                return Attempt(socket, socket.status, verdict=InstanceVerdict.FINE)
            if decode_body and (codings := header(reply.headers, "content-encoding")):
                reply.body = await self._decode(reply.body, codings)
                reply.headers = [field for field in reply.headers if field[0] != "content-encoding"]
        except ConnectFailed as error:
            return _connect_failure(error)
        except ConnectionDropped as error:
            failure = UpstreamError(
                "The service behind this route closed the connection without an answer.", cause=str(error)
            )
            return Attempt(failure, failure.status, Outcome.RETRIABLE, InstanceVerdict.BAD)
        except RequestError as error:
            return Attempt(error, error.status, verdict=InstanceVerdict.BAD)
        finally:
            if not socket.opened:
                socket.abort()
        hosts = (host for host, _ in (*context.addresses, context.address))
        reply.headers = without_authority(reply.headers, frozenset((self._name, hostname(fields[0][1]), *hosts)))
        return (
            _error_reply(reply) if reply.status >= 400 else Attempt(reply, reply.status, verdict=InstanceVerdict.FINE)
        )

    def repeatable(self, request: HttpRequest) -> bool:
        return request.method in IDEMPOTENT

    def resting(self, address: Address) -> bool:
        return False

    def forget(self, address: Address) -> None:
        """Nothing to do: each request needs a reply on its connection, so a dead one is always noticed."""

    async def aclose(self) -> None:
        """Nothing to do: the transport owns the connections."""

    async def _decode(self, body: bytes, codings: str) -> bytes:
        limit = self._max_reply
        if len(body) < BLOCKING:
            try:
                return decode(body, codings, min(limit, INLINE))
            except ReplyTooLarge:
                if limit <= INLINE:
                    raise
        return await offload.run(min(limit, 8 * len(body)), partial(decode, body, codings, limit))


def _error_reply(reply: HttpReply) -> Attempt:
    """A status from 400 on. A service may know the client's short timeout, and answer 504 itself."""
    verdict = {502: InstanceVerdict.BAD, 503: InstanceVerdict.BAD, 504: InstanceVerdict.LATE}.get(
        reply.status, InstanceVerdict.ALIVE
    )
    return Attempt(reply, reply.status, Outcome.RETRIABLE, verdict)


def _connect_failure(error: ConnectFailed) -> Attempt:
    result: RequestError
    if error.untrusted:
        result = UpstreamError("The service behind this route could not prove who it is.", cause=str(error))
    else:
        result = Unavailable(cause=str(error), headers=[("retry-after", "1")])
    return Attempt(result, result.status, Outcome.REFUSED, InstanceVerdict.UNREACHABLE, waited=error.waited)
