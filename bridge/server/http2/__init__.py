"""HTTP/2 on the listener (RFC 9113): the server's end of a connection, without I/O, and the socket under it.

``request_head`` reads the header sections of requests, ``response_head`` writes those of responses; ``core`` is the
server's `bridge.http2.connection.Http2Core`, ``exchange`` one request and its response, ``connection`` the socket.
"""
