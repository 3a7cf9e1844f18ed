"""Records a gRPC service's requests and replies, in protobuf's text format, from the bytes on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import text_format
from wire import Wire

Message = Any


class Recorder(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc publishes no types
    """Unary methods only; the service has no others."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        def behave(raw: bytes, context: Any) -> bytes:
            request = handler.request_deserializer(raw)
            trace_id = dict(context.invocation_metadata()).get("x-trace-id", "")
            reply: Message = None
            answered: bytes = b""
            status = "OK"
            try:
                reply = handler.unary_unary(request, context)
                answered = handler.response_serializer(reply)
            except BaseException:  # context.abort raises a bare Exception, which must reach grpc
                status = f"{context.code().name}: {context.details().decode()}" if context.code() else "UNKNOWN"
                raise
            finally:
                self._wire.note(
                    trace_id=trace_id,
                    target=handler_call_details.method,
                    request=_text(request, raw),
                    reply=_text(reply, answered) if reply is not None else "",
                    status=status,
                )
            return answered

        return grpc.unary_unary_rpc_method_handler(behave)


def _text(message: Message, raw: bytes) -> str:
    fields = text_format.MessageToString(message, as_utf8=True)
    return f"# {message.DESCRIPTOR.full_name}, {len(raw)} bytes\n{fields}"
