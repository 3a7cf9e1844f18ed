"""How one attempt of a gRPC call ended, whichever client made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.api.call import GrpcReply
from bridge.errors import RequestError

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(slots=True)
class Ended:
    """How one attempt ended.

    :ivar outcome: what comes of it if it is the last one.
    :ivar code: the status code as gRPC counts it, for trouble on the way, too.
    :ivar committed: whether another attempt is out of the question: the service had begun to answer, or the answer or
        the message can't be taken.
    :ivar untouched: the service has not seen the call, or says that it did nothing about it, so it may be sent again
        without any policy (gRFC A6, "Transparent Retries").
    """

    outcome: GrpcReply | RequestError
    code: int = 0
    trailers: Metadata = ()
    committed: bool = False
    untouched: bool = False

    def settle(self) -> GrpcReply:
        """The service's word; what happened on the way is raised."""
        if isinstance(self.outcome, RequestError):
            raise self.outcome
        return self.outcome
