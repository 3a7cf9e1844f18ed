"""The transport ``grpc``: gRPC over the gateway's own HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bridge.api.transport import Target

if TYPE_CHECKING:
    from bridge.transport.grpc.channel import GrpcChannel

#: google.rpc.Code, by number.
CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


class GrpcTransport:
    name: ClassVar[str] = "grpc"
    options: ClassVar[frozenset[str]] = frozenset(("keepalive", "compression", "health", "max_message", "max_metadata"))
    retried: ClassVar[frozenset[int]] = frozenset((CODES.index("UNAVAILABLE"),))

    def code(self, text: int | str) -> int:
        if text == "OK" or text not in CODES:
            raise ValueError(f"{text!r} is no gRPC status that a call can fail with; write UNAVAILABLE, say")
        return CODES.index(text)

    def channel(self, target: Target) -> GrpcChannel:
        from bridge.transport.grpc.channel import GrpcChannel  # not loaded if routes are only checked

        return GrpcChannel(target)

    async def aclose(self) -> None:
        """Nothing is shared between channels."""
