"""`bridge.transport.http1.exchange.Client` on aiohttp: the judge of the gateway's own client.

What the library would do by itself is switched off: redirects, cookies, decoding, proxies of the environment, fields
of its own, and sending twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

from bridge.api.body import StreamedBody
from bridge.api.transport import Address, Clock
from bridge.errors import BadReply
from bridge.transport.connecting import authority, closing, shortage
from bridge.transport.http1.exchange import (
    KEEPALIVE,
    MAX_FIELD,
    PER_ADDRESS,
    Client,
    ConnectFailed,
    ConnectionDropped,
    Field,
    ReplyHead,
    ReplyTruncated,
    own_trust,
    reply_truncated,
    too_long,
)


class AiohttpClient:
    """Keep-alive connections, shared by all HTTP upstreams of one event loop. Opened by the first exchange.

    :param ssl_context: whom to trust; the system's authorities by default.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, per_address: int = PER_ADDRESS) -> None:
        self._ssl_context = ssl_context
        self._per_address = per_address
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def trust(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = own_trust()
        return self._ssl_context

    async def exchange(
        self,
        address: Address,
        method: str,
        target: str,
        fields: Sequence[Field],
        body: bytes | StreamedBody,
        *,
        server_name: str | None,
        connect_timeout: float,
        max_reply: int,
        trust: ssl.SSLContext | None = None,
        streams: bool = False,
        clock: Clock | None = None,
    ) -> tuple[ReplyHead, bytes | StreamedBody]:
        assert isinstance(body, bytes), "it judges whole messages only"
        if self._closed:
            raise closing()
        session = self._session or self._open()
        where = authority(address)
        scheme = "https" if server_name else "http"
        try:
            response = await session.request(
                method,
                # All of the target is the path of a URL that is already encoded, so it is neither parsed nor quoted.
                URL.build(scheme=scheme, authority=where, path=target, encoded=True),
                headers=fields,
                data=_Body(body) if body else None,
                allow_redirects=False,
                ssl=(trust or self.trust()) if server_name else True,
                server_hostname=server_name,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError) as error:
            if (ours := shortage(error)) is not None:
                raise ours from None
            untrusted = isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError))
            raise ConnectFailed(f"{where}: {error}", untrusted=untrusted) from None
        except aiohttp.ConnectionTimeoutError:
            raise ConnectFailed(f"{where}: no connection in {connect_timeout:.1f} s", waited=connect_timeout) from None
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError, HttpProcessingError) as error:
            raise BadReply(cause=f"{where}: {_text(error)}") from None
        except aiohttp.ClientError as error:
            raise ConnectionDropped(f"{where}: {_text(error)}", reused=False) from None
        return await _read(response, where, max_reply)

    async def connect(self, *_: object, **__: object) -> None:
        raise NotImplementedError("it judges exchanges only")

    async def aclose(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, limit_per_host=self._per_address, keepalive_timeout=KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
            trust_env=False,
            max_line_size=MAX_FIELD,
            max_field_size=MAX_FIELD,
            request_class=_Request,
            middlewares=(_once,),
        )
        return self._session


class _Body(aiohttp.BytesPayload):
    """Bytes of any length: aiohttp warns of those above 1 MiB, yet they are in memory already."""

    def __init__(self, value: bytes) -> None:
        aiohttp.Payload.__init__(self, value, content_type="application/octet-stream")  # the name is never sent
        self._size = len(value)


class _Request(ClientRequest):
    """Remembers whether its connection was made for it."""

    fresh = False


class _Connector(aiohttp.TCPConnector):
    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            # Bytes came in while it was idle. They answer no request, and must not answer this one.
            connection.close()

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> ResponseHandler:
        if isinstance(req, _Request):
            req.fresh = True
        return await super()._create_connection(req, traces, timeout)


async def _once(request: ClientRequest, handler: aiohttp.ClientHandlerType) -> ClientResponse:
    """Keeps aiohttp from sending an idempotent request twice: it does so at errors of a type it knows."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except aiohttp.ServerDisconnectedError as error:
        if not isinstance(error.message, str):  # a message that has begun
            raise ReplyTruncated(
                cause=f"{request.url.authority}: the connection ended within the reply's head"
            ) from None
        cause = f"{request.url.authority}: {error}"
    except aiohttp.ClientOSError as error:
        cause = f"{request.url.authority}: {error.strerror or error}"
    raise ConnectionDropped(cause, reused=not getattr(request, "fresh", True))


async def _read(response: ClientResponse, where: str, max_reply: int) -> tuple[ReplyHead, bytes]:
    try:
        head = _head(response, where)
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > max_reply and response.method != "HEAD":
            raise too_long(f"{where}: content-length {length}, the limit is {max_reply}")
        body = await _body(response, where, max_reply)
    except BaseException:
        _abort(response)  # what is left unread must not be read as the next answer
        raise
    if response.connection is not None:
        # The answer is whole while the request is still being written: the service did not want the rest.
        _abort(response)
    return head, body


def _abort(response: ClientResponse) -> None:
    """End its connection now. To close alone would first send what is left of the request, to one who may not read."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


def _head(response: ClientResponse, where: str) -> ReplyHead:
    """:raises BadReply: status or framing that HTTP does not allow here."""
    if not 200 <= response.status <= 599:
        raise BadReply(cause=f"{where}: status {response.status}")
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers]
    lengths = {value for name, value in headers if name == "content-length"}
    codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    # RFC 9112, section 6.3: two framings in one message are how replies get split; neither is believed.
    if len(lengths) > 1 or (lengths and codings) or codings not in ([], ["chunked"]):
        raise BadReply(cause=f"{where}: the reply's framing is ambiguous")
    return ReplyHead.of(response.status, headers)


async def _body(response: ClientResponse, where: str, max_reply: int) -> bytes:
    chunks: list[bytes] = []
    room = max_reply
    try:
        while chunk := await response.content.readany():
            room -= len(chunk)
            if room < 0:
                raise too_long(f"{where}: more than {max_reply} bytes")
            chunks.append(chunk)
    except (aiohttp.ClientError, HttpProcessingError, asyncio.IncompleteReadError) as error:
        raise reply_truncated(f"{where}: {_text(error)}") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_a_client(client: AiohttpClient) -> Client:
    return client
