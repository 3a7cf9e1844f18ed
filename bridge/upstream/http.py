"""HTTP/1.1 upstreams: a request to whichever address of a name takes it, within its deadline, and the whole reply."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence

from bridge.errors import ClientError, Timeout, Unavailable, UpstreamError
from bridge.messages import HttpReply, HttpRequest
from bridge.tls import Tls
from bridge.upstream.client import Dropped, HttpClient, NotConnected
from bridge.upstream.coding import decode
from bridge.upstream.headers import end_to_end, tells_where, without_authority

__all__ = ["HttpClient", "HttpUpstream"]

Address = tuple[str, int]

CONNECT = 2.0  #: seconds for one address to take a connection; less when the deadline leaves less for each
ADDRESSES = 8  #: addresses tried for one request
BLOCKING = 64 * 1024  #: coded bytes from which decoding leaves the event loop

MAX_NAMES = 1024  #: field names remembered as good; clients choose them, so there is an end to it

#: RFC 9110, section 9.2.2: sending these twice is sending them once.
IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_NOT_A_VALUE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # section 5.5, and what UTF-8 can't hold
_TARGET = re.compile(r"/[!\"$-~]*")  # visible ASCII, without the # that no request target has

#: The undoing of codings costs more than a local network's bytes; whoever codes all the same is understood.
_IDENTITY = ("accept-encoding", "identity")

_names: set[str] = set()


class HttpUpstream:
    """One mesh name and port, spoken to over HTTP/1.1.

    :param addresses: where it is now, the preferred address first; raises `bridge.errors.Unavailable`.
    :param client: the connections, shared with other upstreams.
    :param tls: ``https``; the certificate must bear `name`.
    :param name: the mesh name; with `port` it is the Host field, so that no address ever goes into a message.
    :param max_reply: bytes of a reply's body, as sent and decoded.
    :param failed: told of each address that took no connection.
    :param trust: of this upstream's own; the client's where it is None.
    """

    def __init__(
        self,
        addresses: Callable[[], Awaitable[Sequence[Address]]],
        *,
        client: HttpClient,
        tls: bool,
        name: str,
        port: str,
        max_reply: int,
        failed: Callable[[Address], None] | None = None,
        trust: Tls | None = None,
    ) -> None:
        self._addresses = addresses
        self._client = client
        self._name = name.lower()
        self._server_name = (trust.server_name if trust and trust.server_name else name) if tls else None
        self._trust = trust.context() if trust else None
        # RFC 9110, section 7.2: a port that is not a number can't stand in Host.
        self._host: tuple[str, str] = ("host", f"{name}:{port}" if port.isdigit() else name)
        self._max_reply = max_reply
        self._failed = failed or _ignore
        if tls and trust is None:
            client.trust()

    stream = None  #: HTTP operations do not stream

    async def send(self, request: HttpRequest, *, deadline: float, trace: Sequence[tuple[str, str]] = ()) -> HttpReply:
        """Send `request` and read the whole reply. A redirect is a reply like any other.

        :param deadline: in the running loop's `time()`; covers lookup, connecting, sending, reading and decoding.
        :param trace: fields to add; they replace any that the request brought under those names.
        :raises bridge.errors.ClientError: a method, path or field that can't stand in an HTTP message.
        :raises bridge.errors.Unavailable: no address, or none that takes a connection.
        :raises bridge.errors.Timeout: the deadline passed.
        :raises bridge.errors.BadReply: the reply is not HTTP, broken off, too long, or not in its coding.
        :raises bridge.errors.UpstreamError: closed without an answer, or not who its name says.
        """
        fields = self._fields(request, trace)
        if asyncio.get_running_loop().time() >= deadline:
            raise Timeout(cause="the deadline had passed before anything was sent")
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._exchange(request, fields, deadline)
                if request.decode and reply.body:
                    reply.body = await self._decode(reply)
                headers = _inward(reply, decoded=request.decode)
                if tells_where(headers):
                    hosts = (host for host, _ in await self._addresses())
                    headers = without_authority(headers, frozenset((self._name, *hosts)))
        except TimeoutError:
            raise Timeout(cause="the deadline passed") from None
        reply.headers = headers
        return reply

    async def _exchange(self, request: HttpRequest, fields: Sequence[tuple[str, str]], deadline: float) -> HttpReply:
        again = request.method in IDEMPOTENT
        while True:
            try:
                return await self._first_that_takes_it(request, fields, deadline)
            except Dropped as error:
                if not (error.reused and again):
                    raise UpstreamError(
                        "The service behind this route closed the connection without an answer.", cause=str(error)
                    ) from None
                again = False

    async def _first_that_takes_it(
        self, request: HttpRequest, fields: Sequence[tuple[str, str]], deadline: float
    ) -> HttpReply:
        addresses = await self._addresses()
        loop = asyncio.get_running_loop()
        left = min(len(addresses), ADDRESSES)
        refusal = NotConnected("no addresses")
        for address in addresses[:ADDRESSES]:
            try:
                return await self._client.exchange(
                    address,
                    request.method,
                    request.path,
                    fields,
                    request.body,
                    server_name=self._server_name,
                    trust=self._trust,
                    connect_timeout=min(CONNECT, max(0.001, (deadline - loop.time()) / left)),
                    max_reply=self._max_reply,
                )
            except NotConnected as error:
                self._failed(address)
                left -= 1
                refusal = error
        if refusal.untrusted:
            raise UpstreamError("The service behind this route could not prove who it is.", cause=str(refusal))
        raise Unavailable(cause=str(refusal), headers=[("retry-after", "1")])

    def _fields(self, request: HttpRequest, trace: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """:raises ClientError: something in the request can't stand in an HTTP message."""
        if not _TOKEN.fullmatch(request.method):
            raise ClientError("The method holds characters that HTTP does not allow.")
        if not _TARGET.fullmatch(request.path):
            raise ClientError("The path holds characters that must be percent-encoded.")
        dropped = {name for name, _ in trace}
        if request.decode:
            dropped.add("accept-encoding")
        brought = end_to_end([(name.lower(), value) for name, value in request.headers])
        fields = [self._host, *(field for field in brought if field[0] not in dropped), *trace]
        if request.decode:
            fields.append(_IDENTITY)
        for at, (name, value) in enumerate(fields):
            if name not in _names:
                _check_name(name)
            if not (value.isascii() and value.isprintable()):
                fields[at] = (name, _octets(name, value))
        return fields

    async def _decode(self, reply: HttpReply) -> bytes:
        codings = ",".join(value for name, value in reply.headers if name == "content-encoding")
        if not codings:
            return reply.body
        if len(reply.body) < BLOCKING:
            return decode(reply.body, codings, self._max_reply)
        return await asyncio.to_thread(decode, reply.body, codings, self._max_reply)


def _ignore(_: Address) -> None: ...


def _check_name(name: str) -> None:
    """:raises ClientError: `name` can't stand in a header (RFC 9110, section 5.1)."""
    if not _TOKEN.fullmatch(name):
        raise ClientError("A header's name holds characters that HTTP does not allow.")
    if len(_names) < MAX_NAMES:
        _names.add(name)


def _octets(name: str, value: str) -> str:
    """`value`, which is not plain ASCII, as the client library wants it: it writes UTF-8.

    Octets above ASCII arrive as Latin-1 characters; where they are UTF-8 they leave as the same octets, otherwise they
    leave as UTF-8.

    :raises ClientError: it can't stand in a header (RFC 9110, section 5.5).
    """
    if _NOT_A_VALUE.search(value):
        raise ClientError(f"The header {name} holds characters that HTTP does not allow.")
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _inward(reply: HttpReply, *, decoded: bool) -> list[tuple[str, str]]:
    headers = end_to_end(reply.headers)
    if decoded:
        return [field for field in headers if field[0] != "content-encoding"]
    return headers
