"""A WebSocket to a service (RFC 6455): the client's side of the handshake, and then an end of a relay.

No extension is offered: compressed messages would have to be decompressed for the limit on their size to mean anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.uri import WebSocketURI

from bridge.api.call import HttpReply, header
from bridge.errors import BadReply
from bridge.http.forwarding import end_to_end
from bridge.transport.http1.exchange import ConnectionDropped, Field
from bridge.transport.http1.request import write_head
from bridge.websocket.connection import WebSocketConnection
from bridge.websocket.end import WebSocketSink

SUBPROTOCOL = "sec-websocket-protocol"
_HANDSHAKE = "sec-websocket-"
#: The library wants one for a request of its own, which is not sent.
_NOWHERE = WebSocketURI(secure=False, host="service", port=80, path="/", query="")


class ServiceWebSocket(WebSocketConnection):
    """One attempt to open a WebSocket, and the WebSocket.

    :param fields: of the request, with the subprotocols that are offered.
    :param max_message: bytes of one message of the service.
    :ivar opened: the service has accepted.
    :ivar status: of its answer, then.
    :ivar subprotocol: the one that it chose, or ``""``.
    :ivar headers: the fields of its answer that are not the handshake's.
    """

    status = 101

    def __init__(self, fields: Sequence[Field], max_message: int) -> None:
        offered = [name.strip() for name in header(fields, SUBPROTOCOL).split(",") if name.strip()]
        protocol = ClientProtocol(_NOWHERE, subprotocols=offered or None, max_size=max_message)  # type: ignore[arg-type]
        super().__init__(protocol)
        self._client_protocol = protocol
        self._answer: asyncio.Future[Response] = self.loop.create_future()
        self._early: list[Frame] = []  # frames that came with the answer
        self._began = self._connected = False
        self.opened = False
        self.subprotocol = ""
        self.headers: list[Field] = []

    async def handshake(self, target: str, fields: Sequence[Field]) -> HttpReply | None:
        """Send the request. None: the service has accepted; otherwise its answer, of at most a megabyte.

        :raises ConnectionDropped: no byte of an answer came.
        :raises bridge.errors.BadReply: it is malformed, or too long.
        """
        own = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", self._client_protocol.key),
        ]
        sent = [field for field in fields if not field[0].startswith(_HANDSHAKE) or field[0] == SUBPROTOCOL]
        self.transport.write(write_head("GET", target, [*sent, *own], 0))
        response = await self._answer
        failure = self._client_protocol.handshake_exc
        headers = [(name.lower(), value) for name, value in response.headers.raw_items()]
        headers = [field for field in end_to_end(headers) if not field[0].startswith(_HANDSHAKE)]
        if failure is None:
            self.opened, self.headers = True, headers
            self.subprotocol = self._client_protocol.subprotocol or ""
            return None
        if not isinstance(failure, InvalidStatus):
            raise BadReply(
                "The service behind this route answered a WebSocket's handshake wrongly.", cause=f"{failure}"
            )
        return HttpReply(response.status_code, headers, bytes(response.body or b""))

    # --- asyncio's side ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio calls it
        self.transport, self._connected = transport, True

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            super().data_received(data)
            return
        self._began = True
        self._client_protocol.receive_data(data)
        self._read_answer()

    def eof_received(self) -> None:
        """The service has closed its side. The transport closes by itself; an answer without a length ends here."""
        if not self._answer.done() and self._began:
            self._client_protocol.receive_eof()
            self._read_answer()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            cause = str(exc) if exc else "the connection was closed"
            self._answer.set_exception(
                BadReply("The service behind this route broke off its answer.", cause=cause)
                if self._began
                else ConnectionDropped(cause, reused=False)
            )
        super().connection_lost(exc)

    def _read_answer(self) -> None:
        protocol = self._client_protocol
        for event in protocol.events_received():
            if isinstance(event, Response):
                self._answer.set_result(event)
            else:
                assert isinstance(event, Frame)
                self._early.append(event)
        if self._answer.done():
            self.hold()  # until there is a relay
        elif protocol.handshake_exc is not None:
            cause = protocol.handshake_exc.__cause__ or protocol.handshake_exc
            self._answer.set_exception(BadReply(cause=str(cause)))

    # --- the relay's side -------------------------------------------------------------------------------------------

    def relay(self, sink: WebSocketSink, heartbeat: float) -> None:
        super().relay(sink, heartbeat)
        early, self._early = self._early, []
        for frame in early:
            self._frame(frame)
        self._settle()
        self.release()

    def abort(self) -> None:
        if self._connected:
            super().abort()
