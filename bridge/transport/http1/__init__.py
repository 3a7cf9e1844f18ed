"""The gateway's own HTTP/1.1 client (RFC 9112).

`head` and `chunked` read what a service sends, `response` puts the two together, all three without I/O; `request`
writes; `connection` is one connection, `pool` those to one address, `client` all of them. `fields` checks the request's
fields, `channel` is one upstream, and `transport` is the plug-in with the entry point.
"""
