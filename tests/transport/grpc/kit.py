"""Calls of ours over a `Connection`, answered by python-hyper's h2 in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from h2.events import StreamReset

from bridge.api.call import GrpcReply
from bridge.api.transport import Attempt
from bridge.errors import RequestError
from bridge.http2.hpack import literal
from bridge.transport.grpc.framing import encode_message
from bridge.transport.grpc.stream import GrpcStream
from bridge.transport.grpc.unary import Unary
from tests.transport.http2.kit import REQUEST, Pair, made, of, raw

LIMIT = 1000  #: bytes of a message
OK = b"\x88" + literal("content-type", b"application/grpc")


def done(code: int = 0, *fields: bytes) -> bytes:
    return literal("grpc-status", b"%d" % code) + b"".join(fields)


@dataclass
class Said:
    """One frame or two that the service says: a header block, or data."""

    block: bytes | None
    body: bytes
    end: bool

    def on(self, number: int) -> bytes:
        if self.block is not None:
            return raw(1, 5 if self.end else 4, number, self.block)
        return raw(0, 1 if self.end else 0, number, self.body)


def section(block: bytes, *, end: bool = False) -> Said:
    return Said(block, b"", end)


def body(data: bytes, *, end: bool = False) -> Said:
    return Said(None, data, end)


HELLO = [section(OK), body(encode_message(b"hello")), section(done(), end=True)]


@dataclass
class Called:
    """A call under way, and what it came to."""

    pair: Pair
    call: Unary | GrpcStream

    def say(self, *said: Said) -> None:
        for each in said:
            self.pair.ours.receive(each.on(self.call.id))

    def resets(self) -> list[int]:
        return [int(event.error_code or 0) for event in of(StreamReset, self.pair.turn())]

    def ended(self) -> Attempt:
        assert self.call.done.done()
        return self.call.done.result()

    def outcome(self) -> tuple[str, int, str]:
        """How it ended: the kind of error, or "reply"; the code; the cause, or the service's words."""
        ended = self.ended()
        if isinstance(ended.result, GrpcReply):
            return "reply", ended.code, ended.result.detail
        assert isinstance(ended.result, RequestError)
        return type(ended.result).__name__, ended.code, f"{ended.result} {ended.result.cause}"


def unary(message: bytes = b"q", *, limit: int = LIMIT, **settings: int) -> Called:
    pair = made(**settings)
    call = Unary(limit, asyncio.get_running_loop().create_future())
    pair.ours.open(call, REQUEST, encode_message(message), end=True)
    pair.turn()
    return Called(pair, call)


def stream(*, limit: int = LIMIT, **settings: Any) -> tuple[Called, GrpcStream]:
    pair = made(**settings)
    call = GrpcStream(limit, coding=None, done=asyncio.get_running_loop().create_future())
    pair.ours.open(call, REQUEST, end=False)
    pair.turn()
    return Called(pair, call), call
