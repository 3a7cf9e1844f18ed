"""What gRPC and gRPC-Web share: a call's status as fields, and the time for which a client waits."""

from __future__ import annotations

import re
from urllib.parse import quote

from bridge.api.call import GrpcReply
from bridge.errors import ClientError
from bridge.fronts.envelopes import EnvelopeWriter
from bridge.fronts.rpc import lawful, unpadded

#: Percent-Byte-Unencoded: %x20-%x24 / %x26-%x7E.
_UNENCODED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_END_BLANK = re.compile(r"\A | \Z")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def read_timeout(text: str) -> float:
    """Seconds of ``grpc-timeout`` (gRPC over HTTP/2: at most eight digits and a unit).

    :raises bridge.api.ClientError: it is not written so.
    """
    if not re.fullmatch(r"[0-9]{1,8}[HMSmun]", text):
        raise ClientError("grpc-timeout is written as at most eight digits and one of H, M, S, m, u and n.")
    return int(text[:-1]) * _SECONDS[text[-1]]


class GrpcStatusWriter(EnvelopeWriter):
    reserved = ("grpc-",)

    def trailers(self, inbound: GrpcReply) -> list[tuple[str, str]]:
        """The status and the service's own trailers (gRPC over HTTP/2, "Trailers")."""
        trailers = [("grpc-status", str(inbound.code))]
        if inbound.detail:
            # Percent-Encoded, of UTF-8; so are blanks at its ends, which no field may have (RFC 9113, section 8.2.1).
            text = quote(inbound.detail.encode("utf-8", "replace"), safe=_UNENCODED)
            trailers.append(("grpc-message", _END_BLANK.sub("%20", text)))
        if inbound.status_details:
            trailers.append(("grpc-status-details-bin", unpadded(inbound.status_details)))
        return [*trailers, *lawful(self.service.returned((), inbound.trailers), self.reserved)]
