"""One exchange with one address. The only module that knows which HTTP library does it: today aiohttp.

What the library would do by itself is switched off: redirects, cookies, decoding, proxies of the environment, fields
of its own, and sending twice. Those decisions are `bridge.upstream.http`'s.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

from bridge.errors import BadReply, Unavailable
from bridge.messages import HttpReply

PER_ADDRESS = 256  #: connections to one address; a slow one must not take the sockets of all
KEEPALIVE = 15.0  #: seconds that an idle connection is kept
MAX_FIELD = 32 * 1024  #: bytes of one reply header field, and of the status line

#: Local shortages: no other address would fare better, and none is to blame.
_OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL))

_TOO_LONG = "The service behind this route gave a longer answer than the gateway takes."


class NotConnected(Exception):
    """The address took no connection; nothing was sent. `untrusted`: it answered, but its certificate won't do."""

    def __init__(self, cause: str, *, untrusted: bool = False) -> None:
        super().__init__(cause)
        self.untrusted = untrusted


class Dropped(Exception):
    """The connection ended before the first byte of an answer. `reused`: it had served another request before, so the
    service may simply have closed an idle connection without seeing this request."""

    def __init__(self, cause: str, *, reused: bool) -> None:
        super().__init__(cause)
        self.reused = reused


class HttpClient:
    """Keep-alive connections, shared by all HTTP upstreams of one event loop. Opened by the first exchange.

    :param ssl_context: whom to trust; the system's authorities by default.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, per_address: int = PER_ADDRESS) -> None:
        self._ssl_context = ssl_context
        self._per_address = per_address
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def trust(self) -> ssl.SSLContext:
        """The TLS context; made once, when the first ``https`` route is bound, since it reads files."""
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context

    async def exchange(
        self,
        address: tuple[str, int],
        method: str,
        target: str,
        fields: Sequence[tuple[str, str]],
        body: bytes,
        *,
        server_name: str | None,
        connect_timeout: float,
        max_reply: int,
        trust: ssl.SSLContext | None = None,
    ) -> HttpReply:
        """Send and read the whole answer, its body still coded. Bounded in time only by the caller's cancelling, which
        closes the connection.

        :param target: the request target, sent as it is.
        :param fields: with ``host``, without ``content-length``.
        :param server_name: for TLS, the name its certificate must bear; ``None`` for plain TCP.
        :param connect_timeout: seconds for TCP and TLS together.
        :param trust: instead of the client's own.
        :raises NotConnected: nothing was sent.
        :raises Dropped: sent, at least in part, and no byte of an answer came.
        :raises BadReply: an answer that breaks HTTP or is longer than `max_reply`.
        :raises Unavailable: the gateway itself is out of sockets, or closing.
        """
        if self._closed:
            raise Unavailable("The gateway is shutting down.", headers=[("retry-after", "1")])
        session = self._session or self._open()
        host, port = address
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        scheme = "https" if server_name else "http"
        try:
            response = await session.request(
                method,
                # All of the target is the path of a URL that is already encoded, so it is neither parsed nor quoted.
                URL.build(scheme=scheme, authority=authority, path=target, encoded=True),
                headers=fields,
                data=_Body(body) if body else None,
                allow_redirects=False,
                ssl=(trust or self.trust()) if server_name else True,
                server_hostname=server_name,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError) as error:
            if isinstance(error, OSError) and error.errno in _OURS:
                raise Unavailable(
                    "The gateway is short of connections.", cause=str(error), headers=[("retry-after", "1")]
                ) from None
            untrusted = isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError))
            raise NotConnected(f"{authority}: {error}", untrusted=untrusted) from None
        except aiohttp.ConnectionTimeoutError:
            raise NotConnected(f"{authority}: no connection in {connect_timeout:.1f} s") from None
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError, HttpProcessingError) as error:
            raise BadReply(cause=f"{authority}: {_text(error)}") from None
        except aiohttp.ClientError as error:
            raise Dropped(f"{authority}: {_text(error)}", reused=False) from None
        return await _read(response, authority, max_reply)

    async def aclose(self) -> None:
        """Close every connection, for good. Works before the first exchange, too."""
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
            raise BadReply(cause=f"{request.url.authority}: the connection ended within the reply's head") from None
        cause = f"{request.url.authority}: {error}"
    except aiohttp.ClientOSError as error:
        cause = f"{request.url.authority}: {error.strerror or error}"
    raise Dropped(cause, reused=not getattr(request, "fresh", True))


async def _read(response: ClientResponse, authority: str, max_reply: int) -> HttpReply:
    try:
        headers = _fields(response, authority)
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > max_reply and response.method != "HEAD":
            raise BadReply(_TOO_LONG, cause=f"{authority}: content-length {length}, the limit is {max_reply}")
        body = await _body(response, authority, max_reply)
    except BaseException:
        response.close()  # what is left unread must not be read as the next answer
        raise
    if response.connection is not None:
        # The answer is whole while the request is still being written: the service did not want the rest.
        response.close()
    return HttpReply(response.status, headers, body)


def _fields(response: ClientResponse, authority: str) -> list[tuple[str, str]]:
    """The reply's fields; obs-text octets stay what they are, as Latin-1 (as in ASGI).

    :raises BadReply: status or framing that HTTP does not allow here.
    """
    if not 200 <= response.status <= 599:
        raise BadReply(cause=f"{authority}: status {response.status}")
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers]
    lengths = {value for name, value in headers if name == "content-length"}
    codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    # RFC 9112, section 6.3: two framings in one message are how replies get split; neither is believed.
    if len(lengths) > 1 or (lengths and codings) or codings not in ([], ["chunked"]):
        raise BadReply(cause=f"{authority}: the reply's framing is ambiguous")
    return headers


async def _body(response: ClientResponse, authority: str, max_reply: int) -> bytes:
    chunks: list[bytes] = []
    room = max_reply
    try:
        while chunk := await response.content.readany():
            room -= len(chunk)
            if room < 0:
                raise BadReply(_TOO_LONG, cause=f"{authority}: more than {max_reply} bytes")
            chunks.append(chunk)
    except (aiohttp.ClientError, HttpProcessingError, asyncio.IncompleteReadError) as error:
        raise BadReply(
            "The service behind this route broke off its answer.", cause=f"{authority}: {_text(error)}"
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
