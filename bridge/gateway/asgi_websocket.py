"""The client's end of a relayed WebSocket on a foreign ASGI server, which does the framing: it hands over whole
messages, and answers pings and closes itself, so frames of the service are joined to messages here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from websockets.frames import CloseCode, Opcode

from bridge.errors import ClientDisconnected
from bridge.gateway.downstream import Receive, Send, encoded, without_content
from bridge.websocket.connection import CLOSE_TIMEOUT
from bridge.websocket.end import LOST, NO_CODE, NORMAL, Ending, WebSocketSink

HIGH_WATER = 64 * 1024  #: bytes that wait to be sent, above which no more are wanted
_OVERHEAD = 64  #: bytes added for each message


class AsgiWebSocketEnd:
    """`bridge.websocket.end.WebSocketEnd`. ASGI has no pings and no way to cut a connection."""

    def __init__(self, receive: Receive, send: Send, max_message: int) -> None:
        self._receive, self._send, self._max_message = receive, send, max_message
        self._queue: deque[tuple[dict[str, Any] | None, int]] = deque()  # events and their sizes; None is the end
        self._waiting = 0  # bytes in the queue
        self._news, self._free = asyncio.Event(), asyncio.Event()
        self._free.set()
        self._fragments: list[bytes] = []
        self._is_text = False
        self._paused = self._closing = self._ended = False
        self._sink: WebSocketSink | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def accept(
        cls, receive: Receive, send: Send, fields: Sequence[tuple[str, str]], subprotocol: str | None, max_message: int
    ) -> AsgiWebSocketEnd:
        """:raises ClientDisconnected: the client has left."""
        headers = encoded(without_content(fields))
        try:
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        except OSError:  # ASGI's sign of a disconnected client
            raise ClientDisconnected() from None
        return cls(receive, send, max_message)

    def relay(self, sink: WebSocketSink, heartbeat: float) -> None:
        self._sink = sink
        self._start(self._receive_all())
        self._start(self._send_all())

    async def finish(self) -> None:
        """Send what was to be sent, the close among it; then the ASGI application may return."""
        receiving, sending = self._tasks
        receiving.cancel()
        await asyncio.wait((receiving, sending), timeout=CLOSE_TIMEOUT)
        sending.cancel()

    def send(self, opcode: int, data: bytes, fin: bool) -> None:
        if self._closing:
            return
        if opcode != Opcode.CONT:
            self._is_text = opcode == Opcode.TEXT
        self._fragments.append(data)
        if not fin:
            return
        message, self._fragments = b"".join(self._fragments), []
        payload = {"text": message.decode()} if self._is_text else {"bytes": message}
        self._put({"type": "websocket.send", **payload}, len(message) + _OVERHEAD)
        if self._waiting > HIGH_WATER and not self._paused and self._sink is not None:
            self._paused = True
            self._sink.write_paused()

    def flush(self) -> None: ...

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def begin_close(self, code: int, reason: str) -> None:
        if not self._closing:
            self._closing = True
            # ASGI can't send a close without a code; 1000 is what it would be taken for.
            self._put({"type": "websocket.close", "code": NORMAL if code == NO_CODE else code, "reason": reason})

    def abort(self) -> None:
        self._closing = True
        for task in self._tasks:
            task.cancel()

    # --- ASGI's side ------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _put(self, message: dict[str, Any] | None, size: int = 0) -> None:
        self._queue.append((message, size))
        self._waiting += size
        self._news.set()

    async def _receive_all(self) -> None:
        assert self._sink is not None
        while True:
            await self._free.wait()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code") or NO_CODE
                self._end(Ending(code, message.get("reason") or "", closed=code != LOST))
                return
            if message["type"] != "websocket.receive":
                continue
            text = message.get("text")
            data: bytes = text.encode() if text is not None else message.get("bytes") or b""
            if len(data) > self._max_message:
                reason = f"a message may have at most {self._max_message} bytes"
                self.begin_close(CloseCode.MESSAGE_TOO_BIG, reason)
                self._end(Ending(CloseCode.MESSAGE_TOO_BIG, reason, closed=False))
                return
            self._sink.frame(Opcode.BINARY if text is None else Opcode.TEXT, data, True)
            self._sink.flush()

    async def _send_all(self) -> None:
        while True:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            message, size = self._queue.popleft()
            if message is None:
                return
            try:
                await self._send(message)
            except (OSError, RuntimeError):  # it is closed: servers raise either
                self._end(Ending(LOST, "", closed=False))
                return
            if message["type"] == "websocket.close":
                return
            self._sent(size)

    def _sent(self, size: int) -> None:
        self._waiting -= size
        if self._paused and self._waiting <= HIGH_WATER // 2 and self._sink is not None:
            self._paused = False
            self._sink.write_resumed()

    def _end(self, ending: Ending) -> None:
        if not self._ended and self._sink is not None:
            self._ended = self._closing = True
            self._put(None)
            self._sink.ended(ending)
