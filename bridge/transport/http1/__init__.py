"""The gateway's own HTTP/1.1 client (RFC 9112): no more work per request than a request needs.

`head` and `chunked` read what a service says, `response` puts the two together, all three without I/O; `request`
writes; `connection` is one connection, `pool` those to one address, `client` all of them.
"""

from bridge.transport.http1.client import HttpClient

__all__ = ["HttpClient"]
