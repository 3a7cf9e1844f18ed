"""HTTP/2 as a client (RFC 9113): the client's end of a connection, without I/O, and the socket under it.

``fields`` reads header sections of responses; ``stream`` is one request, ``pending`` the queue of requests;
``connection`` is the client's `bridge.http2.connection.Http2Core`, ``transport`` the socket.
"""
