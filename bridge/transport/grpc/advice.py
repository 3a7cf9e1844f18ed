"""Why a connection to a gRPC service failed, in words for whoever set it up: without addresses, and with what to do."""

from __future__ import annotations

import errno
import re
import socket
import ssl

REFUSED = "it refuses connections, so nothing listens at that port; start the service, or correct the port"
UNKNOWN_HOST = "its host name is not known; correct the name, or the name service"
NO_ROUTE = "there is no route to its host; check the network"
UNREACHABLE = "its host takes no connection in that time; it may be down, or a firewall drops what is sent to it"
NOT_HTTP2 = "it takes connections, but does not speak HTTP/2; check that the port is gRPC's, and whether it needs TLS"
SILENT = "it takes connections, and says nothing in HTTP/2; check that the port is gRPC's, and whether it needs TLS"
NO_ANSWER = "it takes connections in HTTP/2, and leaves the call unanswered; look at the service's log"
CERTIFICATE = "its certificate is not trusted, or is another name's; name its authority and its name"
NO_TLS = "the TLS handshake fails; check that it speaks TLS at that port"
LOST = "the connection is lost while it is made; look at the service's log"

_ERRNO = re.compile(r"\[Errno (\d+)\]")  # of several addresses of one name, asyncio gives the texts
_NO_ROUTES = frozenset((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN))


def advice_on(error: OSError) -> str:
    """The sentence for a connection that `error` ended before it was made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATE
    if isinstance(error, ssl.SSLError):
        return NO_TLS
    if isinstance(error, socket.gaierror):
        return UNKNOWN_HOST
    numbers = {error.errno} if error.errno else {int(number) for number in _ERRNO.findall(str(error))}
    if errno.ECONNREFUSED in numbers:
        return REFUSED
    return NO_ROUTE if numbers & _NO_ROUTES else LOST
